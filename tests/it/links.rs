//! A budgeting app that a user links: it is told of new rows, each once, and of nothing any more once the link or its consent is over.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use koban_domain::guest::SavedLink;
use koban_domain::ids::{FlowId, LinkId, UserId};
use koban_domain::ledger::{Command, Decided, Work};
use koban_domain::links::{OfLink, Save};
use koban_service::App;
use koban_service::crash::Point;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{
    BudgetApp, Caller as _, Database, HostProcess, Setup, TestApp, User, eventually, eventually_for, minor, seed_money,
    seed_till, seed_user, unique,
};

/// A link as a flow of budget-live would have saved it.
pub(crate) async fn saved(app: &App, user: UserId) -> LinkId {
    let link = SavedLink {
        reference: unique("account"),
        kind: "app".into(),
        label: "Household".into(),
        data: Vec::new(),
        expires: None,
    };
    let save = OfLink::Save(Save {
        plugin: "budget-live".into(),
        link,
        expires_at: app.clock.now().plus_ms(86_400_000),
        user,
        consents: Vec::new(),
        flow: FlowId(app.clock.id()),
        effect: "save".into(),
    });
    let id = save.key().id();
    let mut work = Work::new(app.clock.id(), "test");
    work.commands = vec![Command::Link(Box::new(save))];
    let decided = app.ledger.commit(work).await.expect("the ledger answers");
    assert!(matches!(decided, Decided::Done(_)), "{decided:?}");
    id
}

/// A host with a budgeting app, and a user with 10,000 yen who has linked it.
struct Linked {
    app: TestApp,
    budget: BudgetApp,
    user: User,
    link: String,
}

impl Linked {
    async fn new() -> Linked {
        let app = TestApp::start().await;
        let budget = app.budget_app().await;
        let user = app.user_holding(10_000).await;
        let linking = user.links_app(&budget, "家計簿").await;
        assert_eq!(linking["standing"], "done", "{linking}");
        let link = linking["link"].as_str().expect("a link").to_owned();
        Linked { app, budget, user, link }
    }

    /// What the app was told, once it knows so many rows.
    async fn rows(&self, wanted: usize) -> Value {
        self.app.look_at_links().await;
        let look = || self.budget.book();
        eventually("rows", look, |book: &Value| book["rows"].as_array().is_some_and(|rows| rows.len() >= wanted)).await
    }

    /// The link, once it says so.
    async fn link_is(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.user.link(&self.link), wanted).await
    }

    /// Lets the host look at every link a few times, and nothing comes of it.
    async fn hears_nothing_more(&self, rows: usize, calls: usize) {
        for _ in 0..3 {
            self.app.look_at_links().await;
            tokio::time::sleep(Duration::from_millis(1_200)).await;
        }
        let book = self.budget.book().await;
        let told = |of: &str| book[of].as_array().map_or(0, Vec::len);
        assert_eq!((told("rows"), told("calls")), (rows, calls), "{book}");
    }
}

