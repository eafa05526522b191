//! What scenarios find: a good channel passes in every play, and each sort of bad one is named with its line.

use koban_author::manifest;
use koban_author::scenario::{Guest, Report, read_text, run, write};
use koban_domain::guest::{
    Act, Credit, Effect, Event, Field, FieldKind, HttpCall, Proposal, Show, Standing, Step, What,
};
use koban_domain::manifest::Manifest;
use koban_domain::money::Money;
use koban_domain::records::{Fault, Input, Output};
use koban_domain::time::Timestamp;

/// What is wrong with the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sin {
    None,
    /// Credits again whatever comes twice, under another key.
    CreditsTwice,
    /// Says that it failed and then waits for nothing.
    Hangs,
    /// Answers by a counter of its own.
    Remembers,
    /// Asks for other content under a used key.
    ChangesContent,
}

/// A channel that asks for a code, redeems it and credits what the partner says.
struct Channel(Sin, std::sync::atomic::AtomicU64);

fn step(phase: u8, standing: Standing, effects: Vec<Effect>, proposals: Vec<Proposal>) -> Step {
    Step { state: vec![phase], standing, effects, proposals, reply: None, note: None }
}

fn effect(key: &str, act: Act) -> Effect {
    Effect { key: key.to_owned(), act }
}

fn redeem(body: &str) -> Act {
    Act::Http(HttpCall {
        endpoint: "issuer".into(),
        operation: "redeem".into(),
        path: String::new(),
        query: vec![],
        body: body.as_bytes().to_vec(),
    })
}

fn credit(event: &Event, key: &str, reference: &str) -> Proposal {
    Proposal::Credit(Credit {
        key: key.into(),
        amount: Money::yen(1_000),
        reference: reference.into(),
        because: event.number,
        arrived: false,
    })
}

impl Channel {
    fn new(sin: Sin) -> Channel {
        Channel(sin, std::sync::atomic::AtomicU64::new(0))
    }

    fn resume(&self, at: Timestamp, phase: u8, event: &Event) -> Step {
        let stay = |phase: u8| {
            let standing = [Standing::WaitingForUser, Standing::WaitingForPartner, Standing::Checking, Standing::Done];
            step(phase, standing[usize::from(phase)], vec![], vec![])
        };
        match (phase, &event.what) {
            (0, What::Form(_)) => step(1, Standing::WaitingForPartner, vec![effect("redeem", redeem("{}"))], vec![]),
            (1, What::Answer(_)) => {
                let standing = if self.0 == Sin::CreditsTwice { Standing::WaitingForPartner } else { Standing::Done };
                let timer = vec![effect("end", Act::Timer(u64::try_from(at.0).unwrap() + 60_000))];
                let phase = if self.0 == Sin::CreditsTwice { 1 } else { 3 };
                let key = format!("credit-{}", event.number);
                step(phase, standing, timer, vec![credit(event, &key, &key)])
            }
            (1, What::Lost(..)) if self.0 == Sin::Hangs => step(2, Standing::Checking, vec![], vec![]),
            (1, What::Lost(..)) => {
                let again = u64::try_from(at.0).unwrap() + 60_000;
                step(2, Standing::Checking, vec![effect(&format!("again-{}", event.number), Act::Timer(again))], vec![])
            }
            (1, What::Rang) if self.0 == Sin::CreditsTwice => step(3, Standing::Done, vec![], vec![]),
            (2, What::Rang) if self.0 == Sin::ChangesContent => {
                step(1, Standing::WaitingForPartner, vec![effect("redeem", redeem("{\"again\":true}"))], vec![])
            }
            (2, What::Rang) => {
                let key = format!("redeem-{}", event.number);
                step(1, Standing::WaitingForPartner, vec![effect(&key, redeem("{}"))], vec![])
            }
            (phase, _) => stay(phase),
        }
    }
}

impl Guest for Channel {
    async fn call(&self, at: Timestamp, _: &str, input: Input) -> Result<Output, Fault> {
        let mut step = match input {
            Input::BeginCharge(_) => {
                let field = Field {
                    name: "code".into(),
                    label: "code".into(),
                    kind: FieldKind::Text,
                    choices: vec![],
                    required: true,
                    max_length: 20,
                };
                let form = effect("code", Act::Show(Show::Form(vec![field])));
                step(0, Standing::WaitingForUser, vec![form], vec![])
            }
            Input::Resume(state, event, _) => self.resume(at, state[0], &event),
            other => panic!("{other:?}"),
        };
        if self.0 == Sin::Remembers {
            let count = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            step.state.extend(count.to_be_bytes());
        }
        Ok(Output::Step(step))
    }
}

fn plugin() -> Manifest {
    manifest::read(
        r#"
id = "charge-test"
version = "1.0.0"
contract = "koban:plugin@0.1.0"
kind = "charge-channel"
name = { ja = "試し", en = "Test" }
purpose = { ja = "試すため", en = "To test" }
[proposals]
charge = ["credit"]
[[endpoints]]
name = "issuer"
credential = "standard-webhooks"
[[endpoints.operations]]
name = "redeem"
method = "POST"
path = "/redeem"
repeat = "never"
timeout_s = 5
deadline_s = 60
"#,
    )
    .unwrap()
}

const GOOD: &str = r#"about = "A code is redeemed"

