//! Attacks on people: words, links and forms of the plugin's own, and texts that are not what they seem.

use koban_domain::manifest::{Manifest, Words};
use koban_service::Error;
use serde_json::{Value, json};

use super::Tries;
use crate::selftest::guest::Guest;
use crate::selftest::manifests::{self, package};
use crate::selftest::scripts::{deliver, step, waits, with};
use crate::selftest::stage::Stage;

/// Channels of which each begins by showing one of these.
async fn showing(stage: &Stage, id: &str, shows: &[Value]) -> Tries {
    let mut seen = Vec::new();
    for (number, show) in shows.iter().enumerate() {
        let begin = step(json!([{ "key": "show", "act": { "show": show } }]));
        seen.push(begun(stage, &format!("{id}-{}", number + 1), begin).await?);
    }
    Ok(seen)
}

/// What comes of beginning with this step.
async fn begun(stage: &Stage, id: &str, begin: Value) -> anyhow::Result<String> {
    let guest = Guest::new(id)
        .answers("charge", "begin", begin)
        .answers("inbound", "route", deliver("nobody"))
        .answers("machine", "resume", waits());
    stage.channel(&guest, &[("out", stage.partner.base())]).await?;
    Ok(match stage.begin(stage.mallory, id).await {
        Ok(charge) => format!("shown: {:?}", charge.shows),
        Err(Error::PluginFault { fault, .. }) => fault.to_string(),
        Err(error) => super::refusal(&error),
    })
}

/// Pages, scripts, other schemes, a megabyte, and marks that turn the direction of writing.
pub(super) async fn texts(stage: &Stage) -> Tries {
    let shows = [
        json!({ "text": "<b>Your account is locked</b>" }),
        json!({ "text": "known\u{202e}" }),
        json!({ "link": "javascript:alert(1)" }),
        json!({ "link": "data:text/html,hello" }),
        json!({ "code": "1".repeat(200_000) }),
        json!({ "code": "123\n456" }),
        json!({ "code": "\u{202e}654321" }),
        json!({ "qr": "\u{2066}x" }),
    ];
    let mut seen = showing(stage, "texts", &shows).await?;
    for (number, words) in ["Pay\u{202e}ment", "two\r\nlines", &"long ".repeat(1_000)].into_iter().enumerate() {
        let mut manifest = manifests::channel(&format!("worded-{}", number + 1), &[]);
        manifest.texts.insert("known".to_owned(), Words { ja: words.to_owned(), en: words.to_owned() });
        seen.push(uploaded(stage, manifest).await?);
    }
    Ok(seen)
}

async fn uploaded(stage: &Stage, manifest: Manifest) -> anyhow::Result<String> {
    let guest = crate::selftest::stage::honest(&manifest.id, 1);
    Ok(match stage.upload(package(&guest, manifest)?).await {
        Ok(_) => "installed".to_owned(),
        Err(error) => format!("install refused: {error}"),
    })
}

/// A name that is not what it seems.
pub(super) async fn names(stage: &Stage) -> Tries {
    let mut seen = Vec::new();
    for (number, name) in ["Koban\u{200b} Wallet", "\u{202e}nabok", "A\nB", ""].into_iter().enumerate() {
        let mut manifest = manifests::channel(&format!("named-{}", number + 1), &[]);
        manifest.name = Words { ja: name.to_owned(), en: name.to_owned() };
        seen.push(uploaded(stage, manifest).await?);
    }
    Ok(seen)
}

/// Links that lead to somebody else than the plugin's own partners.
pub(super) async fn links(stage: &Stage) -> Tries {
    let shows = ["https://evil.example/login", "https://partner.selftest@evil.example/", "http://127.0.0.1:1/"];
    let shows: Vec<Value> = shows.iter().map(|link| json!({ "link": link })).collect();
    showing(stage, "links", &shows).await
}

/// Forms with too many fields, too many choices, and labels of their own.
pub(super) async fn forms(stage: &Stage) -> Tries {
    let field = |name: &str, label: &str, choices: usize| {
        let choices: Vec<String> = (0..choices).map(|number| format!("choice {number}")).collect();
        json!({ "name": name, "label": label, "kind": if choices.is_empty() { "text" } else { "choice" }, "choices": choices,
            "required": true, "max-length": 10 })
    };
    let many: Vec<Value> = (0..21).map(|number| field(&format!("f{number}"), "known", 0)).collect();
    let shows = [
        json!({ "form": many }),
        json!({ "form": [field("f", "known", 101)] }),
        json!({ "form": [field("f", "Please type your password", 0)] }),
        json!({ "form": [field("f\u{202e}", "known", 0)] }),
        json!({ "consent": "elsewhere" }),
    ];
    showing(stage, "forms", &shows).await
}

/// A form that asks for a secret is shown, and nobody can give it one.
pub(super) async fn secret_form(stage: &Stage) -> Tries {
    let id = "secret-form";
    let field =
        json!({ "name": "pin", "label": "known", "kind": "secret", "choices": [], "required": true, "max-length": 10 });
    let begin = step(json!([{ "key": "ask", "act": { "show": { "form": [field] } } }]));
    let guest = Guest::new(id)
        .answers("charge", "begin", with(begin, "standing", json!("waiting-for-user")))
        .answers("inbound", "route", deliver("nobody"))
        .answers("machine", "resume", waits());
    stage.channel(&guest, &[]).await?;
    let flow = stage.begin(stage.mallory, id).await?.id;
    let given = vec![koban_domain::guest::Named::text("pin", "hunter2")];
    let answered = koban_service::charges::answer(&stage.app, &stage.of_user(stage.mallory), flow, "ask", given).await;
    Ok(vec![match answered {
        Ok(_) => "the secret was taken".to_owned(),
        Err(error) => format!("answer refused: {error}"),
    }])
}

/// Notes and failures with codes that nobody knows.
pub(super) async fn notes(stage: &Stage) -> Tries {
    let note = |code: &str, text: Value| json!({ "code": code, "message": "m", "text": text, "retryable": false });
    let failed = |note: Value| with(with(step(json!([])), "standing", json!("failed")), "note", note);
    Ok(vec![
        begun(stage, "notes-1", failed(note("your_account_is_locked", json!(null)))).await?,
        begun(stage, "notes-2", failed(note("known", json!("Call +81-3-0000-0000")))).await?,
        begun(stage, "notes-3", json!({ "err": note("payment.completed", json!(null)) })).await?,
    ])
}
