//! Every route, without identity, with the wrong one, with nothing behind the id, and with bodies that are none.
//!
//! Goal: whoever adds a route must say who may call it. Method: the table below is compared with the host's own description
//! and with what the host does; a route that stands in one of them only is a finding, and so is anything that changed.

use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::harness::{Caller, Setup, TestApp};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Anybody,
    User,
    Merchant(&'static str),
    UserOrMerchant(&'static str),
    /// A user, or a merchant by a key of any scope: what is asked for is looked at piece by piece.
    UserOrKey,
    UserOrOperator,
    Operator,
    /// A partner proves itself by its signature.
    Partner,
}

use Who::{Anybody, Merchant, Operator, Partner, User, UserOrKey, UserOrMerchant, UserOrOperator};

/// What a route reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Nothing,
    /// JSON.
    Body,
    /// JSON, under an idempotency key.
    Money,
    /// JSON of many items, under an idempotency key.
    Many,
    /// JSON of which every field may be left out, under an idempotency key.
    Choice,
    /// No fields, under an idempotency key.
    KeyOnly,
    /// No fields.
    NoFields,
}

use Reads::{Body, Choice, KeyOnly, Many, Money, NoFields, Nothing};

/// Method, path, who may call it, and what it reads: the policy of the public side. `matrix.rs` says how a row is added.
pub(crate) const ROUTES: &[(&str, &str, Who, Reads)] = &[
    ("get", "/docs", Anybody, Nothing),
    ("get", "/docs/docs.js", Anybody, Nothing),
    ("get", "/docs/style.css", Anybody, Nothing),
    ("get", "/livez", Anybody, Nothing),
    ("get", "/openapi.json", Anybody, Nothing),
    ("get", "/problems", Anybody, Nothing),
    ("get", "/problems/{code}", Anybody, Nothing),
    ("get", "/readyz", Anybody, Nothing),
    ("get", "/startupz", Anybody, Nothing),
    ("get", "/v1/bills", User, Nothing),
    ("post", "/v1/bills", User, Money),
    ("post", "/v1/bills/recognise", User, Body),
    ("get", "/v1/bills/{id}", User, Nothing),
    ("post", "/v1/bills/{id}/answers", User, Body),
    ("post", "/v1/bills/{id}/cancel", User, NoFields),
    ("post", "/v1/bulk", UserOrKey, Many),
    ("get", "/v1/charges", User, Nothing),
    ("post", "/v1/charges", User, Money),
    ("get", "/v1/charges/{id}", User, Nothing),
    ("post", "/v1/charges/{id}/answers", User, Body),
    ("post", "/v1/charges/{id}/cancel", User, NoFields),
    ("get", "/v1/consents", User, Nothing),
    ("post", "/v1/consents", User, Body),
    ("post", "/v1/consents/finish", User, Body),
    ("delete", "/v1/consents/{plugin}/{endpoint}", User, Nothing),
    ("get", "/v1/linkings", User, Nothing),
    ("post", "/v1/linkings", User, Money),
    ("get", "/v1/linkings/{id}", User, Nothing),
    ("post", "/v1/linkings/{id}/answers", User, Body),
    ("post", "/v1/linkings/{id}/cancel", User, NoFields),
    ("get", "/v1/links", User, Nothing),
    ("get", "/v1/links/offers", User, Nothing),
    ("get", "/v1/links/{id}", User, Nothing),
    ("delete", "/v1/links/{id}", User, Nothing),
    ("get", "/v1/exchange-rates", User, Nothing),
    ("get", "/v1/exchanges", User, Nothing),
    ("post", "/v1/exchanges", User, Money),
    ("get", "/v1/exchanges/{id}", User, Nothing),
    ("post", "/v1/quotes", User, Body),
    ("get", "/v1/quotes/{id}", User, Nothing),
    ("post", "/v1/quotes/{id}/accept", User, KeyOnly),
    ("post", "/v1/inbound/{plugin}/{operation}", Partner, Nothing),
    ("post", "/v1/inbound/{plugin}/{operation}/{path}", Partner, Nothing),
    ("get", "/v1/me", User, Nothing),
    ("post", "/v1/me/password", User, Body),
    ("post", "/v1/me/verification", User, Money),
    ("get", "/v1/merchant", Merchant("payments:read"), Nothing),
    ("get", "/v1/merchant/closings", Merchant("payments:read"), Nothing),
    ("get", "/v1/merchant/closings.csv", Merchant("payments:read"), Nothing),
    ("get", "/v1/merchant/closings/{id}", Merchant("payments:read"), Nothing),
    ("get", "/v1/merchant/disputes", Merchant("payments:read"), Nothing),
    ("get", "/v1/merchant/disputes/{id}", Merchant("payments:read"), Nothing),
    ("get", "/v1/merchant/keys", Merchant("keys:write"), Nothing),
    ("post", "/v1/merchant/keys", Merchant("keys:write"), Body),
    ("delete", "/v1/merchant/keys/{id}", Merchant("keys:write"), Nothing),
    ("post", "/v1/merchant/keys/{id}/rotate", Merchant("keys:write"), Body),
    ("get", "/v1/merchant/statement", Merchant("payments:read"), Nothing),
    ("get", "/v1/operator/adjustments", Operator, Nothing),
    ("post", "/v1/operator/adjustments", Operator, Money),
    ("get", "/v1/operator/adjustments/{id}", Operator, Nothing),
    ("post", "/v1/operator/adjustments/{id}/approve", Operator, Money),
    ("post", "/v1/operator/adjustments/{id}/reject", Operator, Money),
    ("get", "/v1/operator/audit", Operator, Nothing),
    ("get", "/v1/operator/campaigns", Operator, Nothing),
    ("post", "/v1/operator/campaigns", Operator, Money),
    ("get", "/v1/operator/campaigns/{id}", Operator, Nothing),
    ("put", "/v1/operator/campaigns/{id}", Operator, Money),
    ("post", "/v1/operator/campaigns/{id}/grants", Operator, Money),
    ("get", "/v1/operator/clock", Operator, Nothing),
    ("post", "/v1/operator/clock/advance", Operator, Body),
    ("get", "/v1/operator/closings", Operator, Nothing),
    ("get", "/v1/operator/closings.csv", Operator, Nothing),
    ("get", "/v1/operator/closings/{id}", Operator, Nothing),
    ("post", "/v1/operator/closings/{id}/payout", Operator, Money),
    ("get", "/v1/operator/calendars/{name}", Operator, Nothing),
    ("post", "/v1/operator/calendars", Operator, Body),
    ("get", "/v1/operator/currencies", Operator, Nothing),
    ("put", "/v1/operator/currencies", Operator, Body),
    ("get", "/v1/operator/disputes", Operator, Nothing),
    ("post", "/v1/operator/disputes", Operator, Money),
    ("get", "/v1/operator/disputes/{id}", Operator, Nothing),
    ("post", "/v1/operator/disputes/{id}/lose", Operator, Money),
    ("post", "/v1/operator/disputes/{id}/win", Operator, Money),
    ("put", "/v1/operator/exchange-rates", Operator, Body),
    ("post", "/v1/operator/components/{digest}/revoke", Operator, Body),
    ("get", "/v1/operator/decisions", Operator, Nothing),
    ("get", "/v1/operator/decisions/{id}", Operator, Nothing),
    ("get", "/v1/operator/decisions/{id}/export", Operator, Nothing),
    ("post", "/v1/operator/decisions/{id}/replay", Operator, NoFields),
    ("put", "/v1/operator/devices/access", Operator, Body),
    ("get", "/v1/operator/differences", Operator, Nothing),
    ("post", "/v1/operator/differences/write-off", Operator, Money),
    ("get", "/v1/operator/feeds", Operator, Nothing),
    ("post", "/v1/operator/feeds/{plugin}/ask", Operator, NoFields),
    ("get", "/v1/operator/quote-policy", Operator, Nothing),
    ("put", "/v1/operator/quote-policy", Operator, Body),
    ("get", "/v1/operator/flows", Operator, Nothing),
    ("get", "/v1/operator/flows/{id}", Operator, Nothing),
    ("post", "/v1/operator/flows/{id}/move", Operator, Money),
    ("get", "/v1/operator/flows/{id}/prospects/{digest}", Operator, Nothing),
    ("post", "/v1/operator/flows/{id}/resolve", Operator, Money),
    ("post", "/v1/operator/flows/{id}/retry", Operator, Money),
    ("put", "/v1/operator/keys/{id}/access", Operator, Body),
    ("get", "/v1/operator/ledger/head", Operator, Nothing),
    ("get", "/v1/operator/limits", Operator, Nothing),
    ("put", "/v1/operator/limits", Operator, Body),
    ("get", "/v1/operator/lots/{id}", Operator, Nothing),
    ("post", "/v1/operator/lots/{id}/release", Operator, Money),
    ("post", "/v1/operator/lots/{id}/revoke", Operator, Money),
    ("get", "/v1/operator/merchants", Operator, Nothing),
    ("post", "/v1/operator/merchants", Operator, Body),
    ("get", "/v1/operator/merchants/{id}", Operator, Nothing),
    ("put", "/v1/operator/merchants/{id}/access", Operator, Money),
    ("get", "/v1/operator/merchants/{id}/arrangement", Operator, Nothing),
    ("put", "/v1/operator/merchants/{id}/arrangement", Operator, Money),
    ("post", "/v1/operator/merchants/{id}/closings", Operator, Money),
    ("get", "/v1/operator/merchants/{id}/keys", Operator, Nothing),
    ("post", "/v1/operator/merchants/{id}/keys", Operator, Body),
    ("get", "/v1/operator/operators", Operator, Nothing),
    ("post", "/v1/operator/operators/{id}/removal", Operator, Body),
    ("post", "/v1/operator/password", Operator, Body),
    ("get", "/v1/operator/plugins", Operator, Nothing),
    ("post", "/v1/operator/plugins", Operator, Nothing),
    ("get", "/v1/operator/plugins/{id}", Operator, Nothing),
    ("get", "/v1/operator/plugins/{id}/releases", Operator, Nothing),
    ("get", "/v1/operator/plugins/{id}/releases/{digest}", Operator, Nothing),
    ("delete", "/v1/operator/plugins/{id}/releases/{digest}", Operator, Nothing),
    ("post", "/v1/operator/plugins/{id}/releases/{digest}/install", Operator, Body),
    ("put", "/v1/operator/plugins/{id}/releases/{digest}/state", Operator, Body),
    ("post", "/v1/operator/plugins/{id}/rollback", Operator, Body),
    ("post", "/v1/operator/plugins/{id}/disable", Operator, NoFields),
    ("post", "/v1/operator/plugins/{id}/enable", Operator, NoFields),
    ("get", "/v1/operator/partner-files", Operator, Nothing),
    ("get", "/v1/operator/partner-files/{id}", Operator, Nothing),
    ("get", "/v1/operator/partner-files/{id}/content", Operator, Nothing),
    ("post", "/v1/operator/partner-files/{id}/retry", Operator, Body),
    ("post", "/v1/operator/partner-files/{id}/seal", Operator, Body),
    ("post", "/v1/operator/partner-files/{id}/send", Operator, Body),
    ("get", "/v1/operator/received-files", Operator, Nothing),
    ("get", "/v1/operator/plugins/{id}/endpoints", Operator, Nothing),
    ("put", "/v1/operator/plugins/{id}/endpoints/{endpoint}", Operator, Body),
    ("post", "/v1/operator/plugins/{id}/endpoints/{endpoint}/test", Operator, Body),
    ("put", "/v1/operator/plugins/{id}/limits", Operator, Body),
    ("put", "/v1/operator/plugins/{id}/mode", Operator, Body),
    ("put", "/v1/operator/plugins/{id}/settings", Operator, Body),
    ("get", "/v1/operator/policy", Operator, Nothing),
    ("put", "/v1/operator/policy", Operator, Body),
    ("get", "/v1/operator/publishers", Operator, Nothing),
    ("post", "/v1/operator/publishers", Operator, Body),
    ("post", "/v1/operator/publishers/{id}/trust", Operator, Body),
    ("post", "/v1/operator/publishers/{id}/revoke", Operator, Body),
    ("get", "/v1/operator/reviews", Operator, Nothing),
    ("get", "/v1/operator/reviews/{id}", Operator, Nothing),
    ("post", "/v1/operator/reviews/{id}/approve", Operator, Money),
    ("post", "/v1/operator/reviews/{id}/decline", Operator, Money),
    ("get", "/v1/operator/subscriptions", Operator, Nothing),
    ("get", "/v1/operator/subscriptions/{plugin}", Operator, Nothing),
    ("get", "/v1/operator/subscriptions/{plugin}/parked", Operator, Nothing),
    ("post", "/v1/operator/subscriptions/{plugin}/parked/{event}/dismiss", Operator, Body),
    ("post", "/v1/operator/subscriptions/{plugin}/parked/{event}/retry", Operator, NoFields),
    ("get", "/v1/operator/users", Operator, Nothing),
    ("get", "/v1/operator/users/{id}", Operator, Nothing),
    ("put", "/v1/operator/users/{id}/access", Operator, Money),
    ("post", "/v1/operator/users/{id}/closure", Operator, Money),
    ("get", "/v1/operator/users/{id}/lots", Operator, Nothing),
    ("get", "/v1/operator/users/{id}/submission", Operator, Nothing),
    ("post", "/v1/operator/users/{id}/verification", Operator, KeyOnly),
    ("post", "/v1/operator/users/{id}/verification/reject", Operator, Money),
    ("post", "/v1/operator/users/{id}/verification/revoke", Operator, Money),
    ("get", "/v1/operator/webhook-endpoints", Operator, Nothing),
    ("post", "/v1/operator/webhook-endpoints", Operator, Body),
    ("get", "/v1/operator/webhook-endpoints/{id}", Operator, Nothing),
    ("put", "/v1/operator/webhook-endpoints/{id}", Operator, Body),
    ("delete", "/v1/operator/webhook-endpoints/{id}", Operator, Nothing),
    ("get", "/v1/operator/webhook-endpoints/{id}/deliveries", Operator, Nothing),
    ("get", "/v1/operator/webhook-endpoints/{id}/deliveries/{event}", Operator, Nothing),
    ("post", "/v1/operator/webhook-endpoints/{id}/deliveries/{event}/replay", Operator, NoFields),
    ("post", "/v1/operator/webhook-endpoints/{id}/replay", Operator, Body),
    ("post", "/v1/operator/webhook-endpoints/{id}/rotate", Operator, Body),
    ("post", "/v1/operator/webhook-endpoints/{id}/test", Operator, NoFields),
    ("post", "/v1/operators/sessions", Anybody, Body),
    ("get", "/v1/payments", UserOrMerchant("payments:read"), Nothing),
    ("post", "/v1/payments", User, Money),
    ("get", "/v1/payments/{id}", UserOrMerchant("payments:read"), Nothing),
    ("get", "/v1/payments/{id}/captures", UserOrMerchant("payments:read"), Nothing),
    ("post", "/v1/payments/{id}/captures", Merchant("payments:capture"), Choice),
    ("post", "/v1/payments/{id}/increments", User, Money),
    ("post", "/v1/payments/{id}/void", Merchant("payments:capture"), KeyOnly),
    ("get", "/v1/payments/{id}/refunds", UserOrMerchant("payments:read"), Nothing),
    ("post", "/v1/payments/{id}/refunds", Merchant("payments:refund"), Money),
    ("get", "/v1/schedules", User, Nothing),
    ("post", "/v1/schedules", User, Money),
    ("get", "/v1/schedules/{id}", User, Nothing),
    ("post", "/v1/schedules/{id}/cancel", User, NoFields),
    ("post", "/v1/sessions", Anybody, Body),
    ("delete", "/v1/sessions/current", UserOrOperator, Nothing),
    ("get", "/v1/step-ups/{id}", User, Nothing),
    ("post", "/v1/step-ups/{id}/confirm", User, Body),
    ("get", "/v1/transfers", User, Nothing),
    ("post", "/v1/transfers", User, Money),
    ("get", "/v1/transfers/{id}", User, Nothing),
    ("post", "/v1/users", Anybody, Body),
    ("get", "/v1/wallet", User, Nothing),
    ("get", "/v1/wallets", User, Nothing),
    ("get", "/v1/wallet/balances", User, Nothing),
    ("get", "/v1/wallet/documents", User, Nothing),
    ("get", "/v1/wallet/documents/{plugin}/{format}", User, Nothing),
    ("get", "/v1/wallet/lots", User, Nothing),
    ("get", "/v1/wallet/statement", User, Nothing),
    ("get", "/v1/wallet/statement.csv", User, Nothing),
    ("get", "/v1/webhook-endpoints", Merchant("webhooks:write"), Nothing),
    ("post", "/v1/webhook-endpoints", Merchant("webhooks:write"), Body),
    ("get", "/v1/webhook-endpoints/{id}", Merchant("webhooks:write"), Nothing),
    ("put", "/v1/webhook-endpoints/{id}", Merchant("webhooks:write"), Body),
    ("delete", "/v1/webhook-endpoints/{id}", Merchant("webhooks:write"), Nothing),
    ("get", "/v1/webhook-endpoints/{id}/deliveries", Merchant("webhooks:write"), Nothing),
    ("get", "/v1/webhook-endpoints/{id}/deliveries/{event}", Merchant("webhooks:write"), Nothing),
    ("post", "/v1/webhook-endpoints/{id}/deliveries/{event}/replay", Merchant("webhooks:write"), NoFields),
    ("post", "/v1/webhook-endpoints/{id}/replay", Merchant("webhooks:write"), Body),
    ("post", "/v1/webhook-endpoints/{id}/rotate", Merchant("webhooks:write"), Body),
    ("post", "/v1/webhook-endpoints/{id}/test", Merchant("webhooks:write"), NoFields),
    ("get", "/v1/withdrawals", User, Nothing),
    ("post", "/v1/withdrawals", User, Money),
    ("get", "/v1/withdrawals/{id}", User, Nothing),
    ("post", "/v1/withdrawals/{id}/answers", User, Body),
    ("post", "/v1/withdrawals/{id}/cancel", User, NoFields),
];

