//! The real host for tests: in this process with everything started, or as the program itself, on a database of its own.

mod atm;
mod bank;
mod budget;
mod callers;
mod channel;
mod cluster;
mod collector;
mod database;
mod disk;
mod line;
mod packages;
mod process;
mod python;
mod sink;
pub(crate) mod told;
mod wait;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use koban_domain::accounts::PluginKey;
use koban_domain::charges::ChargeCredit;
use koban_domain::exchanges::Pair;
use koban_domain::guest::{Named, Value, Verdict};
use koban_domain::ids::{AuditId, FlowId, MerchantId, UserId};
use koban_domain::ledger::{Answer, Audit, Command, Decided, Work};
use koban_domain::limits::{Action, Limit, WalletKind, Window};
use koban_domain::money::{Currency, Money};
use koban_domain::policy::FailurePolicy;
use koban_domain::records::Digest;
use koban_outside::{Outside, Settings};
use koban_runtime::Door;
use koban_service::clock::Clock;
use koban_service::jobs::{self, Jobs};
use koban_service::keys::{NewKey, Scope};
use koban_service::merchants::NewMerchant;
use koban_service::plugins::{EndpointInput, ExposureView, Install};
use koban_service::sealing::Sealer;
use koban_service::users::SignUp;
use koban_service::{App, Ctx, exchanges, keys, merchants, operators, plugins, policy, users, verify};
use koban_store::Store;
use koban_store::plugins::Allowance;
use koban_web::{Rates, Web, WebConfig};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

pub(crate) use atm::{Atm, SECRET as ATM_SECRET, Session, answer, say, shows};
pub(crate) use bank::{BANK_FEE, Bank, payee, seed_bank};
pub(crate) use budget::BudgetApp;
pub(crate) use callers::{Caller, Made, Operator, Outcome, Request, Shop, User, minor};
pub(crate) use channel::{Channel, Expecting, sign};
pub(crate) use cluster::{Cluster, Stop};
pub(crate) use collector::{Collector, bar_code, seed_collector};
pub(crate) use database::{Database, Folder, Hand, Kind, postgres_server};
pub(crate) use disk::{Disk, Ill};
pub(crate) use line::{Cut, Line};
pub(crate) use packages::{compiled, door, drifting_door, package, package_as, packages, replayer};
pub(crate) use process::{HostProcess, koban, koban_in, program};
pub(crate) use python::programs;
pub(crate) use sink::Sink;
pub(crate) use wait::{Stopwatch, eventually, eventually_for};

/// The password of everybody in tests.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// The name under which money simply comes, where a test is not about how: two numbers in the books and no plugin behind them.
pub(crate) const TILL: &str = "till";
/// The company number of the platform in tests.
pub(crate) const COMPANY_NUMBER: &str = "8391";

/// The root of the clone.
pub(crate) fn root() -> PathBuf {
    let host = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    host.parent().expect("the package `host` lies in a folder of the root").to_owned()
}

/// A host in this process: real store, real door, real way out, real server, jobs running.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) database: Arc<Database>,
    address: SocketAddr,
    serving: Option<(oneshot::Sender<()>, JoinHandle<koban_web::Drained>)>,
    jobs: Option<Jobs>,
    has_till: tokio::sync::OnceCell<()>,
}

/// How a [`TestApp`] is put together.
pub(crate) struct Setup {
    /// The clock of the host.
    pub(crate) clock: Clock,
    /// The HTTP side.
    pub(crate) web: WebConfig,
    /// Whether flows are driven, effects done and files taken.
    pub(crate) jobs: bool,
    /// The keys that seal.
    pub(crate) sealer: Sealer,
    /// The door, if it is not the one that all tests share.
    pub(crate) door: Option<Door>,
}

impl Default for Setup {
    fn default() -> Setup {
        let web = WebConfig { rates: Rates::UNREACHED, notice: Duration::ZERO, ..WebConfig::default() };
        Setup { clock: Clock::machine(), web, jobs: true, sealer: sealer(), door: None }
    }
}

impl TestApp {
    /// A host on a fresh database of the store of this run. Payments are allowed while no fraud rule is installed.
    pub(crate) async fn start() -> TestApp {
        TestApp::start_with(Setup::default()).await
    }

