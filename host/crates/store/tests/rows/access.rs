//! Sessions and API keys.

use koban_domain::ids::{KeyId, MerchantId, OperatorId, SessionId, UserId};
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_store::keys::{ApiKeyRow, Made};
use koban_store::sessions::{SessionOwner, SessionRow};
use koban_store::{Dialect, Store, audit as audit_log, keys, sessions};

use crate::harness::*;

fn session(number: u128, owner: SessionOwner) -> SessionRow {
    SessionRow {
        token_hash: Digest::of(&number.to_be_bytes()),
        id: SessionId(uuid(number)),
        owner,
        created_at: NOON,
        expires_at: NOON.plus_ms(60 * SECOND),
        last_seen: NOON,
        device: Some("phone".into()),
    }
}

#[tokio::test]
async fn a_session_is_found_by_its_token_until_it_is_ended() {
    on_each(async |store| {
        let row = session(1, SessionOwner::Operator(OperatorId(uuid(7))));
        sessions::create(store, &row).await.unwrap();
        assert_eq!(sessions::by_token(store, row.token_hash).await.unwrap(), Some(row.clone()));
        assert_eq!(sessions::by_token(store, Digest::default()).await.unwrap(), None);
        assert!(sessions::delete(store, row.token_hash).await.unwrap());
        assert!(!sessions::delete(store, row.token_hash).await.unwrap());
        assert_eq!(sessions::by_token(store, row.token_hash).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn sessions_are_read_together_and_one_that_ended_is_not_among_them() {
    on_each(async |store| {
        let owner = SessionOwner::User(UserId(uuid(7)));
        let rows = [1, 2, 3].map(|number| session(number, owner));
        for row in &rows {
            sessions::create(store, row).await.unwrap();
        }
        let hashes = rows.each_ref().map(|row| row.token_hash);
        let mut reader = store.reader();
        assert_eq!(reader.sessions(&hashes).await.unwrap().len(), 3);
        assert!(sessions::delete(store, hashes[0]).await.unwrap());
        let found = reader.sessions(&hashes).await.unwrap();
        assert_eq!((found.len(), &found[&hashes[1]]), (2, &rows[1]));
        assert!(reader.sessions(&[]).await.unwrap().is_empty());
    })
    .await;
}

/// Goal: a server that was started again costs nobody an error. Method: the server cuts the reader's connection off.
#[tokio::test]
async fn a_reader_whose_connection_was_lost_reads_on_another() {
    on_each(async |store| {
        let row = session(1, SessionOwner::User(UserId(uuid(7))));
        sessions::create(store, &row).await.unwrap();
        let mut reader = store.reader();
        for _ in 0..2 {
            assert_eq!(reader.sessions(&[row.token_hash]).await.unwrap()[&row.token_hash], row);
            if store.dialect() == Dialect::Postgres {
                // Divides by zero if there is no such connection.
                let sql = "select 1 / count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
                    where datname = current_database() and application_name = 'koban-reader'";
                store.meddle(sql).await;
            }
        }
        assert_eq!(reader.sessions(&[row.token_hash]).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_session_is_touched_forwards_only() {
    on_each(async |store| {
        let row = session(1, SessionOwner::User(UserId(uuid(7))));
        sessions::create(store, &row).await.unwrap();
        let (later, end) = (NOON.plus_ms(10), NOON.plus_ms(100 * SECOND));
        sessions::touch(store, row.token_hash, later, end).await.unwrap();
        sessions::touch(store, row.token_hash, NOON.plus_ms(5), NOON).await.unwrap();
        let found = sessions::by_token(store, row.token_hash).await.unwrap().unwrap();
        assert_eq!((found.last_seen, found.expires_at), (later, end));
    })
    .await;
}

#[tokio::test]
async fn an_owner_ends_one_session_or_all_others_and_nobody_elses() {
    on_each(async |store| {
        let (mine, other) = (SessionOwner::User(UserId(uuid(7))), SessionOwner::User(UserId(uuid(8))));
        // An operator may have the same bits as a user.
        let operator = SessionOwner::Operator(OperatorId(uuid(7)));
        for (number, owner) in [(1, mine), (2, mine), (3, mine), (4, other), (5, operator)] {
            sessions::create(store, &session(number, owner)).await.unwrap();
        }
        assert_eq!(sessions::list(store, mine, NOON, 10).await.unwrap().len(), 3);
        assert!(!sessions::delete_by_id(store, mine, SessionId(uuid(4))).await.unwrap());
        assert!(sessions::delete_by_id(store, mine, SessionId(uuid(1))).await.unwrap());
        assert_eq!(sessions::delete_others(store, mine, Some(SessionId(uuid(2)))).await.unwrap(), 1);
        assert_eq!(sessions::list(store, mine, NOON, 10).await.unwrap(), [session(2, mine)]);
        assert_eq!(sessions::list(store, other, NOON, 10).await.unwrap().len(), 1);
        assert_eq!(sessions::list(store, operator, NOON, 10).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn ended_sessions_are_taken_away_a_bounded_number_at_a_time() {
    on_each(async |store| {
        let owner = SessionOwner::User(UserId(uuid(7)));
        for number in 1..=5 {
            let expires_at = NOON.plus_ms(i64::try_from(number).unwrap());
            sessions::create(store, &SessionRow { expires_at, ..session(number, owner) }).await.unwrap();
        }
        let now = NOON.plus_ms(4);
        assert_eq!(sessions::expire(store, now, 3).await.unwrap(), 3);
        assert_eq!(sessions::expire(store, now, 3).await.unwrap(), 1);
        assert_eq!(sessions::expire(store, now, 3).await.unwrap(), 0);
        assert!(sessions::by_token(store, session(5, owner).token_hash).await.unwrap().is_some());
    })
    .await;
}

async fn create(store: &Store, number: u128, merchant: MerchantId) {
    let made = keys::create(store, &key(number, merchant), 50, &audit(number, "key.create")).await.unwrap();
    assert_eq!(made, Made::Done);
}

fn key(number: u128, merchant: MerchantId) -> ApiKeyRow {
    ApiKeyRow {
        hash: Digest::of(&number.to_be_bytes()),
        id: KeyId(uuid(number)),
        merchant,
        name: "till".into(),
        scopes: vec!["payments:read".into(), "refunds:write".into()],
        created_at: NOON,
        expires_at: None,
        revoked_at: None,
    }
}

#[tokio::test]
async fn a_key_is_rotated_in_one_act_and_its_end_is_never_moved_later() {
    on_each(async |store| {
        let shop = MerchantId(uuid(1));
        create(store, 1, shop).await;
        let (soon, later) = (NOON.plus_ms(SECOND), NOON.plus_ms(60 * SECOND));
        let rotate = async |number: u128, at: Timestamp, until: Timestamp| {
            let successor = ApiKeyRow { name: String::new(), scopes: vec![], created_at: at, ..key(number, shop) };
            let audits = [audit(2 * number, "key.create"), audit(2 * number + 1, "key.rotate")];
            keys::rotate(store, KeyId(uuid(1)), successor, until, 50, audits).await.unwrap()
        };
        let (made, second) = rotate(2, NOON, later).await;
        assert_eq!((made, second), (Made::Done, key(2, shop)), "it has the name and the scopes of the old one");
        assert_eq!(rotate(3, NOON, soon).await.0, Made::Done);
        assert_eq!(rotate(4, NOON, later).await.0, Made::Done);
        let old = keys::by_hash(store, key(1, shop).hash).await.unwrap().unwrap();
        assert_eq!(old.expires_at, Some(soon));
        assert!(old.is_good(NOON) && !old.is_good(soon));
        // An expired key is replaced by nothing, nor is one that is revoked or somebody else's.
        assert_eq!(rotate(5, soon, later).await.0, Made::NotGood);
        keys::revoke(store, (shop, KeyId(uuid(2))), &audit(90, "key.revoke"), NOON).await.unwrap();
        let successor = |merchant| ApiKeyRow { merchant, ..key(6, shop) };
        let of = async |id: u128, merchant| {
            let audits = [audit(91, "key.create"), audit(92, "key.rotate")];
            keys::rotate(store, KeyId(uuid(id)), successor(merchant), later, 50, audits).await.unwrap().0
        };
        assert_eq!(of(2, shop).await, Made::NotGood);
        assert_eq!(of(3, MerchantId(uuid(2))).await, Made::NoSuchKey);
        assert_eq!(keys::list(store, shop, None, 10).await.unwrap().len(), 4, "what was refused wrote nothing");
    })
    .await;
}

#[tokio::test]
async fn a_merchant_has_a_bounded_number_of_live_keys() {
    on_each(async |store| {
        let shop = MerchantId(uuid(1));
        for number in 1..=3 {
            create(store, number, shop).await;
        }
        let fourth = async |number: u128| {
            keys::create(store, &key(number, shop), 3, &audit(number, "key.create")).await.unwrap()
        };
        assert_eq!(fourth(4).await, Made::TooMany);
        let audits = [audit(10, "key.create"), audit(11, "key.rotate")];
        let rotated = keys::rotate(store, KeyId(uuid(1)), key(5, shop), NOON, 3, audits).await.unwrap();
        assert_eq!(rotated.0, Made::TooMany, "both are live for a moment");
        keys::revoke(store, (shop, KeyId(uuid(1))), &audit(12, "key.revoke"), NOON).await.unwrap();
        assert_eq!(fourth(6).await, Made::Done);
        assert_eq!(keys::create(store, &key(7, MerchantId(uuid(2))), 3, &audit(7, "a")).await.unwrap(), Made::Done);
    })
    .await;
}

#[tokio::test]
async fn a_merchant_cannot_touch_anothers_key_and_a_revoked_one_stays_revoked() {
    on_each(async |store| {
        let (shop, other) = (MerchantId(uuid(1)), MerchantId(uuid(2)));
        let id = KeyId(uuid(1));
        create(store, 1, shop).await;
        assert!(!keys::revoke(store, (other, id), &audit(2, "key.revoke"), NOON).await.unwrap());
        assert_eq!(keys::by_id(store, other, id).await.unwrap(), None);
        assert!(keys::by_id(store, shop, id).await.unwrap().unwrap().is_good(NOON));
        assert!(keys::revoke(store, (shop, id), &audit(3, "key.revoke"), NOON).await.unwrap());
        assert!(keys::revoke(store, (shop, id), &audit(4, "key.revoke"), NOON.plus_ms(9)).await.unwrap());
        let revoked = keys::by_id(store, shop, id).await.unwrap().unwrap();
        assert_eq!(revoked.revoked_at, Some(NOON));
        assert!(!revoked.is_good(NOON));
        // What was not done is not in the audit log.
        let acts: Vec<u128> =
            audit_log::after(store, 0, 10).await.unwrap().iter().map(|row| row.audit.id.0.as_u128()).collect();
        assert_eq!(acts, [1, 3, 4]);
    })
    .await;
}