/// A path with ids in it that are well formed and belong to nothing.
fn path_of_nothing(template: &str) -> String {
    let prefix = [
        ("/bills/", "flw"),
        ("/withdrawals/", "flw"),
        ("/charges/", "flw"),
        ("/linkings/", "flw"),
        ("/links/", "lnk"),
        ("/flows/", "flw"),
        ("/merchant/keys/", "key"),
        ("/operator/keys/", "key"),
        ("/adjustments/", "adj"),
        ("/decisions/", "dec"),
        ("/campaigns/", "cmp"),
        ("/lots/", "lot"),
        ("/merchants/", "mer"),
        ("/users/", "usr"),
        ("/payments/", "pay"),
        ("/reviews/", "rev"),
        ("/closings/", "clo"),
        ("/disputes/", "dsp"),
        ("/step-ups/", "stu"),
        ("/transfers/", "trf"),
        ("/exchanges/", "exc"),
        ("/quotes/", "quo"),
        ("/schedules/", "sch"),
        ("/webhook-endpoints/", "whk"),
        ("/operators/", "opr"),
        ("/partner-files/", "pfl"),
    ];
    let id = match prefix.iter().find(|(part, _)| template.contains(part)) {
        Some((_, prefix)) => format!("{prefix}_{}", "0".repeat(32)),
        None => "no-such-plugin".to_owned(),
    };
    template
        .replace("{id}", &id)
        .replace("{name}", "no-such-calendar")
        .replace("{digest}", &"0".repeat(64))
        .replace("{endpoint}", "network")
        .replace("{plugin}", "no-such-plugin")
        .replace("{format}", "ofx")
        .replace("{operation}", "deposit")
        .replace("{path}", "a/b")
        .replace("{code}", "no_such_code")
        .replace("{event}", &format!("evt_{}", "0".repeat(32)))
}

