//! Attacks on the way out, tried as effects: other origins, private addresses, redirects, names that change, headers, endless answers, secrets.

use std::net::IpAddr;

use koban_domain::guest::{Lost, What};
use koban_domain::records::Input;
use koban_service::Error;
use koban_service::plugins::{self, EndpointInput};
use serde_json::{Value, json};

use super::Tries;
use crate::selftest::guest::Guest;
use crate::selftest::guest::When::{self, State, What as Event};
use crate::selftest::manifests::SAY;
use crate::selftest::scripts::{begins, call, deliver, step, waits, with};
use crate::selftest::stage::{Stage, at};

/// A channel that begins with this step, answers these events in these ways, and otherwise waits.
fn channel(id: &str, begin: Value, answers: Vec<(Vec<When>, Value)>) -> Guest {
    let mut guest = Guest::new(id).answers("charge", "begin", begin).answers("inbound", "route", deliver("$call.body"));
    for (when, answer) in answers {
        guest = guest.when("machine", "resume", &when, answer);
    }
    guest.answers("machine", "resume", waits())
}

/// Begins a charge through the channel and says what came of its effects, in the order in which it was told.
async fn effects(stage: &Stage, guest: &Guest, endpoints: Vec<EndpointInput>) -> Tries {
    let names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let manifest = crate::selftest::manifests::channel(&guest.id, &names);
    stage.channel_of(guest, manifest, endpoints.clone()).await?;
    match stage.begin(stage.mallory, &guest.id).await {
        Ok(charge) => stage.settled(charge.id).await?,
        Err(Error::PluginFault { fault, .. }) => return Ok(vec![format!("effect refused: {fault}")]),
        Err(error) => return Err(error.into()),
    };
    heard(stage, &guest.id).await
}

/// What a plugin's flows were told of their effects, oldest first.
pub(super) async fn heard(stage: &Stage, plugin: &str) -> Tries {
    let records = stage.records(plugin).await?;
    let told = records.iter().rev().filter_map(|record| match &record.input {
        Input::Resume(_, event, _) => came(&event.what),
        _ => None,
    });
    Ok(told.collect())
}

fn came(what: &What) -> Option<String> {
    match what {
        What::Answer(answer) => Some(format!("effect answered: {}", answer.status)),
        What::Lost(Lost::Refused, why) => Some(format!("effect refused: {why}")),
        What::Lost(Lost::Unknown, why) => Some(format!("effect lost: unknown ({why})")),
        What::Lost(Lost::NotSent, why) => Some(format!("effect lost: not-sent ({why})")),
        What::Lost(Lost::BadSignature, why) => Some(format!("effect lost: bad-signature ({why})")),
        _ => None,
    }
}

/// An endpoint or an operation that the manifest does not have. Nobody may even be asked where it is.
pub(super) async fn other_origin(stage: &Stage) -> Tries {
    let mut seen = Vec::new();
    for (id, endpoint, operation) in [("other-origin", "evil.example", "echo"), ("other-operation", "out", "drain")] {
        let guest = channel(id, step(json!([call("e", endpoint, operation, "", "")])), Vec::new());
        seen.extend(effects(stage, &guest, vec![at("out", stage.partner.base())]).await?);
    }
    seen.push(match stage.names.asked("evil.example") {
        0 => "no name asked for".to_owned(),
        asked => format!("the name was asked for {asked} times"),
    });
    Ok(seen)
}

/// Addresses that are this machine, a private network, a cloud's metadata or nobody, each behind a name of its own.
const PRIVATE: [&str; 16] = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "::1",
    "fd00::1",
    "fe80::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "fd00:ec2::254",
];
/// The same as an operator might be talked into writing them down.
const WRITTEN: [&str; 8] = [
    "https://127.0.0.1",
    "https://127.1",
    "https://2130706433",
    "https://0x7f.0.0.1",
    "https://0177.0.0.1",
    "https://[::ffff:127.0.0.1]",
    "https://169.254.169.254",
    "https://[::1]",
];

