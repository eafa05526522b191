//! R1, R2, R3, R13, R14: balances and limits that many reach for at once.

use std::sync::Arc;

use koban_domain::outcomes::Refusal;
use tokio::task::JoinSet;

use super::stage::{Said, Stage, some_yen};
use super::{provoke, provoke_at_once, times};
use crate::harness::{Stopwatch, unique};
use crate::load::{Dice, is_soak};

/// R1. In one race of a hundred a hundred spend at once, in the others eight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_a_balance_that_covers_one_payment_is_spent_once() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let yen = some_yen(&mut dice);
        let (who, many) = (stage.person(yen).await, if dice.below(100) == 0 { 100 } else { 8 });
        let mut spending = JoinSet::new();
        for number in 0..many {
            let stage = Arc::clone(&stage);
            spending.spawn(async move { stage.pay(number, who, yen, &unique("r1")).await });
        }
        let said = spending.join_all().await;
        let done = said.iter().filter(|said| said.is_done()).count();
        let no = said.iter().filter(|said| **said == Said::No(Refusal::InsufficientFunds)).count();
        assert_eq!((done, no, stage.balance(who).await), (1, many - 1, 0), "{said:?}");
        "once"
    }
    provoke("R1", &["once"], race).await;
}

/// R2. The counter of a limit is loaded and written in the commit that it guards: nothing of it is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_what_counts_against_a_days_limit_is_never_lost() {
    async fn race(stage: Arc<Stage>, _: Dice) -> &'static str {
        let (from, to) = (stage.person(200_000).await, stage.person(0).await);
        let send = |host| stage.send(host, from, to, 40_000);
        let said = tokio::join!(send(0), send(1), send(0), send(1));
        let said = [said.0, said.1, said.2, said.3];
        let done = said.iter().filter(|said| said.is_done()).count();
        let no = said.iter().filter(|said| **said == Said::No(Refusal::DayLimit)).count();
        assert_eq!((done, no), (2, 2), "{said:?}");
        assert_eq!((stage.balance(from).await, stage.balance(to).await), (120_000, 80_000));
        "two of four"
    }
    provoke("R2", &["two of four"], race).await;
}

/// R3. Two that are each within a shared bound and together beyond it: holds on one balance, and gifts to one wallet that is nearly full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_two_that_fit_each_alone_and_not_together_are_not_both_done() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        if dice.below(2) == 0 {
            let who = stage.person(1_000).await;
            let hold = |host| {
                let input = koban_service::payments::PayInput {
                    merchant: stage.shop,
                    amount: koban_domain::money::Money::yen(600),
                    reference: None,
                    hold_s: Some(3_600),
                };
                let stage = Arc::clone(&stage);
                async move {
                    let ctx = super::stage::user(who, &unique("r3"));
                    Said::of(koban_service::payments::pay(stage.host(host), &ctx, input).await)
                }
            };
            let (one, other) = tokio::join!(hold(0), hold(1));
            let no = Said::No(Refusal::InsufficientFunds);
            assert!(one.is_done() && other == no || other.is_done() && one == no, "{one:?} {other:?}");
            return "one hold";
        }
        let (one, other) = (stage.person(50_000).await, stage.person(50_000).await);
        let full = stage.person(500_000).await;
        let more = super::stage::credit(stage.host(0), full, 450_000, unique("till"));
        stage.told(0, more).await.expect("it fits");
        let (a, b) = tokio::join!(stage.send(0, one, full, 40_000), stage.send(1, other, full, 40_000));
        let no = Said::No(Refusal::BalanceLimit);
        assert!(a.is_done() && b == no || b.is_done() && a == no, "{a:?} {b:?}");
        assert_eq!(stage.balance(full).await, 990_000);
        "one gift"
    }
    provoke("R3", &["one hold", "one gift"], race).await;
}

/// R13. Pairs and rings of five send at once, in every direction: nobody waits for somebody who waits for them, and the sum stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r13_storms_of_transfers_in_rings_neither_stall_nor_change_the_sum() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let mut ring = Vec::new();
        for _ in 0..5 {
            ring.push(stage.person(10_000).await);
        }
        let mut sending = JoinSet::new();
        for at in 0..5 {
            for (from, to) in [(at, (at + 1) % 5), ((at + 1) % 5, at)] {
                let (stage, from, to, yen) = (Arc::clone(&stage), ring[from], ring[to], some_yen(&mut dice));
                sending.spawn(async move { stage.send(at, from, to, yen).await });
            }
        }
        let said = sending.join_all().await;
        assert!(said.iter().all(Said::is_done), "{said:?}");
        let mut sum = 0;
        for who in ring {
            sum += stage.balance(who).await;
        }
        assert_eq!(sum, 50_000);
        "the sum stays"
    }
    provoke_at_once("R13", (times(), 8), &["the sum stays"], race).await;
}

/// R14. Nine payments in ten are for one merchant; what two hosts take in a second must not fall to what one row lock alone allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_one_hot_merchant_does_not_slow_everybody_down() {
    const PAYERS: usize = 32;
    let (stage, each) = (Stage::open().await, times());
    let (other, _) = crate::harness::seed_shop(stage.host(0), "5812").await;
    let mut payers = Vec::new();
    for _ in 0..PAYERS {
        payers.push(stage.person(500_000).await);
    }
    let stopwatch = Stopwatch::start();
    let mut paying = JoinSet::new();
    for (number, who) in payers.into_iter().enumerate() {
        let stage = Arc::clone(&stage);
        paying.spawn(async move {
            let mut hot = 0;
            for round in 0..each {
                let merchant = if round % 10 == 9 { other } else { stage.shop };
                let amount = koban_domain::money::Money::yen(1);
                let input = koban_service::payments::PayInput { merchant, amount, reference: None, hold_s: None };
                let ctx = super::stage::user(who, &unique("r14"));
                let said = Said::of(koban_service::payments::pay(stage.host(number), &ctx, input).await);
                assert!(said.is_done(), "{said:?}");
                hot += i64::from(merchant == stage.shop);
            }
            hot
        });
    }
    let hot: i64 = paying.join_all().await.into_iter().sum();
    let ms = stopwatch.elapsed().as_millis().max(1);
    let all = u128::from(each) * u128::try_from(PAYERS).unwrap_or(0);
    let per_second = all * 1_000 / ms;
    println!("R14: {all} payments, {hot} of them to one merchant, {per_second} a second");
    let merchant = koban_domain::accounts::AccountKey::payable(stage.shop, koban_domain::money::Currency::JPY);
    let held = koban_store::statements::balances(&stage.host(1).store, &[merchant.id()]).await.expect("it is read");
    assert_eq!(held[&merchant.id()].balance(), hot);
    assert!(!is_soak() || per_second >= 100, "{per_second} a second");
    stage.database.is_sound().await;
}
