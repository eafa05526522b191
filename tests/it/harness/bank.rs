//! The bank beside the host, and users who transfer money in and take it out.

use koban_domain::guest::Named;
use koban_service::App;
use koban_service::operators;
use koban_service::plugins::{self, EndpointInput};
use outside_world::clock::Clock;
use outside_world::{Config, Running};
use serde_json::{Value, json};

use super::{Caller as _, Outcome, TestApp, User, atm, eventually, seed_plugin, unique};
use crate::client::Client;

/// What a withdrawal costs on top, unless a test sets it otherwise.
pub(crate) const BANK_FEE: i64 = 216;

/// The outside world with its bank.
pub(crate) struct Bank {
    _world: Running,
    controls: Client,
}

impl Bank {
    /// Opens the bank for a host at this base address and a clock of the test's, and installs bank-transfer for it.
    async fn start(app: &TestApp, clock: Clock, settings: &[Named], caps: (i64, i64)) -> Bank {
        let bank_directory = Some(app.database.partner_files().join("bank-transfer").join("bank"));
        let config = Config { clock, bank_directory, ..Config::new(app.base(), vec![atm::SECRET.to_owned()]) };
        let world = outside_world::start(config).await.expect("the outside world opens");
        let controls = Client::new(world.addr.to_string());
        seed_bank(&app.app, &world.base(), settings, caps).await;
        Bank { _world: world, controls }
    }

    /// Sets switches; what is not named stays.
    pub(crate) async fn switch(&self, switches: Value) {
        atm::control(&self.controls, "/control/switches", switches).await;
    }

    /// Somebody transfers to an account. Answers whether Koban took it.
    pub(crate) async fn deposit(&self, account: &str, yen: i64) -> Value {
        let body = json!({ "account": account, "amount": yen });
        atm::control(&self.controls, "/control/bank/deposits", body).await
    }

    /// The bank looks into the directory that it shares with Koban. Answers what it found.
    pub(crate) async fn take_files(&self) -> Value {
        atm::control(&self.controls, "/control/bank/files", json!({})).await["files"].clone()
    }

    /// What the bank's book says.
    pub(crate) async fn book(&self) -> Value {
        self.controls.get("/control/bank").await.expect("the controls answer").body
    }

    /// Posts the file of the day; answers the file and what was heard.
    pub(crate) async fn end_of_day(&self) -> Value {
        atm::control(&self.controls, "/control/bank/end-of-day", json!({})).await
    }
}

impl TestApp {
    /// Opens a bank beside the host and installs bank-transfer for it.
    pub(crate) async fn bank(&self) -> Bank {
        self.bank_with(Clock::system(), (1_000_000, 100_000)).await
    }

    /// The same by a clock of the test's, and with other caps.
    pub(crate) async fn bank_with(&self, clock: Clock, caps: (i64, i64)) -> Bank {
        Bank::start(self, clock, &[], caps).await
    }

    /// The same for a bank that is asked for transfers in files.
    pub(crate) async fn bank_by_file(&self, clock: Clock) -> Bank {
        let by_file = Named { name: "by_file".into(), value: koban_domain::guest::Value::Flag(true) };
        Bank::start(self, clock, &[by_file], (1_000_000, 100_000)).await
    }
}

/// Installs bank-transfer for a bank at this base address.
pub(crate) async fn seed_bank(app: &App, base: &str, settings: &[Named], caps: (i64, i64)) {
    seed_plugin(app, "bank-transfer", settings, Some(caps)).await;
    let endpoint = EndpointInput {
        name: "bank".into(),
        base: base.to_owned(),
        secrets: vec![atm::SECRET.into()],
        allow_private: true,
        ..EndpointInput::default()
    };
    let ctx = operators::command_line(unique("endpoint"));
    plugins::set_endpoint(app, &ctx, "bank-transfer", endpoint).await.expect("the endpoint is set");
}

/// Where a withdrawal goes, as its form asks; the branch 999 exists nowhere.
pub(crate) fn payee(branch: &str) -> Value {
    let value = |name: &str, value: &str| json!({ "name": name, "value": value });
    let values = [value("bank", "0005"), value("branch", branch), value("account", "7654321"), value("name", "ハナ")];
    json!({ "key": "payee", "values": values })
}

impl User {
    /// Begins to take so much out, with the fee that is usual, under this key.
    pub(crate) async fn withdraws(&self, yen: i64, key: &str) -> Outcome {
        let body = json!({ "channel": "bank-transfer", "amount": yen, "fee": BANK_FEE, "currency": "JPY" });
        self.post("/v1/withdrawals", body).key(key).await
    }

    /// Says where a withdrawal shall go.
    pub(crate) async fn says_where(&self, withdrawal: &str, branch: &str) -> Value {
        self.post(format!("/v1/withdrawals/{withdrawal}/answers"), payee(branch)).await.accepted()
    }

    /// One of the user's withdrawals.
    pub(crate) async fn withdrawal(&self, id: &str) -> Value {
        self.get(format!("/v1/withdrawals/{id}")).await.accepted()
    }

    /// The withdrawal once it has ended.
    pub(crate) async fn ended_withdrawal(&self, id: &str) -> Value {
        let is_final = |one: &Value| matches!(one["standing"].as_str(), Some("done" | "failed" | "cancelled"));
        eventually("the withdrawal ends", || self.withdrawal(id), is_final).await
    }
}
