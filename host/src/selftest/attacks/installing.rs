//! Attacks on the way in: what a component imports and is made of, what compiling it takes, who signed it, and what it calls itself.

use std::collections::BTreeSet;

use koban_author::sign::SigningKey;
use koban_domain::manifest::{Manifest, ProposalKind};
use koban_domain::packages::{Document, Package};
use koban_domain::releases::State;
use koban_service::releases::{self, Accept, Move, Upload};
use koban_service::{Error, plugins, publishers};
use serde_json::json;

use super::Tries;
use crate::selftest::guest::Guest;
use crate::selftest::manifests::{self, package};
use crate::selftest::stage::Stage;

/// What is said when a component is brought as a rule of this id.
pub(super) async fn refused(stage: &Stage, id: &str, component: Vec<u8>) -> String {
    let package = Package { manifest: manifests::rule(id), component, documents: Vec::new(), signature: None };
    said(stage.install(package).await)
}

/// What is said when a guest is brought as a rule.
async fn guest_refused(stage: &Stage, guest: &Guest) -> anyhow::Result<String> {
    Ok(refused(stage, &guest.id, guest.build()?).await)
}

/// What came of bringing something.
fn said<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "installed".to_owned(),
        Err(error) => format!("install refused: {}", koban_service::ledger::chain(&error)),
    }
}

pub(super) async fn endless_start(stage: &Stage) -> Tries {
    let guest = Guest::rule("endless-start").defines("(func $start (loop $again (br $again))) (start $start)");
    Ok(vec![guest_refused(stage, &guest).await?])
}

/// Rules that import one thing each: its package, interface, item, function and shape.
async fn importing(stage: &Stage, id: &str, wishes: &[[&str; 5]]) -> Tries {
    let mut seen = Vec::new();
    for (number, [package, interface, item, function, shape]) in wishes.iter().enumerate() {
        let guest = Guest::rule(&format!("{id}-{}", number + 1)).imports(package, interface, item, function, shape);
        seen.push(guest_refused(stage, &guest).await?);
    }
    Ok(seen)
}

pub(super) async fn resources(stage: &Stage) -> Tries {
    let wish = ["koban:handles", "things", "resource thing { constructor(); }", "[constructor]thing", "(result i32)"];
    importing(stage, "resources", &[wish]).await
}

pub(super) async fn key_value(stage: &Stage) -> Tries {
    let wish = ["koban:store", "kv", "get: func(number: u32) -> u32;", "get", "(param i32) (result i32)"];
    importing(stage, "key-value", &[wish]).await
}

pub(super) async fn money_import(stage: &Stage) -> Tries {
    let wish = ["koban:money", "intent", "credit: func(minor: s64) -> u32;", "credit", "(param i64) (result i32)"];
    importing(stage, "money-import", &[wish]).await
}

pub(super) async fn wasi(stage: &Stage) -> Tries {
    let unit = |package, interface, item, function, shape| [package, interface, item, function, shape];
    let wishes = [
        unit("wasi:cli@0.2.0", "environment", "count: func() -> u32;", "count", "(result i32)"),
        unit("wasi:filesystem@0.2.0", "preopens", "count: func() -> u32;", "count", "(result i32)"),
        unit("wasi:sockets@0.2.0", "instance-network", "open: func() -> u32;", "open", "(result i32)"),
        unit("wasi:http@0.2.0", "outgoing-handler", "send: func(to: u32) -> u32;", "send", "(param i32) (result i32)"),
    ];
    importing(stage, "wasi", &wishes).await
}

pub(super) async fn clocks(stage: &Stage) -> Tries {
    let wishes = [
        ["wasi:clocks@0.2.0", "monotonic-clock", "now: func() -> u64;", "now", "(result i64)"],
        ["wasi:clocks@0.2.0", "wall-clock", "seconds: func() -> u64;", "seconds", "(result i64)"],
    ];
    importing(stage, "clocks", &wishes).await
}

pub(super) async fn random(stage: &Stage) -> Tries {
    let wish = ["wasi:random@0.2.0", "random", "get-random-u64: func() -> u64;", "get-random-u64", "(result i64)"];
    importing(stage, "random", &[wish]).await
}

