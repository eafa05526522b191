//! The server itself: what every answer carries, who waits how long, who is slowed down, and how it ends.

use std::time::Duration;

use hyper::Method;
use koban_web::{Rate, Rates, Web, WebConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::client::{Client, Reply};
use crate::harness::{Caller, Setup, TestApp, eventually};

/// A host whose HTTP side is set like this; nothing runs in the background.
async fn host(web: WebConfig) -> TestApp {
    let web = WebConfig { notice: Duration::ZERO, ..web };
    TestApp::start_with(Setup { web, jobs: false, ..Setup::default() }).await
}

fn unhurried() -> WebConfig {
    WebConfig { rates: Rates::UNREACHED, ..WebConfig::default() }
}

async fn refused(client: &Client, path: &str, status: u16, code: &str) -> Reply {
    Caller::get(client, path).await.problem(status, code)
}

async fn is_ok(client: &Client, path: &str) -> bool {
    Caller::get(client, path).await.ok()["status"] == "ok"
}

/// Writes bytes to the host and reads until it closes the connection or falls silent.
async fn raw(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.address()).await.expect("a connection");
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_it_safe() {
    let app = host(WebConfig { hsts: true, ..unhurried() }).await;
    for path in ["/livez", "/v1/wallet", "/nowhere", "/openapi.json", "/docs", "/problems/not_found"] {
        let reply = app.anonymous().send(Method::GET, path, &[], None).await.expect("an answer");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("strict-transport-security", "max-age=63072000; includeSubDomains"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}: {name}");
        }
        let policy = reply.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
        assert!(reply.header("request-id").is_some_and(|id| id.starts_with("req_") && id.len() == 36), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), None, "{path}: nobody else's page reads us");
        assert!(reply.header("cache-control").is_some_and(|value| value.starts_with("no-")), "{path}");
    }
}

#[tokio::test]
async fn pages_come_whole_from_the_host_itself() {
    let app = host(unhurried()).await;
    let anybody = app.anonymous();
    let page = async |path: &str, language: &str| {
        let reply = anybody.send(Method::GET, path, &[("accept-language", language)], None).await.expect("an answer");
        assert_eq!(reply.status, 200, "{path}");
        String::from_utf8(reply.bytes).expect("text")
    };
    for path in ["/docs", "/docs/docs.js", "/docs/style.css", "/problems", "/problems/insufficient_funds"] {
        let text = page(path, "en").await;
        for outside in ["http://", "https://", "//cdn", "<script>", "style=", "onclick", "@import"] {
            assert!(!text.contains(outside), "{path} has `{outside}`");
        }
    }
    assert!(page("/problems/insufficient_funds", "ja").await.contains("残高が足りません"));
    assert!(page("/problems/insufficient_funds", "en").await.contains("the balance is too low"));
    let problem = anybody.send(Method::GET, "/v1/wallet", &[], None).await.expect("an answer");
    let kind = problem.body["type"].as_str().expect("a type").to_owned();
    assert!(page(&kind, "en").await.contains("not_signed_in"), "the page of a problem is where it says");
    let reply = anybody.send(Method::GET, "/problems/<script>", &[], None).await;
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status == 404));
}

#[tokio::test]
async fn a_problem_speaks_the_language_that_was_asked_for() {
    let app = host(unhurried()).await;
    for (language, title) in
        [("ja", "サインインが必要です"), ("en", "nobody is signed in"), ("fr", "nobody is signed in")]
    {
        let headers = [("accept-language", language)];
        let reply = app.anonymous().send(Method::GET, "/v1/wallet", &headers, None).await.expect("an answer");
        assert_eq!(reply.body["title"], title);
        assert_eq!(reply.code(), "not_signed_in", "the code is the same in every language");
    }
    let reply = app.anonymous().get("/v1/wallet").await.expect("an answer");
    assert_eq!(reply.body["title"], "nobody is signed in", "who asks for no language gets English");
}

#[tokio::test]
async fn who_signs_up_without_a_language_has_that_of_the_request() {
    let app = host(unhurried()).await;
    for (number, (wished, told, locale)) in
        [(None, None, "en"), (Some("ja"), None, "ja"), (Some("ja"), Some("en"), "en")].into_iter().enumerate()
    {
        let mut body = json!({ "email": format!("hana{number}@example.com"), "password": "correct horse battery",
            "name": "Hana" });
        if let Some(told) = told {
            body["locale"] = json!(told);
        }
        let headers: Vec<(&str, &str)> = wished.into_iter().map(|wished| ("accept-language", wished)).collect();
        let reply = app
            .anonymous()
            .send(Method::POST, "/v1/users", &headers, Some(body.to_string().into_bytes()))
            .await
            .expect("an answer");
        assert_eq!((reply.status, &reply.body["locale"]), (201, &json!(locale)), "{}", reply.body);
    }
}

