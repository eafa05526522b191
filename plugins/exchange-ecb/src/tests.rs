//! Real days of the bank's file and the prices that follow from them; and files that the bank never wrote.

use koban_sdk::market::{Rate, Request};
use koban_sdk::{Decimal, Failure, Money, Named, Plugin, Settings, Value, pretend};

use crate::ExchangeEcb;

/// 2018-09-26 09:00 UTC.
const MORNING: u64 = 1_537_952_400_000;

/// The file of 25 September 2018, shortened to six currencies.
const SEPTEMBER: &str = include_str!("../../../examples/outside-world/feeds/2018-09-25.xml");

fn settings(spread: &str) -> Vec<Named> {
    vec![
        Named::new("spread", Value::Rate(Decimal::parse(spread).unwrap())),
        Named::new("quote_seconds", 30),
        Named::new("age_days_max", 4),
    ]
}

fn rates() -> Vec<Rate> {
    pretend::rates::<ExchangeEcb>(MORNING, &settings("0.01"), SEPTEMBER.as_bytes()).unwrap()
}

fn asked(sell: &str, buy: &str) -> Request {
    Request { sell: sell.into(), buy: buy.into(), amount: Money::new(10_000, "USD"), rates: rates(), facts: vec![] }
}

#[track_caller]
fn price(sell: &str, buy: &str, spread: &str) -> (String, i64) {
    let price = pretend::quote::<ExchangeEcb>(MORNING, &settings(spread), &asked(sell, buy)).unwrap();
    assert_eq!((price.rate.scale, price.expires), (4, MORNING + 30_000));
    (format!("{}/{}", price.base, price.quote), price.rate.mantissa)
}

#[test]
fn the_days_file_is_read_whole() {
    let rates = rates();
    assert_eq!(rates.len(), 6);
    let yen = rates.iter().find(|rate| rate.quote == "JPY").unwrap();
    assert_eq!((yen.base.as_str(), yen.mid, yen.at), ("EUR", Decimal::new(13_278, 2), 1_537_877_700_000));
}

#[test]
fn dollars_cost_and_bring_what_the_worked_example_says() {
    assert_eq!(price("JPY", "USD", "0.01"), ("USD/JPY".into(), 1_138_727));
    assert_eq!(price("USD", "JPY", "0.01"), ("USD/JPY".into(), 1_116_177));
    assert_eq!(price("JPY", "EUR", "0"), ("EUR/JPY".into(), 1_327_800));
    assert_eq!(price("EUR", "USD", "0"), ("USD/EUR".into(), 8_492), "rounded up: the customer pays");
}

#[test]
fn who_buys_and_sells_again_never_gains() {
    for spread in ["0", "0.000001", "0.01", "0.2"] {
        for currency in ["USD", "EUR", "GBP", "KRW", "CNY", "THB"] {
            assert!(price("JPY", currency, spread).1 >= price(currency, "JPY", spread).1, "{currency} at {spread}");
        }
    }
}

#[test]
fn what_is_not_published_or_not_wanted_is_not_quoted() {
    let code = |settings: &[Named], request: &Request| {
        pretend::quote::<ExchangeEcb>(MORNING, settings, request).unwrap_err().code
    };
    assert_eq!(code(&settings("0.01"), &asked("JPY", "TWD")), "not_quoted");
    let mut few = settings("0.01");
    few.push(Named::new("currencies", "EUR"));
    assert_eq!(code(&few, &asked("JPY", "USD")), "not_quoted");
    assert!(pretend::quote::<ExchangeEcb>(MORNING, &few, &asked("JPY", "EUR")).is_ok());
}

#[test]
fn rates_are_quoted_over_a_long_week_end_and_no_longer() {
    let fixed = rates()[0].at;
    let at = |now| pretend::quote::<ExchangeEcb>(now, &settings("0.01"), &asked("JPY", "USD"));
    assert!(at(fixed + 4 * 86_400_000).is_ok());
    let old = at(fixed + 4 * 86_400_000 + 1).unwrap_err();
    assert_eq!((old.code.as_str(), old.retryable), ("rates_too_old", true));
}

#[test]
fn a_file_that_the_bank_would_not_write_is_not_taken() {
    let read = |text: &str| pretend::rates::<ExchangeEcb>(MORNING, &settings("0.01"), text.as_bytes());
    for (from, to) in [
        ("132.78", "132,78"),
        ("132.78", "-132.78"),
        ("132.78", "0"),
        ("132.78", "1e2"),
        ("132.78", "N/A"),
        ("'JPY'", "'jpy'"),
        ("'JPY'", "'USD'"),
        ("'JPY'", "'EUR'"),
        ("2018-09-25", "2018-09-31"),
        ("<Cube time='2018-09-25'>", "<Cube>"),
        ("rate='132.78'", "rate='132.78' other='1'"),
        ("rate='132.78'/>", "rate=132.78/>"),
        ("rate='132.78'/>", "rate='132.78"),
        ("<gesmes:Envelope", "<!DOCTYPE a [<!ENTITY b 'c'>]><gesmes:Envelope"),
    ] {
        assert!(SEPTEMBER.contains(from), "{from}");
        let failure: Failure = read(&SEPTEMBER.replacen(from, to, 1)).expect_err(to);
        assert_eq!(failure.code, "feed_unreadable", "{to}: {failure:?}");
    }
    for text in ["", "<html>busy</html>", "<Cube time='2018-09-25'></Cube>"] {
        assert_eq!(read(text).unwrap_err().code, "feed_unreadable", "{text}");
    }
    let cut = &SEPTEMBER[..SEPTEMBER.find("rate='132").unwrap()];
    assert!(read(cut).is_err(), "half a file");
}

#[test]
fn a_spread_beyond_reason_is_refused() {
    let check = |spread| ExchangeEcb::check_settings(&Settings::read(&settings(spread)).unwrap());
    assert_eq!(check("0.2"), Ok(()));
    assert_eq!(check("0.200001").unwrap_err()[0].code, "settings_invalid");
    assert_eq!(check("0.0000001").unwrap_err()[0].code, "settings_invalid");
}
