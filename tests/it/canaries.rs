//! Two tenants whose every name and text carries a mark of their own: whatever one of them asks, no answer shows the other's.
//!
//! Both do the same things at the same moment with the same idempotency keys, turn each other's pages, name each other's objects and send broken
//! requests. 1,500 mixed requests in tests, 100,000 in soak; `KOBAN_TEST_SEED` has a run again.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::harness::{Caller, Operator, PASSWORD, Setup, TestApp, User, unique};
use crate::load::{Dice, is_soak, seed};
use crate::platform::next_month;

/// A user, a friend and a merchant, who deal with each other only.
struct Tenant {
    mark: String,
    user: User,
    friend: User,
    shop: Client,
    shop_id: String,
    payments: Vec<String>,
    held: Vec<String>,
    /// Ids of everything else, with the paths under which they are read.
    paths: Vec<String>,
    /// Ids of what is only listed.
    others: Vec<String>,
    cursors: Vec<String>,
}

/// Lists of users and of merchants.
const LISTS: [&str; 16] = [
    "/v1/payments",
    "/v1/transfers",
    "/v1/exchanges",
    "/v1/schedules",
    "/v1/bills",
    "/v1/withdrawals",
    "/v1/charges",
    "/v1/wallet/statement",
    "/v1/merchant/statement",
    "/v1/webhook-endpoints",
    "/v1/payments?reference=x",
    "/v1/merchant/keys",
    "/v1/merchant/closings",
    "/v1/merchant/disputes",
    "/v1/merchant/closings.csv",
    "/v1/wallet/lots",
];

async fn signed_up(app: &TestApp, mark: &str) -> User {
    let anybody = app.anonymous();
    let email = format!("{mark}.{}@example.com", unique("user"));
    let body = json!({ "email": email, "password": PASSWORD, "name": format!("Hana {mark}"), "locale": "en" });
    let id = Caller::post(&anybody, "/v1/users", body).await.created().id;
    let session = json!({ "email": email, "password": PASSWORD });
    let token = Caller::post(&anybody, "/v1/sessions", session).await.created().text("token");
    let mut user = User::signed_in(id.parse().expect("an id"), token, &anybody);
    user.email = email;
    user
}

impl Tenant {
    async fn of(app: &TestApp, mark: &str) -> Tenant {
        let (user, friend) = (signed_up(app, mark).await, signed_up(app, mark).await);
        let particulars =
            json!({ "name": mark, "birth_date": "1990-04-01", "address": mark, "purpose": mark, "occupation": mark });
        for user in [&user, &friend] {
            user.post("/v1/me/verification", particulars.clone()).await.ok();
            app.verify(user).await;
        }
        for _ in 0..if is_soak() { 2 } else { 1 } {
            app.bring(user.id, 450_000).await;
        }
        let operator = app.operator().await;
        let named = json!({ "name": format!("Shop {mark}"), "category": "5812" });
        let shop_id = operator.post("/v1/operator/merchants", named).await.created().id;
        let scopes = ["payments:read", "payments:capture", "payments:refund", "keys:write", "webhooks:write"];
        let key = json!({ "name": format!("till {mark}"), "scopes": scopes });
        let made = operator.post(format!("/v1/operator/merchants/{shop_id}/keys"), key).await.created();
        let shop = app.anonymous().with_token(made.text("secret"));
        let endpoint =
            json!({ "url": format!("https://{mark}.example/hooks"), "description": format!("orders {mark}") });
        let made = Caller::post(&shop, "/v1/webhook-endpoints", endpoint).await.created();
        let endpoint = made.body["endpoint"]["id"].as_str().expect("an id").to_owned();
        let test = Caller::post(&shop, format!("/v1/webhook-endpoints/{endpoint}/test"), json!({})).await.accepted();
        let event = test["event"].as_str().expect("an id");
        let paths = vec![
            format!("/v1/webhook-endpoints/{endpoint}"),
            format!("/v1/webhook-endpoints/{endpoint}/deliveries"),
            format!("/v1/webhook-endpoints/{endpoint}/deliveries/{event}"),
        ];
        let mark = mark.to_owned();
        let mut tenant = Tenant {
            mark,
            user,
            friend,
            shop,
            shop_id,
            payments: vec![],
            held: vec![],
            paths,
            others: vec![],
            cursors: vec![],
        };
        tenant.furnish().await;
        tenant.furnish_by(&operator).await;
        tenant
    }

