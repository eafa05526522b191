//! Exchanges: the worked figures, what rounding leaves, positions, and that nobody wins by going there and back.

use koban_domain::accounts::{AccountKey, Class};
use koban_domain::exchanges::{Pair, Rate, Reference, sides};
use koban_domain::ledger::Answer;
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use proptest::prelude::*;
use rust_decimal::Decimal;

use crate::world::{HANAKO, NOON, World, dollar_in_yen, offer_dollars, usd};

const JPY: Currency = Currency::JPY;

fn dollars(cents: i64) -> Money {
    Money::new(cents, usd())
}

fn world_with(yen: i64) -> World {
    let mut world = World::limited_by(Vec::new());
    world.budget(i64::MAX / 8, 0);
    world.charge(HANAKO, yen, "r1").unwrap();
    offer_dollars(&mut world, i64::MAX / 8);
    world
}

fn funds(world: &World, currency: Currency) -> i64 {
    world.balance(AccountKey::user(Class::Funds, HANAKO, currency))
}

fn platform(world: &World, class: Class, currency: Currency) -> i64 {
    world.balance(AccountKey::platform(class, currency))
}

#[test]
fn a_rate_is_rounded_against_the_customer_to_four_decimals() {
    let (_, reference) = dollar_in_yen();
    assert_eq!(reference.buying().unwrap().to_string(), "113.8727");
    assert_eq!(reference.selling().unwrap().to_string(), "111.6177");
}

#[test]
fn a_hundred_dollars_cost_11388_yen_and_bring_11161() {
    let mut world = world_with(20_000);
    world.trade(JPY, usd(), dollars(10_000)).unwrap();
    assert_eq!((funds(&world, JPY), funds(&world, usd())), (20_000 - 11_388, 10_000));
    assert_eq!(
        (platform(&world, Class::FxPosition, JPY), platform(&world, Class::FxPosition, usd())),
        (11_387, -10_000)
    );
    assert_eq!(platform(&world, Class::Rounding, JPY), 1);
    world.trade(usd(), JPY, dollars(10_000)).unwrap();
    assert_eq!((funds(&world, JPY), funds(&world, usd())), (20_000 - 11_388 + 11_161, 0));
    assert_eq!((platform(&world, Class::FxPosition, JPY), platform(&world, Class::FxPosition, usd())), (225, 0));
    assert_eq!(platform(&world, Class::Rounding, JPY), 2);
    world.audit();
}

#[test]
fn either_side_may_be_named() {
    let mut world = world_with(20_000);
    let Ok(Answer::Exchanged(bought)) = world.trade(JPY, usd(), Money::yen(11_388)) else { panic!() };
    assert_eq!((bought.sell, bought.buy), (Money::yen(11_388), dollars(10_000)), "11,388 / 113.8727 = 100.0064");
    let Ok(Answer::Exchanged(sold)) = world.trade(usd(), JPY, Money::yen(1_000)) else { panic!() };
    assert_eq!((sold.sell, sold.buy), (dollars(896), Money::yen(1_000)), "1,000 / 111.6177 = 8.9592");
    world.audit();
}

#[test]
fn an_exchange_repays_first_what_is_owed_in_the_currency_that_is_got() {
    let mut world = world_with(20_000);
    world.trade(JPY, usd(), dollars(10_000)).unwrap();
    world.reverse(HANAKO, 20_000, "r1", "v1").unwrap();
    assert_eq!(world.wallet(HANAKO), (0, 11_388));
    let Ok(Answer::Exchanged(sold)) = world.trade(usd(), JPY, dollars(10_000)) else { panic!() };
    assert_eq!((sold.repaid, world.wallet(HANAKO)), (11_161, (0, 227)));
    world.audit();
}

#[test]
fn a_position_at_its_limit_takes_only_what_brings_it_back() {
    let mut world = world_with(100_000);
    offer_dollars(&mut world, 10_000);
    world.trade(JPY, usd(), dollars(10_000)).unwrap();
    assert_eq!(
        world.trade(JPY, usd(), dollars(1)).unwrap_err(),
        Refusal::PositionLimit,
        "short of dollars up to the limit"
    );
    offer_dollars(&mut world, 5_000);
    world.trade(usd(), JPY, dollars(100)).expect("a lowered limit lets the position shrink");
}

#[test]
fn a_reference_stands_for_four_days() {
    let mut world = world_with(20_000);
    world.now = NOON.plus_ms(4 * 86_400_000);
    world.trade(JPY, usd(), dollars(100)).unwrap();
    world.now = world.now.plus_ms(1);
    let late = world.trade(JPY, usd(), dollars(101));
    assert_eq!(late.unwrap_err(), Refusal::RateNotAvailable);
}