fn method(name: &str) -> Method {
    name.to_uppercase().parse().expect("a method")
}

/// One identity of each kind, and a merchant's key for each scope alone.
struct Cast {
    anybody: Client,
    user: Client,
    operator: Client,
    merchant: Vec<(&'static str, Client)>,
}

impl Cast {
    async fn of(app: &TestApp) -> Cast {
        let anybody = app.anonymous();
        let user = anybody.with_token(app.user().await.token);
        let email = crate::harness::seed_operator(&app.app).await;
        let session = json!({ "email": email, "password": crate::harness::PASSWORD });
        let session = Caller::post(&anybody, "/v1/operators/sessions", session).await.created();
        let operator = anybody.with_token(session.text("token"));
        let shop = app.shop().await;
        let mut merchant = Vec::new();
        for scope in ["payments:read", "payments:capture", "payments:refund", "keys:write", "webhooks:write"] {
            let made = shop.post("/v1/merchant/keys", json!({ "name": scope, "scopes": [scope] })).await.created();
            merchant.push((scope, anybody.with_token(made.text("secret"))));
        }
        Cast { anybody, user, operator, merchant }
    }

    fn key(&self, scope: &str) -> &Client {
        &self.merchant.iter().find(|(known, _)| *known == scope).expect("a scope").1
    }

