//! People at work against hosts that come and go: each repeats what was not answered, under the same key, until it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koban_auditor::{Acknowledged as Told, Evidence};
use koban_domain::ids::{MerchantId, UserId};
use koban_service::flows::{self, FlowFilter};
use koban_service::page::Page;
use koban_service::verify;
use koban_store::flows::Which;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::{Client, Reply};
use crate::harness::{
    Atm, COMPANY_NUMBER, Caller as _, Database, Session, Setup, TestApp, User, eventually_for, seed_atm, seed_money,
    seed_plugin, seed_shop, seed_till, seed_user, shows, unique, whole, yen,
};

/// Random numbers from a seed (SplitMix64), so that a run can be had again.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to below `most`.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    /// One of these.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(u64::try_from(all.len()).unwrap_or(1))).unwrap_or(0);
        &all[place]
    }
}

/// The seed of this run: `KOBAN_TEST_SEED`, or a new one. Tests print it.
pub(crate) fn seed() -> u64 {
    let mut random = [0; 4];
    koban_service::clock::fill(&mut random);
    let new = u64::from(u32::from_be_bytes(random));
    std::env::var("KOBAN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(new)
}

/// Whether the heavy tests run at full scale.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("KOBAN_SOAK").is_some()
}

/// What was answered for good, by id.
#[derive(Debug, Default, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) payments: BTreeMap<String, i64>,
    /// Payments whose amount was held first.
    pub(crate) held: BTreeMap<String, i64>,
    pub(crate) captures: BTreeMap<String, i64>,
    /// Those of `held` that were let go.
    pub(crate) voided: BTreeSet<String>,
    /// What was sold, in yen.
    pub(crate) exchanges: BTreeMap<String, i64>,
    pub(crate) refunds: BTreeMap<String, i64>,
    pub(crate) transfers: BTreeMap<String, i64>,
    pub(crate) refusals: u32,
    /// Who was told of each, and under which key.
    pub(crate) keys: BTreeMap<String, (String, String)>,
}

/// A database with people in it, a network beside it, and what they were told.
pub(crate) struct Town {
    pub(crate) database: Arc<Database>,
    pub(crate) atm: Arc<Atm>,
    people: Vec<(UserId, String)>,
    shops: Vec<(MerchantId, String)>,
    pub(crate) told: Arc<Mutex<Acknowledged>>,
    pub(crate) counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

/// What happened on the way.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) replays: AtomicU32,
    pub(crate) unanswered: AtomicU32,
    pub(crate) deposits: AtomicU32,
}

impl Town {
    /// Verified users with funds, two shops, both first plugins, dollars to buy, an ATM network that will look for the host at `host`.
    pub(crate) async fn found(database: Arc<Database>, host: &str, people: usize) -> Town {
        let app = TestApp::on(Arc::clone(&database), Setup { jobs: false, ..Setup::default() }).await;
        let atm = Atm::start(&format!("http://{host}")).await;
        let rules = [
            whole("night_from", 0),
            whole("night_to", 0),
            whole("user_10m_count", 1_000_000),
            whole("merchant_10m_count", 100_000_000),
            yen("user_1d_sum", 1_000_000_000),
        ];
        seed_plugin(&app.app, "fraud-rules", &rules, None).await;
        seed_atm(&app.app, &atm, &[], (1_000_000_000, 0)).await;
        seed_till(&app.app).await;
        app.offer_dollars(100_000_000).await;
        let mut users = Vec::new();
        for _ in 0..people {
            let (user, token) = seed_user(&app.app, true).await;
            seed_money(&app.app, user, 200_000).await;
            users.push((user, token));
        }
        let mut shops = Vec::new();
        for _ in 0..2 {
            shops.push(seed_shop(&app.app, "5812").await);
        }
        app.stop().await;
        Town {
            database,
            atm: Arc::new(atm),
            people: users,
            shops,
            told: Arc::default(),
            counts: Arc::default(),
            stop: Arc::default(),
            workers: Vec::new(),
        }
    }

    /// Everybody goes to work, spread over these hosts.
    pub(crate) fn work(&mut self, hosts: &[String], dice: &mut Dice) {
        for place in 0..self.people.len() {
            let worker = Worker {
                host: hosts[place % hosts.len()].clone(),
                me: self.people[place].clone(),
                others: self
                    .people
                    .iter()
                    .map(|(user, _)| *user)
                    .filter(|user| *user != self.people[place].0)
                    .collect(),
                shops: self.shops.clone(),
                atm: Arc::clone(&self.atm),
                told: Arc::clone(&self.told),
                counts: Arc::clone(&self.counts),
                stop: Arc::clone(&self.stop),
                // Every third stands at the ATM, which takes its time; the others pay, send and are refunded.
                is_charging: place % 3 == 2,
                dice: Dice::new(dice.next()),
            };
            self.workers.push(tokio::spawn(worker.run()));
        }
    }

