//! The gate after the answer: raw answers become domain values, and nothing passes that the manifest does not grant.
//!
//! `denied` is a wish for something that was not granted; `bad-answer` is an answer that makes no sense. What depends on the flow as a whole
//! (its authorisation, its open effects, its standing) is decided later, by `domain::flows`.

use koban_domain::guest::{self as domain, CONTRACT};
use koban_domain::manifest::{Beginning, Manifest, ProposalKind};
use koban_domain::money::{Currency, Money};
use koban_domain::records::{Fault, Input, Output};

use crate::bindings::exports::koban::plugin::{assess, inbound, plugin, settlement};
use crate::bindings::koban::plugin::{flow, types};
use crate::calls::Raw;
use crate::faults::{bad, denied};

/// Keys, codes and names of the guest's own.
const NAME_BYTES_MAX: usize = 80;
/// References, correlations and other ids of partners.
const REFERENCE_BYTES_MAX: usize = 200;
/// Messages, links and whatever else is one line of text.
const LINE_BYTES_MAX: usize = 2_000;
/// A flow's state, and the body of a request or a reply.
const BODY_BYTES_MAX: usize = 64 << 10;
const EFFECTS_MAX: usize = 16;
const PROPOSALS_MAX: usize = 16;
const HEADERS_MAX: usize = 32;
const QUERY_MAX: usize = 50;
const FIELDS_MAX: usize = 20;
const CHOICES_MAX: usize = 100;
const REASONS_MAX: usize = 50;
const FAILURES_MAX: usize = 100;
const LINES_MAX: usize = 100_000;
/// Scores and weights.
const SCORE_MAX: u32 = 1_000;

/// What an answer is measured against.
pub(crate) struct Gate<'a> {
    pub(crate) manifest: &'a Manifest,
    /// Whether the component can take a partner's file apart, without which it may not ask for one.
    pub(crate) has_files: bool,
}