pub(super) async fn features(stage: &Stage) -> Tries {
    let mut seen = Vec::new();
    for (number, module) in [
        "(memory 1 1 shared)",
        "(memory i64 1)",
        "(memory 1) (memory 1)",
        "(type (struct (field i32)))",
        "(tag)",
        "(func $tail (return_call $tail))",
        "(func (drop (v128.const i64x2 0 0)))",
        "(table i64 1 funcref)",
    ]
    .into_iter()
    .enumerate()
    {
        let component = wat::parse_str(format!("(component (core module {module}))"))?;
        seen.push(refused(stage, &format!("features-{}", number + 1), component).await);
    }
    let asynchronous = r#"(component (import "f" (func $f async)))"#;
    seen.push(refused(stage, "features-async", wat::parse_str(asynchronous)?).await);
    Ok(seen)
}

pub(super) async fn malformed(stage: &Stage) -> Tries {
    let good = Guest::rule("malformed").build()?;
    let mut noise = good.clone();
    for byte in noise.iter_mut().skip(8).step_by(97) {
        *byte ^= 0x5a;
    }
    let twice = r#"(component (core module (func (export "a")) (func (export "a"))))"#;
    let mut padded = good.clone();
    padded.extend(section(0, &[&[1, b'x'][..], &vec![0; 3 << 20]].concat()));
    let bytes = [
        Vec::new(),
        b"#!/bin/sh\nexec sh".to_vec(),
        good[..good.len() / 2].to_vec(),
        noise,
        nested_types(100_000),
        many_functions(1_000_001),
        wat::parse_str(format!("(component (core module {}))", "(func)".repeat(20_001)))?,
        padded,
        wat::parse_str(twice)?,
        wat::parse_str("(module)")?,
    ];
    let mut seen = Vec::new();
    for component in bytes {
        seen.push(refused(stage, "malformed", component).await);
    }
    Ok(seen)
}

/// A component of so many types, each a list of the one before.
fn nested_types(count: u32) -> Vec<u8> {
    let mut types = leb(count);
    types.extend([0x70, 0x7f]);
    for number in 0..count - 1 {
        types.push(0x70);
        types.extend(leb(number));
    }
    [b"\0asm\x0d\0\x01\0".to_vec(), section(7, &types)].concat()
}

/// A component whose module announces so many functions.
fn many_functions(count: u32) -> Vec<u8> {
    let zeros = vec![0; usize::try_from(count).unwrap_or(0)];
    let module = [b"\0asm\x01\0\0\0".to_vec(), section(1, &[1, 0x60, 0, 0]), section(3, &[leb(count), zeros].concat())];
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module.concat())].concat()
}

/// A section of a binary: its number, its length and its content.
fn section(number: u8, content: &[u8]) -> Vec<u8> {
    [vec![number], leb(u32::try_from(content.len()).unwrap_or(u32::MAX)), content.to_vec()].concat()
}

/// A number as binaries write it (LEB128).
fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let seven = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(seven);
            return bytes;
        }
        bytes.push(seven | 0x80);
    }
}

/// A jump to any of 2,000 nested places, each of which is given a thousand values: nine kilobytes to read, and more to compile than there is
/// memory for.
pub(super) async fn compile_bomb(stage: &Stage) -> Tries {
    const PLACES: usize = 2_000;
    const VALUES: usize = 1_000;
    let places: String = (0..PLACES).map(|number| format!(" {number}")).collect();
    let text = format!(
        "(component (core module
            (type $many (func (result{values})))
            (func (param i32) {blocks} {pushes} local.get 0 br_table{places} {ends} {drops})))",
        values = " i32".repeat(VALUES),
        blocks = "block (type $many) ".repeat(PLACES),
        pushes = "local.get 0 ".repeat(VALUES),
        ends = "end ".repeat(PLACES),
        drops = "drop ".repeat(VALUES),
    );
    Ok(vec![refused(stage, "compile-bomb", wat::parse_str(text)?).await])
}

/// Machine code that this very host compiled, brought as a component.
pub(super) async fn machine_code(stage: &Stage) -> Tries {
    let mut found = None;
    for entry in std::fs::read_dir(&stage.compiled)? {
        let bytes = std::fs::read(entry?.path())?;
        if let Some(at) = bytes.windows(4).position(|four| four == b"\x7fELF") {
            found = Some(bytes[at..].to_vec());
            break;
        }
    }
    let code =
        found.ok_or_else(|| anyhow::anyhow!("this host keeps no compiled code in {}", stage.compiled.display()))?;
    Ok(vec![refused(stage, "machine-code", code).await])
}

/// A publisher of this name whom the platform trusts.
async fn trusted(stage: &Stage, name: &str) -> anyhow::Result<SigningKey> {
    let key = SigningKey::create(&stage.dir.join(format!("{name}.key")))?;
    publishers::add(&stage.app, &stage.operator(), name, &key.public_key()).await?;
    publishers::trust(&stage.app, &stage.operator(), name, "its key was compared").await?;
    Ok(key)
}

