//! What operators do with flows that are stuck: let them go on, or end them with a named correcting entry.

use koban_domain::flows::Resolution;
use koban_domain::guest::{Named, Standing};
use koban_domain::money::Money;
use koban_domain::outcomes::Refusal;
use koban_service::flows::Reply;
use koban_service::operators::command_line;
use koban_service::page::Page;
use koban_service::{Error, flows, plugins};
use koban_store::flows::Which;
use serde_json::json;

use crate::house::{House, cash, said};

fn pay(reference: &str) -> serde_json::Value {
    json!({ "correlation": "c-1", "amount": 1_000, "reference": reference })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_flow_goes_on_where_it_stopped_and_the_stored_call_gets_its_reply() {
    let house = House::with_attacker("panic").await;
    let charge = house.begun(10_000, "c-1").await;
    assert_eq!(house.calls("pay", &pay("r-1")).await.unwrap().status, 503);
    house.until_stuck(charge).await;
    let listed = flows::FlowFilter { which: Which::Stuck, plugin: None };
    let stuck = flows::list(&house.app, &listed, &Page::default()).await.unwrap().items;
    assert_eq!(stuck.iter().map(|flow| flow.id).collect::<Vec<_>>(), [charge]);

    let none = flows::retry(&house.app, &command_line("r0"), charge, " ").await.unwrap_err();
    assert!(matches!(none, Error::Invalid { .. }), "a reason is asked for: {none}");
    let settings = [Named::text("attack", "none")];
    plugins::set_settings(&house.app, &command_line("s"), "hostile-channel", &settings).await.unwrap();
    let first = flows::retry(&house.app, &command_line("r1"), charge, "settings corrected").await.unwrap();
    assert!(!first.replayed);
    house.until(charge, Standing::Done).await;
    let reply = house.calls("pay", &pay("r-1")).await.unwrap();
    assert_eq!(said(&house, &reply), r#"200 {"result":"ok"}"#);
    assert_eq!(house.balance().await, 1_000);
    assert!(flows::retry(&house.app, &command_line("r1"), charge, "settings corrected").await.unwrap().replayed);
    let other = flows::retry(&house.app, &command_line("r2"), charge, "again").await.unwrap_err();
    assert!(matches!(other, Error::Conflict(_)), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_confirms_a_credit_that_the_partner_proved() {
    let house = House::with_attacker("panic").await;
    let charge = house.begun(10_000, "c-1").await;
    house.calls("pay", &pay("r-1")).await.unwrap();
    house.until_stuck(charge).await;
    let proved =
        |yen, reference: &str| Resolution::ConfirmCredit { amount: Money::yen(yen), reference: reference.into() };
    let much = flows::resolve(
        &house.app,
        &command_line("k0"),
        charge,
        &proved(10_001, "r-1"),
        Some(Reply::Refuse),
        "too much",
    )
    .await;
    assert!(
        matches!(much, Err(Error::Refused { refusal: Refusal::AuthorisationExceeded, replayed: false })),
        "{much:?}"
    );
    let resolution = proved(1_000, "r-1");
    let done = flows::resolve(&house.app, &command_line("k1"), charge, &resolution, Some(Reply::Refuse), "slip no. 7")
        .await
        .unwrap();
    assert_eq!((done.value.summary.standing, done.value.summary.stuck), (Standing::Done, None));
    assert_eq!(house.balance().await, 1_000);
    assert!(
        flows::resolve(&house.app, &command_line("k1"), charge, &resolution, Some(Reply::Refuse), "slip no. 7")
            .await
            .unwrap()
            .replayed
    );
    assert_eq!(house.balance().await, 1_000);
    // The call that waited is answered, and nothing of it is decided afterwards.
    let reply = house.calls("pay", &pay("r-1")).await.unwrap();
    assert_eq!(reply.status, 410);
    let detail = flows::get(&house.app, charge).await.unwrap();
    assert!(detail.next.is_none() && detail.summary.stuck.is_none());
    assert!(detail.decisions.iter().any(|row| row.act == "flow.resolve" && row.detail.contains("slip no. 7")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_takes_a_flows_credits_back_or_ends_it_without_money() {
    let house = House::with_atm().await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    house.calls("deposit", &cash("s-1", 1, 10_000)).await.unwrap();
    let end =
        flows::resolve(&house.app, &command_line("k0"), charge, &Resolution::End, None, "why not").await.unwrap_err();
    assert!(matches!(end, Error::Conflict(_)), "it has ended by itself: {end}");
    let reverse = Resolution::ReverseCredits;
    flows::resolve(&house.app, &command_line("k1"), charge, &reverse, None, "the network telephoned").await.unwrap();
    assert_eq!(house.balance().await, 0);

    let open = house.begun(30_000, "s-2").await;
    let nothing =
        flows::resolve(&house.app, &command_line("k2"), open, &reverse, None, "nothing there").await.unwrap_err();
    assert!(matches!(nothing, Error::Conflict(_)), "{nothing}");
    flows::resolve(&house.app, &command_line("k3"), open, &Resolution::End, None, "the user telephoned").await.unwrap();
    let charge = house.charge(open).await;
    assert_eq!(charge.standing, Standing::Failed);
    assert_eq!(charge.note.unwrap().text.unwrap(), "An operator closed this charge");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_component_stops_its_flows_and_is_not_asked_again() {
    let house = House::with_atm().await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    let digest = plugins::get(&house.app, "charge-atm").await.unwrap().digest;
    plugins::revoke(&house.app, &command_line("v"), digest, "it lies").await.unwrap();
    house.calls("deposit", &cash("s-1", 1, 10_000)).await.unwrap();
    // Nothing may rest on its routing either, so the call is not even delivered; the user's own wish is.
    let cancel = koban_service::charges::cancel(&house.app, &house.ctx(""), charge).await.unwrap();
    assert_eq!(cancel.standing, Standing::Checking);
    assert!(house.until_stuck(charge).await.contains("revoked"));
    let retried = flows::retry(&house.app, &command_line("r"), charge, "please").await.unwrap_err();
    assert!(matches!(retried, Error::Conflict(_)), "{retried}");
    assert_eq!(house.balance().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_late_after_the_end_is_kept_for_an_operator() {
    const DAY_MS: i64 = 86_400_000;
    let house = House::with_atm().await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::WaitingForUser).await;
    house.calls("deposit", &cash("s-1", 1, 10_000)).await.unwrap();
    house.clock.advance_ms(15 * DAY_MS);
    let reply = house.calls("reversal", &cash("s-1", 1, 10_000)).await.unwrap();
    assert_eq!(reply.status, 503);
    assert!(house.until_stuck(charge).await.contains("14 days after its end"));
    assert_eq!(house.balance().await, 10_000);
    // The operator lets it through.
    flows::retry(&house.app, &command_line("r"), charge, "the network has shown its journal").await.unwrap();
    house.until_true("it is reversed".to_owned(), async || house.balance().await == 0).await;
    let reply = house.calls("reversal", &cash("s-1", 1, 10_000)).await.unwrap();
    assert_eq!(said(&house, &reply), r#"200 {"result":"ok"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_gives_flows_in_progress_no_new_settings() {
    let house = House::with_attacker("none").await;
    let charge = house.begun(10_000, "c-1").await;
    // Whatever begins from now on panics; what began before goes on as it was.
    let settings = [Named::text("attack", "panic")];
    plugins::set_settings(&house.app, &command_line("s"), "hostile-channel", &settings).await.unwrap();
    let reply = house.calls("pay", &pay("r-1")).await.unwrap();
    assert_eq!(said(&house, &reply), r#"200 {"result":"ok"}"#);
    house.until(charge, Standing::Done).await;
    assert_eq!(house.balance().await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_that_waits_is_told_what_the_operator_says_with_the_credit_itself() {
    let house = House::with_changed_attacker("panic", |manifest| {
        for operation in &mut manifest.endpoints[0].inbound {
            operation.accepted = Some(r#"{"result":"ok"}"#.to_owned());
        }
    })
    .await;
    let charge = house.begun(10_000, "c-1").await;
    assert_eq!(house.calls("pay", &pay("r-1")).await.unwrap().status, 503);
    house.until_stuck(charge).await;
    let resolution = Resolution::ConfirmCredit { amount: Money::yen(1_000), reference: "r-1".into() };
    let resolve = async |key: &str, reply| {
        flows::resolve(&house.app, &command_line(key), charge, &resolution, reply, "slip no. 7").await
    };
    // A partner that waits is never told by chance whether it may keep the money.
    let unsaid = resolve("k1", None).await.unwrap_err();
    assert!(
        matches!(&unsaid, Error::Invalid { field, problem } if field == "reply" && problem.contains("`pay`")),
        "{unsaid}"
    );
    assert_eq!(house.balance().await, 0);
    let done = resolve("k1", Some(Reply::Accept)).await.unwrap();
    assert_eq!((done.value.summary.standing, done.value.next), (Standing::Done, None));
    assert_eq!(house.balance().await, 1_000);
    let reply = house.calls("pay", &pay("r-1")).await.unwrap();
    assert_eq!(said(&house, &reply), r#"200 {"result":"ok"}"#);
    assert!(resolve("k1", Some(Reply::Accept)).await.unwrap().replayed);
    let other = resolve("k1", Some(Reply::Refuse)).await.unwrap_err();
    assert!(matches!(other, Error::KeyReused), "{other}");
    // The credit and the reply are one commit: one audit row, and nothing else was decided.
    let acts: Vec<_> = flows::get(&house.app, charge).await.unwrap().decisions.into_iter().map(|one| one.act).collect();
    assert_eq!(acts.first().map(String::as_str), Some("flow.resolve"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_manifest_says_is_not_told_a_partner() {
    let house = House::with_attacker("panic").await;
    let charge = house.begun(10_000, "c-1").await;
    house.calls("pay", &pay("r-1")).await.unwrap();
    house.until_stuck(charge).await;
    let resolution = Resolution::ConfirmCredit { amount: Money::yen(1_000), reference: "r-1".into() };
    let (ctx, yes) = (command_line("k"), Some(Reply::Accept));
    let refused = flows::resolve(&house.app, &ctx, charge, &resolution, yes, "slip no. 7").await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid { problem, .. } if problem.contains("`accepted`")), "{refused}");
    assert_eq!(house.balance().await, 0);
}
