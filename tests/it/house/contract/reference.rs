//! The reference of the contract is made from its WIT: every interface, type, field, case and function, each with its documentation.

use std::fmt::Write as _;

use koban_domain::manifest::{Kind, NOT_DRIVEN};

use super::{Contract, Function, Interface, Named, Part, Shape};
use crate::house::{none, root};

const PAGE: &str = "docs/reference/contract.md";

/// The interfaces in the order in which one reads them, with the headings above them.
const ORDER: &[(&str, &[&str])] = &[
    ("Everybody's", &["types", "plugin", "log"]),
    ("Flows", &["flow", "machine", "inbound", "files", "settlement", "migrate"]),
    ("What begins flows", &["charge", "withdraw", "pay-bill", "link-account", "sync"]),
    ("Decisions", &["assess", "market", "rates", "quote", "accounts", "statement", "on-event", "table"]),
];

#[test]
fn every_item_of_the_contract_is_documented() {
    let contract = Contract::read(&root().join("wit/preview"));
    let mut findings = Vec::new();
    for interface in &contract.interfaces {
        let mut check = |item: &str, docs: &str| {
            if docs.is_empty() {
                let (file, item) = (&interface.name, item.trim_end_matches('.'));
                findings.push(format!("wit/preview/{file}.wit:1: error: `{item}` has no documentation"));
            }
        };
        check(&interface.name, &interface.docs);
        for kind in &interface.types {
            check(&kind.name, &kind.docs);
            for part in parts(&kind.shape) {
                check(&format!("{}.{}", kind.name, part.name), &part.docs);
            }
        }
        for function in &interface.functions {
            check(&function.name, &function.docs);
        }
    }
    none(findings);
}

/// A guest's refusal is part of a function; its documentation says what comes of it.
#[test]
fn every_function_that_can_fail_says_what_its_errors_mean() {
    let contract = Contract::read(&root().join("wit/preview"));
    let silent = contract.interfaces.iter().flat_map(|interface| {
        let fails = |function: &&Function| function.result.as_ref().is_some_and(|result| result.contains("failure"));
        let says = |docs: &str| {
            ["Errors:", "or a failure", "a failure is", "wrong at once"].iter().any(|it| docs.contains(it))
        };
        let functions = interface.functions.iter().filter(fails).filter(move |function| !says(&function.docs));
        functions.map(move |function| (interface, function))
    });
    none(
        silent
            .map(|(interface, function)| {
                let (file, name) = (&interface.name, &function.name);
                format!(
                    "wit/preview/{file}.wit:1: error: `{name}` does not say what its errors mean, write `Errors: …`"
                )
            })
            .collect(),
    );
}

#[test]
fn the_page_of_the_contract_is_what_the_wit_says() {
    let contract = Contract::read(&root().join("wit/preview"));
    let listed: Vec<&str> = ORDER.iter().flat_map(|(_, names)| *names).copied().collect();
    for interface in &contract.interfaces {
        assert!(listed.contains(&interface.name.as_str()), "put `{}` into the order of {PAGE}", interface.name);
    }
    let expected = page(&contract);
    let path = root().join(PAGE);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found == expected {
        return;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, expected).expect("the page can be written");
        return;
    }
    let line = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    let line = line.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    panic!(
        "{PAGE}:{}: error: the page is not what wit/preview says, run `UPDATE_EXPECT=1 cargo test --workspace --test it contract`\n\
         should be: {}",
        line + 1,
        expected.lines().nth(line).unwrap_or("(nothing)")
    );
}

