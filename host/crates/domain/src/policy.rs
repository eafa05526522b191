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
use crate::quotes::QuotePolicy;
use crate::records::Digest;
use crate::releases::{Scope, falls_into};

/// The policy of one generation. The lane's head row carries the generation, so that no commit is decided under an old one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Grows with every change.
    pub generation: i64,
    /// Limits, dated.
    pub limits: Limits,
    /// The component that is enabled for the whole platform, of each plugin that has one.
    pub plugins: BTreeMap<String, PluginInForce>,
    /// What is live of each plugin, scope by scope: what is in `plugins`, narrower scopes, canaries and shadows.
    pub live: BTreeMap<String, BTreeMap<Scope, Live>>,
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
    /// Whether a fraud rule decides only where a back-test within its bound was made of it.
    pub backtest_required: bool,
    /// When merchants are closed with that have no cut-off of their own.
    pub cut_off: CutOff,
    /// The currencies that wallets may hold beside yen, with the most that the platform's position in each may reach either way,
    /// minor units.
    pub currencies: BTreeMap<Currency, i64>,
    /// What pairs of currencies are exchanged at.
    pub references: BTreeMap<Pair, Reference>,
    /// How far the quotes of plugins are trusted.
    pub quotes: QuotePolicy,
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

/// What is live of a plugin at one scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    /// What decides.
    pub stable: Stable,
    /// What decides for a share in its place.
    pub canary: Option<Canary>,
    /// What is asked beside it, without effect.
    pub shadow: Option<PluginInForce>,
}

/// Whether something decides at a scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stable {
    /// Nothing is said here: the next wider scope counts.
    #[default]
    Unsaid,
    /// Switched off here, whatever holds more widely.
    Off,
    /// This decides.
    On(PluginInForce),
}

/// A release that decides for a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canary {
    /// What decides.
    pub version: PluginInForce,
    /// For how many of a thousand.
    pub share: u16,
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

    /// Enables a component for the whole platform.
    pub fn enable(&mut self, plugin: &str, version: PluginInForce) {
        self.plugins.insert(plugin.to_owned(), version);
        let live = self.live.entry(plugin.to_owned()).or_default().entry(Scope::Platform).or_default();
        live.stable = Stable::On(version);
    }

    /// What decides of a plugin for somebody: the narrowest scope of `chain` (narrowest first) that says something, where the same person
    /// always gets the same answer.
    pub fn chosen(&self, plugin: &str, chain: &[Scope], person: &[u8]) -> Option<PluginInForce> {
        self.chosen_at(plugin, chain, person).map(|(_, version)| version)
    }

    /// The same with the scope that said it.
    pub fn chosen_at<'a>(&self, plugin: &str, chain: &'a [Scope], person: &[u8]) -> Option<(&'a Scope, PluginInForce)> {
        let scopes = self.live.get(plugin)?;
        for (scope, live) in chain.iter().filter_map(|scope| Some((scope, scopes.get(scope)?))) {
            if let Some(canary) = live.canary.filter(|canary| falls_into(canary.version.digest, person, canary.share)) {
                return Some((scope, canary.version));
            }
            match live.stable {
                Stable::Unsaid => {}
                Stable::Off => return None,
                Stable::On(version) => return Some((scope, version)),
            }
        }
        None
    }

    /// What decides of each plugin of a kind for somebody, with the scope that says so, in the order of the plugins' ids.
    pub fn all_chosen<'c>(
        &self,
        kind: Kind,
        chain: &'c [Scope],
        person: &[u8],
    ) -> impl Iterator<Item = (&'c Scope, PluginInForce)> {
        let chosen = move |plugin: &String| self.chosen_at(plugin, chain, person);
        self.live.keys().filter_map(chosen).filter(move |(_, version)| version.kind == kind)
    }

    /// What is asked beside the decisions, at the narrowest scope that has such a thing and with that scope, in the order of the plugins' ids.
    pub fn shadows<'a>(
        &'a self,
        kind: Kind,
        chain: &'a [Scope],
    ) -> impl Iterator<Item = (&'a str, &'a Scope, PluginInForce)> {
        let shadow = move |scopes: &BTreeMap<Scope, Live>| {
            chain.iter().find_map(|scope| Some((scope, scopes.get(scope)?.shadow?)))
        };
        self.live
            .iter()
            .filter_map(move |(plugin, scopes)| {
                shadow(scopes).map(|(scope, version)| (plugin.as_str(), scope, version))
            })
            .filter(move |(_, _, version)| version.kind == kind)
    }

    /// Every release that is asked about anything: what decides, canaries and shadows, at whatever scope.
    pub fn asked(&self) -> impl Iterator<Item = PluginInForce> {
        self.live.values().flat_map(BTreeMap::values).flat_map(|live| {
            let stable = if let Stable::On(version) = live.stable { Some(version) } else { None };
            [stable, live.canary.map(|canary| canary.version), live.shadow].into_iter().flatten()
        })
    }

    /// Every release of a kind that decides for anybody, at whatever scope.
    pub fn deciding(&self, kind: Kind) -> impl Iterator<Item = PluginInForce> {
        self.deciding_of(kind).map(|(_, version)| version)
    }

    /// The same with the plugins' ids, in their order.
    pub fn deciding_of(&self, kind: Kind) -> impl Iterator<Item = (&str, PluginInForce)> {
        let of = |live: &Live| {
            let stable = if let Stable::On(version) = live.stable { Some(version) } else { None };
            [stable, live.canary.map(|canary| canary.version)].into_iter().flatten()
        };
        let of_plugin = move |(plugin, scopes)| {
            let (plugin, scopes): (&String, &BTreeMap<Scope, Live>) = (plugin, scopes);
            scopes.values().flat_map(of).map(move |version| (plugin.as_str(), version))
        };
        self.live.iter().flat_map(of_plugin).filter(move |(_, version)| version.kind == kind)
    }

    /// Whether this component decides anywhere, for everybody or for a share.
    fn decides(&self, plugin: &str, digest: Digest) -> bool {
        let is_it = |live: &Live| {
            matches!(live.stable, Stable::On(version) if version.digest == digest)
                || live.canary.is_some_and(|canary| canary.version.digest == digest)
        };
        self.live.get(plugin).is_some_and(|scopes| scopes.values().any(is_it))
    }

    /// Whether work may still rest on this component.
    pub fn honours(&self, reliance: &Reliance) -> bool {
        if self.revoked.contains(&reliance.digest) {
            return false;
        }
        !reliance.in_force || self.decides(&reliance.plugin, reliance.digest)
    }
}
