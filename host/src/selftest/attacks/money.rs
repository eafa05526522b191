//! Attacks on money: amounts, references, what a partner never said, other people's credits, and the two numbers.

use koban_domain::ids::FlowId;
use koban_domain::records::Input;
use koban_service::flows::FlowDetail;
use koban_service::{Error, plugins};
use serde_json::{Value, json};

use super::Tries;
use crate::selftest::guest::Guest;
use crate::selftest::guest::When::{self, Refused, State, What};
use crate::selftest::scripts::{begins, credit, deliver, one_credit, proposes, reply, step, waits, with};
use crate::selftest::stage::{EXPOSURE_CAP, Stage, honest};

/// A channel whose one flow expects any call of its partner, and answers it so.
pub(super) fn channel(id: &str, at_message: Value) -> Guest {
    channel_when(id, vec![(vec![What("message")], at_message)])
}

/// The same with an answer for each of these. A refusal of the books is told to the partner, and that is the end of it.
pub(super) fn channel_when(id: &str, answers: Vec<(Vec<When>, Value)>) -> Guest {
    let refused = with(with(waits(), "reply", reply(409, "refused")), "standing", json!("failed"));
    let mut guest = Guest::new(id)
        .answers("charge", "begin", step(json!([{ "key": "call", "act": { "expect": "the-only-one" } }])))
        .answers("inbound", "route", deliver("the-only-one"))
        .when("machine", "resume", &[Refused], refused);
    for (when, answer) in answers {
        guest = guest.when("machine", "resume", &when, answer);
    }
    guest.answers("machine", "resume", waits())
}

/// What came of a flow: the fault or the refusal that stopped it, what its plugin was refused, or where it stands.
pub(super) async fn came_of(stage: &Stage, flow: FlowId) -> anyhow::Result<String> {
    let detail = stage.settled(flow).await?;
    if let Some(reason) = &detail.summary.stuck {
        let fault = reason.strip_prefix("its plugin faulted 3 times: ");
        let refusal = reason.strip_prefix("the same event was refused 2 times: ");
        return Ok(match (fault, refusal) {
            (Some(fault), _) => fault.to_owned(),
            (_, Some(refusal)) => format!("refused: {refusal}, and stuck"),
            _ => format!("stuck: {reason}"),
        });
    }
    let records = stage.records(&detail.summary.plugin).await?;
    let of_flow = records.iter().filter(|record| record.about == Some(detail.summary.user));
    let refusal = of_flow.into_iter().find_map(|record| match &record.input {
        Input::Resume(.., Some(refusal)) => Some(refusal.outcome.clone()),
        _ => None,
    });
    Ok(refusal.map_or_else(|| standing(&detail), |outcome| format!("refused: {outcome}")))
}

fn standing(detail: &FlowDetail) -> String {
    format!("{:?} with {} credits", detail.summary.standing, detail.credits.len())
}

/// Installs a channel, begins a charge and has the partner say these things; what came of it.
pub(super) async fn charged(stage: &Stage, guest: &Guest, said: &[&str]) -> anyhow::Result<String> {
    stage.channel(guest, &[]).await?;
    let flow = stage.begin(stage.mallory, &guest.id).await?.id;
    stage.settled(flow).await?;
    for body in said {
        stage.say(&guest.id, body).await?;
    }
    came_of(stage, flow).await
}

/// Channels of which each proposes one of these when its partner calls.
async fn proposing(stage: &Stage, id: &str, proposals: &[Value]) -> Tries {
    let mut seen = Vec::new();
    for (number, proposal) in proposals.iter().enumerate() {
        let guest = channel(&format!("{id}-{}", number + 1), proposes(json!([proposal])));
        seen.push(charged(stage, &guest, &["pay"]).await?);
    }
    Ok(seen)
}

pub(super) async fn anothers_credit(stage: &Stage) -> Tries {
    let reverse = json!({ "reverse": {
        "of": "credit-of-another", "amount": { "minor": 100, "currency": "JPY" }, "reference": "r-1", "because": "$event.number",
    } });
    proposing(stage, "anothers-credit", &[reverse]).await
}