#[test]
fn a_reference_that_no_price_can_follow_from_is_not_sound() {
    let sound = |mid: &str, spread: &str| {
        let decimal = |text| Decimal::from_str_exact(text).unwrap();
        Reference { mid: decimal(mid), spread: decimal(spread), at: NOON }.is_sound()
    };
    assert!(sound("112.745181285556", "0.01") && sound("0.0002", "0") && sound("900000", "0.1"));
    for (mid, spread) in
        [("0", "0.01"), ("-1", "0.01"), ("1", "-0.01"), ("1", "0.5"), ("0.00001", "0"), ("1000000", "0.01")]
    {
        assert!(!sound(mid, spread), "{mid} {spread}");
    }
    assert!(!sound("1.1234567890123", "0.01"), "more decimals than products are exact for");
}

/// Currencies of every number of decimals: none, two, three and four.
fn currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec!["JPY", "USD", "KWD", "UYW"]).prop_map(|code| Currency::new(code).unwrap())
}

fn reference() -> impl Strategy<Value = Reference> {
    (1_i64..=999_999_000_000, 4_u32..=12, 0_i64..=100_000).prop_map(|(mid, scale, spread)| Reference {
        mid: Decimal::new(mid, scale),
        spread: Decimal::new(spread, 6),
        at: NOON,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever the rate, the currencies and the side that is named: who goes there and back has at most what they had.
    #[test]
    fn there_and_back_never_wins(
        reference in reference().prop_filter("sound", Reference::is_sound),
        base in currency(),
        quote in currency(),
        minor in 1_i64..=1_000_000_000_000,
        gets_base in any::<bool>(),
    ) {
        prop_assume!(base != quote);
        let pair = Pair { base, quote };
        let (buying, selling) = (reference.buying().unwrap(), reference.selling().unwrap());
        prop_assert!(buying >= selling);
        let rates = |sells: Currency| if sells == base { selling } else { buying };
        let sell = if gets_base { quote } else { base };
        if let Some(there) = sides(pair, sell, Money::new(minor, sell), rates(sell)) {
            prop_assert!(there.left_of_sell == 0 && (0..=1).contains(&there.left_of_buy));
            if let Some(back) = sides(pair, there.buy.currency, there.buy, rates(there.buy.currency)) {
                prop_assert!(back.buy.minor <= minor, "{minor} became {}", back.buy);
            }
        }
        // Named the other way: whoever buys exactly so much has paid at least what it would bring.
        let buy = if gets_base { base } else { quote };
        if let Some(there) = sides(pair, sell, Money::new(minor, buy), rates(sell))
            && let Some(back) = sides(pair, buy, Money::new(minor, buy), rates(buy))
        {
            prop_assert!(there.left_of_buy == 0 && (0..=1).contains(&there.left_of_sell));
            prop_assert!(back.buy.minor <= there.sell.minor);
        }
    }

    /// The amount that is worked out is the exact one, rounded by less than one minor unit against the customer.
    #[test]
    fn an_amount_is_within_one_unit_of_the_rate(units in 1_i64..=10_000_000_000, cents in 1_i64..=1_000_000_000) {
        let pair = Pair { base: usd(), quote: JPY };
        let rate = Rate::of_units(units).unwrap();
        let exact = Decimal::new(units, 4) * Decimal::new(cents, 2);
        let sold = sides(pair, usd(), dollars(cents), rate).unwrap().buy.minor;
        let cost = sides(pair, JPY, dollars(cents), rate).unwrap().sell.minor;
        prop_assert!(Decimal::from(sold) <= exact && exact < Decimal::from(sold + 1));
        prop_assert!(Decimal::from(cost) >= exact && exact > Decimal::from(cost - 1));
    }

    /// Random trades of one wallet: each currency sums to zero, rounding gains at most one unit a trade, and the customer's loss is
    /// the platform's gain.
    #[test]
    fn random_trades_keep_the_books(trades in prop::collection::vec((any::<bool>(), any::<bool>(), 1_i64..=50_000), 1..20)) {
        let mut world = world_with(1_000_000);
        let mut done = 0;
        for (sells_dollars, names_dollars, minor) in trades {
            let (sell, buy) = if sells_dollars { (usd(), JPY) } else { (JPY, usd()) };
            let amount = Money::new(minor, if names_dollars { usd() } else { JPY });
            match world.trade(sell, buy, amount) {
                Ok(_) => done += 1,
                Err(refusal) => prop_assert!(matches!(refusal, Refusal::InsufficientFunds | Refusal::AmountTooSmall)),
            }
        }
        let rounded = platform(&world, Class::Rounding, JPY) + platform(&world, Class::Rounding, usd());
        prop_assert!((0..=done).contains(&rounded));
        for (currency, brought) in [(JPY, 1_000_000), (usd(), 0)] {
            let kept = [Class::FxPosition, Class::Rounding].map(|class| platform(&world, class, currency));
            prop_assert_eq!(funds(&world, currency) + kept[0] + kept[1], brought);
        }
        world.audit();
    }
}