impl Gate<'_> {
    /// Makes a domain value of a raw answer. Errors: the first thing that the manifest does not grant or that makes no sense, by its name.
    pub(crate) fn admit(&self, input: &Input, raw: Raw) -> Result<Output, Fault> {
        match raw {
            Raw::NotExported => Err(denied(format!("the component does not export `{}`", input.function()))),
            Raw::Description(description) => self.description(description).map(Output::Description),
            Raw::Checked(Ok(())) => Ok(Output::SettingsChecked(Vec::new())),
            Raw::Checked(Err(failures)) => {
                at_most("failures", failures.len(), FAILURES_MAX)?;
                let failures = failures.into_iter().map(|failure| self.failure(failure));
                failures.collect::<Result<_, _>>().map(Output::SettingsChecked)
            }
            Raw::Assessment(Ok(answer)) => self.assessment(answer).map(Output::Assessment),
            Raw::Step(Ok(step)) => self.step(input, step).map(Output::Step),
            Raw::Routing(Ok(routing)) => self.routing(routing).map(Output::Routing),
            Raw::Lines(Ok(lines)) => {
                at_most("lines", lines.len(), LINES_MAX)?;
                lines.into_iter().map(settlement_line).collect::<Result<_, _>>().map(Output::Lines)
            }
            Raw::Assessment(Err(failure))
            | Raw::Step(Err(failure))
            | Raw::Routing(Err(failure))
            | Raw::Lines(Err(failure)) => self.failure(failure).map(Output::Failure),
        }
    }

    fn description(&self, description: plugin::Description) -> Result<domain::Description, Fault> {
        for (what, said, written) in [
            ("id", &description.id, self.manifest.id.as_str()),
            ("version", &description.version, self.manifest.version.as_str()),
            ("contract", &description.contract, CONTRACT),
        ] {
            if said != written {
                return Err(bad(format!("describe says {what} {}, the manifest says `{written}`", quote(said))));
            }
        }
        Ok(domain::Description { id: description.id, version: description.version, contract: description.contract })
    }

    fn assessment(&self, answer: assess::Answer) -> Result<domain::Assessment, Fault> {
        at_most("reasons", answer.reasons.len(), REASONS_MAX)?;
        at_most_points("score", answer.score)?;
        let verdict = match answer.verdict {
            assess::Verdict::Allow => domain::Verdict::Allow,
            assess::Verdict::StepUp => domain::Verdict::StepUp,
            assess::Verdict::Review => domain::Verdict::Review,
            assess::Verdict::Decline => domain::Verdict::Decline,
        };
        let reason = |reason: assess::Reason| {
            at_most_points("weight", reason.weight)?;
            Ok(domain::Reason { code: self.code("reason", reason.code)?, weight: reason.weight })
        };
        let reasons = answer.reasons.into_iter().map(reason).collect::<Result<_, Fault>>()?;
        Ok(domain::Assessment { verdict, score: answer.score, reasons })
    }

    fn step(&self, input: &Input, step: flow::Step) -> Result<domain::Step, Fault> {
        at_most("bytes of state", step.state.len(), BODY_BYTES_MAX)?;
        at_most("effects", step.effects.len(), EFFECTS_MAX)?;
        at_most("proposals", step.proposals.len(), PROPOSALS_MAX)?;
        let standing = match step.standing {
            flow::Standing::WaitingForUser => domain::Standing::WaitingForUser,
            flow::Standing::WaitingForPartner => domain::Standing::WaitingForPartner,
            flow::Standing::Checking => domain::Standing::Checking,
            flow::Standing::Done => domain::Standing::Done,
            flow::Standing::Failed => domain::Standing::Failed,
            flow::Standing::Cancelled => domain::Standing::Cancelled,
        };
        let effect = |effect: flow::Effect| {
            Ok(domain::Effect { key: word("an effect's key", effect.key, NAME_BYTES_MAX)?, act: self.act(effect.act)? })
        };
        Ok(domain::Step {
            state: step.state,
            standing,
            effects: step.effects.into_iter().map(effect).collect::<Result<_, Fault>>()?,
            proposals: step
                .proposals
                .into_iter()
                .map(|proposal| self.proposal(input, proposal))
                .collect::<Result<_, _>>()?,
            reply: step.reply.map(http_answer).transpose()?,
            note: step.note.map(|note| self.failure(note)).transpose()?,
        })
    }

    fn act(&self, act: flow::Act) -> Result<domain::Act, Fault> {
        Ok(match act {
            flow::Act::Http(call) => domain::Act::Http(self.http_call(call)?),
            flow::Act::Show(show) => domain::Act::Show(self.show(show)?),
            flow::Act::Timer(at) => domain::Act::Timer(at),
            flow::Act::Expect(correlation) => {
                domain::Act::Expect(word("a correlation", correlation, REFERENCE_BYTES_MAX)?)
            }
            flow::Act::Enqueue((file, correlation, record)) => {
                if !self.has_files {
                    return Err(denied("enqueue needs the interface `files`, which the component does not export"));
                }
                at_most("bytes of a file record", record.len(), BODY_BYTES_MAX)?;
                domain::Act::Enqueue(
                    word("a file's name", file, NAME_BYTES_MAX)?,
                    word("a correlation", correlation, REFERENCE_BYTES_MAX)?,
                    record,
                )
            }
            flow::Act::Cancel(key) => domain::Act::Cancel(word("an effect's key", key, NAME_BYTES_MAX)?),
        })
    }

    fn http_call(&self, call: flow::HttpCall) -> Result<domain::HttpCall, Fault> {
        if self.manifest.operation(&call.endpoint, &call.operation).is_none() {
            let (endpoint, operation) = (quote(&call.endpoint), quote(&call.operation));
            return Err(denied(format!("operation {operation} of endpoint {endpoint} is not in the manifest")));
        }
        at_most("bytes of a request's body", call.body.len(), BODY_BYTES_MAX)?;
        at_most("query parameters", call.query.len(), QUERY_MAX)?;
        Ok(domain::HttpCall {
            endpoint: call.endpoint,
            operation: call.operation,
            path: path(call.path)?,
            query: call.query.into_iter().map(named).collect::<Result<_, _>>()?,
            body: call.body,
        })
    }

    fn show(&self, show: flow::Show) -> Result<domain::Show, Fault> {
        Ok(match show {
            flow::Show::Text(key) => domain::Show::Text(self.text(key)?),
            flow::Show::Code(code) => domain::Show::Code(word("a code to show", code, NAME_BYTES_MAX)?),
            flow::Show::Qr(content) => domain::Show::Qr(word("a QR code's content", content, LINE_BYTES_MAX)?),
            flow::Show::Link(link) => {
                // No other scheme runs anything, and these two cannot run anything here.
                if !(link.starts_with("https://") || link.starts_with("http://")) {
                    return Err(bad(format!("link {} does not begin with https:// or http://", quote(&link))));
                }
                domain::Show::Link(word("a link", link, LINE_BYTES_MAX)?)
            }
            flow::Show::Form(fields) => {
                at_most("form fields", fields.len(), FIELDS_MAX)?;
                let fields = fields.into_iter().map(|field| self.field(field));
                domain::Show::Form(fields.collect::<Result<_, _>>()?)
            }
        })
    }

    fn field(&self, field: flow::Field) -> Result<domain::Field, Fault> {
        at_most("choices", field.choices.len(), CHOICES_MAX)?;
        let kind = match field.kind {
            flow::FieldKind::Text => domain::FieldKind::Text,
            flow::FieldKind::Digits => domain::FieldKind::Digits,
            flow::FieldKind::Kana => domain::FieldKind::Kana,
            flow::FieldKind::Amount => domain::FieldKind::Amount,
            flow::FieldKind::Date => domain::FieldKind::Date,
            flow::FieldKind::Choice => domain::FieldKind::Choice,
            flow::FieldKind::Secret => domain::FieldKind::Secret,
        };
        let choices = field.choices.into_iter().map(|choice| word("a choice", choice, REFERENCE_BYTES_MAX));
        Ok(domain::Field {
            name: word("a field's name", field.name, NAME_BYTES_MAX)?,
            label: self.text(field.label)?,
            kind,
            choices: choices.collect::<Result<_, _>>()?,
            required: field.required,
            max_length: field.max_length,
        })
    }

    fn proposal(&self, input: &Input, proposal: flow::Proposal) -> Result<domain::Proposal, Fault> {
        let kind = match &proposal {
            flow::Proposal::Credit(_) => ProposalKind::Credit,
            flow::Proposal::Hold(_) => ProposalKind::Hold,
            flow::Proposal::Capture(_) => ProposalKind::Capture,
            flow::Proposal::Release(_) => ProposalKind::Release,
            flow::Proposal::Reverse(_) => ProposalKind::Reverse,
            flow::Proposal::Tombstone(_) => ProposalKind::Tombstone,
        };
        // A step of a running flow does not say how the flow began; whether this flow's own beginning may propose it is decided with the flow.
        let granted = match input {
            Input::BeginCharge(_) => self.manifest.may_propose(Beginning::Charge, kind),
            _ => self.manifest.proposals.keys().any(|beginning| self.manifest.may_propose(*beginning, kind)),
        };
        if !granted {
            return Err(denied(format!("proposal {kind:?} is not granted by the manifest")));
        }
        Ok(match proposal {
            flow::Proposal::Credit(credit) => domain::Proposal::Credit(domain::Credit {
                key: word("a credit's key", credit.key, NAME_BYTES_MAX)?,
                amount: positive(credit.amount)?,
                reference: reference(credit.reference)?,
                because: credit.because,
                arrived: credit.arrived,
            }),
            flow::Proposal::Hold(hold) => domain::Proposal::Hold(domain::Hold {
                key: word("a hold's key", hold.key, NAME_BYTES_MAX)?,
                amount: positive(hold.amount)?,
            }),
            flow::Proposal::Capture(capture) => domain::Proposal::Capture(domain::Capture {
                hold: word("a hold's key", capture.hold, NAME_BYTES_MAX)?,
                amount: positive(capture.amount)?,
                reference: reference(capture.reference)?,
                because: capture.because,
                last: capture.final_,
            }),
            flow::Proposal::Release(hold) => domain::Proposal::Release(word("a hold's key", hold, NAME_BYTES_MAX)?),
            flow::Proposal::Reverse(reversal) => domain::Proposal::Reverse(domain::Reversal {
                of: word("a credit's key", reversal.of, NAME_BYTES_MAX)?,
                amount: positive(reversal.amount)?,
                reference: reference(reversal.reference)?,
                because: reversal.because,
            }),
            flow::Proposal::Tombstone(killed) => domain::Proposal::Tombstone(reference(killed)?),
        })
    }

    fn routing(&self, routing: inbound::Routing) -> Result<domain::Routing, Fault> {
        Ok(match routing {
            inbound::Routing::Deliver(delivery) => domain::Routing::Deliver(domain::Delivery {
                correlation: word("a correlation", delivery.correlation, REFERENCE_BYTES_MAX)?,
                otherwise: http_answer(delivery.otherwise)?,
                tombstone: delivery.tombstone.map(reference).transpose()?,
            }),
            inbound::Routing::Answer(answer) => domain::Routing::Answer(http_answer(answer)?),
        })
    }

    fn failure(&self, failure: types::Failure) -> Result<domain::Failure, Fault> {
        at_most("bytes of a failure's message", failure.message.len(), LINE_BYTES_MAX)?;
        Ok(domain::Failure {
            code: self.code("failure", failure.code)?,
            // It goes into logs and notes, where a control character could pass for something else.
            message: failure.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            text: failure.text.map(|key| self.text(key)).transpose()?,
            retryable: failure.retryable,
        })
    }

    fn code(&self, what: &str, code: String) -> Result<String, Fault> {
        if self.manifest.has_code(&code) {
            Ok(code)
        } else {
            Err(bad(format!("{what} code {} is not in the manifest", quote(&code))))
        }
    }

    fn text(&self, key: String) -> Result<String, Fault> {
        if self.manifest.texts.contains_key(&key) {
            Ok(key)
        } else {
            Err(bad(format!("text {} is not in the manifest", quote(&key))))
        }
    }
}

