//! The auditor on a history of everything: it finds nothing, and each invariant that a hand breaks it names.

use koban_auditor::{Acknowledged, Evidence, Heard, Invariant, Report, Source, audit_within};
use koban_service::clock::Clock;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use crate::harness::{
    Caller as _, Made, Operator, Setup, Shop, Sink, TILL, TestApp, User, eventually, minor, whole, yen,
};

/// A history with something of everything, stopped, and what people outside know of it.
async fn a_bit_of_everything() -> (std::sync::Arc<crate::harness::Database>, Evidence) {
    let rules = [
        whole("night_from", 0),
        whole("night_to", 0),
        yen("new_payee_amount", 20_000),
        yen("amount_high", 20_000),
        yen("amount_limit", 100_000),
    ];
    let app = TestApp::start_with(Setup::default()).await.with_fraud_rules(&rules).await;
    let (one, other) = (app.operator().await, app.operator().await);
    let sink = Sink::start(Clock::machine()).await;
    let endpoint = sink.register(&one, None).await;
    let atm = app.atm().await;
    app.offer_dollars(1_000_000).await;
    let (hana, shop) = (app.user().await, app.shop().await);
    atm.charge(&hana, 30_000).await;
    let ken = app.verified_user_holding(200_000).await;
    let friend = app.verified_user_holding(0).await;

    let paid = hana.pay(&shop, 1_280).with("reference", "order-1").key("k1").await.created();
    let refunded = shop.refund(&paid, 280).await.created();
    let held = hana.pay(&shop, 4_000).with("capture", false).await.created();
    let path = format!("/v1/payments/{}/captures", held.id);
    let captured = shop.post(&path, json!({ "amount": 1_500 })).await.created();
    let open = ken.pay(&shop, 700).with("capture", false).await.created();
    let voided = ken.pay(&shop, 900).with("capture", false).await.created();
    shop.post(format!("/v1/payments/{}/void", voided.id), json!({})).await.ok();
    let sent = ken.send(&friend, 3_000).key("k2").await.created();
    let dollars = json!({ "sell": "JPY", "buy": "USD", "amount": 10_000, "currency": "USD", "rate": "113.8727" });
    let exchanged = ken.post("/v1/exchanges", dollars).await.created();
    reviewed(&app, &one).await;
    goodwill(&one, &other, &hana.id.to_string()).await;
    gift(&one, &ken.id.to_string()).await;
    ken.pay(&shop, 100).await.created();
    closed_with(&app, &one, &ken).await;
    later(&ken, &shop).await;
    one.put(format!("/v1/operator/users/{}/access", friend.id), json!({ "frozen": true, "reason": "a test" }))
        .await
        .ok();
    atm.end_of_day().await;
    eventually("the file is taken", || app.exposure("charge-atm"), |exposure| exposure.used.minor == 0).await;
    app.ledger_is_clean().await;

    let told = |made: &Made, amount, key: Option<(&str, &str)>| Acknowledged {
        id: made.id.clone(),
        amount: Some(amount),
        key: key.map(|(who, key)| (who.to_owned(), key.to_owned())),
    };
    let acknowledged = vec![
        told(&paid, 1_280, Some(("hana", "k1"))),
        told(&refunded, 280, None),
        told(&held, 4_000, None),
        told(&captured, 1_500, None),
        told(&open, 700, None),
        told(&voided, 900, None),
        told(&sent, 3_000, Some(("ken", "k2"))),
        told(&exchanged, minor(&exchanged.body["sell"], "amount"), None),
    ];
    sink.has(12).await;
    // News that no delivery was made of yet, and deliveries that wait.
    let waiting = "select (select max(sequence) from outbox)
        - (select sequence from outbox_cursors where name = 'webhooks')
        + (select count(*) from webhook_deliveries where state < 2)";
    let all_told = async || app.database.hand().await.number(waiting).await;
    eventually("everything is delivered", all_told, |waiting| *waiting == 0).await;
    let heard =
        sink.calls().into_iter().map(|call| Heard { id: call.id, body: String::from_utf8(call.bytes).expect("text") });
    let evidence = Evidence {
        acknowledged,
        book: Some(atm.book().await),
        book_of: "charge-atm".to_owned(),
        heard: [(endpoint, heard.collect())].into(),
        tills: vec![TILL.to_owned()],
        ..Evidence::default()
    };
    (app.stop().await, evidence)
}

