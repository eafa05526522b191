//! One sentence for each rule of the campaign, over the pretend host.

use koban_sdk::on_event::{About, Action, Event, Remembered};
use koban_sdk::{Decimal, Failure, Money, Named, Plugin, Settings, Value, pretend};

use crate::ChargeCampaign;
use crate::settings::Terms;

const NOW: u64 = 1_775_012_400_000;
const SHOP: &str = "mer_00000000000000000000000000000001";

fn settings() -> Vec<Named> {
    vec![
        Named::new("first_charge_bonus", Money::yen(200)),
        Named::new("first_charge_min", Money::yen(1_000)),
        Named::new("spend_rate", Value::Rate(Decimal { mantissa: 5, scale: 2 })),
        Named::new("spend_min", Money::yen(1_000)),
        Named::new("spend_most", Money::yen(1_000)),
        Named::new("discount_reason", ""),
    ]
}

fn with(name: &str, value: impl Into<Value>) -> Vec<Named> {
    let mut settings = settings();
    settings.retain(|named| named.name != name);
    settings.push(Named { name: name.to_owned(), value: value.into() });
    settings
}

fn event(kind: &str, amount: Money) -> Event {
    Event {
        id: "evt_00000000000000000000000000000001".into(),
        kind: kind.into(),
        at: NOW,
        amount: Some(amount),
        user: Some("hana".into()),
        merchant: kind.starts_with("payment").then(|| SHOP.into()),
        facts: vec![],
    }
}

fn told(settings: &[Named], event: &Event, known: &[Remembered]) -> Vec<Action> {
    pretend::on_event::<ChargeCampaign>(NOW, settings, event, known).expect("an answer")
}

fn bonus_of(actions: &[Action]) -> Option<i64> {
    actions.iter().find_map(|action| match action {
        Action::Bonus(bonus) => Some(bonus.amount.minor),
        _ => None,
    })
}

#[test]
fn the_first_charge_that_reaches_the_amount_brings_a_bonus_once() {
    let charge = |yen| event("charge.credited", Money::yen(yen));
    assert_eq!(told(&settings(), &charge(999), &[]), []);
    let actions = told(&settings(), &charge(1_000), &[]);
    assert_eq!(bonus_of(&actions), Some(200));
    let Some(Action::Put(put)) = actions.first() else { panic!("nothing is remembered: {actions:?}") };
    let known = Remembered { about: About::User, name: put.name.clone(), value: put.value.clone().expect("a value") };
    assert_eq!(told(&settings(), &charge(5_000), &[known]), []);
    assert_eq!(told(&with("first_charge_bonus", Money::yen(0)), &charge(5_000), &[]), []);
    assert_eq!(told(&settings(), &event("charge.credited", Money::new(100_000, "USD")), &[]), []);
}

#[test]
fn a_share_of_what_is_spent_comes_back_rounded_down_and_bounded() {
    let paid = |yen| bonus_of(&told(&settings(), &event("payment.captured", Money::yen(yen)), &[]));
    assert_eq!((paid(999), paid(1_000), paid(1_019), paid(1_020)), (None, Some(50), Some(50), Some(51)));
    assert_eq!((paid(20_000), paid(20_001), paid(i64::MAX)), (Some(1_000), Some(1_000), Some(1_000)));
    assert_eq!(bonus_of(&told(&settings(), &event("capture.posted", Money::yen(2_000)), &[])), Some(100));
    assert_eq!(bonus_of(&told(&settings(), &event("payment.captured", Money::new(5_000, "USD")), &[])), None);
    let none = with("spend_rate", Value::Rate(Decimal { mantissa: 0, scale: 0 }));
    assert_eq!(told(&none, &event("payment.captured", Money::yen(5_000)), &[]), []);
}

#[test]
fn merchants_that_are_not_named_do_not_count() {
    let here = |merchant: &str| {
        let settings = with("spend_merchants", merchant);
        bonus_of(&told(&settings, &event("payment.captured", Money::yen(2_000)), &[]))
    };
    assert_eq!((here(SHOP), here("mer_00000000000000000000000000000002")), (Some(100), None));
}

#[test]
fn a_refund_takes_back_the_share_of_the_payments_bonus_and_nothing_else() {
    let actions = told(&settings(), &event("refund.posted", Money::yen(300)), &[]);
    assert_eq!(actions, [Action::Reclaim("spend_back".into())]);
    assert_eq!(told(&settings(), &event("transfer.posted", Money::yen(9_000)), &[]), []);
}

#[test]
fn the_caps_of_the_law_on_premiums_are_kept_unless_it_is_a_discount() {
    let check = |settings: &[Named]| -> Result<(), Vec<Failure>> {
        ChargeCampaign::check_settings(&Terms::read(settings).expect("settings"))
    };
    assert_eq!(check(&settings()), Ok(()));
    assert!(check(&with("first_charge_bonus", Money::yen(201))).is_err());
    assert!(check(&with("spend_rate", Value::Rate(Decimal { mantissa: 201, scale: 3 }))).is_err());
    assert!(check(&with("spend_rate", Value::Rate(Decimal { mantissa: 2, scale: 1 }))).is_ok());
    let mut small = with("first_charge_min", Money::yen(500));
    assert_eq!(check(&small), Ok(()), "below 1,000 yen a premium of 200 is allowed");
    small.retain(|named| named.name != "first_charge_bonus");
    small.push(Named::new("first_charge_bonus", Money::yen(201)));
    assert!(check(&small).is_err());
    let mut discount = with("spend_rate", Value::Rate(Decimal { mantissa: 5, scale: 1 }));
    assert!(check(&discount).is_err());
    discount.retain(|named| named.name != "discount_reason");
    discount.push(Named::new("discount_reason", "reopening sale, taken off the price"));
    assert_eq!(check(&discount), Ok(()));
}