fn page(contract: &Contract) -> String {
    let mut page = String::from(
        "# The contract\n\nWhat passes between Koban and its plugins, made from [`wit/preview`](../../wit/preview): every interface with its types and functions. \
         It is a preview: nothing is frozen yet. The package is `koban:plugin@0.1.0`. The [manifest](manifest.md) says which of these a plugin uses; \
         the bounds on sizes are in [its limits](manifest.md#limits).\n\n",
    );
    page.push_str("A function that fails gives a [failure](#failure): the plugin's own refusal. A trap, an answer beyond a bound or one that the manifest does not grant is a \
         [fault](manifest.md#faults).\n\n## Kinds\n\n| kind | exports | may export |\n|---|---|---|\n");
    for kind in Kind::ALL {
        let list =
            |names: &[&str]| names.iter().map(|name| format!("[`{name}`](#{name})")).collect::<Vec<_>>().join(", ");
        let (needs, may) = (list(kind.required_interfaces()), list(kind.optional_interfaces()));
        let _ = writeln!(page, "| `{}` | {needs} | {may} |", kind.word());
    }
    page.push_str("\nEvery component exports [`plugin`](#plugin) as well, and imports nothing but [`log`](#log).\n");
    if !NOT_DRIVEN.is_empty() {
        let names: Vec<String> = NOT_DRIVEN.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(
            page,
            "\nThis host does not call these yet, and refuses components that export them: {}.",
            names.join(", ")
        );
    }
    for (heading, names) in ORDER {
        let _ = writeln!(page, "\n## {heading}");
        for name in *names {
            let interface = contract.interface(name).unwrap_or_else(|| panic!("there is no interface `{name}`"));
            write_interface(&mut page, contract, interface);
        }
    }
    page
}

fn write_interface(page: &mut String, contract: &Contract, interface: &Interface) {
    let _ = writeln!(page, "\n### {}\n\n{}", interface.name, words(&interface.docs));
    if !interface.uses.is_empty() {
        let uses: Vec<String> = interface.uses.iter().map(|(_, name)| format!("[`{name}`](#{name})")).collect();
        let _ = writeln!(page, "\nUses {}.", uses.join(", "));
    }
    for function in &interface.functions {
        write_function(page, function);
    }
    for kind in &interface.types {
        write_type(page, contract, interface, kind);
    }
}

fn write_function(page: &mut String, function: &Function) {
    let params: Vec<String> = function
        .params
        .iter()
        .map(|param| format!("{}: {}", param.name, param.kind.as_deref().unwrap_or("_")))
        .collect();
    let result = function.result.as_ref().map(|result| format!(" -> {result}")).unwrap_or_default();
    let _ = writeln!(
        page,
        "\n```wit\n{}: func({}){result}\n```\n\n{}",
        function.name,
        params.join(", "),
        words(&function.docs)
    );
}

/// A type's heading is its name; where two interfaces have one of the same name, the interface stands before it.
fn write_type(page: &mut String, contract: &Contract, interface: &Interface, kind: &Named) {
    let named = contract
        .interfaces
        .iter()
        .filter(|other| other.name == kind.name || other.types.iter().any(|candidate| candidate.name == kind.name));
    let heading = match named.count() {
        1 => kind.name.clone(),
        _ => format!("{}.{}", interface.name, kind.name),
    };
    let (word, head) = match &kind.shape {
        Shape::Record(_) => ("record", "| field | type | what it is |\n|---|---|---|\n"),
        Shape::Variant(_) => ("variant", "| case | of | what it means |\n|---|---|---|\n"),
        Shape::Enum(_) => ("enum", "| case | what it means |\n|---|---|\n"),
        Shape::Alias(_) => ("type", ""),
    };
    let _ = writeln!(page, "\n#### {heading}\n\n*{word}* {}", words(&kind.docs));
    if let Shape::Alias(of) = &kind.shape {
        let _ = writeln!(page, "\nThe same as `{of}`.");
        return;
    }
    let _ = write!(page, "\n{head}");
    for part in parts(&kind.shape) {
        let docs = words(&part.docs).replace('|', "\\|");
        let _ = match (&kind.shape, &part.kind) {
            (Shape::Enum(_), _) => writeln!(page, "| `{}` | {docs} |", part.name),
            (_, Some(kind)) => writeln!(page, "| `{}` | `{kind}` | {docs} |", part.name),
            (_, None) => writeln!(page, "| `{}` | | {docs} |", part.name),
        };
    }
}

fn parts(shape: &Shape) -> &[Part] {
    match shape {
        Shape::Record(parts) | Shape::Variant(parts) | Shape::Enum(parts) => parts,
        Shape::Alias(_) => &[],
    }
}

/// Documentation in Markdown: lines of one paragraph become one line.
fn words(docs: &str) -> String {
    let paragraphs =
        docs.split("\n\n").map(|paragraph| paragraph.split('\n').map(str::trim).collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}
