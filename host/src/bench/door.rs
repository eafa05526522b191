//! What the door costs: a call with slot, gate, record and counts beside the same component called raw, block by block.

use std::time::{Duration, Instant};

use koban_domain::guest::Context;
use koban_domain::ids::{PaymentId, RecordId};
use koban_domain::money::Money;
use koban_runtime::CallContext;

use super::clients::now;
use super::figures::{self, Latencies};
use super::workloads::question;
use super::world::World;

/// Blocks of each side, alternating: a disturbance hits both.
const BLOCKS: usize = 20;

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    /// Calls through the door, per second, one after the other.
    pub(super) per_second: f64,
    /// Raw calls, per second.
    pub(super) raw_per_second: f64,
    /// The door's median block by the raw one's, in time.
    pub(super) ratio: f64,
    /// Of calls through the door.
    pub(super) latencies: Latencies,
}

/// Measures so many calls in each block.
pub(super) async fn measure(world: &World, calls: u64) -> anyhow::Result<Doors> {
    let (mut door, mut raw, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    // One block of each beforehand: pages of the pool are touched, caches are warm.
    through_the_door(world, calls, &mut Vec::new()).await?;
    past_the_door(world, calls).await?;
    for _ in 0..BLOCKS {
        door.push(through_the_door(world, calls, &mut latencies).await?);
        raw.push(past_the_door(world, calls).await?);
    }
    let rate =
        |blocks: Vec<Duration>| figures::median(blocks.into_iter().map(|block| figures::per_second(calls, block)));
    let (per_second, raw_per_second) = (rate(door), rate(raw));
    let ratio = figures::ratio(raw_per_second, per_second);
    Ok(Doors { per_second, raw_per_second, ratio, latencies: Latencies::of(latencies) })
}

async fn through_the_door(world: &World, calls: u64, latencies: &mut Vec<u32>) -> anyhow::Result<Duration> {
    let from = now();
    for _ in 0..calls {
        let id = RecordId(world.app.clock.id());
        let context = CallContext {
            id,
            at: world.app.clock.now(),
            scope: "platform".to_owned(),
            seed: 7,
            locale: "ja".to_owned(),
        };
        let asked = now();
        let called =
            world.app.door.call(&world.rules, context, question(&PaymentId(id.0).to_string(), Money::yen(1_280))).await;
        latencies.push(us(asked.elapsed()));
        called.result?;
    }
    Ok(since(from))
}

async fn past_the_door(world: &World, calls: u64) -> anyhow::Result<Duration> {
    let from = now();
    for _ in 0..calls {
        let id = world.app.clock.id();
        let context = Context {
            call: RecordId(id).to_string(),
            scope: "platform".to_owned(),
            now: u64::try_from(world.app.clock.now().0).unwrap_or(0),
            seed: 7,
            locale: "ja".to_owned(),
        };
        let question = question(&PaymentId(id).to_string(), Money::yen(1_280));
        world.app.door.call_raw(&world.rules, &context, &question).await?;
    }
    Ok(since(from))
}

fn since(from: Instant) -> Duration {
    now() - from
}

fn us(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
