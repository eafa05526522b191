//! Gifts of plugins: held to the campaign that is bound, granted once for an event, taken back with what is refunded.

use koban_domain::accounts::{AccountKey, Class, PluginKey};
use koban_domain::bonus::{Grant, Plan};
use koban_domain::gifts::{Bound, Gift, GiftKey, TakeBack};
use koban_domain::ids::{EventId, UserId};
use koban_domain::ledger::{Answer, Command, Decided, Work};
use koban_domain::money::{Currency, Money};
use koban_domain::subscriptions::Subscription;
use uuid::Uuid;

use crate::world::{HANAKO, HOUR_MS, KENJI, NOON, SPRING, TARO, World, lot, payment, plan, usd};

const PLUGIN: &str = "charge-campaign";
const BUDGET: &str = "spend_back";

pub(crate) fn key(event: u128) -> GiftKey {
    GiftKey { plugin: PluginKey::of(PLUGIN), budget: BUDGET.into(), event: EventId(Uuid::from_u128(event)) }
}

/// The campaign, bound to the plugin's budget.
pub(crate) fn bind(world: &mut World, budget: i64, per_user: Option<i64>) {
    let Command::Plan(open) = plan(budget) else { unreachable!() };
    let bound = Some(Bound { plugin: PLUGIN.into(), budget: BUDGET.into(), lasts_days: 30 });
    world.does(Command::Plan(Plan { per_user, bound, ..open })).unwrap();
}

/// A gift for the event with this number.
pub(crate) fn gift(number: u128, user: UserId, yen: i64) -> Gift {
    let grant = Grant {
        lot: lot(number),
        user,
        campaign: SPRING,
        amount: Money::yen(yen),
        usable_from: None,
        expires_at: NOON.plus_ms(10 * HOUR_MS),
        reason: "spend_back".into(),
    };
    Gift { plugin: PLUGIN.into(), key: key(number), payment: None, grant }
}

/// Taro has paid 1,500 yen and got 64 for it, and how what was refunded of it is taken back.
pub(crate) fn given() -> (World, TakeBack) {
    let mut world = World::new();
    world.charge(TARO, 2_000, "r1").unwrap();
    bind(&mut world, 1_000, None);
    world.pay(TARO, 1_500, 1).unwrap();
    world.does(Command::Gift(Gift { payment: Some(payment(1)), ..gift(1, TARO, 64) })).unwrap();
    let of = world.of_lot(1);
    (world, TakeBack { key: key(1), of, payment: payment(1) })
}

fn give(world: &mut World, gift: Gift) -> Answer {
    world.does(Command::Gift(gift)).expect("a gift is never refused")
}

fn left_out(world: &mut World, gift: Gift) -> String {
    match give(world, gift) {
        Answer::LeftOut(refusal) => refusal,
        other => panic!("not left out: {other:?}"),
    }
}

fn bonus(world: &World, user: UserId) -> i64 {
    world.balance(AccountKey::user(Class::Bonus, user, Currency::JPY))
}

#[test]
fn a_plugin_gets_one_gift_out_of_a_budget_for_an_event() {
    let mut world = World::new();
    bind(&mut world, 1_000, None);
    assert!(matches!(give(&mut world, gift(1, TARO, 64)), Answer::Granted(_)));
    assert_eq!(give(&mut world, gift(1, TARO, 64)), Answer::Noted);
    assert_eq!(give(&mut world, Gift { grant: gift(2, TARO, 99).grant, ..gift(1, TARO, 64) }), Answer::Noted);
    assert_eq!(bonus(&world, TARO), 64);
    assert!(matches!(give(&mut world, gift(2, TARO, 36)), Answer::Granted(_)));
    assert_eq!(bonus(&world, TARO), 100);
}

#[test]
fn what_the_budget_or_the_users_share_does_not_hold_is_left_out_to_the_yen() {
    let mut world = World::new();
    bind(&mut world, 100, Some(60));
    assert!(matches!(give(&mut world, gift(1, TARO, 60)), Answer::Granted(_)));
    assert_eq!(left_out(&mut world, gift(2, TARO, 1)), "campaign_share_exhausted");
    assert_eq!(left_out(&mut world, gift(3, HANAKO, 41)), "campaign_budget_exhausted");
    assert!(matches!(give(&mut world, gift(4, HANAKO, 40)), Answer::Granted(_)));
    assert_eq!(left_out(&mut world, gift(5, KENJI, 1)), "campaign_budget_exhausted");
    assert_eq!((bonus(&world, TARO), bonus(&world, HANAKO), bonus(&world, KENJI)), (60, 40, 0));
    // What was left out may come with a later event, once there is room; the share counts what was spent, too.
    world.pay(TARO, 60, 1).unwrap();
    bind(&mut world, 200, Some(61));
    assert_eq!(left_out(&mut world, gift(6, TARO, 2)), "campaign_share_exhausted");
    assert!(matches!(give(&mut world, gift(7, TARO, 1)), Answer::Granted(_)));
}

