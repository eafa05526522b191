//! Where a release may be moved: scopes that there are, that mean something to its kind, and one at a time for what remembers.

use koban_domain::manifest::Kind;
use koban_domain::releases::{Enablement, Moving, Scope, State};
use koban_store::releases::{ReleaseRow, Standing};
use koban_store::{merchants, subscriptions};

use super::Move;
use crate::app::App;
use crate::error::Error;

/// Whether there is such a scope.
pub(super) async fn check_there(app: &App, scope: &Scope) -> Result<(), Error> {
    match scope {
        Scope::Platform => Ok(()),
        Scope::Merchant(merchant) => {
            merchants::by_id(&app.store, *merchant).await?.map(drop).ok_or(Error::NotFound("merchant"))
        }
        Scope::Store(..) => Err(Error::invalid("scope", "dealings do not name a store yet; give the merchant's id")),
    }
}

/// Whether a release means anything there: what nobody would ever ask about a merchant is not switched there, on or off. What stands there
/// from before may leave.
pub(super) fn check(standing: &Standing, release: &ReleaseRow, step: &Move) -> Result<(), Error> {
    let kind = release.manifest.kind;
    let stands = standing.enablements.iter().any(|(row, _)| row.digest == release.digest && row.scope == step.scope);
    if kind.looks_at_merchants() || step.scope == Scope::Platform || (stands && !step.to.is_live()) {
        return Ok(());
    }
    let problem = format!(
        "only fraud rules and merchant tools look at merchants: a {} decides for the whole platform; leave `scope` out",
        kind.word()
    );
    Err(Error::invalid("scope", problem))
}

/// Whether a plugin has remembered anything.
pub(super) async fn remembers(app: &App, plugin: &str) -> Result<bool, Error> {
    Ok(subscriptions::by_plugin(&app.store, plugin).await?.is_some_and(|subscription| subscription.kept > 0))
}

/// What a merchant tool remembers and what its budgets give is kept once for the plugin, not for each scope: so it decides at one scope alone,
/// and does not take what it remembers from one to another.
pub(super) fn check_alone(rows: &[Enablement], moving: &Moving, step: &Move, remembers: bool) -> Result<(), Error> {
    if moving.kind != Kind::MerchantTool || !step.to.is_live() {
        return Ok(());
    }
    let mut others = rows.iter().filter(|row| row.scope != step.scope);
    if let Some(other) = others.clone().find(|row| row.state.is_live()) {
        let problem = format!(
            "a merchant tool decides at one scope, and this one is {} at {}: disable it there first, or give the other merchant a plugin of \
             its own, the same code under another id",
            other.state.word(),
            other.scope
        );
        return Err(Error::invalid("scope", problem));
    }
    match others.find(|row| row.state != State::Installed).filter(|_| remembers) {
        None => Ok(()),
        Some(other) => {
            let problem = format!(
                "what this tool remembers is of {}, and would be told here: give the other merchant a plugin of its own, the same code under \
                 another id",
                other.scope
            );
            Err(Error::invalid("scope", problem))
        }
    }
}
