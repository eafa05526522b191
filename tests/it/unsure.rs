//! A connection that is lost while committing: what happened is found out, and never done twice or left out. PostgreSQL only: an
//! SQLite commit is heard by whoever made it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use koban_domain::ids::{AuditId, RecordId};
use koban_domain::ledger::{Audit, Decided, SealedRecord, Work};
use koban_domain::records::Digest;
use koban_outside::{Outside, Settings};
use koban_service::App;
use koban_service::clock::Clock;
use koban_store::{Config, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Database, Kind, door, sealer};

/// What becomes of the next commit.
const PASS: u32 = 0;
/// The server commits, and nobody hears of it.
const ANSWER_LOST: u32 = 1;
/// The server never hears of it.
const REQUEST_LOST: u32 = 2;

/// A line to the server that breaks while committing when it is told to, once.
async fn line_to(server: String, fate: Arc<AtomicU32>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, fate) = (server.clone(), Arc::clone(&fate));
            tokio::spawn(async move { carry(client, &server, &fate).await });
        }
    });
    address
}

async fn carry(mut client: TcpStream, server: &str, fate: &AtomicU32) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut asked, mut said) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let commits = asked[..read].windows(7).any(|part| part == b"COMMIT\0");
                let fate = if commits { fate.swap(PASS, Ordering::SeqCst) } else { PASS };
                if fate == REQUEST_LOST || server.write_all(&asked[..read]).await.is_err() {
                    return;
                }
                if fate == ANSWER_LOST {
                    let _ = server.read(&mut said).await;
                    return;
                }
            }
            read = server.read(&mut said) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&said[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

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
    work.records = vec![SealedRecord { id: RecordId(clock.id()), digest: Digest::of(&bytes), bytes }];
    work
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_without_a_key_is_done_once_whichever_way_its_commit_was_lost() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let database = Database::fresh().await;
    let (before, name) = database.url().rsplit_once('/').expect("a URL");
    let (start, server) = before.rsplit_once('@').expect("a URL with a user");
    let fate = Arc::new(AtomicU32::new(PASS));
    let line = line_to(server.to_owned(), Arc::clone(&fate)).await;
    let url = format!("{start}@{line}/{name}");
    let store = Store::open(&Config { url, connections_max: 2 }).await.expect("the database opens");
    store.migrate().await.expect("it is migrated");
    let outside = Outside::new(Settings::default()).expect("the way out opens");
    let clock = Clock::machine();
    let app = App::start(store, door(), outside, clock.clone(), sealer()).await.expect("the host starts");
    let mut hand = database.hand().await;
    for (round, lost) in (1..).zip([ANSWER_LOST, REQUEST_LOST, ANSWER_LOST, PASS]) {
        fate.store(lost, Ordering::SeqCst);
        let decided = app.ledger.commit(keyless(&clock)).await.expect("it is found out what happened");
        assert!(matches!(decided, Decided::Done(_)), "{decided:?}");
        assert_eq!(fate.load(Ordering::SeqCst), PASS, "the line was cut");
        assert_eq!(hand.number("select count(*) from audit where act = 'unsure.test'").await, round);
        assert_eq!(hand.number("select count(*) from record_pages").await, round);
    }
    assert_eq!(app.ledger.counts().retries.load(Ordering::Relaxed), 3);
    assert_eq!(hand.number("select count(*) from lane_writers").await, 1);
}