pub(super) async fn amounts(stage: &Stage) -> Tries {
    let credit = |minor: i64, currency: &str| {
        let mut credit = one_credit("credit", minor, "$ctx.call");
        credit["credit"]["amount"]["currency"] = json!(currency);
        credit
    };
    let proposals = [
        credit(-1, "JPY"),
        credit(0, "JPY"),
        credit(i64::MIN, "JPY"),
        credit(100, "jpy"),
        credit(100, "YEN!"),
        credit(i64::MAX, "JPY"),
        credit(100, "USD"),
    ];
    proposing(stage, "amounts", &proposals).await
}

pub(super) async fn more_than_agreed(stage: &Stage) -> Tries {
    proposing(stage, "more-than-agreed", &[one_credit("credit", 5_001, "$ctx.call")]).await
}

/// No reference at all, and then one that was used before, in the flow of somebody else.
pub(super) async fn references(stage: &Stage) -> Tries {
    let mut seen = proposing(stage, "no-reference", &[one_credit("credit", 1_000, "")]).await?;
    let refused = with(with(waits(), "reply", reply(409, "refused")), "standing", json!("failed"));
    let guest = Guest::new("same-reference")
        .answers("charge", "begin", begins(&json!([])))
        .answers("inbound", "route", deliver("$call.body"))
        .when("machine", "resume", &[Refused], refused)
        .when("machine", "resume", &[What("message")], credit(1_000, "the-same-for-ever"))
        .answers("machine", "resume", waits());
    stage.channel(&guest, &[]).await?;
    for user in [stage.mallory, stage.ken] {
        let flow = stage.begin(user, &guest.id).await?.id;
        stage.say(&guest.id, &stage.correlation(flow).await?).await?;
        seen.push(came_of(stage, flow).await?);
    }
    Ok(seen)
}

/// Says that it is done, and then that it has failed.
pub(super) async fn two_endings(stage: &Stage) -> Tries {
    let done = with(credit(1_000, "$event.what.message.body"), "state", json!("done"));
    let failed = with(with(proposes(json!([])), "standing", json!("failed")), "state", json!("failed"));
    let guest =
        channel_when("two-endings", vec![(vec![What("message"), State('a')], done), (vec![What("message")], failed)]);
    Ok(vec![charged(stage, &guest, &["r-1", "r-2"]).await?])
}

/// Credits that rest on no event, on a form, on an old event.
pub(super) async fn no_partner_said_so(stage: &Stage) -> Tries {
    let because = |number: u32| {
        let mut credit = one_credit("credit", 1_000, "$ctx.call");
        credit["credit"]["because"] = json!(number);
        credit
    };
    let mut seen = proposing(stage, "no-event", &[because(0), because(99)]).await?;
    let timer = step(json!([{ "key": "soon", "act": { "timer": 1 } }]));
    let guest = Guest::new("own-timer")
        .answers("charge", "begin", timer)
        .answers("inbound", "route", deliver("nobody"))
        .when("machine", "resume", &[What("rang")], credit(1_000, "$ctx.call"))
        .answers("machine", "resume", waits());
    stage.channel(&guest, &[]).await?;
    let flow = stage.begin(stage.mallory, &guest.id).await?.id;
    seen.push(came_of(stage, flow).await?);
    Ok(seen)
}

/// What the table of beginnings grants to no charge.
pub(super) async fn other_proposals(stage: &Stage) -> Tries {
    let amount = json!({ "minor": 100, "currency": "JPY" });
    let capture = json!({ "capture": {
        "hold": "hold", "amount": amount, "fee": null, "reference": "r-1", "because": "$event.number", "final": true,
    } });
    let hold = json!({ "hold": { "key": "hold", "amount": amount } });
    proposing(stage, "other-proposals", &[hold, capture, json!({ "release": "hold" })]).await
}

pub(super) async fn same_credit_twice(stage: &Stage) -> Tries {
    let two = json!([one_credit("credit", 100, "r-1"), one_credit("credit", 100, "r-2")]);
    Ok(vec![charged(stage, &channel("same-credit", proposes(two)), &["pay"]).await?])
}

