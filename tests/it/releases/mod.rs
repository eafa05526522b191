//! The life of a plugin's releases over the real host: who may bring one, what is accepted, where it decides, and how it is taken back.

mod arriving;
mod command_line;
mod living;
mod moving;
mod switching;
mod worker;

use koban_author::sign::SigningKey;
use koban_domain::guest::Named;
use koban_domain::packages::Package;
use koban_domain::records::Digest;
use koban_domain::releases::State;
use koban_service::page::Page;
use koban_service::releases::{self, Accept, Move, ReleaseView, Upload};
use koban_service::{audit, decisions};
use serde_json::Value;

use crate::harness::{Made, TestApp, text, whole, yen};

/// The rules of a test, in which nothing weighs but the amounts.
fn rules(more: &[Named]) -> Vec<Named> {
    let mut settings = vec![whole("night_from", 0), whole("night_to", 0), whole("user_10m_count", 1_000_000)];
    settings.extend(more.iter().cloned());
    settings
}

/// The rules of a test that decline everything above so many yen.
fn strict(most: i64) -> Vec<Named> {
    rules(&[yen("amount_high", most), yen("amount_limit", most), yen("new_payee_amount", most)])
}

/// Settings under which `hostile-rule` panics at every payment.
fn panicking() -> Vec<Named> {
    vec![text("attack", "panic"), yen("from_amount", 1)]
}

/// Settings under which `hostile-rule` attacks payments of 5,000 yen and more.
fn attacking(attack: &str) -> Vec<Named> {
    vec![text("attack", attack), yen("from_amount", 5_000)]
}

/// A signing key in a folder of the test's own.
fn signing_key(folder: &std::path::Path, name: &str) -> SigningKey {
    SigningKey::create(&folder.join(name)).expect("a key")
}

/// Takes a package unsigned and accepts all that it asks for; it decides nothing yet.
async fn installed(app: &TestApp, package: Package, settings: &[Named]) -> ReleaseView {
    let release = releases::upload(&app.app, &app.operator_ctx(), Upload { package, unsigned: true }).await;
    let release = release.expect("the package is taken");
    let accept = Accept { settings: Some(settings.to_vec()), asks: Some(release.asks), ..Accept::default() };
    let accepted = releases::install(&app.app, &app.operator_ctx(), &release.plugin, release.digest, accept).await;
    accepted.expect("the release is accepted")
}

/// The same, enabled for the platform.
async fn enabled(app: &TestApp, package: Package, settings: &[Named]) -> Digest {
    let release = installed(app, package, settings).await;
    moved(app, &release, &Move::to(State::Enabled)).await;
    release.digest
}

async fn moved(app: &TestApp, release: &ReleaseView, step: &Move) -> ReleaseView {
    let moved = releases::move_to(&app.app, &app.operator_ctx(), &release.plugin, release.digest, step).await;
    moved.unwrap_or_else(|error| panic!("{step:?}: {error}"))
}

/// Where a release stands, scope by scope.
async fn standing(app: &TestApp, plugin: &str, digest: Digest) -> Vec<(String, State)> {
    let release = releases::get(&app.app, plugin, digest).await.expect("the release");
    release.scopes.into_iter().map(|placed| (placed.scope.to_string(), placed.state)).collect()
}

/// The component whose decision a payment rests on.
async fn decided_by(app: &TestApp, paid: &Made) -> Digest {
    let decision = paid.text("decision").parse().expect("a decision");
    decisions::get(&app.app, decision).await.expect("the decision").kept.head.component
}

/// Acts of the audit log about a subject, oldest first.
async fn acts(app: &TestApp, subject: &str) -> Vec<String> {
    let filter = audit::Filter { subject: Some(subject.to_owned()), ..audit::Filter::default() };
    let page = Page { after: None, limit: 100 };
    let list = audit::list(&app.app, &filter, &page).await.expect("the audit log");
    list.items.into_iter().rev().map(|row| row.audit.act).collect()
}

/// The latest act of this name about a subject.
async fn act(app: &TestApp, subject: &str, act: &str) -> Value {
    let filter = audit::Filter { subject: Some(subject.to_owned()), ..audit::Filter::default() };
    let page = Page { after: None, limit: 100 };
    let list = audit::list(&app.app, &filter, &page).await.expect("the audit log");
    let row =
        list.items.into_iter().find(|row| row.audit.act == act).unwrap_or_else(|| panic!("no {act} of {subject}"));
    serde_json::from_str(&row.audit.detail).expect("JSON")
}