pub(super) async fn private_addresses(stage: &Stage) -> Tries {
    let id = "private-addresses";
    let (mut endpoints, mut asks) = (Vec::new(), Vec::new());
    for (number, address) in PRIVATE.iter().enumerate() {
        let (name, host) = (format!("out-{number}"), format!("private-{number}.selftest"));
        stage.names.say(&host, vec![vec![address.parse::<IpAddr>()?]]);
        asks.push(call(&name, &name, "echo", "", ""));
        endpoints.push(EndpointInput { allow_private: false, ..at(&name, format!("https://{host}")) });
    }
    let mut seen = Vec::new();
    let effects = effects(stage, &channel(id, step(json!(asks)), Vec::new()), endpoints).await?;
    for base in WRITTEN {
        seen.push(written(stage, id, EndpointInput { allow_private: false, ..at("out-0", base.to_owned()) }).await);
    }
    seen.extend(effects);
    Ok(seen)
}

/// What is said of an endpoint that an operator writes down.
async fn written(stage: &Stage, plugin: &str, endpoint: EndpointInput) -> String {
    match plugins::set_endpoint(&stage.app, &stage.operator(), plugin, endpoint).await {
        Ok(()) => "endpoint set".to_owned(),
        Err(error) => format!("endpoint refused: {error}"),
    }
}

pub(super) async fn redirect(stage: &Stage) -> Tries {
    let guest = channel("redirect", step(json!([call("e", "out", "redirect", "", "")])), Vec::new());
    let mut seen = effects(stage, &guest, vec![at("out", stage.partner.base())]).await?;
    seen.push(match stage.partner.heard("/redirect").len() {
        1 => "nothing followed".to_owned(),
        requests => format!("{requests} requests"),
    });
    Ok(seen)
}

/// A name that is the partner's when it is looked at first, and the cloud's metadata service as well when it counts.
pub(super) async fn rebinding(stage: &Stage) -> Tries {
    let (home, metadata): (IpAddr, IpAddr) = ("127.0.0.1".parse()?, "169.254.169.254".parse()?);
    stage.names.say("rebinding.selftest", vec![vec![home], vec![home, metadata]]);
    let second = with(step(json!([call("second", "out", "echo", "", "")])), "state", json!("b"));
    let guest = channel(
        "rebinding",
        step(json!([call("first", "out", "echo", "", "")])),
        vec![(vec![Event("answer"), State('a')], second)],
    );
    effects(stage, &guest, vec![at("out", stage.partner.base_as("rebinding.selftest"))]).await
}

/// Bases that a lenient parser would repair, and paths that would lead elsewhere.
pub(super) async fn crooked_urls(stage: &Stage) -> Tries {
    let guest = channel("crooked-bases", step(json!([])), Vec::new());
    stage.channel(&guest, &[("out", stage.partner.base())]).await?;
    let mut seen = Vec::new();
    for base in [
        "//evil.example",
        "https://partner.example@evil.example",
        "https:\\\\evil.example",
        "HTTPS://evil.example",
        "file:///etc/passwd",
        "unix:/run/postgresql",
        "https://evil.example/?to=here",
        "https://evil.example#here",
        "https://",
        "https://evil.example:0",
        "https://ev\u{456}l.example",
        "gopher://evil.example",
    ] {
        seen.push(written(stage, "crooked-bases", at("out", base.to_owned())).await);
    }
    let paths = ["/../echo", "/%2e%2e/echo", "@evil.example", "/a?b=c", "/a#b", "/\\evil.example", "//evil.example"];
    for (number, path) in paths.into_iter().enumerate() {
        let guest = channel(
            &format!("crooked-path-{}", number + 1),
            step(json!([call("e", "out", "echo", path, "")])),
            Vec::new(),
        );
        seen.extend(effects(stage, &guest, vec![at("out", stage.partner.base())]).await?);
    }
    Ok(seen)
}

