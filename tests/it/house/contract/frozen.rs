//! A frozen contract never changes again: what has shipped stays as it is, and growth is a new interface.
//!
//! Proven on a fixture, for the contract of this host is still a preview. When a folder `wit/v1` is there, the preview is held against it as well.

use wit_parser::Resolve;

use super::{Contract, Function, Interface, Shape};
use crate::house::{none, root};

/// Everything in which a contract breaks one that was frozen.
fn breaches(frozen: &Contract, now: &Contract) -> Vec<String> {
    let mut found = Vec::new();
    for old in &frozen.interfaces {
        match now.interface(&old.name) {
            Some(new) => broken(old, new, frozen.is_exported(&old.name), &mut found),
            None => found.push(format!("interface `{}` is gone", old.name)),
        }
    }
    for old in &frozen.worlds {
        let new = now.worlds.iter().find(|new| new.name == old.name);
        if new.is_none_or(|new| (&new.imports, &new.exports) != (&old.imports, &old.exports)) {
            found.push(format!("world `{}` is another one, or gone", old.name));
        }
    }
    found
}

fn broken(old: &Interface, new: &Interface, exported: bool, found: &mut Vec<String>) {
    let place = &old.name;
    for kind in &old.types {
        match new.types.iter().find(|candidate| candidate.name == kind.name) {
            Some(candidate) if candidate.shape == kind.shape => {}
            Some(_) => found.push(format!("{} `{place}.{}` has changed", word(&kind.shape), kind.name)),
            None => found.push(format!("{} `{place}.{}` is gone", word(&kind.shape), kind.name)),
        }
    }
    for used in &old.uses {
        if !new.uses.contains(used) {
            found.push(format!("`{place}` uses `{}.{}` no more", used.0, used.1));
        }
    }
    for function in &old.functions {
        match new.functions.iter().find(|candidate| candidate.name == function.name) {
            Some(candidate) if same(candidate, function) => {}
            Some(_) => found.push(format!("function `{place}.{}` has changed", function.name)),
            None => found.push(format!("function `{place}.{}` is gone", function.name)),
        }
    }
    // Guests that exist do not have it; an import may grow, because guests that exist do not ask for more.
    let added = new.functions.iter().filter(|candidate| old.functions.iter().all(|old| old.name != candidate.name));
    for function in added.filter(|_| exported) {
        found.push(format!("exported interface `{place}` has grown by `{}`: make a new one", function.name));
    }
}

fn same(one: &Function, other: &Function) -> bool {
    (&one.params, &one.result) == (&other.params, &other.result)
}

fn word(shape: &Shape) -> &'static str {
    match shape {
        Shape::Record(_) => "record",
        Shape::Variant(_) => "variant",
        Shape::Enum(_) => "enum",
        Shape::Alias(_) => "type",
    }
}

const FROZEN: &str = include_str!("../../../fixtures/contract/frozen/contract.wit");

/// The fixture with one text in place of another.
fn changed(from: &str, to: &str) -> Contract {
    assert_eq!(FROZEN.matches(from).count(), 1, "the fixture has this once: {from}");
    contract(&FROZEN.replace(from, to))
}

fn contract(text: &str) -> Contract {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("contract.wit", text).unwrap_or_else(|error| panic!("{error:#}\n{text}"));
    Contract::of(&resolve, package)
}

#[track_caller]
fn breaks(from: &str, to: &str, expected: &[&str]) {
    assert_eq!(breaches(&contract(FROZEN), &changed(from, to)), expected, "{from} -> {to}");
}

#[test]
fn nothing_that_has_shipped_may_change() {
    breaks("minor: s64,", "minor: s64,\n    cents: u8,", &["record `types.money` has changed"]);
    breaks("    currency: string,\n", "", &["record `types.money` has changed"]);
    breaks("minor: s64,", "minor: u64,", &["record `types.money` has changed"]);
    breaks("minor: s64,", "amount: s64,", &["record `types.money` has changed"]);
    breaks("at: instant,", "at: option<instant>,", &["record `assess.payment` has changed"]);
    breaks("refused(string),", "refused(string),\n    later,", &["variant `assess.outcome` has changed"]);
    breaks("allow, step-up,", "step-up, allow,", &["enum `assess.verdict` has changed"]);
    breaks("type instant = u64;", "type instant = s64;", &["type `types.instant` has changed"]);
    breaks(
        "  type instant = u64;",
        "  record moment { ms: u64 }\n  type instant = u32;",
        &["type `types.instant` has changed"],
    );
    breaks(
        "payment: payment) -> verdict",
        "payment: payment, score: u32) -> verdict",
        &["function `assess.assess` has changed"],
    );
    breaks("payment: payment) -> verdict", "of: payment) -> verdict", &["function `assess.assess` has changed"]);
    breaks(
        "explain: func",
        "describe: func",
        &["function `assess.explain` is gone", "exported interface `assess` has grown by `describe`: make a new one"],
    );
    breaks(
        "explain: func() -> outcome;",
        "explain: func() -> outcome;\n  again: func();",
        &["exported interface `assess` has grown by `again`: make a new one"],
    );
    breaks("export assess;", "export assess; export other;", &["world `rule` is another one, or gone"]);
    breaks("world rule", "world rules", &["world `rule` is another one, or gone"]);
    let without_an_interface = FROZEN.replace("interface other {\n  nothing: func();\n}\n", "");
    assert_eq!(breaches(&contract(FROZEN), &contract(&without_an_interface)), ["interface `other` is gone"]);
}

#[test]
fn a_contract_grows_by_new_interfaces() {
    let grown = FROZEN.replace(
        "world rule",
        "interface assess-two {\n  use types.{money};\n  record payment { amount: money, at: u64, place: string }\n  \
         assess: func(payment: payment) -> u32;\n}\nworld rule-two { import log; export assess-two; }\nworld rule",
    );
    assert_eq!(breaches(&contract(FROZEN), &contract(&grown)), [""; 0]);
    // A type more in a shipped interface harms nobody, and what hosts give may grow.
    for (from, to) in [
        ("  type instant = u64;", "  type instant = u64;\n  type day = u32;"),
        ("write: func(line: string);", "write: func(line: string);\n  flush: func();"),
        ("/// An amount.", "/// An amount, said better."),
    ] {
        breaks(from, to, &[]);
    }
}

#[test]
fn what_is_frozen_still_stands_in_the_preview() {
    let home = root().join("wit");
    let now = Contract::read(&home.join("preview"));
    let mut findings = Vec::new();
    for entry in std::fs::read_dir(&home).expect("the contract's folder") {
        let name = entry.expect("a folder").file_name().to_string_lossy().into_owned();
        if name == "preview" {
            continue;
        }
        let breaches = breaches(&Contract::read(&home.join(&name)), &now);
        findings.extend(breaches.into_iter().map(|breach| format!("wit/{name}:1: error: {breach}")));
    }
    assert!(now.interfaces.len() > 15, "the preview was read");
    none(findings);
}