    /// The same, put together otherwise.
    pub(crate) async fn start_with(setup: Setup) -> TestApp {
        let app = TestApp::on(Arc::new(Database::fresh().await), setup).await;
        app.fraud_policy(Verdict::Decline, Verdict::Allow).await;
        app
    }

    /// A host on a database that is there.
    pub(crate) async fn on(database: Arc<Database>, setup: Setup) -> TestApp {
        let store = database.store().await;
        TestApp::over(database, store, setup).await
    }

    async fn over(database: Arc<Database>, store: Store, setup: Setup) -> TestApp {
        let directories = Some(database.partner_files());
        let outside = Outside::new(Settings { directories, ..Settings::default() }).expect("the way out opens");
        let door = setup.door.unwrap_or_else(door);
        let app = App::start(store, door, outside, setup.clock, setup.sealer).await.expect("the host starts");
        let jobs = if setup.jobs { Some(jobs::start(&app)) } else { None };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        told::serves(&address.to_string(), database.url());
        let (stop, stopped) = oneshot::channel();
        let web = Web::new(app.clone(), setup.web);
        let serving = tokio::spawn(koban_web::serve(listener, web, async {
            let _ = stopped.await;
        }));
        TestApp { app, database, address, serving: Some((stop, serving)), jobs, has_till: tokio::sync::OnceCell::new() }
    }

    /// Stops the host as `koban serve` does, and gives back its database.
    pub(crate) async fn stop(mut self) -> Arc<Database> {
        let database = Arc::clone(&self.database);
        if let Some((stop, serving)) = self.serving.take() {
            let _ = stop.send(());
            let _ = serving.await;
        }
        if let Some(jobs) = self.jobs.take() {
            jobs.stop().await;
        }
        self.app.store.close().await;
        database
    }

    /// The circumstances of the operator at the command line, under a key of its own.
    pub(crate) fn operator_ctx(&self) -> Ctx {
        operators::command_line(unique("op"))
    }

