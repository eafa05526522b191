//! Clocks that are wrong: a host that leads the database server stops committing, one that lags loses nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use koban_outside::{Outside, Settings};
use koban_service::App;
use koban_service::clock::Clock;

use crate::harness::{Database, Kind, Setup, TestApp, door, sealer};

const HOUR_MS: i64 = 3_600_000;
const TEN_MINUTES_MS: i64 = 600_000;

#[tokio::test]
async fn a_host_whose_clock_leads_commits_nothing_until_it_is_right_again() {
    if Kind::of_this_run() != Kind::Postgres {
        // An SQLite file is on the host's own machine: there is no other clock.
        return;
    }
    let clock = Clock::machine();
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    user.pay(&shop, 100).key("before").await.created();
    clock.advance_ms(4_000);
    user.pay(&shop, 100).key("within-the-bound").await.created();
    // Less than a session may rest.
    clock.advance_ms(TEN_MINUTES_MS);
    let refused = user.pay(&shop, 100).key("k").await;
    refused.problem(503, "clock_leads");
    let counts = app.app.ledger.counts();
    assert!(counts.clock_lead_ms.load(Ordering::Relaxed) > TEN_MINUTES_MS - 60_000);
    assert!(counts.clock_refused.load(Ordering::Relaxed) >= 1);
    clock.advance_ms(-TEN_MINUTES_MS - 4_000);
    user.pay(&shop, 100).key("k").await.created();
    assert_eq!(user.balance().await, 9_700);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_host_whose_clock_leads_does_not_start_and_says_why() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    let database = Database::fresh().await;
    let start = async |clock: Clock| {
        let outside = Outside::new(Settings::default()).expect("the way out opens");
        App::start(database.store().await, door(), outside, clock, sealer()).await
    };
    let clock = Clock::machine();
    clock.advance_ms(HOUR_MS);
    let Err(error) = start(clock.clone()).await else { panic!("it started") };
    let said = error.to_string();
    assert!(said.contains("ahead of the database server's") && said.contains("NTP"), "{said}");
    assert_eq!(database.hand().await.number("select count(*) from limits").await, 0, "nothing was written");
    assert!(start(clock.that_may_lead(2 * HOUR_MS)).await.is_ok(), "the operator may allow it");
}

#[tokio::test]
async fn a_host_whose_clock_goes_back_an_hour_loses_nothing_and_says_what_is_wrong() {
    let clock = Clock::machine();
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    user.pay(&shop, 100).key("before").await.created();
    clock.advance_ms(-HOUR_MS);
    user.pay(&shop, 100).key("after").await.created();
    assert!(user.pay(&shop, 100).key("before").await.replayed());
    assert_eq!(user.balance().await, 9_800);
    let ahead = app.app.ledger.counts().journal_ahead_ms.load(Ordering::Relaxed);
    assert!(ahead > HOUR_MS - 60_000, "{ahead}");
    // Entries keep their order: the journal's time stands still meanwhile.
    let mut hand = app.database.hand().await;
    let backwards = "select count(*) from entries a join entries b on b.sequence = a.sequence + 1 where b.at < a.at";
    assert_eq!(hand.number(backwards).await, 0);
    app.ledger_is_clean().await;
    let database: Arc<Database> = app.stop().await;
    let again = TestApp::on(database, Setup { clock, ..Setup::default() }).await;
    again.ledger_is_clean().await;
}

#[tokio::test]
async fn a_clock_that_leaps_an_hour_and_comes_back_loses_nothing_and_keeps_the_order() {
    // Where a server's clock is beside it, the operator has allowed the lead; otherwise nothing would be committed.
    let clock = Clock::machine().that_may_lead(2 * HOUR_MS);
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let first = user.pay(&shop, 100).key("before").await.created();
    clock.advance_ms(HOUR_MS);
    user.pay(&shop, 100).key("unseen").await.problem(401, "not_signed_in");
    let there = user.sign_in_again().await;
    there.pay(&shop, 100).key("leapt").await.created();
    clock.advance_ms(-HOUR_MS);
    let back = user.sign_in_again().await;
    back.pay(&shop, 100).key("back").await.created();
    shop.refund(&first, 40).await.created();
    for key in ["before", "leapt", "back"] {
        assert!(back.pay(&shop, 100).key(key).await.created().replayed, "{key}");
    }
    assert_eq!(back.balance().await, 9_740);
    let backwards = "select count(*) from entries a join entries b on b.sequence = a.sequence + 1 where b.at < a.at";
    assert_eq!(app.database.hand().await.number(backwards).await, 0);
    app.ledger_is_clean().await;
}
