//! Reading a scenario file: errors name the line and what to write there.

use std::collections::BTreeMap;
use std::path::Path;

use koban_domain::guest::{BillCode, BillSource, Lost, Named, Standing, Value};
use koban_domain::limits::WalletKind;
use koban_domain::manifest::{Beginning, Manifest};
use koban_domain::money::Money;
use koban_domain::time::Timestamp;
use serde::Deserialize;
use toml::{Spanned, Table, Value as Toml};

use super::{Begin, Does, Scenario, Step, Then, Wallet};
use crate::problem::{self, Problem, line_of};
use crate::values::{body, duration, facts, json_of, money, settings};

/// When a scenario begins that does not say: noon in Japan on 1 April 2026.
pub(crate) const NOON: &str = "2026-04-01T03:00:00Z";
/// Most steps of a file.
const STEPS_MAX: usize = 100;
/// What the plugin may cost if the file does not say, in yen.
const EXPOSURE_CAP: i64 = 10_000_000;
const LOSS_BUDGET: i64 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    about: String,
    now: Option<String>,
    locale: Option<String>,
    #[serde(default)]
    settings: Table,
    #[serde(default)]
    wallet: RawWallet,
    exposure_cap: Option<i64>,
    loss_budget: Option<i64>,
    #[serde(default)]
    step: Vec<Spanned<RawStep>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawWallet {
    kind: Option<String>,
    balance: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    begin: Option<Beginning>,
    at_most: Option<String>,
    amount: Option<String>,
    facts: Option<Table>,
    code: Option<String>,
    source: Option<BillSource>,
    form: Option<String>,
    values: Option<BTreeMap<String, String>>,
    answer: Option<String>,
    status: Option<u16>,
    json: Option<Toml>,
    body: Option<String>,
    lost: Option<String>,
    how: Option<Lost>,
    call: Option<String>,
    path: Option<String>,
    query: Option<BTreeMap<String, String>>,
    wait: Option<String>,
    cancel: Option<bool>,
    duplicate: Option<bool>,
    kill: Option<Toml>,
    refused: Option<String>,
    #[serde(default)]
    then: RawThen,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawThen {
    standing: Option<Standing>,
    effects: Option<Vec<String>>,
    #[serde(default)]
    proposals: Vec<String>,
    #[serde(default)]
    sends: BTreeMap<String, Toml>,
    #[serde(default)]
    reply: RawReply,
    note: Option<String>,
    credited: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawReply {
    status: Option<u16>,
    json: Option<Toml>,
}

/// What a step can be, with the fields that go with it.
const SORTS: &str = "begin, form, answer, lost, call, wait, cancel, duplicate, kill";

/// Reads a scenario file for the plugin with this manifest. Errors: the first thing that is wrong.
pub fn read(path: &Path, manifest: &Manifest) -> Result<Scenario, Problem> {
    read_text(&path.display().to_string(), &problem::read(path)?, manifest)
}

/// As [`read`], from its text.
pub fn read_text(file: &str, text: &str, manifest: &Manifest) -> Result<Scenario, Problem> {
    let raw: RawScenario = toml::from_str(text).map_err(|error| {
        let mut problem = Problem::of_toml(file, text, &error);
        problem.what.push_str("; docs/reference/scenarios.md has every field");
        problem
    })?;
    let whole = |what: String| Problem::of(file, what);
    let at = |name: &str, what: String| {
        let line = text.lines().position(|line| line.trim_start().starts_with(name));
        Problem { file: file.to_owned(), line: line.map(|line| line + 1), what }
    };
    let given = raw.now.as_deref().unwrap_or(NOON);
    let now = Timestamp::parse(given)
        .ok_or_else(|| at("now", format!("`{given}` is no time: write it such as \"{NOON}\", in UTC")))?;
    let locale = raw.locale.unwrap_or_else(|| "ja".to_owned());
    if !["ja", "en"].contains(&locale.as_str()) {
        return Err(at("locale", "`locale` is \"ja\" or \"en\"".to_owned()));
    }
    let kind = match raw.wallet.kind.as_deref() {
        None | Some("prepaid") => WalletKind::Prepaid,
        Some("funds") => WalletKind::Funds,
        Some(_) => return Err(at("kind", "the wallet's `kind` is \"prepaid\" or \"funds\"".to_owned())),
    };
    let balance = raw.wallet.balance.as_deref().map_or(Ok(Money::yen(0)), money).map_err(|what| at("balance", what))?;
    let settings = settings(manifest, &raw.settings).map_err(|what| at("[settings", what))?;
    if raw.step.len() > STEPS_MAX {
        return Err(whole(format!("{} steps; at most {STEPS_MAX}", raw.step.len())));
    }
    let mut steps = Vec::with_capacity(raw.step.len());
    for raw in raw.step {
        let line = line_of(text, raw.span().start);
        let step = step(raw.into_inner(), line, manifest).map_err(|what| Problem::at(file, line, what))?;
        let begins = matches!(step.does, Does::Begin(_));
        if begins != steps.is_empty() {
            let what = if begins {
                "a flow begins once, in the first step"
            } else {
                "the first step is `begin`, such as begin = \"charge\""
            };
            return Err(Problem::at(file, line, what));
        }
        steps.push(step);
    }
    if steps.is_empty() {
        return Err(whole("there is no [[step]]: the first one is begin = \"charge\"".to_owned()));
    }
    Ok(Scenario {
        file: file.to_owned(),
        about: raw.about,
        now,
        locale,
        settings,
        wallet: Wallet { kind, balance },
        exposure_cap: raw.exposure_cap.unwrap_or(EXPOSURE_CAP),
        loss_budget: raw.loss_budget.unwrap_or(LOSS_BUDGET),
        steps,
    })
}

fn step(raw: RawStep, line: usize, manifest: &Manifest) -> Result<Step, String> {
    let sorts = [
        ("begin", raw.begin.is_some()),
        ("form", raw.form.is_some()),
        ("answer", raw.answer.is_some()),
        ("lost", raw.lost.is_some()),
        ("call", raw.call.is_some()),
        ("wait", raw.wait.is_some()),
        ("cancel", raw.cancel.is_some()),
        ("duplicate", raw.duplicate.is_some()),
        ("kill", raw.kill.is_some()),
    ];
    let mut named = sorts.iter().filter(|(_, is)| *is).map(|(name, _)| *name);
    let sort = match (named.next(), named.next()) {
        (Some(sort), None) => sort,
        (None, _) => return Err(format!("a step says what happens: one of {SORTS}")),
        (Some(one), Some(other)) => {
            return Err(format!("`{one}` and `{other}` are two steps: write a [[step]] for each"));
        }
    };
    let fields: [(&str, bool, &[&str]); 12] = [
        ("at_most", raw.at_most.is_some(), &["begin"]),
        ("amount", raw.amount.is_some(), &["begin"]),
        ("facts", raw.facts.is_some(), &["begin"]),
        ("code", raw.code.is_some(), &["begin"]),
        ("source", raw.source.is_some(), &["begin"]),
        ("values", raw.values.is_some(), &["form"]),
        ("status", raw.status.is_some(), &["answer"]),
        ("json", raw.json.is_some(), &["answer", "call"]),
        ("body", raw.body.is_some(), &["answer", "call"]),
        ("how", raw.how.is_some(), &["lost"]),
        ("path", raw.path.is_some(), &["call"]),
        ("query", raw.query.is_some(), &["call"]),
    ];
    if let Some((name, _, of)) = fields.iter().find(|(_, is, of)| *is && !of.contains(&sort)) {
        return Err(format!("`{name}` belongs to a step with `{}`, this one has `{sort}`", of.join("` or `")));
    }
    if let Some((name, _)) =
        [("cancel", raw.cancel), ("duplicate", raw.duplicate)].iter().find(|(_, is)| *is == Some(false))
    {
        return Err(format!("`{name}` is true, or left out"));
    }
    let body = || body(raw.json.as_ref(), raw.body.as_deref());
    let does = match sort {
        "begin" => Does::Begin(Box::new(begin(&raw, manifest)?)),
        "form" => Does::Form { key: raw.form.unwrap_or_default(), values: raw.values.unwrap_or_default() },
        "answer" => {
            let body = body()?;
            Does::Answer { key: raw.answer.unwrap_or_default(), status: raw.status.unwrap_or(200), body }
        }
        "lost" => Does::Lost { key: raw.lost.unwrap_or_default(), how: raw.how.unwrap_or(Lost::Unknown) },
        "call" => call(&raw, manifest)?,
        "wait" => Does::Wait(duration(raw.wait.as_deref().unwrap_or_default())?),
        "cancel" => Does::Cancel,
        "duplicate" => Does::Duplicate,
        _ => Does::Kill(match raw.kill {
            Some(Toml::Boolean(true)) => None,
            Some(Toml::String(key)) => Some(key),
            _ => return Err("`kill` is true, or the key of the call that is under way".to_owned()),
        }),
    };
    let RawThen { standing, effects, proposals, sends, reply, note, credited } = raw.then;
    let then = Then {
        standing,
        effects,
        proposals,
        sends: sends.iter().map(|(key, body)| (key.clone(), json_of(body))).collect(),
        reply_status: reply.status,
        reply_json: reply.json.as_ref().map(json_of),
        note,
        credited: credited.as_deref().map(money).transpose()?,
    };
    Ok(Step { line, does, refused: raw.refused, then })
}

/// A beginning. Bills have a code, and nothing else has one.
fn begin(raw: &RawStep, manifest: &Manifest) -> Result<Begin, String> {
    let beginning = raw.begin.unwrap_or(Beginning::Charge);
    if !matches!(beginning, Beginning::Charge | Beginning::Withdraw | Beginning::PayBill) {
        return Err(format!(
            "a scenario cannot begin a {}: it begins a charge, withdraw or pay-bill",
            beginning.word()
        ));
    }
    if (beginning == Beginning::PayBill) != raw.code.is_some() {
        return Err("`code` is what the user scanned or typed: a pay-bill has it, nothing else does".to_owned());
    }
    let source = raw.source.unwrap_or(BillSource::Typed);
    Ok(Begin {
        beginning,
        at_most: money(raw.at_most.as_deref().ok_or("`begin` needs `at_most`, such as \"30000 JPY\"")?)?,
        amount: raw.amount.as_deref().map(money).transpose()?,
        facts: facts(manifest, raw.facts.as_ref().unwrap_or(&Table::new()))?,
        code: raw.code.clone().map(|content| BillCode { source, content }),
    })
}

/// A partner's call. Where the manifest says in which field the body repeats the operation's name, the field is filled in.
fn call(raw: &RawStep, manifest: &Manifest) -> Result<Does, String> {
    let operation = raw.call.clone().unwrap_or_default();
    let Some((_, spec)) = manifest.inbound(&operation).filter(|(_, spec)| !spec.settlement) else {
        let known = super::words::inbound_operations(manifest);
        return Err(match known.is_empty() {
            true => "the manifest has no inbound operation that a partner could call".to_owned(),
            false => format!("the manifest has no inbound operation `{operation}`: it has {}", known.join(", ")),
        });
    };
    let mut json = raw.json.clone();
    if let (Some(field), Some(Toml::Table(fields))) = (&spec.operation_field, &mut json) {
        fields.entry(field.clone()).or_insert_with(|| Toml::String(operation.clone()));
    }
    let query = raw.query.iter().flatten();
    let query = query.map(|(name, text)| Named { name: name.clone(), value: Value::Text(text.clone()) }).collect();
    let body = body(json.as_ref(), raw.body.as_deref())?;
    Ok(Does::Call { operation, path: raw.path.clone().unwrap_or_default(), query, body })
}