/// Two periods closed with a merchant that has credit, the first paid out, and then more given back than it is owed.
async fn closed_with(app: &TestApp, operator: &Operator, payer: &User) {
    let shop = app.shop().await;
    let of_shop = |what: &str| format!("/v1/operator/merchants/{}/{what}", shop.id);
    let terms = json!({ "currency": "JPY", "credit_limit": 5_000, "fee_rate": "0.0324", "cut_off": "daily",
        "reason": "a test" });
    operator.put(of_shop("arrangement"), terms).await.ok();
    let today = app.app.clock.now().jst_day();
    let until = |day: i32| json!({ "currency": "JPY", "until": koban_domain::time::date_of_day(day) });
    let paid = payer.pay(&shop, 10_000).await.created();
    let contest = json!({ "payment": paid.id, "amount": 400, "currency": "JPY", "reason": "a test" });
    operator.post("/v1/operator/disputes", contest).await.created();
    let first = operator.post(of_shop("closings"), until(today - 1)).await.created();
    assert_eq!((minor(&first.body, "fee"), minor(&first.body, "tax")), (324, 32));
    let path = format!("/v1/operator/closings/{}/payout", first.id);
    operator.post(path, json!({ "reference": "bank-1" })).await.ok();
    payer.pay(&shop, 1_000).await.created();
    shop.refund(&paid, 3_000).await.created();
    let second = operator.post(of_shop("closings"), until(today)).await.created();
    assert_eq!((minor(&second.body, "due"), minor(&second.body, "left")), (0, -2_035));
    shop.refund(&paid, 1_000).await.created();
}

/// A payment at its own time.
async fn later(payer: &User, shop: &Shop) {
    let at = Clock::machine().now().0 + 1_500;
    let body = json!({ "merchant": shop.id, "amount": 150, "currency": "JPY", "execute_at_ms": at });
    let path = format!("/v1/schedules/{}", payer.post("/v1/schedules", body).await.created().id);
    eventually("it is paid", async || payer.get(&path).await.ok(), |found| found["state"] == "done").await;
}

/// One payment that an operator approves and one that an operator declines.
async fn reviewed(app: &TestApp, operator: &Operator) {
    let rich = app.verified_user_holding(300_000).await;
    for how in ["approve", "decline"] {
        let waits = rich.pay(&app.shop().await, 22_000).await;
        assert_eq!(waits.reply.status, 202, "{}", waits.reply.body);
        let id = waits.reply.body["id"].as_str().expect("an id").replace("pay_", "rev_");
        operator.post(format!("/v1/operator/reviews/{id}/{how}"), json!({ "reason": "a test" })).await.ok();
    }
}

async fn goodwill(one: &Operator, other: &Operator, user: &str) {
    let line = json!({ "debit": { "class": "write-off" }, "credit": { "class": "prepaid", "owner": user }, "amount": 7, "currency": "JPY" });
    let proposed = one.post("/v1/operator/adjustments", json!({ "lines": [line], "reason": "a test" })).await.created();
    let path = format!("/v1/operator/adjustments/{}/approve", proposed.id);
    other.post(path, json!({ "reason": "a test" })).await.ok();
}

