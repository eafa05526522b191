//! Steps of flows and routings, admitted: effects, proposals and replies within what the manifest grants.

use koban_domain::guest as domain;
use koban_domain::manifest::{Beginning, ProposalKind};
use koban_domain::records::{Fault, Input};

use super::{
    BODY_BYTES_MAX, Gate, LINE_BYTES_MAX, NAME_BYTES_MAX, REFERENCE_BYTES_MAX, at_most, named, positive, quote,
    reference, word,
};
use crate::bindings::exports::koban::plugin::inbound;
use crate::bindings::koban::plugin::flow;
use crate::faults::{bad, denied};

const EFFECTS_MAX: usize = 16;
const PROPOSALS_MAX: usize = 16;
const HEADERS_MAX: usize = 32;
const QUERY_MAX: usize = 50;
const FIELDS_MAX: usize = 20;
const CHOICES_MAX: usize = 100;
/// A link's own bytes.
const LINK_BYTES_MAX: usize = 4 << 10;

impl Gate<'_> {
    /// A step of a flow, or its beginning.
    pub(super) fn step(&self, input: &Input, step: flow::Step) -> Result<domain::Step, Fault> {
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
            flow::Act::SaveLink(link) => domain::Act::SaveLink(self.saved_link(link)?),
            flow::Act::DropLink(link) => domain::Act::DropLink(reference(link)?),
        })
    }

    fn saved_link(&self, link: flow::SavedLink) -> Result<domain::SavedLink, Fault> {
        if self.manifest.link(&link.kind).is_none() {
            return Err(denied(format!("a link of kind {} is not in the manifest", quote(&link.kind))));
        }
        at_most("bytes of a link's data", link.data.len(), LINK_BYTES_MAX)?;
        Ok(domain::SavedLink {
            reference: reference(link.reference)?,
            kind: link.kind,
            label: word("a link's label", link.label, NAME_BYTES_MAX)?,
            data: link.data,
            expires: link.expires,
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
            flow::Show::Consent(endpoint) => {
                if self.manifest.endpoint(&endpoint).is_none() {
                    return Err(denied(format!("endpoint {} is not in the manifest", quote(&endpoint))));
                }
                domain::Show::Consent(endpoint)
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
        let granted = match input.beginning() {
            Some(beginning) => self.manifest.may_propose(beginning, kind),
            None => self.manifest.proposals.keys().any(|beginning| self.manifest.may_propose(*beginning, kind)),
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
                fee: capture.fee.map(positive).transpose()?,
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

    /// Where a call belongs.
    pub(super) fn routing(&self, routing: inbound::Routing) -> Result<domain::Routing, Fault> {
        Ok(match routing {
            inbound::Routing::Deliver(its) => domain::Routing::Deliver(delivery(its)?),
            inbound::Routing::Answer(answer) => domain::Routing::Answer(http_answer(answer)?),
            inbound::Routing::Begin(opening) => domain::Routing::Begin(self.opening(opening)?),
        })
    }

    fn opening(&self, opening: inbound::Opening) -> Result<domain::Opening, Fault> {
        let beginning = match opening.beginning {
            inbound::Beginning::Charge => Beginning::Charge,
            inbound::Beginning::Withdraw => Beginning::Withdraw,
        };
        if !self.manifest.kind.beginnings().contains(&beginning) {
            let (kind, word) = (self.manifest.kind.word(), beginning.word());
            return Err(denied(format!("a {kind} begins no {word}")));
        }
        let owner = match opening.owner {
            inbound::Owner::Wallet(name) => domain::Owner::Wallet(word("a wallet's name", name, REFERENCE_BYTES_MAX)?),
            inbound::Owner::Link(link) => domain::Owner::Link(reference(link)?),
        };
        Ok(domain::Opening {
            beginning,
            owner,
            amount: positive(opening.amount)?,
            delivery: delivery(opening.delivery)?,
        })
    }
}

fn delivery(delivery: inbound::Delivery) -> Result<domain::Delivery, Fault> {
    Ok(domain::Delivery {
        correlation: word("a correlation", delivery.correlation, REFERENCE_BYTES_MAX)?,
        otherwise: http_answer(delivery.otherwise)?,
        tombstone: delivery.tombstone.map(reference).transpose()?,
    })
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