#[tokio::test]
async fn metrics_are_on_the_admin_side_alone() {
    let app = host(unhurried()).await;
    refused(&app.anonymous(), "/v1/wallet", 401, "not_signed_in").await;
    refused(&app.anonymous(), "/metrics", 404, "not_found").await;
    let web = Web::new(app.app.clone(), unhurried());
    let admin = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let client = Client::new(admin.local_addr().expect("an address").to_string());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(koban_web::serve_admin(admin, web, async {
        let _ = stopped.await;
    }));
    let text = client.send(Method::GET, "/metrics", &[], None).await.expect("an answer");
    let text = String::from_utf8(text.bytes).expect("text");
    assert!(text.contains("# TYPE koban_flows_stuck gauge"), "{text}");
    assert_eq!(text.matches("# EOF").count(), 1, "one text with one end");
    client.get("/v1/wallet").await.expect("an answer");
    let again = client.send(Method::GET, "/metrics", &[], None).await.expect("an answer");
    let again = String::from_utf8(again.bytes).expect("text");
    assert!(again.contains(r#"koban_http_requests_total{method="GET",route="/metrics",status="200"} 1"#), "{again}");
    assert!(again.contains(r#"route="none",status="404"} 1"#), "unknown paths share one label: {again}");
    let _ = stop.send(());
    serving.await.expect("the admin side ends");
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let rates = Rates { address: Rate::per_minute(60, 3), ..Rates::UNREACHED };
    let app = host(WebConfig { rates, ..WebConfig::default() }).await;
    let anybody = app.anonymous();
    for left in [2, 1, 0] {
        let reply = anybody.send(Method::GET, "/v1/wallet", &[], None).await.expect("an answer");
        assert_eq!(reply.header("ratelimit"), Some(format!("\"address\";r={left}").as_str()));
        assert_eq!(reply.header("ratelimit-policy"), Some("\"address\";q=60;w=60;burst=3"));
    }
    let reply = refused(&anybody, "/v1/wallet", 429, "too_many_requests").await;
    assert_eq!((reply.header("retry-after"), reply.header("ratelimit")), (Some("1"), Some("\"address\";r=0")));
    assert_eq!(reply.body["retryable"], true);
    assert!(is_ok(&anybody, "/livez").await, "health is never limited");
}

#[tokio::test]
async fn passwords_are_tried_slowly_whoever_tries() {
    let rates = Rates { sign_in_email: Rate::per_minute(1, 2), ..Rates::UNREACHED };
    let app = host(WebConfig { rates, ..WebConfig::default() }).await;
    let attempt = async |path: &str, email: &str| {
        let body = json!({ "email": email, "password": "not this one at all" });
        app.anonymous().post(path, body).await.expect("an answer")
    };
    for path in ["/v1/sessions", "/v1/operators/sessions"] {
        let email = format!("{}@example.com", path.len());
        for _ in 0..2 {
            assert_eq!(attempt(path, &email).await.code(), "wrong_credentials");
        }
        let reply = attempt(path, &email.to_uppercase()).await;
        assert_eq!((reply.status, reply.code()), (429, "too_many_requests"));
        assert!(reply.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|s| s > 0)));
        assert_eq!(attempt(path, "somebody-else@example.com").await.code(), "wrong_credentials");
    }
}

#[tokio::test]
async fn one_identity_does_not_use_up_the_host() {
    let rates = Rates { identity: Rate::per_minute(1, 2), ..Rates::UNREACHED };
    let app = host(WebConfig { rates, ..WebConfig::default() }).await;
    let (busy, calm) = (app.user().await, app.user().await);
    for _ in 0..2 {
        busy.wallet().await;
    }
    let reply = busy.get("/v1/wallet").await.problem(429, "too_many_requests");
    assert_eq!(reply.header("ratelimit"), Some("\"identity\";r=0"));
    calm.wallet().await;
}

#[tokio::test]
async fn a_trusted_proxy_says_who_asks_and_nobody_else_does() {
    let rates = Rates { address: Rate::per_minute(1, 1), ..Rates::UNREACHED };
    let config = WebConfig { rates, ..WebConfig::default() };
    let asked = async |app: &TestApp, told: &str| {
        let headers = [("x-forwarded-for", told)];
        app.anonymous().send(Method::GET, "/v1/wallet", &headers, None).await.expect("an answer").status
    };
    let believing =
        host(WebConfig { trusted_proxies: vec!["127.0.0.1".parse().expect("an address")], ..config.clone() }).await;
    assert_eq!(asked(&believing, "192.0.2.1").await, 401);
    assert_eq!(asked(&believing, "192.0.2.2").await, 401);
    assert_eq!(asked(&believing, "198.51.100.7, 192.0.2.2").await, 429, "what the proxy wrote itself stands last");
    let doubting = host(config).await;
    assert_eq!(asked(&doubting, "192.0.2.1").await, 401);
    assert_eq!(asked(&doubting, "192.0.2.2").await, 429, "anybody can write the header");
}

#[tokio::test]
async fn a_client_that_dawdles_is_let_go() {
    let config = WebConfig {
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        ..unhurried()
    };
    let app = host(config).await;
    let answer = raw(&app, b"GET /livez HTTP/1.1\r\nHost: koban\r\nX-Slow: ").await;
    assert!(!answer.contains(" 200 "), "{answer}");
    let body = b"POST /v1/users HTTP/1.1\r\nHost: koban\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"email\":";
    let answer = raw(&app, body).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
    assert!(is_ok(&app.anonymous(), "/livez").await);
}

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_not_read_at_all() {
    let app = host(unhurried()).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: koban\r\n\r\n";
    for (what, head) in [
        ("two lengths", "Content-Length: 2\r\nContent-Length: 40"),
        ("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("an odd coding", "Transfer-Encoding: xchunked"),
        ("a space before the colon", "Content-Length : 40"),
        ("a signed length", "Content-Length: +40"),
        ("a bare line feed in a name", "X\n-Y: 1"),
    ] {
        let text = format!(
            "POST /v1/users HTTP/1.1\r\nHost: koban\r\nContent-Type: application/json\r\n{head}\r\n\r\n{{}}{smuggled}"
        );
        let answer = raw(&app, text.as_bytes()).await;
        assert!(!answer.contains("/smuggled"), "{what}: {answer}");
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{what}: {answers} answers to one request: {answer}");
    }
    // With both, the coding counts, the length is ignored, and the connection is not used again.
    let both = format!(
        "POST /v1/users HTTP/1.1\r\nHost: koban\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{smuggled}"
    );
    let answer = raw(&app, both.as_bytes()).await;
    assert!(answer.matches("HTTP/1.1 ").count() <= 2 && !answer.starts_with("HTTP/1.1 5"), "{answer}");
    let many: String = (0..100).map(|number| format!("X-{number}: 1\r\n")).collect();
    let answer = raw(&app, format!("GET /livez HTTP/1.1\r\nHost: koban\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let long = "x".repeat(64 * 1024);
    let answer = raw(&app, format!("GET /livez HTTP/1.1\r\nHost: koban\r\nX-Long: {long}\r\n\r\n").as_bytes()).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    assert!(is_ok(&app.anonymous(), "/livez").await);
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_off() {
    let app = host(unhurried()).await;
    let mut stream = TcpStream::connect(app.address()).await.expect("a connection");
    let head = "POST /v1/users HTTP/1.1\r\nHost: koban\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("a head");
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let mut sent = 0;
    while sent < 512 && stream.write_all(&chunk).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 512, "32 MiB were taken");
    assert!(is_ok(&app.anonymous(), "/livez").await);
}

#[tokio::test]
async fn a_host_with_no_place_left_says_so_at_once() {
    let app = host(WebConfig { requests_max: 0, ..unhurried() }).await;
    let reply = refused(&app.anonymous(), "/v1/wallet", 503, "busy").await;
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(is_ok(&app.anonymous(), "/readyz").await, "health has a place of its own");
}

#[tokio::test]
async fn more_connections_than_places_wait_and_are_served() {
    let app = host(WebConfig { connections_max: 2, header_timeout: Duration::from_millis(500), ..unhurried() }).await;
    let idle = [TcpStream::connect(app.address()).await, TcpStream::connect(app.address()).await];
    let waiting = app.anonymous();
    let answer =
        timeout(Duration::from_secs(10), waiting.get("/livez")).await.expect("served once the idle ones are let go");
    assert_eq!(answer.expect("an answer").status, 200);
    drop(idle);
}

#[tokio::test]
async fn one_address_does_not_take_every_place() {
    use std::net::{IpAddr, Ipv4Addr};
    let app = host(WebConfig { connections_per_address: 2, ..unhurried() }).await;
    let mut idle = vec![TcpStream::connect(app.address()).await, TcpStream::connect(app.address()).await];
    let mut third = TcpStream::connect(app.address()).await.expect("a connection");
    let mut nothing = [0; 1];
    let closed = timeout(Duration::from_secs(10), third.read(&mut nothing)).await.expect("closed at once");
    assert!(matches!(closed, Ok(0) | Err(_)), "one more than its share is closed");
    idle.pop();
    let again = app.anonymous();
    let served = async || again.get("/livez").await.is_ok_and(|reply| reply.status == 200);
    eventually("a connection that is closed makes room for another", served, |served| *served).await;

    let proxy = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let config = WebConfig { connections_per_address: 0, trusted_proxies: vec![proxy], ..unhurried() };
    let app = host(config).await;
    assert!(is_ok(&app.anonymous(), "/livez").await, "a proxy that is named stands for many");
}

#[tokio::test]
async fn a_host_that_stops_finishes_what_was_begun_and_takes_nothing_new() {
    let app = host(unhurried()).await;
    let web = Web::new(app.app.clone(), WebConfig { notice: Duration::from_millis(300), ..unhurried() });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(koban_web::serve(listener, web, async {
        let _ = stopped.await;
    }));
    // A request whose body is still on its way when the host is told to stop.
    let body = json!({ "email": "hana@example.com", "password": "correct horse battery", "name": "Hana" }).to_string();
    let mut begun = TcpStream::connect(&address).await.expect("a connection");
    let head = format!(
        "POST /v1/users HTTP/1.1\r\nHost: koban\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    begun.write_all(head.as_bytes()).await.expect("a head");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let watcher = Client::new(address.clone());
    assert_eq!(watcher.get("/readyz").await.expect("an answer").status, 200);

    stop.send(()).expect("the host listens");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let not_ready = watcher.get("/readyz").await.expect("still served");
    assert_eq!((not_ready.status, not_ready.code()), (503, "not_ready"));
    assert_eq!(watcher.get("/livez").await.expect("still served").status, 200);

    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(TcpStream::connect(&address).await.is_err(), "no new connection is taken");
    begun.write_all(body.as_bytes()).await.expect("the rest");
    let mut answer = String::new();
    timeout(Duration::from_secs(10), begun.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "the client is told that it was the last: {answer}");
    assert_eq!(serving.await.expect("it ends").cut_off, 0);
}

#[tokio::test]
async fn a_host_that_stops_waits_for_nobody_for_ever() {
    let app = host(unhurried()).await;
    let config = WebConfig { notice: Duration::ZERO, drain: Duration::from_millis(300), ..unhurried() };
    let web = Web::new(app.app.clone(), config);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(koban_web::serve(listener, web, async {
        let _ = stopped.await;
    }));
    let mut begun = TcpStream::connect(&address).await.expect("a connection");
    let head =
        "POST /v1/users HTTP/1.1\r\nHost: koban\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n";
    begun.write_all(head.as_bytes()).await.expect("a head");
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.send(()).expect("the host listens");
    let drained = timeout(Duration::from_secs(5), serving).await.expect("in time").expect("it ends");
    assert_eq!(drained.cut_off, 1);
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(5), begun.read_to_end(&mut rest)).await.expect("the connection is closed");
}

#[tokio::test]
async fn a_store_that_is_gone_makes_the_host_not_ready_and_loses_no_answer() {
    let app = host(unhurried()).await;
    let user = app.user().await;
    app.app.store.close().await;
    refused(&app.anonymous(), "/readyz", 503, "not_ready").await;
    assert!(is_ok(&app.anonymous(), "/livez").await, "restarting would not help");
    let reply = user.get("/v1/wallet").await.problem(503, "books_unreachable");
    assert!(reply.header("retry-after").is_some());
    let text = reply.body.to_string().to_lowercase();
    for inside in ["sqlite", "postgres", "pool", "select ", ".rs"] {
        assert!(!text.contains(inside), "the inside shows: {text}");
    }
}
