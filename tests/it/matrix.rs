//! Every role on every route, with its own object, another tenant's, and one that is not there.
//!
//! The policy is one table: `ROUTES` in `sweep.rs` says who may call a route, and is held to the host's own description. What
//! an id in a path names is said here, in `OBJECTS`. **To add a route**: a row in `ROUTES`; if its path names an object, a row in `OBJECTS`
//! (the first prefix that fits counts) unless one fits already; if a tenant writes to its object there, a body that is accepted
//! in `body_of`; for a new kind of object, how one is made in `Side::make`. A route that lacks any of these fails here by name.

use std::collections::BTreeMap;

use hyper::Method;
use koban_domain::exchanges::Pair;
use koban_domain::ids::{QuoteId, RecordId};
use koban_domain::money::{Currency, Money};
use koban_domain::quotes::Quote;
use koban_domain::records::Digest;
use koban_service::App;
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::harness::{
    Atm, Caller, Channel, Operator, PASSWORD, Setup, Shop, TestApp, User, payee, seed_plugin, unique,
};
use crate::links;
use crate::platform::Platform;
use crate::sweep::{ROUTES, Reads, Who};

/// What an id in a path names, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    /// A user's.
    Bill,
    /// A user's.
    Charge,
    /// A user's.
    Withdrawal,
    /// A user's.
    Linking,
    /// A user's.
    Link,
    /// A user's and a merchant's.
    Payment,
    /// The same, with something held.
    Held,
    /// A user's.
    Transfer,
    /// A user's.
    Exchange,
    /// A user's.
    Quote,
    /// A user's.
    Schedule,
    /// A merchant's.
    Key,
    /// A merchant's.
    Dispute,
    /// A merchant's.
    Closing,
    /// A user's.
    StepUp,
    /// A merchant's.
    Endpoint,
    /// An event of a merchant's endpoint.
    Delivery,
    /// The platform's: operators see all of them.
    Platform,
    /// No object at all.
    Word,
}

const OBJECTS: &[(&str, Object)] = &[
    ("/v1/operator/", Object::Platform),
    ("/v1/inbound/", Object::Word),
    // Named by what was agreed to, within what is the caller's own.
    ("/v1/consents/", Object::Word),
    ("/v1/wallet/documents/", Object::Word),
    ("/problems/{code}", Object::Word),
    ("/v1/bills/{id}", Object::Bill),
    ("/v1/charges/{id}", Object::Charge),
    ("/v1/withdrawals/{id}", Object::Withdrawal),
    ("/v1/linkings/{id}", Object::Linking),
    ("/v1/links/{id}", Object::Link),
    ("/v1/payments/{id}/captures", Object::Held),
    ("/v1/payments/{id}/increments", Object::Held),
    ("/v1/payments/{id}/void", Object::Held),
    ("/v1/payments/{id}", Object::Payment),
    ("/v1/transfers/{id}", Object::Transfer),
    ("/v1/exchanges/{id}", Object::Exchange),
    ("/v1/quotes/{id}", Object::Quote),
    ("/v1/schedules/{id}", Object::Schedule),
    ("/v1/merchant/keys/{id}", Object::Key),
    ("/v1/merchant/disputes/{id}", Object::Dispute),
    ("/v1/merchant/closings/{id}", Object::Closing),
    ("/v1/step-ups/{id}", Object::StepUp),
    ("/v1/webhook-endpoints/{id}/deliveries/{event}", Object::Delivery),
    ("/v1/webhook-endpoints/{id}", Object::Endpoint),
];

