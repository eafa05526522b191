//! Answers of every kind, as they pass and as they are refused.

use super::*;
use crate::bindings::exports::koban::plugin::{
    inbound, on_event, pay_bill, quote as price, settlement, statement, table,
};
use crate::bindings::koban::plugin::{flow, market};
use koban_domain::guest::{ChargeRequest, Event, What};
use koban_domain::manifest::{
    Beginning, BudgetSpec, CodeSpec, ColumnSpec, CredentialKind, EndpointSpec, EngineKind, Kind, LinkSpec, Method,
    OperationSpec, ProposalKind, Repeat, TableSpec, Words,
};
use koban_domain::money::Money;
use koban_domain::records::FaultClass;

fn manifest() -> Manifest {
    let words = || Words { ja: "試し".into(), en: "test".into() };
    Manifest {
        id: "charge-test".into(),
        version: "1.0.0".into(),
        contract: CONTRACT.into(),
        kind: Kind::ChargeChannel,
        engine: EngineKind::Native,
        name: words(),
        purpose: words(),
        settings: vec![],
        facts: vec![],
        signals: vec![],
        directories: vec![],
        endpoints: vec![EndpointSpec {
            name: "network".into(),
            credential: CredentialKind::StandardWebhooks,
            headers: vec![],
            hmac: None,
            oauth: None,
            operations: vec![OperationSpec {
                name: "status".into(),
                method: Method::Get,
                path: "/status".into(),
                repeat: Repeat::Safe,
                timeout_s: 5,
                deadline_s: 60,
                feed_every_s: None,
                content_type: None,
                probe: false,
            }],
            inbound: vec![],
        }],
        proposals: [(Beginning::Charge, [ProposalKind::Credit, ProposalKind::Tombstone].into())].into(),
        codes: vec![CodeSpec { code: "cancelled".into(), about: words() }],
        texts: [("wait".to_owned(), words())].into(),
        links: vec![LinkSpec { name: "account".into(), about: words(), days_max: 365, mandate: false }],
        formats: vec![],
        events: vec![],
        budgets: vec![BudgetSpec { name: "welcome".into(), about: words() }],
        tables: vec![TableSpec {
            name: "cards".into(),
            about: words(),
            columns: vec![ColumnSpec { name: "stamps".into(), about: words() }],
        }],
    }
}

fn begin() -> Input {
    Input::BeginCharge(ChargeRequest { wallet: "w".into(), amount: None, at_most: Money::yen(10_000), facts: vec![] })
}

fn resume() -> Input {
    Input::Resume(vec![], Event { number: 1, key: "k".into(), what: What::Rang }, None)
}

fn step() -> flow::Step {
    flow::Step {
        state: vec![1],
        standing: flow::Standing::WaitingForPartner,
        effects: vec![],
        proposals: vec![],
        reply: None,
        note: None,
    }
}

fn effect(act: flow::Act) -> flow::Step {
    flow::Step { effects: vec![flow::Effect { key: "e".into(), act }], ..step() }
}

fn http(endpoint: &str, operation: &str, path: &str) -> flow::Step {
    effect(flow::Act::Http(flow::HttpCall {
        endpoint: endpoint.into(),
        operation: operation.into(),
        path: path.into(),
        query: vec![],
        body: vec![],
    }))
}

fn credit(minor: i64, currency: &str, reference: &str) -> flow::Step {
    let credit = flow::Credit {
        key: "c".into(),
        amount: types::MoneyResult { minor, currency: currency.into() },
        reference: reference.into(),
        because: 1,
        arrived: true,
    };
    flow::Step { proposals: vec![flow::Proposal::Credit(credit)], ..step() }
}

fn reply(status: u16, headers: &[(&str, &str)], body: usize) -> flow::Step {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    flow::Step { reply: Some(flow::HttpAnswerResult { status, headers, body: vec![b'x'; body] }), ..step() }
}

fn note(code: &str, text: Option<&str>) -> flow::Step {
    let note =
        types::Failure { code: code.into(), message: "m".into(), text: text.map(ToOwned::to_owned), retryable: false };
    flow::Step { note: Some(note), ..step() }
}

