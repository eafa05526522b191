//! Two hosts on one PostgreSQL: W3 and W4 through both together, beside what one of them does alone with W3.
//!
//! The two are whole hosts with connections, commit queues and caches of their own, in one process: they meet in the database and
//! nowhere else, and neither knows of the other.

use std::sync::Arc;

use anyhow::Context as _;

use super::clients::{self, Client, Outcome, Runs, Span};
use super::workloads::{HotMerchant, Transfers};
use super::world::World;

/// The seeds of these runs.
const STREAMS: u64 = 0x2_0057;

/// What was measured.
pub(super) struct Hosts {
    /// One host, W3.
    pub(super) alone: Runs,
    /// Both, half of each one's clients W3 and half W4.
    pub(super) together: Runs,
    /// Transactions that the server ended because they waited for each other, while all this ran.
    pub(super) deadlocks: i64,
}

/// Measures in turn, with so many clients for each host.
pub(super) async fn measure(world: &Arc<World>, clients: usize, span: Span, repetitions: u64) -> anyhow::Result<Hosts> {
    let other = world.another_host().await?;
    let before = deadlocks(world).await?;
    let (mut alone, mut together) = (Runs::default(), Runs::default());
    for repetition in 0..repetitions {
        let seed = STREAMS + 8 * repetition;
        alone.add(clients::run(span, Transfers::clients(world, clients, seed, 0)).await?);
        let mut both = Vec::with_capacity(2 * clients);
        for (host, seed) in [(world, seed + 1), (&other, seed + 3)] {
            both.extend(Transfers::clients(host, clients.div_ceil(2), seed, 0).into_iter().map(Either::Transfers));
            both.extend(HotMerchant::clients(host, clients / 2, seed + 1).into_iter().map(Either::HotMerchant));
        }
        together.add(clients::run(span, both).await?);
    }
    other.app.store.close().await;
    Ok(Hosts { alone, together, deadlocks: deadlocks(world).await? - before })
}

async fn deadlocks(world: &World) -> anyhow::Result<i64> {
    world.app.store.deadlocks().await?.context("only a server counts deadlocks")
}

/// A client of either workload.
enum Either {
    Transfers(Transfers),
    HotMerchant(HotMerchant),
}

impl Client for Either {
    async fn request(&mut self) -> anyhow::Result<Outcome> {
        match self {
            Either::Transfers(client) => client.request().await,
            Either::HotMerchant(client) => client.request().await,
        }
    }
}
