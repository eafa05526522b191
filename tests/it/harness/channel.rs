//! The partner of the hostile channel, played by the test: it calls the host as the plugin expects it, properly signed.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Method;
use koban_outside::Keyring;
use koban_outside::signature;
use koban_service::clock::Clock;
use koban_service::plugins::{self, EndpointInput};
use serde_json::{Value, json};

use super::atm::answer;
use super::{Caller as _, TestApp, User, text, unique};
use crate::client::{Client, Reply};

const SECRET: &str = "whsec_Fw0MCwoJCAcGBQQDAgEAHx4dHBsaGRgX";

/// An installed channel with its partner.
pub(crate) struct Channel {
    pub(crate) id: &'static str,
    client: Client,
}

/// A charge that waits for its partner.
pub(crate) struct Expecting {
    pub(crate) charge: String,
    pub(crate) correlation: String,
}

impl Channel {
    /// Installs the hostile channel with this attack.
    pub(crate) async fn install(app: &TestApp, attack: &str, caps: (i64, i64)) -> Channel {
        Channel::install_as("hostile-channel", app, attack, caps).await
    }

    /// Installs this hostile plugin, whose only partner is called `partner`, with an attack.
    pub(crate) async fn install_as(id: &'static str, app: &TestApp, attack: &str, caps: (i64, i64)) -> Channel {
        app.install(id, &[text("attack", attack)], Some(caps)).await;
        // Nobody listens there: this channel's partner only calls.
        let endpoint = EndpointInput {
            name: "partner".into(),
            base: "http://127.0.0.1:9".into(),
            secrets: vec![SECRET.into()],
            allow_private: true,
            ..EndpointInput::default()
        };
        plugins::set_endpoint(&app.app, &app.operator_ctx(), id, endpoint).await.expect("the endpoint is set");
        Channel { id, client: app.anonymous() }
    }

    /// A user begins a charge and gives the correlation that the partner will call with.
    pub(crate) async fn begin(&self, user: &User, at_most: i64) -> Expecting {
        let body = json!({ "channel": self.id, "at_most": at_most, "currency": "JPY" });
        let charge = user.post("/v1/charges", body).await.created();
        let correlation = unique("correlation");
        answer(user, &charge.id, "start", "correlation", &correlation).await;
        Expecting { charge: charge.id, correlation }
    }

    /// The partner says that money came.
    pub(crate) async fn pay(&self, correlation: &str, yen: i64, reference: &str) -> Reply {
        self.say("pay", json!({ "correlation": correlation, "amount": yen, "reference": reference })).await
    }

    /// The partner says that money came which it cannot give back.
    pub(crate) async fn pay_arrived(&self, correlation: &str, yen: i64, reference: &str) -> Reply {
        let body = json!({ "correlation": correlation, "amount": yen, "reference": reference, "arrived": true });
        self.say("pay", body).await
    }

    /// The partner takes money back.
    pub(crate) async fn take_back(&self, correlation: &str, yen: i64, reference: &str) -> Reply {
        self.say("take-back", json!({ "correlation": correlation, "amount": yen, "reference": reference })).await
    }

    /// One signed call under an id of its own.
    pub(crate) async fn say(&self, operation: &str, body: Value) -> Reply {
        let body = body.to_string().into_bytes();
        let headers = sign(SECRET, &body, 0);
        self.call(operation, &headers, body).await
    }

    /// One call with these headers.
    pub(crate) async fn call(&self, operation: &str, headers: &[(&'static str, String)], body: Vec<u8>) -> Reply {
        let path = format!("/v1/inbound/{}/{operation}", self.id);
        let mut headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.push(("content-type", "application/json"));
        // A connection of its own for each call, as partners do.
        let client = Client::new(self.client.address());
        client.send(Method::POST, &path, &headers, Some(body)).await.expect("the host answers")
    }
}

/// The headers of a message signed with this secret, by a clock that is so many seconds ahead.
pub(crate) fn sign(secret: &str, body: &[u8], ahead_s: i64) -> [(&'static str, String); 3] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let id = format!("{}-{}", unique("msg"), COUNT.fetch_add(1, Ordering::Relaxed));
    let keyring = Keyring::parse([secret]).expect("a secret");
    signature::sign(&id, body, &keyring, Clock::machine().now().plus_ms(ahead_s * 1_000))
}
