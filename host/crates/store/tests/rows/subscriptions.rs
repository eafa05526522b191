//! What plugins hear: places, leases, what is remembered and what waits, written with the commit or not at all; and who stands behind statements.

use koban_domain::accounts::PluginKey;
use koban_domain::bonus::{Grant, Plan};
use koban_domain::gifts::{Bound, Gift, GiftKey, TakeBack};
use koban_domain::guest::Value;
use koban_domain::ids::{CampaignId, EventId, LotId, PaymentId};
use koban_domain::ledger::{Command, News, Work};
use koban_domain::subscriptions::{Heard, Kept, Parked, Put, Subscription, Whose};
use koban_store::documents::{Dealings, behind};
use koban_store::{Store, subscriptions as rows};

use crate::harness::*;

const TOOL: &str = "charge-campaign";

async fn begun(store: &Store) -> Subscription {
    let subscription = Subscription::begin(TOOL, 7, NOON, NOON);
    rows::begin(store, &subscription).await.unwrap();
    subscription
}

/// Commits it, and answers how the subscription stands then.
async fn commit_heard(store: &Store, number: u128, heard: Heard) -> Subscription {
    let stands = heard.subscription.clone();
    let work = Work { heard: Some(Box::new(heard)), ..work(number, vec![]) };
    let version = work.id;
    commit(store, &[work], NOON).await;
    Subscription { version, ..stands }
}

fn put(whose: Whose, name: &str, text: &str, expires_at: Option<i64>) -> Put {
    let value = Value::Text(text.to_owned());
    Put { whose, name: name.into(), value: Some((value, expires_at.map(|ms| NOON.plus_ms(ms)))) }
}

#[tokio::test]
async fn a_plugin_begins_once_and_its_place_moves_with_its_commits() {
    on_each(async |store| {
        let begun = begun(store).await;
        rows::begin(store, &Subscription { sequence: 99, ..begun.clone() }).await.unwrap();
        assert_eq!(rows::by_plugin(store, TOOL).await.unwrap(), Some(begun.clone()));
        let hana = user(store, 1).await;
        let puts = [put(Whose(hana), "n", "10", None), put(Whose::SCOPE, "all", "x", Some(5_000))];
        let heard = begun.took(Some((8, 2)), (&[], &puts), NOON).unwrap();
        let stands = commit_heard(store, 1, heard).await;
        assert_eq!(rows::by_plugin(store, TOOL).await.unwrap(), Some(stands.clone()));
        assert_eq!(rows::list(store, "", 10).await.unwrap(), std::slice::from_ref(&stands));

        let known = rows::remembered(store, TOOL, Some(hana)).await.unwrap();
        assert_eq!(known.iter().map(|kept| kept.name.as_str()).collect::<Vec<_>>(), ["all", "n"]);
        assert_eq!(rows::remembered(store, TOOL, None).await.unwrap().len(), 1, "about the scope alone");
        assert_eq!(rows::remembered(store, "another", Some(hana)).await.unwrap(), []);
        assert_eq!(rows::over(store, TOOL, NOON.plus_ms(4_999), 10).await.unwrap(), []);
        let over: Vec<Kept> = rows::over(store, TOOL, NOON.plus_ms(5_000), 10).await.unwrap();
        assert_eq!(over.len(), 1);
        let stands = commit_heard(store, 2, stands.forgets(&over, NOON.plus_ms(5_000))).await;
        assert_eq!(rows::remembered(store, TOOL, None).await.unwrap(), []);
        let again = stands.took(Some((9, 0)), (&known[1..], &[put(Whose(hana), "n", "7", None)]), NOON);
        commit_heard(store, 3, again.unwrap()).await;
        let known = rows::remembered(store, TOOL, Some(hana)).await.unwrap();
        assert_eq!(known.iter().map(|kept| kept.value.clone()).collect::<Vec<_>>(), [Value::Text("7".into())]);
    })
    .await;
}

