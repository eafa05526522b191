//! Sessions and API keys.

use koban_domain::ids::{KeyId, MerchantId, OperatorId, SessionId, UserId};
use koban_domain::records::Digest;
use koban_domain::time::Timestamp;
use koban_store::keys::ApiKeyRow;
use koban_store::sessions::{SessionOwner, SessionRow};
use koban_store::{Dialect, audit as audit_log, keys, sessions};

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
async fn a_key_is_rotated_with_overlap_and_its_end_is_never_moved_later() {
    on_each(async |store| {
        let shop = MerchantId(uuid(1));
        keys::create(store, &key(1, shop), &audit(1, "key.create")).await.unwrap();
        keys::create(store, &key(2, shop), &audit(2, "key.create")).await.unwrap();
        let (soon, later) = (NOON.plus_ms(SECOND), NOON.plus_ms(60 * SECOND));
        let end = async |number: u128, at: Timestamp| {
            let id = (shop, KeyId(uuid(1)));
            keys::set_expiry(store, id, at, &audit(number, "key.rotate"), NOON).await.unwrap()
        };
        assert!(end(3, later).await);
        assert!(end(4, soon).await);
        assert!(end(5, later).await);
        let old = keys::by_hash(store, key(1, shop).hash).await.unwrap().unwrap();
        assert_eq!(old.expires_at, Some(soon));
        assert!(old.is_good(NOON) && !old.is_good(soon));
        assert!(keys::by_hash(store, key(2, shop).hash).await.unwrap().unwrap().is_good(later));
        assert_eq!(keys::list(store, shop, None, 10).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_merchant_cannot_touch_anothers_key_and_a_revoked_one_stays_revoked() {
    on_each(async |store| {
        let (shop, other) = (MerchantId(uuid(1)), MerchantId(uuid(2)));
        let id = KeyId(uuid(1));
        keys::create(store, &key(1, shop), &audit(1, "key.create")).await.unwrap();
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
