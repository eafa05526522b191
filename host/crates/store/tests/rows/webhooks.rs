//! Webhooks: every page handed out once and in order, every delivery in one hand, and what is replayed, swept and switched off.

use std::collections::HashMap;

use koban_domain::events;
use koban_domain::ids::{EventId, MerchantId, WebhookId};
use koban_domain::time::Timestamp;
use koban_domain::webhooks::Health;
use koban_store::webhooks::deliveries::{self, DeliveryRow, Ended, LeasedDelivery, State, Try};
use koban_store::webhooks::fan_out::{self, HandedOut};
use koban_store::webhooks::{self, Change, Sealed, WebhookRow};
use koban_store::{Store, outbox};

use crate::harness::*;

const LEASE_MS: i64 = 30 * SECOND;
const GIVE_UP: Timestamp = NOON.plus_ms(1_000 * SECOND);
const NOBODY_BUSY: (u16, u16) = (4, 64);

fn row(number: u128, merchant: Option<MerchantId>, types: &[&str]) -> WebhookRow {
    WebhookRow {
        id: WebhookId(uuid(number)),
        merchant,
        url: "https://shop.example/hooks".into(),
        types: types.iter().map(|one| (*one).to_owned()).collect(),
        description: "till".into(),
        keys: Sealed { bytes: vec![1; 64], key_id: String::new() },
        old_keys: None,
        public_key: [2; 32],
        allow_private: false,
        enabled: true,
        disabled_reason: None,
        health: Health::default(),
        since_sequence: 0,
        next_sequence: 1,
        replay: None,
        created_at: NOON,
        changed_at: NOON,
    }
}

async fn endpoint(store: &Store, number: u128, merchant: Option<MerchantId>, types: &[&str]) -> WebhookId {
    let row = row(number, merchant, types);
    assert!(webhooks::create(store, &row, 16, &audit(number, "webhook.create")).await.unwrap());
    row.id
}

async fn hand_out(store: &Store) -> HandedOut {
    fan_out::hand_out(store, 64, NOON, GIVE_UP).await.unwrap()
}

/// `number type` of what an endpoint was given, oldest first.
async fn given(store: &Store, endpoint: WebhookId) -> Vec<String> {
    let mut rows = deliveries::list(store, endpoint, None, 100).await.unwrap();
    rows.reverse();
    rows.iter().map(|row| format!("{} {}", row.sequence, row.kind)).collect()
}

async fn lease(store: &Store, owner: &str, now: Timestamp) -> Vec<LeasedDelivery> {
    deliveries::lease_due(store, (owner, now, LEASE_MS), NOBODY_BUSY, &HashMap::new()).await.unwrap()
}

fn ended(state: State, health: Health) -> Ended {
    let tried = Try { at: NOON, status: Some(200), problem: None };
    Ended { state, due_at: NOON.plus_ms(10 * SECOND), tried, health, disabled: None }
}

async fn end(store: &Store, delivery: &DeliveryRow, ended: Ended) -> bool {
    deliveries::end(store, &[(delivery.clone(), ended)], NOON).await.unwrap()[0]
}

