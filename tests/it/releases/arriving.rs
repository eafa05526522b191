//! How a release comes: whose signature counts, what is refused and by which name, and what an operator accepts.

use hyper::Method;
use koban_domain::packages::{Document, Package};
use koban_domain::releases::State;
use koban_service::releases::{self, Accept, Move, Upload};
use koban_service::{Error, plugins, publishers};
use serde_json::json;

use super::{act, acts, attacking, decided_by, enabled, installed, moved, rules, signing_key};
use crate::harness::{Caller as _, Folder, TestApp, package_as};

async fn upload(app: &TestApp, package: Package, unsigned: bool) -> Result<releases::ReleaseView, Error> {
    releases::upload(&app.app, &app.operator_ctx(), Upload { package, unsigned }).await
}

#[track_caller]
fn said(result: Result<impl std::fmt::Debug, Error>, expected: &str) {
    let error = result.expect_err("it is refused");
    let error = koban_service::ledger::chain(&error);
    assert!(error.contains(expected), "{error}");
}

/// Goal: the whole way over the API, as an operator goes it.
#[tokio::test]
async fn a_signed_package_is_uploaded_accepted_and_enabled_over_the_api() {
    let app = TestApp::start().await;
    let folder = Folder::new();
    let key = signing_key(folder.path(), "example.key");
    let operator = app.operator().await;
    let body = json!({ "name": "example-inc", "key": key.public_key() });
    operator.post("/v1/operator/publishers", body.clone()).await.created();
    operator.post("/v1/operator/publishers", body).await.problem(409, "exists");
    let mut package = package_as("fraud-rules", "0.2.0");
    key.sign(&mut package);
    let bytes = package.encode();
    let octets = [("content-type", "application/octet-stream")];
    let send = |bytes: Vec<u8>| operator.client().send(Method::POST, "/v1/operator/plugins", &octets, Some(bytes));

    let early = send(bytes.clone()).await.expect("an answer");
    assert_eq!(early.status, 409, "known is not trusted: {}", early.body);
    let trust = operator.post("/v1/operator/publishers/example-inc/trust", json!({ "reason": "we met" }));
    assert_eq!(trust.await.ok()["state"], "trusted");
    let release = send(bytes.clone()).await.expect("an answer");
    assert_eq!(release.status, 201, "{}", release.body);
    let (digest, asks) = (release.body["digest"].as_str().expect("a digest"), release.body["asks"].clone());
    assert_eq!((&release.body["state"], &release.body["publisher"]), (&"verified".into(), &"example-inc".into()));
    assert_eq!(
        release.header("location"),
        Some(format!("/v1/operator/plugins/fraud-rules/releases/{digest}").as_str())
    );
    let permissions = release.body["permissions"].as_array().expect("permissions").len();
    assert_eq!(release.body["grown"].as_array().map(Vec::len), Some(permissions), "nothing was accepted before");
    assert_eq!(send(bytes).await.expect("an answer").body["state"], "verified", "the same again changes nothing");

    let place = format!("/v1/operator/plugins/fraud-rules/releases/{digest}");
    let state = |state: &str| operator.put(format!("{place}/state"), json!({ "state": state }));
    state("enabled").await.problem(409, "conflict");
    let install = |accept| operator.post(format!("{place}/install"), json!({ "accept": accept }));
    install(json!("0".repeat(64))).await.problem(400, "invalid_request");
    assert_eq!(install(asks).await.ok()["state"], "installed");
    assert_eq!(state("enabled").await.ok()["scopes"][0]["state"], "enabled");
    let plugin = operator.get("/v1/operator/plugins/fraud-rules").await.ok();
    assert_eq!((&plugin["digest"], &plugin["version"]), (&json!(digest), &"0.2.0".into()));

    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    let paid = user.pay(&shop, 100).await.created();
    assert_eq!(decided_by(&app, &paid).await.to_string(), digest);
    let detail = operator.get(place.as_str()).await.ok();
    assert_eq!((&detail["shadow"]["calls"], &detail["documents"]), (&0.into(), &json!(["plugin.toml"])));
    assert_eq!(acts(&app, "fraud-rules").await, ["plugin.upload", "plugin.verify", "plugin.install", "plugin.enable"]);
    operator.delete(place.as_str()).await.problem(409, "conflict");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn nobodys_package_is_taken_on_an_operators_word_alone() {
    let app = TestApp::start().await;
    let package = package_as("fraud-rules", "0.2.0");
    said(upload(&app, package.clone(), false).await, "--unsigned");
    let release = upload(&app, package, true).await.expect("taken");
    assert_eq!(release.publisher, None);
    let noted = act(&app, "fraud-rules", "plugin.upload").await;
    assert_eq!((&noted["unsigned"], &noted["digest"]), (&true.into(), &json!(release.digest)));
    let operator = app.operator().await;
    let bytes = package_as("fraud-rules", "0.2.1").encode();
    let client = operator.client();
    let send = async |query: &str, bytes: Vec<u8>| {
        let path = format!("/v1/operator/plugins{query}");
        client.send(Method::POST, &path, &[], Some(bytes)).await.expect("an answer")
    };
    let refused = send("", bytes.clone()).await;
    assert_eq!((refused.status, refused.code()), (400, "invalid_request"), "{}", refused.body);
    let refused = send("?unsigned=perhaps", bytes.clone()).await;
    assert_eq!(refused.code(), "invalid_request", "{}", refused.body);
    let taken = send("?unsigned=true", bytes).await;
    assert_eq!((taken.status, &taken.body["publisher"]), (201, &json!(null)), "{}", taken.body);
    for (body, named) in [(vec![], "package"), (b"koban package 1\n".to_vec(), "package"), (b"{}".to_vec(), "package")]
    {
        let refused = send("?unsigned=true", body).await;
        assert_eq!((refused.status, &refused.body["field"]), (400, &json!(named)), "{}", refused.body);
    }
}

#[tokio::test]
async fn a_signature_counts_if_it_fits_and_its_publisher_is_trusted() {
    let app = TestApp::start().await;
    let folder = Folder::new();
    let (known, stranger) = (signing_key(folder.path(), "known.key"), signing_key(folder.path(), "stranger.key"));
    let ctx = app.operator_ctx();
    publishers::add(&app.app, &ctx, "known", &known.public_key()).await.expect("added");
    let mut package = package_as("fraud-rules", "0.2.0");
    stranger.sign(&mut package);
    said(upload(&app, package.clone(), true).await, "nobody here knows");
    known.sign(&mut package);
    said(upload(&app, package.clone(), true).await, "known and not trusted");
    publishers::trust(&app.app, &ctx, "known", "we met").await.expect("trusted");
    for changed in [
        Package { documents: vec![Document { name: "README.md".into(), body: b"other".to_vec() }], ..package.clone() },
        Package { component: package_as("fraud-rules", "0.2.1").component, ..package.clone() },
        {
            let mut greedy = package.clone();
            greedy.manifest.facts = vec!["account.kind".into(), "device.id".into()];
            greedy
        },
    ] {
        said(upload(&app, changed, true).await, "changed after it was signed");
    }
    let release = upload(&app, package.clone(), false).await.expect("taken");
    assert_eq!(release.publisher.as_deref(), Some("known"));
    publishers::revoke(&app.app, &ctx, "known", "its key was stolen").await.expect("revoked");
    let mut next = package_as("fraud-rules", "0.2.1");
    known.sign(&mut next);
    said(upload(&app, next, true).await, "was revoked");
    said(upload(&app, package, true).await, "was revoked");
    said(publishers::trust(&app.app, &ctx, "known", "we met again").await, "stays so");
    for (name, key, expected) in [
        ("K", "00", "name"),
        ("good", "0f", "64 hexadecimal digits"),
        ("good", known.public_key().as_str(), "there already"),
    ] {
        said(publishers::add(&app.app, &ctx, name, key).await, expected);
    }
}

#[tokio::test]
async fn a_component_must_be_what_its_manifest_says() {
    let app = TestApp::start().await;
    let good = package_as("fraud-rules", "0.2.0");
    let with = |change: fn(&mut Package)| {
        let mut package = good.clone();
        change(&mut package);
        package
    };
    for (package, expected) in [
        (with(|package| package.manifest.version = "0.3.0".into()), "describe says"),
        (with(|package| package.manifest.id = "other-rules".into()), "describe says"),
        (with(|package| package.manifest.contract = "koban:plugin@9.9.9".into()), "this host speaks"),
        (with(|package| package.component.truncate(1_000)), "cannot be loaded"),
        (with(|package| package.component = b"\0asm\x01\0\0\0".to_vec()), "core module"),
        (with(|package| package.component = vec![0; 3 << 20]), "at most"),
        (Package { component: package_as("charge-atm", "0.2.0").component, ..good.clone() }, "exports `assess`"),
    ] {
        said(upload(&app, package, true).await, expected);
    }
    let refused = act(&app, "fraud-rules", "plugin.refuse").await;
    assert!(refused["problem"].is_string(), "{refused}");
    let uploaded = releases::list(&app.app, "fraud-rules").await.expect("the releases");
    let stopped = uploaded.iter().find(|release| release.state == State::Uploaded).expect("one that was refused");
    let accept = Accept { asks: Some(stopped.asks), ..Accept::default() };
    let install = releases::install(&app.app, &app.operator_ctx(), "fraud-rules", stopped.digest, accept).await;
    said(install, "refused when it was verified");
    // Another manifest under the same bytes would change what was accepted.
    installed(&app, good.clone(), &rules(&[])).await;
    said(upload(&app, with(|package| package.manifest.purpose.en = "Other".into()), true).await, "another manifest");
}

#[tokio::test]
async fn settings_are_checked_against_the_manifest_and_by_the_plugin() {
    let app = TestApp::start().await;
    let release = upload(&app, package_as("hostile-rule", "0.2.0"), true).await.expect("taken");
    let accept = async |settings: Vec<koban_domain::guest::Named>| {
        let accept = Accept { settings: Some(settings), asks: Some(release.asks), ..Accept::default() };
        releases::install(&app.app, &app.operator_ctx(), "hostile-rule", release.digest, accept).await
    };
    said(accept([attacking("none"), vec![crate::harness::text("no_such", "1")]].concat()).await, "is not a setting");
    said(accept(vec![crate::harness::whole("attack", 1)]).await, "settings.attack");
    accept(attacking("none")).await.expect("accepted");
    assert_eq!(plugins::get(&app.app, "hostile-rule").await.expect("the plugin").state, State::Installed);
    assert!(plugins::in_force(&app.app, "hostile-rule").await.expect("read").is_none(), "accepted is not enabled");
}

/// Goal: an operator is asked again exactly where a release asks for more.
#[tokio::test]
async fn an_upgrade_shows_what_it_asks_for_beyond_what_was_accepted() {
    let app = TestApp::start().await;
    let first = package_as("fraud-rules", "0.2.0");
    enabled(&app, first.clone(), &rules(&[])).await;
    let same = upload(&app, package_as("fraud-rules", "0.2.1"), true).await.expect("taken");
    assert_eq!(same.grown, []);
    let ctx = app.operator_ctx();
    let quiet = releases::install(&app.app, &ctx, "fraud-rules", same.digest, Accept::default()).await;
    assert_eq!(quiet.expect("the consent carries over").state, State::Installed);

    let mut greedy = package_as("fraud-rules", "0.2.2");
    greedy.manifest.signals.push(koban_domain::manifest::SignalSpec {
        name: "month".into(),
        subject: koban_domain::manifest::Subject::User,
        window_s: 86_400,
    });
    let greedy = upload(&app, greedy, true).await.expect("taken");
    let grown: Vec<&str> = greedy.grown.iter().map(|permission| permission.item.as_str()).collect();
    assert_eq!(grown, ["signals.month.subject: user", "signals.month.window_s: 86400", "signals: month"]);
    let install = async |asks| {
        let accept = Accept { asks, ..Accept::default() };
        releases::install(&app.app, &ctx, "fraud-rules", greedy.digest, accept).await
    };
    said(install(None).await, "is told the counter `month`");
    said(install(Some(same.asks)).await, "accept exactly that");
    let accepted = install(Some(greedy.asks)).await.expect("accepted");
    assert_eq!(accepted.consent, Some(accepted.asks), "no numbers are part of it");
    moved(&app, &accepted, &Move::to(State::Enabled)).await;
}

#[tokio::test]
async fn other_numbers_are_another_consent() {
    let app = TestApp::start().await;
    let _atm = app.atm().await;
    let before = plugins::get(&app.app, "charge-atm").await.expect("the channel");
    let consents = async || {
        let stands = koban_store::releases::standing(&app.app.store, "charge-atm").await.expect("it stands");
        let beside: Vec<_> = stands.enablements.iter().map(|(row, _)| Some(row.consent)).collect();
        let of: Vec<_> = stands.releases.iter().map(|release| release.consent).collect();
        [of, beside].concat()
    };
    let old = consents().await;
    plugins::set_caps(&app.app, &app.operator_ctx(), "charge-atm", 4_321, 21).await.expect("set");
    let new = koban_domain::permissions::consent(&before.manifest, Some((4_321, 21)));
    assert_eq!(consents().await, [Some(new), Some(new)]);
    assert!(!old.contains(&Some(new)));
    assert_eq!(act(&app, "charge-atm", "plugin.limits").await["consents"][before.digest.to_string()], json!(new));
    let numbers = app.exposure("charge-atm").await;
    assert_eq!((numbers.cap.minor, numbers.loss_budget.minor), (4_321, 21));
    assert_eq!(plugins::get(&app.app, "charge-atm").await.expect("the channel").state, before.state);
}

/// Goal: a trusted publisher cannot take over another's plugin quietly.
#[tokio::test]
async fn another_publishers_release_of_the_same_id_is_asked_for_anew() {
    let app = TestApp::start().await;
    let folder = Folder::new();
    let ctx = app.operator_ctx();
    enabled(&app, package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    let key = signing_key(folder.path(), "other.key");
    publishers::add(&app.app, &ctx, "other", &key.public_key()).await.expect("added");
    publishers::trust(&app.app, &ctx, "other", "we met").await.expect("trusted");
    let mut package = package_as("fraud-rules", "0.2.1");
    key.sign(&mut package);
    let release = upload(&app, package, false).await.expect("taken");
    assert_eq!(release.grown, release.permissions);
    let install = releases::install(&app.app, &ctx, "fraud-rules", release.digest, Accept::default()).await;
    said(install, "nobody has accepted yet");
}

#[tokio::test]
async fn an_older_release_is_not_installed_over_a_newer_one() {
    let app = TestApp::start().await;
    let folder = Folder::new();
    let ctx = app.operator_ctx();
    let key = signing_key(folder.path(), "example.key");
    publishers::add(&app.app, &ctx, "example", &key.public_key()).await.expect("added");
    publishers::trust(&app.app, &ctx, "example", "we met").await.expect("trusted");
    let signed = |package: Package| {
        let mut package = package;
        key.sign(&mut package);
        Upload { package, unsigned: false }
    };
    let install = async |upload: Upload| {
        let release = releases::upload(&app.app, &app.operator_ctx(), upload).await.expect("taken");
        let accept = Accept { settings: Some(rules(&[])), asks: Some(release.asks), ..Accept::default() };
        releases::install(&app.app, &app.operator_ctx(), "fraud-rules", release.digest, accept).await
    };
    install(signed(package_as("fraud-rules", "0.2.5"))).await.expect("the first");
    said(install(signed(package_as("fraud-rules", "0.2.4"))).await, "not newer");
    let mut rebuilt = package_as("fraud-rules", "0.2.5");
    // A section of its own changes the digest and nothing else: id 0, size, name and one byte.
    rebuilt.component.extend([0, 3, 1, b'x', 0]);
    said(install(signed(rebuilt)).await, "not newer");
    install(signed(package_as("fraud-rules", "0.2.6"))).await.expect("a newer one");
}
