//! A bonus campaign: for the first charge, and a share of what is spent. The host's ledger holds it to its budgets; here is only who gets how much.

use koban_sdk::on_event::{About, Action, Event, Remembered, remembered};
use koban_sdk::{Context, Decimal, Failure, Money, OnEvent, Plugin, SETTINGS_INVALID, merchant_tool};

use crate::settings::Terms;

mod settings;
#[cfg(test)]
mod tests;

/// The budgets, which are also the codes that say why a bonus was given.
const FIRST_CHARGE: &str = "first_charge";
const SPEND_BACK: &str = "spend_back";

/// The plugin.
pub struct ChargeCampaign;

merchant_tool!(ChargeCampaign);

impl Plugin for ChargeCampaign {
    type Settings = Terms;

    /// The law on premiums: what everybody gets is worth at most 20 % of the price, or 200 yen below 1,000. A discount is no premium.
    fn check_settings(terms: &Terms) -> Result<(), Vec<Failure>> {
        let mut failures = Vec::new();
        let invalid = |message: &str| Failure::new(SETTINGS_INVALID, message);
        if terms.discount_reason.trim().is_empty() {
            let most = premium_most(terms.first_charge_min.minor);
            if terms.first_charge_bonus.minor > most {
                failures.push(invalid(&format!(
                    "first_charge_bonus may be at most {most} yen for a charge of {}, unless discount_reason says why it is a discount",
                    terms.first_charge_min.minor
                )));
            }
            if is_above_a_fifth(&terms.spend_rate) {
                failures
                    .push(invalid("spend_rate may be at most 0.2, unless discount_reason says why it is a discount"));
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }
}

impl OnEvent for ChargeCampaign {
    fn on_event(_: &Context, terms: &Terms, event: &Event, known: &[Remembered]) -> Result<Vec<Action>, Failure> {
        Ok(match event.kind.as_str() {
            "charge.credited" => first_charge(terms, event, known),
            "payment.captured" | "capture.posted" => spent(terms, event),
            // The host knows what was granted for the payment and how much of it was given back.
            "refund.posted" => vec![Action::reclaim(SPEND_BACK)],
            _ => Vec::new(),
        })
    }
}

/// The first charge that reaches the amount, once for each user.
fn first_charge(terms: &Terms, event: &Event, known: &[Remembered]) -> Vec<Action> {
    let reaches = event.amount.as_ref().is_some_and(|amount| terms.first_charge_min.is_at_most(amount));
    let had_it = remembered(known, About::User, FIRST_CHARGE).unwrap_or(false);
    if !reaches || had_it || terms.first_charge_bonus.minor == 0 {
        return Vec::new();
    }
    vec![
        Action::put_for_user(FIRST_CHARGE, true),
        Action::bonus(FIRST_CHARGE, terms.first_charge_bonus.clone(), FIRST_CHARGE),
    ]
}

/// A share of what was paid, rounded down.
fn spent(terms: &Terms, event: &Event) -> Vec<Action> {
    let counts = terms.spend_merchants.is_empty()
        || event.merchant.as_ref().is_some_and(|merchant| terms.spend_merchants.contains(merchant));
    let Some(amount) = event.amount.as_ref().filter(|amount| counts && terms.spend_min.is_at_most(amount)) else {
        return Vec::new();
    };
    match share(amount.minor, &terms.spend_rate).min(terms.spend_most.minor) {
        0 => Vec::new(),
        bonus => vec![Action::bonus(SPEND_BACK, Money::new(bonus, &amount.currency), SPEND_BACK)],
    }
}

/// So much of an amount, rounded down; all that fits if the share is greater than that.
fn share(minor: i64, rate: &Decimal) -> i64 {
    i64::try_from((i128::from(minor) * i128::from(rate.mantissa)).div_euclid(whole(rate))).unwrap_or(i64::MAX)
}

fn is_above_a_fifth(rate: &Decimal) -> bool {
    i128::from(rate.mantissa) * 5 > whole(rate)
}

/// The mantissa that would be one.
fn whole(rate: &Decimal) -> i128 {
    10_i128.pow(u32::from(rate.scale.min(18)))
}

/// The most that a premium may be worth for a price.
fn premium_most(price: i64) -> i64 {
    if price < 1_000 { 200 } else { price / 5 }
}