/// A body with which a tenant's write to its own object is accepted.
fn body_of(method: &str, path: &str) -> Value {
    match (method, path) {
        ("post", "/v1/bills/{id}/answers" | "/v1/charges/{id}/answers") => {
            json!({ "key": "scan", "values": [{ "name": "session", "value": "s" }] })
        }
        ("post", "/v1/withdrawals/{id}/answers") => payee("123"),
        ("post", "/v1/linkings/{id}/answers") => {
            json!({ "key": "name", "values": [{ "name": "name", "value": "Household" }] })
        }
        ("post", "/v1/step-ups/{id}/confirm") => json!({ "password": PASSWORD }),
        ("post", "/v1/payments/{id}/captures") => json!({ "amount": 1 }),
        ("post", "/v1/payments/{id}/increments" | "/v1/payments/{id}/refunds") => {
            json!({ "amount": 1, "currency": "JPY" })
        }
        ("post", "/v1/merchant/keys/{id}/rotate" | "/v1/webhook-endpoints/{id}/rotate") => json!({ "overlap_s": 0 }),
        ("put", "/v1/webhook-endpoints/{id}") => {
            json!({ "url": "https://shop.example/2", "types": [], "enabled": true })
        }
        ("post", "/v1/webhook-endpoints/{id}/replay") => json!({ "since": "2026-01-01T00:00:00Z" }),
        (
            "post",
            "/v1/bills/{id}/cancel"
            | "/v1/charges/{id}/cancel"
            | "/v1/withdrawals/{id}/cancel"
            | "/v1/linkings/{id}/cancel"
            | "/v1/payments/{id}/void"
            | "/v1/quotes/{id}/accept"
            | "/v1/schedules/{id}/cancel"
            | "/v1/webhook-endpoints/{id}/test"
            | "/v1/webhook-endpoints/{id}/deliveries/{event}/replay",
        )
        | ("get" | "delete", _) => json!({}),
        _ => panic!("{method} {path}: no body is known with which a tenant's write is accepted; add it to `body_of`"),
    }
}

fn object_of(path: &str) -> Option<Object> {
    if !path.contains('{') {
        return None;
    }
    let found = OBJECTS.iter().find(|(prefix, _)| path.starts_with(prefix));
    Some(found.unwrap_or_else(|| panic!("{path}: nobody says what its id names; add a row to `OBJECTS`")).1)
}

/// A tenant: a user and a merchant who deal with each other and with nobody of the other side.
pub(crate) struct Side {
    pub(crate) user: User,
    friend: User,
    pub(crate) shop: Shop,
    pub(crate) desk: Operator,
    app: App,
}

/// The ids that stand in a path.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) digest: String,
}

impl Place {
    pub(crate) fn of(id: impl Into<String>) -> Place {
        Place { id: id.into(), event: format!("evt_{}", "0".repeat(32)), digest: "0".repeat(64) }
    }

    /// Well formed, and nothing's.
    fn nothing(object: Object) -> Place {
        let prefix = match object {
            Object::Bill | Object::Charge | Object::Withdrawal | Object::Linking => "flw",
            Object::Link => "lnk",
            Object::Payment | Object::Held => "pay",
            Object::Transfer => "trf",
            Object::Exchange => "exc",
            Object::Quote => "quo",
            Object::Schedule => "sch",
            Object::Key => "key",
            Object::Dispute => "dsp",
            Object::Closing => "clo",
            Object::StepUp => "stu",
            Object::Endpoint | Object::Delivery => "whk",
            Object::Platform | Object::Word => "usr",
        };
        Place::of(format!("{prefix}_{}", "0".repeat(32)))
    }

    /// Of the same kind as this, and nothing's.
    fn nothing_at(there: &Place) -> Place {
        match there.id.split_once('_') {
            Some((prefix, _)) => Place::of(format!("{prefix}_{}", "0".repeat(32))),
            None => Place::of("no-such-plugin"),
        }
    }
}

impl Side {
    async fn of(app: &TestApp) -> Side {
        let (user, friend) = (app.verified_user_holding(500_000).await, app.verified_user_holding(0).await);
        Side { user, friend, shop: app.shop().await, desk: app.operator().await, app: app.app.clone() }
    }

    /// A price as an exchange would have named it.
    async fn quote(&self) -> QuoteId {
        let (now, usd) = (self.app.clock.now(), Currency::new("USD").expect("a currency"));
        let quote = Quote {
            id: QuoteId(self.app.clock.id()),
            user: self.user.id,
            plugin: "exchange".into(),
            component: Digest::of(b"exchange"),
            decision: RecordId(self.app.clock.id()),
            asked: Money::new(1, usd),
            sell: Money::yen(2),
            buy: Money::new(1, usd),
            pair: Pair { base: usd, quote: Currency::JPY },
            rate: "113.8727".parse().expect("a rate"),
            mid: "112.745".parse().expect("a number"),
            fixed_at: now,
            at: now,
            expires_at: now.plus_ms(120_000),
            last_good: false,
        };
        koban_store::quotes::put(&self.app.store, &quote).await.expect("it is kept");
        quote.id
    }

