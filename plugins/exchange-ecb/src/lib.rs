//! Exchanging currencies at the reference rates of the European Central Bank: reads its daily file, and prices with a spread.
//!
//! All rates of the file are against the euro; every other pair is a cross of two of them. The bank fixes at 14:15 in Frankfurt on its working days.

use koban_sdk::market::{Price, Rate, Request};
use koban_sdk::{Context, Failure, Plugin, Quote, Rates, SETTINGS_INVALID, exchange};

use crate::settings::Spread;

mod feed;
mod price;
mod settings;
#[cfg(test)]
mod tests;

/// The plugin.
pub struct ExchangeEcb;

exchange!(ExchangeEcb);

impl Plugin for ExchangeEcb {
    type Settings = Spread;

    fn check_settings(settings: &Spread) -> Result<(), Vec<Failure>> {
        if settings.is_reasonable() {
            return Ok(());
        }
        Err(vec![Failure::new(SETTINGS_INVALID, "spread must be 0 to 0.2 with at most 6 decimals, such as 0.01")])
    }
}

impl Rates for ExchangeEcb {
    fn parse(_: &Context, _: &Spread, content: &[u8]) -> Result<Vec<Rate>, Failure> {
        feed::parse(content)
    }
}

impl Quote for ExchangeEcb {
    fn quote(ctx: &Context, settings: &Spread, request: &Request) -> Result<Price, Failure> {
        price::price(ctx.now, settings, request)
    }
}