/// A rule of this id and version, as its author packs it.
fn packed(id: &str, version: &str) -> anyhow::Result<Package> {
    let manifest = Manifest { version: version.to_owned(), ..manifests::rule(id) };
    package(&Guest::rule(id).version(version), manifest)
}

async fn signed(stage: &Stage, package: Package) -> Result<releases::ReleaseView, Error> {
    releases::upload(&stage.app, &stage.operator(), Upload { package, unsigned: false }).await
}

pub(super) async fn signatures(stage: &Stage) -> Tries {
    let known = trusted(stage, "known").await?;
    let stranger = SigningKey::create(&stage.dir.join("stranger.key"))?;
    let good = packed("signatures", "1.0.0")?;
    let by = |key: &SigningKey| {
        let mut package = good.clone();
        key.sign(&mut package);
        package
    };
    let ours = by(&known);
    let more = Document { name: "README.md".to_owned(), body: b"other words".to_vec() };
    let other = Manifest { facts: vec!["device.id".to_owned()], ..ours.manifest.clone() };
    let mut seen = Vec::new();
    for package in [
        good.clone(),
        by(&stranger),
        Package { documents: vec![more], ..ours.clone() },
        Package { manifest: other, ..ours.clone() },
        Package { component: packed("signatures", "1.0.1")?.component, ..ours.clone() },
    ] {
        seen.push(said(signed(stage, package).await));
    }
    // A second component behind the first: part 2 of the file's format stands twice.
    let mut bytes = good.content();
    bytes.push(2);
    bytes.extend(u32::try_from(good.component.len())?.to_be_bytes());
    bytes.extend(&good.component);
    seen.push(match Package::decode(&bytes) {
        Ok(_) => "read".to_owned(),
        Err(error) => format!("install refused: {error}"),
    });
    Ok(seen)
}

pub(super) async fn downgrade(stage: &Stage) -> Tries {
    let key = trusted(stage, "downgrader").await?;
    let mut seen = Vec::new();
    for version in ["1.0.5", "1.0.4"] {
        let mut package = packed("downgrade", version)?;
        key.sign(&mut package);
        let release = signed(stage, package).await?;
        let accept = Accept { settings: Some(Vec::new()), asks: Some(release.asks), ..Accept::default() };
        seen.push(said(releases::install(&stage.app, &stage.operator(), "downgrade", release.digest, accept).await));
    }
    Ok(seen)
}

/// The next version of a channel asks for one endpoint more, and is accepted on the strength of the first one's consent.
pub(super) async fn greedy_update(stage: &Stage) -> Tries {
    let id = "greedy-update";
    let guest = crate::selftest::stage::honest(id, 1);
    stage.channel(&guest, &[]).await?;
    let in_force = plugins::get(&stage.app, id).await?.digest;
    let version = "1.1.0";
    let manifest = Manifest { version: version.to_owned(), ..manifests::channel(id, &["exfiltration"]) };
    let release = stage.upload(package(&guest.version(version), manifest)?).await?;
    let accept = Accept { settings: Some(Vec::new()), ..Accept::default() };
    let accepted = releases::install(&stage.app, &stage.operator(), id, release.digest, accept).await;
    let enabled = releases::move_to(&stage.app, &stage.operator(), id, release.digest, &Move::to(State::Enabled)).await;
    let now = plugins::get(&stage.app, id).await?;
    let stays = if now.digest == in_force && now.state == State::Enabled && enabled.is_err() {
        "the old one decides".to_owned()
    } else {
        format!("{} is {}", now.version, now.state.word())
    };
    Ok(vec![said(accepted), stays])
}