    /// A new object of this tenant.
    pub(crate) async fn make(&self, object: Object) -> Place {
        let made = match object {
            Object::Bill => {
                let code = json!({ "source": "bar-code", "content": format!("bill:{}:10", unique("bill")) });
                let bill = json!({ "payer": "hostile-payer", "code": code, "amount": 10, "currency": "JPY" });
                self.user.post("/v1/bills", bill).await.created()
            }
            Object::Withdrawal => self.user.withdraws(10, &unique("withdrawal")).await.created(),
            Object::Linking => {
                self.user.post("/v1/linkings", json!({ "plugin": "budget-live", "kind": "app" })).await.created()
            }
            Object::Link => return Place::of(links::saved(&self.app, self.user.id).await.to_string()),
            Object::Charge => {
                let charge = json!({ "channel": "charge-atm", "currency": "JPY" });
                self.user.post("/v1/charges", charge).await.created()
            }
            Object::Payment => self.user.pay(&self.shop, 10).await.created(),
            Object::Held => self.user.pay(&self.shop, 10).with("capture", false).await.created(),
            Object::Transfer => self.user.send(&self.friend, 1).await.created(),
            Object::Exchange => {
                let buy = json!({ "sell": "JPY", "buy": "USD", "amount": 1, "currency": "USD", "rate": "113.8727" });
                self.user.post("/v1/exchanges", buy).await.created()
            }
            Object::Quote => return Place::of(self.quote().await.to_string()),
            Object::Schedule => {
                let at = koban_service::clock::Clock::machine().now().0 + 86_400_000;
                let later = json!({ "merchant": self.shop.id, "amount": 1, "currency": "JPY", "execute_at_ms": at });
                self.user.post("/v1/schedules", later).await.created()
            }
            Object::Key => {
                // No key gives another what it has not itself, and one that may write keys need have nothing else.
                let key = json!({ "name": "spare", "scopes": ["keys:write"] });
                let made = self.shop.post("/v1/merchant/keys", key).await.created();
                return Place::of(made.body["key"]["id"].as_str().expect("an id"));
            }
            Object::Dispute => {
                let paid = self.user.pay(&self.shop, 10).await.created();
                let body = json!({ "payment": paid.id, "amount": 1, "currency": "JPY", "reason": "never came" });
                self.desk.post("/v1/operator/disputes", body).await.created()
            }
            Object::Closing => {
                self.user.pay(&self.shop, 10).await.created();
                // Each one closes a later day.
                let known = self.shop.get("/v1/merchant/closings?limit=100").await.ok();
                let day = known["items"].as_array().map_or(0, Vec::len) + 1;
                let body = json!({ "currency": "JPY", "until": format!("2018-09-{day:02}") });
                self.desk.post(format!("/v1/operator/merchants/{}/closings", self.shop.id), body).await.created()
            }
            Object::StepUp => {
                let policy = self.desk.get("/v1/operator/policy").await.ok();
                let mut strict = policy.clone();
                strict["on_missing"] = json!("step-up");
                self.desk.put("/v1/operator/policy", strict).await.ok();
                let asked = self.user.pay(&self.shop, 10).await.problem(403, "step_up_required");
                self.desk.put("/v1/operator/policy", policy).await.ok();
                return Place::of(asked.body["step_up"].as_str().expect("a challenge"));
            }
            Object::Endpoint | Object::Delivery => {
                let endpoint = json!({ "url": "https://shop.example/hooks" });
                let made = self.shop.post("/v1/webhook-endpoints", endpoint).await.created();
                let mut place = Place::of(made.body["endpoint"]["id"].as_str().expect("an id"));
                if object == Object::Delivery {
                    let path = format!("/v1/webhook-endpoints/{}/test", place.id);
                    let test = self.shop.post(path, json!({})).await.accepted();
                    place.event = test["event"].as_str().expect("an id").to_owned();
                }
                return place;
            }
            Object::Platform | Object::Word => unreachable!("nobody owns a {object:?}"),
        };
        Place::of(made.id)
    }

    /// Removes an object of which a tenant may have only so many. It may be gone already.
    async fn clear(&self, object: Object, place: &Place) {
        let path = match object {
            Object::Key => format!("/v1/merchant/keys/{}", place.id),
            Object::Endpoint | Object::Delivery => format!("/v1/webhook-endpoints/{}", place.id),
            _ => return,
        };
        let gone = self.shop.delete(path).await.reply.status;
        assert!([204, 404].contains(&gone), "{gone}");
    }
}

