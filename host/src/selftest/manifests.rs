//! Manifests of the pack's guests: what they ask for is what their attacks need and nothing more.

use std::collections::{BTreeMap, BTreeSet};

use koban_domain::guest::CONTRACT;
use koban_domain::manifest::{Beginning, Kind, Manifest, ProposalKind};
use koban_domain::packages::Package;
use serde_json::{Value, json};

use super::guest::{Guest, VERSION};

/// The endpoint whose partner calls.
pub(super) const PARTNER: &str = "partner";
/// What it says.
pub(super) const SAY: &str = "say";
/// The budget of a tool.
pub(super) const BUDGET: &str = "loot";
/// Calls that guests may ask for, at every endpoint `out-…`.
pub(super) const OPERATIONS: &[&str] = &["echo", "redirect", "slow", "endless", "gzip", "heads"];

/// The manifest of a rule.
pub(super) fn rule(id: &str) -> Manifest {
    read(json!({
        "id": id, "version": VERSION, "contract": CONTRACT, "kind": "fraud-rule",
        "name": words("Selftest"), "purpose": words("Attacks the host that tries itself"),
        "codes": [{ "code": "known", "about": words("A code of the manifest") }],
    }))
}

/// The manifest of a channel: one partner that calls, and these endpoints that can be called, with a token.
pub(super) fn channel(id: &str, endpoints: &[&str]) -> Manifest {
    let operation = |name: &&str| json!({ "name": name, "method": "POST", "path": format!("/{name}"), "repeat": "never", "timeout_s": 1, "deadline_s": 5 });
    let operations: Vec<Value> = OPERATIONS.iter().map(operation).collect();
    let partner = json!({ "name": PARTNER, "credential": "standard-webhooks", "inbound": [{ "name": SAY }] });
    let called = endpoints.iter().map(|name| json!({ "name": name, "credential": "bearer", "operations": operations }));
    let endpoints: Vec<Value> = std::iter::once(partner).chain(called).collect();
    read(json!({
        "id": id, "version": VERSION, "contract": CONTRACT, "kind": "charge-channel",
        "name": words("Selftest"), "purpose": words("Attacks the host that tries itself"),
        "endpoints": endpoints,
        "proposals": { "charge": ["credit", "reverse", "tombstone"] },
        "codes": [{ "code": "known", "about": words("A code of the manifest") }],
        "texts": { "known": words("A text of the manifest") },
    }))
}

/// The same for a channel that takes money out.
pub(super) fn withdrawing(id: &str, endpoints: &[&str]) -> Manifest {
    let mut manifest = channel(id, endpoints);
    manifest.proposals.insert(Beginning::Withdraw, outgoing());
    manifest
}

/// The same for a payer of bills.
pub(super) fn payer(id: &str, endpoints: &[&str]) -> Manifest {
    let mut manifest = channel(id, endpoints);
    manifest.kind = Kind::BillPayer;
    manifest.proposals = BTreeMap::from([(Beginning::PayBill, outgoing())]);
    manifest
}

fn outgoing() -> BTreeSet<ProposalKind> {
    [ProposalKind::Hold, ProposalKind::Capture, ProposalKind::Release].into()
}

/// The manifest of an exchange. Nobody says where its feed is: it quotes what its guest makes up.
pub(super) fn exchange(id: &str) -> Manifest {
    let feed = json!({ "name": "daily", "method": "GET", "path": "/daily", "repeat": "safe", "timeout_s": 1, "deadline_s": 5,
        "feed_every_s": 3_600 });
    read(json!({
        "id": id, "version": VERSION, "contract": CONTRACT, "kind": "exchange",
        "name": words("Selftest"), "purpose": words("Attacks the host that tries itself"),
        "endpoints": [{ "name": "feed", "credential": "none", "operations": [feed] }],
        "codes": [{ "code": "known", "about": words("A code of the manifest") }],
    }))
}

/// The manifest of a tool that hears these events and has one budget.
pub(super) fn tool(id: &str, events: &[&str]) -> Manifest {
    read(json!({
        "id": id, "version": VERSION, "contract": CONTRACT, "kind": "merchant-tool", "events": events,
        "name": words("Selftest"), "purpose": words("Attacks the host that tries itself"),
        "budgets": [{ "name": BUDGET, "about": words("What it is after") }],
        "codes": [{ "code": "known", "about": words("A code of the manifest") }],
        "texts": { "known": words("A text of the manifest") },
    }))
}

/// A package of a guest under this manifest, unsigned.
pub(super) fn package(guest: &Guest, manifest: Manifest) -> anyhow::Result<Package> {
    Ok(Package { manifest, component: guest.build()?, documents: Vec::new(), signature: None })
}

fn words(en: &str) -> Value {
    json!({ "ja": "自己試験", "en": en })
}

/// A manifest is JSON of a known shape here; one that is not would be found by the pack's first test.
fn read(manifest: Value) -> Manifest {
    serde_json::from_value(manifest).unwrap_or_else(|error| unreachable!("a manifest of the pack: {error}"))
}
