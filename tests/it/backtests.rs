//! What would have been decided otherwise: back-tests of rules, shadows beside them, and what-ifs of flows.

use std::collections::BTreeSet;

use koban_domain::guest::{AssessPayment, Named, Signal};
use koban_domain::ids::{PaymentId, RecordId};
use koban_domain::ledger::{Decided, SealedRecord, Work};
use koban_domain::money::{Currency, Money};
use koban_domain::records::{Input, Output};
use koban_domain::releases::State;
use koban_runtime::Plugin;
use koban_service::guests::{self, For};
use koban_service::releases::{self, Accept, Move};
use koban_service::{backtests, plugins, policy};
use serde_json::{Value, json};

use crate::harness::{TestApp, eventually, koban, whole, yen};
use crate::load::{Dice, is_soak, seed};
use crate::records::{dumped, python};

/// A host whose fraud rules look at nothing but what a test gives them.
async fn judging() -> (TestApp, Plugin) {
    let settings = [whole("night_from", 0), whole("night_to", 0)];
    let app = TestApp::start().await.with_fraud_rules(&settings).await;
    let rules = plugins::installed(&app.app, "fraud-rules").await.expect("the rules");
    (app, rules)
}

/// A payment somebody might make.
fn question(dice: &mut Dice, app: &TestApp) -> Input {
    let amount = i64::try_from(1 + dice.below(120_000)).expect("small");
    let at = u64::try_from(app.app.clock.now().0).expect("after 1970");
    let id = PaymentId(app.app.clock.id()).to_string();
    let payment = AssessPayment { id, kind: "payment".into(), amount: Money::yen(amount), at };
    let mut facts = vec![Named::flag("payee.first_time", dice.below(4) == 0)];
    facts.push(Named::text("device.id", format!("phone-{}", dice.below(50))));
    facts.push(Named::text("merchant.category", "5812"));
    let signal = |name: &str, window_s, count, sum| Signal {
        name: name.into(),
        window_s,
        count,
        sum: Money::new(sum, Currency::JPY),
    };
    let signals = vec![
        signal("user_10m", 600, dice.below(12), 1_000),
        signal("user_1d", 86_400, dice.below(20), i64::try_from(dice.below(600_000)).expect("small")),
        signal("merchant_10m", 600, dice.below(300), 50_000),
        signal("device_1h", 3_600, dice.below(32), 2_000),
    ];
    Input::Assess(payment, facts, signals)
}

async fn commit(app: &TestApp, records: Vec<SealedRecord>) {
    let work = Work { records, ..Work::new(app.app.clock.id(), "system") };
    assert!(matches!(app.app.ledger.commit(work).await.expect("it is committed"), Decided::Done(_)));
}

/// Judges so many payments, in commits of a few hundred.
async fn judge(app: &TestApp, rules: &Plugin, dice: &mut Dice, count: usize) {
    let mut records = Vec::new();
    for number in 1..=count {
        let (answer, record) = guests::call(&app.app, rules, For::PLATFORM, question(dice, app)).await;
        assert!(matches!(answer, Ok(Output::Assessment(_))), "{answer:?}");
        records.push(record);
        if records.len() == 300 || number == count {
            commit(app, std::mem::take(&mut records)).await;
        }
    }
}

