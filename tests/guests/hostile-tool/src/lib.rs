//! A merchant tool that attacks its host as its settings say. For tests only.

use std::hint::black_box;

use koban_sdk::on_event::{Action, Event, Remembered};
use koban_sdk::{Context, Failure, Money, Named, OnEvent, Plugin, Reader, SETTINGS_INVALID, Settings, merchant_tool};

/// The plugin.
pub struct HostileTool;

merchant_tool!(HostileTool);

/// Which attack.
pub struct Attack {
    name: String,
}

impl Settings for Attack {
    fn read(list: &[Named]) -> Result<Attack, Vec<Failure>> {
        let mut read = Reader::of(list);
        let attack = Attack { name: read.one("attack") };
        read.finish(attack)
    }
}

impl Plugin for HostileTool {
    type Settings = Attack;
}

impl OnEvent for HostileTool {
    fn on_event(_: &Context, attack: &Attack, event: &Event, _: &[Remembered]) -> Result<Vec<Action>, Failure> {
        let is_bonus = event.kind.starts_with("bonus.");
        Ok(match attack.name.as_str() {
            // Every bonus is a reason for another one.
            "round" => vec![loot(1)],
            _ if is_bonus => Vec::new(),
            "none" => Vec::new(),
            "thanks" => vec![loot(1)],
            "loop" => run_for_ever(),
            "panic" => panic!("a panic on purpose, at {}", event.kind),
            "foreign-budget" => vec![Action::bonus("anothers", Money::yen(1), "hostile")],
            "free" => vec![loot(0)],
            "negative" => vec![loot(-1)],
            "greedy" => vec![loot(i64::MAX)],
            "twice" => vec![loot(1), loot(2), loot(3)],
            "many" => vec![loot(1); 17],
            "large" => vec![Action::put_for_scope("large", "x".repeat(2_001))],
            // More names than a scope has, over many events: each event brings sixteen new ones.
            "fill" => {
                (0..16).map(|number| Action::put_for_scope(&format!("{}-{number}", name_of(event)), true)).collect()
            }
            "long-reason" => vec![Action::bonus("loot", Money::yen(1), "no_code_of_mine")],
            "tell" => vec![Action::tell("hello"), loot(1)],
            other => return Err(Failure::new(SETTINGS_INVALID, format!("there is no attack `{other}`"))),
        })
    }
}

fn loot(minor: i64) -> Action {
    Action::bonus("loot", Money::yen(minor), "hostile")
}

/// A name of 16 letters and digits that no other event has.
fn name_of(event: &Event) -> String {
    let letters: Vec<char> = event.id.chars().filter(char::is_ascii_alphanumeric).collect();
    letters[letters.len().saturating_sub(16)..].iter().collect()
}

fn run_for_ever() -> Vec<Action> {
    let mut number = 0_u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}
