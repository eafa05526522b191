//! Work of several parts on both databases: all rows or none, and the same answer again.

use koban_domain::ledger::{Answer, Decided, Trial, Work};
use koban_domain::operations::Claim;
use koban_domain::outcomes::Refusal;
use uuid::Uuid;

use super::world::{START, commit};
use super::{charge, furnished, transfer};

fn bulk(id: u128, parts: impl IntoIterator<Item = Work>) -> Work {
    let mut work = Work::new(Uuid::from_u128(id), "user:test");
    work.operation = Some(Claim::new("user:test", &id.to_string(), "/v1/bulk", b"{}"));
    work.parts = parts.into_iter().map(|part| Work { operation: None, ..part }).collect();
    work
}

#[tokio::test]
async fn a_thousand_parts_are_one_unit_and_are_found_again_under_its_key() {
    for database in furnished().await {
        let mut writer = database.store.ledger().await.unwrap();
        commit(&mut writer, &[charge(10, 90_000)], START).await.unwrap();
        let work = bulk(7, (0..1_000).map(|number| transfer(1_000 + number * 4, 1)));
        let (decided, head) = commit(&mut writer, std::slice::from_ref(&work), START).await.unwrap();
        let Decided::Done(answers) = &decided[0] else { panic!("{}: {decided:?}", database.name) };
        assert_eq!((answers.len(), head.sequence), (1_000, 1_001), "{}", database.name);
        let (again, after) = commit(&mut writer, &[work], START).await.unwrap();
        assert_eq!(again, [Decided::Replayed(Ok(Answer::Bulk(answers.clone())))], "{}", database.name);
        assert_eq!(after, head);
    }
}

#[tokio::test]
async fn a_refused_part_leaves_no_row_of_the_others_and_a_trial_leaves_none_at_all() {
    for database in furnished().await {
        let mut writer = database.store.ledger().await.unwrap();
        let (_, head) = commit(&mut writer, &[charge(10, 1_000)], START).await.unwrap();
        let mut work = bulk(7, [transfer(100, 400), transfer(104, 900), transfer(108, 1)]);
        work.trial = Some(Trial::Whole);
        let before = database.store.lane_head().await.unwrap();
        let (tried, after) = commit(&mut writer, std::slice::from_ref(&work), START).await.unwrap();
        assert!(matches!(&tried[0], Decided::Foreseen(units) if units.len() == 2), "{}: {tried:?}", database.name);
        assert_eq!((after, database.store.lane_head().await.unwrap()), (head, before), "{}", database.name);

        work.trial = None;
        let (decided, after) = commit(&mut writer, std::slice::from_ref(&work), START).await.unwrap();
        assert_eq!(decided, [Decided::Refused(1, Refusal::InsufficientFunds)], "{}", database.name);
        assert_eq!(after, head);
        let (again, _) = commit(&mut writer, &[work], START).await.unwrap();
        let halted = Answer::Halted(1, "insufficient_funds".into());
        assert_eq!(again, [Decided::Replayed(Ok(halted))], "{}", database.name);
    }
}
