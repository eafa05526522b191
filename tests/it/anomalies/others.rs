//! R16, R17: what is read while others write, and what two workers reach for.

use std::collections::BTreeMap;
use std::sync::Arc;

use koban_domain::accounts::Class;
use koban_domain::ids::EventId;
use koban_domain::money::Currency;
use koban_domain::webhooks::Health;
use koban_service::page::Page;
use koban_service::webhooks::{self, Input};
use koban_service::{operators, wallets};
use koban_store::webhooks::deliveries::{self, Ended, State, Try};
use tokio::task::JoinSet;

use super::stage::{Said, Stage, some_yen};
use super::{provoke_at_once, times};
use crate::harness::unique;
use crate::load::Dice;

/// R16. A statement that is read while it grows adds up, line by line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_a_statement_adds_up_while_others_post() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (one, other) = (stage.person(20_000).await, stage.person(20_000).await);
        let mut sending = JoinSet::new();
        for number in 0..6 {
            let (stage, yen) = (Arc::clone(&stage), some_yen(&mut dice));
            let (from, to) = if number % 2 == 0 { (one, other) } else { (other, one) };
            sending.spawn(async move { stage.send(number, from, to, yen).await });
        }
        for look in 0..6 {
            let page = Page { after: None, limit: 100 };
            let lines = wallets::statement(stage.host(look), one, (Currency::JPY, &page)).await.expect("it is read");
            let mut newer: BTreeMap<Class, (i64, i64)> = BTreeMap::new();
            for line in &lines.items {
                let now = (line.balance.minor, line.change.minor);
                if let Some((balance, change)) = newer.insert(line.class, now) {
                    assert_eq!(balance - change, line.balance.minor, "{:?}", lines.items);
                }
            }
            for (balance, change) in newer.values() {
                assert_eq!(balance, change, "the first line begins with nothing: {:?}", lines.items);
            }
            let wallet = wallets::balances(stage.host(look), one).await.expect("it is read");
            let page = Page { after: None, limit: 100 };
            let after = wallets::statement(stage.host(look), one, (Currency::JPY, &page)).await.expect("it is read");
            let stood = after.items.iter().any(|line| line.class == Class::Funds && line.balance == wallet.funds);
            assert!(stood, "{} is no balance of any line: {:?}", wallet.funds, after.items);
        }
        let said = sending.join_all().await;
        assert!(said.iter().all(Said::is_done), "{said:?}");
        "adds up"
    }
    provoke_at_once("R16", (times(), 8), &["adds up"], race).await;
}

/// R17. Two workers look for deliveries at once: each delivery has one of them, and a lease that somebody took over ends nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_a_delivery_is_leased_to_one_worker_and_a_stale_lease_ends_nothing() {
    async fn race(stage: Arc<Stage>, _: Dice) -> &'static str {
        let operator = operators::command_line(unique("r17"));
        let app = stage.host(0);
        let input = Input {
            url: "https://example.com/hooks".into(),
            types: Vec::new(),
            description: "a race".into(),
            allow_private: None,
            enabled: true,
        };
        let endpoint = webhooks::create(app, &operator, None, input).await.expect("an endpoint").endpoint.id;
        let now = app.clock.now();
        for _ in 0..4 {
            let news = koban_domain::events::test(EventId(app.clock.id()), now);
            assert!(deliveries::give(&app.store, endpoint, &news, now.plus_ms(60_000)).await.expect("it is given"));
        }
        let none = std::collections::HashMap::new();
        let lease = |host: usize, at| {
            let (stage, none) = (Arc::clone(&stage), none.clone());
            async move {
                let who = ["one", "other"][host];
                deliveries::lease_due(&stage.host(host).store, (who, at, 1_000), (8, 64), &none).await.expect("leases")
            }
        };
        let (one, other) = tokio::join!(lease(0, now), lease(1, now));
        let events = |leased: &[deliveries::LeasedDelivery]| {
            leased.iter().map(|one| one.delivery.event).collect::<std::collections::BTreeSet<_>>()
        };
        assert!(events(&one).is_disjoint(&events(&other)), "{one:?} {other:?}");
        assert_eq!(one.len() + other.len(), 4, "nothing is left over");
        // Both are late; the other takes over what the leases no longer hold.
        let later = now.plus_ms(2_000);
        let taken = lease(1, later).await;
        assert_eq!(taken.len(), 4);
        let end = |leased: &deliveries::LeasedDelivery| {
            let tried = Try { at: later, status: Some(200), problem: None };
            let ended =
                Ended { state: State::Delivered, due_at: later, tried, health: Health::default(), disabled: None };
            (leased.delivery.clone(), ended)
        };
        let stale: Vec<_> = one.iter().chain(&other).map(end).collect();
        let fresh: Vec<_> = taken.iter().map(end).collect();
        let (stale, fresh) = tokio::join!(
            deliveries::end(&stage.host(0).store, &stale, later),
            deliveries::end(&stage.host(1).store, &fresh, later),
        );
        assert_eq!((stale.expect("ends"), fresh.expect("ends")), (vec![false; 4], vec![true; 4]));
        let row = super::stage::audit(app, "webhook.remove", endpoint.to_string());
        koban_store::webhooks::remove(&app.store, endpoint, &row, later).await.expect("it is removed");
        "leased once"
    }
    // One after the other: a lease takes whatever is due, also another race's.
    provoke_at_once("R17", (times(), 1), &["leased once"], race).await;
}
