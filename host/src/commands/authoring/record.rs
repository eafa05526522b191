//! `koban plugin record`: a flow of this platform as a scenario file.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use koban_author::scenario::{Begin, Does, Scenario, Step, Then, Wallet, words, write};
use koban_domain::guest::{self, Value, What};
use koban_domain::ids::{FlowId, RecordId};
use koban_domain::limits::WalletKind;
use koban_domain::manifest::Beginning;
use koban_domain::money::Money;
use koban_domain::records::{Ending, Input, Output, Record};
use koban_domain::time::Timestamp;
use koban_service::{App, audit, decisions, flows};
use serde_json::json;

use crate::commands::{new_file, say};
use crate::config::Global;
use crate::person;

/// Pauses below this are not worth a step.
const PAUSE_MS_MIN: i64 = 1_000;

/// Runs the command.
pub(super) async fn run(global: &Global, id: FlowId, out: Option<&Path>) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let ctx = person::ctx(global, &app.store, "").await?;
    let records = records(&app, id).await?;
    let first = records.first().with_context(|| format!("{id} has no decision that could be played again"))?;
    let settings = koban_store::plugins::settings(&app.store, first.settings).await?;
    let settings = settings.with_context(|| format!("the settings of {id} are gone"))?;
    let scenario = Scenario {
        file: String::new(),
        about: format!("As {} had it on {}", first.plugin, first.at.jst_date()),
        now: first.at,
        locale: first.context.locale.clone(),
        settings,
        wallet: Wallet { kind: kind(first), balance: Money::yen(0) },
        exposure_cap: 10_000_000,
        loss_budget: 1_000_000,
        steps: steps(&records)?,
    };
    let text = write(&scenario);
    audit::note(&app.store, &app.clock, &ctx, "flow.record", &id.to_string()).await?;
    let count = scenario.steps.len();
    match out {
        Some(out) => {
            // It holds what people and partners said: the file is the caller's alone.
            new_file(out)?
                .write_all(text.as_bytes())
                .with_context(|| format!("{} cannot be written", out.display()))?;
            let file = out.display().to_string();
            say(global, &json!({ "written": file, "steps": count }), || {
                format!(
                    "{file}: {count} steps; play it with `koban plugin test`. It holds what people and partners said: look at it before you hand it on"
                )
            });
        }
        None => say(global, &json!({ "scenario": text, "steps": count }), || text.trim_end().to_owned()),
    }
    Ok(())
}

/// The decisions of a flow, oldest first.
async fn records(app: &App, id: FlowId) -> anyhow::Result<Vec<Record>> {
    let flow = flows::get(app, id).await?;
    if flow.summary.steps > 100 {
        bail!("{id} has {} steps; a scenario has at most 100", flow.summary.steps);
    }
    let mut records = Vec::new();
    for decision in flow.decisions.iter().rev() {
        let detail: serde_json::Value = serde_json::from_str(&decision.detail).unwrap_or_default();
        let Some(record) = detail["decision"].as_str().and_then(|text| text.parse::<RecordId>().ok()) else { continue };
        records.push(decisions::whole(&decisions::get(app, record).await?.kept)?);
    }
    Ok(records)
}

fn kind(first: &Record) -> WalletKind {
    let Input::BeginCharge(request) = &first.input else { return WalletKind::Prepaid };
    let said = request.facts.iter().find(|fact| fact.name == "account.kind").map(|fact| &fact.value);
    if said == Some(&Value::Text("funds".to_owned())) { WalletKind::Funds } else { WalletKind::Prepaid }
}

