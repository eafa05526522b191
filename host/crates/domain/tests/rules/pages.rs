//! The reference pages say what the code does: tables, examples and vectors of docs/reference are checked against it.

use std::path::PathBuf;
use std::sync::Mutex;

use koban_domain::accounts::{AccountKey, Class, Layer, PostingSide};
use koban_domain::flows;
use koban_domain::ids::{EntryId, MerchantId, UserId};
use koban_domain::journal::{Draft, Head, Posting, canonical};
use koban_domain::limits;
use koban_domain::manifest::{
    Beginning, BudgetSpec, ClientShown, CodeSpec, ColumnSpec, CredentialKind, EndpointSpec, EngineKind, FACTS, Fact,
    FormatSpec, HmacSpec, InboundSpec, Kind, LinkSpec, Manifest, Method, OauthSpec, OperationSpec, ProposalKind,
    Repeat, Setting, SettingDefault, SettingKind, SignalSpec, Subject, TableSpec, Words,
};
use koban_domain::money::Currency;
use koban_domain::outcomes::{Refusal, Retry};
use koban_domain::paths::EntryKind;
use koban_domain::records::Digest;
use koban_domain::settlements;
use koban_domain::time::Timestamp;
use uuid::Uuid;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference").join(name)
}

/// Two tests may write two parts of one page.
static WRITING: Mutex<()> = Mutex::new(());

pub(crate) fn read(name: &str) -> String {
    let _writing = WRITING.lock();
    contents(name)
}

fn contents(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("docs/reference/{name}: {error}"))
}

/// The part of a page under a heading must be this text. `UPDATE_EXPECT=1 cargo test -p koban-domain` writes it.
pub(crate) fn check_section(name: &str, heading: &str, expected: &str) {
    let _writing = WRITING.lock();
    let page = contents(name);
    let (before, rest) =
        page.split_once(&format!("{heading}\n\n")).unwrap_or_else(|| panic!("{name} has no `{heading}`"));
    let end = if rest.starts_with("## ") { 0 } else { rest.find("\n## ").unwrap_or(rest.len()) };
    let (found, after) = rest.split_at(end);
    // Words may stand above the first table or example.
    let start = ["| ", "### ", "```"].iter().filter_map(|mark| found.find(mark)).min().unwrap_or(found.len());
    if found[start..].trim_end() == expected {
        return;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let words = match found[..start].trim_end() {
            "" => String::new(),
            words => format!("{words}\n\n"),
        };
        std::fs::write(path(name), format!("{before}{heading}\n\n{words}{expected}\n{after}")).unwrap();
        return;
    }
    panic!(
        "docs/reference/{name}, `{heading}` should be as follows; run with UPDATE_EXPECT=1 to write it:\n{expected}"
    );
}

#[test]
fn the_page_of_outcomes_lists_every_refusal_in_order() {
    let row = |refusal: &Refusal| {
        let retry = match refusal.retry() {
            Retry::No => "no",
            Retry::AfterChange => "after a change",
        };
        format!("| `{}` | {} | {retry} | ", refusal.code(), refusal.status())
    };
    let page = read("outcomes.md");
    let (_, list) = page.split_once("## The list\n").expect("outcomes.md has no `## The list`");
    let list = &list[..list.find("\n## ").unwrap_or(list.len())];
    let found: Vec<&str> = list.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(found.len(), Refusal::ALL.len(), "outcomes.md lists each refusal once");
    for (found, refusal) in found.iter().zip(&Refusal::ALL) {
        assert!(found.starts_with(&row(refusal)), "outcomes.md should have\n{}\nwhere it has\n{found}", row(refusal));
    }
}

#[test]
fn the_page_of_encodings_lists_every_kind_of_entry() {
    let mut kinds = EntryKind::ALL.to_vec();
    kinds.sort_by_key(|kind| kind.code());
    let list: Vec<String> = kinds.iter().map(|kind| format!("{} {}", kind.code(), kind.word())).collect();
    let row = format!("| kind: {} | 1 |", list.join(", "));
    assert!(read("encoding.md").contains(&row), "encoding.md should have: {row}");
}