    /// What only operators make: closings, disputes, bonus, and a payment that the user is asked about.
    async fn furnish_by(&mut self, operator: &Operator) {
        let campaign = json!({ "name": "Autumn", "budget": 100, "currency": "JPY", "reason": "agreed" });
        let campaign = operator.post("/v1/operator/campaigns", campaign).await.created().id;
        let grant = json!({ "user": self.user.id, "amount": 1, "currency": "JPY", "expires_on": next_month(),
            "reason": format!("for {}", self.mark) });
        let grants = format!("/v1/operator/campaigns/{campaign}/grants");
        let lot = operator.post(grants, grant).await.created();
        self.others.push(lot.id);
        for payment in self.payments.iter().take(3) {
            let dispute =
                json!({ "payment": payment, "amount": 1, "currency": "JPY", "reason": format!("no {}", self.mark) });
            let dispute = operator.post("/v1/operator/disputes", dispute).await.created().id;
            self.paths.push(format!("/v1/merchant/disputes/{dispute}"));
        }
        for day in 1..=3_u64 {
            self.user.post("/v1/payments", self.payment(90 + day, 10)).await.created();
            let closing = json!({ "currency": "JPY", "until": format!("2018-09-{day:02}") });
            let closings = format!("/v1/operator/merchants/{}/closings", self.shop_id);
            let closing = operator.post(closings, closing).await.created().id;
            self.paths.push(format!("/v1/merchant/closings/{closing}"));
        }
        let policy = operator.get("/v1/operator/policy").await.ok();
        let mut strict = policy.clone();
        strict["on_missing"] = json!("step-up");
        operator.put("/v1/operator/policy", strict).await.ok();
        let asked = self.user.post("/v1/payments", self.payment(90, 10)).await.problem(403, "step_up_required");
        operator.put("/v1/operator/policy", policy).await.ok();
        let challenge = asked.body["step_up"].as_str().expect("a challenge");
        self.paths.push(format!("/v1/step-ups/{challenge}"));
    }

    async fn furnish(&mut self) {
        for number in 0..6 {
            let mut body = self.payment(number, 10);
            let paid = self.user.post("/v1/payments", body.clone()).await.created().id;
            self.payments.push(paid);
            body["reference"] = json!(format!("held {} {number}", self.mark));
            body["capture"] = json!(false);
            self.held.push(self.user.post("/v1/payments", body).await.created().id);
            let sent = self.user.post("/v1/transfers", self.transfer(1)).await.created().id;
            let at = koban_service::clock::Clock::machine().now().0 + 86_400_000;
            let mut later = self.transfer(1);
            later["execute_at_ms"] = json!(at);
            let later = self.user.post("/v1/schedules", later).await.created().id;
            self.paths.extend([format!("/v1/transfers/{sent}"), format!("/v1/schedules/{later}")]);
        }
        self.paths.extend(self.payments.iter().chain(&self.held).map(|id| format!("/v1/payments/{id}")));
        self.paths.extend(self.held.iter().map(|id| format!("/v1/payments/{id}/captures")));
    }

    fn payment(&self, number: u64, yen: i64) -> Value {
        let reference = format!("order {} {number}", self.mark);
        json!({ "merchant": self.shop_id, "amount": yen, "currency": "JPY", "reference": reference })
    }

    fn transfer(&self, yen: i64) -> Value {
        json!({ "receiver": self.friend.id, "amount": yen, "currency": "JPY", "message": format!("for {}", self.mark) })
    }

    /// Everything that only this tenant may be shown.
    fn marks(&self) -> Vec<String> {
        let mut marks =
            vec![self.mark.clone(), self.user.id.to_string(), self.friend.id.to_string(), self.shop_id.clone()];
        marks.extend(self.payments.iter().chain(&self.held).chain(&self.others).cloned());
        marks.extend(
            self.paths.iter().flat_map(|path| path.split('/').filter(|part| part.contains('_'))).map(str::to_owned),
        );
        marks.sort();
        marks.dedup();
        marks
    }
}

async fn get(client: &Client, path: &str) -> Reply {
    client.get(path).await.expect("an answer")
}

async fn post(client: &Client, path: &str, key: &str, device: &str, body: Vec<u8>) -> Reply {
    let headers = [("idempotency-key", key), ("koban-device", device)];
    client.send(hyper::Method::POST, path, &headers, Some(body)).await.expect("an answer")
}