fn settlement_line(line: settlement::Line) -> Result<domain::SettlementLine, Fault> {
    let amount = money(line.amount)?;
    if amount.minor < 0 {
        return Err(bad(format!("the amount {amount} of a settlement line is negative")));
    }
    let side = match line.side {
        settlement::Side::Credit => domain::Side::Credit,
        settlement::Side::Reversal => domain::Side::Reversal,
        settlement::Side::Capture => domain::Side::Capture,
        settlement::Side::Fee => domain::Side::Fee,
    };
    Ok(domain::SettlementLine { reference: reference(line.reference)?, side, amount, at: line.at })
}

fn http_answer(answer: flow::HttpAnswerResult) -> Result<domain::HttpAnswer, Fault> {
    if !(100..=599).contains(&answer.status) {
        return Err(bad(format!("status {} is not between 100 and 599", answer.status)));
    }
    at_most("headers", answer.headers.len(), HEADERS_MAX)?;
    at_most("bytes of a reply's body", answer.body.len(), BODY_BYTES_MAX)?;
    for (name, value) in &answer.headers {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(token) {
            return Err(bad(format!("header name {} has other characters than letters, digits and `-`", quote(name))));
        }
        if value.len() > LINE_BYTES_MAX || value.chars().any(char::is_control) {
            return Err(bad(format!("the value of header {} is too long or has control characters", quote(name))));
        }
    }
    Ok(domain::HttpAnswer { status: answer.status, headers: answer.headers, body: answer.body })
}

