//! The beginning of a charge: how much it may be, and the first scan.

use koban_sdk::flow::{Field, FieldKind, Request, Show, Step};
use koban_sdk::{Failure, Money};

use crate::settings::AtmSettings;
use crate::state::{Phase, Session};

/// ATMs take 1,000-yen notes and nothing smaller.
pub(crate) const NOTE_YEN: i64 = 1_000;

/// How often a user may scan something that is no ATM session.
pub(crate) const SCANS_MAX: u8 = 3;

/// Opens the charge and asks for the scan.
pub(crate) fn begin(settings: &AtmSettings, request: &Request) -> Result<Step<Session>, Failure> {
    if !request.at_most.is_in("JPY") {
        let message = format!("ATMs take JPY, not {}", request.at_most.currency);
        return Err(Failure::new("currency_not_supported", message).text("currency-not-supported"));
    }
    let allowed = request.at_most.minor.min(channel_limit(settings, request).minor);
    let max_yen = allowed - allowed.rem_euclid(NOTE_YEN);
    if max_yen < NOTE_YEN {
        let message = format!("at most {allowed} yen may be charged, which is less than one note");
        return Err(Failure::new("amount_too_small", message).text("amount-too-small"));
    }
    let session = Session { phase: Phase::Scanning, max_yen, scans: 1, deposit: None };
    Ok(Step::new(session, Phase::Scanning.standing()).show("scan", scan_form()))
}

/// The key of the form that asks for the nth scan.
pub(crate) fn scan_key(scan: u8) -> String {
    if scan == 1 { "scan".to_owned() } else { format!("scan-{scan}") }
}

/// The key of the text that says why there is an nth scan.
pub(crate) fn scan_again_key(scan: u8) -> String {
    format!("scan-{scan}-why")
}

pub(crate) fn scan_form() -> Show {
    Show::Form(vec![Field::new("session", "scan-label", FieldKind::Text).at_most(80)])
}

/// What the channel allows this kind of account. An account of unknown kind gets the lower limit.
fn channel_limit<'a>(settings: &'a AtmSettings, request: &Request) -> &'a Money {
    match request.facts().get::<String>("account.kind").as_deref() {
        Some("funds") => &settings.max_funds,
        _ => &settings.max_prepaid,
    }
}
