//! What the door costs: its calls beside raw calls of the same component, in alternating blocks.
//!
//! `cargo run --release -p koban-runtime --example door-cost`

#![expect(clippy::disallowed_methods, reason = "it measures durations")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use koban_domain::guest::{Context, Named, Signal};
use koban_domain::money::Money;
use koban_domain::records::Input;
use koban_runtime::{Door, DoorConfig};

const BLOCKS: usize = 20;
const CALLS: u32 = 2_000;

fn input() -> Input {
    let Input::Assess(payment, ..) = support::assess() else { unreachable!() };
    let facts = vec![
        Named::text("account.kind", "funds"),
        Named::whole("account.age_days", 400),
        Named::flag("payee.first_time", true),
        Named::text("merchant.category", "5812"),
    ];
    let signal = |name: &str| Signal { name: name.into(), window_s: 3_600, count: 3, sum: Money::yen(9_000) };
    Input::Assess(payment, facts, vec![signal("user_hour"), signal("device_hour"), signal("merchant_hour")])
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let door = Door::new(DoorConfig::default()).expect("the door opens");
    let settings = (0..12).map(|number| Named::whole(&format!("setting_{number}"), number)).collect();
    let plugin = door.load(&support::good_rule(), &support::manifest(), settings).expect("the rule loads");
    let context = Context { call: "dec_1".into(), scope: "platform".into(), now: 1, seed: 7, locale: "ja".into() };
    let (mut raw_ns, mut door_ns) = (Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        let input = input();
        let since = Instant::now();
        for _ in 0..CALLS {
            door.call_raw(&plugin, &context, &input).await.expect("the rule answers");
        }
        raw_ns.push(since.elapsed().as_nanos() / u128::from(CALLS));
        let since = Instant::now();
        for number in 0..CALLS {
            let called = door.call(&plugin, support::context(number.into()), input.clone()).await;
            assert!(called.result.is_ok());
        }
        door_ns.push(since.elapsed().as_nanos() / u128::from(CALLS));
    }
    raw_ns.sort_unstable();
    door_ns.sort_unstable();
    let (raw, through) = (raw_ns[BLOCKS / 2], door_ns[BLOCKS / 2]);
    println!("raw {raw} ns, door {through} ns, ratio {} %", through * 100 / raw);
}
