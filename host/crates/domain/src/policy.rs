//! What operators decided and every commit must know: limits, plugins in force, what happens when a rule fails.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::arrangements::CutOff;
use crate::exchanges::{Pair, Reference};
use crate::guest::Verdict;
use crate::ids::KeyId;
use crate::limits::Limits;
use crate::manifest::Kind;
use crate::money::Currency;
use crate::records::Digest;

/// The policy of one generation. The lane's head row carries the generation, so that no commit is decided under an old one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Grows with every change.
    pub generation: i64,
    /// Limits, dated.
    pub limits: Limits,
    /// The digest that is in force for each enabled plugin.
    pub plugins: BTreeMap<String, PluginInForce>,
    /// Digests that nothing may rest on any more.
    pub revoked: BTreeSet<Digest>,
    /// What happens when a fraud rule faults or none is there.
    pub fraud: FailurePolicy,
    /// How far the platform's clock runs ahead of the machines', milliseconds; more than nought only in tests.
    pub clock_ahead_ms: i64,
    /// API keys that nothing may come by.
    pub frozen_keys: BTreeSet<KeyId>,
    /// Devices that nothing may come from.
    pub frozen_devices: BTreeSet<String>,
    /// How long a review waits for somebody.
    pub review: ReviewPolicy,
    /// How long a dispute waits, and what comes of one that nobody decided.
    pub dispute: DisputePolicy,
    /// When merchants are closed with that have no cut-off of their own.
    pub cut_off: CutOff,
    /// The currencies that wallets may hold beside yen, with the most that the platform's position in each may reach either way,
    /// minor units.
    pub currencies: BTreeMap<Currency, i64>,
    /// What pairs of currencies are exchanged at.
    pub references: BTreeMap<Pair, Reference>,
}

/// A plugin in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginInForce {
    /// Its sort.
    pub kind: Kind,
    /// The component that runs.
    pub digest: Digest,
    /// The settings that it is given.
    pub settings: Digest,
}

/// What happens to a payment when the fraud rules give no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailurePolicy {
    /// A rule faulted.
    pub on_fault: Verdict,
    /// No rule is enabled.
    pub on_missing: Verdict,
}

impl Default for FailurePolicy {
    /// Closed: without a verdict nothing is paid.
    fn default() -> Self {
        FailurePolicy { on_fault: Verdict::Decline, on_missing: Verdict::Decline }
    }
}

/// How long an amount is held for a review before it ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewPolicy {
    /// Hours.
    pub hours: u16,
}

impl ReviewPolicy {
    /// The longest that may be set: 7 days.
    pub const HOURS_MAX: u16 = 168;

    /// The same in milliseconds.
    pub fn ms(self) -> i64 {
        i64::from(self.hours) * 3_600_000
    }
}

impl Default for ReviewPolicy {
    /// A day.
    fn default() -> Self {
        ReviewPolicy { hours: 24 }
    }
}

/// How long disputes wait for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputePolicy {
    /// Days.
    pub days: u16,
    /// Whether one that nobody decided in time is lost by the merchant. Otherwise it stays open, and operators are alarmed.
    pub lost_when_over: bool,
}

impl Default for DisputePolicy {
    /// 30 days, and no money moves because nobody looked.
    fn default() -> Self {
        DisputePolicy { days: 30, lost_when_over: false }
    }
}

/// A component that a piece of work rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reliance {
    /// The plugin.
    pub plugin: String,
    /// The component that was run.
    pub digest: Digest,
    /// Whether it must still be the one in force; otherwise it only must not be revoked.
    pub in_force: bool,
}

impl Policy {
    /// Whether wallets may hold this currency.
    pub fn offers(&self, currency: Currency) -> bool {
        currency == Currency::JPY || self.currencies.contains_key(&currency)
    }

    /// The most that the platform's position in a currency may reach either way; none for yen, in which the platform keeps its books.
    pub fn position_limit(&self, currency: Currency) -> Option<i64> {
        (currency != Currency::JPY).then(|| self.currencies.get(&currency).copied().unwrap_or(0))
    }

    /// What these two currencies are exchanged at, whichever of them is priced.
    pub fn reference(&self, one: Currency, other: Currency) -> Option<(Pair, Reference)> {
        let pairs = [Pair { base: one, quote: other }, Pair { base: other, quote: one }];
        pairs.into_iter().find_map(|pair| Some((pair, *self.references.get(&pair)?)))
    }

    /// Whether work may still rest on this component.
    pub fn honours(&self, reliance: &Reliance) -> bool {
        if self.revoked.contains(&reliance.digest) {
            return false;
        }
        !reliance.in_force
            || self.plugins.get(&reliance.plugin).is_some_and(|in_force| in_force.digest == reliance.digest)
    }
}