    /// Somebody who may call it.
    fn right(&self, who: Who) -> &Client {
        match who {
            Anybody | Partner => &self.anybody,
            User | UserOrMerchant(_) | UserOrKey | UserOrOperator => &self.user,
            Merchant(scope) => self.key(scope),
            Operator => &self.operator,
        }
    }

    /// Everybody who is known and may not, with the code they get.
    fn wrong(&self, who: Who) -> Vec<(&Client, &'static str)> {
        let any_key = &self.merchant[0].1;
        let other = |scope: &str| {
            let others =
                self.merchant.iter().filter(|(known, _)| *known != scope).map(|(_, key)| (key, "insufficient_scope"));
            others.collect::<Vec<_>>()
        };
        match who {
            Anybody | Partner => Vec::new(),
            User => vec![(&self.operator, "forbidden"), (any_key, "forbidden")],
            Operator => vec![(&self.user, "forbidden"), (any_key, "forbidden")],
            UserOrOperator => vec![(any_key, "forbidden")],
            UserOrKey => vec![(&self.operator, "forbidden")],
            UserOrMerchant(scope) => [vec![(&self.operator, "forbidden")], other(scope)].concat(),
            Merchant(scope) => [vec![(&self.user, "forbidden"), (&self.operator, "forbidden")], other(scope)].concat(),
        }
    }
}

/// Sends a request; where the route reads a body, an empty object.
async fn send(
    client: &Client,
    route: &(&str, &str, Who, Reads),
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Reply {
    let (name, path, ..) = route;
    let path = path_of_nothing(path);
    client
        .send(method(name), &path, headers, body.map(<[u8]>::to_vec))
        .await
        .unwrap_or_else(|error| panic!("{name} {path}: {error:#}"))
}

fn check(reply: &Reply, route: &(&str, &str, Who, Reads), what: &str, status: u16, code: &str) {
    let said = String::from_utf8_lossy(&reply.bytes);
    assert_eq!((reply.status, reply.code()), (status, code), "{} {} {what}: {said}", route.0, route.1);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{} {} {what}", route.0, route.1);
    for field in ["type", "title", "detail", "instance", "hint", "request_id"] {
        assert!(
            reply.body[field].as_str().is_some_and(|text| !text.is_empty()),
            "{} {} {what}: no {field}: {said}",
            route.0,
            route.1
        );
    }
    assert_eq!(reply.body["request_id"].as_str(), reply.header("request-id"));
}

#[tokio::test]
async fn the_table_of_routes_is_the_hosts_own() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let document = Caller::get(&app.anonymous(), "/openapi.json").await.ok();
    let mut described = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (name, operation) in item.as_object().expect("operations") {
            let needs = operation["security"].as_array().cloned().unwrap_or_default();
            let who = match needs.iter().map(scheme).collect::<Vec<_>>()[..] {
                [] if path.starts_with("/v1/inbound/") => "Partner".to_owned(),
                [] => "Anybody".to_owned(),
                [("session", _)] => "User".to_owned(),
                [("operator", _)] => "Operator".to_owned(),
                [("api_key", scope)] => format!("Merchant({scope:?})"),
                [("session", _), ("api_key", "")] => "UserOrKey".to_owned(),
                [("session", _), ("api_key", scope)] => format!("UserOrMerchant({scope:?})"),
                [("session", _), ("operator", _)] => "UserOrOperator".to_owned(),
                ref other => panic!("{name} {path}: nobody else has {other:?}"),
            };
            described.push(format!("{name} {path} {who}"));
        }
    }
    let mut known: Vec<String> = ROUTES.iter().map(|(name, path, who, _)| format!("{name} {path} {who:?}")).collect();
    described.sort();
    known.sort();
    let missing: Vec<_> = described.iter().filter(|route| !known.contains(route)).collect();
    let gone: Vec<_> = known.iter().filter(|route| !described.contains(route)).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "missing from the table: {missing:#?}\nno route of the host: {gone:#?}"
    );
}

