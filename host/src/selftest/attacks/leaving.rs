//! Attacks on money that leaves: withdrawals and bills that take more than was set aside, without a partner's word, or for somebody else.

use koban_domain::guest::{BillCode, BillSource};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::money::Money;
use koban_service::bills::{self, PayInput};
use koban_service::withdrawals::{self, WithdrawInput};
use koban_service::{Error, flows};
use serde_json::{Value, json};

use super::Tries;
use super::effects::heard;
use super::money::came_of;
use crate::selftest::guest::Guest;
use crate::selftest::guest::When::{self, Refused, State, What};
use crate::selftest::manifests;
use crate::selftest::scripts::{call, deliver, proposes, reply, step, waits, with};
use crate::selftest::stage::{Stage, at};

/// What the users of the pack agree to, in yen.
const AGREED: i64 = 1_000;
/// A calling partner is where such a guest's calls go.
const OUT: &str = "out";

fn yen(minor: i64) -> Value {
    json!({ "minor": minor, "currency": "JPY" })
}

fn hold(minor: i64) -> Value {
    json!({ "hold": { "key": "hold", "amount": yen(minor) } })
}

fn release() -> Value {
    json!({ "release": "hold" })
}

/// A capture of so many yen, because of the event at hand, under what the partner wrote.
fn capture(minor: i64, last: bool) -> Value {
    json!({ "capture": {
        "hold": "hold", "amount": yen(minor), "fee": null, "reference": "$event.what.message.body", "because": "$event.number",
        "final": last,
    } })
}

/// The same with another field.
fn capture_with(field: &str, value: Value) -> Value {
    let mut capture = capture(AGREED, true);
    capture["capture"][field] = value;
    capture
}

/// A beginning that expects any call of its partner, with these proposals.
fn begins_with(proposals: Value) -> Value {
    with(step(json!([{ "key": "call", "act": { "expect": "the-only-one" } }])), "proposals", proposals)
}

