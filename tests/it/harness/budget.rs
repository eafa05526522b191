//! A budgeting app beside the host, and users who link it.

use koban_service::App;
use koban_service::endpoints::OauthAddresses;
use koban_service::operators;
use koban_service::plugins::{self, EndpointInput};
use outside_world::{Config, Running};
use serde_json::{Value, json};

use super::{Caller as _, TestApp, User, atm, eventually, seed_plugin, unique};
use crate::client::Client;

const PLUGIN: &str = "budget-live";

/// The outside world with its budgeting app.
pub(crate) struct BudgetApp {
    _world: Running,
    client: Client,
}

impl BudgetApp {
    /// Opens the app, and installs budget-live for it.
    pub(crate) async fn start(app: &App) -> BudgetApp {
        // It never calls a host.
        let config = Config::new("http://127.0.0.1:1", vec![atm::SECRET.to_owned()]);
        let world = outside_world::start(config).await.expect("the outside world opens");
        let base = world.base();
        seed_plugin(app, PLUGIN, &[], None).await;
        let endpoint = EndpointInput {
            name: "app".into(),
            base: format!("{base}/app/api"),
            allow_private: true,
            credential: [("client_id".to_owned(), outside_world::budget::CLIENT.to_owned())].into(),
            oauth: OauthAddresses {
                token: Some(format!("{base}/app/oauth/token")),
                authorize: Some(format!("{base}/app/agree")),
                redirect: Some("https://wallet.example.com/back".into()),
                revoke: Some(format!("{base}/app/oauth/revoke")),
            },
            ..EndpointInput::default()
        };
        let ctx = operators::command_line(unique("endpoint"));
        plugins::set_endpoint(app, &ctx, PLUGIN, endpoint).await.expect("the endpoint is set");
        let client = Client::new(world.addr.to_string());
        BudgetApp { _world: world, client }
    }

    /// Sets switches; what is not named stays.
    pub(crate) async fn switch(&self, switches: Value) {
        atm::control(&self.client, "/control/switches", switches).await;
    }

    /// What the app was told so far.
    pub(crate) async fn book(&self) -> Value {
        self.client.get("/control/app").await.expect("the controls answer").body
    }

    /// The user deletes the account in the app.
    pub(crate) async fn forget(&self) {
        atm::control(&self.client, "/control/app/forget", json!({})).await;
    }

    /// The app's page, where its users always agree: what the user brings back.
    pub(crate) async fn agree(&self, url: &str) -> (String, String) {
        let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).expect("an address").1;
        let sent_back = self.client.get(&format!("/{path}")).await.expect("the page answers");
        let place = sent_back.header("location").expect("the user is sent back").to_owned();
        let value = |name: &str| {
            let query = place.split_once('?').expect("a query").1;
            let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
            pair.expect("a field").1.to_owned()
        };
        (value("state"), value("code"))
    }
}

impl TestApp {
    /// Opens a budgeting app beside the host.
    pub(crate) async fn budget_app(&self) -> BudgetApp {
        BudgetApp::start(&self.app).await
    }

    /// Has every link looked at now.
    pub(crate) async fn look_at_links(&self) {
        self.database.hand().await.run("update links set due_at = 0").await;
    }
}

impl User {
    /// Begins to link the app, up to its page; answers the linking.
    pub(crate) async fn begins_linking(&self, name: &str) -> String {
        let begun = self.post("/v1/linkings", json!({ "plugin": PLUGIN, "kind": "app" })).await.created();
        let answer = json!({ "key": "name", "values": [{ "name": "name", "value": name }] });
        let asked = self.post(format!("/v1/linkings/{}/answers", begun.id), answer).await.ok();
        let shown: Vec<_> = asked["shows"].as_array().expect("shows").iter().map(|one| &one["kind"]).collect();
        assert_eq!(shown, [&json!("text"), &json!("consent")], "{asked}");
        assert_eq!(asked["shows"][1]["endpoint"], "app");
        begun.id
    }

    /// Goes to the app's page and comes back.
    pub(crate) async fn agrees_at(&self, app: &BudgetApp) {
        let asked = self.post("/v1/consents", json!({ "plugin": PLUGIN, "endpoint": "app" })).await.ok();
        let (state, code) = app.agree(asked["url"].as_str().expect("an address")).await;
        self.post("/v1/consents/finish", json!({ "state": state, "code": code })).await.ok();
    }

    /// Links the app; answers the linking as it ended.
    pub(crate) async fn links_app(&self, app: &BudgetApp, name: &str) -> Value {
        let linking = self.begins_linking(name).await;
        self.agrees_at(app).await;
        let look = || async { self.get(format!("/v1/linkings/{linking}")).await.ok() };
        let ended = |found: &Value| ["done", "failed", "cancelled"].contains(&found["standing"].as_str().unwrap_or(""));
        eventually("the linking has ended", look, ended).await
    }

    /// The link of this id.
    pub(crate) async fn link(&self, id: &str) -> Value {
        self.get(format!("/v1/links/{id}")).await.ok()
    }
}