/// A lot of bonus out of a campaign's budget.
async fn gift(operator: &Operator, user: &str) {
    let campaign = json!({ "name": "a test", "budget": 1_000, "currency": "JPY", "reason": "a test" });
    let campaign = operator.post("/v1/operator/campaigns", campaign).await.created();
    let lot = json!({ "user": user, "amount": 300, "currency": "JPY", "expires_on": "2030-12-31", "reason": "a test" });
    operator.post(format!("/v1/operator/campaigns/{}/grants", campaign.id), lot).await.created();
}

async fn run(source: &mut Source, sql: &str) -> u64 {
    let sql = AssertSqlSafe(sql.to_owned());
    match source {
        Source::Sqlite(connection) => connection.execute(sql).await.map(|done| done.rows_affected()),
        Source::Postgres(connection) => connection.execute(sql).await.map(|done| done.rows_affected()),
    }
    .expect("the statement runs")
}

/// Rewrites the postings of the first entry of a kind.
async fn rewrite(source: &mut Source, kind: i64, change: impl Fn(&mut [u8])) -> u64 {
    let select = format!("select postings from entries where kind = {kind} order by sequence limit 1");
    let update = format!(
        "update entries set postings = $1 where sequence = (select min(sequence) from entries where kind = {kind})"
    );
    let (select, update) = (AssertSqlSafe(select), AssertSqlSafe(update));
    match source {
        Source::Sqlite(connection) => {
            let mut bytes: Vec<u8> = sqlx::query(select).fetch_one(&mut **connection).await.expect("an entry").get(0);
            change(&mut bytes);
            sqlx::query(update).bind(bytes).execute(&mut **connection).await.map(|done| done.rows_affected())
        }
        Source::Postgres(connection) => {
            let mut bytes: Vec<u8> = sqlx::query(select).fetch_one(&mut **connection).await.expect("an entry").get(0);
            change(&mut bytes);
            sqlx::query(update).bind(bytes).execute(&mut **connection).await.map(|done| done.rows_affected())
        }
    }
    .expect("the statement runs")
}

