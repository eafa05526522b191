//! A fresh database for each test, and short words for what tests need in it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use koban_domain::accounts::PluginKey;
use koban_domain::charges::ChargeCredit;
use koban_domain::flows::{Arrival, Authorisation, Flow, QueuedEffect, StepCommit};
use koban_domain::guest::{Act, What};
use koban_domain::ids::{AuditId, FlowId, MerchantId, PaymentId, UserId};
use koban_domain::ledger::{Answer, Audit, Command, Commit, Decided, Work};
use koban_domain::limits::WalletKind;
use koban_domain::manifest::{Beginning, Manifest, Repeat};
use koban_domain::money::{Currency, Money};
use koban_domain::payments::{Pay, Payment, Terms};
use koban_domain::records::Digest;
use koban_domain::releases::{Enablement, Scope, State};
use koban_domain::time::Timestamp;
use koban_domain::touched::Touched;
use koban_store::merchants::MerchantRow;
use koban_store::plugins::{Allowance, ComponentRow, PluginRow};
use koban_store::releases::{self, Change, PluginChange, ReleaseRow};
use koban_store::users::UserRow;
use koban_store::{Config, Store};
use sqlx::Connection as _;
use uuid::Uuid;

/// 2018-09-25T03:00:00Z: noon in Japan.
pub(crate) const NOON: Timestamp = Timestamp(1_537_844_400_000);
pub(crate) const SECOND: i64 = 1_000;
pub(crate) const PLUGIN: &str = "charge-atm";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// Runs a test on a fresh SQLite file, and on a fresh PostgreSQL database where a server is named.
pub(crate) async fn on_each(test: impl AsyncFn(&Database)) {
    let name = format!("koban_rows_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(&name);
    std::fs::create_dir_all(&folder).unwrap();
    run(&format!("sqlite:{}", folder.join("koban.db").display()), &test).await;
    std::fs::remove_dir_all(&folder).unwrap();

    let Ok(server) = std::env::var("KOBAN_TEST_POSTGRES") else { return };
    let mut admin = sqlx::PgConnection::connect(&server).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    sqlx::query(create).execute(&mut admin).await.unwrap();
    let (address, _) = server.rsplit_once('/').expect("KOBAN_TEST_POSTGRES ends with /database");
    run(&format!("{address}/{name}"), &test).await;
    let drop = sqlx::AssertSqlSafe(format!("drop database {name} with (force)"));
    sqlx::query(drop).execute(&mut admin).await.unwrap();
}

async fn run(url: &str, test: &impl AsyncFn(&Database)) {
    let store = Store::open(&Config::new(url)).await.unwrap();
    store.migrate().await.unwrap();
    let database = Database { store, url: url.to_owned() };
    test(&database).await;
    database.store.close().await;
}

/// A store under test. It stands for the store wherever one is asked for.
pub(crate) struct Database {
    pub(crate) store: Store,
    url: String,
}

impl Deref for Database {
    type Target = Store;
    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Database {
    /// Changes rows behind the store's back, as a failing disk or a forger would.
    pub(crate) async fn meddle(&self, sql: &'static str) {
        if self.url.starts_with("sqlite:") {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        } else {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
    }
}

pub(crate) fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(crate) fn yen(amount: i64) -> Money {
    Money::yen(amount)
}

pub(crate) fn audit(number: u128, act: &str) -> Audit {
    Audit {
        id: AuditId(uuid(number)),
        actor: "operator:opr_1".into(),
        act: act.into(),
        subject: "subject".into(),
        detail: "{}".into(),
    }
}

pub(crate) fn user_row(number: u128) -> UserRow {
    UserRow {
        id: UserId(uuid(number)),
        kind: WalletKind::Funds,
        access: koban_domain::access::Access::Open,
        verification: koban_domain::verification::Verification::of(WalletKind::Funds),
        created_at: NOON,
        display_name: format!("User {number}"),
        email: Some(format!("user{number}@example.com")),
        password_hash: Some("$argon2id$".into()),
        locale: "ja".into(),
    }
}

pub(crate) fn merchant_row(number: u128) -> MerchantRow {
    MerchantRow {
        id: MerchantId(uuid(number)),
        access: koban_domain::access::Access::Open,
        name: format!("Shop {number}"),
        category: "5411".into(),
        currencies: vec![Currency::JPY, Currency::new("USD").unwrap()],
        created_at: NOON,
    }
}

pub(crate) async fn user(store: &Store, number: u128) -> UserId {
    let row = user_row(number);
    koban_store::users::create(store, &row).await.unwrap();
    row.id
}

pub(crate) async fn merchant(store: &Store, number: u128) -> MerchantId {
    let row = merchant_row(number);
    koban_store::merchants::create(store, &row, &audit(number, "merchant.create")).await.unwrap();
    row.id
}

pub(crate) fn manifest() -> Manifest {
    serde_json::from_value(serde_json::json!({
        "id": PLUGIN,
        "version": "1.0.0",
        "contract": "koban:plugin@0.1.0",
        "kind": "charge-channel",
        "name": { "ja": "ATM", "en": "ATM" },
        "purpose": { "ja": "チャージ", "en": "Charging" },
    }))
    .unwrap()
}

pub(crate) fn plugin_row(component: &[u8]) -> PluginRow {
    PluginRow {
        digest: Digest::of(component),
        manifest: manifest(),
        settings: Digest::default(),
        state: State::Enabled,
        scope: "platform".into(),
        installed_at: NOON,
        changed_at: NOON,
    }
}

/// Installs the charge channel with plenty of exposure.
pub(crate) async fn plugin(store: &Store) -> PluginKey {
    let component = ComponentRow { bytes: b"component".to_vec(), manifest: manifest(), at: NOON };
    koban_store::plugins::put_component(store, &component).await.unwrap();
    let allowances = [Allowance { currency: Currency::JPY, cap: 1_000_000_000, loss_budget: 1_000_000 }];
    install(store, &plugin_row(b"component"), &allowances, 900_000, NOON).await;
    PluginKey::of(PLUGIN)
}

/// Enables a plugin's component for the platform, in place of whatever was.
pub(crate) async fn install(store: &Store, row: &PluginRow, allowances: &[Allowance], number: u128, now: Timestamp) {
    let enabled = Enablement {
        scope: Scope::Platform,
        digest: row.digest,
        state: row.state,
        share: 0,
        settings: row.settings,
        consent: Digest::default(),
        replaced: None,
    };
    let release = ReleaseRow {
        digest: row.digest,
        manifest: row.manifest.clone(),
        state: State::Installed,
        publisher: None,
        package: None,
        signature: None,
        documents: Vec::new(),
        settings: Some(row.settings),
        consent: None,
        at: now,
        changed_at: now,
    };
    let change = Change {
        under: store.policy().await.unwrap().generation,
        plugins: vec![PluginChange { row: row.clone(), enablements: vec![enabled] }],
        releases: vec![release],
        allowances: vec![(PluginKey::of(&row.manifest.id), allowances.to_vec())],
        audits: vec![audit(number, "plugin.install")],
        ..Change::default()
    };
    assert!(releases::write(store, &change, now).await.unwrap().is_some());
}

/// Commits this work as one batch; each unit must be done.
pub(crate) async fn commit(store: &Store, batch: &[Work], now: Timestamp) -> Vec<Vec<Answer>> {
    let mut writer = store.ledger().await.unwrap();
    let mut tx = writer.begin().await.unwrap();
    let policy = Arc::new(tx.policy().await.unwrap());
    let books = tx.load(&Touched::by(batch, now), policy).await.unwrap();
    let mut commit = Commit::new(tx.head(), books, now);
    let decided: Vec<Decided> = batch.iter().map(|work| commit.decide(work)).collect();
    tx.write(&commit).await.unwrap();
    tx.commit().await.unwrap();
    decided
        .into_iter()
        .map(|decided| match decided {
            Decided::Done(answers) => answers,
            other => panic!("not done: {other:?}"),
        })
        .collect()
}

pub(crate) fn work(number: u128, commands: Vec<Command>) -> Work {
    Work { commands, ..Work::new(uuid(number << 8), "system") }
}

/// A wallet gets this much under a reference of its own.
pub(crate) fn credit(number: u128, user: UserId, amount: i64) -> Work {
    let credit = ChargeCredit {
        plugin: PluginKey::of(PLUGIN),
        flow: FlowId(uuid(number)),
        user,
        amount: yen(amount),
        reference: format!("atm-{number}"),
        arrived: false,
    };
    work(number, vec![Command::Credit(credit)])
}

pub(crate) fn pay(number: u128, payer: UserId, merchant: MerchantId, amount: i64) -> Work {
    let pay = Pay {
        payment: PaymentId(uuid(number)),
        payer,
        merchant,
        amount: yen(amount),
        reference: Some(format!("order-{number}")),
        decision: None,
        terms: Terms::AtOnce,
        review: false,
    };
    work(number, vec![Command::Pay(pay)])
}

pub(crate) fn paid(answers: &[Answer]) -> Payment {
    match answers {
        [Answer::Paid(payment)] => payment.clone(),
        other => panic!("no payment: {other:?}"),
    }
}

pub(crate) fn flow_of(number: u128, user: UserId, plugin: &str) -> Flow {
    let authorisation = Authorisation { user, at_most: yen(50_000), expires_at: NOON.plus_ms(3_600_000) };
    Flow::open(
        FlowId(uuid(number)),
        plugin,
        (Digest::of(b"component"), Digest::of(b"settings")),
        Beginning::Charge,
        authorisation,
        "ja",
        NOON,
    )
}

/// The step that opens a flow.
pub(crate) fn opening(flow: &Flow) -> StepCommit {
    StepCommit {
        flow: Flow { version: 1, ..flow.clone() },
        expected: None,
        consumed: vec![],
        queued: vec![],
        cancelled: vec![],
        arrivals: vec![],
        replies: vec![],
    }
}

/// A step of a flow that stands at its version.
pub(crate) fn step_of(flow: &Flow) -> StepCommit {
    StepCommit {
        flow: Flow { version: flow.version + 1, ..flow.clone() },
        expected: Some(flow.version),
        ..opening(flow)
    }
}

pub(crate) async fn take(store: &Store, number: u128, step: StepCommit) -> Flow {
    let flow = step.flow.clone();
    let work = Work { step: Some(Box::new(step)), ..work(number, vec![]) };
    Box::pin(commit(store, &[work], NOON)).await;
    flow
}

/// Opens a flow with effects of these names, due one second apart from noon on.
pub(crate) async fn open_with_effects(store: &Store, number: u128, keys: &[&str]) -> Flow {
    let flow = flow_of(number, UserId(uuid(1)), PLUGIN);
    let queued = (0..)
        .zip(keys)
        .map(|(place, key)| QueuedEffect {
            key: (*key).to_owned(),
            act: Act::Timer(7),
            due_at: NOON.plus_ms(place * SECOND),
            repeat: Repeat::Never,
            deadline: NOON.plus_ms(60 * SECOND),
        })
        .collect();
    Box::pin(take(store, number, StepCommit { queued, ..opening(&flow) })).await
}

pub(crate) fn arrival(flow: FlowId, key: &str) -> Arrival {
    Arrival { flow, key: key.into(), what: What::Rang, call: None, at: NOON }
}