[[step]]
begin = "charge"
at_most = "9000 JPY"
then.effects = ["form code"]

[[step]]
form = "code"
values = { code = "x" }
then.standing = "waiting-for-partner"
then.effects = ["http redeem issuer.redeem"]

[[step]]
answer = "redeem"
json = { result = "ok" }
then.proposals = ["credit credit-2 1000 JPY credit-2"]
then.credited = "1000 JPY"
"#;

async fn played(sin: Sin, text: &str) -> Report {
    let manifest = plugin();
    let scenario = read_text("scenarios/x.toml", text, &manifest).unwrap();
    run(&scenario, &manifest, &Channel::new(sin)).await
}

/// The first finding.
async fn found(sin: Sin, text: &str) -> String {
    all_found(sin, text).await.remove(0)
}

async fn all_found(sin: Sin, text: &str) -> Vec<String> {
    let report = played(sin, text).await;
    assert!(!report.is_good(), "{sin:?} was not found: {report:?}");
    report.problems.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_good_channel_passes_as_written_duplicated_reordered_and_lost() {
    let report = played(Sin::None, GOOD).await;
    assert!(report.is_good(), "{:?}", report.problems);
    assert_eq!(report.variants, [("duplicated", 5), ("reordered", 1), ("lost", 2)]);
}

#[tokio::test]
async fn each_sort_of_bad_channel_is_named_with_its_line() {
    let twice = found(Sin::CreditsTwice, GOOD).await;
    assert!(twice.starts_with("scenarios/x.toml:14: ") && twice.contains("duplicated: a second credit"), "{twice}");
    let lost = |all: &[String], what: &str| all.iter().any(|one| one.contains("lost: ") && one.contains(what));
    let hangs = all_found(Sin::Hangs, GOOD).await;
    assert!(lost(&hangs, "checking with nothing open"), "{hangs:?}");
    let remembers = found(Sin::Remembers, GOOD).await;
    assert!(remembers.starts_with("scenarios/x.toml:3: the same event gave another step"), "{remembers}");
    let changes = all_found(Sin::ChangesContent, GOOD).await;
    assert!(lost(&changes, "asked for before with another content"), "{changes:?}");
}

#[tokio::test]
async fn what_differs_is_said_with_what_was_expected() {
    let wrong = GOOD.replace("1000 JPY credit-2", "2000 JPY credit-2").replace("\"form code\"", "\"form kode\"");
    let said = found(Sin::None, &wrong).await;
    assert_eq!(said, "scenarios/x.toml:3: it did not ask for `form kode`");
    let said = found(Sin::None, &GOOD.replace("then.proposals = [\"credit credit-2 1000 JPY credit-2\"]\n", "")).await;
    assert_eq!(said, "scenarios/x.toml:14: it proposed credit credit-2 1000 JPY credit-2, expected nothing");
    let said = found(Sin::None, &GOOD.replace("answer = \"redeem\"", "answer = \"other\"")).await;
    assert_eq!(said, "scenarios/x.toml:14: no call `other` is under way now: open are redeem");
}

#[test]
fn a_file_that_makes_no_sense_is_refused_by_line() {
    let manifest = plugin();
    let said = |text: &str| read_text("s.toml", text, &manifest).unwrap_err().to_string();
    for (from, to, expected) in [
        ("form = \"code\"", "from = \"code\"", "s.toml:9: unknown field `from`"),
        ("at_most = \"9000 JPY\"", "at_most = \"9000\"", "s.toml:3: `9000` is no amount"),
        ("answer = \"redeem\"", "answer = \"redeem\"\nwait = \"5m\"", "s.toml:14: `answer` and `wait` are two steps"),
        ("answer = \"redeem\"", "wait = \"5 minutes\"", "s.toml:14: `json` belongs to a step with `answer` or `call`"),
        ("values = {", "status = 200\nvalues = {", "s.toml:8: `status` belongs to a step with `answer`"),
        ("begin = \"charge\"\nat_most = \"9000 JPY\"", "cancel = true", "s.toml:3: the first step is `begin`"),
        ("about = \"A code is redeemed\"\n", "", "missing field `about`"),
    ] {
        let said = said(&GOOD.replace(from, to));
        assert!(said.contains(expected), "{to}: {said}");
    }
    assert!(said("about = \"x\"\n[settings]\nspeed = 1\n").contains("settings.speed: is not a setting"));
}

#[test]
fn a_scenario_that_is_written_reads_the_same() {
    let manifest = plugin();
    let text = format!(
        "{GOOD}then.note = \"x\"\nthen.reply.status = 200\nthen.reply.json = {{ a = [1, \"b\"], c = {{ d = true }} }}\n\n[[step]]\nwait = \"1h30m\"\n\n[[step]]\nlost = \"redeem\"\nhow = \"not-sent\"\nrefused = \"limit_reached\"\n\n[[step]]\nkill = \"redeem\"\n\n[[step]]\nanswer = \"redeem\"\nbody = '{{\"z\": null}}'\n"
    );
    let mut one = read_text("s.toml", &text, &manifest).unwrap();
    let mut other = read_text("s.toml", &write(&one), &manifest).unwrap();
    for step in one.steps.iter_mut().chain(&mut other.steps) {
        step.line = 0;
    }
    assert_eq!(one, other);
}
