//! Statements of wallets and merchants: what happened, newest first, and balances that follow from it.

use serde_json::Value;

use crate::harness::{Caller as _, TestApp, minor};

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
}

fn lines(page: &Value) -> Vec<Value> {
    page["items"].as_array().expect("a list").clone()
}