/// Somebody who calls.
struct Role {
    name: String,
    client: Client,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Nobody,
    User,
    Key(Vec<&'static str>),
    Operator,
}

const SCOPES: [&str; 5] = ["payments:read", "payments:capture", "payments:refund", "keys:write", "webhooks:write"];

async fn roles(app: &TestApp, side: &Side) -> Vec<Role> {
    let anybody = app.anonymous();
    let role = |name: &str, client: Client, kind| Role { name: name.to_owned(), client, kind };
    let signed_out = {
        let body = json!({ "email": side.user.email, "password": PASSWORD });
        let token = Caller::post(&anybody, "/v1/sessions", body).await.created().text("token");
        let client = anybody.with_token(token);
        Caller::delete(&client, "/v1/sessions/current").await.ok();
        client
    };
    let mut roles = vec![
        role("nobody", app.anonymous(), Kind::Nobody),
        role("a session that has ended", signed_out, Kind::Nobody),
        role("a guessed key", anybody.with_token(format!("kbn_live_{}", "x".repeat(43))), Kind::Nobody),
        role("a key of the other mode", anybody.with_token(format!("kbn_test_{}", "x".repeat(43))), Kind::Nobody),
        role("a user", anybody.with_token(side.user.token.clone()), Kind::User),
        role("a key of every scope", anybody.with_token(side.shop.secret.clone()), Kind::Key(SCOPES.to_vec())),
    ];
    for scope in SCOPES {
        let key = json!({ "name": scope, "scopes": [scope] });
        let made = side.shop.post("/v1/merchant/keys", key).await.created();
        roles.push(role(
            &format!("a key for {scope}"),
            anybody.with_token(made.text("secret")),
            Kind::Key(vec![scope]),
        ));
    }
    let email = crate::harness::seed_operator(&app.app).await;
    let session = json!({ "email": email, "password": PASSWORD });
    let token = Caller::post(&anybody, "/v1/operators/sessions", session).await.created().text("token");
    roles.push(role("an operator", anybody.with_token(token), Kind::Operator));
    roles
}

/// What the policy says: nothing if the role may call the route, or status and code.
fn denied(who: Who, kind: &Kind) -> Option<(u16, &'static str)> {
    let forbidden = Some((403, "forbidden"));
    let scoped = |scopes: &[&str], scope: &str| (!scopes.contains(&scope)).then_some((403, "insufficient_scope"));
    match (who, kind) {
        (Who::Anybody | Who::Partner, _) => None,
        (_, Kind::Nobody) => Some((401, "not_signed_in")),
        (Who::User | Who::UserOrMerchant(_) | Who::UserOrOperator | Who::UserOrKey, Kind::User) => None,
        (Who::Operator | Who::UserOrOperator, Kind::Operator) | (Who::UserOrKey, Kind::Key(_)) => None,
        (Who::Merchant(scope) | Who::UserOrMerchant(scope), Kind::Key(scopes)) => scoped(scopes, scope),
        _ => forbidden,
    }
}

async fn call(client: &Client, method: &str, template: &str, place: &Place, body: &Value) -> Reply {
    let path = template
        .replace("{id}", &place.id)
        .replace("{event}", &place.event)
        .replace("{plugin}", &place.id)
        .replace("{name}", &place.id)
        .replace("{digest}", &place.digest)
        .replace("{operation}", "deposit")
        .replace("{endpoint}", "network");
    let method: Method = method.to_uppercase().parse().expect("a method");
    let bytes = (method != Method::GET && method != Method::DELETE).then(|| body.to_string().into_bytes());
    let key = unique("matrix");
    client.send(method, &path, &[("idempotency-key", &key)], bytes).await.expect("an answer")
}

/// What an operator is answered who asks for something of the platform's.
fn told(path: &str) -> u16 {
    match path {
        // A flow is not moved to the release that it has.
        "/v1/operator/flows/{id}/prospects/{digest}" => 409,
        // It is open, and has no bytes yet.
        "/v1/operator/partner-files/{id}/content" => 409,
        // No plugin hears while jobs rest, and nobody has sent particulars.
        "/v1/operator/subscriptions/{plugin}"
        | "/v1/operator/subscriptions/{plugin}/parked"
        | "/v1/operator/users/{id}/submission" => 404,
        _ => 200,
    }
}

/// All of an answer that does not name the request itself.
fn plain(reply: &Reply) -> (u16, Value, BTreeMap<String, String>) {
    let mut body = reply.body.clone();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
        body.remove("instance");
    }
    let moving = ["date", "request-id", "ratelimit", "ratelimit-policy"];
    let headers = reply.headers().filter(|(name, _)| !moving.contains(name));
    (reply.status, body, headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_on_every_route_meets_its_own_objects_and_no_others() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let atm: Atm = app.atm().await;
    Channel::install_as("hostile-payer", &app, "asks", (1_000_000, 0)).await;
    seed_plugin(&app.app, "budget-live", &[], None).await;
    let _bank = app.bank().await;
    app.offer_dollars(1_000_000).await;
    let (mine, theirs) = (Side::of(&app).await, Side::of(&app).await);
    let (roles, platform) = (roles(&app, &mine).await, Platform::of(&app, &mine).await);
    let mut visited = 0;
    for (method, path, who, reads) in ROUTES.iter().filter(|(.., who, _)| !matches!(who, Who::Anybody | Who::Partner)) {
        let object = object_of(path).filter(|object| !matches!(object, Object::Platform | Object::Word));
        let other = match object {
            Some(object) => Some((theirs.make(object).await, Place::nothing(object), body_of(method, path))),
            None => None,
        };
        // For those who may do nothing with it.
        let untouched = match object {
            Some(object) => Some(mine.make(object).await),
            None => None,
        };
        // What an operator sees of a tenant: whose it is may not even learn that the operator's view of it is there.
        let there = platform.place(path);
        let owners_view = snapshot(&theirs, object, other.as_ref().map(|(place, ..)| place)).await;
        for role in &roles {
            let what = format!("{method} {path} as {}", role.name);
            visited += 1;
            match (denied(*who, &role.kind), object, &other) {
                (Some((status, code)), _, other) => {
                    let nothing = Place::nothing(object.unwrap_or(Object::Word));
                    let body = other.as_ref().map_or_else(|| json!({}), |(.., body)| body.clone());
                    let missing = call(&role.client, method, path, &nothing, &body).await;
                    assert_eq!((missing.status, missing.code()), (status, code), "{what}: {}", missing.body);
                    if let Some(there) = &there {
                        let reply = call(&role.client, method, path, there, &body).await;
                        assert_eq!(plain(&reply), plain(&missing), "{what}: what is there is told like what is not");
                    }
                    if let (Some(own), Some((other, ..))) = (&untouched, other) {
                        for place in [other, own] {
                            let reply = call(&role.client, method, path, place, &body).await;
                            assert_eq!(plain(&reply), plain(&missing), "{what}: no object is told from another");
                        }
                    }
                }
                (None, Some(object), Some((other, nothing, body))) => {
                    let missing = call(&role.client, method, path, nothing, body).await;
                    assert_eq!((missing.status, missing.code()), (404, "not_found"), "{what}: {}", missing.body);
                    let reply = call(&role.client, method, path, other, body).await;
                    assert_eq!(plain(&reply), plain(&missing), "{what}: another's is told like none");
                    let own = mine.make(object).await;
                    if object == Object::Delivery {
                        let elsewhere = Place { event: other.event.clone(), ..own.clone() };
                        let nowhere = Place::of(own.id.clone());
                        let reply = call(&role.client, method, path, &elsewhere, body).await;
                        let none = call(&role.client, method, path, &nowhere, body).await;
                        assert_eq!((reply.status, plain(&reply)), (404, plain(&none)), "{what}: another's event");
                    }
                    let reply = call(&role.client, method, path, &own, body).await;
                    assert!((200..300).contains(&reply.status), "{what}: own: {} {}", reply.status, reply.body);
                    mine.clear(object, &own).await;
                }
                (None, _, _) if *path == "/v1/sessions/current" => {}
                (None, ..) if there.is_some() && *method == "get" => {
                    let there = there.as_ref().expect("it was made");
                    let reply = call(&role.client, method, path, there, &json!({})).await;
                    assert_eq!(reply.status, told(path), "{what}: what is there: {}", reply.body);
                    if path.ends_with("/{id}") {
                        let nothing = Place::nothing_at(there);
                        let missing = call(&role.client, method, path, &nothing, &json!({})).await;
                        assert_eq!((missing.status, missing.code()), (404, "not_found"), "{what}: {}", missing.body);
                    }
                }
                (None, _, _) => {
                    let reply = call(&role.client, method, path, &Place::nothing(Object::Word), &json!({})).await;
                    let reached = match (*method, *reads) {
                        // A list may ask for a parameter that nobody gave.
                        ("get", _) if object_of(path).is_none() => [200, 400].contains(&reply.status),
                        (_, Reads::Body | Reads::Money | Reads::Many) if object_of(path).is_none() => {
                            reply.status == 400
                        }
                        _ => ![401, 403].contains(&reply.status) && reply.status < 500,
                    };
                    assert!(reached, "{what}: {} {}", reply.status, reply.body);
                }
            }
        }
        let after = snapshot(&theirs, object, other.as_ref().map(|(place, ..)| place)).await;
        assert_eq!(after, owners_view, "{method} {path}: another tenant's object was touched");
        if let (Some(object), Some(own), Some((other, ..))) = (object, &untouched, &other) {
            mine.clear(object, own).await;
            theirs.clear(object, other).await;
        }
    }
    assert!(visited > 1_000, "{visited}");
    drop(atm);
    app.ledger_is_clean().await;
}

/// Who somebody is changes nothing where nobody is asked: on open routes and on those of partners, who sign each call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_routes_and_those_of_partners_answer_every_role_alike() {
    let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
    let atm: Atm = app.atm().await;
    let mine = Side::of(&app).await;
    let roles = roles(&app, &mine).await;
    let mut visited = 0;
    for (method, path, who, _) in ROUTES.iter().filter(|(.., who, _)| matches!(who, Who::Anybody | Who::Partner)) {
        let place = match who {
            Who::Partner => Place::of("charge-atm"),
            _ => Place::of("not_found"),
        };
        let path = path.replace("{code}", "not_found").replace("{path}", "more");
        let expected = call(&app.anonymous(), method, &path, &place, &json!({})).await;
        let status = match (who, *method) {
            (Who::Partner, _) => 401,
            (_, "get") => 200,
            _ => 400,
        };
        assert_eq!(expected.status, status, "{method} {path}: {}", expected.body);
        for role in &roles {
            visited += 1;
            let reply = call(&role.client, method, &path, &place, &json!({})).await;
            assert_eq!(plain(&reply), plain(&expected), "{method} {path} as {}", role.name);
        }
    }
    assert!(visited > 150, "{visited}");
    drop(atm);
    app.ledger_is_clean().await;
}

