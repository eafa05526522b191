//! One of each thing that the routes of operators name, all about one tenant.

use koban_author::sign::SigningKey;
use serde_json::json;

use crate::harness::{Caller, Folder, Kind, TestApp, whole, yen};
use crate::matrix::{Object, Place, Side};

/// What operators see: by the beginning of a route, longest first, what its ids name.
pub(crate) struct Platform(Vec<(&'static str, Place)>);

impl Platform {
    /// Makes them. Everything is about this tenant, so that it would know them by their ids.
    pub(crate) async fn of(app: &TestApp, side: &Side) -> Platform {
        let (desk, user) = (&side.desk, side.user.id.to_string());
        let reason = "asked for";
        let line = json!({ "debit": { "class": "write-off" }, "credit": { "class": "prepaid", "owner": user }, "amount": 1,
            "currency": "JPY" });
        let adjustment =
            desk.post("/v1/operator/adjustments", json!({ "lines": [line], "reason": reason })).await.created().id;
        let campaign = json!({ "name": "Autumn", "budget": 100, "currency": "JPY", "reason": reason });
        let campaign = desk.post("/v1/operator/campaigns", campaign).await.created().id;
        let grant =
            json!({ "user": user, "amount": 1, "currency": "JPY", "expires_on": next_month(), "reason": reason });
        let grants = format!("/v1/operator/campaigns/{campaign}/grants");
        let lot = desk.post(grants, grant).await.created().body["id"].as_str().expect("a lot").to_owned();
        let flow = side.make(Object::Charge).await;
        let decisions = desk.get("/v1/operator/decisions?limit=1").await.ok();
        let decision = decisions["items"][0]["id"].as_str().expect("the charge's beginning").to_owned();
        let plugin = desk.get("/v1/operator/plugins/charge-atm").await.ok();
        let digest = plugin["digest"].as_str().expect("a digest").to_owned();
        let of_plugin = Place { digest: digest.clone(), ..Place::of("charge-atm") };
        let folder = Folder::new();
        let key = SigningKey::create(&folder.path().join("example.key")).expect("a key");
        let publisher = json!({ "name": "example-inc", "key": key.public_key() });
        desk.post("/v1/operator/publishers", publisher).await.created();
        let operators = desk.get("/v1/operator/operators").await.ok();
        let operator = operators["items"][0]["id"].as_str().expect("an operator").to_owned();
        app.install("charge-campaign", &[], None).await;
        let mut delivery = side.make(Object::Delivery).await;
        delivery.digest.clone_from(&digest);
        Platform(vec![
            ("/v1/operator/adjustments/", Place::of(adjustment)),
            ("/v1/operator/calendars/", Place::of("jp-banking")),
            ("/v1/operator/campaigns/", Place::of(campaign)),
            ("/v1/operator/closings/", side.make(Object::Closing).await),
            ("/v1/operator/components/", of_plugin.clone()),
            ("/v1/operator/decisions/", Place::of(decision)),
            ("/v1/operator/disputes/", side.make(Object::Dispute).await),
            ("/v1/operator/feeds/", of_plugin.clone()),
            ("/v1/operator/flows/", Place { digest, ..flow }),
            ("/v1/operator/keys/", side.make(Object::Key).await),
            ("/v1/operator/lots/", Place::of(lot)),
            ("/v1/operator/merchants/", Place::of(side.shop.id.to_string())),
            ("/v1/operator/operators/", Place::of(operator)),
            ("/v1/operator/partner-files/", partner_file(app).await),
            ("/v1/operator/plugins/", of_plugin),
            ("/v1/operator/publishers/", Place::of("example-inc")),
            ("/v1/operator/reviews/", review(app, side).await),
            ("/v1/operator/subscriptions/", Place::of("charge-campaign")),
            ("/v1/operator/users/", Place::of(user)),
            ("/v1/operator/webhook-endpoints/", delivery),
        ])
    }

    /// What is there for a route that names something; none for one that names nothing, or nothing of the platform's.
    pub(crate) fn place(&self, path: &str) -> Option<Place> {
        if !path.starts_with("/v1/operator/") || !path.contains('{') {
            return None;
        }
        let found = self.0.iter().find(|(prefix, _)| path.starts_with(prefix));
        Some(found.unwrap_or_else(|| panic!("{path}: nothing is made for it; add a row to `Platform::of`")).1.clone())
    }
}

/// A file that waits for its cut-off; jobs rest, so that it is put there by hand.
async fn partner_file(app: &TestApp) -> Place {
    let digits = "0f".repeat(16);
    let id = match app.database.kind {
        Kind::Sqlite => format!("x'{digits}'"),
        Kind::Postgres => format!("decode('{digits}', 'hex')"),
    };
    let sql = format!(
        "insert into partner_files (id, plugin, file, cut_off, directory, state, name, records, bytes, changed_at)
            values ({id}, 'bank-transfer', 'transfers', 1775023200000, 'bank', 0, 'transfers.txt', 0, 0, 0)"
    );
    app.database.hand().await.run(&sql).await;
    Place::of(format!("pfl_{digits}"))
}

/// A payment that waits for an operator, because a rule that is there for it alone wants so.
async fn review(app: &TestApp, side: &Side) -> Place {
    let settings = [
        whole("night_from", 0),
        whole("night_to", 0),
        yen("amount_high", 20),
        yen("amount_limit", 100),
        yen("new_payee_amount", 20),
    ];
    app.install("fraud-rules", &settings, None).await;
    let held = side.user.pay(&app.shop().await, 30).await;
    assert_eq!(held.reply.status, 202, "{}", held.reply.body);
    side.desk.post("/v1/operator/plugins/fraud-rules/disable", json!({})).await.ok();
    let id = held.reply.body["id"].as_str().expect("a payment");
    Place::of(format!("rev_{}", id.split_once('_').expect("a prefix").1))
}

/// A day on which a bonus may end.
pub(crate) fn next_month() -> String {
    koban_service::clock::Clock::machine().now().plus_ms(30 * 86_400_000).jst_date()
}
