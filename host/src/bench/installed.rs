//! Many plugins on one host: how long a start takes until each of them can be called, and how much memory they hold.
//!
//! Each is the fraud rules with a byte of its own, so that no two share anything. They are compiled once, as installing does; then another
//! process starts with their compiled code, loads every one and calls it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use cap_std::fs::Dir;
use koban_author::package::{self, Package};
use koban_domain::ids::RecordId;
use koban_domain::money::Money;
use koban_domain::time::Timestamp;
use koban_runtime::{CallContext, Door, DoorConfig};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::clients::now;
use super::figures::{self, Latencies};
use super::report::Row;
use super::workloads::question;

/// How many are installed.
const PLUGINS: usize = 500;

/// What the process that started said.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    /// Until each could be called, the engine's own start included.
    ready_us: u64,
    /// Memory before and after, with every one loaded and called once.
    empty_kib: u64,
    full_kib: u64,
    /// Of the calls, one for each.
    calls_us: Vec<u32>,
}

/// Compiles them, and has another process start with them.
pub(super) fn measure(packages: &Path, say: impl Fn(&str)) -> anyhow::Result<Row> {
    say(&format!("installed: compiling {PLUGINS} plugins, a minute or two"));
    let dir = std::env::temp_dir().join(format!("koban-bench-plugins-{}", std::process::id()));
    std::fs::create_dir(&dir).with_context(|| format!("{} cannot be made; set TMPDIR", dir.display()))?;
    let measured = measure_in(packages, &dir);
    std::fs::remove_dir_all(&dir)?;
    measured
}

fn measure_in(packages: &Path, dir: &Path) -> anyhow::Result<Row> {
    let package = rules(packages)?;
    let from = now();
    let door = door(dir)?;
    for number in 0..PLUGINS {
        door.load(&another(&package, number), &package.manifest, settings(&package)?)?;
    }
    let compiling = from.elapsed();
    drop(door);
    let told = Command::new("/proc/self/exe")
        .args(["bench", "--packages"])
        .arg(packages)
        .arg("--start-with")
        .arg(dir)
        .output()
        .context("the process that starts with them")?;
    anyhow::ensure!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let started: Started = serde_json::from_slice(&told.stdout)?;
    let count = u64::try_from(PLUGINS)?;
    let ready = Duration::from_micros(started.ready_us);
    let kib = started.full_kib.saturating_sub(started.empty_kib) / count;
    let (per_second, compiled) = (figures::per_second(count, ready), figures::per_second(count, compiling));
    Ok(Row {
        workload: "installed",
        store: "none",
        clients: 1,
        plugins: PLUGINS,
        per_second,
        baseline_per_second: compiled,
        ratio: figures::ratio(per_second, compiled),
        latencies: Latencies::of(started.calls_us),
        audit: "none".to_owned(),
        beside: format!("compiling them; ready in {} ms (aim: 2,000), {kib} KiB each (aim: 400)", ready.as_millis()),
        stages: Vec::new(),
        deadlocks: None,
    })
}

/// What the other process does: starts with what is compiled there and tells of it on standard output.
pub(super) async fn start(packages: &Path, dir: &Path) -> anyhow::Result<()> {
    let package = rules(packages)?;
    let components: Vec<Vec<u8>> = (0..PLUGINS).map(|number| another(&package, number)).collect();
    let empty_kib = resident_kib()?;
    let from = now();
    let door = door(dir)?;
    let mut plugins = Vec::new();
    for component in components {
        plugins.push(door.load(&component, &package.manifest, settings(&package)?)?);
    }
    let ready = from.elapsed();
    let mut calls_us = Vec::new();
    for (number, plugin) in plugins.iter().enumerate() {
        let context = CallContext {
            id: RecordId(Uuid::from_u128(u128::try_from(number)?)),
            at: Timestamp(1_774_976_400_000),
            scope: "platform".to_owned(),
            seed: 7,
            locale: "ja".to_owned(),
        };
        let from = now();
        door.call(plugin, context, question("pay_bench", Money::yen(1_000))).await.result?;
        calls_us.push(u32::try_from(from.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let ready_us = u64::try_from(ready.as_micros()).unwrap_or(u64::MAX);
    let started = Started { ready_us, empty_kib, full_kib: resident_kib()?, calls_us };
    println!("{}", serde_json::to_string(&started)?);
    Ok(())
}

fn rules(packages: &Path) -> anyhow::Result<Package> {
    let dir = packages.join("fraud-rules");
    package::open(&dir).with_context(|| format!("no package in {}; `cargo xtask guests` builds it", dir.display()))
}

fn settings(package: &Package) -> anyhow::Result<Vec<koban_domain::guest::Named>> {
    package.manifest.settings(&[]).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

fn door(dir: &Path) -> anyhow::Result<Door> {
    let cache = Dir::open_ambient_dir(dir, cap_std::ambient_authority())?;
    Ok(Door::new(DoorConfig { cache: Some(cache), ..DoorConfig::default() })?)
}

/// The same component with a custom section of its own behind it (WebAssembly, binary format, 5.5.3): another digest, other compiled code.
fn another(package: &Package, number: usize) -> Vec<u8> {
    let name = format!("{number:08}");
    let mut bytes = package.component.clone();
    bytes.extend([0, 9, 8]);
    bytes.extend(name.as_bytes());
    bytes
}

/// Memory of this process that is in use, KiB (proc(5), `VmRSS`).
fn resident_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
