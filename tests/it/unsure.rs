//! A connection that is lost while committing: what happened is found out, and never done twice or left out. PostgreSQL only: an
//! SQLite commit is heard by whoever made it.

use std::sync::atomic::Ordering;

use koban_domain::ids::{AuditId, RecordId};
use koban_domain::ledger::{Audit, Decided, SealedRecord, Work};
use koban_domain::records::Digest;
use koban_outside::{Outside, Settings};
use koban_service::App;
use koban_service::clock::Clock;
use koban_store::{Config, Store};

use crate::harness::{Cut, Database, Kind, Line, door, sealer};

/// Work without an idempotency key, which nothing in the books tells from a second one of its kind.
fn keyless(clock: &Clock) -> Work {
    let mut work = Work::new(clock.id(), "system");
    work.audit = vec![Audit {
        id: AuditId(clock.id()),
        actor: "system".into(),
        act: "unsure.test".into(),
        subject: "s".into(),
        detail: "{}".into(),
    }];
    let bytes = b"what a guest was asked and answered".to_vec();
    work.records = vec![SealedRecord { id: RecordId(clock.id()), digest: Digest::of(&bytes), bytes, held: None }];
    work
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_without_a_key_is_done_once_whichever_way_its_commit_was_lost() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let database = Database::fresh().await;
    let line = Line::to(&Line::server_of(database.url())).await;
    let url = line.over(database.url());
    let store = Store::open(&Config { url, connections_max: 2 }).await.expect("the database opens");
    store.migrate().await.expect("it is migrated");
    let outside = Outside::new(Settings::default()).expect("the way out opens");
    let clock = Clock::machine();
    let app = App::start(store, door(), outside, clock.clone(), sealer()).await.expect("the host starts");
    let mut hand = database.hand().await;
    let fates = [Some(Cut::AnswerLost), Some(Cut::RequestLost), Some(Cut::AnswerLost), None];
    for (round, fate) in (1..).zip(fates) {
        let cuts = line.cuts();
        if let Some(cut) = fate {
            line.cut_after(0, cut);
        }
        let decided = app.ledger.commit(keyless(&clock)).await.expect("it is found out what happened");
        assert!(matches!(decided, Decided::Done(_)), "{decided:?}");
        assert_eq!(line.cuts() - cuts, u32::from(fate.is_some()), "the line was cut");
        assert_eq!(hand.number("select count(*) from audit where act = 'unsure.test'").await, round);
        assert_eq!(hand.number("select count(*) from record_pages").await, round);
    }
    assert_eq!(app.ledger.counts().retries.load(Ordering::Relaxed), 3);
    assert_eq!(hand.number("select count(*) from lane_writers").await, 1);
}