#[test]
fn a_campaign_that_is_not_bound_to_the_budget_grants_nothing() {
    let mut world = World::new();
    world.does(plan(1_000)).unwrap();
    assert_eq!(left_out(&mut world, gift(1, TARO, 1)), "campaign_not_found");
    bind(&mut world, 1_000, None);
    let other = GiftKey { budget: "first_charge".into(), ..key(1) };
    assert_eq!(left_out(&mut world, Gift { key: other, ..gift(1, TARO, 1) }), "campaign_not_found");
    assert_eq!(left_out(&mut world, Gift { plugin: "another".into(), ..gift(1, TARO, 1) }), "campaign_not_found");
    let dollars = Grant { amount: Money::new(1, usd()), ..gift(1, TARO, 1).grant };
    assert_eq!(left_out(&mut world, Gift { grant: dollars, ..gift(1, TARO, 1) }), "currency_not_accepted");
    assert_eq!(world.shelf.entries.len(), 0);
}

#[test]
fn refunds_take_back_in_proportion_together_rounded_down() {
    let (mut world, back) = given();
    let taken = |world: &mut World| match world.does(Command::TakeBack(back.clone())).unwrap() {
        Answer::Ended(ended) => ended.taken,
        Answer::Noted => 0,
        other => panic!("{other:?}"),
    };
    assert_eq!(taken(&mut world), 0, "nothing was refunded");
    world.refund(TARO, 100, 1).unwrap();
    assert_eq!(taken(&mut world), 4, "64 x 100 / 1,500 is 4.27");
    assert_eq!(taken(&mut world), 0, "once is enough");
    world.refund(TARO, 400, 1).unwrap();
    assert_eq!(taken(&mut world), 17, "64 x 500 / 1,500 is 21.33, and 4 of it were taken");
    world.refund(TARO, 1_000, 1).unwrap();
    assert_eq!(taken(&mut world), 43);
    assert_eq!(bonus(&world, TARO), 0);
}

#[test]
fn what_was_spent_of_a_gift_stays_spent() {
    let (mut world, back) = given();
    world.pay(TARO, 50, 2).unwrap();
    world.refund(TARO, 1_500, 1).unwrap();
    let Answer::Ended(ended) = world.does(Command::TakeBack(back.clone())).unwrap() else { panic!("not taken") };
    assert_eq!((ended.taken, bonus(&world, TARO)), (14, 0));
    // What the other payment brings back to the lot later stays: it was counted as taken.
    world.refund(TARO, 50, 2).unwrap();
    assert_eq!(world.does(Command::TakeBack(back)).unwrap(), Answer::Noted);
}

#[test]
fn an_event_is_taken_only_as_the_subscription_stands() {
    let mut world = World::new();
    bind(&mut world, 1_000, None);
    let subscription = Subscription::begin(PLUGIN, 0, world.now, world.now);
    world.shelf.books.subscriptions.load(PluginKey::of(PLUGIN), subscription.version);
    let heard = subscription.took(Some((1, 0)), (&[], &[]), world.now).unwrap();
    let work = |world: &mut World| Work {
        commands: vec![Command::Gift(gift(1, TARO, 64))],
        heard: Some(Box::new(heard.clone())),
        ..world.work()
    };
    let first = work(&mut world);
    let (decided, commit) = world.commit(first);
    assert!(matches!(decided, Decided::Done(_)));
    let [taken] = &commit.heard[..] else { panic!("{:?}", commit.heard) };
    assert_eq!((taken.expected, &taken.subscription.place), (heard.expected, &heard.subscription.place));
    assert_ne!(taken.subscription.version, heard.expected, "nothing else that was made for it is taken");
    let again = work(&mut world);
    let (decided, commit) = world.commit(again);
    assert_eq!((decided, commit.is_empty()), (Decided::FlowMoved, true));
    assert_eq!(bonus(&world, TARO), 64);
}

#[test]
fn what_was_made_in_advance_is_not_taken_when_something_else_came_between() {
    let mut world = World::new();
    bind(&mut world, 1_000, None);
    let begun = Subscription::begin(PLUGIN, 0, world.now, world.now);
    world.shelf.books.subscriptions.load(PluginKey::of(PLUGIN), begun.version);
    let heard = |stands: &Subscription, place: i64| stands.took(Some((0, place)), (&[], &[]), NOON).unwrap();
    // Two events in advance, the second on what the first will leave.
    let first = Work { heard: Some(Box::new(heard(&begun, 1))), ..world.work() };
    let after_first = Subscription { version: first.id, ..first.heard.as_ref().unwrap().subscription.clone() };
    let second = Work {
        commands: vec![Command::Gift(gift(2, TARO, 64))],
        heard: Some(Box::new(heard(&after_first, 2))),
        ..world.work()
    };
    // An operator is faster. As many commits as were expected, but another one.
    let operators = Work { heard: Some(Box::new(begun.dismissed(EventId::default(), NOON))), ..world.work() };
    let (decided, commit) = world.shelf.commit(&[operators, first.clone(), second.clone()], world.now);
    assert!(matches!(decided[0], Decided::Done(_)));
    assert_eq!(decided[1..], [Decided::FlowMoved, Decided::FlowMoved]);
    assert_eq!((commit.heard.len(), bonus(&world, TARO)), (1, 0));
    // Undisturbed, both are taken.
    world.shelf.books.subscriptions.load(PluginKey::of(PLUGIN), begun.version);
    let (decided, commit) = world.shelf.commit(&[first, second], world.now);
    assert!(decided.iter().all(|decided| matches!(decided, Decided::Done(_))), "{decided:?}");
    assert_eq!((commit.heard.len(), bonus(&world, TARO)), (2, 64));
}