/// Line breaks in a path, in a query and in a reply, and headers that are the host's to set.
pub(super) async fn headers(stage: &Stage) -> Tries {
    let out = || vec![at("out", stage.partner.base())];
    let smuggled = call("e", "out", "echo", "/x HTTP/1.1\r\nhost: evil.example\r\n\r\n", "");
    let mut seen = effects(stage, &channel("smuggled", step(json!([smuggled])), Vec::new()), out()).await?;

    let mut query = call("e", "out", "echo", "/query", "");
    query["act"]["http"]["query"] =
        json!([{ "name": "a", "value": { "text": "b\r\nhost: evil.example\r\nx-injected: 1" } }]);
    seen.extend(effects(stage, &channel("query", step(json!([query])), Vec::new()), out()).await?);
    let injected = stage.partner.heard("/echo/query").iter().any(|request| {
        let lines = || request.lines().map(str::to_ascii_lowercase);
        lines().any(|line| line.starts_with("x-injected"))
            || lines().filter(|line| line.starts_with("host:")).count() != 1
    });
    seen.push(if injected { "a header was injected" } else { "no header injected" }.to_owned());

    for (id, header) in [("reply-break", "a\r\nset-cookie: a=b"), ("reply-name", "a")] {
        let name = if id == "reply-name" { "x-evil\r\nx" } else { "content-language" };
        let reply = json!({ "status": 200, "headers": [[name, header]], "body": "" });
        let guest = Guest::new(id)
            .answers("charge", "begin", begins(&json!([])))
            .answers("inbound", "route", json!({ "ok": { "answer": reply } }))
            .answers("machine", "resume", waits());
        stage.channel(&guest, &[]).await?;
        seen.push(match stage.say(id, "hello").await {
            Ok(reply) => format!("replied: {:?}", reply.headers),
            Err(Error::PluginFault { fault, .. }) => format!("reply refused: {fault}"),
            Err(error) => format!("{SAY} failed: {error}"),
        });
    }
    seen.push(foreign_headers(stage).await?);
    Ok(seen)
}

/// Headers of a reply that only the host sets are not the plugin's to send.
async fn foreign_headers(stage: &Stage) -> anyhow::Result<String> {
    let headers = json!([
        ["host", "evil.example"],
        ["transfer-encoding", "chunked"],
        ["set-cookie", "a=b"],
        ["content-length", "0"]
    ]);
    let reply = json!({ "status": 200, "headers": headers, "body": "whole" });
    let guest = Guest::new("reply-headers")
        .answers("charge", "begin", begins(&json!([])))
        .answers("inbound", "route", json!({ "ok": { "answer": reply } }))
        .answers("machine", "resume", waits());
    stage.channel(&guest, &[]).await?;
    let sent = stage.say("reply-headers", "hello").await?;
    let foreign = ["host", "transfer-encoding", "set-cookie", "content-length"];
    let slipped: Vec<&str> =
        foreign.into_iter().filter(|name| sent.headers.iter().any(|(known, _)| known == name)).collect();
    Ok(if slipped.is_empty() { "reply sent without them".to_owned() } else { format!("sent: {slipped:?}") })
}

pub(super) async fn bad_answers(stage: &Stage) -> Tries {
    let asks: Vec<Value> =
        ["slow", "endless", "gzip", "heads"].iter().map(|name| call(name, "out", name, "", "")).collect();
    let guest = channel("bad-answers", step(json!(asks)), Vec::new());
    effects(stage, &guest, vec![at("out", stage.partner.base())]).await
}

/// The secret of one endpoint, asked for at another one and then where it belongs, whose partner sends it back.
pub(super) async fn secrets(stage: &Stage) -> Tries {
    const SECRET: &str = "hunter2-hunter2-hunter2";
    let body = r#"{"pin":"{{secret:pin}}"}"#;
    let asks =
        json!([call("elsewhere", "out", "echo", "/thief", body), call("rightly", "vault", "echo", "/vault", body)]);
    let vault = EndpointInput {
        fill: [("pin".to_owned(), SECRET.to_owned())].into_iter().collect(),
        ..at("vault", stage.partner.base())
    };
    let guest = channel("secrets", step(asks), Vec::new());
    let mut seen = effects(stage, &guest, vec![at("out", stage.partner.base()), vault]).await?;
    // Which of the two is done first is nobody's promise.
    seen.sort_unstable_by_key(|seen| std::cmp::Reverse(seen.clone()));
    let told = stage.records("secrets").await?.iter().any(|record| {
        let kept = record.keep();
        let held = kept.held.map(|held| held.bytes).unwrap_or_default();
        [kept.bytes, held].iter().any(|bytes| bytes.windows(SECRET.len()).any(|some| some == SECRET.as_bytes()))
    });
    let got = stage.partner.heard("/echo/vault").iter().any(|request| request.contains(SECRET));
    let stolen = stage.partner.heard("/echo/thief").len();
    seen.push(match (told, got, stolen) {
        (false, true, 0) => "only its own partner got it".to_owned(),
        other => format!("told, got and stolen: {other:?}"),
    });
    Ok(seen)
}