/// A guest whose one flow begins with this step and answers these events so. A refusal of the books is told to the partner, and that is the end of it.
fn paying(id: &str, begin: (&'static str, Value), answers: Vec<(Vec<When>, Value)>) -> Guest {
    routed(id, "the-only-one", begin, answers)
}

/// The same whose partner's calls have this correlation.
fn routed(
    id: &str,
    correlation: &str,
    (interface, begin): (&'static str, Value),
    answers: Vec<(Vec<When>, Value)>,
) -> Guest {
    let refused = with(with(waits(), "reply", reply(409, "refused")), "standing", json!("failed"));
    let mut guest = Guest::new(id)
        .answers(interface, "begin", begin)
        .answers("inbound", "route", deliver(correlation))
        .when("machine", "resume", &[Refused], refused);
    for (when, answer) in answers {
        guest = guest.when("machine", "resume", &when, answer);
    }
    guest.answers("machine", "resume", waits())
}

/// A channel that sets aside what was agreed to, and answers its partner's calls so.
fn taking_out(id: &str, begin: Value, answers: Vec<(Vec<When>, Value)>) -> Guest {
    paying(id, ("withdraw", begin), answers).answers("charge", "begin", waits())
}

/// A step at the partner's first call, and one at the second.
fn first_and_second(first: Value, second: Value) -> Vec<(Vec<When>, Value)> {
    vec![(vec![What("message"), State('a')], with(first, "state", json!("b"))), (vec![What("message")], second)]
}

/// Installs a guest that takes money out, with a partner that it may call.
async fn let_in(stage: &Stage, guest: &Guest) -> anyhow::Result<()> {
    let out = at(OUT, stage.partner.base());
    stage.channel_of(guest, manifests::withdrawing(&guest.id, &[OUT]), vec![out]).await
}

/// Somebody begins to take out what the pack's users agree to.
async fn begin(stage: &Stage, user: UserId, channel: &str) -> Result<FlowId, Error> {
    let input = WithdrawInput { channel: channel.to_owned(), amount: Money::yen(AGREED), fee: Money::yen(0) };
    Ok(withdrawals::begin(&stage.app, &stage.of_user(user), input).await?.value.id)
}

/// Somebody takes money out through the guest, whose partner says these things: what came of it.
async fn taken_out(stage: &Stage, guest: &Guest, said: &[&str]) -> anyhow::Result<String> {
    let_in(stage, guest).await?;
    let user = stage.somebody().await?;
    match begin(stage, user, &guest.id).await {
        Ok(flow) => heard_out(stage, (flow, user), &guest.id, said).await,
        Err(error) => Ok(not_begun(&error)),
    }
}

/// The partner says these things of a flow that nobody else has: what came of it, and what it took from its user, if anything.
async fn heard_out(
    stage: &Stage,
    (flow, user): (FlowId, UserId),
    plugin: &str,
    said: &[&str],
) -> anyhow::Result<String> {
    let before = stage.balance(user).await?;
    stage.settled(flow).await?;
    for body in said {
        stage.say(plugin, body).await?;
    }
    let came = came_of(stage, flow).await?;
    let captured: i64 = flows::get(&stage.app, flow).await?.holds.iter().map(|hold| hold.captured).sum();
    // What is set aside is still the user's, and what the books took is what the flow knows of.
    let gone = before - stage.balance(user).await?;
    Ok(match (gone, captured) {
        (0, 0) if came.starts_with("Done") => "nothing taken".to_owned(),
        (0, 0) => came,
        (gone, captured) if gone == captured && gone <= AGREED => format!("{gone} yen taken, {came}"),
        other => format!("{other:?} yen gone and taken, {came}"),
    })
}

fn not_begun(error: &Error) -> String {
    match error {
        Error::PluginFault { fault, .. } => format!("begin refused: {fault}"),
        Error::Conflict(why) => format!("begin refused: {why}"),
        error => super::refusal(error),
    }
}

/// Sets aside more than was agreed to, takes more than was set aside, at once or in two parts.
pub(super) async fn more_than_held(stage: &Stage) -> Tries {
    let parts = json!([capture(600, false), capture_with("reference", json!("another"))]);
    let begun = || begins_with(json!([hold(AGREED)]));
    let at_message = |proposals: Value| vec![(vec![What("message")], proposes(proposals))];
    let guests = [
        taking_out("holds-more", begins_with(json!([hold(AGREED + 1)])), Vec::new()),
        taking_out("takes-more-out", begun(), at_message(json!([capture(AGREED + 1, true)]))),
        taking_out("takes-more-in-parts", begun(), at_message(parts)),
    ];
    let mut seen = Vec::new();
    for guest in &guests {
        seen.push(taken_out(stage, guest, &["r-1"]).await?);
    }
    Ok(seen)
}

/// Takes what it let go of, lets go of it twice, and lets go while its partner may be paying.
pub(super) async fn after_the_release(stage: &Stage) -> Tries {
    let begun = || begins_with(json!([hold(AGREED)]));
    let lets_go = || proposes(json!([release()]));
    let asking = with(lets_go(), "effects", json!([call("pay", OUT, "slow", "", "pay")]));
    let guests = [
        taking_out("takes-released", begun(), first_and_second(lets_go(), proposes(json!([capture(AGREED, true)])))),
        taking_out("releases-twice", begun(), first_and_second(lets_go(), lets_go())),
        taking_out("releases-asking", begun(), vec![(vec![What("message")], asking)]),
    ];
    let mut seen = Vec::new();
    for guest in &guests {
        seen.push(taken_out(stage, guest, &["r-1", "r-2"]).await?);
    }
    Ok(seen)
}

/// One reference of the partner's for two captures.
pub(super) async fn same_reference(stage: &Stage) -> Tries {
    let takes = with(proposes(json!([capture_with("reference", json!("the-same"))])), "standing", json!("done"));
    let mut seen = Vec::new();
    // Each flow has a call of its own: the wallet's name is what the partner says.
    let begin_step = with(crate::selftest::scripts::begins(&json!([])), "proposals", json!([hold(AGREED)]));
    let at_message = vec![(vec![What("message")], takes)];
    let guest = routed("same-capture", "$call.body", ("withdraw", begin_step), at_message);
    let guest = guest.answers("charge", "begin", waits());
    let_in(stage, &guest).await?;
    for _ in 0..2 {
        let user = stage.somebody().await?;
        let flow = begin(stage, user, &guest.id).await?;
        let wallet = stage.correlation(flow).await?;
        seen.push(heard_out(stage, (flow, user), &guest.id, &[&wallet]).await?);
    }
    Ok(seen)
}

/// Captures that rest on nothing, on the guest's own timer, on the user's cancelling, and one in the beginning.
pub(super) async fn no_partner_said_so(stage: &Stage) -> Tries {
    let begun = || begins_with(json!([hold(AGREED)]));
    let nothing = proposes(json!([capture_with("because", json!(0))]));
    let mut own = capture(AGREED, true);
    own["capture"]["reference"] = json!("own");
    let timer = step(json!([{ "key": "soon", "act": { "timer": 1 } }]));
    let mut early = own.clone();
    early["capture"]["because"] = json!(0);
    let guests = [
        taking_out("takes-for-nothing", begun(), vec![(vec![What("message")], nothing)]),
        taking_out(
            "takes-by-timer",
            with(timer, "proposals", json!([hold(AGREED)])),
            vec![(vec![What("rang")], with(waits(), "proposals", json!([own])))],
        ),
        taking_out("takes-at-once", begins_with(json!([hold(AGREED), early])), Vec::new()),
    ];
    let mut seen = Vec::new();
    for guest in &guests {
        seen.push(taken_out(stage, guest, &["r-1"]).await?);
    }
    Ok(seen)
}

/// Keeps a part of the money as a fee that nobody agreed to.
pub(super) async fn own_fee(stage: &Stage) -> Tries {
    let takes = proposes(json!([capture_with("fee", yen(100))]));
    let guest = taking_out("own-fee", begins_with(json!([hold(AGREED)])), vec![(vec![What("message")], takes)]);
    Ok(vec![taken_out(stage, &guest, &["r-1"]).await?])
}

/// Has its partner pay a million yen to an account that nobody named, and would then take them from its user.
pub(super) async fn own_account(stage: &Stage) -> Tries {
    let pay = json!([call("pay", OUT, "echo", "/pay", r#"{"account":"9999999","amount":1000000}"#)]);
    let asks = with(step(pay), "state", json!("b"));
    let takes = with(proposes(json!([capture_with("amount", yen(1_000_000))])), "state", json!("b"));
    let mut takes_all = takes.clone();
    takes_all["ok"]["proposals"][0]["capture"]["reference"] = json!("million");
    let answers = vec![(vec![What("message")], asks), (vec![What("answer")], takes_all)];
    let guest = taking_out("own-account", begins_with(json!([hold(AGREED)])), answers);
    let came = taken_out(stage, &guest, &["r-1"]).await?;
    let mut seen = heard(stage, &guest.id).await?;
    seen.dedup();
    seen.push(came);
    Ok(seen)
}

/// What the slip of the pack says to whoever reads it.
fn bill(biller: &str, reference: &str, minor: i64) -> Value {
    json!({ "ok": {
        "biller": biller, "name": biller, "reference": reference, "amount": yen(minor), "fee": yen(0), "due": null, "fields": [],
    } })
}

/// A payer that knows every code as this bill, and pays it so.
fn payer(id: &str, bill: Value, begin: Value, answers: Vec<(Vec<When>, Value)>) -> Guest {
    paying(id, ("pay-bill", begin), answers).answers("pay-bill", "recognise", bill)
}

/// Somebody pays a slip over so many yen to the power company, and the partner says these things: what came of it.
async fn paid(stage: &Stage, guest: &Guest, said: &[&str]) -> anyhow::Result<String> {
    let user = stage.somebody().await?;
    let input = PayInput {
        payer: guest.id.clone(),
        code: BillCode { source: BillSource::Typed, content: "a slip".to_owned() },
        amount: Money::yen(AGREED),
        fee: Money::yen(0),
        biller: Some("power".to_owned()),
        reference: Some(guest.id.clone()),
    };
    match bills::pay(&stage.app, &stage.of_user(user), input).await {
        Ok(begun) => heard_out(stage, (begun.value.id, user), &guest.id, said).await,
        Err(error) => Ok(not_begun(&error)),
    }
}

async fn let_payer_in(stage: &Stage, guest: &Guest) -> anyhow::Result<()> {
    let out = at(OUT, stage.partner.base());
    stage.channel_of(guest, manifests::payer(&guest.id, &[OUT]), vec![out]).await
}

/// By the time that the user agrees, the code is another amount, another biller's, another bill; or more is set aside than it is.
pub(super) async fn another_bill(stage: &Stage) -> Tries {
    let begun = || begins_with(json!([hold(AGREED)]));
    let guests = [
        payer("another-amount", bill("power", "another-amount", 2_000), begun(), Vec::new()),
        payer("another-biller", bill("thief", "another-biller", AGREED), begun(), Vec::new()),
        payer("another-slip", bill("power", "of-somebody-else", AGREED), begun(), Vec::new()),
        payer(
            "beyond-the-bill",
            bill("power", "beyond-the-bill", AGREED),
            begins_with(json!([hold(2_000)])),
            Vec::new(),
        ),
    ];
    let mut seen = Vec::new();
    for guest in &guests {
        let_payer_in(stage, guest).await?;
        seen.push(paid(stage, guest, &[]).await?);
    }
    Ok(seen)
}

/// One bill is paid twice.
pub(super) async fn paid_twice(stage: &Stage) -> Tries {
    let done = with(proposes(json!([capture(AGREED, true)])), "standing", json!("done"));
    let begun = begins_with(json!([hold(AGREED)]));
    let guest = payer("paid-twice", bill("power", "paid-twice", AGREED), begun, vec![(vec![What("message")], done)]);
    let_payer_in(stage, &guest).await?;
    Ok(vec![paid(stage, &guest, &["r-1"]).await?, paid(stage, &guest, &["r-2"]).await?])
}

/// Says that the bill is paid and took nothing, then takes it after all.
pub(super) async fn done_unpaid(stage: &Stage) -> Tries {
    let done = with(proposes(json!([])), "standing", json!("done"));
    let late = with(proposes(json!([capture(AGREED, true)])), "standing", json!("done"));
    let begun = || begins_with(json!([hold(AGREED)]));
    let of = |id: &str, answers| payer(id, bill("power", id, AGREED), begun(), answers);
    let unpaid = of("done-unpaid", vec![(vec![What("message")], done.clone())]);
    let later = of("done-then-takes", first_and_second(done, with(late, "state", json!("b"))));
    let mut seen = Vec::new();
    for (guest, said) in [(unpaid, &["r-1"][..]), (later, &["r-1", "r-2"])] {
        let_payer_in(stage, &guest).await?;
        seen.push(paid(stage, &guest, said).await?);
    }
    Ok(seen)
}
