//! A host with one channel installed, one user and one partner. The clock stands until a test moves it.

use std::path::Path;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use koban_domain::guest::{Event, Lost, Named, Standing, What};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::limits::WalletKind;
use koban_domain::manifest::Manifest;
use koban_domain::money::Money;
use koban_domain::records::Input;
use koban_domain::time::Timestamp;
use koban_outside::{Outside, Settings};
use koban_runtime::{Door, DoorConfig};
use koban_service::charges::{self, ChargeInput, ChargeView};
use koban_service::clock::Clock;
use koban_service::flows::{self, InboundReply, InboundRequest};
use koban_service::jobs::{self, Jobs};
use koban_service::operators::command_line;
use koban_service::plugins::{self, EndpointInput, Install};
use koban_service::{Actor, App, Ctx, Error, wallets};
use koban_store::users::UserRow;
use koban_store::{Config, Store};
use tempfile::TempDir;

use crate::partner::{Partner, SECRET, keys};

/// 2026-04-01 12:00 in Japan.
pub(crate) const NOON: Timestamp = Timestamp(1_775_012_400_000);

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) clock: Clock,
    pub(crate) partner: Partner,
    pub(crate) user: UserId,
    pub(crate) plugin: &'static str,
    endpoint: &'static str,
    pub(crate) jobs: Option<Jobs>,
    pub(crate) place: TempDir,
}

impl House {
    /// A host with the ATM channel.
    pub(crate) async fn with_atm() -> House {
        House::with_changed_atm(|_| ()).await
    }

    /// A host with the ATM channel under a manifest that differs so.
    pub(crate) async fn with_changed_atm(change: impl FnOnce(&mut Manifest)) -> House {
        House::with("charge-atm", "network", vec![Named::text("company_number", "4321")], change).await
    }

    /// The same, and whether its partner is set.
    pub(crate) async fn with_changed_atm_set(change: impl FnOnce(&mut Manifest), set: bool) -> House {
        let settings = vec![Named::text("company_number", "4321")];
        House::with_set("charge-atm", "network", settings, change, set).await
    }

    /// A host with the channel whose partner works in batches, in this mood.
    pub(crate) async fn with_batches(mood: &str) -> House {
        House::with_set("batch-channel", "", vec![Named::text("mood", mood)], |_| (), false).await
    }

    /// The same in a good mood, under a manifest that differs so.
    pub(crate) async fn with_changed_batches(change: impl FnOnce(&mut Manifest)) -> House {
        House::with_set("batch-channel", "", vec![Named::text("mood", "good")], change, false).await
    }

    /// How often a flow was told that its record's file is sealed.
    pub(crate) async fn sealed_events(&self, flow: FlowId) -> usize {
        let events = koban_store::flows::events(&self.app.store, flow, 0, 1_000).await.unwrap();
        events.iter().filter(|event| matches!(event.what, What::Sealed(_))).count()
    }

    /// A host with the channel that attacks in this way.
    pub(crate) async fn with_attacker(attack: &str) -> House {
        House::with_changed_attacker(attack, |_| ()).await
    }

    /// The same under a manifest that differs so.
    pub(crate) async fn with_changed_attacker(attack: &str, change: impl FnOnce(&mut Manifest)) -> House {
        House::with("hostile-channel", "partner", vec![Named::text("attack", attack)], change).await
    }

    async fn with(
        plugin: &'static str,
        endpoint: &'static str,
        settings: Vec<Named>,
        change: impl FnOnce(&mut Manifest),
    ) -> House {
        House::with_set(plugin, endpoint, settings, change, true).await
    }

    async fn with_set(
        plugin: &'static str,
        endpoint: &'static str,
        settings: Vec<Named>,
        change: impl FnOnce(&mut Manifest),
        set: bool,
    ) -> House {
        let place = tempfile::tempdir().unwrap();
        let clock = Clock::standing_at(NOON);
        let partner = Partner::listen(clock.clone()).await;
        let app = host(place.path(), &clock).await;
        let (component, mut manifest) = package(plugin);
        change(&mut manifest);
        let install = Install { component, manifest, settings, exposure_cap: Some(100_000), loss_budget: Some(10_000) };
        plugins::install(&app, &command_line("install"), install).await.unwrap();
        let user = UserId(clock.id());
        let row = UserRow {
            id: user,
            kind: WalletKind::Prepaid,
            access: koban_domain::access::Access::Open,
            verification: koban_domain::verification::Verification::of(WalletKind::Prepaid),
            created_at: NOON,
            display_name: "花".to_owned(),
            email: None,
            password_hash: None,
            locale: "en".to_owned(),
        };
        koban_store::users::create(&app.store, &row).await.unwrap();
        let jobs = Some(jobs::start(&app));
        let house = House { app, clock, partner, user, plugin, endpoint, jobs, place };
        if set {
            house.partner_is_at(house.partner.base.clone()).await;
        }
        house
    }

