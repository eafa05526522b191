//! Records: their canonical bytes are those of the published page, what is erased leaves a head that says the rest, and version 1 is read.

use koban_domain::guest::{AssessPayment, Assessment, Context, Failure, InboundCall, Named, Reason, Signal, Verdict};
use koban_domain::ids::{RecordId, UserId};
use koban_domain::money::Money;
use koban_domain::records::{
    Digest, Ending, Fault, FaultClass, Held, Input, Kept, Outcome, Output, Part, Record, RecordError, link,
};
use koban_domain::time::Timestamp;
use uuid::Uuid;

/// The record of docs/reference/records.md.
fn published() -> Record {
    let id = RecordId(Uuid::from_u128(0x0193_5b6a_7c80_7000_8000_0000_0000_0001));
    Record {
        id,
        at: Timestamp(1_732_000_000_000),
        plugin: "fraud-rules".into(),
        part: Part::Live,
        about: Some(UserId(Uuid::from_u128(1))),
        component: Digest::of(b"component"),
        contract: "koban:plugin@0.1.0".into(),
        engine: "wasmtime 48.0.8 native 0123456789ab".into(),
        settings: Digest::of(b"settings"),
        grants: Digest::of(b"grants"),
        context: Context {
            call: id.to_string(),
            scope: "platform".into(),
            now: 1_732_000_000_000,
            seed: 7,
            locale: "ja".into(),
        },
        input: Input::Assess(
            AssessPayment {
                id: "pay_019".into(),
                kind: "payment".into(),
                amount: Money::yen(60_000),
                at: 1_732_000_000_000,
            },
            vec![Named::flag("payee.first_time", true), Named::text("device.id", "phone")],
            vec![Signal { name: "user_10m".into(), window_s: 600, count: 2, sum: Money::yen(300) }],
        ),
        log: vec![(1, "looked".into())],
        ending: Ending::Output(Output::Assessment(Assessment {
            verdict: Verdict::StepUp,
            score: 400,
            reasons: vec![Reason { code: "amount_high".into(), weight: 400 }],
        })),
        fuel: 23_512,
        salt: [9; 16],
    }
}

/// The text after this name on the published page.
fn vector(name: &str) -> String {
    let page = include_str!("../../../../../docs/reference/records.md");
    let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("records.md has no vector `{name}`")).rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn the_published_vectors_hold() {
    let kept = published().keep();
    let held = kept.held.clone().unwrap();
    let found = [
        ("content", hex::encode(&held.bytes)),
        ("content-digest", held.digest().to_string()),
        ("head", hex::encode(&kept.bytes)),
        ("digest", kept.digest().to_string()),
        ("link", link(Digest::default(), kept.digest()).to_string()),
    ];
    let shown: Vec<String> = found.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let page: Vec<String> = found.iter().map(|(name, _)| format!("{name} {}", vector(name))).collect();
    assert_eq!(shown, page, "docs/reference/records.md must say\n{}", shown.join("\n"));
    assert_eq!(published().seal(), (kept.bytes.clone(), held), "the shorter way is the same");
    assert_eq!(Kept::open(kept.bytes.clone(), kept.held.clone()).unwrap().record(), Ok(published()));
}

#[test]
fn what_is_erased_leaves_who_was_asked_when_and_how_it_ended() {
    let kept = published().keep();
    let erased = Kept::open(kept.bytes.clone(), None).unwrap();
    assert!(erased.is_erased());
    assert_eq!(erased.digest(), kept.digest(), "entries still name it");
    assert_eq!(erased.record(), Err(RecordError::Erased));
    assert_eq!(erased.head.outcome, Outcome::Verdict(Verdict::StepUp, 400));
    assert_eq!(erased.head.function, "assess.assess");
    assert_eq!(erased.head.holds, ["payment", "facts", "signals", "log"]);
    let text = String::from_utf8_lossy(&kept.bytes).into_owned();
    assert!(!text.contains("phone") && !text.contains("looked") && !text.contains("pay_019"), "{text}");
}

