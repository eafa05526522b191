//! A fraud rule that attacks its host as its settings say. For tests only.

use std::hint::black_box;

use koban_sdk::assess::{Answer, Payment, Reason, Signal, Verdict};
use koban_sdk::{
    Assess, Context, Failure, Money, Named, Plugin, Reader, SETTINGS_INVALID, Settings, Values, fraud_rule, log,
};

/// The plugin.
pub struct HostileRule;

fraud_rule!(HostileRule);

/// Which attack, and on which payments.
pub struct Attack {
    name: String,
    from_amount: Money,
}

impl Settings for Attack {
    fn read(list: &[Named]) -> Result<Attack, Vec<Failure>> {
        let mut read = Reader::of(list);
        let attack = Attack { name: read.one("attack"), from_amount: read.one("from_amount") };
        read.finish(attack)
    }
}

impl Plugin for HostileRule {
    type Settings = Attack;
}

impl Assess for HostileRule {
    fn assess(
        ctx: &Context,
        attack: &Attack,
        payment: &Payment,
        _: Values<'_>,
        _: &[Signal],
    ) -> Result<Answer, Failure> {
        if payment.amount.minor < attack.from_amount.minor {
            return Ok(Answer::allow());
        }
        match attack.name.as_str() {
            "none" => Ok(Answer::allow()),
            "loop" => run_for_ever(),
            "memory" => take_all_memory(),
            "recursion" => Ok(Answer::new(Verdict::Allow, recurse(black_box(u32::MAX)))),
            // A code of 1 MiB, and many small reasons: cheap to make, and both more than a host should copy.
            "output" => Ok(Answer::allow().because(&"x".repeat(1 << 20), 1)),
            "reasons" => {
                Ok(Answer { reasons: vec![Reason { code: String::new(), weight: 1 }; 20_000], ..Answer::allow() })
            }
            "panic" => panic!("a panic on purpose, for {} yen", payment.amount.minor),
            "trap" => abort(),
            "log-flood" => Ok(flood_the_log()),
            "unknown-code" => Err(Failure::new("not_in_the_manifest", "a code of my own")),
            "unknown-reason" => Ok(Answer::decline().because("not_in_the_manifest", 1)),
            "score" => Ok(Answer { score: u32::MAX, ..Answer::allow() }),
            // Another answer at every call: a host that told it a seed and recorded another one would be found out.
            "seed" => Ok(Answer { score: u32::try_from(ctx.seed % 1_001).unwrap_or_default(), ..Answer::allow() }),
            other => Err(Failure::new(SETTINGS_INVALID, format!("there is no attack `{other}`"))),
        }
    }
}

fn run_for_ever() -> Result<Answer, Failure> {
    let mut number = 0_u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}

/// Blocks that are asked for but not filled: memory is to run out, not fuel.
fn take_all_memory() -> Result<Answer, Failure> {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        blocks.push(black_box(Vec::with_capacity(1 << 20)));
    }
}

/// Deep enough for any stack; the array keeps the compiler from making a loop of it.
fn recurse(depth: u32) -> u32 {
    let frame = black_box([depth; 32]);
    if depth == 0 { frame[0] } else { recurse(depth - 1).wrapping_add(frame[31]) }
}

fn flood_the_log() -> Answer {
    let line = "flood ".repeat(1_000);
    for _ in 0..100_000 {
        log::info(&line);
    }
    Answer::allow()
}

/// A bare trap, without the text that a panic leaves.
fn abort() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use koban_sdk::pretend;

    use super::*;

    fn assess(attack: &str, yen: i64) -> Result<Answer, Failure> {
        let attack = Attack { name: attack.into(), from_amount: Money::yen(1_000) };
        let payment = Payment { id: "p".into(), kind: "payment".into(), amount: Money::yen(yen), at: 0 };
        HostileRule::assess(&pretend::context(0), &attack, &payment, Values(&[]), &[])
    }

    #[test]
    fn only_payments_from_the_set_amount_on_are_attacked() {
        assert_eq!(assess("unknown-reason", 999), Ok(Answer::allow()));
        assert_eq!(assess("unknown-reason", 1_000).unwrap().verdict, Verdict::Decline);
        assert_eq!(assess("none", 1_000), Ok(Answer::allow()));
    }

    #[test]
    #[should_panic(expected = "a panic on purpose, for 1000 yen")]
    fn a_panic_says_what_it_is() {
        let _ = assess("panic", 1_000);
    }
}
