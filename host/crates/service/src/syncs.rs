//! New rows of wallets for whom their users linked: found, taken along by a flow of the link's plugin, counted as sent when that ended well.
//!
//! Two hosts may look at the same link; the commit that begins the flow decides. Nothing is sent by this job itself: the flow asks, and its effects are
//! done like any other's, unless the link is over by then.

use std::time::Duration;

use koban_domain::flows::Linking;
use koban_domain::guest::SyncRequest;
use koban_domain::ids::FlowId;
use koban_domain::ledger::{Answer, Decided};
use koban_domain::links::{Begin, EndedBy, Link, UnderWay};
use koban_domain::manifest::{Beginning, Kind};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::records::Input;
use koban_domain::time::Timestamp;
use koban_runtime::Plugin;
use koban_store::links as rows;
use koban_store::users::UserRow;
use tokio::sync::watch;

use crate::app::App;
use crate::consents;
use crate::ctx::Ctx;
use crate::documents::{self, Fresh};
use crate::error::Error;
use crate::flows::begin::{self, Opening};
use crate::links;
use crate::plugins;

/// How often links are looked at whose time has come.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most links that one look takes.
const LOOKED_MAX: u16 = 64;
/// How long a link rests to which there is nothing to send.
pub const IDLE_MS: i64 = 60_000;
/// How long one rests whose plugin refuses to begin.
const REFUSED_MS: i64 = 600_000;

/// What a look at a link came to.
enum Seen {
    /// A flow takes rows along.
    Begun,
    /// There is nothing to do for so long, milliseconds.
    Rests(i64),
}

/// Looks at links until told to stop; tells servers of consents that ended as well.
pub(crate) async fn run(app: App, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(error) = look(&app).await {
            tracing::warn!(error = %crate::ledger::chain(&error), "links could not be looked at; it is tried again");
        }
        if let Err(error) = consents::revoke_due(&app).await {
            tracing::warn!(error = %crate::ledger::chain(&error), "servers could not be told of consents that ended");
        }
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Looks at every link whose time has come, a few at once.
pub async fn look(app: &App) -> Result<(), Error> {
    for link in rows::due(&app.store, app.clock.now(), LOOKED_MAX).await? {
        let rests_ms = match look_at(app, &link).await {
            Ok(Seen::Begun) => continue,
            Ok(Seen::Rests(ms)) => ms,
            Err(error) => {
                let error = crate::ledger::chain(&error);
                tracing::warn!(link = %link.id, plugin = link.plugin, error, "rows could not be taken to a link");
                REFUSED_MS
            }
        };
        rows::look_again(&app.store, &[link.id], app.clock.now().plus_ms(rests_ms)).await?;
    }
    Ok(())
}

async fn look_at(app: &App, link: &Link) -> Result<Seen, Error> {
    let idle = Ok(Seen::Rests(IDLE_MS));
    let over = async |by| {
        links::over(app, &links::by_the_host(), link, by).await?;
        Ok(Seen::Rests(IDLE_MS))
    };
    if !link.is_live(app.clock.now()) {
        return over(EndedBy::Time).await;
    }
    for endpoint in &link.consents {
        if !consents::holds(app, &link.plugin, endpoint, link.user).await? {
            return over(EndedBy::Consent).await;
        }
    }
    let owner = match begin::owner(app, link.user).await? {
        Ok(owner) => owner,
        Err(Refusal::AccountClosed) => return over(EndedBy::Closing).await,
        // A frozen wallet's rows wait.
        Err(_) => return idle,
    };
    if link.under_way.is_some() {
        return idle;
    }
    let plugin = plugins::in_force_for(app, &link.plugin, link.user).await?;
    let sends = |plugin: &Plugin| plugin.manifest().kind == Kind::BudgetLink && plugin.interfaces().contains(&"sync");
    let Some(plugin) = plugin.filter(sends) else { return idle };
    let policy = app.ledger.policy();
    for currency in std::iter::once(Currency::JPY).chain(policy.currencies.keys().copied()) {
        let after = link.told_of(currency);
        let fresh = documents::fresh(app, link.user, (plugin.id(), &owner.locale), currency, after).await?;
        if let Some(fresh) = fresh {
            return take_along(app, (&plugin, link), &owner, (currency, fresh)).await;
        }
    }
    idle
}

/// Begins the flow that takes these rows along. Beginning and what it takes are one commit.
async fn take_along(
    app: &App,
    (plugin, link): (&Plugin, &Link),
    owner: &UserRow,
    (currency, fresh): (Currency, Fresh),
) -> Result<Seen, Error> {
    let ctx = Ctx { locale: owner.locale.clone(), ..links::by_the_host() };
    let mut work = ctx.work(app.clock.id());
    work.relies_on = vec![Reliance { plugin: plugin.id().to_owned(), digest: plugin.digest(), in_force: true }];
    let opening = opening(app, &ctx, (plugin, link), owner, (currency, fresh));
    match begin::lay(app, &ctx, plugin, opening, &mut work).await {
        Ok(()) => {}
        Err(error @ (Error::PluginRefused { .. } | Error::PluginFault { .. })) => {
            let error = crate::ledger::chain(&error);
            tracing::warn!(link = %link.id, plugin = plugin.id(), error, "a plugin does not take new rows along");
            return Ok(Seen::Rests(REFUSED_MS));
        }
        Err(error) => return Err(error),
    }
    let queued = work.step.as_ref().is_some_and(|step| !step.queued.is_empty());
    match app.ledger.commit(work).await? {
        Decided::Done(answers) => {
            if queued {
                app.bell.effects();
            }
            if let Some(Answer::Opened(flow)) = answers.last() {
                app.bell.flow(*flow);
            }
            Ok(Seen::Begun)
        }
        // Another host was faster, or the link has ended meanwhile.
        _ => Ok(Seen::Rests(IDLE_MS)),
    }
}

/// The call that begins the flow, and what the books note with it.
fn opening(
    app: &App,
    ctx: &Ctx,
    (plugin, link): (&Plugin, &Link),
    owner: &UserRow,
    (currency, fresh): (Currency, Fresh),
) -> Opening {
    let Fresh { account, until } = fresh;
    let now: Timestamp = app.clock.now();
    let facts = begin::facts(&plugin.manifest().facts, ctx, Some((owner.kind, owner.created_at)), now);
    let rows = u32::try_from(account.rows.len()).unwrap_or(u32::MAX);
    // The flow has no id yet.
    let rows = UnderWay { flow: FlowId::default(), currency, until, rows };
    let begin = Begin { link: link.key(), after: link.told_of(currency), rows };
    let wallet = begin::wallet_name(plugin.id(), owner.id);
    let request = SyncRequest { wallet, link: link.to_guest(), account, facts };
    Opening {
        user: owner.id,
        beginning: Beginning::Sync,
        at_most: Money::new(0, currency),
        fee: 0,
        bill: None,
        linking: Linking { link: Some(link.key()), kind: Some(link.kind.clone()), agreed: link.consents.clone() },
        rows: Some(begin),
        input: Input::BeginSync(Box::new(request)),
    }
}