/// What is appended to an operation's own path: it stays below it.
fn path(path: String) -> Result<String, Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%!$&'()*+,;=:@".contains(&byte);
    let lower = path.to_ascii_lowercase();
    let escapes = path.split('/').any(|part| part == "." || part == "..")
        || ["%2e", "%2f", "%5c", "%00"].iter().any(|hidden| lower.contains(hidden));
    if path.is_empty() || (path.starts_with('/') && path.len() <= LINE_BYTES_MAX && path.bytes().all(plain) && !escapes)
    {
        Ok(path)
    } else {
        Err(bad(format!("path {} is neither empty nor a plain path that begins with `/`", quote(&path))))
    }
}

fn named(named: types::NamedResult) -> Result<domain::Named, Fault> {
    let value = match named.value {
        types::ValueResult::Text(text) => {
            at_most("bytes of a text value", text.len(), LINE_BYTES_MAX)?;
            domain::Value::Text(text)
        }
        types::ValueResult::Whole(number) => domain::Value::Whole(number),
        types::ValueResult::Amount(amount) => domain::Value::Amount(money(amount)?),
        types::ValueResult::Rate(rate) => {
            domain::Value::Rate(domain::Decimal { mantissa: rate.mantissa, scale: rate.scale })
        }
        types::ValueResult::Flag(flag) => domain::Value::Flag(flag),
        types::ValueResult::Moment(moment) => domain::Value::Moment(moment),
        types::ValueResult::Secret(handle) => {
            domain::Value::Secret(word("a secret's handle", handle, REFERENCE_BYTES_MAX)?)
        }
    };
    Ok(domain::Named { name: word("a parameter's name", named.name, NAME_BYTES_MAX)?, value })
}