fn json_of(told: &str) -> Value {
    serde_json::from_str(told).unwrap_or_else(|_| panic!("{told}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_test_flips_exactly_what_an_independent_reading_of_the_records_says() {
    let seed = seed();
    println!("KOBAN_TEST_SEED={seed}");
    let (mut dice, count) = (Dice::new(seed), if is_soak() { 110_000 } else { 3_000 });
    let (app, rules) = judging().await;
    judge(&app, &rules, &mut dice, count / 10).await;
    let from = app.app.clock.now().plus_ms(1);
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    judge(&app, &rules, &mut dice, count).await;
    let to = app.app.clock.now().plus_ms(1);
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    judge(&app, &rules, &mut dice, count / 10).await;

    let (flips, svg) = (app.database.folder().join("flips.jsonl"), app.database.folder().join("flips.svg"));
    let (flips, svg) = (flips.to_str().expect("a path"), svg.to_str().expect("a path"));
    let (since, until) = (from.to_string(), to.to_string());
    let mut arguments = vec!["--json", "plugin", "backtest", "fraud-rules", "--set", "amount_high=30000"];
    arguments.extend(["--since", &since, "--until", &until]);
    arguments.extend(["--max-flips", "90%", "--flips", flips, "--svg", svg]);
    let (status, told, said) = koban(&app.database, &arguments);
    assert!(status.success(), "{told}{said}");
    let told = json_of(&told);
    println!("{} decisions, {} flips, {} calls a second", told["decisions"], told["flips"], told["per_second"]);

    let path = dumped(&app.database).await;
    let bounds = [from.0.to_string(), to.0.to_string()];
    let (is_good, said) =
        python("flips.py", &[path.to_str().expect("a path"), "30000", "300000", &bounds[0], &bounds[1]]);
    assert!(is_good, "{said}");
    let expected: BTreeSet<String> = said.lines().map(str::to_owned).collect();
    let lines = std::fs::read_to_string(flips).expect("the flips");
    let found: BTreeSet<String> = lines
        .lines()
        .map(json_of)
        .map(|flip| [&flip["decision"], &flip["from"], &flip["to"]].map(|word| word.as_str().expect("text")).join(" "))
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(found, expected);
    assert_eq!((&told["decisions"], &told["flips"]), (&json!(count), &json!(expected.len())), "{told}");
    let sum: u64 = told["by_answer"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|sort| sort["count"].as_u64().expect("a number"))
        .sum();
    assert_eq!(told["flips"], json!(sum));
    assert_eq!(told["by_reason"][0]["code"], "amount_high", "{told}");
    assert_eq!((&told["faults"], &told["passed"], &told["not_recorded"]), (&json!(0), &json!(true), &json!([])));
    let parsed = std::process::Command::new("python3")
        .args(["-c", "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])", svg])
        .status();
    assert!(parsed.expect("python3 runs").success(), "the picture is well-formed");
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_bounded_back_test_says_decides_what_may_be_enabled() {
    let (app, rules) = judging().await;
    judge(&app, &rules, &mut Dice::new(7), 200).await;
    let test = |setting: &'static str, bound: &'static str| {
        let arguments = ["--json", "plugin", "backtest", "fraud-rules", "--set", setting, "--max-flips", bound];
        let (status, told, _) = koban(&app.database, &arguments);
        (status.success(), json_of(&told))
    };
    let set = |setting: &'static str| {
        let night = ["--set", "night_from=0", "--set", "night_to=0"];
        let (status, _, said) =
            koban(&app.database, &[&["plugin", "settings", "fraud-rules"], &night[..], &["--set", setting]].concat());
        (status.success(), said)
    };

    let (passed, told) = test("amount_high=50000", "0");
    assert!(passed, "the same threshold flips nothing: {told}");
    assert_eq!((&told["decisions"], &told["flips"]), (&json!(200), &json!(0)));

    let (passed, told) = test("amount_high=1", "1%");
    assert!(!passed && told["flips"].as_u64() > Some(2), "{told}");
    assert_eq!((&told["flips_max"], &told["passed"]), (&json!(2), &json!(false)));
    let (done, said) = set("amount_high=1");
    let named = format!("({}) did not pass", told["backtest"].as_str().expect("an id"));
    assert!(!done && said.contains(&named) && said.contains("and 2 were allowed"), "{said}");
    // Nor by installing once more what decides already.
    let same = vec![whole("night_from", 0), whole("night_to", 0), yen("amount_high", 1)];
    let accept = Accept { settings: Some(same), ..Accept::default() };
    let again = releases::install(&app.app, &app.operator_ctx(), "fraud-rules", rules.digest(), accept).await;
    let refused = again.expect_err("it decides").to_string();
    assert!(refused.contains(&named), "{refused}");
    // It was tried under these settings alone; others are nobody's finding.
    assert!(set("amount_high=40000").0);

    let (passed, told) = test("amount_high=1", "100%");
    assert!(passed, "{told}");
    assert!(set("amount_high=1").0, "its newest back-test passed");
    let acts = app.database.hand().await.number("select count(*) from audit where act = 'plugin.backtest'").await;
    assert_eq!(acts, 3);

    let (status, told, said) =
        koban(&app.database, &["plugin", "backtest", "fraud-rules", "--set", "amount_high=30000"]);
    assert!(status.success() && told.contains("WOULD BE") && told.contains("amount_high"), "{told}{said}");
    app.ledger_is_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_policy_asks_for_it_no_rule_decides_without_a_back_test() {
    let (app, rules) = judging().await;
    judge(&app, &rules, &mut Dice::new(8), 50).await;
    policy::set_backtest_required(&app.app, &app.operator_ctx(), true).await.expect("it is set");
    let enable = |share| {
        let step = Move { share, ..Move::to(if share == 0 { State::Enabled } else { State::Canary }) };
        let (app, ctx, digest) = (app.app.clone(), app.operator_ctx(), rules.digest());
        async move { releases::move_to(&app, &ctx, "fraud-rules", digest, &step).await }
    };
    let refused = enable(0).await.expect_err("nobody tried it").to_string();
    assert!(refused.contains("asks for a back-test") && refused.contains("--max-flips"), "{refused}");
    let (status, told, said) = koban(&app.database, &["plugin", "backtest", "fraud-rules"]);
    assert!(status.success(), "{told}{said}");
    assert!(enable(0).await.is_err(), "without a bound it says nothing of what is accepted");
    let (status, told, said) = koban(&app.database, &["plugin", "backtest", "fraud-rules", "--max-flips", "0"]);
    assert!(status.success(), "{told}{said}");
    enable(0).await.expect("it was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_is_compared_with_what_counted_and_never_taken_for_it() {
    let (app, rules) = judging().await;
    let others =
        backtests::settings(&app.app, rules.manifest(), &[yen("amount_high", 20_000)]).await.expect("they fit");
    koban_store::plugins::put_settings(&app.app.store, &others).await.expect("they are stored");
    let shadow = rules.with_settings(others);
    let (mut dice, mut differ) = (Dice::new(11), 0);
    for _ in 0..200 {
        let input = question(&mut dice, &app);
        let (counted, live) = guests::call(&app.app, &rules, For::PLATFORM, input.clone()).await;
        let (beside, record) = guests::call_beside(&app.app, &shadow, For::PLATFORM, input, live.id).await;
        let (Ok(Output::Assessment(counted)), Ok(Output::Assessment(beside))) = (counted, beside) else {
            panic!("both answer")
        };
        differ += u64::from(counted.verdict != beside.verdict);
        commit(&app, vec![live, record]).await;
    }
    assert!(differ > 0);
    let (status, told, said) = koban(&app.database, &["--json", "plugin", "disagreements", "fraud-rules"]);
    assert!(status.success(), "{said}");
    let told = json_of(&told);
    assert_eq!((&told["decisions"], &told["flips"]), (&json!(200), &json!(differ)), "{told}");
    assert_eq!(told["components"], json!([rules.digest()]));
    let (_, told, _) = koban(&app.database, &["plugin", "disagreements", "fraud-rules"]);
    assert!(told.contains("in shadow") && told.contains("amount_high"), "{told}");
    let (_, told, _) = koban(&app.database, &["plugin", "disagreements", "nobody"]);
    assert!(told.contains("was not asked in shadow"), "{told}");
    // A back-test looks at what counted alone.
    let (_, told, _) = koban(&app.database, &["--json", "plugin", "backtest", "fraud-rules"]);
    assert_eq!((&json_of(&told)["decisions"], &json_of(&told)["flips"]), (&json!(200), &json!(0)));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_what_if_of_a_flow_stops_at_the_first_step_that_differs_and_says_so() {
    let app = TestApp::start().await;
    let (atm, user) = (app.atm().await, app.user().await);
    let (_, charge, _) = atm.charge(&user, 10_000).await;
    eventually("the charge ends", || user.charge(&charge), |charge: &Value| charge["standing"] == "done").await;
    let (status, told, said) = koban(&app.database, &["--json", "flow", "what-if", &charge, "charge-atm"]);
    assert!(status.success(), "{said}");
    let told = json_of(&told);
    assert_eq!((&told["stopped"], &told["alike"]), (&Value::Null, &told["steps"]), "{told}");
    let steps = told["steps"].as_u64().expect("a number");
    assert!(steps >= 3, "{told}");

    let other = ["flow", "what-if", &charge, "charge-atm", "--set", "company_number=9999"];
    let (status, told, said) = koban(&app.database, &[&["--json"], &other[..]].concat());
    assert!(status.success(), "{said}");
    let told = json_of(&told);
    let stopped = &told["stopped"];
    assert_eq!(stopped["step"].as_u64(), told["alike"].as_u64().map(|alike| alike + 1), "{told}");
    assert!(told["alike"].as_u64() < Some(steps), "{told}");
    let parts = stopped["because"]["diverged"].as_array().expect("what differs");
    assert!(parts.iter().any(|part| part["part"] == "effects"), "{told}");
    let decision: RecordId = stopped["decision"].as_str().expect("text").parse().expect("an id");
    let (_, told, _) = koban(&app.database, &other);
    assert!(told.contains("Nothing after this step is guessed.") && told.contains(&decision.to_string()), "{told}");

    let (status, _, said) = koban(&app.database, &["decision", "erase", &decision.to_string(), "--reason", "a test"]);
    assert!(status.success(), "{said}");
    let (_, told, _) = koban(&app.database, &["--json", "flow", "what-if", &charge, "charge-atm"]);
    let told = json_of(&told);
    assert!(told["stopped"]["because"]["unusable"].as_str().is_some_and(|why| why.contains("erased")), "{told}");
    app.ledger_is_clean().await;
}