#[test]
fn the_same_content_under_another_salt_has_another_digest() {
    let one = published().held();
    let other = Record { salt: [8; 16], ..published() }.held();
    assert_eq!(one.bytes, other.bytes);
    assert_ne!(one.digest(), other.digest());
}

#[test]
fn another_content_is_not_taken_for_the_records() {
    let kept = published().keep();
    let other = Held { salt: [9; 16], bytes: b"something else".to_vec() };
    assert_eq!(Kept::open(kept.bytes, Some(other)), Err(RecordError::OtherContent));
}

#[test]
fn any_bytes_are_read_or_refused_and_a_later_version_is_named() {
    let kept = published().keep();
    assert_eq!(Kept::open(vec![3, 1, 2], None), Err(RecordError::Version(3)));
    assert!(matches!(Kept::open(Vec::new(), None), Err(RecordError::Malformed(_))));
    for end in 0..kept.bytes.len() {
        assert!(Kept::open(kept.bytes[..end].to_vec(), None).is_err(), "cut at {end}");
    }
    let mut longer = kept.bytes;
    longer.push(0);
    assert!(matches!(Kept::open(longer, None), Err(RecordError::Malformed(_))));
}

#[test]
fn a_record_of_version_1_is_read_with_its_content_inside() {
    // As the first hosts wrote it: everything in one, ids and digests as texts.
    let record = published();
    let mut bytes = vec![1];
    for field in [
        postcard(&record.id),
        postcard(&record.at),
        postcard(&record.plugin),
        postcard(&record.component),
        postcard(&record.contract),
        postcard(&record.engine),
        postcard(&record.settings),
        postcard(&record.grants),
        postcard(&record.context),
        postcard(&record.input),
        postcard(&record.log),
        postcard(&record.ending),
        postcard(&record.fuel),
    ] {
        bytes.extend(field);
    }
    let kept = Kept::open(bytes.clone(), None).unwrap();
    assert!(!kept.is_erased());
    assert_eq!(kept.digest(), Digest::of(&bytes));
    assert_eq!((kept.head.content, &kept.head.outcome), (None, &Outcome::Untold));
    assert_eq!(kept.record(), Ok(Record { about: None, salt: [0; 16], ..published() }));
}

fn postcard(value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_extend(value, Vec::new()).unwrap()
}

#[test]
fn heads_say_what_their_contents_hold_and_how_calls_ended() {
    let call = InboundCall {
        endpoint: "network".into(),
        operation: "deposit".into(),
        path: String::new(),
        query: vec![],
        body: b"{}".to_vec(),
    };
    let failure = Failure { code: "not_mine".into(), message: String::new(), text: None, retryable: false };
    let fault = Fault { class: FaultClass::Trap, detail: "unreachable".into() };
    let harmless = Input::Assess(
        AssessPayment { id: "p".into(), kind: "payment".into(), amount: Money::yen(1), at: 0 },
        vec![Named::text("merchant.category", "5812"), Named::whole("account.age_days", 3)],
        vec![],
    );
    for (input, ending, holds, outcome) in [
        (Input::Route(call), Ending::Output(Output::Failure(failure)), vec!["message"], "not_mine"),
        (Input::ParseSettlement(vec![1]), Ending::Output(Output::Lines(vec![])), vec!["file"], "answered"),
        (harmless, Ending::Fault(fault), vec!["payment"], "trap"),
    ] {
        let head = Record { input, ending, log: vec![], ..published() }.keep().head;
        assert_eq!((head.holds, head.outcome.word()), (holds.iter().map(|word| (*word).to_owned()).collect(), outcome));
    }
    let live = RecordId(Uuid::from_u128(5));
    let shadow = Record { part: Part::Shadow(live), ..published() }.keep();
    assert_eq!(Kept::open(shadow.bytes, None).unwrap().head.part, Part::Shadow(live));
}