fn money(money: types::MoneyResult) -> Result<Money, Fault> {
    let currency = Currency::new(&money.currency)
        .map_err(|_| bad(format!("currency {} is not a code of ISO 4217", quote(&money.currency))))?;
    Ok(Money { minor: money.minor, currency })
}

fn positive(amount: types::MoneyResult) -> Result<Money, Fault> {
    let amount = money(amount)?;
    if amount.minor > 0 { Ok(amount) } else { Err(bad(format!("the amount {amount} of a proposal is not positive"))) }
}

fn reference(reference: String) -> Result<String, Fault> {
    word("a reference", reference, REFERENCE_BYTES_MAX)
}

/// Text that names something: not empty, on one line, not too long.
fn word(what: &str, text: String, bytes_max: usize) -> Result<String, Fault> {
    if text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) {
        let length = text.len();
        return Err(bad(format!(
            "{what} has 1 to {bytes_max} bytes and no control characters, not {length} bytes: {}",
            quote(&text)
        )));
    }
    Ok(text)
}

fn at_most(what: &str, length: usize, most: usize) -> Result<(), Fault> {
    if length > most { Err(bad(format!("{length} {what}, at most {most} are allowed"))) } else { Ok(()) }
}

fn at_most_points(what: &str, points: u32) -> Result<(), Fault> {
    if points > SCORE_MAX { Err(bad(format!("{what} {points} is above {SCORE_MAX}"))) } else { Ok(()) }
}

