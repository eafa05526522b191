//! Attacks on flows: forged correlations and signatures, storms of replies, effects that change, states that grow, flows that never end.

use koban_domain::guest::{Lost, What as Happened};
use koban_domain::records::Input;
use koban_service::Error;
use koban_service::jobs::{self, Round};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Tries;
use super::money::{came_of, channel, channel_when, charged};
use crate::selftest::guest::Guest;
use crate::selftest::guest::When::{State, What};
use crate::selftest::scripts::{begins, call, credit, deliver, proposes, step, waits, with};
use crate::selftest::stage::Stage;

/// So many calls at once are a storm.
const STORM: usize = 100;
/// A little more than the longest that a flow may take, milliseconds.
const TOO_LONG_MS: i64 = 15 * 86_400_000;

/// A second flow expects the call that a first one waits for.
pub(super) async fn correlation(stage: &Stage) -> Tries {
    let guest = channel("correlation", credit(1_000, "$ctx.call"));
    stage.channel(&guest, &[]).await?;
    let first = stage.begin(stage.mallory, &guest.id).await?.id;
    let second = stage.begin(stage.ken, &guest.id).await?.id;
    stage.settled(second).await?;
    stage.say(&guest.id, "pay").await?;
    let told = stage.records(&guest.id).await?.iter().find_map(|record| match &record.input {
        Input::Resume(_, event, _) => match &event.what {
            Happened::Lost(Lost::Refused, why) => Some(format!("effect refused: {why}")),
            _ => None,
        },
        _ => None,
    });
    let credits = [stage.settled(first).await?.credits.len(), stage.settled(second).await?.credits.len()];
    Ok(vec![
        told.unwrap_or_else(|| "the second flow was told nothing".to_owned()),
        match credits {
            [1, 0] => "the first flow alone was credited".to_owned(),
            other => format!("credits: {other:?}"),
        },
    ])
}

/// Calls that nobody signed, that somebody else signed, that were changed or that are old.
pub(super) async fn forged_calls(stage: &Stage) -> Tries {
    let guest = channel("forged-calls", credit(1_000, "$ctx.call"));
    stage.channel(&guest, &[]).await?;
    let flow = stage.begin(stage.mallory, &guest.id).await?.id;
    let mut seen = Vec::new();
    let own = stage.signed("pay", 0)?;
    let forged = [
        Vec::new(),
        stage.signed_by_another("pay")?,
        stage.signed("another body", 0)?,
        stage.signed("pay", -600)?,
        own.iter().filter(|(name, _)| !name.ends_with("signature")).cloned().collect(),
    ];
    for headers in forged {
        seen.push(match stage.call(&guest.id, "pay", &headers).await {
            Err(Error::BadSignature(_)) => "call refused: bad signature".to_owned(),
            Err(error) => super::refusal(&error),
            Ok(reply) => format!("answered: {}", reply.status),
        });
    }
    let credits = stage.settled(flow).await?.credits.len();
    seen.push(if credits == 0 { "nothing credited".to_owned() } else { format!("{credits} credits") });
    Ok(seen)
}

/// The partner of one plugin names the correlation of another one's flow.
pub(super) async fn anothers_flow(stage: &Stage) -> Tries {
    let (victim, thief) =
        (channel("its-own-flow", credit(1_000, "$ctx.call")), channel("anothers-flow", credit(1_000, "$ctx.call")));
    stage.channel(&victim, &[]).await?;
    stage.channel(&thief, &[]).await?;
    let flow = stage.begin(stage.mallory, &victim.id).await?.id;
    stage.settled(flow).await?;
    let reply = stage.say(&thief.id, "pay").await?;
    let credits = stage.settled(flow).await?.credits.len();
    Ok(vec![
        format!("answered: {}", reply.status),
        if credits == 0 { "nothing credited".to_owned() } else { format!("{credits} credits") },
    ])
}

/// The same call a hundred times at once.
pub(super) async fn reply_storm(stage: &Stage) -> Tries {
    let guest = channel("reply-storm", credit(1_000, "$ctx.call"));
    stage.channel(&guest, &[]).await?;
    let flow = stage.begin(stage.mallory, &guest.id).await?.id;
    stage.settled(flow).await?;
    let mut calls = JoinSet::new();
    for _ in 0..STORM {
        let (app, request) = (stage.app.clone(), stage.request(&guest.id, "pay", &stage.signed("pay", 0)?));
        calls.spawn(async move { koban_service::flows::receive(&app, request).await });
    }
    let mut replies = std::collections::BTreeMap::new();
    while let Some(reply) = calls.join_next().await {
        let reply = reply?.map(|reply| (reply.status, reply.body));
        *replies.entry(reply.unwrap_or_else(|error| (0, error.to_string().into_bytes()))).or_insert(0_usize) += 1;
    }
    let steps = stage.settled(flow).await?;
    Ok(vec![match (replies.into_iter().next(), steps.credits.len()) {
        (Some(((200, body), STORM)), 1) if body == b"ok" => "credited once, the same reply to all".to_owned(),
        other => format!("{other:?}"),
    }])
}

