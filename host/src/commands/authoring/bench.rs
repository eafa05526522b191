//! `koban plugin bench`: one call many times, each in a fresh instance, as in production.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use koban_author::call::Call;
use koban_domain::records::Ending;
use serde_json::json;

use super::Place;
use super::door::{AtHand, circumstances, timed};
use super::figures::{self, grouped};
use crate::commands::{say, table};
use crate::config::Global;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The call
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    times: u32,
}

/// Runs the command.
pub(super) async fn run(global: &Global, arguments: &Arguments) -> anyhow::Result<()> {
    let at_hand = AtHand::open(&arguments.place)?;
    let call = Call::read(&arguments.file, &at_hand.package.manifest)?;
    let plugin = at_hand.with(call.settings.clone())?;
    let circumstances = || circumstances(call.at, &call.locale, call.seed);
    let mut times = Vec::new();
    let warm_up = arguments.times / 10;
    for round in 0..arguments.times + warm_up {
        let (called, us) = timed(&at_hand.door, &plugin, circumstances(), call.input.clone()).await;
        if let Ending::Fault(fault) = &called.record.ending {
            bail!("the call ended in a fault: {fault}");
        }
        if round >= warm_up {
            times.push(us);
        }
    }
    times.sort_unstable();
    let last = at_hand.door.call(&plugin, circumstances(), call.input.clone()).await.used(&plugin);
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied();
    let (p50, p99, max) = (at(50).unwrap_or(0), at(99).unwrap_or(0), times.last().copied().unwrap_or(0));
    let sum: u64 = times.iter().sum();
    let per_second = u64::from(arguments.times).saturating_mul(1_000_000).checked_div(sum).unwrap_or(0);
    let value = json!({
        "call": call.input.function(), "times": arguments.times, "p50_us": p50, "p99_us": p99, "max_us": max,
        "per_second": per_second, "used": figures::value(&at_hand.door, &last, Some(p50)),
    });
    say(global, &value, || {
        let row = vec![
            call.input.function().to_owned(),
            grouped(u64::from(arguments.times)),
            format!("{p50} us"),
            format!("{p99} us"),
            format!("{max} us"),
            grouped(per_second),
        ];
        let mut text = table(&["CALL", "TIMES", "P50", "P99", "MAX", "A SECOND, ONE BY ONE"], &[row]);
        text.push_str(&format!("\n\n{}", figures::text(&at_hand.door, &last, Some(p50))));
        if cfg!(debug_assertions) {
            text.push_str(
                "\n\nThis koban was built without optimisation: times are several times those of a release build.",
            );
        }
        text
    });
    Ok(())
}