    /// Where the host listens, as `host:port`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The same as a base address.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A caller without identity.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self.address())
    }

    /// A signed-up and signed-in user with an empty prepaid wallet.
    pub(crate) async fn user(&self) -> User {
        User::sign_up(&self.anonymous()).await
    }

    /// A user whose prepaid wallet holds so many yen.
    pub(crate) async fn user_holding(&self, yen: i64) -> User {
        let user = self.user().await;
        self.bring(user.id, yen).await;
        user
    }

    /// A verified user who holds so many yen of funds.
    pub(crate) async fn verified_user_holding(&self, yen: i64) -> User {
        let user = self.user().await;
        self.verify(&user).await;
        if yen > 0 {
            self.bring(user.id, yen).await;
        }
        user
    }

    /// An operator says that the user is who they say.
    pub(crate) async fn verify(&self, user: &User) {
        users::verify(&self.app, &self.operator_ctx(), user.id).await.expect("the user is verified");
    }

    /// A merchant with an API key of every scope.
    pub(crate) async fn shop(&self) -> Shop {
        self.shop_of_category("5812").await
    }

    /// A merchant of this category.
    pub(crate) async fn shop_of_category(&self, category: &str) -> Shop {
        let (merchant, secret) = seed_shop(&self.app, category).await;
        Shop::new(merchant, secret, &self.anonymous())
    }

    /// A signed-in operator.
    pub(crate) async fn operator(&self) -> Operator {
        let email = seed_operator(&self.app).await;
        Operator::sign_in(&self.anonymous(), &email).await
    }

    /// Brings money into a wallet by the ledger's own command, through a plugin with wide limits.
    pub(crate) async fn bring(&self, user: UserId, yen: i64) {
        self.has_till.get_or_init(|| seed_till(&self.app)).await;
        seed_money(&self.app, user, yen).await;
    }

    /// What payments get when a rule faults, and when there is none.
    pub(crate) async fn fraud_policy(&self, on_fault: Verdict, on_missing: Verdict) {
        let wanted = FailurePolicy { on_fault, on_missing };
        policy::set(&self.app, &self.operator_ctx(), wanted).await.expect("the policy is set");
    }

    /// Installs fraud-rules with these settings, and declines while no verdict comes.
    pub(crate) async fn with_fraud_rules(self, settings: &[Named]) -> TestApp {
        self.install("fraud-rules", settings, None).await;
        self.fraud_policy(Verdict::Decline, Verdict::Decline).await;
        self
    }

    /// Installs a package; `caps` are its exposure cap and loss budget.
    pub(crate) async fn install(&self, id: &str, settings: &[Named], caps: Option<(i64, i64)>) -> Digest {
        seed_plugin(&self.app, id, settings, caps).await
    }

    /// Opens an ATM network beside the host and installs charge-atm for it.
    pub(crate) async fn atm(&self) -> Atm {
        self.atm_with(&[], (1_000_000, 100_000)).await
    }

    /// The same with more settings and other caps.
    pub(crate) async fn atm_with(&self, settings: &[Named], caps: (i64, i64)) -> Atm {
        let atm = Atm::start(&self.base()).await;
        let before = "select count(*) from partner_references where flow is not null";
        let before = self.database.hand().await.number(before).await > 0;
        told::works_with(&self.address(), atm.controls().address(), before);
        seed_atm(&self.app, &atm, settings, caps).await;
        atm
    }

    /// Installs the hostile channel with this attack; its partner is played by the test.
    pub(crate) async fn hostile_channel(&self, attack: &str, caps: (i64, i64)) -> Channel {
        Channel::install(self, attack, caps).await
    }

    /// Says that from here on the network's book and ours differ for good, so that they are not compared.
    pub(crate) fn books_part(&self) {
        told::another_speaks(&self.address());
    }

    /// Offers dollars up to this position, and exchanges them at 113.8727 and 111.6177 yen.
    pub(crate) async fn offer_dollars(&self, most_cents: i64) {
        let (ctx, usd) = (self.operator_ctx(), Currency::new("USD").expect("a currency"));
        limit_dollars(&self.app, &ctx).await;
        exchanges::put_currency(&self.app, &ctx, usd, most_cents).await.expect("dollars are offered");
        let pair = Pair { base: usd, quote: Currency::JPY };
        let set = exchanges::put_reference(&self.app, &ctx, pair, "112.745181285556", "0.01");
        set.await.expect("the reference is set");
    }

    /// What a plugin may still cost.
    pub(crate) async fn exposure(&self, plugin: &str) -> ExposureView {
        let view = plugins::get(&self.app, plugin).await.expect("the plugin");
        view.exposure.expect("a plugin that touches money")
    }

    /// How many entries the journal has.
    pub(crate) async fn entries(&self) -> i64 {
        self.database.hand().await.number("select count(*) from entries").await
    }

    /// The journal, everything beside it and everything that is known outside agree: so say `ledger verify` and, by itself, the auditor.
    /// And every call of a guest ends again as its record says.
    pub(crate) async fn ledger_is_clean(&self) {
        let verdict = verify::verify(&self.app.store).await.expect("the ledger can be read");
        assert!(verdict.difference.is_none(), "{verdict}");
        self.database.holds().await;
        database::calls_end_as_recorded(&self.app.store).await;
    }
}

/// The seal key of hosts in tests, as text: one for all, as several hosts of one database share it.
pub(crate) fn seal_key() -> &'static str {
    static KEY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    KEY.get_or_init(|| Sealer::new_key().to_string())
}

/// The same in use.
pub(crate) fn sealer() -> Sealer {
    Sealer::of(seal_key()).expect("a key")
}

/// A name that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 4];
    koban_service::clock::fill(&mut random);
    format!("{prefix}-{}-{}", COUNT.fetch_add(1, Ordering::Relaxed), hex::encode(random))
}

/// A text setting.
pub(crate) fn text(name: &str, value: &str) -> Named {
    Named { name: name.to_owned(), value: Value::Text(value.to_owned()) }
}

/// A whole number as a setting.
pub(crate) fn whole(name: &str, value: i64) -> Named {
    Named { name: name.to_owned(), value: Value::Whole(value) }
}

/// An amount of yen as a setting.
pub(crate) fn yen(name: &str, value: i64) -> Named {
    Named { name: name.to_owned(), value: Value::Amount(Money::yen(value)) }
}

/// Makes a user in the database and answers who, and a session's token.
pub(crate) async fn seed_user(app: &App, is_verified: bool) -> (UserId, String) {
    let email = format!("{}@example.com", unique("user"));
    let sign_up = SignUp { email: email.clone(), password: PASSWORD.into(), name: "Hana".into(), locale: "en".into() };
    let user = users::sign_up(app, sign_up).await.expect("the user signs up").id;
    if is_verified {
        users::verify(app, &operators::command_line(unique("verify")), user).await.expect("the user is verified");
    }
    let signed_in = users::sign_in(app, &email, PASSWORD.into()).await.expect("the user signs in");
    (user, signed_in.token)
}

