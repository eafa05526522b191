//! A changed byte in an entry, a posting, a record, a component, a balance or the audit log is found and named.

use koban_service::verify;

use crate::harness::{Database, Hand, TestApp, koban, whole};

/// A host that did a little of everything, stopped.
async fn finished() -> std::sync::Arc<Database> {
    let app = TestApp::start().await.with_fraud_rules(&[whole("night_from", 0), whole("night_to", 0)]).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let paid = user.pay(&shop, 1_280).await.created();
    shop.refund(&paid, 280).await.created();
    for yen in 1..=5 {
        user.pay(&shop, yen).await.created();
    }
    app.ledger_is_clean().await;
    app.stop().await
}

/// What `koban ledger verify` names first; nothing if it finds the books clean.
fn named(database: &Database) -> Option<String> {
    let (status, said, log) = koban(database, &["--json", "ledger", "verify"]);
    let verdict: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{log}"));
    assert_eq!(status.success(), verdict["clean"] == true, "{verdict}");
    verdict["difference"]["place"].as_str().map(str::to_owned)
}

/// Flips one bit of the blob in `column` of the one row at `place`, checks what is named, and puts it back.
async fn flipped(database: &Database, hand: &mut Hand, table: &str, column: &str, place: &str, expected: &str) {
    let sql = format!("select {column} from {table} where {place}");
    let mut rows = hand.blobs(&sql).await;
    assert_eq!(rows.len(), 1, "{sql}");
    let before = rows.remove(0);
    for at in [0, before.len() / 2, before.len() - 1] {
        let mut after = before.clone();
        after[at] ^= 0x10;
        hand.put(table, column, place, &after).await;
        let found = named(database).unwrap_or_else(|| panic!("{table}.{column}, byte {at}: not found"));
        assert!(found.contains(expected), "{table}.{column}, byte {at}: named {found}, not {expected}");
    }
    hand.put(table, column, place, &before).await;
}

#[tokio::test]
async fn one_changed_bit_is_found_and_named() {
    let database = finished().await;
    assert_eq!(named(&database), None);
    let mut hand = database.hand().await;
    for column in ["postings", "hash", "subject"] {
        flipped(&database, &mut hand, "entries", column, "sequence = 2", "entry 2").await;
    }
    flipped(&database, &mut hand, "record_pages", "page", "sequence = 1", "record").await;
    flipped(&database, &mut hand, "record_pages", "hash", "sequence = 1", "record").await;
    flipped(&database, &mut hand, "components", "bytes", "1 = 1", "component").await;
    flipped(&database, &mut hand, "audit", "hash", "sequence = 1", "audit").await;
    assert_eq!(named(&database), None, "everything is as it was");
}

#[tokio::test]
async fn a_changed_number_is_found_and_named() {
    let database = finished().await;
    let mut hand = database.hand().await;
    for (change, back, expected) in [
        (
            "update entries set previous = '[1' || substr(previous, 2) where sequence = 3",
            "update entries set previous = '[' || substr(previous, 3) where sequence = 3",
            "entry 3",
        ),
        (
            "update accounts set last = last + 1 where class = 1",
            "update accounts set last = last - 1 where class = 1",
            "account",
        ),
        (
            "update accounts set moved = moved + 1 where class = 5",
            "update accounts set moved = moved - 1 where class = 5",
            "account",
        ),
        (
            "insert into account_marks (account, sequence) select id, last from accounts where class = 5",
            "delete from account_marks",
            "the mark of account clearing",
        ),
        (
            "update accounts set credits_posted = credits_posted + 1 where class = 1",
            "update accounts set credits_posted = credits_posted - 1 where class = 1",
            "account",
        ),
        ("update entries set meta = '{}' where sequence = 1", "", "entry 1"),
    ] {
        assert!(hand.run(change).await > 0, "{change}");
        let found = named(&database).unwrap_or_else(|| panic!("{change}: not found"));
        assert!(found.contains(expected), "{change}: named {found}, not {expected}");
        if !back.is_empty() {
            hand.run(back).await;
            assert_eq!(named(&database), None, "{back}");
        }
    }
}

#[tokio::test]
async fn an_entry_that_is_gone_is_missed_wherever_it_stood() {
    for gone in ["sequence = 3", "sequence = (select max(sequence) from entries)"] {
        let database = finished().await;
        let mut hand = database.hand().await;
        assert_eq!(hand.run(&format!("delete from entries where {gone}")).await, 1);
        let found = named(&database);
        assert!(found.is_some(), "{gone}: not found");
    }
}

#[tokio::test]
async fn an_audit_row_that_was_rewritten_or_removed_is_found() {
    for change in ["update audit set actor = 'nobody' where sequence = 2", "delete from audit where sequence = 2"] {
        let database = finished().await;
        assert_eq!(database.hand().await.run(change).await, 1, "{change}");
        let found = named(&database).unwrap_or_else(|| panic!("{change}: not found"));
        assert!(found.contains("audit"), "{change}: named {found}");
    }
}

#[tokio::test]
async fn a_clean_ledger_tells_how_much_was_looked_at() {
    let database = finished().await;
    let verdict = verify::verify(&database.store().await).await.expect("it can be read");
    assert!(verdict.difference.is_none(), "{verdict}");
    assert!(
        verdict.entries >= 8 && verdict.postings >= 16 && verdict.records >= 6 && verdict.components >= 1,
        "{verdict}"
    );
}
