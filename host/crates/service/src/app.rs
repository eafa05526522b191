//! The host put together: the one short place that lists everything a use case can reach.

use std::sync::Arc;

use koban_domain::ids::AuditId;
use koban_domain::ledger::Audit;
use koban_domain::limits;
use koban_outside::Outside;
use koban_runtime::Door;
use koban_store::{Store, StoreError};

use crate::beside::Shadows;
use crate::clock::Clock;
use crate::consents::Refreshing;
use crate::ctx::Actor;
use crate::flows::Bell;
use crate::identity::Hashing;
use crate::ledger::Ledger;
use crate::loaded::Loaded;
use crate::metrics::Metrics;
use crate::operations::Running;
use crate::quarantine::Faults;
use crate::reads::Reads;
use crate::sealing::Sealer;
use crate::verification::{ByOperators, Check};

/// Everything that a use case can reach. Cloning it is cheap.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of a host.
pub struct Parts {
    /// Rows.
    pub store: Store,
    /// The one door for money.
    pub ledger: Ledger,
    /// The one door to guests.
    pub door: Door,
    /// The way out.
    pub outside: Outside,
    /// Time and ids.
    pub clock: Clock,
    /// Loaded plugins.
    pub loaded: Loaded,
    /// What plugins did wrong of late.
    pub faults: Faults,
    /// Calls that are to be made beside decisions.
    pub shadows: Shadows,
    /// Reads of concurrent payments, made together.
    pub reads: Reads,
    /// Operations that are running on this host.
    pub running: Running,
    /// Password hashing, bounded.
    pub hashing: Hashing,
    /// Tells the flow driver that there is something to do.
    pub bell: Bell,
    /// Users' tokens that are being refreshed.
    pub refreshing: Refreshing,
    /// The host's keys for what is sealed at rest.
    pub sealer: Sealer,
    /// Who checks what users submit to be verified.
    pub identity_check: Box<dyn Check>,
    /// Counters and times.
    pub metrics: Metrics,
}

impl App {
    /// Puts a host together over an opened and migrated store. Background jobs are started by [`crate::jobs::start`].
    pub async fn start(
        store: Store,
        door: Door,
        outside: Outside,
        clock: Clock,
        sealer: Sealer,
    ) -> Result<App, StoreError> {
        let metrics = Metrics::default();
        // First of all: it refuses a clock that would write times of its own.
        let ledger = Ledger::start(store.clone(), clock.clone(), metrics.ledger.clone()).await?;
        if seed_limits(&store, &clock).await? {
            // A busy queue looks at the books as well; nothing else is waiting yet.
            let _ = ledger.refresh().await;
        }
        Ok(App(Arc::new(Parts {
            reads: Reads::start(store.clone()),
            loaded: Loaded::default(),
            faults: Faults::default(),
            shadows: Shadows::default(),
            running: Running::default(),
            hashing: Hashing::default(),
            bell: Bell::default(),
            refreshing: Refreshing::default(),
            sealer,
            identity_check: Box::new(ByOperators),
            metrics,
            store,
            ledger,
            door,
            outside,
            clock,
        })))
    }
}

impl App {
    /// Everything that is measured, in Prometheus' text format.
    pub fn measured(&self) -> String {
        self.metrics.gates(&self.outside.gates());
        self.metrics.text()
    }
}

/// A new database gets the limits that the service of 2019-2020 published; operators add later rows. Whether it was new.
async fn seed_limits(store: &Store, clock: &Clock) -> Result<bool, StoreError> {
    if !store.policy().await?.limits.0.is_empty() {
        return Ok(false);
    }
    let audit = Audit {
        id: AuditId(clock.id()),
        actor: Actor::System.to_string(),
        act: "limit.seed".to_owned(),
        subject: "published limits".to_owned(),
        detail: "{}".to_owned(),
    };
    koban_store::limits::put(store, &limits::published(), &audit, clock.now()).await?;
    Ok(true)
}

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}
