//! kill -9 at each place of each step of a flow that pays: the collector sees every effect once by its key, no flow is lost, and the money is right.
//!
//! Goal: no crash between two things that belong together does either twice or neither. Method: a flow that pays a bundle of slips, each with a call and a
//! partner's call of its own, on a host that ends at a named place for the nth time and is started again; and many bills on two hosts of which one is
//! killed or stopped while it holds leases.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use koban_domain::ids::UserId;
use koban_service::crash::Point;
use koban_service::operators;
use koban_service::plugins::{self, EndpointInput};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::harness::{
    ATM_SECRET, Caller as _, Collector, Database, HostProcess, Kind, Setup, Stopwatch, TestApp, User, bar_code,
    eventually_for, seed_collector, seed_money, seed_plugin, seed_till, seed_user, sign, unique,
};
use crate::kills::free_address;
use crate::load::{Dice, is_soak, seed};

/// How long a flow may take after its host was killed: a lease is taken over after half a minute.
const ENDS_WITHIN: Duration = Duration::from_secs(120);
/// What each user has.
const HOLDING: i64 = 400_000;

/// A database with users and a payer of bills, and a collector that looks for its host at this address.
struct Place {
    database: Arc<Database>,
    collector: Collector,
    users: Vec<(UserId, String)>,
    address: String,
}

impl Place {
    async fn with(payer: &str, users: usize) -> Place {
        let (database, address) = (Arc::new(Database::fresh().await), free_address());
        let app = TestApp::on(Arc::clone(&database), Setup { jobs: false, ..Setup::default() }).await;
        let collector = Collector::start(&format!("http://{address}")).await;
        if payer == "bill-slip" {
            seed_collector(&app.app, &collector, &[], (1_000_000_000, 0)).await;
        } else {
            seed_plugin(&app.app, payer, &[], Some((1_000_000_000, 0))).await;
            let (name, secrets) = ("collector".to_owned(), vec![ATM_SECRET.to_owned()]);
            let endpoint = EndpointInput {
                name,
                base: collector.base(),
                secrets,
                allow_private: true,
                ..EndpointInput::default()
            };
            let ctx = operators::command_line(unique("endpoint"));
            plugins::set_endpoint(&app.app, &ctx, payer, endpoint).await.expect("the endpoint is set");
        }
        seed_till(&app.app).await;
        let mut known = Vec::new();
        for _ in 0..users {
            let (user, token) = seed_user(&app.app, true).await;
            seed_money(&app.app, user, HOLDING).await;
            known.push((user, token));
        }
        app.stop().await;
        Place { database, collector, users: known, address }
    }

    fn user(&self, place: usize, address: &str) -> User {
        let (user, token) = &self.users[place % self.users.len()];
        User::signed_in(*user, token.clone(), &Client::new(address.to_owned()))
    }