/// A publisher is revoked while its plugin is in force.
pub(super) async fn revoked_publisher(stage: &Stage) -> Tries {
    let key = trusted(stage, "to-be-revoked").await?;
    let mut package = packed("revoked", "1.0.0")?;
    key.sign(&mut package);
    let release = signed(stage, package.clone()).await?;
    let accept = Accept { settings: Some(Vec::new()), asks: Some(release.asks), ..Accept::default() };
    releases::install(&stage.app, &stage.operator(), "revoked", release.digest, accept).await?;
    let shop = stage.merchant().await?;
    let step = Move { scope: koban_domain::releases::Scope::Merchant(shop), ..Move::to(State::Enabled) };
    releases::move_to(&stage.app, &stage.operator(), "revoked", release.digest, &step).await?;
    stage.pay(shop, 1).await?;
    let calls = stage.records("revoked").await?.len();
    publishers::revoke(&stage.app, &stage.operator(), "to-be-revoked", "its key was stolen").await?;
    stage.pay(shop, 1).await?;
    let asked_again = stage.records("revoked").await?.len() > calls;
    let standing = releases::get(&stage.app, "revoked", release.digest).await?;
    let state = standing.scopes.iter().find(|placed| placed.scope == step.scope).map(|placed| placed.state.word());
    let taken_out = if asked_again { "still asked" } else { state.unwrap_or("taken out") };
    Ok(vec![taken_out.to_owned(), said(signed(stage, package).await)])
}

pub(super) async fn look_alikes(stage: &Stage) -> Tries {
    let mut seen = Vec::new();
    for id in [
        "Fraud-Rules",
        "fraud\u{2011}rules",
        "fr\u{430}ud-rules",
        "fraud-rules\u{202e}",
        "fraud rules",
        "../rules",
        "",
        "koban-rules",
    ] {
        let manifest = Manifest { id: id.to_owned(), ..manifests::rule("look-alike") };
        seen.push(said(stage.upload(package(&Guest::rule(id), manifest)?).await));
    }
    Ok(seen)
}

/// A component that calls itself otherwise than its manifest does.
pub(super) async fn impostor(stage: &Stage) -> Tries {
    let mut seen = vec![refused(stage, "impostor", Guest::rule("neighbour-rule").defines("(func)").build()?).await];
    let other = Guest::rule("impostor").version("2.0.0").build()?;
    seen.push(refused(stage, "impostor", other).await);
    Ok(seen)
}

/// A rule whose manifest asks for what rules do not get, and a channel that asks for proposals that a charge may never make.
pub(super) async fn greedy_manifests(stage: &Stage) -> Tries {
    let guest = Guest::rule("greedy");
    let mut rule = manifests::rule("greedy");
    rule.endpoints = manifests::channel("greedy", &["out"]).endpoints;
    let channel = crate::selftest::stage::honest("greedy-channel", 1);
    let mut holds = manifests::channel("greedy-channel", &[]);
    for proposals in holds.proposals.values_mut() {
        *proposals = BTreeSet::from([ProposalKind::Hold, ProposalKind::Capture]);
    }
    let unknown = Manifest { facts: vec!["user.name".to_owned()], ..manifests::rule("greedy") };
    let mut seen = Vec::new();
    for (guest, manifest) in [(&guest, rule), (&channel, holds), (&guest, unknown)] {
        seen.push(said(stage.upload(package(guest, manifest)?).await));
    }
    Ok(seen)
}

/// A plugin that would like to hear and to say what only the platform says.
pub(super) async fn event_names(stage: &Stage) -> Tries {
    let manifest = Manifest { events: vec!["payment.completed".to_owned()], ..manifests::rule("event-names") };
    let mut seen = vec![said(stage.upload(package(&Guest::rule("event-names"), manifest)?).await)];
    let reason =
        json!({ "ok": { "verdict": "allow", "score": 0, "reasons": [{ "code": "payment.paid", "weight": 1 }] } });
    let guest = Guest::new("event-codes").answers("assess", "assess", reason);
    seen.push(crate::selftest::stage::ended(stage.judged(&guest).await?.as_ref()));
    Ok(seen)
}

/// A rule that faults at every call is asked until it has faulted once too often.
pub(super) async fn quarantined(stage: &Stage) -> Tries {
    let guest = Guest::new("faulty").answers("assess", "assess", json!(null));
    let shop = stage.rule(&guest).await?;
    let mut declined = 0_u32;
    // Twenty faults within a minute take it out, at the side of the call that was the last one.
    for _ in 0..60 {
        match stage.pay(shop, 1).await {
            Ok(_) => break,
            Err(_) => declined += 1,
        }
        tokio::time::sleep(std::time::Duration::from_millis(if declined < 20 { 0 } else { 50 })).await;
    }
    let release = releases::list(&stage.app, "faulty").await?;
    let placed = release.first().and_then(|release| release.scopes.first()).map(|placed| placed.state.word());
    let paid = if stage.pay(shop, 1).await.is_ok() { "others decide" } else { "it still decides" };
    // Whoever is taken out answered all payments but those that were under way with the last fault.
    Ok(vec![placed.unwrap_or("not there").to_owned(), paid.to_owned()])
}
