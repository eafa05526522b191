//! Events: each type arises where the catalogue says, says what its page says, and fits into one message.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::shops::TODAY;
use crate::world::{DAY_MS, HANAKO, HOUR_MS, NOON, OPERATOR, SHOP, TARO, World, grant, offer_dollars, usd};
use expect_test::expect_file;
use koban_domain::bonus::{Grant, Revoke};
use koban_domain::disputes::Outcome;
use koban_domain::events::{self, Audience, BODY_BYTES_MAX, CATALOGUE};
use koban_domain::guest::Side;
use koban_domain::ids::{EventId, TransferId};
use koban_domain::ledger::{Command, News};
use koban_domain::money::{Currency, Money};
use koban_domain::payments::Terms;
use koban_domain::reviews::{Conclude, Reviewed, Ruling};
use koban_domain::transfers::Send;
use serde_json::Value;
use uuid::Uuid;

/// One event of every type, as a day of a wallet brings them.
fn a_day() -> Vec<News> {
    let mut world = World::new();
    world.charge(TARO, 10_000, "ATM1/42").unwrap();
    world.charge(HANAKO, 5_000, "ATM1/43").unwrap();
    world.pay(TARO, 1_280, 1).unwrap();
    world.refund(TARO, 280, 1).unwrap();
    world.authorise(TARO, 900, 2).unwrap();
    world.increase(2, 100).unwrap();
    world.capture(2, Some(400), false).unwrap();
    world.void(2).unwrap();
    world.authorise(TARO, 500, 3).unwrap();
    world.pay_in_review(TARO, 600, 4, Terms::AtOnce).unwrap();
    world.conclude(4, Ruling::Declined(OPERATOR)).unwrap();
    world.now = world.now.plus_ms(HOUR_MS);
    world.expire(3).unwrap();
    world.verify(TARO).unwrap();
    world.send(TARO, HANAKO, 2_000).unwrap();
    for (number, ruling) in [(1, Ruling::Declined(OPERATOR)), (2, Ruling::Expired)] {
        let transfer = TransferId(Uuid::from_u128(number));
        let (sender, receiver, amount) = (TARO, HANAKO, Money::yen(100));
        let send = Send { transfer, sender, receiver, amount, message: None, decision: None, review: true };
        world.does(Command::Transfer(send)).unwrap();
        if ruling == Ruling::Expired {
            world.now = world.now.plus_ms(DAY_MS);
        }
        let of = Reviewed::Transfer { transfer, sender, receiver, currency: amount.currency };
        world.does(Command::Conclude(Conclude { of, ruling })).unwrap();
    }
    world.grant(HANAKO, 300, 1, 1).unwrap();
    world.grant(HANAKO, 200, 2, 1).unwrap();
    let Command::Grant(later) = grant(HANAKO, 100, 3, world.now.plus_ms(2 * HOUR_MS)) else { unreachable!() };
    let usable_from = Some(world.now.plus_ms(HOUR_MS));
    world.does(Command::Grant(Grant { usable_from, ..later })).unwrap();
    world.does(Command::Release(world.of_lot(3))).unwrap();
    world.does(Command::Revoke(Revoke { of: world.of_lot(2), reason: "a mistake".into() })).unwrap();
    world.now = world.now.plus_ms(HOUR_MS);
    world.does(Command::Lapse(world.of_lot(1))).unwrap();
    offer_dollars(&mut world, 1_000);
    world.trade(Currency::JPY, usd(), Money::new(1_000, usd())).unwrap();
    world.arrange(0, "0.0324");
    for (number, outcome) in [(1, Outcome::Won(OPERATOR)), (2, Outcome::Lost(OPERATOR))] {
        world.contest_as(number, 1, 500).unwrap();
        world.end_dispute(number, outcome).unwrap();
    }
    world.close(TODAY).unwrap().unwrap();
    world.pay_out(TODAY, "20181005-0042").unwrap();
    world.reverse(HANAKO, 5_000, "ATM1/43", "ATM1/44").unwrap();
    world.settle(&[(Side::Credit, "ATM1/42", 9_000)]).unwrap();
    world.write_off(Side::Credit, "ATM1/42").unwrap();
    let mut news = world.shelf.news;
    news.push(events::test(EventId(Uuid::from_u128(0xe)), NOON));
    news
}