#[track_caller]
fn check(step: flow::Step, expected: Result<(), (FaultClass, &str)>) {
    for input in [begin(), resume()] {
        let manifest = manifest();
        let gate = Gate { manifest: &manifest, has_files: false, has_machine: false };
        match (gate.admit(&input, Raw::Step(Ok(step.clone()))), expected) {
            (Ok(_), Ok(())) => {}
            (Err(fault), Err((class, part))) => {
                assert_eq!(fault.class, class, "{fault}");
                assert!(fault.detail.contains(part), "{fault}");
            }
            (admitted, expected) => panic!("{admitted:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn a_step_within_its_grants_passes() {
    check(step(), Ok(()));
    check(http("network", "status", ""), Ok(()));
    check(http("network", "status", "/1/2"), Ok(()));
    check(credit(10_000, "JPY", "r-1"), Ok(()));
    check(reply(200, &[("Content-Type", "application/json")], 65_536), Ok(()));
    check(note("cancelled", Some("wait")), Ok(()));
    check(effect(flow::Act::Show(flow::Show::Text("wait".into()))), Ok(()));
}

#[test]
fn what_the_manifest_does_not_grant_is_denied() {
    use FaultClass::Denied;
    check(http("elsewhere", "status", ""), Err((Denied, "operation `status` of endpoint `elsewhere`")));
    check(http("network", "pay", ""), Err((Denied, "operation `pay` of endpoint `network`")));
    let amount = types::MoneyResult { minor: 1, currency: "JPY".into() };
    let capture = flow::Capture {
        hold: "h".into(),
        amount: amount.clone(),
        fee: None,
        reference: "r".into(),
        because: 1,
        final_: true,
    };
    let reversal = flow::Reversal { of: "c".into(), amount, reference: "r".into(), because: 1 };
    for (proposal, kind) in
        [(flow::Proposal::Capture(capture), "Capture"), (flow::Proposal::Reverse(reversal), "Reverse")]
    {
        check(flow::Step { proposals: vec![proposal], ..step() }, Err((Denied, kind)));
    }
    let enqueue = flow::Act::Enqueue(("f".into(), "c".into(), vec![]));
    check(effect(enqueue), Err((Denied, "files")));
}

#[test]
fn what_makes_no_sense_is_a_bad_answer() {
    use FaultClass::BadAnswer;
    check(credit(0, "JPY", "r"), Err((BadAnswer, "0 JPY of a proposal is not positive")));
    check(credit(-1, "JPY", "r"), Err((BadAnswer, "not positive")));
    check(credit(1, "jpy", "r"), Err((BadAnswer, "currency `jpy`")));
    check(credit(1, "JPY", ""), Err((BadAnswer, "a reference has 1 to 200 bytes")));
    check(credit(1, "JPY", "a\nb"), Err((BadAnswer, "control characters")));
    check(credit(1, "JPY", &"r".repeat(201)), Err((BadAnswer, "not 201 bytes")));
    check(reply(99, &[], 0), Err((BadAnswer, "status 99")));
    check(reply(600, &[], 0), Err((BadAnswer, "status 600")));
    check(reply(200, &[], 65_537), Err((BadAnswer, "65537 bytes of a reply's body")));
    check(reply(200, &[("A: b\r\nC", "d")], 0), Err((BadAnswer, "header name")));
    check(reply(200, &[("A", "b\r\nC: d")], 0), Err((BadAnswer, "header `A`")));
    check(note("other", None), Err((BadAnswer, "failure code `other`")));
    check(note("cancelled", Some("other")), Err((BadAnswer, "text `other`")));
    check(flow::Step { state: vec![0; 65_537], ..step() }, Err((BadAnswer, "65537 bytes of state")));
    let timer = flow::Effect { key: "t".into(), act: flow::Act::Timer(1) };
    check(flow::Step { effects: vec![timer; 17], ..step() }, Err((BadAnswer, "17 effects")));
    let script = flow::Act::Show(flow::Show::Link("javascript:alert(1)".into()));
    check(effect(script), Err((BadAnswer, "does not begin with https://")));
    for path in ["x", "/../admin", "/%2e%2E/admin", "/a?b", "/a#b", "/a b", "/a\\b", "/a%2Fb", "/é"] {
        check(http("network", "status", path), Err((BadAnswer, "path")));
    }
}

#[test]
fn a_settlement_line_is_never_negative() {
    let manifest = manifest();
    let gate = Gate { manifest: &manifest, has_files: false, has_machine: false };
    let line = |minor| settlement::Line {
        reference: "r".into(),
        side: settlement::Side::Fee,
        amount: types::MoneyResult { minor, currency: "JPY".into() },
        at: 1,
    };
    let input = Input::ParseSettlement(vec![]);
    assert!(gate.admit(&input, Raw::Lines(Ok(vec![line(0), line(5)]))).is_ok());
    let fault = gate.admit(&input, Raw::Lines(Ok(vec![line(5), line(-1)]))).unwrap_err();
    assert_eq!(fault.detail, "the amount -1 JPY of a settlement line is negative");
}

/// What comes of an answer of another kind, under the manifest of these tests.
fn admitted(input: &Input, raw: Raw) -> Result<Output, Fault> {
    let manifest = manifest();
    Gate { manifest: &manifest, has_files: false, has_machine: false }.admit(input, raw)
}

#[track_caller]
fn refused(input: &Input, raw: Raw, class: FaultClass, part: &str) {
    let fault = admitted(input, raw).unwrap_err();
    assert!(fault.class == class && fault.detail.contains(part), "{fault}");
}

#[test]
fn a_link_of_a_kind_that_is_not_in_the_manifest_is_denied() {
    let link = |kind: &str, data| {
        effect(flow::Act::SaveLink(flow::SavedLink {
            reference: "token-1".into(),
            kind: kind.into(),
            label: "Bank *4321".into(),
            data: vec![0; data],
            expires: None,
        }))
    };
    check(link("account", 4_096), Ok(()));
    check(link("other", 1), Err((FaultClass::Denied, "a link of kind `other`")));
    check(link("account", 4_097), Err((FaultClass::BadAnswer, "4097 bytes of a link's data")));
    let consent = |endpoint: &str| effect(flow::Act::Show(flow::Show::Consent(endpoint.into())));
    check(consent("network"), Ok(()));
    check(consent("elsewhere"), Err((FaultClass::Denied, "endpoint `elsewhere`")));
}

fn rate(base: &str, quote: &str, mantissa: i64, scale: u8) -> market::RateResult {
    let (base, quote) = (base.into(), quote.into());
    market::RateResult { base, quote, mid: types::Decimal { mantissa, scale }, at: 1 }
}

#[test]
fn a_feed_says_each_rate_once_and_above_nought() {
    let input = Input::ParseRates(vec![]);
    let good = vec![rate("EUR", "JPY", 13_278, 2), rate("EUR", "USD", 11_777, 4)];
    assert!(admitted(&input, Raw::Rates(Ok(good.clone()))).is_ok());
    let with = |rate| Raw::Rates(Ok([good.clone(), vec![rate]].concat()));
    refused(&input, with(good[0].clone()), FaultClass::BadAnswer, "EUR/JPY of one time is there twice");
    refused(&input, with(rate("EUR", "CHF", 0, 0)), FaultClass::BadAnswer, "a rate is above nought");
    refused(&input, with(rate("EUR", "CHF", 1, 13)), FaultClass::BadAnswer, "at most 12 decimals");
    refused(&input, with(rate("EUR", "EUR", 1, 0)), FaultClass::BadAnswer, "EUR is priced in itself");
    refused(&input, with(rate("EUR", "eur", 1, 0)), FaultClass::BadAnswer, "currency `eur`");
}

#[test]
fn a_price_is_for_the_pair_that_was_asked_for() {
    let usd = Currency::new("USD").unwrap();
    let request = koban_domain::guest::QuoteRequest {
        sell: Currency::JPY,
        buy: usd,
        amount: Money::new(10_000, usd),
        rates: vec![],
        facts: vec![],
    };
    let input = Input::Quote(request);
    let price = |base: &str, quote: &str, scale| price::Price {
        base: base.into(),
        quote: quote.into(),
        rate: types::Decimal { mantissa: 1_138_727, scale },
        mid: types::Decimal { mantissa: 112_745, scale: 3 },
        fixed: 1,
        expires: 2,
    };
    assert!(admitted(&input, Raw::Price(Ok(price("USD", "JPY", 4)))).is_ok());
    assert!(admitted(&input, Raw::Price(Ok(price("JPY", "USD", 4)))).is_ok());
    refused(&input, Raw::Price(Ok(price("EUR", "JPY", 4))), FaultClass::BadAnswer, "not the pair");
    refused(&input, Raw::Price(Ok(price("USD", "JPY", 5))), FaultClass::BadAnswer, "at most 4 decimals");
}

#[test]
fn what_an_event_leads_to_is_granted_and_for_its_user() {
    let event = |user: Option<&str>| {
        let event = koban_domain::guest::Happening {
            id: "evt_1".into(),
            kind: "payment.captured".into(),
            at: 1,
            amount: None,
            user: user.map(Into::into),
            merchant: None,
            facts: vec![],
        };
        Input::OnEvent(event, vec![])
    };
    let bonus = |budget: &str, reason: &str| {
        let amount = types::MoneyResult { minor: 500, currency: "JPY".into() };
        on_event::Action::Bonus(on_event::Bonus { budget: budget.into(), amount, reason: reason.into() })
    };
    let put = |name: &str| {
        let value = Some(types::ValueResult::Whole(1));
        on_event::Action::Put(on_event::Put { about: on_event::About::User, name: name.into(), value, expires: None })
    };
    let actions = |action| Raw::Actions(Ok(vec![action]));
    let known = event(Some("u"));
    assert!(admitted(&known, actions(bonus("welcome", "cancelled"))).is_ok());
    assert!(admitted(&known, actions(put("stamps"))).is_ok());
    refused(&known, actions(bonus("other", "cancelled")), FaultClass::Denied, "budget `other`");
    refused(&known, actions(bonus("welcome", "why")), FaultClass::BadAnswer, "bonus code `why`");
    refused(&known, actions(put("No Name")), FaultClass::BadAnswer, "no name for a value");
    refused(&known, actions(on_event::Action::Begin(step())), FaultClass::Denied, "`machine`");
    refused(&event(None), actions(put("stamps")), FaultClass::BadAnswer, "this event has none");
    refused(&known, Raw::Actions(Ok(vec![put("stamps"); 17])), FaultClass::BadAnswer, "17 actions");
}

#[test]
fn a_page_has_the_columns_of_its_table_and_shows_plain_text() {
    let input =
        Input::TableRows(koban_domain::guest::TableRequest { table: "cards".into(), subjects: vec![], more: false });
    let row = |cells: Vec<types::ValueResult>| Raw::Rows(Ok(vec![table::Row { cells }]));
    let text = |text: &str| types::ValueResult::Text(text.into());
    assert!(admitted(&input, row(vec![text("9")])).is_ok());
    refused(&input, row(vec![]), FaultClass::BadAnswer, "0 cells, and the table 1 columns");
    refused(&input, row(vec![text("a\u{1b}[2J")]), FaultClass::BadAnswer, "no control characters");
    refused(&input, row(vec![types::ValueResult::Secret("s".into())]), FaultClass::BadAnswer, "no secret");
}

#[test]
fn a_document_has_a_name_that_leads_nowhere() {
    let account = koban_domain::guest::StatementAccount {
        name: "w".into(),
        currency: Currency::JPY,
        since: 0,
        until: 1,
        opening: 0,
        closing: 0,
        rows: vec![],
    };
    let input = Input::ComposeStatement("ofx".into(), account);
    let document = |name: &str| Raw::Document(Ok(statement::Document { name: name.into(), content: vec![1] }));
    assert!(admitted(&input, document("koban-2026-11.ofx")).is_ok());
    for name in ["", "../x", ".hidden", "a/b", "a b", "\u{202e}fxo", &"x".repeat(81)] {
        refused(&input, document(name), FaultClass::BadAnswer, "no plain name of a file");
    }
}

#[test]
fn a_bill_asks_for_something_in_one_currency() {
    let input = Input::Recognise(
        koban_domain::guest::BillCode { source: koban_domain::guest::BillSource::Typed, content: "1".into() },
        vec![],
    );
    let yen = |minor| types::MoneyResult { minor, currency: "JPY".into() };
    let bill = |amount, fee, line: Option<&str>| pay_bill::BillResult {
        biller: "912345".into(),
        name: "Power".into(),
        reference: "r-1".into(),
        amount,
        fee,
        due: None,
        fields: line
            .map(|name| types::NamedResult { name: name.into(), value: types::ValueResult::Whole(1) })
            .into_iter()
            .collect(),
    };
    let raw = |bill| Raw::Bill(Ok(Some(bill)));
    assert_eq!(admitted(&input, Raw::Bill(Ok(None))), Ok(Output::Bill(None)));
    assert!(admitted(&input, raw(bill(yen(5_400), yen(110), Some("wait")))).is_ok());
    refused(&input, raw(bill(yen(0), yen(0), None)), FaultClass::BadAnswer, "not positive");
    refused(&input, raw(bill(yen(1), yen(-1), None)), FaultClass::BadAnswer, "the fee -1 JPY");
    let dollars = types::MoneyResult { minor: 1, currency: "USD".into() };
    refused(&input, raw(bill(yen(1), dollars, None)), FaultClass::BadAnswer, "in another currency");
    refused(&input, raw(bill(yen(1), yen(0), Some("other"))), FaultClass::BadAnswer, "text `other`");
}

#[test]
fn a_flow_that_a_partner_begins_is_one_of_the_kind() {
    let opening = |beginning| inbound::Opening {
        beginning,
        owner: inbound::Owner::Link("token-1".into()),
        amount: types::MoneyResult { minor: 1_000, currency: "JPY".into() },
        delivery: inbound::Delivery {
            correlation: "c-1".into(),
            otherwise: flow::HttpAnswerResult { status: 404, headers: vec![], body: vec![] },
            tombstone: None,
        },
    };
    let call = koban_domain::guest::InboundCall {
        endpoint: "network".into(),
        operation: "deposit".into(),
        path: String::new(),
        query: vec![],
        body: vec![],
    };
    let input = Input::Route(call);
    let raw = |beginning| Raw::Routing(Ok(inbound::Routing::Begin(opening(beginning))));
    assert!(admitted(&input, raw(inbound::Beginning::Charge)).is_ok());
    assert!(admitted(&input, raw(inbound::Beginning::Withdraw)).is_ok());
}
