//! Periods that are to be closed, disputes by merchant, and challenges that payers confirm.

use koban_domain::arrangements::{Arrange, CutOff, Share};
use koban_domain::captures::OfPayment;
use koban_domain::closings::MakeClosing;
use koban_domain::disputes::OpenDispute;
use koban_domain::ids::{ClosingId, DisputeId, MerchantId, OperatorId};
use koban_domain::ledger::{Answer, Command, Decided, Work};
use koban_domain::money::Currency;
use koban_domain::operations::Claim;
use koban_domain::outcomes::Refusal;
use koban_domain::step_ups::{ATTEMPTS_MAX, Challenge, StepUpState, WAITS_MS, challenge_of};
use koban_domain::touched::Touched;
use koban_store::closings::Due;
use koban_store::{Store, closings, disputes, step_ups};

use crate::harness::*;

const JPY: Currency = Currency::JPY;
/// 2018-09-25, in days since 1970-01-01.
const DAY: i32 = 17_799;

fn arrange(number: u128, merchant: MerchantId, cut_off: Option<CutOff>) -> Work {
    let fee_rate = Share::of_millionths(32_400).unwrap();
    work(number, vec![Command::Arrange(Arrange { merchant, currency: JPY, credit_limit: 9, fee_rate, cut_off })])
}

fn close(number: u128, merchant: MerchantId, until: i32) -> Work {
    let closing = ClosingId(uuid(number));
    work(number, vec![Command::MakeClosing(MakeClosing { closing, merchant, currency: JPY, until })])
}

async fn due(store: &Store, day: i32) -> Vec<(MerchantId, i32)> {
    let due = closings::due(store, day, CutOff::Monthly, 10).await.unwrap();
    assert!(due.iter().all(|Due { currency, .. }| *currency == JPY));
    due.into_iter().map(|due| (due.merchant, due.until)).collect()
}

#[tokio::test]
async fn a_period_is_to_be_closed_when_it_is_over_and_until_it_is_closed() {
    on_each(async |store| {
        let store = &store.store;
        plugin(store).await;
        let (payer, daily, often, plain) =
            (user(store, 1).await, merchant(store, 2).await, merchant(store, 3).await, merchant(store, 4).await);
        let terms = [arrange(10, daily, Some(CutOff::Daily)), arrange(11, often, Some(CutOff::TwiceMonthly))];
        commit(store, &terms, NOON).await;
        // They are new: periods that ended before are nobody's.
        assert_eq!(due(store, DAY).await, []);
        assert_eq!(due(store, DAY + 1).await, [(daily, DAY + 1)]);
        // The first of October.
        assert_eq!(due(store, DAY + 6).await, [(daily, DAY + 6), (often, DAY + 6), (plain, DAY + 6)]);
        let later = NOON.plus_ms(6 * 86_400_000);
        commit(store, &[credit(20, payer, 9_000), pay(21, payer, plain, 1_000)], later).await;
        let works = [close(30, daily, DAY + 6), close(31, often, DAY + 6), close(32, plain, DAY + 6)];
        let answers = commit(store, &works, later).await;
        assert_eq!(due(store, DAY + 6).await, []);
        assert_eq!(due(store, DAY + 21).await, [(daily, DAY + 21), (often, DAY + 21)]);
        let Answer::Closing(Some(made)) = &answers[2][0] else { panic!("{:?}", answers[2]) };
        assert!(matches!(answers[0][0], Answer::Closing(None)), "nothing had moved");
        assert_eq!(closings::by_id(store, made.id).await.unwrap().as_ref(), Some(&**made));
        assert_eq!(closings::list(store, Some(plain), None, 10).await.unwrap(), [(**made).clone()]);
        assert_eq!(closings::list(store, Some(daily), None, 10).await.unwrap(), []);
        assert_eq!(closings::list(store, None, Some(made.id), 10).await.unwrap(), []);
        let known = closings::arrangements(store, daily).await.unwrap();
        assert_eq!((known.len(), known[0].1.credit_limit, known[0].1.tally.closed_to), (1, 9, DAY + 6));
    })
    .await;
}