/// Makes a merchant and answers who, and an API key of every scope.
pub(crate) async fn seed_shop(app: &App, category: &str) -> (MerchantId, String) {
    let ctx = operators::command_line(unique("shop"));
    let input = NewMerchant { name: "Corner shop".into(), category: category.into() };
    let merchant = merchants::create(app, &ctx, input).await.expect("a merchant");
    let key = NewKey { name: "till".into(), scopes: Scope::ALL.into_iter().collect() };
    let (_, secret) = keys::create(app, &ctx, merchant.id, key).await.expect("a key");
    (merchant.id, secret)
}

/// Makes an operator and answers their email.
pub(crate) async fn seed_operator(app: &App) -> String {
    let email = format!("{}@example.com", unique("operator"));
    let ctx = operators::command_line(unique("operator"));
    operators::create(app, &ctx, &email, "Oto", PASSWORD.into()).await.expect("an operator");
    email
}

/// Lets money simply come.
pub(crate) async fn seed_till(app: &App) {
    let audit = Audit {
        id: AuditId(app.clock.id()),
        actor: "system".into(),
        act: "plugin.caps".into(),
        subject: TILL.into(),
        detail: "{}".into(),
    };
    let wide = [Allowance { currency: Currency::JPY, cap: 100_000_000_000, loss_budget: 0 }];
    let set = koban_store::plugins::set_allowances(&app.store, PluginKey::of(TILL), &wide, &audit, app.clock.now());
    set.await.expect("the numbers are set");
}

/// Limits of a wallet in dollars that no test comes near: a currency is limited before it is offered.
pub(crate) async fn limit_dollars(app: &App, ctx: &Ctx) {
    let amount = Money::new(1_000_000_000_000, Currency::new("USD").expect("a currency"));
    for (action, window) in [(Action::Hold, Window::Once), (Action::Send, Window::Day)] {
        let limit = Limit { wallet: WalletKind::Funds, action, window, amount, from: app.clock.now() };
        koban_service::limits::put(app, ctx, limit).await.expect("the limit is set");
    }
}

/// Brings money into a wallet, at most what it may hold.
pub(crate) async fn seed_money(app: &App, user: UserId, yen: i64) {
    let mut work = Work::new(app.clock.id(), "system");
    work.commands = vec![Command::Credit(ChargeCredit {
        plugin: PluginKey::of(TILL),
        flow: FlowId(app.clock.id()),
        user,
        amount: Money::yen(yen),
        reference: unique("till"),
        arrived: false,
    })];
    match app.ledger.commit(work).await.expect("the ledger answers") {
        Decided::Done(answers) => assert!(matches!(answers[..], [Answer::Credited(_)]), "{answers:?}"),
        other => panic!("the money did not come: {other:?}"),
    }
}

/// Installs a package and answers the digest of its component.
pub(crate) async fn seed_plugin(app: &App, id: &str, settings: &[Named], caps: Option<(i64, i64)>) -> Digest {
    let package = package(id);
    let install = Install {
        component: package.component,
        manifest: package.manifest,
        settings: settings.to_vec(),
        exposure_cap: caps.map(|(cap, _)| cap),
        loss_budget: caps.map(|(_, budget)| budget),
    };
    let ctx = operators::command_line(unique("install"));
    plugins::install(app, &ctx, install).await.unwrap_or_else(|error| panic!("{id} is not installed: {error}")).digest
}

/// Installs charge-atm for this network.
pub(crate) async fn seed_atm(app: &App, atm: &Atm, settings: &[Named], caps: (i64, i64)) {
    let number = Named { name: "company_number".into(), value: Value::Text(COMPANY_NUMBER.into()) };
    let settings: Vec<Named> = std::iter::once(number).chain(settings.iter().cloned()).collect();
    seed_plugin(app, "charge-atm", &settings, Some(caps)).await;
    let endpoint = EndpointInput {
        name: "network".into(),
        base: atm.base(),
        secrets: vec![atm::SECRET.into()],
        allow_private: true,
        ..EndpointInput::default()
    };
    let ctx = operators::command_line(unique("endpoint"));
    plugins::set_endpoint(app, &ctx, "charge-atm", endpoint).await.expect("the endpoint is set");
}