#[tokio::test]
async fn each_endpoint_is_told_what_is_its_own_from_when_it_was_made_numbered_without_holes() {
    on_each(async |store| {
        plugin(store).await;
        let (payer, shop, other) = (user(store, 1).await, merchant(store, 2).await, merchant(store, 3).await);
        commit(store, &[credit(10, payer, 5_000)], NOON).await;
        let (mine, theirs) = (endpoint(store, 20, Some(shop), &[]).await, endpoint(store, 21, Some(other), &[]).await);
        let everything = endpoint(store, 22, None, &[]).await;
        let refunds = endpoint(store, 23, Some(shop), &["refund.posted"]).await;
        commit(store, &[pay(100, payer, shop, 100), pay(101, payer, other, 200)], NOON).await;
        commit(store, &[pay(102, payer, shop, 300), credit(11, payer, 10)], NOON).await;
        assert_eq!(hand_out(store).await, HandedOut { pages: 3, deliveries: 7 });
        assert_eq!(given(store, mine).await, ["1 payment.captured", "2 payment.captured"]);
        assert_eq!(given(store, theirs).await, ["1 payment.captured"]);
        let all = ["1 payment.captured", "2 payment.captured", "3 payment.captured", "4 charge.credited"];
        assert_eq!(given(store, everything).await, all);
        assert!(given(store, refunds).await.is_empty());
        assert_eq!(hand_out(store).await, HandedOut::default(), "each page once");
        let body = &deliveries::list(store, theirs, None, 1).await.unwrap()[0].body;
        assert!(body.contains(r#""sequence":1,"#) && body.contains(r#""amount":200,"#), "{body}");
    })
    .await;
}

#[tokio::test]
async fn no_page_is_passed_over() {
    on_each(async |store| {
        plugin(store).await;
        let payer = user(store, 1).await;
        let all = endpoint(store, 20, None, &[]).await;
        for number in 0..3 {
            commit(store, &[credit(10 + number, payer, 100)], NOON).await;
        }
        outbox::trim(store, 1, NOON.plus_ms(1), 1).await.unwrap();
        let missing = fan_out::hand_out(store, 64, NOON, GIVE_UP).await.unwrap_err();
        assert!(missing.to_string().contains("no page 1"), "{missing}");
        assert!(given(store, all).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_cursor_follows_at_once_only_while_nobody_is_there() {
    on_each(async |store| {
        plugin(store).await;
        let payer = user(store, 1).await;
        commit(store, &[credit(10, payer, 100)], NOON).await;
        fan_out::skip(store).await.unwrap();
        assert_eq!(fan_out::lag(store).await.unwrap().handed_out, 1);
        let all = endpoint(store, 20, None, &[]).await;
        commit(store, &[credit(11, payer, 100)], NOON).await;
        fan_out::skip(store).await.unwrap();
        let lag = fan_out::lag(store).await.unwrap();
        assert_eq!((lag.handed_out, lag.written, lag.anybody), (1, 2, true));
        hand_out(store).await;
        assert_eq!(given(store, all).await, ["1 charge.credited"]);
    })
    .await;
}

#[tokio::test]
async fn a_delivery_is_in_one_hand_and_an_old_lease_says_nothing_any_more() {
    on_each(async |store| {
        plugin(store).await;
        let payer = user(store, 1).await;
        let all = endpoint(store, 20, None, &[]).await;
        commit(store, &[credit(10, payer, 100), credit(11, payer, 100)], NOON).await;
        hand_out(store).await;
        let old = lease(store, "a", NOON).await;
        assert_eq!(old.len(), 2);
        assert!(lease(store, "b", NOON.plus_ms(LEASE_MS - 1)).await.is_empty());
        let new = lease(store, "b", NOON.plus_ms(LEASE_MS)).await;
        assert_eq!(new.len(), 2);
        let (lost, held) = (&old[0].delivery, &new[0].delivery);
        assert_eq!((lost.event, lost.fence + 1), (held.event, held.fence));
        assert!(!end(store, lost, ended(State::Failed, Health::default())).await);
        assert!(end(store, held, ended(State::Delivered, Health::default())).await);
        assert!(!end(store, held, ended(State::Failed, Health::default())).await, "ended once");
        let row = deliveries::by_event(store, all, held.event).await.unwrap().unwrap();
        assert_eq!((row.state, row.attempts, row.tries.len()), (State::Delivered, 1, 1));
    })
    .await;
}

#[tokio::test]
async fn two_hosts_that_look_at_once_share_what_is_due() {
    on_each(async |store| {
        plugin(store).await;
        let payer = user(store, 1).await;
        for number in 0..8 {
            endpoint(store, 20 + number, None, &[]).await;
        }
        let credits: Vec<_> = (0..4).map(|number| credit(10 + number, payer, 100)).collect();
        commit(store, &credits, NOON).await;
        hand_out(store).await;
        let (a, b) = tokio::join!(lease(store, "a", NOON), lease(store, "b", NOON));
        let key = |one: &LeasedDelivery| (one.delivery.endpoint, one.delivery.event);
        let mut keys: Vec<_> = a.iter().chain(&b).map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((keys.len(), a.len() + b.len()), (32, 32));
    })
    .await;
}

#[tokio::test]
async fn no_endpoint_has_more_places_than_its_own_and_one_that_fails_has_one() {
    on_each(async |store| {
        plugin(store).await;
        let payer = user(store, 1).await;
        let (well, failing) = (endpoint(store, 20, None, &[]).await, endpoint(store, 21, None, &[]).await);
        let resting = endpoint(store, 22, None, &[]).await;
        let credits: Vec<_> = (0..9).map(|number| credit(10 + number, payer, 100)).collect();
        commit(store, &credits, NOON).await;
        hand_out(store).await;
        let first = lease(store, "a", NOON).await;
        let of = |leased: &[LeasedDelivery], id| leased.iter().filter(|one| one.endpoint.id == id).count();
        assert_eq!([well, failing, resting].map(|id| of(&first, id)), [4, 4, 4]);
        for one in &first {
            let health = match one.endpoint.id {
                id if id == failing => Health { failures: 1, failing_since: Some(NOON), resting_until: Timestamp(0) },
                id if id == resting => {
                    Health { failures: 9, failing_since: Some(NOON), resting_until: NOON.plus_ms(1) }
                }
                _ => Health::default(),
            };
            assert!(end(store, &one.delivery, ended(State::Waiting, health)).await);
        }
        let under_way = HashMap::from([(well, 3)]);
        let next = deliveries::lease_due(store, ("a", NOON, LEASE_MS), NOBODY_BUSY, &under_way).await.unwrap();
        assert_eq!([well, failing, resting].map(|id| of(&next, id)), [1, 1, 0]);
        let row = webhooks::by_id(store, resting).await.unwrap().unwrap();
        assert_eq!((row.health.failures, row.health.failing_since), (9, Some(NOON)));
        assert_eq!(lease(store, "a", NOON.plus_ms(1)).await.iter().filter(|one| one.endpoint.id == resting).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_replayed_keeps_its_number_and_what_was_never_given_gets_the_next() {
    on_each(async |store| {
        plugin(store).await;
        let payer = user(store, 1).await;
        commit(store, &[credit(10, payer, 100)], NOON).await;
        let all = endpoint(store, 20, None, &[]).await;
        commit(store, &[credit(11, payer, 100)], NOON.plus_ms(5)).await;
        hand_out(store).await;
        let first = lease(store, "a", NOON).await.remove(0).delivery;
        assert!(end(store, &first, ended(State::Delivered, Health::default())).await);
        assert!(fan_out::ask_again(store, all, NOON).await.unwrap());
        assert!(!fan_out::ask_again(store, all, NOON).await.unwrap(), "one at a time");
        assert!(fan_out::replay(store, 1, NOON, GIVE_UP).await.unwrap());
        assert!(fan_out::lag(store).await.unwrap().replaying, "page by page");
        while fan_out::replay(store, 1, NOON, GIVE_UP).await.unwrap() {}
        assert_eq!(given(store, all).await, ["1 charge.credited", "2 charge.credited"]);
        let again = lease(store, "a", NOON).await;
        assert_eq!(again.len(), 2);
        let replayed = again.iter().find(|one| one.delivery.event == first.event).unwrap();
        assert_eq!((replayed.delivery.sequence, &replayed.delivery.body), (1, &first.body));
        // From the second on only.
        assert!(fan_out::ask_again(store, all, NOON.plus_ms(5)).await.unwrap());
        while fan_out::replay(store, 9, NOON, GIVE_UP).await.unwrap() {}
        assert_eq!(lease(store, "b", NOON).await.len(), 1);
        assert!(fan_out::ask_again(store, all, NOON.plus_ms(99)).await.unwrap());
        assert!(fan_out::replay(store, 9, NOON, GIVE_UP).await.unwrap());
        assert!(!fan_out::lag(store).await.unwrap().replaying, "nothing since then");
    })
    .await;
}

#[tokio::test]
async fn one_event_can_be_asked_for_again_and_a_test_is_for_its_endpoint_alone() {
    on_each(async |store| {
        let (one, other) = (endpoint(store, 20, None, &[]).await, endpoint(store, 21, None, &[]).await);
        let news = events::test(EventId(uuid(9)), NOON);
        assert!(deliveries::give(store, one, &news, GIVE_UP).await.unwrap());
        assert_eq!((given(store, one).await.len(), given(store, other).await.len()), (1, 0));
        let leased = lease(store, "a", NOON).await.remove(0).delivery;
        assert!(deliveries::again(store, one, news.id, NOON, GIVE_UP).await.unwrap());
        assert!(!end(store, &leased, ended(State::Delivered, Health::default())).await, "asked for after it was sent");
        assert_eq!(lease(store, "a", NOON).await.len(), 1);
        assert!(!deliveries::again(store, other, news.id, NOON, GIVE_UP).await.unwrap());
        assert!(!deliveries::give(store, WebhookId(uuid(77)), &news, GIVE_UP).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_an_endpoint_that_is_switched_off_has_failed_and_switching_on_forgets_why() {
    on_each(async |store| {
        let one = endpoint(store, 20, None, &[]).await;
        for number in 0..2 {
            let news = events::test(EventId(uuid(number)), NOON);
            assert!(deliveries::give(store, one, &news, GIVE_UP).await.unwrap());
        }
        let leased = deliveries::lease_due(store, ("a", NOON, LEASE_MS), (1, 9), &HashMap::new()).await.unwrap();
        let gone = Ended {
            disabled: Some(("it answered 410: it is gone".into(), audit(99, "webhook.disable"))),
            ..ended(State::Failed, Health { failures: 1, failing_since: Some(NOON), resting_until: Timestamp(0) })
        };
        assert!(end(store, &leased[0].delivery, gone).await);
        let row = webhooks::by_id(store, one).await.unwrap().unwrap();
        assert_eq!((row.enabled, row.disabled_reason.as_deref()), (false, Some("it answered 410: it is gone")));
        let rows = deliveries::list(store, one, None, 9).await.unwrap();
        assert!(rows.iter().all(|row| row.state == State::Failed), "{rows:?}");
        assert_eq!(deliveries::backlog(store).await.unwrap(), (0, 1));
        let on =
            Change { url: row.url, types: Vec::new(), description: String::new(), allow_private: true, enabled: true };
        assert!(webhooks::change(store, one, &on, &audit(100, "webhook.set"), NOON).await.unwrap());
        let row = webhooks::by_id(store, one).await.unwrap().unwrap();
        assert_eq!((row.enabled, row.disabled_reason, row.health), (true, None, Health::default()));
        assert!(!webhooks::change(store, WebhookId(uuid(5)), &on, &audit(101, "webhook.set"), NOON).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn keys_overlap_once_and_endpoints_are_bounded_and_go_with_what_they_were_given() {
    on_each(async |store| {
        let shop = merchant(store, 2).await;
        let one = endpoint(store, 20, Some(shop), &["payment.captured", "refund.posted"]).await;
        let platform = endpoint(store, 21, None, &[]).await;
        assert!(!webhooks::create(store, &row(22, Some(shop), &[]), 1, &audit(22, "x")).await.unwrap());
        assert!(!webhooks::create(store, &row(22, None, &[]), 1, &audit(22, "x")).await.unwrap());
        let new = Sealed { bytes: vec![7; 64], key_id: "k1".into() };
        let until = NOON.plus_ms(SECOND);
        assert!(
            webhooks::rotate(store, one, (&new, [9; 32]), until, &audit(23, "webhook.rotate"), NOON).await.unwrap()
        );
        let found = webhooks::by_id(store, one).await.unwrap().unwrap();
        assert_eq!((&found.keys, found.public_key), (&new, [9; 32]));
        assert_eq!(found.old_keys, Some((Sealed { bytes: vec![1; 64], key_id: String::new() }, until)));
        assert_eq!(found.types, ["payment.captured", "refund.posted"]);
        let ids = |rows: Vec<WebhookRow>| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(ids(webhooks::list(store, Some(shop), None, 9).await.unwrap()), [one]);
        assert_eq!(ids(webhooks::list(store, None, None, 9).await.unwrap()), [platform, one]);
        assert_eq!(ids(webhooks::list(store, None, Some(platform), 9).await.unwrap()), [one]);
        let news = events::test(EventId(uuid(9)), NOON);
        assert!(deliveries::give(store, one, &news, GIVE_UP).await.unwrap());
        assert!(webhooks::remove(store, one, &audit(24, "webhook.remove"), NOON).await.unwrap());
        assert!(!webhooks::remove(store, one, &audit(25, "webhook.remove"), NOON).await.unwrap());
        assert!(given(store, one).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_log_lets_go_of_what_is_old_or_too_much_and_never_of_what_waits() {
    on_each(async |store| {
        let one = endpoint(store, 20, None, &[]).await;
        for number in 0..5 {
            let news = events::test(EventId(uuid(number)), NOON);
            assert!(deliveries::give(store, one, &news, GIVE_UP).await.unwrap());
        }
        let leased = lease(store, "a", NOON).await;
        for done in &leased[..3] {
            assert!(end(store, &done.delivery, ended(State::Delivered, Health::default())).await);
        }
        deliveries::sweep(store, NOON, NOON, 100, 100).await.unwrap();
        assert_eq!(given(store, one).await.len(), 5, "nothing is old");
        deliveries::sweep(store, NOON, NOON, 3, 100).await.unwrap();
        let kinds: Vec<String> = given(store, one).await;
        assert_eq!(kinds.len(), 3, "two of the three that ended lie more than three numbers back: {kinds:?}");
        deliveries::sweep(store, NOON, NOON.plus_ms(1), 100, 100).await.unwrap();
        assert_eq!(given(store, one).await.len(), 2);
        deliveries::sweep(store, GIVE_UP, NOON, 100, 100).await.unwrap();
        let rows = deliveries::list(store, one, None, 9).await.unwrap();
        assert!(rows.iter().all(|row| row.state == State::Failed), "{rows:?}");
    })
    .await;
}