/// The same effect asked for with another content: its timer, and its call.
pub(super) async fn changed_effects(stage: &Stage) -> Tries {
    let later = |ms: u64| json!({ "key": "same", "act": { "timer": ms } });
    let guest = channel("changed-timer", step(json!([later(4_000_000_000_000), later(4_100_000_000_000)])));
    let mut seen = vec![charged(stage, &guest, &["pay"]).await?];
    let ask = |body: &str| step(json!([call("same", "out", "echo", "", body)]));
    let guest = channel_when(
        "changed-call",
        vec![
            (vec![What("message"), State('a')], with(ask("first"), "state", json!("b"))),
            (vec![What("message")], with(ask("second"), "state", json!("b"))),
            (vec![What("answer")], with(waits(), "state", json!("b"))),
        ],
    );
    stage.channel(&guest, &[("out", stage.partner.base())]).await?;
    let flow = stage.begin(stage.mallory, &guest.id).await?.id;
    stage.settled(flow).await?;
    for body in ["one", "two"] {
        stage.say(&guest.id, body).await?;
    }
    seen.push(came_of(stage, flow).await?);
    Ok(seen)
}

/// State that is one byte larger than a state may be.
pub(super) async fn growing_state(stage: &Stage) -> Tries {
    let guest = channel("growing-state", with(waits(), "state", json!("a".repeat(64 * 1024 + 1))));
    Ok(vec![charged(stage, &guest, &["pay"]).await?])
}

/// A flow that wakes itself at once, again and again.
pub(super) async fn never_ends(stage: &Stage) -> Tries {
    let again = || json!([{ "key": "$ctx.call", "act": { "timer": 1 } }]);
    let guest = Guest::new("never-ends")
        .answers("charge", "begin", step(again()))
        .answers("inbound", "route", deliver("nobody"))
        .answers("machine", "resume", step(again()));
    stage.channel(&guest, &[]).await?;
    let flow = stage.begin(stage.mallory, &guest.id).await?.id;
    Ok(vec![came_of(stage, flow).await?])
}

/// A flow that waits for what never comes. Its time is made to pass by moving this host's own clock, so it is tried last of all.
pub(super) async fn waits_for_ever(stage: &Stage) -> Tries {
    let guest = channel("waits-for-ever", waits());
    stage.channel(&guest, &[]).await?;
    let flow = stage.begin(stage.mallory, &guest.id).await?.id;
    stage.settled(flow).await?;
    stage.app.clock.advance_ms(TOO_LONG_MS);
    jobs::sweep_once(&stage.app, &mut Round::default()).await?;
    let late = stage.say(&guest.id, "pay").await?;
    Ok(vec![came_of(stage, flow).await?, format!("answered: {}", late.status)])
}

/// More effects than a step may ask for, and more than may be open.
pub(super) async fn many_effects(stage: &Stage) -> Tries {
    let timers = |prefix: &str, count: usize| -> Value {
        let timer = |number| json!({ "key": format!("{prefix}-{number}"), "act": { "timer": 4_000_000_000_000_u64 } });
        (0..count).map(timer).collect()
    };
    let mut seen = vec![charged(stage, &channel("many-effects", step(timers("t", 17))), &["pay"]).await?];
    let guest = channel_when(
        "open-effects",
        vec![
            (vec![What("message"), State('a')], with(step(timers("t", 9)), "state", json!("b"))),
            (vec![What("message")], step(timers("u", 9))),
        ],
    );
    seen.push(charged(stage, &guest, &["one", "two"]).await?);
    Ok(seen)
}

/// A step that ends its flow and would still like a call to be made.
pub(super) async fn call_after_the_end(stage: &Stage) -> Tries {
    let ends = with(step(json!([call("late", "out", "echo", "/late", "")])), "standing", json!("done"));
    let guest = channel("call-after-the-end", ends);
    stage.channel(&guest, &[("out", stage.partner.base())]).await?;
    let flow = stage.begin(stage.mallory, &guest.id).await?.id;
    stage.settled(flow).await?;
    stage.say(&guest.id, "pay").await?;
    let mut seen = vec![came_of(stage, flow).await?];
    seen.push(match stage.partner.heard("/echo/late").len() {
        0 => "nothing was sent".to_owned(),
        sent => format!("{sent} calls were sent"),
    });
    Ok(seen)
}

/// Faults in a flow: an endless loop, a trap, and a failure where a step is wanted.
pub(super) async fn faults(stage: &Stage) -> Tries {
    let endless = Guest::new("endless-step")
        .answers("charge", "begin", begins(&json!([])))
        .answers("inbound", "route", deliver("$call.body"))
        .first("machine", "resume", "(loop $again (br $again))")
        .answers("machine", "resume", waits());
    stage.channel(&endless, &[]).await?;
    let flow = stage.begin(stage.mallory, &endless.id).await?.id;
    stage.say(&endless.id, &stage.correlation(flow).await?).await?;
    let mut seen = vec![came_of(stage, flow).await?];
    seen.push(charged(stage, &channel("trap-step", json!(null)), &["pay"]).await?);
    let failure = json!({ "err": { "code": "known", "message": "no", "text": null, "retryable": true } });
    seen.push(charged(stage, &channel("failing-step", failure), &["pay"]).await?);
    let endless = Guest::new("endless-route")
        .answers("charge", "begin", begins(&json!([])))
        .first("inbound", "route", "(loop $again (br $again))")
        .answers("inbound", "route", deliver("nobody"))
        .answers("machine", "resume", proposes(json!([])));
    stage.channel(&endless, &[]).await?;
    seen.push(match stage.say(&endless.id, "pay").await {
        Err(Error::PluginFault { fault, .. }) => fault.to_string(),
        Err(error) => super::refusal(&error),
        Ok(reply) => format!("answered: {}", reply.status),
    });
    Ok(seen)
}
