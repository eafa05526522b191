//! Users, merchants and operators.

use koban_domain::ids::{MerchantId, OperatorId, UserId};
use koban_store::operators::OperatorRow;
use koban_store::users::UserRow;
use koban_store::{audit as audit_log, merchants, operators, users};

use crate::harness::*;

#[tokio::test]
async fn a_user_is_found_by_id_and_by_address_and_an_address_belongs_to_one() {
    on_each(async |store| {
        let row = user_row(1);
        users::create(store, &row).await.unwrap();
        assert_eq!(users::by_id(store, row.id).await.unwrap(), Some(row.clone()));
        assert_eq!(users::by_email(store, "user1@example.com").await.unwrap(), Some(row.clone()));
        assert_eq!(users::by_email(store, "nobody@example.com").await.unwrap(), None);

        let other = UserRow { id: UserId(uuid(2)), ..row };
        let error = users::create(store, &other).await.unwrap_err();
        assert_eq!(error.constraint(), Some("users_email"));

        // Users without an address do not stand in each other's way.
        for number in [3, 4] {
            let row = UserRow { email: None, password_hash: None, ..user_row(number) };
            users::create(store, &row).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn pages_of_users_neither_skip_nor_repeat() {
    on_each(async |store| {
        for number in 1..=25 {
            user(store, number).await;
        }
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = users::list(store, before, 10).await.unwrap();
            before = page.last().map(|user| user.id);
            seen.extend(page.iter().map(|user| user.id));
            // Whoever signs up while somebody turns pages comes before the first page.
            if before.is_none() {
                break;
            }
            user(store, 1_000 + seen.len() as u128).await;
        }
        let expected: Vec<UserId> = (1..=25).rev().map(|number| UserId(uuid(number))).collect();
        assert_eq!(seen, expected);
    })
    .await;
}

#[tokio::test]
async fn merchants_are_found() {
    on_each(async |store| {
        for number in 1..=3 {
            merchant(store, number).await;
        }
        assert_eq!(merchants::by_id(store, MerchantId(uuid(2))).await.unwrap(), Some(merchant_row(2)));
        assert_eq!(merchants::by_id(store, MerchantId(uuid(9))).await.unwrap(), None);
        let page = merchants::list(store, Some(MerchantId(uuid(3))), 10).await.unwrap();
        assert_eq!(page, [merchant_row(2), merchant_row(1)]);
    })
    .await;
}

#[tokio::test]
async fn a_merchant_that_cannot_be_made_leaves_no_audit_row() {
    on_each(async |store| {
        merchant(store, 1).await;
        let again = merchants::create(store, &merchant_row(1), &audit(50, "merchant.create")).await;
        assert_eq!(again.unwrap_err().constraint(), Some("merchants_pk"));
        assert_eq!(audit_log::after(store, 0, 10).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn operators_are_counted_and_found_by_address() {
    on_each(async |store| {
        assert_eq!(operators::count(store).await.unwrap(), 0);
        let row = OperatorRow {
            id: OperatorId(uuid(1)),
            name: "Sato".into(),
            email: "sato@example.com".into(),
            password_hash: "$argon2id$".into(),
            created_at: NOON,
        };
        operators::create(store, &row, &audit(1, "operator.create")).await.unwrap();
        assert_eq!(operators::count(store).await.unwrap(), 1);
        assert_eq!(operators::by_email(store, "sato@example.com").await.unwrap(), Some(row.clone()));
        assert_eq!(operators::by_id(store, row.id).await.unwrap(), Some(row.clone()));
        let other = OperatorRow { id: OperatorId(uuid(2)), ..row };
        let error = operators::create(store, &other, &audit(2, "operator.create")).await.unwrap_err();
        assert_eq!(error.constraint(), Some("operators_email"));
    })
    .await;
}