fn scheme(need: &Value) -> (&str, &str) {
    let (name, scopes) = need.as_object().and_then(|need| need.iter().next()).expect("a scheme");
    (name, scopes[0].as_str().unwrap_or_default())
}

#[tokio::test]
async fn no_route_is_reached_without_its_identity() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let cast = Cast::of(&app).await;
    let before = (app.entries().await, operations(&app).await);
    let body = Some(&b"{}"[..]);
    let ended = cast.anybody.with_token("x".repeat(43));
    let guessed = cast.anybody.with_token(format!("kbn_live_{}", "x".repeat(43)));
    let key = ("idempotency-key", "sweep");
    for route in ROUTES.iter().filter(|(.., who, _)| !matches!(who, Anybody | Partner)) {
        let body = body.filter(|_| route.3 != Nothing);
        for (client, what) in [
            (&cast.anybody, "without identity"),
            (&ended, "with a session that ended"),
            (&guessed, "with a guessed key"),
        ] {
            let reply = send(client, route, &[key], body).await;
            check(&reply, route, what, 401, "not_signed_in");
            assert!(reply.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{route:?}");
        }
        for (client, code) in cast.wrong(route.2) {
            check(&send(client, route, &[key], body).await, route, "with the wrong identity", 403, code);
        }
    }
    assert_eq!((app.entries().await, operations(&app).await), before, "nothing was decided");
}