pub(super) async fn many_proposals(stage: &Stage) -> Tries {
    let many: Vec<Value> = (0..17).map(|number| json!({ "tombstone": format!("r-{number}") })).collect();
    Ok(vec![charged(stage, &channel("many-proposals", proposes(json!(many))), &["pay"]).await?])
}

/// Goes on to propose what was refused.
pub(super) async fn insists(stage: &Stage) -> Tries {
    let guest = Guest::new("insists")
        .answers("charge", "begin", step(json!([{ "key": "call", "act": { "expect": "the-only-one" } }])))
        .answers("inbound", "route", deliver("the-only-one"))
        .answers("machine", "resume", proposes(json!([one_credit("credit", 5_001, "$ctx.call")])));
    Ok(vec![charged(stage, &guest, &["pay"]).await?])
}

/// A credit after the last one, and more taken back than was given.
pub(super) async fn after_the_end(stage: &Stage) -> Tries {
    let done = with(credit(500, "$event.what.message.body"), "state", json!("done"));
    let more = proposes(json!([one_credit("more", 500, "$event.what.message.body")]));
    let more = with(with(more, "state", json!("done")), "standing", json!("done"));
    let again = channel_when(
        "after-the-end",
        vec![(vec![What("message"), State('a')], done.clone()), (vec![What("message")], more)],
    );
    let mut seen = vec![charged(stage, &again, &["r-1", "r-2"]).await?];
    let reverse = json!({ "reverse": {
        "of": "credit", "amount": { "minor": 501, "currency": "JPY" }, "reference": "$event.what.message.body",
        "because": "$event.number",
    } });
    let reverse = with(with(proposes(json!([reverse])), "standing", json!("done")), "state", json!("done"));
    let refused = with(with(waits(), "reply", reply(409, "refused")), "standing", json!("done"));
    let taker = Guest::new("takes-more")
        .answers("charge", "begin", step(json!([{ "key": "call", "act": { "expect": "the-only-one" } }])))
        .answers("inbound", "route", deliver("the-only-one"))
        .when("machine", "resume", &[Refused], refused)
        .when("machine", "resume", &[What("message"), State('a')], done)
        .answers("machine", "resume", reverse);
    seen.push(charged(stage, &taker, &["r-1", "r-2"]).await?);
    Ok(seen)
}

/// Two credits that together pass the exposure cap.
pub(super) async fn exposure_cap(stage: &Stage) -> Tries {
    let guest = honest("exposure-cap", 2_000);
    stage.channel(&guest, &[]).await?;
    plugins::set_caps(&stage.app, &stage.operator(), &guest.id, 3_000, 0).await?;
    let mut flows = Vec::new();
    for user in [stage.mallory, stage.ken] {
        let flow = stage.begin(user, &guest.id).await?.id;
        flows.push((flow, stage.correlation(flow).await?));
    }
    // Both began before either was paid: the cap is counted in the books and not at the beginning.
    for (_, correlation) in &flows {
        stage.say(&guest.id, correlation).await?;
    }
    let mut seen = Vec::new();
    for (flow, _) in flows {
        seen.push(came_of(stage, flow).await?);
    }
    let exposure = plugins::get(&stage.app, &guest.id).await?.exposure;
    let used = exposure.map_or(0, |exposure| exposure.used.minor);
    seen.push(if used <= 3_000 {
        "within its cap".to_owned()
    } else {
        format!("{used} yen unsettled, {EXPOSURE_CAP}")
    });
    Ok(seen)
}

/// A beginning that brings money along.
pub(super) async fn money_at_the_beginning(stage: &Stage) -> Tries {
    let mut credit = one_credit("credit", 1_000, "$ctx.call");
    credit["credit"]["because"] = json!(0);
    let begin = with(step(json!([])), "proposals", json!([credit]));
    let guest = Guest::new("begins-rich")
        .answers("charge", "begin", begin)
        .answers("inbound", "route", deliver("nobody"))
        .answers("machine", "resume", waits());
    stage.channel(&guest, &[]).await?;
    Ok(vec![match stage.begin(stage.mallory, &guest.id).await {
        Ok(_) => "it began".to_owned(),
        Err(Error::PluginFault { fault, .. }) => format!("begin refused: {fault}"),
        Err(error) => super::refusal(&error),
    }])
}