#[test]
fn the_published_vectors_hold() {
    let posting = |account: AccountKey, side| {
        let (layer, amount) = (Layer::Posted, 1_280);
        Posting { account, id: account.id(), layer, side, amount, balance: 0, previous: 0 }
    };
    let (bank, clearing) = (
        AccountKey::platform(Class::Bank, Currency::JPY),
        AccountKey::clearing(koban_domain::accounts::PluginKey::of("charge-atm"), Currency::JPY),
    );
    let first = Draft {
        id: EntryId(Uuid::from_u128(1)),
        kind: EntryKind::Settlement,
        actor: "system".into(),
        subject: [0; 16],
        reverses: None,
        postings: vec![posting(bank, PostingSide::Debit), posting(clearing, PostingSide::Credit)],
        records: vec![],
        meta: "{}".into(),
    };
    let second = Draft {
        id: EntryId(Uuid::from_u128(2)),
        actor: "operator:小判".into(),
        subject: [7; 16],
        reverses: Some(EntryId(Uuid::from_u128(1))),
        records: vec![Digest::of(b"a record")],
        meta: r#"{"reference":"r1"}"#.into(),
        ..first.clone()
    };
    let (payer, shop) = (UserId(Uuid::from_u128(3)), MerchantId(Uuid::from_u128(4)));
    let usd = Currency::new("USD").unwrap();
    let (prepaid, payable) =
        (AccountKey::user(Class::Prepaid, payer, Currency::JPY), AccountKey::payable(shop, Currency::JPY));
    let moved = |account, side, layer, amount| Posting { layer, amount, ..posting(account, side) };
    let draft = |number, kind, subject, postings| Draft {
        id: EntryId(Uuid::from_u128(number)),
        kind,
        actor: format!("user:{payer}"),
        subject: [subject; 16],
        postings,
        ..first.clone()
    };
    let (debit, credit) = (PostingSide::Debit, PostingSide::Credit);
    let held = draft(
        3,
        EntryKind::Authorisation,
        8,
        vec![moved(prepaid, debit, Layer::Reserved, 900), moved(payable, credit, Layer::Reserved, 900)],
    );
    let captured = draft(
        4,
        EntryKind::Capture,
        9,
        vec![
            moved(prepaid, debit, Layer::Released, 900),
            moved(payable, credit, Layer::Released, 900),
            moved(prepaid, debit, Layer::Posted, 900),
            moved(payable, credit, Layer::Posted, 900),
        ],
    );
    let (yen, dollars) =
        (|class| AccountKey::user(class, payer, Currency::JPY), |class| AccountKey::user(class, payer, usd));
    let exchanged = draft(
        5,
        EntryKind::Exchange,
        10,
        vec![
            moved(yen(Class::Funds), debit, Layer::Posted, 11_388),
            moved(AccountKey::platform(Class::FxPosition, Currency::JPY), credit, Layer::Posted, 11_387),
            moved(AccountKey::platform(Class::Rounding, Currency::JPY), credit, Layer::Posted, 1),
            moved(AccountKey::platform(Class::FxPosition, usd), debit, Layer::Posted, 10_000),
            moved(dollars(Class::Funds), credit, Layer::Posted, 10_000),
        ],
    );
    let closed = draft(
        6,
        EntryKind::Closing,
        11,
        vec![
            moved(payable, debit, Layer::Posted, 900),
            moved(AccountKey::platform(Class::FeeIncome, Currency::JPY), credit, Layer::Posted, 29),
            moved(AccountKey::platform(Class::ConsumptionTax, Currency::JPY), credit, Layer::Posted, 2),
            moved(AccountKey { class: Class::PayoutDue, ..payable }, credit, Layer::Posted, 869),
        ],
    );
    let mut head = Head::EMPTY;
    let mut vectors = String::from("```text\n");
    for (name, key) in [("bank", bank), ("clearing", clearing)] {
        vectors.push_str(&format!("account {name:<9} {}\n", hex::encode(key.id().0)));
    }
    for draft in [first.clone(), second, held, captured, exchanged, closed] {
        let entry = head.append(draft, Timestamp(1_537_851_600_000));
        let bytes = hex::encode(canonical(entry.sequence, entry.at, &entry.draft));
        vectors.push_str(&format!("entry {} bytes     {bytes}\n", entry.sequence));
        vectors.push_str(&format!("entry {} hash      {}\n", entry.sequence, entry.hash));
    }
    check_section("encoding.md", "## Vectors", &format!("{vectors}```"));
}

