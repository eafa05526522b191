//! What users let the platform do at partners: a visit is taken once, one host refreshes at a time, what has ended leaves no token behind.

use koban_domain::ids::UserId;
use koban_domain::records::Digest;
use koban_store::consents::{self, ConsentKey, ConsentRow, ConsentState, Refreshed, RequestRow};
use koban_store::sealed::{self, Place};

use crate::harness::*;

fn key(user: u128) -> ConsentKey {
    let user = UserId(uuid::Uuid::from_u128(user));
    ConsentKey { plugin: PLUGIN.to_owned(), endpoint: "network".to_owned(), user }
}

fn consent(user: u128) -> ConsentRow {
    ConsentRow {
        key: key(user),
        state: ConsentState::Given,
        secret: b"tokens".to_vec(),
        key_id: "k1".to_owned(),
        ends_at: NOON.plus_ms(60_000),
        generation: 1,
        reason: None,
        created_at: NOON,
        changed_at: NOON,
    }
}

fn visit(number: u8) -> RequestRow {
    RequestRow {
        asked: Digest::of(&[number]),
        key: key(1),
        secret: b"verifier".to_vec(),
        key_id: "k1".to_owned(),
        expires_at: NOON.plus_ms(600_000),
    }
}

#[tokio::test]
async fn a_visit_is_bounded_and_taken_once_by_whom_it_belongs_to() {
    on_each(async |store| {
        assert!(consents::ask(store, &visit(1), 2, NOON).await.unwrap());
        assert!(consents::ask(store, &visit(2), 2, NOON).await.unwrap());
        assert!(!consents::ask(store, &visit(3), 2, NOON).await.unwrap(), "two are open");
        let asked = visit(1).asked;
        assert_eq!(consents::take(store, asked, key(2).user, NOON).await.unwrap(), None, "another user's");
        let late = consents::take(store, asked, key(1).user, visit(1).expires_at).await.unwrap();
        assert_eq!(late, None, "at its end it is over");
        assert_eq!(consents::take(store, asked, key(1).user, NOON).await.unwrap(), Some(visit(1)));
        assert_eq!(consents::take(store, asked, key(1).user, NOON).await.unwrap(), None, "once");
        assert!(
            consents::ask(store, &visit(4), 2, NOON.plus_ms(600_000)).await.unwrap(),
            "what has run out is forgotten"
        );
    })
    .await;
}

#[tokio::test]
async fn one_refresh_at_a_time_and_only_of_what_was_seen() {
    on_each(async |store| {
        consents::give(store, &consent(1)).await.unwrap();
        assert_eq!(consents::get(store, &key(1)).await.unwrap(), Some(consent(1)));
        let (id, until) = (key(1), NOON.plus_ms(60_000));
        assert!(consents::lease(store, (&id, 1), "one", NOON, until).await.unwrap());
        assert!(!consents::lease(store, (&id, 1), "two", NOON, until).await.unwrap(), "somebody has it");
        assert!(consents::lease(store, (&id, 1), "two", until, until.plus_ms(1)).await.unwrap(), "its lease ran out");
        let tokens = Refreshed::Tokens(b"new".to_vec(), "k2".to_owned(), NOON.plus_ms(90_000));
        assert!(consents::refreshed(store, (&id, 1), &tokens, NOON).await.unwrap());
        assert!(!consents::refreshed(store, (&id, 1), &tokens, NOON).await.unwrap(), "of another generation by now");
        let now = consents::get(store, &id).await.unwrap().unwrap();
        assert_eq!((now.generation, now.secret.as_slice(), now.key_id.as_str()), (2, &b"new"[..], "k2"));
        assert!(consents::lease(store, (&id, 2), "one", NOON, until).await.unwrap(), "the lease ended with it");
        assert!(consents::refreshed(store, (&id, 2), &Refreshed::Nothing, NOON).await.unwrap());
        assert!(consents::lease(store, (&id, 2), "two", NOON, until).await.unwrap());
        let ended = Refreshed::Ended("invalid_grant".to_owned());
        assert!(consents::refreshed(store, (&id, 2), &ended, NOON).await.unwrap());
        let now = consents::get(store, &id).await.unwrap().unwrap();
        assert_eq!(
            (now.state, now.secret.len(), now.reason.as_deref()),
            (ConsentState::Ended, 0, Some("invalid_grant"))
        );
        assert!(!consents::end(store, &id, None, "by_user", NOON).await.unwrap(), "it has ended");
        consents::give(store, &consent(1)).await.unwrap();
        let again = consents::get(store, &id).await.unwrap().unwrap();
        assert_eq!((again.state, again.reason), (ConsentState::Given, None));
        assert!(again.generation > now.generation);
        assert!(consents::end(store, &id, None, "by_user", NOON).await.unwrap());
        assert_eq!(consents::of_user(store, id.user).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn tokens_are_found_by_their_key_and_sealed_again_page_by_page() {
    on_each(async |store| {
        for user in 1..=5 {
            consents::give(store, &consent(user)).await.unwrap();
        }
        consents::end(store, &key(5), None, "by_user", NOON).await.unwrap();
        assert_eq!(sealed::count_by_key(store).await.unwrap().get("k1"), Some(&4), "what has ended has no tokens");
        let (mut after, mut seen) = (None::<Place>, 0);
        loop {
            let page = sealed::not_under(store, "k2", after.as_ref(), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.place.clone());
            seen += page.len();
            let changes: Vec<_> =
                page.into_iter().map(|row| (row, "k2".to_owned(), b"sealed again".to_vec())).collect();
            assert_eq!(sealed::replace(store, &changes).await.unwrap(), changes.len() as u64);
        }
        assert_eq!(seen, 4);
        let now = consents::get(store, &key(3)).await.unwrap().unwrap();
        assert_eq!((now.key_id.as_str(), now.secret.as_slice()), ("k2", &b"sealed again"[..]));
    })
    .await;
}
