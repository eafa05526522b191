//! The collector of convenience-store slips beside the host, and users who pay what came by post.

use koban_domain::guest::Named;
use koban_service::App;
use koban_service::operators;
use koban_service::plugins::{self, EndpointInput};
use outside_world::clock::Clock;
use outside_world::{Config, Running};
use serde_json::{Value, json};

use super::{Caller as _, Outcome, TestApp, User, atm, eventually, seed_plugin, unique};
use crate::client::Client;

/// The outside world with its collector.
pub(crate) struct Collector {
    world: Running,
    controls: Client,
}

impl Collector {
    /// Opens the collector for a host at this base address.
    pub(crate) async fn start(koban: &str) -> Collector {
        Collector::start_by(koban, Clock::system()).await
    }

    /// The same with a clock of the test's.
    pub(crate) async fn start_by(koban: &str, clock: Clock) -> Collector {
        let config = Config { clock, ..Config::new(koban, vec![atm::SECRET.to_owned()]) };
        let world = outside_world::start(config).await.expect("the outside world opens");
        let controls = Client::new(world.addr.to_string());
        Collector { world, controls }
    }

    /// Where it listens.
    pub(crate) fn base(&self) -> String {
        self.world.base()
    }

    /// Sets switches; what is not named stays.
    pub(crate) async fn switch(&self, switches: Value) {
        atm::control(&self.controls, "/control/switches", switches).await;
    }

    /// A biller sends a slip over so many yen, to be paid at any time.
    pub(crate) async fn slip(&self, yen: i64) -> String {
        self.slip_with(json!({ "amount": yen })).await
    }

    /// A slip with a last day (`YYMMDD`) or of another biller.
    pub(crate) async fn slip_with(&self, body: Value) -> String {
        let printed = atm::control(&self.controls, "/control/bills/slips", body).await;
        printed["slip"].as_str().expect("a slip").to_owned()
    }

    /// What the collector's book says.
    pub(crate) async fn book(&self) -> Value {
        self.controls.get("/control/bills").await.expect("the controls answer").body
    }

    /// Posts the file of confirmed payments; answers the file and what was heard.
    pub(crate) async fn end_of_day(&self) -> Value {
        atm::control(&self.controls, "/control/bills/end-of-day", json!({})).await
    }
}

impl TestApp {
    /// Opens a collector beside the host and installs bill-slip for it.
    pub(crate) async fn collector(&self) -> Collector {
        self.collector_with(&[], (1_000_000, 100_000)).await
    }

    /// The same with more settings and other caps.
    pub(crate) async fn collector_with(&self, settings: &[Named], caps: (i64, i64)) -> Collector {
        let collector = Collector::start(&self.base()).await;
        seed_collector(&self.app, &collector, settings, caps).await;
        collector
    }
}

/// Installs bill-slip for this collector.
pub(crate) async fn seed_collector(app: &App, collector: &Collector, settings: &[Named], caps: (i64, i64)) {
    seed_plugin(app, "bill-slip", settings, Some(caps)).await;
    let endpoint = EndpointInput {
        name: "collector".into(),
        base: collector.base(),
        secrets: vec![atm::SECRET.into()],
        allow_private: true,
        ..EndpointInput::default()
    };
    let ctx = operators::command_line(unique("endpoint"));
    plugins::set_endpoint(app, &ctx, "bill-slip", endpoint).await.expect("the endpoint is set");
}

impl User {
    /// Scans a slip and pays what it says.
    pub(crate) async fn pay_slip(&self, slip: &str) -> Outcome {
        let found = self.post("/v1/bills/recognise", bar_code(slip)).await.accepted();
        self.pay_recognised(&found, slip, &unique("bill")).await
    }

    /// Pays a bill as it was recognised, under this key.
    pub(crate) async fn pay_recognised(&self, found: &Value, slip: &str, key: &str) -> Outcome {
        let mut body = json!({ "payer": found["payer"], "code": bar_code(slip), "amount": found["amount"], "currency": found["currency"] });
        if found["fee"] != 0 {
            body["fee"] = found["fee"].clone();
        }
        self.post("/v1/bills", body).key(key).await
    }

    /// One of the user's bills.
    pub(crate) async fn bill(&self, id: &str) -> Value {
        self.get(format!("/v1/bills/{id}")).await.accepted()
    }

    /// The bill once it has ended.
    pub(crate) async fn ended_bill(&self, id: &str) -> Value {
        let is_final = |bill: &Value| matches!(bill["standing"].as_str(), Some("done" | "failed" | "cancelled"));
        eventually("the bill ends", || self.bill(id), is_final).await
    }
}

/// A scanned bar code.
pub(crate) fn bar_code(content: &str) -> Value {
    json!({ "source": "bar-code", "content": content })
}
