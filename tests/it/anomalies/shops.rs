//! R9 and R15 of shops: gifts that many reach for at once, and closings that race what they close.

use std::collections::BTreeSet;
use std::sync::Arc;

use koban_domain::captures::{Collect, OfPayment};
use koban_domain::closings::{Closing, MakeClosing};
use koban_domain::ids::{CaptureId, ClosingId, MerchantId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::Currency;
use koban_domain::outcomes::Refusal;
use koban_service::{Actor, bonus, operators};
use tokio::task::JoinSet;

use super::provoke;
use super::stage::{Said, Stage, first, moment, some_yen};
use super::warrants::gift;
use crate::harness::{seed_shop, unique};
use crate::load::Dice;

/// R9. A lot of bonus that covers one payment: in one race of a hundred a hundred spend it at once, in the others eight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_a_lot_of_bonus_that_covers_one_payment_is_spent_once() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (yen, who) = (some_yen(&mut dice), stage.person(0).await);
        let many = if dice.below(100) == 0 { 100 } else { 8 };
        let operator = operators::command_line(unique("r9"));
        bonus::grant(stage.host(0), &operator, gift(&stage, who, yen)).await.expect("a lot");
        let mut spending = JoinSet::new();
        for number in 0..many {
            let stage = Arc::clone(&stage);
            spending.spawn(async move { stage.pay(number, who, yen, &unique("r9")).await });
        }
        let said = spending.join_all().await;
        let done = said.iter().filter(|said| said.is_done()).count();
        let no = said.iter().filter(|said| **said == Said::No(Refusal::InsufficientFunds)).count();
        assert_eq!((done, no, stage.bonus(who).await), (1, many - 1, 0), "{said:?}");
        "once"
    }
    provoke("R9", &["once"], race).await;
}

/// Captures of one race.
const CAPTURES: usize = 6;

/// R15. Both hosts close periods with a shop while captures of its holds come in on both: each capture is in exactly one closing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_each_capture_is_in_exactly_one_closing() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (yen, host) = (some_yen(&mut dice), first(&mut dice));
        let (shop, _) = seed_shop(stage.host(0), "5812").await;
        let who = stage.person(yen * 6).await;
        let of = OfPayment::from(&stage.paid_to(shop, who, yen * 6, Some(3_600_000)).await);
        let today = stage.host(0).clock.now().jst_day();
        let mut capturing = JoinSet::new();
        for number in 0..CAPTURES {
            let (stage, pause) = (Arc::clone(&stage), moment(&mut dice));
            capturing.spawn(async move {
                tokio::time::sleep(pause).await;
                let capture = CaptureId(stage.host(number).clock.id());
                let command = Command::Collect(Collect { capture, of, amount: Some(yen), last: false });
                stage.asked(number, Actor::System, None, command).await.expect("it is captured");
            });
        }
        let (a, b) = (moment(&mut dice), moment(&mut dice));
        let closing = |host: usize, pause, days| {
            let stage = Arc::clone(&stage);
            async move {
                tokio::time::sleep(pause).await;
                close(&stage, host, shop, today - days).await
            }
        };
        let (one, other) = tokio::join!(closing(host, a, 2), closing(host + 1, b, 1));
        capturing.join_all().await;
        let last = close(&stage, host, shop, today).await;
        let mut made: Vec<Closing> = [one, other, last].into_iter().flatten().collect();
        made.sort_by_key(|closing| closing.after);
        let entries: Vec<i64> = stage.captures_of(who).await;
        assert_eq!(entries.len(), CAPTURES);
        let mut with = BTreeSet::new();
        for entry in entries {
            let within = made.iter().filter(|closing| closing.after < entry && entry <= closing.through);
            let within: Vec<ClosingId> = within.map(|closing| closing.id).collect();
            assert_eq!(within.len(), 1, "entry {entry} is in {within:?} of {made:#?}");
            with.extend(within);
        }
        let captured: i64 = made.iter().map(|closing| closing.captured).sum();
        assert_eq!(captured, yen * 6, "{made:#?}");
        if with.len() > 1 { "in several closings" } else { "in one closing" }
    }
    provoke("R15 closings", &["in one closing", "in several closings"], race).await;
}

/// Closes a period; nothing if nothing had moved, or if a later one was closed before.
async fn close(stage: &Stage, host: usize, merchant: MerchantId, until: i32) -> Option<Closing> {
    let closing = ClosingId(stage.host(host).clock.id());
    let command = Command::MakeClosing(MakeClosing { closing, merchant, currency: Currency::JPY, until });
    match stage.told(host, command).await {
        Ok(Answer::Closing(made)) => made.map(|made| *made),
        Err(Refusal::PeriodClosed) => None,
        other => panic!("{other:?}"),
    }
}
