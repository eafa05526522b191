//! How the platform stands: what waits for an operator, what each plugin may still cost, how far the journal is.

use koban_domain::accounts::PluginKey;
use koban_domain::time::Timestamp;
use koban_store::{Store, StoreError, charges, flows, plugins};

use crate::app::App;
use crate::metrics::{Numbers, Of};

/// Most plugins that are looked at.
const PLUGINS_MAX: u16 = 1_000;

/// What waits for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Flows that are stuck.
    pub stuck: i64,
    /// Differences that are open.
    pub differences: i64,
}

/// What waits for an operator now.
pub async fn waiting(store: &Store, now: Timestamp) -> Result<Waiting, StoreError> {
    let stuck = flows::backlog(store, now).await?.stuck;
    let differences = charges::open_difference_counts(store).await?.iter().map(|(_, count)| count).sum();
    Ok(Waiting { stuck, differences })
}

/// Brings the gauges of the metrics up to date.
pub(crate) async fn measure(app: &App, now: Timestamp) -> Result<(), StoreError> {
    let metrics = &app.metrics;
    let backlog = flows::backlog(&app.store, now).await?;
    metrics.flows_stuck.set(backlog.stuck);
    metrics.events_waiting.set(backlog.events);
    metrics.oldest_event_at.set(backlog.oldest_event_at.map_or(0, |at| at.0 / 1_000));
    metrics.effects_due.set(backlog.effects);
    let head = app.store.lane_head().await?.head;
    metrics.head_sequence.set(head.sequence);
    metrics.head_at.set(head.at.0 / 1_000);
    let open = charges::open_difference_counts(&app.store).await?;
    for plugin in plugins::list(&app.store, None, PLUGINS_MAX).await? {
        let id = plugin.manifest.id;
        let key = PluginKey::of(&id);
        for (currency, exposure) in plugins::exposures(&app.store, key).await? {
            let numbers = Numbers { plugin: id.clone(), currency: currency.to_string() };
            metrics.exposure_used.get_or_create(&numbers).set(exposure.used);
            metrics.exposure_cap.get_or_create(&numbers).set(exposure.cap);
            metrics.loss_used.get_or_create(&numbers).set(exposure.lost);
            metrics.loss_budget.get_or_create(&numbers).set(exposure.loss_budget);
        }
        let count = open.iter().find(|(plugin, _)| *plugin == key).map_or(0, |(_, count)| *count);
        metrics.differences_open.get_or_create(&Of { plugin: id }).set(count);
    }
    Ok(())
}