    /// The operator says where the partner is, on this machine.
    pub(crate) async fn partner_is_at(&self, base: String) {
        self.partner_is(base, true).await;
    }

    pub(crate) async fn partner_is(&self, base: String, allow_private: bool) {
        let (name, secrets) = (self.endpoint.to_owned(), vec![SECRET.to_owned()]);
        let input = EndpointInput { name, base, secrets, allow_private, ..EndpointInput::default() };
        plugins::set_endpoint(&self.app, &command_line("endpoint"), self.plugin, input).await.unwrap();
    }

    /// Ends the host as a stop does, and starts another one over the same rows.
    pub(crate) async fn restart(&mut self) {
        self.stop_jobs().await;
        self.app = host(self.place.path(), &self.clock).await;
        self.jobs = Some(jobs::start(&self.app));
    }

    /// A second host over the same rows, its jobs not started.
    pub(crate) async fn another_host(&self) -> App {
        host(self.place.path(), &self.clock).await
    }

    pub(crate) async fn stop_jobs(&mut self) {
        if let Some(jobs) = self.jobs.take() {
            jobs.stop().await;
        }
    }

    pub(crate) fn ctx(&self, key: &str) -> Ctx {
        Ctx { locale: "en".to_owned(), ..Ctx::new(Actor::User(self.user), key) }
    }

    pub(crate) fn input(&self, yen: i64) -> ChargeInput {
        ChargeInput { channel: self.plugin.to_owned(), amount: None, at_most: Some(Money::yen(yen)) }
    }

    pub(crate) async fn begin(&self, yen: i64) -> ChargeView {
        let key = self.clock.id().to_string();
        charges::begin(&self.app, &self.ctx(&key), self.input(yen)).await.unwrap().value
    }

    /// A charge of at most so many yen whose user has scanned this ATM session, or given the attacker this correlation.
    pub(crate) async fn begun(&self, yen: i64, session: &str) -> FlowId {
        let charge = self.begin(yen).await;
        let (key, field) = match self.plugin {
            "charge-atm" => ("scan", "session"),
            _ => ("start", "correlation"),
        };
        self.fill_in(charge.id, key, field, session).await.unwrap();
        charge.id
    }

    pub(crate) async fn fill_in(&self, id: FlowId, key: &str, field: &str, text: &str) -> Result<ChargeView, Error> {
        charges::answer(&self.app, &self.ctx(""), id, key, vec![Named::text(field, text)]).await
    }

    pub(crate) async fn charge(&self, id: FlowId) -> ChargeView {
        charges::get(&self.app, &self.ctx(""), id).await.unwrap()
    }

    pub(crate) async fn balance(&self) -> i64 {
        wallets::balances(&self.app, self.user).await.unwrap().prepaid.minor
    }

    pub(crate) async fn exposure(&self) -> i64 {
        plugins::get(&self.app, self.plugin).await.unwrap().exposure.unwrap().used.minor
    }

    /// How effects were lost, as the plugin was told, newest first.
    pub(crate) async fn lost(&self) -> Vec<Lost> {
        let records = koban_store::records::list(&self.app.store, Some(self.plugin), None, 100).await.unwrap().records;
        let inputs = records.into_iter().map(|(_, kept)| kept.record().unwrap().input);
        let lost = inputs.filter_map(|input| match input {
            Input::Resume(_, Event { what: What::Lost(how, _), .. }, _) => Some(how),
            _ => None,
        });
        lost.collect()
    }

    /// Waits until the charge stands so.
    pub(crate) async fn until(&self, id: FlowId, standing: Standing) {
        self.until_true(format!("the charge stands at {standing:?}"), async || {
            self.charge(id).await.standing == standing
        })
        .await;
    }