    async fn host(&self, environment: &[(&'static str, OsString)]) -> HostProcess {
        HostProcess::start_in(&self.database, "host", &["--listen", &self.address], environment).await
    }

    /// No payment was asked for twice or under two keys; answers what was paid, by slip.
    async fn each_effect_once(&self) -> Vec<(String, i64)> {
        let book = self.collector.book().await;
        let mut paid = Vec::new();
        for payment in book["payments"].as_array().expect("payments") {
            let keys = payment["keys"].as_array().expect("keys").len();
            let asked = payment["asked"].as_u64().expect("a number");
            assert!(asked <= 1 && keys <= 1, "asked for {asked} times under {keys} keys: {payment}");
            if payment["standing"] == "paid" {
                let text = |name: &str| payment[name].as_str().expect("a text").to_owned();
                paid.push((text("slip"), payment["amount"].as_i64().expect("an amount")));
            }
        }
        paid
    }

    /// The books are sound, and hold what was paid: this much.
    async fn books_hold(&self, yen: i64) {
        let app = TestApp::on(Arc::clone(&self.database), Setup { jobs: false, ..Setup::default() }).await;
        app.ledger_is_clean().await;
        let mut hand = self.database.hand().await;
        let captured =
            "select cast(coalesce(sum(amount), 0) as bigint) from partner_references where side = 3 and state = 6";
        assert_eq!(hand.number(captured).await, yen);
        assert_eq!(hand.number("select count(*) from flow_holds where held > 0").await, 0, "nothing stays set aside");
        let open = "select count(*) from flows where standing < 4 or stuck = 1";
        assert_eq!(hand.number(open).await, 0, "no flow is lost");
        drop(hand);
        app.stop().await;
    }
}

/// Says of every payment that the collector has its receipt, until the host has heard it; as a partner does, again and again.
async fn courier(place: &Place, stop: &AtomicBool) {
    let mut heard = std::collections::BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let book = place.collector.book().await;
        for payment in book["payments"].as_array().into_iter().flatten().filter(|one| one["standing"] == "paid") {
            let id = payment["payment"].as_str().expect("an id").to_owned();
            if heard.contains(&id) {
                continue;
            }
            let body = json!({ "payment": id, "receipt": payment["receipt"] }).to_string().into_bytes();
            let signed = sign(ATM_SECRET, &body, 0);
            let mut headers: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
            headers.push(("content-type", "application/json"));
            let client = Client::new(place.address.clone());
            let path = "/v1/inbound/bundle-payer/receipt";
            if let Ok(reply) = client.send(hyper::Method::POST, path, &headers, Some(body)).await
                && reply.status == 200
            {
                heard.insert(id);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Begins to pay, however often it takes: a host that is killed may not have answered.
async fn begun(user: &User, found: &Value, code: &Value, key: &str) -> String {
    let body = json!({ "payer": found["payer"], "code": code, "amount": found["amount"], "currency": "JPY" });
    let stopwatch = Stopwatch::start();
    loop {
        if let Ok(outcome) = user.post("/v1/bills", body.clone()).key(key).attempt().await {
            if (200..300).contains(&outcome.reply.status) {
                return outcome.created().id;
            }
            assert!(matches!(outcome.reply.status, 409 | 429 | 503), "{outcome:?}");
        }
        assert!(stopwatch.elapsed() < ENDS_WITHIN, "the bill was not begun");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads a bill, and gently: a host allows each user so many requests in a minute. None: the host did not say.
async fn read(user: &User, id: &str) -> Option<Value> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    let outcome = user.get(format!("/v1/bills/{id}")).attempt().await.ok()?;
    (outcome.reply.status == 200).then_some(outcome.reply.body)
}

/// Recognises a code on a host that may not answer.
async fn recognised(user: &User, code: &Value) -> Value {
    let look = || async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        user.post("/v1/bills/recognise", code.clone()).attempt().await.ok()
    };
    let good = |found: &Option<_>| matches!(found, Some(outcome) if (200..300).contains(&status_of(outcome)));
    let found = eventually_for(ENDS_WITHIN, "the code is recognised", look, good).await;
    found.expect("an answer").accepted()
}

fn status_of(outcome: &crate::harness::Outcome) -> u16 {
    outcome.reply.status
}

/// A bundle of so many slips on a host that ends at this place for the nth time, and on the one that is started after it.
async fn a_bundle_is_paid_although_its_host_ends_at(point: Point, times: u32, slips: usize) {
    let place = Place::with("bundle-payer", 1).await;
    let mut codes = Vec::new();
    for number in 0..slips {
        codes.push(place.collector.slip(1_000 + i64::try_from(number).expect("small")).await);
    }
    let sum: i64 = (0..slips).map(|number| 1_000 + i64::try_from(number).expect("small")).sum();
    let end_at = format!("{}:{times}", point.word());
    let host = place.host(&[("KOBAN_END_AT", end_at.clone().into())]).await;
    let user = place.user(0, &place.address);
    let code = bar_code(&format!("bundle:{}", codes.join(",")));
    let found = recognised(&user, &code).await;
    let stop = AtomicBool::new(false);
    let flow = async {
        let (bill, killed) = tokio::join!(begun(&user, &found, &code, "bundle"), async {
            // It ends by itself, at the place.
            let ended = tokio::time::timeout(Duration::from_secs(60), host.ended()).await;
            let ended = ended.unwrap_or_else(|_| panic!("the host never came to {end_at}"));
            assert!(!ended.success(), "{end_at}: {ended:?}");
            place.host(&[]).await
        });
        let look = || read(&user, &bill);
        let done = |bill: &Option<Value>| bill.as_ref().is_some_and(|bill| bill["standing"] == "done");
        let bill = eventually_for(ENDS_WITHIN, &format!("the bundle is paid after {end_at}"), look, done).await;
        stop.store(true, Ordering::Relaxed);
        (killed, bill.expect("a bill"))
    };
    let ((host, bill), ()) = tokio::join!(flow, courier(&place, &stop));
    assert_eq!(bill["paid"].as_i64(), Some(sum), "{end_at}: {bill}");
    assert_eq!(user.balance().await, HOLDING - sum, "{end_at}");
    let mut paid = place.each_effect_once().await;
    paid.sort();
    codes.sort();
    assert_eq!(paid.into_iter().map(|(slip, _)| slip).collect::<Vec<_>>(), codes, "{end_at}: each slip once");
    assert!(host.stop().await.success());
    place.books_hold(sum).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_at_any_place_of_any_step_pays_each_slip_once() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let (slips, steps) = if is_soak() { (20, (1..=20).collect()) } else { (6, vec![]) };
    let mut cases = Vec::new();
    for point in Point::ALL {
        match steps.as_slice() {
            [] => cases.push((point, 1 + u32::try_from(dice.below(6)).expect("small"))),
            steps => cases.extend(steps.iter().map(|step| (point, *step))),
        }
    }
    println!("bill kills: seed {seed} (KOBAN_TEST_SEED={seed} runs it again), {} kills", cases.len());
    let stopwatch = Stopwatch::start();
    let at_once = if is_soak() { 6 } else { cases.len() };
    let mut running = JoinSet::new();
    for (point, times) in cases {
        if running.len() >= at_once {
            running.join_next().await.expect("one runs").expect("it holds");
        }
        running.spawn(a_bundle_is_paid_although_its_host_ends_at(point, times, slips));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("it holds");
    }
    println!("bill kills: seed {seed} held, {} s", stopwatch.elapsed().as_secs());
}

/// What becomes of the first host while it holds leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Killed,
    Stopped,
}

/// Many bills on two hosts, of which the first is killed, or stopped until the other has taken over.
async fn bills_on_two_hosts(fate: Fate) {
    let bills: usize = if is_soak() { 1_000 } else { 24 };
    let place = Place::with("bill-slip", 10).await;
    let elsewhere = free_address();
    let first = place.host(&[]).await;
    let second = HostProcess::start_in(&place.database, "other", &["--listen", &elsewhere], &[]).await;
    // Slow answers: leases are held when the host goes.
    place.collector.switch(json!({ "bills": "slow", "slow_ms": 1_500 })).await;
    let mut begun_bills = Vec::new();
    for number in 0..bills {
        let slip = place.collector.slip(1_000).await;
        let address = if number % 2 == 0 { &place.address } else { &elsewhere };
        let user = place.user(number, if number < bills / 2 { address } else { &elsewhere });
        if number == bills / 2 {
            tokio::time::sleep(Duration::from_millis(600)).await;
            first.signal(if fate == Fate::Killed { "KILL" } else { "STOP" });
            place.collector.switch(json!({ "bills": "normal" })).await;
        }
        let code = bar_code(&slip);
        let found = recognised(&user, &code).await;
        begun_bills.push((number, begun(&user, &found, &code, &format!("bill-{number}")).await));
    }
    for (number, id) in &begun_bills {
        let user = place.user(*number, &elsewhere);
        let look = || read(&user, id);
        let done = |bill: &Option<Value>| bill.as_ref().is_some_and(|bill| bill["standing"] == "done");
        eventually_for(ENDS_WITHIN, "the bill is paid", look, done).await;
    }
    let sum = 1_000 * i64::try_from(bills).expect("few");
    assert_eq!(place.each_effect_once().await.iter().map(|(_, yen)| yen).sum::<i64>(), sum);
    if fate == Fate::Stopped {
        first.signal("CONT");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let user = place.user(0, &place.address);
        assert!(user.balance().await < HOLDING, "the woken host is well");
        assert_eq!(place.each_effect_once().await.iter().map(|(_, yen)| yen).sum::<i64>(), sum);
        assert!(first.stop().await.success());
    } else {
        assert!(!first.ended().await.success());
    }
    assert!(second.stop().await.success());
    place.books_hold(sum).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bills_of_a_host_that_is_killed_while_it_holds_leases_are_paid_once_by_the_other() {
    bills_on_two_hosts(Fate::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bills_of_a_host_that_is_stopped_while_it_holds_leases_are_paid_once_by_the_other() {
    if Kind::of_this_run() != Kind::Postgres {
        // A host that is stopped on SQLite may hold the file's lock, and no server frees it.
        return;
    }
    bills_on_two_hosts(Fate::Stopped).await;
}
