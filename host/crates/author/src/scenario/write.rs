//! A scenario as the file that says it; reading it gives the same scenario again.

use std::fmt::Write as _;

use koban_domain::guest::{Lost, Named, Value};
use koban_domain::limits::WalletKind;
use serde_json::Value as Json;

use super::{Begin, Does, Scenario, Step, words};
use crate::values::duration_text;

/// The text of the file.
pub fn write(scenario: &Scenario) -> String {
    let mut text = String::new();
    line(&mut text, "about", &quoted(&scenario.about));
    line(&mut text, "now", &quoted(&scenario.now.to_string()));
    line(&mut text, "locale", &quoted(&scenario.locale));
    line(&mut text, "exposure_cap", &scenario.exposure_cap.to_string());
    line(&mut text, "loss_budget", &scenario.loss_budget.to_string());
    if !scenario.settings.is_empty() {
        text.push_str("\n[settings]\n");
        named(&mut text, &scenario.settings);
    }
    text.push_str("\n[wallet]\n");
    let kind = if scenario.wallet.kind == WalletKind::Funds { "funds" } else { "prepaid" };
    line(&mut text, "kind", &quoted(kind));
    line(&mut text, "balance", &quoted(&scenario.wallet.balance.to_string()));
    for step in &scenario.steps {
        text.push_str("\n[[step]]\n");
        write_step(&mut text, step);
    }
    text
}

fn write_step(text: &mut String, step: &Step) {
    match &step.does {
        Does::Begin(begin) => {
            let Begin { beginning, at_most, amount, facts, code } = &**begin;
            let word = serde_json::to_value(beginning).unwrap_or_default();
            line(text, "begin", &word.to_string());
            line(text, "at_most", &quoted(&at_most.to_string()));
            if let Some(amount) = amount {
                line(text, "amount", &quoted(&amount.to_string()));
            }
            if let Some(code) = code {
                line(text, "code", &quoted(&code.content));
                line(text, "source", &serde_json::to_value(code.source).unwrap_or_default().to_string());
            }
            if !facts.is_empty() {
                let fields: Vec<String> =
                    facts.iter().map(|fact| format!("{} = {}", quoted(&fact.name), value(&fact.value))).collect();
                line(text, "facts", &format!("{{ {} }}", fields.join(", ")));
            }
        }
        Does::Form { key, values } => {
            line(text, "form", &quoted(key));
            let fields: Vec<String> =
                values.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))).collect();
            line(text, "values", &format!("{{ {} }}", fields.join(", ")));
        }
        Does::Answer { key, status, body } => {
            line(text, "answer", &quoted(key));
            line(text, "status", &status.to_string());
            write_body(text, body);
        }
        Does::Lost { key, how } => {
            line(text, "lost", &quoted(key));
            let how = match how {
                Lost::Refused => "refused",
                Lost::NotSent => "not-sent",
                Lost::Unknown => "unknown",
                Lost::BadSignature => "bad-signature",
            };
            line(text, "how", &quoted(how));
        }
        Does::Call { operation, path, query, body } => {
            line(text, "call", &quoted(operation));
            if !path.is_empty() {
                line(text, "path", &quoted(path));
            }
            if !query.is_empty() {
                let fields: Vec<String> =
                    query.iter().map(|one| format!("{} = {}", quoted(&one.name), value(&one.value))).collect();
                line(text, "query", &format!("{{ {} }}", fields.join(", ")));
            }
            write_body(text, body);
        }
        Does::Wait(ms) => line(text, "wait", &quoted(&duration_text(*ms))),
        Does::Cancel => line(text, "cancel", "true"),
        Does::Duplicate => line(text, "duplicate", "true"),
        Does::Kill(None) => line(text, "kill", "true"),
        Does::Kill(Some(key)) => line(text, "kill", &quoted(key)),
    }
    if let Some(refused) = &step.refused {
        line(text, "refused", &quoted(refused));
    }
    let then = &step.then;
    if let Some(standing) = then.standing {
        line(text, "then.standing", &quoted(words::standing(standing)));
    }
    if let Some(effects) = &then.effects {
        line(text, "then.effects", &list(effects));
    }
    if !then.proposals.is_empty() {
        line(text, "then.proposals", &list(&then.proposals));
    }
    for (key, body) in &then.sends {
        line(text, &format!("then.sends.{}", quoted(key)), &json(body));
    }
    if let Some(status) = then.reply_status {
        line(text, "then.reply.status", &status.to_string());
    }
    if let Some(body) = &then.reply_json {
        line(text, "then.reply.json", &json(body));
    }
    if let Some(note) = &then.note {
        line(text, "then.note", &quoted(note));
    }
    if let Some(credited) = then.credited {
        line(text, "then.credited", &quoted(&credited.to_string()));
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name} = {value}");
}

/// Settings: a list is its name once, with all its items.
fn named(text: &mut String, settings: &[Named]) {
    let mut done: Vec<&str> = Vec::new();
    for setting in settings {
        if done.contains(&setting.name.as_str()) {
            continue;
        }
        done.push(&setting.name);
        let values: Vec<String> =
            settings.iter().filter(|other| other.name == setting.name).map(|other| value(&other.value)).collect();
        match values.as_slice() {
            [one] => line(text, &setting.name, one),
            all => line(text, &setting.name, &format!("[{}]", all.join(", "))),
        }
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Secret(text) => quoted(text),
        Value::Whole(number) => number.to_string(),
        Value::Amount(money) => quoted(&money.to_string()),
        Value::Rate(rate) => {
            let exact =
                rust_decimal::Decimal::try_from_i128_with_scale(i128::from(rate.mantissa), u32::from(rate.scale));
            quoted(&exact.map(|exact| exact.to_string()).unwrap_or_default())
        }
        Value::Flag(flag) => flag.to_string(),
        Value::Moment(ms) => ms.to_string(),
    }
}

/// JSON as TOML where TOML gives the same bytes back, as exact text otherwise.
fn write_body(text: &mut String, body: &[u8]) {
    if body.is_empty() {
        return;
    }
    let read: Option<Json> = serde_json::from_slice(body).ok();
    match read.filter(|read| is_toml(read) && read.to_string().as_bytes() == body) {
        Some(read) => line(text, "json", &json(&read)),
        None => line(text, "body", &quoted(&String::from_utf8_lossy(body))),
    }
}

/// TOML has no null.
fn is_toml(json: &Json) -> bool {
    match json {
        Json::Null => false,
        Json::Array(items) => items.iter().all(is_toml),
        Json::Object(fields) => fields.values().all(is_toml),
        Json::Number(number) => number.is_i64(),
        Json::Bool(_) | Json::String(_) => true,
    }
}

/// JSON written inline as TOML; null is left out.
fn json(value: &Json) -> String {
    match value {
        Json::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields: Vec<String> =
                fields.map(|(name, value)| format!("{} = {}", quoted(name), json(value))).collect();
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
        Json::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        Json::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn list(lines: &[String]) -> String {
    format!("[{}]", lines.iter().map(|line| quoted(line)).collect::<Vec<_>>().join(", "))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