    /// Waits until the flow needs an operator, and says why.
    pub(crate) async fn until_stuck(&self, id: FlowId) -> String {
        let stuck = async || flows::get(&self.app, id).await.unwrap().summary.stuck;
        self.until_true("the flow is stuck".to_owned(), async || stuck().await.is_some()).await;
        stuck().await.unwrap()
    }

    pub(crate) async fn until_true(&self, what: String, mut is: impl AsyncFnMut() -> bool) {
        for _ in 0..200 {
            if is().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not within 10 s: {what}");
    }

    /// The partner calls, signed.
    pub(crate) async fn calls(&self, operation: &str, body: &serde_json::Value) -> Result<InboundReply, Error> {
        self.calls_with(operation, body.to_string().as_bytes(), "msg_1").await
    }

    pub(crate) async fn calls_with(&self, operation: &str, body: &[u8], id: &str) -> Result<InboundReply, Error> {
        self.call(&self.app, operation, body, id).await
    }

    /// The partner calls another host.
    pub(crate) async fn calls_at(
        &self,
        host: &App,
        operation: &str,
        body: &serde_json::Value,
    ) -> Result<InboundReply, Error> {
        self.call(host, operation, body.to_string().as_bytes(), "msg_1").await
    }

    async fn call(&self, host: &App, operation: &str, body: &[u8], id: &str) -> Result<InboundReply, Error> {
        let body = &meant(operation, body);
        let signature = koban_outside::sign_answer(id, body, &keys(), self.clock.now());
        let headers = signature.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        flows::receive(host, self.request(operation, headers, body)).await
    }

    pub(crate) fn request(&self, operation: &str, headers: Vec<(String, String)>, body: &[u8]) -> InboundRequest {
        InboundRequest {
            plugin: self.plugin.to_owned(),
            operation: operation.to_owned(),
            path: String::new(),
            query: Vec::new(),
            raw_query: String::new(),
            headers,
            body: body.to_vec(),
        }
    }
}

/// The body as its partner signs it for this operation: it says which one is meant.
pub(crate) fn meant(operation: &str, body: &[u8]) -> Vec<u8> {
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(serde_json::Value::Object(mut fields)) => {
            fields.insert("operation".to_owned(), operation.into());
            serde_json::Value::Object(fields).to_string().into_bytes()
        }
        _ => body.to_vec(),
    }
}

/// A deposit or reversal of the ATM network.
pub(crate) fn cash(session: &str, serial: u32, amount: i64) -> serde_json::Value {
    serde_json::json!({
        "session": session, "atm_id": "7A01", "business_date": "2026-04-01",
        "serial": format!("{serial:06}"), "amount": amount,
    })
}

/// The reply's body as text, its signature checked.
pub(crate) fn said(house: &House, reply: &InboundReply) -> String {
    let headers = reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    koban_outside::verify(headers, &reply.body, &keys(), house.clock.now()).expect("replies are signed");
    format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))
}

async fn host(place: &Path, clock: &Clock) -> App {
    let store = Store::open(&Config::new(format!("sqlite:{}", place.join("koban.db").display()))).await.unwrap();
    store.migrate().await.unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flows-compiled");
    std::fs::create_dir_all(&cache).unwrap();
    let cache = Some(Dir::open_ambient_dir(&cache, ambient_authority()).unwrap());
    let door = Door::new(DoorConfig { cache, slots: 16, ..DoorConfig::default() }).unwrap();
    let partners = place.join("partners");
    std::fs::create_dir_all(&partners).unwrap();
    let outside = Outside::new(Settings { directories: Some(partners), ..Settings::default() }).unwrap();
    App::start(store, door, outside, clock.clone(), sealer()).await.unwrap()
}

fn package(plugin: &str) -> (Vec<u8>, Manifest) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../plugins/target/packages").join(plugin);
    let missing = "build the guests first: `cargo xtask guests`";
    let component = std::fs::read(place.join("component.wasm")).expect(missing);
    let manifest = std::fs::read_to_string(place.join("plugin.toml")).expect(missing);
    (component, toml::from_str(&manifest).unwrap())
}

/// One key for every host of a test: what one of them has sealed another opens.
fn sealer() -> koban_service::sealing::Sealer {
    use koban_service::sealing::Sealer;
    static KEY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    Sealer::of(KEY.get_or_init(|| Sealer::new_key().to_string())).unwrap()
}