/// One request of `mine`, who may know of `theirs`.
async fn ask(dice: &mut Dice, mine: &Tenant, theirs: &Tenant) -> (String, Reply) {
    let caller = if dice.below(2) == 0 { mine.user.client() } else { &mine.shop };
    let some = if dice.below(2) == 0 { mine } else { theirs };
    let key = format!("shared-{}", dice.below(40));
    let number = dice.below(40);
    let device = format!("phone-{}", mine.mark);
    let (path, body) = match dice.below(15) {
        0..=2 => {
            let list = *dice.one_of(&LISTS);
            let (join, limit) = (if list.contains('?') { '&' } else { '?' }, 1 + dice.below(5));
            let path = match some.cursors.is_empty() {
                false => format!("{list}{join}limit={limit}&after={}", dice.one_of(&some.cursors)),
                true => format!("{list}{join}limit={limit}"),
            };
            return (format!("GET {path}"), get(caller, &path).await);
        }
        3..=4 => {
            let path = dice.one_of(&some.paths).clone();
            return (format!("GET {path}"), get(caller, &path).await);
        }
        5 => {
            let fixed =
                ["/v1/wallet/statement.csv", "/v1/me", "/v1/wallets", "/v1/merchant", "/v1/wallet?currency=XXX"];
            let path = *dice.one_of(&fixed);
            return (format!("GET {path}"), get(caller, path).await);
        }
        6 => {
            let path = format!("/v1/payments?reference=order%20{}%20{number}", some.mark);
            return ("GET /v1/payments by reference".to_owned(), get(&mine.shop, &path).await);
        }
        7 => ("/v1/payments".to_owned(), mine.payment(number, 1)),
        8 => ("/v1/transfers".to_owned(), mine.transfer(1)),
        9 => {
            let way = *dice.one_of(&["refunds", "captures", "increments", "void"]);
            let body = if way == "void" { json!({}) } else { json!({ "amount": 1, "currency": "JPY" }) };
            let body = if way == "captures" { json!({ "amount": 1 }) } else { body };
            (format!("/v1/payments/{}/{way}", dice.one_of(&some.payments)), body)
        }
        10 => {
            let ids = [dice.one_of(&mine.payments), dice.one_of(&theirs.payments)];
            let items: Vec<Value> =
                ids.iter().map(|id| json!({ "refund": { "payment": id, "amount": 1, "currency": "JPY" } })).collect();
            let mode = *dice.one_of(&["independent", "atomic"]);
            return (
                format!("POST /v1/bulk {mode}"),
                post(&mine.shop, "/v1/bulk", &key, &device, json!({ "mode": mode, "items": items }).to_string().into())
                    .await,
            );
        }
        13 => {
            let path = dice.one_of(&some.paths).clone();
            let path =
                if path.starts_with("/v1/step-ups/") { format!("{path}/confirm") } else { format!("{path}/cancel") };
            (path, json!({ "password": PASSWORD }))
        }
        11 => ("/v1/payments?dry_run=true".to_owned(), mine.payment(number, 1)),
        12 => ("/v1/payments".to_owned(), json!({ "merchant": some.shop_id, "amount": -1, "currency": mine.mark })),
        _ => ("/v1/transfers".to_owned(), json!({ "receiver": mine.mark, "amount": "1", "currency": "JPY" })),
    };
    // A request that names the other tenant would show what it said itself: only what is answered on its own account counts.
    let reply = post(caller, &path, &key, &device, body.to_string().into_bytes()).await;
    (format!("POST {path} {body}"), reply)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_to_one_tenant_shows_anything_of_the_other() {
    let rounds = if is_soak() { 100_000 } else { 1_500 };
    let seed = seed();
    println!("KOBAN_TEST_SEED={seed}");
    let app = Arc::new(TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await);
    let marks = ["canary-ame-4f1c9e", "canary-ber-8d27b3"];
    let mut tenants = [Tenant::of(&app, marks[0]).await, Tenant::of(&app, marks[1]).await];
    let forbidden = [tenants[1].marks(), tenants[0].marks()];
    let mut dice = Dice::new(seed);
    let (mut statuses, mut own) = (std::collections::BTreeMap::<u16, u32>::new(), 0);
    for round in 0..rounds / 2 {
        // Both at the same moment: what one of them is told must not be what was meant for the other.
        let mut other_dice = Dice::new(dice.below(u64::MAX));
        let [ame, ber] = &tenants;
        let (first, second) = tokio::join!(ask(&mut dice, ame, ber), ask(&mut other_dice, ber, ame));
        for (which, (what, reply)) in [first, second].into_iter().enumerate() {
            *statuses.entry(reply.status).or_default() += 1;
            assert!(reply.status < 500, "round {round}, seed {seed}: {what}: {} {}", reply.status, reply.body);
            let headers: String = reply.headers().map(|(name, value)| format!("{name}: {value}\n")).collect();
            let shown = [headers.as_bytes(), &reply.bytes].concat();
            let shown = String::from_utf8_lossy(&shown).into_owned();
            own += u32::from(shown.contains(marks[which]));
            for mark in &forbidden[which] {
                // What the request said itself may come back in a problem about it.
                assert!(
                    !shown.contains(mark.as_str()) || what.contains(mark.as_str()) && reply.status >= 400,
                    "round {round}, seed {seed}: {what}: {mark} in {shown}"
                );
            }
            if let Some(next) = reply.body["next"].as_str() {
                let cursors = &mut tenants[which].cursors;
                cursors.push(next.to_owned());
                if cursors.len() > 64 {
                    cursors.remove(0);
                }
            }
        }
    }
    println!("{rounds} requests: {statuses:?}, {own} showed the asker's own mark");
    assert!(own > rounds / 20, "{own}: the marks are hardly shown at all");
    for status in [200, 201, 400, 403, 404, 422] {
        assert!(statuses.get(&status).is_some_and(|count| *count > 0), "no {status}: {statuses:?}");
    }
    app.ledger_is_clean().await;
}