#[tokio::test]
async fn partners_without_a_signature_are_heard_by_nobody() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let anybody = app.anonymous();
    for route in ROUTES.iter().filter(|(.., who, _)| *who == Partner) {
        check(&send(&anybody, route, &[], Some(b"{}")).await, route, "for no plugin", 404, "not_found");
    }
    assert_eq!(operations(&app).await, 0);
}

#[tokio::test]
async fn an_id_of_nothing_and_an_id_of_another_kind_are_answered_alike() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let cast = Cast::of(&app).await;
    for route in ROUTES.iter().filter(|(name, path, who, _)| *name == "get" && path.contains("{id}") && *who != Anybody)
    {
        let client = cast.right(route.2);
        let missing = send(client, route, &[], None).await;
        check(&missing, route, "with nothing behind the id", 404, "not_found");
        for wrong in ["ent_00000000000000000000000000000000", "1", "%2e%2e%2f", "x%00y", "usr_%F0%9F%92%B0"] {
            let path = route.1.replace("{id}", wrong).replace("{event}", wrong);
            let reply = client.send(Method::GET, &path, &[], None).await.expect("an answer");
            check(&reply, route, wrong, 404, "not_found");
            assert_eq!(reply.body["detail"], missing.body["detail"], "{path}: the two must not be told apart");
        }
    }
}