    /// Everybody finishes what they are at; nobody begins anything more.
    pub(crate) async fn rest(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            worker.await.expect("a worker ends well");
        }
        self.stop.store(false, Ordering::Relaxed);
    }

    /// How much was acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        let told = self.told.lock().expect("what was told");
        let Acknowledged { payments, held, captures, voided, exchanges, refunds, transfers, .. } = &*told;
        [payments, held, captures, exchanges, refunds, transfers].iter().map(|some| some.len()).sum::<usize>()
            + voided.len()
    }

    /// No acknowledged entry is lost, none is doubled, both books agree, and every flow is final or listed. Needs a host, which
    /// is asked to settle the day; afterwards it must be stopped.
    pub(crate) async fn agrees_with_the_network(&self) {
        self.atm.switch(json!({ "answers": "normal", "ours": "normal" })).await;
        let quiet = |book: &Value| {
            let unknown =
                book["deposits"].as_array().is_some_and(|all| all.iter().any(|one| one["standing"] == "unknown"));
            book["on_their_way"] == 0 && !unknown
        };
        let book =
            eventually_for(Duration::from_secs(60), "the network comes to rest", || self.atm.book(), quiet).await;
        let mut hand = self.database.hand().await;
        let references = hand.texts("select reference from partner_references where side = 1 and state = 1").await;
        let mut ours: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for reference in references {
            let place = format!("from partner_references where side = 1 and reference = '{reference}'");
            let amount = hand.number(&format!("select amount {place}")).await;
            let reversed = hand.number(&format!("select reversed {place}")).await;
            ours.insert(reference, (amount, reversed));
        }
        for deposit in book["deposits"].as_array().expect("a list") {
            let reference = deposit["reference"].as_str().expect("a reference");
            let amount = deposit["amount"].as_i64().expect("an amount");
            match (deposit["standing"].as_str().expect("a standing"), ours.remove(reference)) {
                ("booked", Some((credited, 0))) => assert_eq!(credited, amount, "{deposit}"),
                ("reversed", Some((credited, reversed))) => {
                    assert_eq!((credited, reversed), (amount, amount), "{deposit}")
                }
                ("reversed" | "refused" | "prepared", None) => {}
                (_, ours) => panic!("the network has {deposit}, we have {ours:?}"),
            }
        }
        ours.retain(|reference, _| !reference.starts_with("till-"));
        assert!(ours.is_empty(), "credits that the network knows nothing of: {ours:?}");
        self.atm.end_of_day().await;
        let sql = "select count(*) from file_contents where status = 0";
        let waiting = || async { self.database.hand().await.number(sql).await };
        eventually_for(Duration::from_secs(30), "the file is taken", waiting, |waiting| *waiting == 0).await;
        assert_eq!(hand.number("select count(*) from differences where open = 1").await, 0, "the file agrees");
        let exposed = "select count(*) from partner_references where side = 1 and state = 1 and released = 0
            and reference not like 'till-%'";
        assert_eq!(hand.number(exposed).await, 0, "everything is settled");
    }

    /// What everybody was told stands in the books, once, and nothing else does.
    pub(crate) async fn books_hold_what_was_told(&self) {
        let mut hand = self.database.hand().await;
        let told = self.told.lock().expect("what was told").clone();
        // What was paid at once has one entry; what was held has one of another kind, and one for each capture.
        let entries = hand.number("select count(*) from entries where kind = 3").await;
        assert_eq!(usize::try_from(entries), Ok(told.payments.len()), "entries of payments");
        let voids = hand.number("select count(*) from payments where state = 4").await;
        assert_eq!(usize::try_from(voids), Ok(told.voided.len()), "what was let go");
        let made: BTreeMap<String, i64> =
            told.payments.iter().chain(&told.held).map(|(id, yen)| (id.clone(), *yen)).collect();
        for (table, column, told) in [
            ("payments", "amount", &made),
            ("captures", "amount", &told.captures),
            ("exchanges", "sell_amount", &told.exchanges),
            ("refunds", "amount", &told.refunds),
            ("transfers", "amount", &told.transfers),
        ] {
            let ids = hand.blobs(&format!("select id from {table}")).await;
            let kept: BTreeSet<String> = ids.iter().map(hex::encode).collect();
            let wanted: BTreeSet<String> =
                told.keys().map(|id| id.split('_').nth(1).expect("an id").to_owned()).collect();
            let lost: Vec<_> = wanted.difference(&kept).collect();
            assert!(lost.is_empty(), "acknowledged and lost from {table}: {lost:?}");
            let unknown: Vec<_> = kept.difference(&wanted).collect();
            assert!(unknown.is_empty(), "in {table}, and nobody was told: {unknown:?}");
            assert_eq!(ids.len(), told.len(), "rows of {table}");
            // Sums come back as other types than columns; the ids' own amounts are added here.
            let mut sum = 0;
            for amount in hand.numbers(&format!("select {column} from {table}")).await {
                sum += amount;
            }
            assert_eq!(sum, told.values().sum::<i64>(), "the sum of {table}");
        }
        let all = made.iter().chain(&told.captures).chain(&told.exchanges).chain(&told.refunds).chain(&told.transfers);
        let acknowledged =
            all.map(|(id, amount)| Told { id: id.clone(), amount: Some(*amount), key: told.keys.get(id).cloned() });
        let evidence = Evidence {
            acknowledged: acknowledged.collect(),
            is_complete: true,
            book: Some(self.atm.book().await),
            book_of: "charge-atm".to_owned(),
            ..Evidence::default()
        };
        let report = self.database.audited(evidence).await;
        println!("{report}");
        assert!(report.is_clean(), "{report}");
        let app = TestApp::on(Arc::clone(&self.database), Setup { jobs: false, ..Setup::default() }).await;
        let verdict = verify::verify(&app.app.store).await.expect("it can be read");
        assert!(verdict.difference.is_none(), "{verdict}");
        let page = Page { after: None, limit: 100 };
        let open = FlowFilter { which: Which::Open, plugin: None };
        for flow in flows::list(&app.app, &open, &page).await.expect("the open flows").items {
            assert!(flow.age_ms >= 0 && flow.may_come.minor > 0, "an open flow is listed with age and money: {flow:?}");
        }
        let stuck = FlowFilter { which: Which::Stuck, plugin: None };
        let stuck = flows::list(&app.app, &stuck, &page).await.expect("the stuck flows").items;
        assert!(stuck.is_empty(), "nothing that happened here needs an operator: {stuck:?}");
        app.stop().await;
    }
}