#[test]
fn the_page_of_limits_lists_what_is_published() {
    let word = |text: String| text.to_lowercase();
    let rows: Vec<String> = limits::published()
        .iter()
        .map(|limit| {
            let (action, window) = (word(format!("{:?}", limit.action)), word(format!("{:?}", limit.window)));
            format!("| {} | {action} | {window} | {} |", limit.wallet.word(), limit.amount.minor)
        })
        .collect();
    let table = format!("| wallet | action | window | yen |\n|---|---|---|---|\n{}", rows.join("\n"));
    check_section("limits.md", "## Published limits", &table);
}

#[test]
fn the_page_of_flows_states_the_bounds() {
    let rows = [
        ("steps", u64::from(flows::STEPS_MAX)),
        ("bytes of state", u64::try_from(flows::STATE_BYTES_MAX).unwrap()),
        ("open effects", u64::try_from(flows::OPEN_EFFECTS_MAX).unwrap()),
        ("proposals in one step", u64::try_from(flows::PROPOSALS_MAX).unwrap()),
        ("holds in a life", u64::try_from(flows::HOLDS_MAX).unwrap()),
        ("bytes of a key", u64::try_from(flows::KEY_BYTES_MAX).unwrap()),
        ("days of age", u64::try_from(flows::AGE_MAX_MS / 86_400_000).unwrap()),
        ("refusals of one event", u64::from(flows::REFUSALS_MAX)),
        ("faults in a row", u64::from(flows::FAULTS_MAX)),
        ("lines of one settlement command", u64::try_from(settlements::LINES_MAX).unwrap()),
    ];
    let rows: Vec<String> = rows.iter().map(|(what, most)| format!("| {what} | {most} |")).collect();
    check_section("flows.md", "## Bounds", &format!("| what | most |\n|---|---|\n{}", rows.join("\n")));
}

#[test]
fn the_page_of_facts_is_the_catalogue() {
    let rows: Vec<String> = FACTS
        .iter()
        .map(|fact| {
            let given_to: Vec<String> = fact.given_to.iter().map(|function| format!("`{function}`")).collect();
            let Fact { name, kind, about, example, .. } = fact;
            format!("| `{name}` | {kind} | {about} | {example} | {} |", given_to.join(", "))
        })
        .collect();
    let table =
        format!("| fact | type | what it is | example | given to |\n|---|---|---|---|---|\n{}", rows.join("\n"));
    check_section("facts.md", "## Catalogue", &table);
}

#[test]
fn the_page_of_manifests_has_the_tables_of_kinds_and_beginnings() {
    let list = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let rows: Vec<String> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let money = if kind.touches_money() { "yes" } else { "" };
            let (must, may) = (list(kind.required_interfaces()), list(kind.optional_interfaces()));
            format!("| `{}` | {must} | {may} | {money} |", kind.word())
        })
        .collect();
    let head = "| kind | must export | may export | touches money |\n|---|---|---|---|";
    check_section("manifest.md", "## Kinds", &format!("{head}\n{}", rows.join("\n")));
    let rows: Vec<String> = Beginning::ALL
        .into_iter()
        .filter(|beginning| !beginning.may_propose().is_empty())
        .map(|beginning| {
            let kinds = Kind::ALL.into_iter().filter(|kind| kind.beginnings().contains(&beginning));
            let kinds: Vec<&str> = kinds.map(Kind::word).collect();
            let may: Vec<&str> = beginning.may_propose().iter().map(|proposal| proposal.word()).collect();
            format!("| `{}` | {} | {} |", beginning.word(), list(&kinds), list(&may))
        })
        .collect();
    let head = "| beginning | of | may be granted |\n|---|---|---|";
    check_section("manifest.md", "## Proposals", &format!("{head}\n{}", rows.join("\n")));
}