/// The guest's own text in a fault's detail: short and on one line.
fn quote(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("`{}`", short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use koban_domain::guest::{ChargeRequest, Event, What};
    use koban_domain::manifest::{
        CodeSpec, CredentialKind, EndpointSpec, EngineKind, Kind, Method, OperationSpec, Repeat, Words,
    };
    use koban_domain::records::FaultClass;

    fn manifest() -> Manifest {
        let words = || Words { ja: "試し".into(), en: "test".into() };
        Manifest {
            id: "charge-test".into(),
            version: "1.0.0".into(),
            contract: CONTRACT.into(),
            kind: Kind::ChargeChannel,
            engine: EngineKind::Native,
            name: words(),
            purpose: words(),
            settings: vec![],
            facts: vec![],
            signals: vec![],
            endpoints: vec![EndpointSpec {
                name: "network".into(),
                credential: CredentialKind::StandardWebhooks,
                operations: vec![OperationSpec {
                    name: "status".into(),
                    method: Method::Get,
                    path: "/status".into(),
                    repeat: Repeat::Safe,
                    timeout_s: 5,
                    deadline_s: 60,
                }],
                inbound: vec![],
            }],
            proposals: [(Beginning::Charge, [ProposalKind::Credit, ProposalKind::Tombstone].into())].into(),
            codes: vec![CodeSpec { code: "cancelled".into(), about: words() }],
            texts: [("wait".to_owned(), words())].into(),
        }
    }

    fn begin() -> Input {
        Input::BeginCharge(ChargeRequest {
            wallet: "w".into(),
            amount: None,
            at_most: Money::yen(10_000),
            facts: vec![],
        })
    }

    fn resume() -> Input {
        Input::Resume(vec![], Event { number: 1, key: "k".into(), what: What::Rang }, None)
    }

    fn step() -> flow::Step {
        flow::Step {
            state: vec![1],
            standing: flow::Standing::WaitingForPartner,
            effects: vec![],
            proposals: vec![],
            reply: None,
            note: None,
        }
    }

    fn effect(act: flow::Act) -> flow::Step {
        flow::Step { effects: vec![flow::Effect { key: "e".into(), act }], ..step() }
    }

    fn http(endpoint: &str, operation: &str, path: &str) -> flow::Step {
        effect(flow::Act::Http(flow::HttpCall {
            endpoint: endpoint.into(),
            operation: operation.into(),
            path: path.into(),
            query: vec![],
            body: vec![],
        }))
    }

    fn credit(minor: i64, currency: &str, reference: &str) -> flow::Step {
        let credit = flow::Credit {
            key: "c".into(),
            amount: types::MoneyResult { minor, currency: currency.into() },
            reference: reference.into(),
            because: 1,
            arrived: true,
        };
        flow::Step { proposals: vec![flow::Proposal::Credit(credit)], ..step() }
    }

    fn reply(status: u16, headers: &[(&str, &str)], body: usize) -> flow::Step {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        flow::Step { reply: Some(flow::HttpAnswerResult { status, headers, body: vec![b'x'; body] }), ..step() }
    }

    fn note(code: &str, text: Option<&str>) -> flow::Step {
        let note = types::Failure {
            code: code.into(),
            message: "m".into(),
            text: text.map(ToOwned::to_owned),
            retryable: false,
        };
        flow::Step { note: Some(note), ..step() }
    }

    #[track_caller]
    fn check(step: flow::Step, expected: Result<(), (FaultClass, &str)>) {
        for input in [begin(), resume()] {
            let manifest = manifest();
            let gate = Gate { manifest: &manifest, has_files: false };
            match (gate.admit(&input, Raw::Step(Ok(step.clone()))), expected) {
                (Ok(_), Ok(())) => {}
                (Err(fault), Err((class, part))) => {
                    assert_eq!(fault.class, class, "{fault}");
                    assert!(fault.detail.contains(part), "{fault}");
                }
                (admitted, expected) => panic!("{admitted:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn a_step_within_its_grants_passes() {
        check(step(), Ok(()));
        check(http("network", "status", ""), Ok(()));
        check(http("network", "status", "/1/2"), Ok(()));
        check(credit(10_000, "JPY", "r-1"), Ok(()));
        check(reply(200, &[("Content-Type", "application/json")], 65_536), Ok(()));
        check(note("cancelled", Some("wait")), Ok(()));
        check(effect(flow::Act::Show(flow::Show::Text("wait".into()))), Ok(()));
    }

    #[test]
    fn what_the_manifest_does_not_grant_is_denied() {
        use FaultClass::Denied;
        check(http("elsewhere", "status", ""), Err((Denied, "operation `status` of endpoint `elsewhere`")));
        check(http("network", "pay", ""), Err((Denied, "operation `pay` of endpoint `network`")));
        let amount = types::MoneyResult { minor: 1, currency: "JPY".into() };
        let capture =
            flow::Capture { hold: "h".into(), amount: amount.clone(), reference: "r".into(), because: 1, final_: true };
        let reversal = flow::Reversal { of: "c".into(), amount, reference: "r".into(), because: 1 };
        for (proposal, kind) in
            [(flow::Proposal::Capture(capture), "Capture"), (flow::Proposal::Reverse(reversal), "Reverse")]
        {
            check(flow::Step { proposals: vec![proposal], ..step() }, Err((Denied, kind)));
        }
        let enqueue = flow::Act::Enqueue(("f".into(), "c".into(), vec![]));
        check(effect(enqueue), Err((Denied, "files")));
    }

    #[test]
    fn what_makes_no_sense_is_a_bad_answer() {
        use FaultClass::BadAnswer;
        check(credit(0, "JPY", "r"), Err((BadAnswer, "0 JPY of a proposal is not positive")));
        check(credit(-1, "JPY", "r"), Err((BadAnswer, "not positive")));
        check(credit(1, "jpy", "r"), Err((BadAnswer, "currency `jpy`")));
        check(credit(1, "JPY", ""), Err((BadAnswer, "a reference has 1 to 200 bytes")));
        check(credit(1, "JPY", "a\nb"), Err((BadAnswer, "control characters")));
        check(credit(1, "JPY", &"r".repeat(201)), Err((BadAnswer, "not 201 bytes")));
        check(reply(99, &[], 0), Err((BadAnswer, "status 99")));
        check(reply(600, &[], 0), Err((BadAnswer, "status 600")));
        check(reply(200, &[], 65_537), Err((BadAnswer, "65537 bytes of a reply's body")));
        check(reply(200, &[("A: b\r\nC", "d")], 0), Err((BadAnswer, "header name")));
        check(reply(200, &[("A", "b\r\nC: d")], 0), Err((BadAnswer, "header `A`")));
        check(note("other", None), Err((BadAnswer, "failure code `other`")));
        check(note("cancelled", Some("other")), Err((BadAnswer, "text `other`")));
        check(flow::Step { state: vec![0; 65_537], ..step() }, Err((BadAnswer, "65537 bytes of state")));
        let timer = flow::Effect { key: "t".into(), act: flow::Act::Timer(1) };
        check(flow::Step { effects: vec![timer; 17], ..step() }, Err((BadAnswer, "17 effects")));
        let script = flow::Act::Show(flow::Show::Link("javascript:alert(1)".into()));
        check(effect(script), Err((BadAnswer, "does not begin with https://")));
        for path in ["x", "/../admin", "/%2e%2E/admin", "/a?b", "/a#b", "/a b", "/a\\b", "/a%2Fb", "/é"] {
            check(http("network", "status", path), Err((BadAnswer, "path")));
        }
    }

    #[test]
    fn a_settlement_line_is_never_negative() {
        let manifest = manifest();
        let gate = Gate { manifest: &manifest, has_files: false };
        let line = |minor| settlement::Line {
            reference: "r".into(),
            side: settlement::Side::Fee,
            amount: types::MoneyResult { minor, currency: "JPY".into() },
            at: 1,
        };
        let input = Input::ParseSettlement(vec![]);
        assert!(gate.admit(&input, Raw::Lines(Ok(vec![line(0), line(5)]))).is_ok());
        let fault = gate.admit(&input, Raw::Lines(Ok(vec![line(5), line(-1)]))).unwrap_err();
        assert_eq!(fault.detail, "the amount -1 JPY of a settlement line is negative");
    }
}