/// Somebody with a wallet.
struct Worker {
    host: String,
    me: (UserId, String),
    others: Vec<UserId>,
    shops: Vec<(MerchantId, String)>,
    atm: Arc<Atm>,
    told: Arc<Mutex<Acknowledged>>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    is_charging: bool,
    dice: Dice,
}

/// How long anybody goes on asking: longer than a host may take to come back.
const PATIENCE: u32 = 2_000;

impl Worker {
    async fn run(mut self) {
        let anonymous = Client::new(self.host.clone());
        let me = User::signed_in(self.me.0, self.me.1.clone(), &anonymous);
        let mut paid: Vec<(String, usize)> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            match self.dice.below(14) {
                _ if self.is_charging => self.charge(&me).await,
                0..=4 => {
                    let shop = usize::try_from(self.dice.below(2)).unwrap_or(0);
                    // Little each time: a thousand kills take a while, and empty wallets prove little.
                    let yen = 1 + i64::try_from(self.dice.below(30)).unwrap_or(0);
                    let body = json!({ "merchant": self.shops[shop].0, "amount": yen, "currency": "JPY" });
                    if let Some(id) = self.until_told(me.client(), "/v1/payments", body).await {
                        self.told.lock().expect("told").payments.insert(id.clone(), yen);
                        paid.push((id, shop));
                    }
                }
                5..=7 => {
                    let yen = 1 + i64::try_from(self.dice.below(20)).unwrap_or(0);
                    let receiver = *self.dice.one_of(&self.others);
                    let body = json!({ "receiver": receiver, "amount": yen, "currency": "JPY" });
                    if let Some(id) = self.until_told(me.client(), "/v1/transfers", body).await {
                        self.told.lock().expect("told").transfers.insert(id, yen);
                    }
                }
                8..=10 => self.hold(&me).await,
                11 => {
                    // Some cents; the rate is the one that the town's operator has set.
                    let cents = 10 + i64::try_from(self.dice.below(10)).unwrap_or(0);
                    let body =
                        json!({ "sell": "JPY", "buy": "USD", "amount": cents, "currency": "USD", "rate": "113.8727" });
                    if let Some(made) = self.until_answered(me.client(), "/v1/exchanges", body).await {
                        let id = made["id"].as_str().expect("an id").to_owned();
                        let yen = made["sell"]["amount"].as_i64().expect("an amount");
                        self.told.lock().expect("told").exchanges.insert(id, yen);
                    }
                }
                _ => {
                    let Some((payment, shop)) = paid.pop() else { continue };
                    let key = anonymous.with_token(self.shops[shop].1.clone());
                    let path = format!("/v1/payments/{payment}/refunds");
                    if let Some(id) = self.until_told(&key, &path, json!({ "amount": 1, "currency": "JPY" })).await {
                        self.told.lock().expect("told").refunds.insert(id, 1);
                    }
                }
            }
            // The published rates allow everybody twenty requests a second, and some more at first.
            tokio::time::sleep(Duration::from_millis(self.dice.below(15))).await;
        }
    }

    /// Has an amount held for a shop, and the shop captures it in parts, lets it go, or leaves it held.
    async fn hold(&mut self, me: &User) {
        let shop = usize::try_from(self.dice.below(2)).unwrap_or(0);
        let yen = 20 + i64::try_from(self.dice.below(30)).unwrap_or(0);
        let body = json!({ "merchant": self.shops[shop].0, "amount": yen, "currency": "JPY", "capture": false });
        let Some(id) = self.until_told(me.client(), "/v1/payments", body).await else { return };
        self.told.lock().expect("told").held.insert(id.clone(), yen);
        let key = Client::new(self.host.clone()).with_token(self.shops[shop].1.clone());
        let captured = match self.dice.below(4) {
            0 => vec![],
            1 => {
                if self.until_answered(&key, &format!("/v1/payments/{id}/void"), json!({})).await.is_some() {
                    self.told.lock().expect("told").voided.insert(id);
                }
                return;
            }
            2 => vec![(8, false)],
            _ => vec![(8, false), (yen - 12, true)],
        };
        for (part, is_last) in captured {
            let body = json!({ "amount": part, "final": is_last });
            if let Some(capture) = self.until_told(&key, &format!("/v1/payments/{id}/captures"), body).await {
                self.told.lock().expect("told").captures.insert(capture, part);
            }
        }
    }

    /// Asks under one key until there is an answer for good: the id of what was made, or nothing if it was refused.
    async fn until_told(&self, client: &Client, path: &str, body: Value) -> Option<String> {
        self.until_answered(client, path, body).await?["id"].as_str().map(str::to_owned)
    }

    /// The same, with all of the answer.
    async fn until_answered(&self, client: &Client, path: &str, body: Value) -> Option<Value> {
        let key = unique("load");
        for _ in 0..PATIENCE {
            let headers = [("idempotency-key", key.as_str())];
            let sent = client.send(hyper::Method::POST, path, &headers, Some(body.to_string().into_bytes())).await;
            match sent {
                Ok(reply) if matches!(reply.status, 200 | 201) => {
                    self.count_replay(&reply);
                    if let (201, Some(id)) = (reply.status, reply.body["id"].as_str()) {
                        let whose = (self.me.0.to_string(), key);
                        self.told.lock().expect("told").keys.insert(id.to_owned(), whose);
                    }
                    return Some(reply.body);
                }
                Ok(reply) if must_come_back(&reply) => {}
                Ok(reply) => {
                    assert!((400..500).contains(&reply.status), "{path}: {} {}", reply.status, reply.body);
                    self.count_replay(&reply);
                    self.told.lock().expect("told").refusals += 1;
                    return None;
                }
                Err(_) => {
                    self.counts.unanswered.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path}: no answer for good after {PATIENCE} tries");
    }

    fn count_replay(&self, reply: &Reply) {
        if reply.header("idempotent-replayed").is_some() {
            self.counts.replays.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A user at the ATM. Whoever is not served in time walks away.
    async fn charge(&mut self, me: &User) {
        let session = Session::open(self.atm.controls()).await;
        let begin = json!({ "channel": "charge-atm", "currency": "JPY" });
        let Some(charge) = self.until_told(me.client(), "/v1/charges", begin).await else { return };
        let answer = json!({ "key": "scan", "values": [{ "name": "session", "value": session.qr }] });
        let path = format!("/v1/charges/{charge}/answers");
        for _ in 0..PATIENCE {
            let sent = me.client().post(&path, answer.clone()).await;
            if sent.is_ok_and(|reply| !must_come_back(&reply)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for _ in 0..40 {
            let seen = me.client().get(&format!("/v1/charges/{charge}")).await;
            if seen.is_ok_and(|reply| shows(&reply.body, COMPANY_NUMBER)) {
                session.type_number(COMPANY_NUMBER).await;
                let yen = 1_000 * (1 + i64::try_from(self.dice.below(5)).unwrap_or(0));
                // The network may have ended the session; then no cash is taken.
                if session.try_deposit(yen).await {
                    self.counts.deposits.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        session.end().await;
    }
}

/// Nothing was decided: the host is busy, stopping, or somebody else asks under the same key.
fn must_come_back(reply: &Reply) -> bool {
    matches!(reply.status, 429 | 500..=599) || reply.code() == "idempotency_key_running"
}
