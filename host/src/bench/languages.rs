//! What a call costs in another language: plugins in JavaScript and Python beside the fraud rules in Rust, block by block.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use koban_domain::guest::Happening;
use koban_domain::ids::RecordId;
use koban_domain::money::Money;
use koban_domain::records::Input;
use koban_domain::time::Timestamp;
use koban_runtime::{CallContext, Plugin};

use super::clients::now;
use super::figures::{self, Latencies};
use super::workloads::question;
use super::world::World;

/// Blocks of each side, alternating: a disturbance hits both.
const BLOCKS: usize = 20;
/// 2026-04-01 02:00 in Japan: a rule that looks at nights has something to do.
const NIGHT: Timestamp = Timestamp(1_774_976_400_000);

/// A plugin that is measured.
pub(super) struct Language {
    /// The workload's name.
    pub(super) workload: &'static str,
    /// The language.
    pub(super) name: &'static str,
    /// The plugin's id.
    pub(super) plugin: &'static str,
    /// What it is asked.
    pub(super) asked: fn() -> Input,
}

/// Every language but Rust.
pub(super) const LANGUAGES: [Language; 2] = [
    Language { workload: "js", name: "JavaScript", plugin: "fraud-night-owl", asked: payment_at_night },
    Language { workload: "python", name: "Python", plugin: "merchant-stamp-card", asked: payment_heard },
];

/// The language that this workload measures, if it measures one.
pub(super) fn name(workload: &str) -> Option<&'static str> {
    LANGUAGES.iter().find(|language| language.workload == workload).map(|language| language.name)
}

fn payment_at_night() -> Input {
    question("pay_bench", Money::yen(60_000))
}

/// A payment that brings the first stamp of a card.
fn payment_heard() -> Input {
    let happening = Happening {
        id: "evt_bench".to_owned(),
        kind: "payment.captured".to_owned(),
        at: u64::try_from(NIGHT.0).unwrap_or(0),
        amount: Some(Money::yen(1_280)),
        user: Some("wal_bench".to_owned()),
        merchant: Some("mer_bench".to_owned()),
        facts: Vec::new(),
    };
    Input::OnEvent(happening, Vec::new())
}

/// What was measured.
pub(super) struct Cost {
    /// Calls per second, one after the other.
    pub(super) per_second: f64,
    /// Calls of the rules in Rust per second.
    pub(super) rust_per_second: f64,
    /// One by the other, in time.
    pub(super) ratio: f64,
    /// Of the language's calls.
    pub(super) latencies: Latencies,
}

/// Measures so many calls in each block.
pub(super) async fn measure(world: &World, packages: &Path, language: &Language, calls: u64) -> anyhow::Result<Cost> {
    let plugin = load(world, packages, language.plugin).await?;
    let (mut theirs, mut rust, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    // One block of each beforehand: pages of the pools are touched, caches are warm.
    block(world, &plugin, language.asked, calls, &mut Vec::new()).await?;
    block(world, &world.rules, payment_at_night, calls, &mut Vec::new()).await?;
    for _ in 0..BLOCKS {
        theirs.push(block(world, &plugin, language.asked, calls, &mut latencies).await?);
        rust.push(block(world, &world.rules, payment_at_night, calls, &mut Vec::new()).await?);
    }
    let rate =
        |blocks: Vec<Duration>| figures::median(blocks.into_iter().map(|block| figures::per_second(calls, block)));
    let (per_second, rust_per_second) = (rate(theirs), rate(rust));
    let ratio = figures::ratio(rust_per_second, per_second);
    Ok(Cost { per_second, rust_per_second, ratio, latencies: Latencies::of(latencies) })
}

async fn load(world: &World, packages: &Path, id: &str) -> anyhow::Result<Plugin> {
    let dir = packages.join(id);
    let package = koban_author::package::open(&dir)
        .with_context(|| format!("no package in {}; `cargo xtask guests` builds it", dir.display()))?;
    let settings = package.manifest.settings(&[]).map_err(|errors| anyhow::anyhow!("{id}: {errors:?}"))?;
    let door = world.app.door.clone();
    // Compiling an interpreter takes seconds.
    let loaded = tokio::task::spawn_blocking(move || door.load(&package.component, &package.manifest, settings));
    Ok(loaded.await??)
}

async fn block(
    world: &World,
    plugin: &Plugin,
    asked: fn() -> Input,
    calls: u64,
    latencies: &mut Vec<u32>,
) -> anyhow::Result<Duration> {
    let from = now();
    for _ in 0..calls {
        let context = CallContext {
            id: RecordId(world.app.clock.id()),
            at: NIGHT,
            scope: "platform".to_owned(),
            seed: 7,
            locale: "ja".to_owned(),
        };
        let since = now();
        let called = world.app.door.call(plugin, context, asked()).await;
        latencies.push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
        called.result?;
    }
    Ok(now() - from)
}