#[tokio::test]
async fn one_host_has_a_plugin_until_its_lease_runs_out() {
    on_each(async |store| {
        begun(store).await;
        let until = NOON.plus_ms(30_000);
        assert!(rows::lease(store, TOOL, ("one", NOON, until)).await.unwrap());
        assert!(!rows::lease(store, TOOL, ("two", NOON.plus_ms(29_000), until)).await.unwrap());
        assert!(rows::lease(store, TOOL, ("one", NOON, until)).await.unwrap(), "who has it may keep it");
        assert!(rows::lease(store, TOOL, ("two", NOON.plus_ms(30_001), until)).await.unwrap());
        assert!(!rows::lease(store, "nobody", ("one", NOON, until)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_is_parked_waits_with_its_reason_until_it_is_taken_or_given_up() {
    on_each(async |store| {
        let begun = begun(store).await;
        let news = |number: u128| News {
            id: EventId(uuid(number)),
            kind: "payment.captured".into(),
            merchant: None,
            body: "{\"amount\":1}".into(),
            at: NOON,
        };
        let parked = |number: u128, reason: &str| Parked {
            news: news(number),
            reason: reason.into(),
            decision: None,
            at: NOON.plus_ms(1),
        };
        let first = begun.parks((8, 0), parked(1, "it trapped"), NOON);
        let stands = commit_heard(store, 1, first).await;
        let second = stands.parks((9, 0), parked(2, "円 too large"), NOON);
        let stands = commit_heard(store, 2, second).await;
        let waiting = rows::parked(store, TOOL, None, 10).await.unwrap();
        assert_eq!(waiting, [parked(1, "it trapped"), parked(2, "円 too large")]);
        assert_eq!(rows::parked(store, TOOL, Some(EventId(uuid(1))), 10).await.unwrap().len(), 1);
        let third = stands.parks_again(parked(1, "it trapped again"), NOON);
        let stands = commit_heard(store, 3, third).await;
        let one = rows::parked_by_id(store, TOOL, EventId(uuid(1))).await.unwrap().unwrap();
        assert_eq!((one.reason.as_str(), stands.parked), ("it trapped again", 2));
        commit_heard(store, 4, stands.dismissed(EventId(uuid(1)), NOON)).await;
        assert_eq!(rows::parked_by_id(store, TOOL, EventId(uuid(1))).await.unwrap(), None);
        assert_eq!(rows::by_plugin(store, TOOL).await.unwrap().unwrap().parked, 1);
    })
    .await;
}

#[tokio::test]
async fn gifts_are_found_by_their_payment_and_campaigns_by_the_budget_they_are_bound_to() {
    on_each(async |store| {
        plugin(store).await;
        let (hana, shop) = (user(store, 1).await, merchant(store, 2).await);
        commit(store, &[credit(10, hana, 10_000), pay(11, hana, shop, 1_500)], NOON).await;
        let bound = Bound { plugin: TOOL.into(), budget: "spend_back".into(), lasts_days: 30 };
        let campaign = CampaignId(uuid(20));
        let plan = Plan {
            campaign,
            name: "spring".into(),
            budget: yen(1_000),
            open: true,
            ends_at: None,
            per_user: Some(500),
            bound: Some(bound.clone()),
        };
        commit(store, &[work(20, vec![Command::Plan(plan)])], NOON).await;
        let budgets = rows::budgets(store, TOOL).await.unwrap();
        let found = &budgets["spend_back"];
        assert_eq!((found.id, found.per_user, found.bound.clone()), (campaign, Some(500), Some(bound)));
        assert!(rows::budgets(store, "another").await.unwrap().is_empty());

        let key = GiftKey { plugin: PluginKey::of(TOOL), budget: "spend_back".into(), event: EventId(uuid(30)) };
        let grant = Grant {
            lot: LotId(uuid(31)),
            user: hana,
            campaign,
            amount: yen(75),
            usable_from: None,
            expires_at: NOON.plus_ms(1_000_000),
            reason: "spend_back".into(),
        };
        let payment = PaymentId(uuid(11));
        let gift = Gift { plugin: TOOL.into(), key: key.clone(), payment: Some(payment), grant };
        commit(store, &[work(30, vec![Command::Gift(gift)])], NOON).await;
        let gifts = rows::gifts_of(store, (TOOL, "spend_back"), payment).await.unwrap();
        let [(found, of)] = &gifts[..] else { panic!("{gifts:?}") };
        assert_eq!((found, of.lot, of.user), (&key, LotId(uuid(31)), hana));
        assert_eq!(rows::gifts_of(store, (TOOL, "first_charge"), payment).await.unwrap(), []);
        let back = TakeBack { key, of: *of, payment };
        commit(store, &[work(40, vec![Command::TakeBack(back)])], NOON).await;

        let ids = [uuid(11), uuid(99)];
        let known = behind(store, Dealings::Payments, &ids).await.unwrap();
        assert_eq!(known.len(), 1);
        assert_eq!(known[&uuid(11)].payment, Some(uuid(11)));
        for dealings in
            [Dealings::Captures, Dealings::Refunds, Dealings::Disputes, Dealings::Transfers(hana.0), Dealings::Flows]
        {
            assert!(behind(store, dealings, &ids).await.unwrap().is_empty(), "{dealings:?}");
        }
    })
    .await;
}
