//! One sentence for each rule of linking and sending, over the pretend host.

use koban_sdk::flow::{Act, HttpAnswer, Link, Lost, Show, Standing, What};
use koban_sdk::pretend::{self, Flow, Taken};
use koban_sdk::statement::{Account, Row};
use koban_sdk::{Context, Json, Money, Statement, Value, json, sync};

use crate::{BudgetLive, Nothing};

const NOW: u64 = 1_775_012_400_000;

fn linking() -> (Flow<BudgetLive>, Taken) {
    Flow::begin_link(NOW, &[], &pretend::linking("app", &[])).expect("it begins")
}

fn at_the_app(name: &str) -> Flow<BudgetLive> {
    let (mut flow, _) = linking();
    flow.form("name", &[("name", Value::Text(name.to_owned()))]).expect("a step");
    let asked = flow.agree("agree").expect("a step");
    assert!(matches!(asked.effect("account"), Act::Http(call) if call.operation == "account"));
    flow
}

fn wallet() -> Account {
    let row = |id: &str, yen: i64, balance| Row {
        id: id.to_owned(),
        at: NOW,
        kind: "payment".to_owned(),
        amount: Money::yen(yen),
        balance,
        counterpart: "Cafe".to_owned(),
        memo: String::new(),
        refers_to: None,
    };
    Account {
        name: "w".to_owned(),
        currency: "JPY".to_owned(),
        since: NOW,
        until: NOW + 1,
        opening: 1_000,
        closing: 300,
        rows: vec![row("ent_1", -500, 500), row("ent_2", -200, 300)],
    }
}

fn sending() -> (Flow<BudgetLive>, Taken) {
    let link = Link {
        reference: "acc-1".to_owned(),
        kind: "app".to_owned(),
        label: "Household".to_owned(),
        data: Vec::new(),
        since: NOW,
        expires: None,
        mandate: None,
    };
    let request = sync::Request { wallet: "w".to_owned(), link, account: wallet(), facts: Vec::new() };
    Flow::begin_sync(NOW, &[], &request).expect("it begins")
}

fn body(taken: &Taken) -> Json {
    let Act::Http(call) = taken.effect("rows") else { panic!("{taken:?}") };
    HttpAnswer { status: 200, headers: Vec::new(), body: call.body.clone() }.read().expect("JSON")
}

#[test]
fn a_name_the_apps_page_and_the_apps_word_make_a_link() {
    let mut flow = at_the_app("家計簿");
    let saved = flow.answer("account", 200, &json!({ "id": "acc-1", "name": "Hana's book" })).expect("a step");
    assert_eq!(saved.standing, Standing::Done);
    assert_eq!(flow.link("acc-1").map(|link| link.label.as_str()), Some("家計簿"));
    let mut unnamed = at_the_app("  ");
    unnamed.answer("account", 200, &json!({ "id": "acc-2", "name": "Hana's book" })).expect("a step");
    assert_eq!(unnamed.link("acc-2").map(|link| link.label.as_str()), Some("Hana's book"));
}

#[test]
fn the_user_is_sent_to_the_app_and_nowhere_else() {
    let (mut flow, begun) = linking();
    assert_eq!(begun.standing, Standing::WaitingForUser);
    let shown = flow.form("name", &[]).expect("a step");
    assert_eq!(shown.effect("agree"), &Act::Show(Show::Consent("app".to_owned())));
}

#[test]
fn an_app_that_says_nothing_of_use_is_not_linked() {
    for (status, said) in [(500, json!({})), (200, json!({ "name": "no id" })), (200, json!({ "id": "", "name": "" }))]
    {
        let mut flow = at_the_app("");
        let failed = flow.answer("account", status, &said).expect("a step");
        assert_eq!((failed.standing, failed.code()), (Standing::Failed, Some("not_linked")), "{status} {said}");
    }
    let mut lost = at_the_app("");
    assert_eq!(lost.lost("account", Lost::Unknown).expect("a step").code(), Some("not_linked"));
    let (mut stopped, _) = linking();
    assert_eq!(stopped.ask_to_cancel().expect("a step").standing, Standing::Cancelled);
}

#[test]
fn an_account_that_is_another_users_is_said_and_the_end_stays_the_end() {
    let mut flow = at_the_app("");
    flow.answer("account", 200, &json!({ "id": "acc-1", "name": "x" })).expect("a step");
    let told = flow.resume("save", What::Lost((Lost::Refused, "another user's".to_owned()))).expect("a step");
    assert_eq!((told.standing, told.code()), (Standing::Done, Some("not_linked")));
    let (mut failed, _) = sending();
    failed.answer("rows", 500, &json!({})).expect("a step");
    assert_eq!(failed.ask_to_cancel().expect("a step").standing, Standing::Failed);
}

#[test]
fn rows_go_out_in_one_call_each_under_its_own_id() {
    let (mut flow, begun) = sending();
    let sent = body(&begun);
    assert_eq!((&sent["account"], &sent["opening"], &sent["closing"]), (&json!("acc-1"), &json!(1_000), &json!(300)));
    let ids: Vec<_> = sent["rows"].as_array().expect("rows").iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [json!("ent_1"), json!("ent_2")]);
    assert_eq!(flow.answer("rows", 202, &json!({})).expect("a step").standing, Standing::Done);
}

#[test]
fn what_was_not_taken_is_said_and_an_account_that_is_gone_is_dropped() {
    for status in [401, 500] {
        let (mut flow, _) = sending();
        let failed = flow.answer("rows", status, &json!({})).expect("a step");
        assert_eq!((failed.standing, failed.code()), (Standing::Failed, Some("not_taken")));
        assert!(failed.effects.is_empty(), "the link stays");
    }
    let (mut lost, _) = sending();
    assert_eq!(lost.lost("rows", Lost::Unknown).expect("a step").code(), Some("not_taken"));
    let (mut gone, _) = sending();
    let failed = gone.answer("rows", 410, &json!({})).expect("a step");
    assert_eq!((failed.standing, failed.code()), (Standing::Failed, Some("gone")));
    assert_eq!(failed.effect("gone"), &Act::DropLink("acc-1".to_owned()));
}

#[test]
fn the_file_is_what_the_app_is_sent() {
    let ctx: Context = pretend::context(NOW);
    let file = BudgetLive::compose(&ctx, &Nothing, "json", &wallet()).expect("a file");
    assert!(String::from_utf8_lossy(&file.content).contains("ent_2"));
    assert_eq!(
        BudgetLive::compose(&ctx, &Nothing, "ofx", &wallet()).expect_err("no format").text.as_deref(),
        Some("format-unknown")
    );
}
