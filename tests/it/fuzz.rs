//! Requests that no client of ours would send: whatever the line, the query and the body are, the answer is one of ours and the books are
//! right.
//!
//! An input is what a user, a merchant or nobody says: `user POST /v1/payments`, and below it the body. 1,200 requests in tests, 100 times
//! as many in soak; `KOBAN_TEST_SEED` has a run again, `KOBAN_FUZZ_KEEP=1` keeps in `tests/fuzz/corpus` what shows something new.

use hyper::Method;

use crate::client::Client;
use crate::harness::{Caller, Made, Setup, Shop, TestApp, User, root};
use crate::load::{is_soak, seed};

#[path = "../fuzz/search.rs"]
mod search;

use search::{Search, Trying};

/// What the API's requests are made of.
const WORDS: &[&str] = &[
    "\"amount\":",
    "\"currency\":",
    "\"JPY\"",
    "\"USD\"",
    "\"reference\":",
    "\"capture\":false",
    "null",
    "true",
    "[",
    "{",
    "\\u0000",
    "\\ud800",
    "\u{202e}",
    "SHOP",
    "FRIEND",
    "PAID",
    "HELD",
    "&after=",
    "&limit=",
    "?dry_run=true",
    "%00",
    "GET ",
    "POST ",
    "shop ",
    "nobody ",
];

/// Requests that end the caller's own session or its password: after them nothing more would be seen.
const SPARED: [&str; 2] = ["/v1/sessions/current", "/v1/me/password"];

/// Those who send, and what their requests are about.
struct World {
    app: TestApp,
    user: User,
    friend: User,
    shop: Shop,
    paid: Made,
    held: Made,
    nobody: Client,
}

impl World {
    async fn new() -> World {
        let app = TestApp::start_with(Setup { jobs: false, ..Setup::default() }).await;
        app.offer_dollars(100_000_000).await;
        let (user, friend) = (app.verified_user_holding(450_000).await, app.verified_user_holding(0).await);
        let shop = app.shop().await;
        let paid = user.pay(&shop, 100_000).await.created();
        let held = user.pay(&shop, 100_000).with("capture", false).await.created();
        for amount in 1..4 {
            user.send(&friend, amount).await.created();
        }
        let nobody = app.anonymous();
        World { app, user, friend, shop, paid, held, nobody }
    }

    /// Sends what the input says, and tells what came of it. Panics at an answer that is none of ours.
    async fn try_one(&self, number: usize, input: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(input);
        let text = text
            .replace("SHOP", &self.shop.id.to_string())
            .replace("FRIEND", &self.friend.id.to_string())
            .replace("PAID", &self.paid.id)
            .replace("HELD", &self.held.id);
        let (line, body) = text.split_once('\n').unwrap_or((&text, ""));
        let mut words = line.splitn(3, ' ');
        let client = match words.next() {
            Some("user") => self.user.client(),
            Some("shop") => self.shop.client(),
            _ => &self.nobody,
        };
        let method = match words.next() {
            Some("POST") => Method::POST,
            Some("PUT") => Method::PUT,
            Some("DELETE") => Method::DELETE,
            _ => Method::GET,
        };
        let target = target(words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        if SPARED.contains(&path) {
            return Vec::new();
        }
        let key = format!("fuzz-{number}");
        let headers = [("idempotency-key", key.as_str()), ("content-type", "application/json")];
        let body = (method != Method::GET).then(|| body.as_bytes().to_vec());
        let reply = client.send(method.clone(), &target, &headers, body).await.expect("an answer");
        assert!(reply.status < 500 || reply.status == 503, "{method} {target}: {} {}", reply.status, reply.body);
        if reply.status >= 400 {
            assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{method} {target}");
            for field in ["type", "title", "code", "hint", "request_id"] {
                assert!(reply.body[field].is_string(), "{method} {target} without `{field}`: {}", reply.body);
            }
            assert_eq!(reply.body["status"], reply.status);
        }
        let parts = path.split('/').filter(|part| !part.contains('_')).collect::<Vec<_>>().join("/");
        let place = if reply.status == 404 { "nowhere" } else { parts.as_str() };
        vec![format!("{method} {place} {} {} {}", reply.status, reply.code(), reply.body["field"])]
    }
}

/// What may stand in a request line: everything else is escaped, as any client does.
fn target(text: &str) -> String {
    let mut target = String::from("/");
    for byte in text.trim_start_matches('/').bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'/'
            | b'-'
            | b'_'
            | b'.'
            | b'?'
            | b'='
            | b'&'
            | b'%'
            | b'~'
            | b'+' => {
                target.push(char::from(byte));
            }
            _ => target.push_str(&format!("%{byte:02X}")),
        }
    }
    target.truncate(2_000);
    target
}

async fn fuzz(target: &str, requests: usize) {
    let world = World::new().await;
    let mut search = Search::new(root().join("tests/fuzz/corpus").join(target), WORDS, seed());
    let requests = if is_soak() { requests * 100 } else { requests };
    for number in 0..requests {
        let trying = Trying(search.next());
        let signs = world.try_one(number, &trying.0).await;
        search.saw(signs);
    }
    println!("fuzz {target}: {requests} requests, {} kinds of answers", search.signs());
    assert!(search.signs() > 20, "so few kinds of answers prove nothing");
    // Whoever could not be told apart from a good client has moved money, and rightly.
    Caller::get(world.user.client(), "/v1/wallet").await.ok();
    world.app.ledger_is_clean().await;
}

#[tokio::test]
async fn no_body_makes_the_host_answer_what_is_not_its_own() {
    fuzz("bodies", 900).await;
}

#[tokio::test]
async fn no_cursor_and_no_query_makes_the_host_answer_what_is_not_its_own() {
    fuzz("cursors", 300).await;
}