/// What somebody with a hand in the database does.
enum Hand {
    /// A statement that touches at least one row.
    Sql(&'static str),
    /// The amount in the first posting of the first entry of this kind.
    FirstAmount(i64),
    /// The amounts in all postings of the first entry of this kind, each by so many millions.
    AllAmounts(i64),
    /// Not the database: what people outside know.
    Outside(fn(&mut Evidence)),
}

/// Every invariant, with a way to break it.
const BREAKS: &[(Invariant, Hand)] = &[
    (Invariant::I1, Hand::FirstAmount(3)),
    (Invariant::I2, Hand::AllAmounts(3)),
    (Invariant::I2, Hand::AllAmounts(4)),
    (Invariant::I2, Hand::Sql("update arrangements set credit_limit = credit_limit + 1")),
    (Invariant::I3, Hand::Sql("update schedules set state = 1 where state = 3")),
    (Invariant::I3, Hand::Sql("update schedules set outcome = 'pay_00000000000000000000000000000000' where state = 3")),
    (Invariant::I3, Hand::Sql("update schedules set user_id = id where state = 3")),
    (Invariant::I3, Hand::Sql("delete from schedules")),
    (Invariant::I3, Hand::Sql("delete from transfers")),
    (Invariant::I3, Hand::Sql("delete from captures")),
    (Invariant::I3, Hand::Sql("delete from operations")),
    (Invariant::I3, Hand::Outside(|evidence| evidence.acknowledged[0].amount = Some(1_281))),
    (Invariant::I3, Hand::Outside(|evidence| evidence.acknowledged[1].id = format!("ref_{}", "0".repeat(32)))),
    (Invariant::I3, Hand::Outside(|evidence| evidence.is_complete = true)),
    (
        Invariant::I4,
        Hand::Sql(
            "insert into operations (key, fingerprint, outcome, at) select fingerprint, key, outcome, at from operations",
        ),
    ),
    (Invariant::I4, Hand::Sql("update partner_references set amount = amount + 1 where side = 1")),
    (
        Invariant::I4,
        Hand::Outside(|evidence| {
            let key = evidence.acknowledged[0].key.clone();
            evidence.acknowledged[1].key = key;
        }),
    ),
    (Invariant::I5, Hand::Sql("update payments set state = 3 where state = 1")),
    (Invariant::I5, Hand::Sql("update payments set state = 1 where state = 4")),
    (Invariant::I5, Hand::Sql("update payments set captured = captured + 1 where state = 3")),
    (Invariant::I6, Hand::Sql("update payments set refunded = captured + 1 where captured > 0")),
    (Invariant::I6, Hand::Sql("update payments set disputed = captured where refunded > 0")),
    (Invariant::I6, Hand::Sql("update refunds set amount = amount - 1")),
    (Invariant::I7, Hand::Sql("update exchanges set buy_amount = buy_amount + 1")),
    (Invariant::I7, Hand::Sql("update exchanges set rate = rate + 10000")),
    (Invariant::I7, Hand::Sql("delete from exchanges")),
    (Invariant::I8, Hand::Sql("update captures set amount = amount + 1")),
    (Invariant::I8, Hand::FirstAmount(6)),
    (Invariant::I8, Hand::AllAmounts(22)),
    (Invariant::I8, Hand::AllAmounts(23)),
    (Invariant::I8, Hand::Sql("update closings set captured = captured + 1, due = due + 1 where due > 0")),
    (Invariant::I8, Hand::Sql("update closings set fee = fee - 1, due = due + 1 where due > 0")),
    (Invariant::I8, Hand::Sql("update closings set left_over = left_over - 1, refunded = refunded + 1 where due = 0")),
    (Invariant::I8, Hand::Sql("update closings set carried = carried + 1 where due = 0")),
    (Invariant::I8, Hand::Sql("update closings set through_entry = through_entry - 1 where due > 0")),
    (Invariant::I8, Hand::Sql("update closings set fee_rate = 40000 where due > 0")),
    (Invariant::I8, Hand::Sql("update closings set state = 1 where state = 2")),
    (Invariant::I8, Hand::Sql("delete from closings where due = 0")),
    (Invariant::I8, Hand::Sql("delete from arrangements")),
    (Invariant::I8, Hand::Sql("update arrangements set left_over = 0 where left_over < 0")),
    (Invariant::I8, Hand::Sql("update arrangements set disputed = disputed + 1")),
    (
        Invariant::I9,
        Hand::Outside(|evidence| {
            evidence.book.as_mut().expect("a book")["deposits"][0]["amount"] = json!(1);
        }),
    ),
    (Invariant::I9, Hand::Outside(|evidence| evidence.book = Some(json!({ "deposits": [] })))),
    (Invariant::I9, Hand::Sql("update partner_references set reversed = 1 where side = 1")),
    (Invariant::I10, Hand::Sql("delete from outbox where sequence = 2")),
    (Invariant::I10, Hand::Sql("delete from outbox where sequence = (select max(sequence) from outbox)")),
    (Invariant::I10, Hand::Sql("delete from webhook_deliveries where sequence = 3")),
    (Invariant::I10, Hand::Sql("update webhook_deliveries set body = '{}' where sequence = 3")),
    (
        Invariant::I10,
        Hand::Outside(|evidence| {
            for calls in evidence.heard.values_mut() {
                calls.pop();
            }
        }),
    ),
    (Invariant::I11, Hand::Sql("update accounts set credits_posted = credits_posted + 1 where class = 4")),
    (Invariant::I11, Hand::Sql("delete from accounts where class = 15")),
    (Invariant::I11, Hand::Sql("update counters set total = total + 1 where rule = 32")),
    (Invariant::I11, Hand::Sql("update exposures set used = used + 1")),
    (Invariant::I11, Hand::Sql("update exposures set lost = lost + 1")),
    (Invariant::I11, Hand::Sql("update bonus_lots set remaining = remaining + 1")),
    (Invariant::I11, Hand::Sql("update bonus_lots set held = held + 1")),
    (Invariant::I11, Hand::Sql("update campaigns set granted = granted - 1")),
    (Invariant::I3, Hand::Sql("delete from bonus_lots")),
    (Invariant::I12, Hand::Sql("update entries set actor = 'nobody' where sequence = 2")),
    (Invariant::I12, Hand::Sql("delete from entries where sequence = (select max(sequence) from entries)")),
    (Invariant::I12, Hand::Sql("update audit set detail = '{ }' where sequence = 2")),
    (Invariant::I12, Hand::Sql("update record_pages set hash = (select hash from lane_heads) where sequence = 1")),
    (Invariant::I12, Hand::Sql("update users set access = 1 where access = 0")),
    (Invariant::I12, Hand::Sql("update adjustments set decider = proposer")),
    (Invariant::I13, Hand::Sql("update refunds set merchant = payer")),
    (
        Invariant::I13,
        Hand::Sql(
            "update payments set merchant = (select id from merchants order by id desc limit 1) where reference is not null",
        ),
    ),
    (Invariant::I13, Hand::Sql("update api_keys set merchant = (select id from users order by id desc limit 1)")),
    (Invariant::I14, Hand::Sql("update partner_references set flow = null where flow in (select id from flows)")),
    (Invariant::I14, Hand::Sql("update flows set plugin = 'another'")),
    (Invariant::I14, Hand::Sql("update entries set kind = 5 where kind = 3")),
];

#[tokio::test]
async fn the_auditor_finds_nothing_in_a_history_of_everything_and_names_whatever_is_broken() {
    let (database, evidence) = a_bit_of_everything().await;
    let report = database.audited(evidence.clone()).await;
    assert!(report.is_clean(), "{report}");
    assert!(report.entries > 15 && report.dealings > 8 && report.events > 12 && report.acknowledged == 8, "{report}");
    let mut source = Source::open(database.url()).await.expect("it opens");
    for (invariant, hand) in BREAKS {
        run(&mut source, "begin").await;
        let mut evidence = evidence.clone();
        let what = match hand {
            Hand::Sql(sql) => {
                assert!(run(&mut source, sql).await > 0, "{sql}");
                (*sql).to_owned()
            }
            Hand::FirstAmount(kind) => {
                rewrite(&mut source, *kind, |bytes| bytes[28] ^= 1).await;
                format!("the first amount of the first entry of kind {kind}")
            }
            Hand::AllAmounts(kind) => {
                let change = |bytes: &mut [u8]| bytes.chunks_exact_mut(37).for_each(|posting| posting[25] += 1);
                rewrite(&mut source, *kind, change).await;
                format!("all amounts of the first entry of kind {kind}")
            }
            Hand::Outside(change) => {
                change(&mut evidence);
                "what people outside know".to_owned()
            }
        };
        let report: Report = audit_within(&mut source, &evidence).await.expect("it can look");
        assert!(report.names(*invariant), "{invariant} is broken by `{what}` and not named:\n{report}");
        run(&mut source, "rollback").await;
    }
    for invariant in Invariant::ALL {
        assert!(BREAKS.iter().any(|(broken, _)| *broken == invariant), "nothing breaks {invariant}");
    }
    source.close().await;
    database.is_sound_with(evidence).await;
}

#[tokio::test]
async fn a_deposit_that_nobody_of_ours_knows_of_is_named_with_its_reference() {
    let (database, mut evidence) = a_bit_of_everything().await;
    let book = evidence.book.as_mut().expect("a book");
    let mut more: Value = book["deposits"][0].clone();
    more["reference"] = json!("ATM9/2026-01-01/000001");
    book["deposits"].as_array_mut().expect("a list").push(more);
    let report = database.audited(evidence).await;
    assert!(report.names(Invariant::I9) && report.to_string().contains("ATM9/2026-01-01/000001"), "{report}");
}