#[tokio::test]
async fn no_route_takes_a_body_that_is_none() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let cast = Cast::of(&app).await;
    let before = (app.entries().await, operations(&app).await);
    let json = ("content-type", "application/json");
    let key = ("idempotency-key", "sweep-bodies");
    let too_long = |reads| vec![b' '; if reads == Many { 512 * 1024 + 1 } else { 64 * 1024 + 1 }];
    for route in ROUTES.iter().filter(|(.., reads)| matches!(reads, Body | Money | Many)) {
        let client = cast.right(route.2);
        for (body, code) in [
            (&b""[..], "malformed_json"),
            (b"{", "malformed_json"),
            (b"\xff\xfe{}", "malformed_json"),
            (b"{} {}", "invalid_request"),
            (b"null", "invalid_request"),
            (b"\"text\"", "invalid_request"),
            (b"{\"no_such_field\":1}", "invalid_request"),
            (b"{}", "invalid_request"),
        ] {
            let reply = send(client, route, &[json, key], Some(body)).await;
            let what = String::from_utf8_lossy(body).into_owned();
            check(&reply, route, &what, 400, code);
            let named = reply.body["field"].as_str().is_some_and(|field| !field.is_empty());
            assert_eq!(named, code == "invalid_request", "{route:?} {what}: {}", reply.body);
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=shift_jis"] {
            let reply = send(client, route, &[("content-type", kind), key], Some(b"{}")).await;
            check(&reply, route, kind, 415, "unsupported_media_type");
        }
        let reply = send(client, route, &[json, key, ("content-encoding", "gzip")], Some(b"{}")).await;
        check(&reply, route, "compressed", 415, "unsupported_media_type");
        check(
            &send(client, route, &[json, key], Some(&too_long(route.3))).await,
            route,
            "too large",
            413,
            "body_too_large",
        );
    }
    for route in ROUTES.iter().filter(|(.., reads)| matches!(reads, NoFields | KeyOnly | Choice)) {
        let reply = send(cast.right(route.2), route, &[json, key], Some(b"{\"x\":1}")).await;
        check(&reply, route, "fields where none are", 400, "invalid_request");
    }
    for route in ROUTES.iter().filter(|(.., reads)| matches!(reads, Money | Many | KeyOnly | Choice)) {
        let client = cast.right(route.2);
        check(
            &send(client, route, &[json], Some(b"{}")).await,
            route,
            "without a key",
            400,
            "idempotency_key_required",
        );
        for key in ["a b", &"x".repeat(256)] {
            let reply = send(client, route, &[json, ("idempotency-key", key)], Some(b"{}")).await;
            check(&reply, route, "with no key", 400, "invalid_request");
            assert_eq!(reply.body["field"], "Idempotency-Key");
        }
    }
    assert_eq!((app.entries().await, operations(&app).await), before, "nothing was decided");
}