/// An object as its owner sees it.
async fn snapshot(side: &Side, object: Option<Object>, place: Option<&Place>) -> Value {
    let (Some(object), Some(Place { id, event, .. })) = (object, place) else { return Value::Null };
    match object {
        Object::Bill => side.user.get(format!("/v1/bills/{id}")).await.ok(),
        Object::Charge => side.user.get(format!("/v1/charges/{id}")).await.ok(),
        Object::Withdrawal => side.user.get(format!("/v1/withdrawals/{id}")).await.ok(),
        Object::Linking => side.user.get(format!("/v1/linkings/{id}")).await.ok(),
        Object::Link => side.user.get(format!("/v1/links/{id}")).await.ok(),
        Object::Payment | Object::Held => side.user.get(format!("/v1/payments/{id}")).await.ok(),
        Object::Transfer => side.user.get(format!("/v1/transfers/{id}")).await.ok(),
        Object::Exchange => side.user.get(format!("/v1/exchanges/{id}")).await.ok(),
        Object::Quote => side.user.get(format!("/v1/quotes/{id}")).await.ok(),
        Object::Schedule => side.user.get(format!("/v1/schedules/{id}")).await.ok(),
        Object::Key => side.shop.get("/v1/merchant/keys").await.ok(),
        Object::Dispute => side.shop.get(format!("/v1/merchant/disputes/{id}")).await.ok(),
        Object::Closing => side.shop.get(format!("/v1/merchant/closings/{id}")).await.ok(),
        Object::StepUp => side.user.get(format!("/v1/step-ups/{id}")).await.ok(),
        Object::Endpoint => side.shop.get(format!("/v1/webhook-endpoints/{id}")).await.ok(),
        Object::Delivery => side.shop.get(format!("/v1/webhook-endpoints/{id}/deliveries/{event}")).await.ok(),
        Object::Platform | Object::Word => Value::Null,
    }
}