fn amounts(book: &Value) -> Vec<i64> {
    let mut amounts: Vec<i64> = book["rows"].as_array().expect("rows").iter().map(|row| minor(row, "amount")).collect();
    amounts.sort_unstable();
    amounts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_after_the_linking_is_told_once_and_what_was_before_is_not() {
    let linked = Linked::new().await;
    let Linked { app, user, link, .. } = &linked;
    let shop = app.shop().await;
    let found = user.link(link).await;
    assert_eq!((&found["label"], &found["state"]), (&json!("家計簿"), &json!("live")), "{found}");
    user.pay(&shop, 1_280).await.created();
    let book = linked.rows(1).await;
    let row = &book["rows"][0];
    assert_eq!((minor(row, "amount"), minor(row, "balance")), (-1_280, 8_720), "{book}");
    assert_eq!(row["kind"], "payment");
    user.pay(&shop, 300).await.created();
    user.pay(&shop, 400).await.created();
    let book = linked.rows(3).await;
    assert_eq!(amounts(&book), [-1_280, -400, -300], "the 10,000 of before are not among them");
    let told = linked.link_is("all are taken", |link| link["rows_sent"] == 3).await;
    assert!(told["sent_at"].is_string() && told["failures"] == 0, "{told}");
    let calls = book["calls"].as_array().expect("calls").len();
    linked.hears_nothing_more(3, calls).await;
    assert_eq!((minor(&book, "again"), minor(&book, "changed")), (0, 0));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_can_be_linked_is_offered_with_what_is_asked_for_and_how_long_it_lasts() {
    let app = TestApp::start().await;
    let user = app.user().await;
    assert_eq!(user.get("/v1/links/offers").await.ok()["items"], json!([]));
    user.post("/v1/linkings", json!({ "plugin": "budget-live", "kind": "app" }))
        .await
        .problem(503, "channel_not_available");
    let _budget = app.budget_app().await;
    let offers = user.get("/v1/links/offers").await.ok();
    let offer = &offers["items"][0];
    assert_eq!(
        (&offer["plugin"], &offer["kind"], &offer["days_max"]),
        (&json!("budget-live"), &json!("app"), &json!(180))
    );
    assert_eq!(offer["consents"], json!([{ "endpoint": "app", "scopes": ["account.read", "transactions.write"] }]));
    assert_eq!(offer["sends_rows"], true);
    assert!(offer["about"]["ja"].is_string() && offer["about"]["en"].is_string());
    let wrong = json!({ "plugin": "budget-live", "kind": "bank" });
    user.post("/v1/linkings", wrong).await.problem(400, "invalid_request");
    let nobodys = json!({ "plugin": "budget-live", "kind": "app", "renews": format!("lnk_{}", "0".repeat(32)) });
    user.post("/v1/linkings", nobodys).await.problem(404, "not_found");
    let stopped = user.begins_linking("").await;
    let stopped = user.post(format!("/v1/linkings/{stopped}/cancel"), json!({})).await.ok();
    assert_eq!((&stopped["standing"], &stopped["link"]), (&json!("cancelled"), &Value::Null), "{stopped}");
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_brings_the_same_rows_again_under_the_same_key() {
    let linked = Linked::new().await;
    let shop = linked.app.shop().await;
    linked.budget.switch(json!({ "rows": "lost" })).await;
    linked.user.pay(&shop, 500).await.created();
    linked.rows(1).await;
    linked.budget.switch(json!({ "rows": "normal" })).await;
    linked.link_is("it is taken", |link| link["rows_sent"] == 1).await;
    let book = linked.budget.book().await;
    let mut keys: Vec<&Value> = book["calls"].as_array().expect("calls").iter().collect();
    assert!(keys.len() > 1, "it was tried again: {book}");
    keys.dedup();
    assert_eq!(keys.len(), 1, "under one key");
    assert_eq!((amounts(&book), minor(&book, "changed")), (vec![-500], 0), "{book}");
    linked.app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_not_taken_are_brought_again_by_the_next_flow() {
    let linked = Linked::new().await;
    let shop = linked.app.shop().await;
    linked.budget.switch(json!({ "rows": "error" })).await;
    linked.user.pay(&shop, 500).await.created();
    linked.app.look_at_links().await;
    let failed = linked.link_is("it failed", |link| link["failures"] == 1).await;
    assert_eq!((&failed["state"], &failed["rows_sent"]), (&json!("live"), &json!(0)));
    linked.user.pay(&shop, 200).await.created();
    linked.budget.switch(json!({ "rows": "normal" })).await;
    assert_eq!(amounts(&linked.rows(2).await), [-500, -200]);
    linked.link_is("both are taken", |link| link["rows_sent"] == 2 && link["failures"] == 0).await;
    linked.app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_the_partner_knows_no_more_is_no_link_any_more() {
    let linked = Linked::new().await;
    let shop = linked.app.shop().await;
    linked.budget.forget().await;
    linked.user.pay(&shop, 500).await.created();
    linked.app.look_at_links().await;
    let ended = linked.link_is("it ended", |link| link["state"] == "ended").await;
    assert_eq!((&ended["reason"], &ended["rows_sent"]), (&json!("by_partner"), &json!(0)), "{ended}");
    linked.user.pay(&shop, 100).await.created();
    linked.hears_nothing_more(0, 0).await;
    linked.app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_ends_the_link_midway_ends_the_sending_and_the_token_at_once() {
    let linked = Linked::new().await;
    let Linked { app, budget, user, link } = &linked;
    let shop = app.shop().await;
    // The app has the rows and says nothing: the host would ask again and again for two minutes.
    budget.switch(json!({ "rows": "lost" })).await;
    user.pay(&shop, 500).await.created();
    linked.rows(1).await;
    let ended = user.delete(format!("/v1/links/{link}")).await.ok();
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("ended"), &json!("by_user")), "{ended}");
    let again = user.delete(format!("/v1/links/{link}")).await.ok();
    // The sending that was under way fails by it, and is counted when it does.
    let apart_from_failures = |link: &Value| {
        let mut link = link.clone();
        link["failures"] = Value::Null;
        link
    };
    assert_eq!(apart_from_failures(&again), apart_from_failures(&ended), "ended before is ended");
    let look = || budget.book();
    let book = eventually("the token is given up", look, |book: &Value| book["revoked"] == 1).await;
    assert_eq!(minor(&book, "tokens"), 0);
    let consents = user.get("/v1/consents").await.ok();
    assert_eq!(consents["items"][0]["reason"], "link_ended", "{consents}");
    budget.switch(json!({ "rows": "normal" })).await;
    // An attempt that was under way when the link ended may have come after it; then nothing does.
    let calls = budget.book().await["calls"].as_array().expect("calls").len();
    user.pay(&shop, 100).await.created();
    linked.hears_nothing_more(1, calls).await;
    let open = "select count(*) from flows where standing < 4 or stuck = 1";
    let flows = || async { app.database.hand().await.number(open).await };
    eventually("the flow has ended", flows, |open| *open == 0).await;
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_that_its_user_takes_back_ends_the_link_that_rests_on_it() {
    let linked = Linked::new().await;
    let Linked { app, budget, user, link } = &linked;
    assert_eq!(user.delete("/v1/consents/budget-live/app").await.reply.status, 204);
    let ended = user.link(link).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("ended"), &json!("consent_ended")), "{ended}");
    eventually("the token is given up", || budget.book(), |book: &Value| book["revoked"] == 1).await;
    let left = "select count(*) from consent_revocations";
    eventually("nothing is kept of it", || async { app.database.hand().await.number(left).await }, |left| *left == 0)
        .await;
    let shop = app.shop().await;
    user.pay(&shop, 100).await.created();
    linked.hears_nothing_more(0, 0).await;
    // Linked again, what happened in between is not told.
    let again = user.links_app(budget, "").await;
    assert_eq!(again["link"], json!(link), "the same account is the same link: {again}");
    assert_eq!(user.link(link).await["label"], "Household book *0042", "the app's own name");
    user.pay(&shop, 200).await.created();
    assert_eq!(amounts(&linked.rows(1).await), [-200]);
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_users_link_is_nothing() {
    let linked = Linked::new().await;
    let other = linked.app.user().await;
    other.get(format!("/v1/links/{}", linked.link)).await.problem(404, "not_found");
    other.delete(format!("/v1/links/{}", linked.link)).await.problem(404, "not_found");
    let body = json!({ "plugin": "budget-live", "kind": "app", "renews": linked.link });
    other.post("/v1/linkings", body).await.problem(404, "not_found");
    assert_eq!(other.get("/v1/links").await.ok()["items"], json!([]));
    // The app says that it is the account of the first one.
    let taken = other.links_app(&linked.budget, "mine").await;
    let look = || async {
        let id = taken["id"].as_str().expect("an id");
        other.get(format!("/v1/linkings/{id}")).await.ok()
    };
    let told = eventually("the plugin is told", look, |linking: &Value| linking["note"].is_object()).await;
    assert_eq!((&told["link"], &told["note"]["code"]), (&Value::Null, &json!("not_linked")), "{told}");
    assert_eq!(linked.user.link(&linked.link).await["label"], "家計簿");
    linked.app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_go_in_several_flows() {
    let linked = Linked::new().await;
    // What is not looked at meanwhile comes together.
    for _ in 0..620 {
        linked.app.bring(linked.user.id, 10).await;
    }
    let book = linked.rows(620).await;
    assert_eq!((minor(&book, "again"), minor(&book, "changed")), (0, 0));
    linked.link_is("all are taken", |link| link["rows_sent"] == 620).await;
    let calls = linked.budget.book().await["calls"].as_array().expect("calls").len();
    assert!(calls >= 2, "at most 500 at a time: {calls}");
    linked.app.ledger_is_clean().await;
}

/// The host ends at this place once rows are on their way, and another one goes on.
async fn rows_are_told_once_although_the_host_ends_at(point: Point) {
    let database = Arc::new(Database::fresh().await);
    let app = TestApp::on(Arc::clone(&database), Setup::default()).await;
    let budget = app.budget_app().await;
    seed_till(&app.app).await;
    let (id, token) = seed_user(&app.app, true).await;
    seed_money(&app.app, id, 10_000).await;
    let user = User::signed_in(id, token.clone(), &app.anonymous());
    let linked = user.links_app(&budget, "家計簿").await;
    let link = linked["link"].as_str().expect("a link").to_owned();
    drop(app.stop().await);
    let quiet = TestApp::on(Arc::clone(&database), Setup { jobs: false, ..Setup::default() }).await;
    seed_money(&quiet.app, id, 700).await;
    drop(quiet.stop().await);
    // Nobody looks at it until the host is there.
    database.hand().await.run("update links set due_at = 9000000000000").await;
    let end_at = OsString::from(format!("{}:1", point.word()));
    let host =
        HostProcess::start_in(&database, "host", &["--listen", "127.0.0.1:0"], &[("KOBAN_END_AT", end_at)]).await;
    database.hand().await.run("update links set due_at = 0").await;
    let ended = tokio::time::timeout(Duration::from_secs(60), host.ended()).await;
    let ended = ended.unwrap_or_else(|_| panic!("the host never came to {}", point.word()));
    assert!(!ended.success(), "{}: {ended:?}", point.word());
    let host = HostProcess::start(&database).await;
    let user = User::signed_in(id, token, &Client::new(host.client().address().to_owned()));
    let look = || async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        user.link(&link).await
    };
    // A lease is taken over after half a minute.
    eventually_for(Duration::from_secs(120), "the row is taken", look, |link: &Value| link["rows_sent"] == 1).await;
    let book = budget.book().await;
    assert_eq!((amounts(&book), minor(&book, "changed")), (vec![700], 0), "{}: {book}", point.word());
    assert!(host.stop().await.success());
    let app = TestApp::on(Arc::clone(&database), Setup { jobs: false, ..Setup::default() }).await;
    app.ledger_is_clean().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_between_sending_and_noting_it_tells_each_row_once() {
    let points = [Point::StepMade, Point::EffectLeased, Point::AttemptCounted, Point::AnswerHeard, Point::EventStored];
    let mut running = tokio::task::JoinSet::new();
    for point in points {
        running.spawn(rows_are_told_once_although_the_host_ends_at(point));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("it holds");
    }
}
