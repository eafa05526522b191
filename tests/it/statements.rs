//! Statements of wallets and merchants: what happened, newest first, and balances that follow from it.

use serde_json::Value;

use koban_domain::time::Timestamp;
use koban_service::clock::Clock;

use crate::harness::{Caller as _, Setup, TestApp, minor};

#[tokio::test]
async fn a_wallets_statement_tells_what_happened_newest_first() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let paid = user.pay(&shop, 1_280).await.created();
    let refund = shop.refund(&paid, 280).await.created();
    let lines = lines(&user.get("/v1/wallet/statement").await.ok());
    let told: Vec<(String, i64, i64)> = lines
        .iter()
        .map(|line| {
            (line["subject"].as_str().unwrap_or_default().to_owned(), minor(line, "change"), minor(line, "balance"))
        })
        .collect();
    assert_eq!(told[..2], [(refund.id, 280, 9_000), (paid.id.clone(), -1_280, 8_720)]);
    assert_eq!((told.len(), told[2].1, told[2].2), (3, 10_000, 10_000));
    let merchant = self::lines(&shop.get("/v1/merchant/statement").await.ok());
    let changes: Vec<i64> = merchant.iter().map(|line| minor(line, "change")).collect();
    assert_eq!(changes, [-280, 1_280]);
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn every_statements_lines_add_up_to_its_balance_page_by_page() {
    let app = TestApp::start().await;
    let (user, shop) = (app.user_holding(1_000).await, app.shop().await);
    for yen in 1..=8 {
        user.pay(&shop, yen).await.created();
    }
    let (mut sum, mut count, mut path) = (0, 0, "/v1/wallet/statement?limit=2".to_owned());
    loop {
        let page = user.get(&path).await.ok();
        for line in lines(&page) {
            if count == 0 {
                assert_eq!(minor(&line, "balance"), user.balance().await);
            }
            sum += minor(&line, "change");
            count += 1;
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/wallet/statement?limit=2&after={next}");
        assert!(count < 30, "the pages do not end");
    }
    assert_eq!((sum, count), (user.balance().await, 9));
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_balance_at_a_past_time_is_what_was_posted_by_then() {
    let clock = Clock::standing_at(Timestamp(1_790_000_000_000));
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    let begin = clock.now();
    for yen in 1..=5 {
        clock.advance_ms(1_000);
        user.pay(&shop, yen).await.created();
        // Others' entries lie between.
        app.user_holding(7).await;
    }
    let at =
        async |ms: i64| minor(&user.get(format!("/v1/wallet/balances?at_ms={}", begin.0 + ms)).await.ok(), "prepaid");
    assert_eq!((at(-1).await, at(0).await, at(999).await), (0, 10_000, 10_000));
    assert_eq!((at(1_000).await, at(3_500).await, at(5_000).await), (9_999, 9_994, 9_985));
    user.get(format!("/v1/wallet/balances?at_ms={}", begin.0 + 5_001)).await.problem(400, "invalid_request");
    app.ledger_is_clean().await;
}

#[tokio::test]
async fn a_statement_as_csv_has_the_time_asked_for_and_no_formula() {
    let clock = Clock::standing_at(Timestamp(1_790_000_000_000));
    let app = TestApp::start_with(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let (user, shop) = (app.user_holding(10_000).await, app.shop().await);
    clock.advance_ms(1_000);
    user.pay(&shop, 100).with("reference", "=1+cmd|'/c calc'!A0").await.created();
    clock.advance_ms(1_000);
    user.pay(&shop, 200).with("reference", "order, \"late\"").await.created();
    let begin = 1_790_000_000_000_i64;
    let csv = async |from: i64, to: i64| {
        let path = format!("/v1/wallet/statement.csv?from_ms={}&to_ms={}", begin + from, begin + to);
        let reply = user.get(path).await.reply;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("text/csv; charset=utf-8; header=present"))
        );
        String::from_utf8(reply.bytes.to_vec()).expect("text")
    };
    let whole = csv(0, 10_000).await;
    let rows: Vec<&str> = whole.split("\r\n").collect();
    assert_eq!((rows.len(), rows[0]), (5, "at,kind,subject,reference,account,change,balance,currency,entry"));
    assert!(rows[1].contains("\"order, \"\"late\"\"\",\"prepaid\",-200,9700,\"JPY\""), "{whole}");
    assert!(rows[2].contains("\"'=1+cmd|'/c calc'!A0\",\"prepaid\",-100,9900"), "{whole}");
    assert!(rows[3].contains("\"charge\"") && rows[3].contains(",10000,10000,"), "{whole}");
    assert_eq!(csv(1_000, 2_000).await.lines().count(), 2, "from a time up to before another");
    assert_eq!(csv(5_000, 1_000).await.lines().count(), 1, "nothing lies between");
    app.ledger_is_clean().await;
}

fn lines(page: &Value) -> Vec<Value> {
    page["items"].as_array().expect("a list").clone()
}