/// One step for each event, with what came of it.
fn steps(records: &[Record]) -> anyhow::Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut now = records.first().map_or(Timestamp(0), |first| first.at);
    for record in records {
        let Ending::Output(Output::Step(step)) = &record.ending else {
            bail!("{} of {} gave no step: what faulted cannot be a scenario", record.id, record.input.function());
        };
        let then = then(step, record.at);
        let does = match &record.input {
            Input::BeginCharge(request) => {
                begin(Beginning::Charge, request.at_most, request.amount, &request.facts, None)
            }
            Input::BeginWithdraw(request) => {
                begin(Beginning::Withdraw, request.at_most, Some(request.amount), &request.facts, None)
            }
            Input::BeginBill(request) => {
                begin(Beginning::PayBill, request.at_most, None, &request.facts, Some(request.code.clone()))
            }
            Input::Resume(_, _, Some(refusal)) => {
                // The same event once more: the step before it was refused.
                if let Some(last) = steps.last_mut() {
                    last.refused = Some(refusal.outcome.clone());
                    last.then = then;
                }
                continue;
            }
            Input::Resume(_, event, None) => {
                let pause = record.at.since_ms(now);
                let rings = matches!(event.what, What::Rang);
                if pause >= PAUSE_MS_MIN && !rings {
                    steps.push(Step { line: 0, does: Does::Wait(pause), refused: None, then: Then::default() });
                }
                if pause >= PAUSE_MS_MIN || rings {
                    now = record.at;
                }
                happened(event, pause)?
            }
            other => bail!("{} is a call of {}, which is no part of a flow", record.id, other.function()),
        };
        steps.push(Step { line: 0, does, refused: None, then });
    }
    Ok(steps)
}

fn begin(
    beginning: Beginning,
    at_most: Money,
    amount: Option<Money>,
    facts: &[guest::Named],
    code: Option<guest::BillCode>,
) -> Does {
    Does::Begin(Box::new(Begin { beginning, at_most, amount, facts: facts.to_vec(), code }))
}

fn happened(event: &guest::Event, pause: i64) -> anyhow::Result<Does> {
    let key = event.key.clone();
    Ok(match &event.what {
        What::Answer(answer) => Does::Answer { key, status: answer.status, body: answer.body.clone() },
        What::Lost(how, _) => Does::Lost { key, how: *how },
        What::Rang => Does::Wait(pause.max(1)),
        What::Form(answers) => {
            let value = |value: &Value| match value {
                Value::Amount(amount) => amount.to_string(),
                Value::Text(text) => text.clone(),
                other => format!("{other:?}"),
            };
            let values = answers.iter().map(|answer| (answer.name.clone(), value(&answer.value)));
            Does::Form { key, values: values.collect::<BTreeMap<_, _>>() }
        }
        What::Message(message) => Does::Call {
            operation: message.operation.clone(),
            path: message.path.clone(),
            query: message.query.clone(),
            body: message.body.clone(),
        },
        What::CancelAsked => Does::Cancel,
        What::Agreed => bail!("the flow sent its user to a partner, which scenarios do not play"),
        What::Queued | What::Sealed(_) => {
            bail!("the flow has records in a partner's file, which scenarios do not play")
        }
    })
}

/// What came of a step, as a scenario says it.
fn then(step: &guest::Step, at: Timestamp) -> Then {
    let sends = step.effects.iter().filter_map(|effect| match &effect.act {
        guest::Act::Http(call) => Some((effect.key.clone(), serde_json::from_slice(&call.body).ok()?)),
        _ => None,
    });
    Then {
        standing: Some(step.standing),
        effects: Some(step.effects.iter().map(|effect| words::effect(effect, at)).collect()),
        proposals: step.proposals.iter().map(words::proposal).collect(),
        // Moments are of that day; a scenario that is played gives its own.
        sends: sends.map(|(key, body)| (key, without_moments(body))).collect(),
        reply_status: step.reply.as_ref().map(|reply| reply.status),
        reply_json: step.reply.as_ref().and_then(|reply| serde_json::from_slice(&reply.body).ok()),
        note: step.note.as_ref().map(|note| note.code.clone()),
        credited: None,
    }
}

/// JSON without numbers that look like Unix milliseconds of this century.
fn without_moments(body: serde_json::Value) -> serde_json::Value {
    let is_moment = |value: &serde_json::Value| {
        value.as_i64().is_some_and(|number| (946_684_800_000..4_102_444_800_000).contains(&number))
    };
    match body {
        serde_json::Value::Object(fields) => serde_json::Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !is_moment(value))
                .map(|(name, value)| (name, without_moments(value)))
                .collect(),
        ),
        other => other,
    }
}