#[tokio::test]
async fn what_a_path_does_not_do_is_said_with_what_it_does() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let anybody = app.anonymous();
    let paths: std::collections::BTreeSet<&str> = ROUTES.iter().map(|(_, path, ..)| *path).collect();
    for path in paths {
        for name in ["PATCH", "OPTIONS", "TRACE"] {
            let reply = anybody.send(method(name), &path_of_nothing(path), &[], None).await.expect("an answer");
            assert_eq!((reply.status, reply.code()), (405, "method_not_allowed"), "{name} {path}");
            let allowed = reply.header("allow").unwrap_or_default().to_lowercase();
            for (does, ..) in ROUTES.iter().filter(|(_, known, ..)| *known == path) {
                assert!(allowed.contains(does), "{name} {path}: Allow is `{allowed}`");
            }
        }
    }
    for path in
        ["/", "/v1", "/v1/", "/v2/payments", "/v1/payments/", "//v1/payments", "/v1/../v1/me", "/metrics", "/admin"]
    {
        let reply = anybody.send(Method::GET, path, &[], None).await.expect("an answer");
        assert_eq!((reply.status, reply.code()), (404, "not_found"), "{path}");
    }
}

/// How many operations the books know.
async fn operations(app: &TestApp) -> i64 {
    app.database.hand().await.number("select count(*) from operations").await
}
