//! The yardstick of W6 does what it says: holds are made, taken, let go and expire, and its books sum to zero.

use koban_store::bench::{BaselineHold, BaselineOutcome, HoldStep, baseline_hold_sql};

use crate::harness::{NOON, on_each, uuid};

#[tokio::test]
async fn the_yardsticks_holds_end_once_and_leave_its_books_sound() {
    on_each(async |store| {
        let mut baseline = store.baseline(4).await.unwrap();
        baseline.prepare(10).await.unwrap();
        let step = |step, hold: u128, number: u128| BaselineHold {
            step,
            hold: uuid(hold),
            payer: 1,
            merchant: 2,
            amount: 700,
            entry: uuid(number),
            key: uuid(number).into_bytes(),
            at: NOON,
        };
        for (hold, end) in [(1, HoldStep::Capture), (2, HoldStep::Void), (3, HoldStep::Expire)] {
            let number = hold * 100;
            let outcomes = [
                baseline.hold(step(HoldStep::Authorise, hold, number)).await.unwrap(),
                baseline.hold(step(end, hold, number + 1)).await.unwrap(),
                // What has ended ends once, and a key is used once.
                baseline.hold(step(end, hold, number + 2)).await.unwrap(),
                baseline.hold(step(HoldStep::Authorise, hold + 10, number)).await.unwrap(),
            ];
            use BaselineOutcome::{Posted, Repeated};
            assert_eq!(outcomes, [Posted, Posted, Repeated, Repeated], "{end:?}");
        }
        let all = BaselineHold { amount: i64::MAX, ..step(HoldStep::Authorise, 9, 900) };
        assert_eq!(baseline.hold(all).await.unwrap(), BaselineOutcome::InsufficientFunds);
        assert!(baseline.hold(BaselineHold { payer: 10, ..all }).await.is_err());
        let audit = baseline.audit().await.unwrap();
        assert_eq!((audit.entries, audit.postings, audit.drift), (6, 0, 0));
        for (name, statements) in baseline_hold_sql(store.dialect()) {
            assert!((6..=9).contains(&statements.len()), "{name}");
        }
    })
    .await;
}
