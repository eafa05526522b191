//! The neighbours: an honest rule and an honest channel that work beside every attack, and somebody who lives by them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use koban_domain::ids::{MerchantId, UserId};
use koban_domain::money::Money;
use koban_service::ctx::Actor;
use koban_service::payments::{self, PayInput};
use koban_service::{App, Ctx};
use tokio::task::JoinHandle;

/// The honest rule.
pub(super) const RULE: &str = "neighbour-rule";
/// The honest channel.
pub(super) const CHANNEL: &str = "neighbour-channel";
/// The pause between two payments of somebody who pays all the while.
const PAUSE: Duration = Duration::from_millis(50);
/// Most failures that are told.
const TOLD_MAX: usize = 10;

/// What the neighbours' calls came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) slowest_ms: u64,
    /// The first failures, in words.
    pub(super) failures: Vec<String>,
}

/// An honest payer at a shop where honest rules judge.
pub(super) struct Neighbour {
    pub(super) user: UserId,
    shop: MerchantId,
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
}

impl Neighbour {
    pub(super) fn new(user: UserId, shop: MerchantId) -> Neighbour {
        Neighbour { user, shop, tally: Arc::default(), stop: Arc::default() }
    }

    /// One payment of a yen; says whether it went as it should. It needs a call of the honest rule that says `allow`.
    pub(super) async fn pays(&self, app: &App, key: String) -> bool {
        pays(app, self.user, self.shop, key, &self.tally).await
    }

    /// Pays again and again until told to stop.
    pub(super) fn keep_paying(&self, app: &App) -> JoinHandle<()> {
        let (app, user, shop) = (app.clone(), self.user, self.shop);
        let (tally, stop) = (Arc::clone(&self.tally), Arc::clone(&self.stop));
        tokio::spawn(async move {
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                pays(&app, user, shop, format!("neighbour-{number}"), &tally).await;
                number += 1;
                tokio::time::sleep(PAUSE).await;
            }
        })
    }

    /// Tells whoever pays all the while to stop.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// What came of it so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn pays(app: &App, user: UserId, shop: MerchantId, key: String, tally: &Mutex<Tally>) -> bool {
    let started = super::stopwatch();
    let input = PayInput { merchant: shop, amount: Money::yen(1), reference: None, hold_s: None };
    let paid = payments::pay(app, &Ctx::new(Actor::User(user), key), input).await;
    let ms = super::ms(started);
    let failure = match &paid {
        Ok(paid) if paid.value.decision.is_some() => None,
        Ok(_) => Some("a payment that no rule judged".to_owned()),
        Err(error) => Some(koban_service::ledger::chain(error)),
    };
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.calls += 1;
    tally.slowest_ms = tally.slowest_ms.max(ms);
    let good = failure.is_none();
    if let Some(failure) = failure {
        tally.failed += 1;
        if tally.failures.len() < TOLD_MAX {
            tally.failures.push(failure);
        }
    }
    good
}
