//! Taking money out to a bank account, and charging by a transfer: each effect once, only funds, and nothing is lost when an answer is.

use koban_domain::flows::Resolution;
use koban_domain::ids::FlowId;
use koban_domain::money::Money;
use koban_service::clock::Clock;
use koban_service::{flows, jobs};
use outside_world::clock::Clock as OutsideClock;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    BANK_FEE, Bank, Caller as _, Setup, TestApp, User, eventually, eventually_for, minor, payee, unique,
};

async fn town() -> (TestApp, Bank, User) {
    let app = TestApp::start().await;
    let bank = app.bank().await;
    let user = app.verified_user_holding(50_000).await;
    (app, bank, user)
}

/// What the bank has done once: the sum, how often it was asked for, under how many keys.
async fn done_once(bank: &Bank) -> (i64, u64, usize) {
    let book = bank.book().await;
    let [transfer] = &book["transfers"].as_array().expect("transfers")[..] else { panic!("{book}") };
    let keys = transfer["keys"].as_array().expect("keys").len();
    (book["done"].as_i64().expect("a sum"), transfer["asked"].as_u64().expect("a number"), keys)
}

#[tokio::test]
async fn funds_are_taken_out_to_a_bank_account_and_settled() {
    let (app, bank, user) = town().await;
    let begun = user.withdraws(10_000, "w-1").await.created();
    let shown = user.withdrawal(&begun.id).await;
    assert_eq!(
        (&shown["standing"], minor(&shown, "amount"), minor(&shown, "fee"), minor(&shown, "held")),
        (&json!("waiting-for-user"), 10_000, BANK_FEE, 10_216),
        "{shown}"
    );
    assert_eq!(shown["shows"][0]["fields"].as_array().expect("fields").len(), 4, "{shown}");
    assert_eq!(minor(&user.wallet().await, "available"), 50_000 - 10_216, "what is set aside cannot be spent");
    user.says_where(&begun.id, "123").await;
    let ended = user.ended_withdrawal(&begun.id).await;
    assert_eq!(
        (&ended["standing"], minor(&ended, "taken"), minor(&ended, "held")),
        (&json!("done"), 10_216, 0),
        "{ended}"
    );
    assert_eq!((user.balance().await, done_once(&bank).await), (50_000 - 10_216, (10_000, 1, 1)));
    assert_eq!(app.exposure("bank-transfer").await.used.minor, 10_000, "until a file lists it");

    let again = user.withdraws(10_000, "w-1").await.created();
    assert!(again.replayed && again.id == begun.id);
    let listed = user.get("/v1/withdrawals").await.ok();
    assert_eq!(
        (listed["items"].as_array().expect("withdrawals").len(), &listed["items"][0]["id"]),
        (1, &json!(begun.id))
    );
    for elsewhere in ["charges", "bills"] {
        user.get(format!("/v1/{elsewhere}/{}", begun.id)).await.problem(404, "not_found");
    }

    bank.end_of_day().await;
    eventually("the file is taken", || app.exposure("bank-transfer"), |exposure| exposure.used.minor == 0).await;
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn only_a_verified_user_takes_out_only_funds_and_at_most_a_day() {
    let (app, bank, user) = town().await;
    let prepaid = app.user_holding(50_000).await;
    prepaid.withdraws(1_000, "k").await.problem(403, "not_verified");
    user.withdraws(50_000, "w-1").await.problem(422, "insufficient_funds");
    let rich = app.verified_user_holding(200_000).await;
    rich.withdraws(99_785, "w-1").await.problem(422, "day_limit");
    let first = rich.withdraws(99_784, "w-2").await.created();
    rich.withdraws(1, "w-3").await.problem(422, "day_limit");
    rich.says_where(&first.id, "123").await;
    assert_eq!(rich.ended_withdrawal(&first.id).await["standing"], "done");
    assert_eq!(bank.book().await["done"], 99_784);
    // Another fee than the channel's is said by the channel, and decides nothing.
    let body = json!({ "channel": "bank-transfer", "amount": 1_000, "fee": 1, "currency": "JPY" });
    let problem = user.post("/v1/withdrawals", body).await.problem(422, "plugin_refused");
    assert_eq!(problem.body["plugin_code"], "fee_differs");
    for channel in ["charge-atm", "fraud-rules", "nobody"] {
        let body = json!({ "channel": channel, "amount": 1_000, "currency": "JPY" });
        user.post("/v1/withdrawals", body).await.problem(503, "channel_not_available");
    }
    assert_eq!(user.balance().await, 50_000);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_the_bank_refuses_or_the_user_stops_costs_nothing() {
    let (app, bank, user) = town().await;
    let refused = user.withdraws(10_000, "w-1").await.created();
    user.says_where(&refused.id, "999").await;
    let refused = user.ended_withdrawal(&refused.id).await;
    assert_eq!(
        (&refused["standing"], &refused["note"]["code"]),
        (&json!("failed"), &json!("refused_by_bank")),
        "{refused}"
    );
    let stopped = user.withdraws(10_000, "w-2").await.created();
    user.post(format!("/v1/withdrawals/{}/cancel", stopped.id), json!({})).await.ok();
    assert_eq!(user.ended_withdrawal(&stopped.id).await["standing"], "cancelled");
    user.post(format!("/v1/withdrawals/{}/answers", stopped.id), payee("123")).await.problem(409, "conflict");
    let wallet = user.wallet().await;
    assert_eq!((user.balance().await, minor(&wallet, "available")), (50_000, 50_000));
    assert_eq!((bank.book().await["done"].as_i64(), app.exposure("bank-transfer").await.used.minor), (Some(0), 0));
    let stranger = app.verified_user_holding(1_000).await;
    stranger.get(format!("/v1/withdrawals/{}", stopped.id)).await.problem(404, "not_found");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_after_and_the_bank_transfers_once() {
    let (app, bank, user) = town().await;
    for (number, switch) in ["lost", "twice", "slow"].into_iter().enumerate() {
        bank.switch(json!({ "transfers": switch, "slow_ms": 1_000 })).await;
        let begun = user.withdraws(1_000, &unique("w")).await.created();
        user.says_where(&begun.id, "123").await;
        let ended = user.ended_withdrawal(&begun.id).await;
        assert_eq!((&ended["standing"], minor(&ended, "taken")), (&json!("done"), 1_216), "{switch}: {ended}");
        let times = i64::try_from(number).expect("small") + 1;
        assert_eq!(
            (user.balance().await, bank.book().await["done"].as_i64()),
            (50_000 - 1_216 * times, Some(1_000 * times))
        );
    }
    for transfer in bank.book().await["transfers"].as_array().expect("transfers") {
        assert_eq!(transfer["keys"].as_array().expect("keys").len(), 1, "one key for one effect: {transfer}");
    }
    // Nothing was done: it is asked, taken back, and only then let go.
    bank.switch(json!({ "transfers": "error" })).await;
    let begun = user.withdraws(1_000, &unique("w")).await.created();
    user.says_where(&begun.id, "123").await;
    let ended = user.ended_withdrawal(&begun.id).await;
    assert_eq!((&ended["standing"], &ended["note"]["code"]), (&json!("failed"), &json!("taken_back")), "{ended}");
    assert_eq!(user.balance().await, 50_000 - 3 * 1_216);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_withdrawal_that_nobody_knows_about_is_confirmed_by_an_operator_with_the_fee() {
    let clock = Clock::standing_at(Clock::machine().now());
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let shared = clock.clone();
    let bank = app.bank_with(OutsideClock::new(move || shared.now().0), (1_000_000, 100_000)).await;
    let user = app.verified_user_holding(50_000).await;
    bank.switch(json!({ "transfers": "lost", "questions": "error" })).await;
    let begun = user.withdraws(10_000, "w-1").await.created();
    user.says_where(&begun.id, "123").await;
    eventually("it is being checked", || user.withdrawal(&begun.id), |one| one["standing"] == "checking").await;
    let id: FlowId = begun.id.parse().expect("a flow id");
    clock.advance_ms(31 * 60_000);
    let stuck = || async {
        jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
        flows::get(&app.app, id).await.expect("the flow").summary.stuck
    };
    eventually("an operator is asked", stuck, Option::is_some).await;
    let receipt = bank.book().await["transfers"][0]["receipt"].as_str().expect("a receipt").to_owned();
    let confirm = |yen| Resolution::ConfirmCapture { amount: Money::yen(yen), reference: receipt.clone() };
    let resolve = async |resolution: Resolution| {
        flows::resolve(&app.app, &app.operator_ctx(), id, &resolution, None, "the bank has done it").await
    };
    assert!(resolve(confirm(10_217)).await.is_err(), "no more than is set aside");
    assert!(resolve(confirm(10_216)).await.is_ok());
    let user = user.sign_in_again().await;
    let ended = user.withdrawal(&begun.id).await;
    assert_eq!((&ended["standing"], minor(&ended, "taken")), (&json!("done"), 10_216), "{ended}");
    // The bank lists what it transferred: the fee is the platform's, and nothing is open.
    bank.end_of_day().await;
    eventually("the file is taken", || app.exposure("bank-transfer"), |exposure| exposure.used.minor == 0).await;
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawals_at_the_same_moment_stay_together_within_the_days_limit() {
    let app = TestApp::start().await;
    let _bank = app.bank().await;
    let user = app.verified_user_holding(400_000).await;
    let mut tries = JoinSet::new();
    for _ in 0..8 {
        let user = user.same();
        tries.spawn(async move { user.withdraws(30_000, &unique("w")).await });
    }
    let mut begun = 0;
    while let Some(tried) = tries.join_next().await {
        let outcome = tried.expect("it ends");
        match outcome.reply.status {
            201 => begun += 1,
            _ => drop(outcome.problem(422, "day_limit")),
        }
    }
    assert_eq!(begun, 3, "of at most 100,000 yen a day");
    assert_eq!(minor(&user.wallet().await, "available"), 400_000 - 3 * 30_216);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn what_a_user_begins_and_leaves_is_not_set_aside_for_ever() {
    let clock = Clock::standing_at(Clock::machine().now());
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let shared = clock.clone();
    let _bank = app.bank_with(OutsideClock::new(move || shared.now().0), (1_000_000, 100_000)).await;
    let user = app.verified_user_holding(50_000).await;
    let begun = user.withdraws(10_000, "w-1").await.created();
    clock.advance_ms(29 * 60_000);
    jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
    let user = user.sign_in_again().await;
    assert_eq!(minor(&user.withdrawal(&begun.id).await, "held"), 10_216, "there is time yet");
    clock.advance_ms(2 * 60_000);
    let look = || async {
        jobs::sweep_once(&app.app, &mut jobs::Round::default()).await.expect("a sweep");
        user.withdrawal(&begun.id).await
    };
    eventually("it is taken back", look, |one| one["standing"] == "cancelled").await;
    assert_eq!(minor(&user.wallet().await, "available"), 50_000);
    assert_eq!(app.exposure("bank-transfer").await.used.minor, 0);
    app.ledger_is_clean().await;
}

/// The account number that a charge shows.
async fn account_of(user: &User, charge: &str) -> String {
    let code = |charge: &Value| {
        let shows = charge["shows"].as_array().cloned().unwrap_or_default();
        shows.iter().find_map(|show| show["code"].as_str().map(str::to_owned))
    };
    let look = || async { user.get(format!("/v1/charges/{charge}")).await.accepted() };
    let shown = eventually("an account is shown", look, |charge| code(charge).is_some()).await;
    code(&shown).expect("a code")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_to_an_account_of_its_own_charges_the_wallet_once() {
    let (app, bank, user) = town().await;
    let charge = json!({ "channel": "bank-transfer", "at_most": 30_000, "currency": "JPY" });
    let begun = user.post("/v1/charges", charge.clone()).await.created();
    let account = account_of(&user, &begun.id).await;
    let told = bank.deposit(&account, 10_000).await;
    assert_eq!(told["taken"], true, "{told}");
    let look = || async { user.get(format!("/v1/charges/{}", begun.id)).await.accepted() };
    eventually("it is done", look, |charge| charge["standing"] == "done").await;
    assert_eq!(user.balance().await, 60_000);
    let late = bank.deposit(&account, 5_000).await;
    assert_eq!(late["taken"], false, "an account is good for one transfer: {late}");
    assert_eq!(bank.deposit("0000001", 5_000).await["taken"], false, "nobody's account");

    let too_much = user.post("/v1/charges", charge).await.created();
    let account = account_of(&user, &too_much.id).await;
    assert_eq!(bank.deposit(&account, 30_001).await["taken"], false, "more than was agreed to goes back");
    let look = || async { user.get(format!("/v1/charges/{}", too_much.id)).await.accepted() };
    let ended =
        eventually_for(std::time::Duration::from_secs(10), "it ends", look, |charge| charge["standing"] == "failed");
    assert_eq!(ended.await["note"]["code"], "transfer_refused");
    assert_eq!((user.balance().await, app.exposure("bank-transfer").await.used.minor), (60_000, 10_000));
    bank.end_of_day().await;
    eventually("the file is taken", || app.exposure("bank-transfer"), |exposure| exposure.used.minor == 0).await;
    app.ledger_is_clean().await;
}
