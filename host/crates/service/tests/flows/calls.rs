//! Charges at the ATM, told by the partner's calls: each is decided once, and answered alike however often it comes.

use std::collections::BTreeSet;
use std::sync::Arc;

use koban_domain::guest::Standing;
use koban_domain::money::Money;
use koban_service::charges::{self, ChargeInput};
use koban_service::{Error, plugins};
use tokio::task::JoinSet;

use crate::house::{House, cash, said};

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_credited_once_however_often_the_network_sends_it() {
    let house = House::with_atm().await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    let shown = house.charge(charge).await;
    assert!(shown.shows.iter().any(|shown| format!("{:?}", shown.show).contains("4321")), "{shown:?}");
    assert!(shown.shows.iter().any(|shown| shown.text.as_deref().is_some_and(|text| text.starts_with("Type this"))));

    let deposit = cash("s-1", 1, 10_000);
    let first = house.calls("deposit", &deposit).await.unwrap();
    assert_eq!(said(&house, &first), r#"200 {"result":"ok"}"#);
    let bytes = deposit.to_string().into_bytes();
    let (again, other_id) =
        tokio::join!(house.calls("deposit", &deposit), house.calls_with("deposit", &bytes, "msg_2"));
    assert_eq!(again.unwrap(), first);
    assert_eq!(other_id.unwrap().body, first.body);
    assert_eq!((house.balance().await, house.exposure().await), (10_000, 10_000));
    let charge = house.charge(charge).await;
    assert_eq!((charge.standing, charge.credited), (Standing::Done, Money::yen(10_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_equal_calls_at_once_have_one_effect_and_one_answer() {
    let house = Arc::new(House::with_atm().await);
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    let deposit = cash("s-1", 1, 10_000);
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let (house, deposit) = (Arc::clone(&house), deposit.clone());
        calls.spawn(async move { said(&house, &house.calls("deposit", &deposit).await.unwrap()) });
    }
    let heard: BTreeSet<String> = calls.join_all().await.into_iter().collect();
    assert_eq!(heard.into_iter().collect::<Vec<_>>(), [r#"200 {"result":"ok"}"#]);
    assert_eq!(house.balance().await, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_takes_the_deposit_back_also_after_the_end_and_before_it_comes() {
    let house = House::with_atm().await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    house.calls("deposit", &cash("s-1", 1, 10_000)).await.unwrap();
    let reversed = house.calls("reversal", &cash("s-1", 1, 10_000)).await.unwrap();
    assert_eq!(said(&house, &reversed), r#"200 {"result":"ok"}"#);
    assert_eq!(house.balance().await, 0);
    assert_eq!(house.charge(charge).await.reversed, Money::yen(10_000));

    // A session that no charge ever expected: the deposit is dead, also for the charge that would expect it later.
    let early = house.calls("reversal", &cash("s-2", 2, 5_000)).await.unwrap();
    assert_eq!(said(&house, &early), r#"200 {"result":"ok"}"#);
    let late = house.calls("deposit", &cash("s-2", 2, 5_000)).await.unwrap();
    assert_eq!(said(&house, &late), r#"200 {"reason":"unknown_session","result":"refused"}"#);
    let second = house.begun(30_000, "s-2").await;
    house.until(second, Standing::Failed).await;
    assert_eq!(house.charge(second).await.note.unwrap().code, "session_used");
    assert_eq!(house.balance().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_under_another_session_still_finds_the_charge_that_was_credited() {
    let house = House::with_atm().await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    house.calls("deposit", &cash("s-1", 1, 10_000)).await.unwrap();
    let reversed = house.calls("reversal", &cash("s-other", 1, 10_000)).await.unwrap();
    assert_eq!(said(&house, &reversed), r#"200 {"result":"ok"}"#);
    assert_eq!(house.balance().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_books_refuse_is_told_to_the_partner_in_the_plugins_words() {
    let house = House::with_atm().await;
    plugins::set_caps(&house.app, &koban_service::operators::command_line("c"), "charge-atm", 20_000, 0).await.unwrap();
    let (first, second) = (house.begun(20_000, "s-1").await, house.begun(20_000, "s-2").await);
    house.until(first, Standing::WaitingForUser).await;
    house.until(second, Standing::WaitingForUser).await;
    house.calls("deposit", &cash("s-1", 1, 15_000)).await.unwrap();
    let refused = house.calls("deposit", &cash("s-2", 2, 15_000)).await.unwrap();
    assert_eq!(said(&house, &refused), r#"200 {"reason":"exposure_cap_reached","result":"refused"}"#);
    assert_eq!(house.charge(second).await.standing, Standing::Failed);
    assert_eq!(house.balance().await, 15_000);
    // The refused deposit is dead for ever.
    let again = house.calls("deposit", &cash("s-2", 2, 5_000)).await.unwrap();
    assert!(said(&house, &again).contains("refused"));

    // What the cap leaves is the most that a new charge is authorised for; without room there is no charge.
    assert_eq!(house.begin(20_000).await.at_most, Money::yen(5_000));
    let input = ChargeInput { channel: "charge-atm".into(), amount: Some(Money::yen(6_000)), at_most: None };
    let refused = charges::begin(&house.app, &house.ctx("k"), input.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { replayed: false, .. }), "{refused}");
    let again = charges::begin(&house.app, &house.ctx("k"), input).await.unwrap_err();
    assert!(matches!(again, Error::Refused { replayed: true, .. }), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_begins_one_charge() {
    let house = House::with_atm().await;
    let first = charges::begin(&house.app, &house.ctx("k1"), house.input(10_000)).await.unwrap();
    let again = charges::begin(&house.app, &house.ctx("k1"), house.input(10_000)).await.unwrap();
    assert_eq!((first.value.id, first.replayed), (again.value.id, false));
    assert!(again.replayed);
    let other = charges::begin(&house.app, &house.ctx("k1"), house.input(10_001)).await.unwrap_err();
    assert!(matches!(other, Error::KeyReused));
    // What the plugin itself refuses decides nothing: less than a note.
    let small = charges::begin(&house.app, &house.ctx("k2"), house.input(999)).await.unwrap_err();
    assert!(matches!(small, Error::PluginRefused { ref code, .. } if code == "amount_too_small"), "{small}");
    let page = koban_service::page::Page::default();
    assert_eq!(charges::list(&house.app, &house.ctx(""), &page).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_and_foreign_calls_have_no_effect() {
    let house = House::with_atm().await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    let body = cash("s-1", 1, 10_000).to_string();
    let unsigned = house.request("deposit", Vec::new(), body.as_bytes());
    let refused = koban_service::flows::receive(&house.app, unsigned).await.unwrap_err();
    assert!(matches!(refused, Error::BadSignature(_)), "{refused}");
    let missing = house.calls("no-such", &cash("s-1", 1, 10_000)).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound("inbound operation")), "{missing}");
    house.clock.advance_ms(301_000);
    let headers = koban_outside::sign_answer("m", body.as_bytes(), &crate::partner::keys(), crate::house::NOON);
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let old = koban_service::flows::receive(&house.app, house.request("deposit", headers, body.as_bytes())).await;
    assert!(matches!(old, Err(Error::BadSignature(_))), "{old:?}");
    let long = vec![b'x'; koban_service::flows::inbound::MESSAGE_BYTES_MAX + 1];
    assert!(matches!(house.calls_with("deposit", &long, "m").await, Err(Error::Invalid { .. })));
    assert_eq!(house.balance().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_cancels_and_a_user_who_has_left_is_cancelled() {
    let house = House::with_atm().await;
    let charge = house.begin(10_000).await;
    let cancelled = charges::cancel(&house.app, &house.ctx(""), charge.id).await.unwrap();
    assert_eq!(cancelled.standing, Standing::Cancelled);
    assert_eq!(charges::cancel(&house.app, &house.ctx(""), charge.id).await.unwrap().standing, Standing::Cancelled);
    let scan = house.fill_in(charge.id, "scan", "session", "s-1").await;
    assert!(matches!(scan, Err(Error::Conflict(_))));

    let mut house = house;
    let left = house.begin(10_000).await;
    house.clock.advance_ms(31 * 60_000);
    // A start sweeps.
    house.restart().await;
    house.until(left.id, Standing::Cancelled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_checked_before_the_plugin_sees_it_and_answered_once() {
    let house = House::with_atm().await;
    let charge = house.begin(10_000).await;
    assert_eq!(charge.shows[0].labels, ["Scan the code on the ATM's screen"]);
    for (field, text) in [("other", "x"), ("session", ""), ("session", "a\nb"), ("session", &"x".repeat(81))] {
        let refused = house.fill_in(charge.id, "scan", field, text).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{field} {text:?}: {refused:?}");
    }
    assert!(matches!(house.fill_in(charge.id, "no-form", "session", "s-1").await, Err(Error::Conflict(_))));
    let (one, two) = tokio::join!(
        house.fill_in(charge.id, "scan", "session", "s-1"),
        house.fill_in(charge.id, "scan", "session", "s-2")
    );
    assert!(one.is_ok() || two.is_ok());
    house.until(charge.id, Standing::WaitingForUser).await;
    assert_eq!(house.partner.heard().len(), 1, "one session was approved, not two");
    let stranger = koban_service::Ctx::new(koban_service::Actor::User(koban_domain::ids::UserId::default()), "");
    assert!(matches!(charges::get(&house.app, &stranger, charge.id).await, Err(Error::NotFound("charge"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_over_the_same_rows_take_every_step_once() {
    let house = House::with_atm().await;
    let other = house.another_host().await;
    let jobs = koban_service::jobs::start(&other);
    let mut charges = Vec::new();
    for number in 0..6 {
        charges.push(house.begun(30_000, &format!("s-{number}")).await);
    }
    for charge in &charges {
        house
            .until_true("it was approved".to_owned(), async || {
                house.charge(*charge).await.shows.iter().any(|shown| shown.key == "company-number")
            })
            .await;
    }
    assert_eq!(house.partner.heard().len(), 6, "every approval was asked for once");
    for number in 0..6 {
        let deposit = cash(&format!("s-{number}"), number, 1_000);
        let (here, there) = tokio::join!(house.calls("deposit", &deposit), house.calls_at(&other, "deposit", &deposit));
        let (here, there) = (here.unwrap(), there.unwrap());
        assert_eq!(said(&house, &here), r#"200 {"result":"ok"}"#);
        assert_eq!(here.body, there.body);
    }
    assert_eq!((house.balance().await, house.exposure().await), (6_000, 6_000));
    jobs.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_differ_in_path_or_query_are_different_calls() {
    let house = House::with_attacker("none").await;
    let charge = house.begun(10_000, "c-1").await;
    let body = serde_json::json!({ "correlation": "c-1", "amount": 1_000, "reference": "r-1" }).to_string();
    let call = async |path: &str, query: &[(&str, &str)]| {
        let signature = koban_outside::sign_answer("m", body.as_bytes(), &crate::partner::keys(), house.clock.now());
        let headers = signature.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut request = house.request("pay", headers, body.as_bytes());
        request.path = path.to_owned();
        request.query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        koban_service::flows::receive(&house.app, request).await.unwrap().status
    };
    for _ in 0..2 {
        call("", &[]).await;
        call("/other", &[]).await;
        call("", &[("a", "1"), ("b", "2")]).await;
        call("", &[("b", "2"), ("a", "1")]).await;
    }
    let events = koban_store::flows::events(&house.app.store, charge, 0, 100).await.unwrap();
    let calls = events.iter().filter(|event| event.call.is_some()).count();
    assert_eq!(calls, 4, "each was given to the flow once: {events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_comes_to_every_old_flow_however_many_newer_ones_there_are() {
    const DAY_MS: i64 = 86_400_000;
    let house = House::with_attacker("none").await;
    let mut charges = Vec::new();
    for number in 0..7 {
        charges.push(house.begun(1_000, &format!("c-{number}")).await);
        house.clock.advance_ms(1_000);
    }
    house.clock.advance_ms(15 * DAY_MS);
    // Parts of two flows: the oldest one has its turn in the fourth.
    let mut round = koban_service::jobs::Round::new(1, 2);
    for _ in 0..4 {
        round.sweep(&house.app, house.clock.now()).await.unwrap();
    }
    for charge in charges {
        let stuck = koban_service::flows::get(&house.app, charge).await.unwrap().summary.stuck;
        assert!(stuck.is_some_and(|why| why.contains("14 days")), "{charge}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_signed_for_another_operation_is_nobodys() {
    let house = House::with_atm().await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    house.calls("deposit", &cash("s-1", 1, 10_000)).await.unwrap();
    // Somebody between the network and us posts the signed deposit as a reversal.
    let body = crate::house::meant("deposit", cash("s-1", 1, 10_000).to_string().as_bytes());
    let signed = || {
        let headers = koban_outside::sign_answer("msg_1", &body, &crate::partner::keys(), house.clock.now());
        headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    let moved =
        koban_service::flows::receive(&house.app, house.request("reversal", signed(), &body)).await.unwrap_err();
    assert!(matches!(&moved, Error::BadSignature(why) if why.contains("another operation")), "{moved}");
    let mut longer = house.request("deposit", signed(), &body);
    longer.path = "/x".to_owned();
    let longer = koban_service::flows::receive(&house.app, longer).await.unwrap_err();
    assert!(matches!(&longer, Error::BadSignature(why) if why.contains("not signed")), "{longer}");
    assert_eq!(house.balance().await, 10_000);
}
