//! Call files: one call of a plugin with the answer it should give.

use std::path::Path;

use koban_domain::guest::{AssessPayment, InboundCall, Named, Signal, Verdict};
use koban_domain::manifest::Manifest;
use koban_domain::money::Money;
use koban_domain::records::{Ending, Input, Output};
use koban_domain::time::Timestamp;
use serde::Deserialize;
use toml::{Table, Value as Toml};

use crate::problem::{self, Problem};
use crate::values::{body, facts, json_of, lacks, money, settings};

/// When a call is made that does not say: noon in Japan on 1 April 2026.
const NOON: &str = "2026-04-01T03:00:00Z";
/// The randomness that a call is given if it does not say.
const SEED: u64 = 7;

/// A call, read and typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The file, as it was named.
    pub file: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// When it is made.
    pub at: Timestamp,
    /// `ja` or `en`.
    pub locale: String,
    /// The guest's randomness.
    pub seed: u64,
    /// The plugin's settings, complete.
    pub settings: Vec<Named>,
    /// What is asked.
    pub input: Input,
    expect: Option<RawExpect>,
    expect_line: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCall {
    #[serde(default)]
    about: String,
    now: Option<String>,
    locale: Option<String>,
    seed: Option<u64>,
    #[serde(default)]
    settings: Table,
    assess: Option<RawAssess>,
    route: Option<RawRoute>,
    settlement: Option<RawSettlement>,
    /// Any call, as `koban decision show` writes its input: JSON in a text.
    input: Option<String>,
    expect: Option<RawExpect>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAssess {
    #[serde(default = "payment")]
    kind: String,
    amount: String,
    #[serde(default)]
    facts: Table,
    #[serde(default)]
    signals: Vec<RawSignal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSignal {
    name: String,
    #[serde(default)]
    count: u64,
    sum: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    operation: String,
    #[serde(default)]
    path: String,
    json: Option<Toml>,
    body: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSettlement {
    content: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    verdict: Option<Verdict>,
    score: Option<u32>,
    reasons: Option<Vec<String>>,
    failure: Option<String>,
    fault: Option<String>,
    answer: Option<Toml>,
}

fn payment() -> String {
    "payment".to_owned()
}

impl Call {
    /// Reads a call file for the plugin with this manifest. Errors: the first thing that is wrong.
    pub fn read(path: &Path, manifest: &Manifest) -> Result<Call, Problem> {
        Call::read_text(&path.display().to_string(), &problem::read(path)?, manifest)
    }

    /// As [`Call::read`], from its text.
    pub fn read_text(file: &str, text: &str, manifest: &Manifest) -> Result<Call, Problem> {
        let raw: RawCall = toml::from_str(text).map_err(|error| {
            let mut problem = Problem::of_toml(file, text, &error);
            problem.what.push_str("; docs/reference/calls.md has every field");
            problem
        })?;
        let line = |name: &str| text.lines().position(|line| line.trim_start().starts_with(name)).map(|line| line + 1);
        let at = |name: &str, what: String| Problem { file: file.to_owned(), line: line(name), what };
        let given = raw.now.as_deref().unwrap_or(NOON);
        let now = Timestamp::parse(given)
            .ok_or_else(|| at("now", format!("`{given}` is no time: write it such as \"{NOON}\", in UTC")))?;
        let settings = settings(manifest, &raw.settings).map_err(|what| at("[settings", what))?;
        let input = match (raw.assess, raw.route, raw.settlement, raw.input) {
            (Some(assess), None, None, None) => {
                self::assess(&assess, manifest, now).map_err(|what| at("[assess", what))?
            }
            (None, Some(route), None, None) => self::route(&route, manifest).map_err(|what| at("[route", what))?,
            (None, None, Some(settlement), None) => Input::ParseSettlement(settlement.content.into_bytes()),
            (None, None, None, Some(json)) => serde_json::from_str(&json).map_err(|error| {
                at("input", format!("`input` is no call as `koban decision show` writes it: {error}"))
            })?,
            _ => {
                let what = "write what is asked: one of [assess], [route], [settlement] or input";
                return Err(Problem::of(file, what));
            }
        };
        Ok(Call {
            file: file.to_owned(),
            about: raw.about,
            at: now,
            locale: raw.locale.unwrap_or_else(|| "ja".to_owned()),
            seed: raw.seed.unwrap_or(SEED),
            settings,
            input,
            expect: raw.expect,
            expect_line: line("[expect"),
        })
    }

    /// Whether the file says what the answer should be.
    pub fn expects(&self) -> bool {
        self.expect.is_some()
    }

    /// What differs from the answer that the file expects. Without an expectation a fault is all that is wrong.
    pub fn compare(&self, ending: &Ending) -> Vec<Problem> {
        let at = |what: String| Problem { file: self.file.clone(), line: self.expect_line, what };
        let Some(expect) = &self.expect else {
            return match ending {
                Ending::Fault(fault) => vec![at(format!("the call ended in a fault: {fault}"))],
                Ending::Output(_) => Vec::new(),
            };
        };
        expect.compare(ending).into_iter().map(at).collect()
    }
}

impl RawExpect {
    fn compare(&self, ending: &Ending) -> Vec<String> {
        let mut differences = Vec::new();
        let output = match (ending, &self.fault) {
            (Ending::Fault(fault), Some(expected)) if fault.class.word() == expected => return differences,
            (Ending::Fault(fault), _) => return vec![format!("the call ended in a fault: {fault}")],
            (Ending::Output(_), Some(expected)) => return vec![format!("it answered, expected the fault {expected}")],
            (Ending::Output(output), None) => output,
        };
        match (output, &self.failure) {
            (Output::Failure(failure), Some(expected)) if failure.code == *expected => return differences,
            (Output::Failure(failure), _) => {
                return vec![format!("it failed with {} ({})", failure.code, failure.message)];
            }
            (_, Some(expected)) => return vec![format!("it answered, expected the failure {expected}")],
            _ => {}
        }
        if let Output::Assessment(answer) = output {
            if let Some(expected) = self.verdict.filter(|expected| *expected != answer.verdict) {
                differences.push(format!("the verdict is {}, expected {}", verdict(answer.verdict), verdict(expected)));
            }
            if let Some(expected) = self.score.filter(|expected| *expected != answer.score) {
                differences.push(format!("the score is {}, expected {expected}", answer.score));
            }
            let codes: Vec<&String> = answer.reasons.iter().map(|reason| &reason.code).collect();
            if let Some(expected) =
                self.reasons.as_ref().filter(|expected| expected.iter().collect::<Vec<_>>() != codes)
            {
                differences.push(format!("the reasons are {codes:?}, expected {expected:?}"));
            }
        } else if self.verdict.is_some() || self.score.is_some() || self.reasons.is_some() {
            differences.push("`verdict`, `score` and `reasons` belong to [assess]: use `answer`".to_owned());
        }
        if let Some(expected) = &self.answer {
            let given = answer_json(output);
            differences.extend(lacks(&json_of(expected), &given).map(|difference| format!("the answer: {difference}")));
        }
        differences
    }
}

/// A verdict as the contract writes it: `step-up`.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::StepUp => "step-up",
        Verdict::Review => "review",
        Verdict::Decline => "decline",
    }
}

/// An answer as JSON to read: bodies and files as text where they are text.
pub fn answer_json(output: &Output) -> serde_json::Value {
    let mut json = serde_json::to_value(output).unwrap_or_default();
    // The variant's name says nothing that the call has not said.
    if let Some(inner) = json.as_object_mut().filter(|object| object.len() == 1).and_then(|object| {
        let name = object.keys().next().cloned()?;
        object.remove(&name)
    }) {
        json = inner;
    }
    readable(&mut json);
    json
}

/// Lists of bytes become text where they are UTF-8; a flow's state is its size.
fn readable(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let bytes: Option<Vec<u8>> = value.as_array().filter(|items| !items.is_empty()).and_then(|items| {
                    items.iter().map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
                });
                match (name.as_str(), bytes) {
                    ("state", bytes) => *value = format!("{} bytes", bytes.map_or(0, |bytes| bytes.len())).into(),
                    ("body" | "content", Some(bytes)) => {
                        *value = crate::values::readable(&bytes);
                    }
                    _ => readable(value),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(readable),
        _ => {}
    }
}

fn assess(raw: &RawAssess, manifest: &Manifest, now: Timestamp) -> Result<Input, String> {
    let amount = money(&raw.amount)?;
    if let Some(unknown) =
        raw.signals.iter().find(|signal| !manifest.signals.iter().any(|spec| spec.name == signal.name))
    {
        let names: Vec<&str> = manifest.signals.iter().map(|spec| spec.name.as_str()).collect();
        return Err(format!("the manifest has no signal `{}`: it has {}", unknown.name, names.join(", ")));
    }
    let mut signals = Vec::with_capacity(manifest.signals.len());
    for spec in &manifest.signals {
        let given = raw.signals.iter().find(|signal| signal.name == spec.name);
        let sum = given.and_then(|signal| signal.sum.as_deref()).map(money).transpose()?;
        signals.push(Signal {
            name: spec.name.clone(),
            window_s: spec.window_s,
            count: given.map_or(0, |signal| signal.count),
            sum: sum.unwrap_or(Money::new(0, amount.currency)),
        });
    }
    let at = u64::try_from(now.0).unwrap_or(0);
    let payment = AssessPayment { id: "pay_example".to_owned(), kind: raw.kind.clone(), amount, at };
    Ok(Input::Assess(payment, facts(manifest, &raw.facts)?, signals))
}

fn route(raw: &RawRoute, manifest: &Manifest) -> Result<Input, String> {
    let (endpoint, _) = manifest
        .inbound(&raw.operation)
        .ok_or_else(|| format!("the manifest has no inbound operation `{}`", raw.operation))?;
    Ok(Input::Route(InboundCall {
        endpoint: endpoint.name.clone(),
        operation: raw.operation.clone(),
        path: raw.path.clone(),
        query: Vec::new(),
        body: body(raw.json.as_ref(), raw.body.as_deref())?,
    }))
}
