//! Effects and proposals as one line of text each, the way scenario files write them.

use koban_domain::guest::{Act, Effect, Proposal, Show, Standing};
use koban_domain::manifest::Manifest;
use koban_domain::time::Timestamp;

use crate::values::duration_text;

/// An effect in a line: `http approve network.approve`, `timer expiry 5m`, `form scan`. Timers are told from the time of the step.
pub fn effect(effect: &Effect, now: Timestamp) -> String {
    let key = &effect.key;
    match &effect.act {
        Act::Http(call) => {
            let more = if call.path.is_empty() { String::new() } else { format!(" {}", call.path) };
            format!("http {key} {}.{}{more}", call.endpoint, call.operation)
        }
        Act::Show(show) => shown(key, show),
        Act::Timer(at) => {
            let at = Timestamp(i64::try_from(*at).unwrap_or(i64::MAX));
            format!("timer {key} {}", duration_text(at.since_ms(now)))
        }
        Act::Expect(correlation) => format!("expect {key} {correlation}"),
        Act::Enqueue(file, correlation, _) => format!("enqueue {key} {file} {correlation}"),
        Act::Cancel(of) => format!("cancel {of}"),
        Act::SaveLink(link) => format!("save-link {key} {} {}", link.kind, link.reference),
        Act::DropLink(reference) => format!("drop-link {key} {reference}"),
    }
}

fn shown(key: &str, show: &Show) -> String {
    match show {
        Show::Text(text) => format!("text {key} {text}"),
        Show::Code(code) => format!("code {key} {code}"),
        Show::Qr(content) => format!("qr {key} {content}"),
        Show::Link(link) => format!("link {key} {link}"),
        Show::Form(_) => format!("form {key}"),
        Show::Consent(endpoint) => format!("consent {key} {endpoint}"),
    }
}

/// A proposal in a line: `credit deposit 10000 JPY A-17/2026-04-01/7`.
pub fn proposal(proposal: &Proposal) -> String {
    match proposal {
        Proposal::Credit(credit) => {
            let arrived = if credit.arrived { " arrived" } else { "" };
            format!("credit {} {} {}{arrived}", credit.key, credit.amount, credit.reference)
        }
        Proposal::Hold(hold) => format!("hold {} {}", hold.key, hold.amount),
        Proposal::Capture(capture) => {
            let last = if capture.last { " final" } else { "" };
            let fee = capture.fee.map(|fee| format!(" fee {fee}")).unwrap_or_default();
            format!("capture {} {} {}{fee}{last}", capture.hold, capture.amount, capture.reference)
        }
        Proposal::Release(hold) => format!("release {hold}"),
        Proposal::Reverse(reversal) => format!("reverse {} {} {}", reversal.of, reversal.amount, reversal.reference),
        Proposal::Tombstone(reference) => format!("tombstone {reference}"),
    }
}

/// A standing as the contract writes it: `waiting-for-user`.
pub fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::WaitingForUser => "waiting-for-user",
        Standing::WaitingForPartner => "waiting-for-partner",
        Standing::Checking => "checking",
        Standing::Done => "done",
        Standing::Failed => "failed",
        Standing::Cancelled => "cancelled",
    }
}

/// The names of the partner's operations that a scenario may call.
pub(super) fn inbound_operations(manifest: &Manifest) -> Vec<&str> {
    let operations = manifest.endpoints.iter().flat_map(|endpoint| &endpoint.inbound);
    operations.filter(|operation| !operation.settlement).map(|operation| operation.name.as_str()).collect()
}