#[tokio::test]
async fn disputes_are_found_by_their_merchant_and_when_their_time_is_over() {
    on_each(async |store| {
        let store = &store.store;
        plugin(store).await;
        let (payer, shop, other) = (user(store, 1).await, merchant(store, 2).await, merchant(store, 3).await);
        let answers = commit(store, &[credit(10, payer, 9_000), pay(11, payer, shop, 1_000)], NOON).await;
        let of = OfPayment::from(&paid(&answers[1]));
        let open = |number: u128, days: u16| {
            let (dispute, reason) = (DisputeId(uuid(number)), "r".to_owned());
            let operator = OperatorId(uuid(1));
            let command =
                OpenDispute { dispute, of, amount: yen(100), reason, evidence: None, operator, days: Some(days) };
            work(number, vec![Command::OpenDispute(command)])
        };
        commit(store, &[open(20, 1), open(21, 2)], NOON).await;
        let ids = |rows: Vec<koban_domain::disputes::Dispute>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
        let (first, second) = (DisputeId(uuid(20)), DisputeId(uuid(21)));
        assert_eq!(ids(disputes::list(store, true, None, 10).await.unwrap()), [second, first]);
        assert_eq!(ids(disputes::by_merchant(store, shop, Some(second), 10).await.unwrap()), [first]);
        assert_eq!(ids(disputes::by_merchant(store, other, None, 10).await.unwrap()), []);
        let over = NOON.plus_ms(86_400_000);
        assert_eq!(ids(disputes::due(store, over, 10).await.unwrap()), [first]);
        assert_eq!(
            (disputes::overdue(store, over.plus_ms(-1)).await.unwrap(), disputes::overdue(store, over).await.unwrap()),
            (0, 1)
        );
    })
    .await;
}

#[tokio::test]
async fn a_challenge_is_tried_so_often_confirmed_once_and_used_once() {
    on_each(async |store| {
        let store = &store.store;
        plugin(store).await;
        let (payer, shop, other) = (user(store, 1).await, merchant(store, 2).await, user(store, 3).await);
        commit(store, &[credit(10, payer, 9_000)], NOON).await;
        let claim = |key: &str| Claim::new("user", key, "POST /v1/payments", b"{}");
        let wish = |number: u128, key: &str, proof| Work {
            operation: Some(claim(key)),
            refused: Option::is_none(&proof).then_some(Refusal::StepUpRequired),
            challenge: Some(Challenge { user: payer, payee: shop.0, amount: yen(500), proof }),
            ..pay(number, payer, shop, 500)
        };
        let id = challenge_of(claim("k1").key);
        assert_eq!(decide(store, &wish(20, "k1", None)).await, Decided::Refused(0, Refusal::StepUpRequired));
        assert_eq!(step_ups::by_id(store, id, other).await.unwrap(), None);
        let known = step_ups::by_id(store, id, payer).await.unwrap().unwrap();
        assert_eq!((known.state, known.attempts, known.amount), (StepUpState::Open, 0, yen(500)));
        for _ in 1..ATTEMPTS_MAX {
            assert!(step_ups::attempt(store, id, NOON, ATTEMPTS_MAX).await.unwrap());
        }
        let late = NOON.plus_ms(WAITS_MS);
        assert!(!step_ups::attempt(store, id, late, ATTEMPTS_MAX).await.unwrap());
        assert!(step_ups::attempt(store, id, late.plus_ms(-1), ATTEMPTS_MAX).await.unwrap());
        assert!(!step_ups::attempt(store, id, NOON, ATTEMPTS_MAX).await.unwrap(), "once too often");
        assert!(step_ups::confirm(store, id, late).await.unwrap());
        assert!(!step_ups::confirm(store, id, late).await.unwrap());
        assert!(matches!(decide(store, &wish(21, "k2", Some(id))).await, Decided::Done(_)));
        assert_eq!(decide(store, &wish(22, "k3", Some(id))).await, Decided::Refused(0, Refusal::StepUpRequired));
        let known = step_ups::by_id(store, id, payer).await.unwrap().unwrap();
        assert_eq!((known.state, known.attempts), (StepUpState::Used, ATTEMPTS_MAX));
        assert_eq!(step_ups::forget(store, late.plus_ms(1), 1).await.unwrap(), 1);
        assert_eq!(step_ups::forget(store, late.plus_ms(1), 10).await.unwrap(), 1);
        assert_eq!(step_ups::by_id(store, id, payer).await.unwrap(), None);
    })
    .await;
}

/// What comes of one piece of work, refused or not.
async fn decide(store: &Store, work: &Work) -> Decided {
    let mut writer = store.ledger().await.unwrap();
    let mut tx = writer.begin().await.unwrap();
    let policy = std::sync::Arc::new(tx.policy().await.unwrap());
    let books = tx.load(&Touched::by([work], NOON), policy).await.unwrap();
    let mut commit = koban_domain::ledger::Commit::new(tx.head(), books, NOON);
    let decided = commit.decide(work);
    tx.write(&commit).await.unwrap();
    tx.commit().await.unwrap();
    decided
}