#[test]
fn every_type_of_the_catalogue_arises_and_nothing_else() {
    let day = a_day();
    let mut arisen: Vec<&str> = day.iter().map(|news| news.kind.as_str()).collect();
    arisen.sort_unstable();
    arisen.dedup();
    let mut known: Vec<&str> = CATALOGUE.iter().map(|kind| kind.name).collect();
    known.sort_unstable();
    assert_eq!(arisen, known, "give the new type a row in events::CATALOGUE and a moment in this day");
}

#[test]
fn a_merchant_is_named_exactly_where_its_audience_is_a_merchant() {
    for news in a_day() {
        let kind = events::find(&news.kind).unwrap();
        let expected = (kind.audience == Audience::Merchant).then_some(SHOP);
        assert_eq!(news.merchant, expected, "{}", news.kind);
        assert!(serde_json::from_str::<Value>(&news.body).unwrap().is_object(), "{}", news.body);
    }
}

#[test]
fn a_message_too_large_to_send_names_what_it_is_about_and_says_so() {
    let news = |length: usize| News {
        id: EventId(Uuid::from_u128(1)),
        kind: "payment.captured".into(),
        merchant: Some(SHOP),
        body: format!(r#"{{"id":"pay_1","reference":"{}"}}"#, "x".repeat(length)),
        at: NOON,
    };
    let room = BODY_BYTES_MAX - events::message(&news(0), 7).len();
    let fits = events::message(&news(room), 7);
    assert_eq!(fits.len(), BODY_BYTES_MAX);
    assert!(!fits.contains("truncated"));
    let cut: Value = serde_json::from_str(&events::message(&news(room + 1), 7)).unwrap();
    assert_eq!((&cut["truncated"], &cut["data"]), (&true.into(), &serde_json::json!({ "id": "pay_1" })));
}

/// Everything before the first type is written by hand, here; the rest follows from the catalogue and the day above.
const HEAD: &str = "# Events

What a merchant's or the platform's webhook endpoint is told, and when. How to receive, check and repeat it: [webhooks](webhooks.md). This page is made from the code by a test;
`UPDATE_EXPECT=1 cargo test -p koban-domain --test rules events` renews it.

Each delivery is a `POST` with this body, at most 20,000 bytes of JSON:

| field | |
|---|---|
| `id` | the event's id, `evt_…`, the same as the header `webhook-id` and the same for every attempt and replay: take each id once |
| `type` | one of the types below |
| `version` | 1. Fields may be added under the same version; nothing is taken away or given another meaning |
| `sequence` | counts from 1 what *this endpoint* was given, without holes. Order is not promised; whoever needs it sorts by this |
| `timestamp` | when it was committed |
| `truncated` | only there, and `true`, if the whole body would be too large: `data` then holds nothing but the `id` to ask the API for |
| `data` | what it is about, in the form in which the API gives it. Amounts are whole minor units |

A merchant's endpoint is told of that merchant's own dealings and nothing else. An endpoint of the platform, made by an operator, is told everything.
";

#[test]
fn the_page_of_events_shows_every_type_as_it_is_sent() {
    let day = a_day();
    let mut first: BTreeMap<&str, &News> = BTreeMap::new();
    for news in &day {
        first.entry(&news.kind).or_insert(news);
    }
    let mut page = HEAD.to_owned();
    page.push_str("\n| type | told | when |\n|---|---|---|\n");
    for kind in CATALOGUE {
        let told = match kind.audience {
            Audience::Merchant => "the merchant, the platform",
            Audience::Platform => "the platform",
            Audience::Asker => "the endpoint that asked",
        };
        let _ = writeln!(page, "| [`{0}`](#{1}) | {told} | {2} |", kind.name, kind.name.replace('.', ""), kind.when);
    }
    for (place, kind) in CATALOGUE.iter().enumerate() {
        let sent = events::message(first[kind.name], i64::try_from(place).unwrap() + 1);
        let shown = sent.replacen(",\"data\":", ",\n \"data\":", 1);
        let _ =
            write!(page, "\n## `{}`\n\n{} `data` is {}.\n\n```json\n{shown}\n```\n", kind.name, kind.when, kind.data);
    }
    expect_file!["../../../../../docs/reference/events.md"].assert_eq(&page);
}