/// A template; endpoints.md has its fields.
fn hmac() -> HmacSpec {
    let request = r#"{"request":{"text":"{path}{body}","headers":{"x-mac":"{mac}"}}}"#;
    serde_json::from_str(request).unwrap()
}

/// A manifest with everything in it that a manifest can have.
fn full_manifest() -> serde_json::Value {
    let words = || Words { ja: "あ".into(), en: "a".into() };
    let operation = OperationSpec {
        name: "approve".into(),
        method: Method::Get,
        path: "/approve".into(),
        repeat: Repeat::Safe,
        timeout_s: 5,
        deadline_s: 60,
        feed_every_s: Some(3_600),
        content_type: Some("application/json".into()),
        probe: true,
    };
    let inbound = InboundSpec {
        name: "deposit".into(),
        settlement: true,
        operation_field: Some("operation".into()),
        accepted: Some("{}".into()),
        refused: Some("{}".into()),
    };
    let manifest = Manifest {
        id: "charge-test".into(),
        version: "1.0.0".into(),
        contract: koban_domain::guest::CONTRACT.into(),
        kind: Kind::ChargeChannel,
        engine: EngineKind::Interpreter,
        name: words(),
        purpose: words(),
        settings: vec![Setting {
            name: "hours".into(),
            kind: SettingKind::Whole,
            about: words(),
            default: Some(SettingDefault::Whole(3)),
            min: Some(1),
            max: Some(24),
            list: true,
        }],
        facts: vec!["account.kind".into()],
        signals: vec![SignalSpec { name: "user_10m".into(), subject: Subject::User, window_s: 600 }],
        directories: vec![],
        endpoints: vec![EndpointSpec {
            name: "network".into(),
            credential: CredentialKind::StandardWebhooks,
            headers: vec!["x-api-key".into()],
            hmac: Some(hmac()),
            oauth: Some(OauthSpec {
                scopes: vec!["read".into()],
                audience: Some("bank".into()),
                client: ClientShown::Form,
            }),
            operations: vec![operation],
            inbound: vec![inbound],
        }],
        proposals: [(Beginning::Charge, [ProposalKind::Credit].into())].into(),
        codes: vec![CodeSpec { code: "late".into(), about: words() }],
        texts: [("scan".to_owned(), words())].into(),
        links: vec![LinkSpec { name: "account".into(), about: words(), days_max: 365, mandate: true }],
        formats: vec![FormatSpec { name: "ofx".into(), media_type: "application/x-ofx".into(), about: words() }],
        events: vec!["payment.captured".into()],
        budgets: vec![BudgetSpec { name: "welcome".into(), about: words() }],
        tables: vec![TableSpec {
            name: "cards".into(),
            about: words(),
            columns: vec![ColumnSpec { name: "stamps".into(), about: words() }],
        }],
    };
    serde_json::to_value(&manifest).unwrap()
}

#[test]
fn the_page_of_manifests_lists_every_field_and_no_other() {
    let manifest = full_manifest();
    let keys = |pointer: &str| -> Vec<String> {
        let at = manifest.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        at.as_object().unwrap().keys().cloned().collect()
    };
    let page = read("manifest.md");
    for (heading, pointer) in [
        ("## Fields", ""),
        ("## Settings", "/settings/0"),
        ("## Signals", "/signals/0"),
        ("## Endpoints", "/endpoints/0"),
        ("`[[endpoints.operations]]`:", "/endpoints/0/operations/0"),
        ("`[[endpoints.inbound]]`:", "/endpoints/0/inbound/0"),
        ("## Codes", "/codes/0"),
        ("## Links", "/links/0"),
        ("## Formats", "/formats/0"),
        ("## Budgets", "/budgets/0"),
        ("## Tables", "/tables/0"),
    ] {
        let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no `{heading}`"));
        let table = rest.lines().skip_while(|line| !line.starts_with("| field |")).skip(2);
        let mut found: Vec<String> = table
            .take_while(|line| line.starts_with('|'))
            .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(',').map(str::trim).collect::<Vec<_>>())
            .map(|field| field.trim_matches('`').to_owned())
            .collect();
        let mut expected = keys(pointer);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "the fields of manifest.md, `{heading}`");
    }
}
