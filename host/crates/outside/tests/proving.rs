//! Every credential over the wire, and what stands around it: authorities, limits, names that change, redirects, tokens, tests of endpoints.

#[expect(dead_code, reason = "each test program uses its own part of it")]
mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koban_domain::manifest::{ClientShown, Method};
use koban_domain::time::Timestamp;
use koban_outside::address::AddressRefused;
use koban_outside::{
    Asked, Authorities, Base, Bounds, ClientCertificate, Credential, Endpoint, Grant, Hidden, How, Limits, NoToken,
    NotSent, Outside, Refused, Request, Resolver, Sent, Settings, TokenServer, Unknown,
};
use support::{ANSWER, Does, NOW, Partner, answer, not_sent, raw, refused, request, unknown, with};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

const TOKEN: &str = "tok_5d41402abc4b2a76b9719d911017c592";

fn outside() -> Outside {
    Outside::new(Settings::default()).expect("an outside")
}

fn base(partner: &Partner) -> String {
    format!("http://{}", partner.address)
}

fn json(body: &str) -> Vec<u8> {
    raw("200 OK", &[("content-type", "application/json")], body.as_bytes())
}

// ---- what is shown ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn each_plain_credential_is_one_header_and_the_certificate_vouches_for_the_answer() {
    let headers =
        vec![("x-api-key".to_owned(), Hidden::new("key-key-key")), ("x-shop".to_owned(), Hidden::new("shop-0001"))];
    for (credential, expected) in [
        (Credential::None, vec![]),
        (Credential::Bearer(Hidden::new(TOKEN)), vec![("authorization", format!("Bearer {TOKEN}"))]),
        (
            Credential::Basic { user: "koban".to_owned(), password: Hidden::new("open sesame") },
            vec![("authorization", "Basic a29iYW46b3BlbiBzZXNhbWU=".to_owned())],
        ),
        (
            Credential::Headers(headers),
            vec![("x-api-key", "key-key-key".to_owned()), ("x-shop", "shop-0001".to_owned())],
        ),
    ] {
        let partner = Partner::that_says(json("{}")).await;
        let sent = outside().send(&with(&base(&partner), credential), &request(), NOW).await;
        assert_eq!(answer(sent).status, 200);
        let [received] = partner.received().try_into().expect("one request");
        for name in ["authorization", "x-api-key", "x-shop", "webhook-signature"] {
            let expected = expected.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
            assert_eq!(received.header(name), expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_servers_failure_without_a_signature_leaves_it_unknown_whatever_the_credential() {
    let partner = Partner::that_says(raw("503 Later", &[], b"")).await;
    let sent = outside().send(&with(&base(&partner), Credential::Bearer(Hidden::new(TOKEN))), &request(), NOW).await;
    assert_eq!(unknown(sent), Unknown::ServerError { status: 503 });
}

#[tokio::test]
async fn secrets_are_filled_in_on_the_way_out_and_struck_out_on_the_way_back() {
    let echo = format!(r#"{{"you":"{TOKEN}","pin":"p\"in-12345","base64":"{}"}}"#, "cFwiaW4tMTIzNDU=");
    let header = format!("next; {TOKEN}");
    let partner = Partner::that_says(raw("200 OK", &[("x-echo", &header)], echo.as_bytes())).await;
    let secrets = vec![("pin".to_owned(), Hidden::new("p\"in-12345"))];
    let endpoint = Endpoint { secrets, ..with(&base(&partner), Credential::Bearer(Hidden::new(TOKEN))) };
    let asks = Request { body: br#"{"pin":"{{secret:pin}}"}"#.to_vec(), ..request() };
    let answer = answer(outside().send(&endpoint, &asks, NOW).await);
    assert_eq!(partner.received()[0].body, br#"{"pin":"p\"in-12345"}"#);
    let body = String::from_utf8(answer.body).expect("text");
    assert_eq!(&body[..35], r#"{"you":"[secret]","pin":"[secret]","#);
    assert!(answer.headers.contains(&("x-echo".to_owned(), "next; [secret]".to_owned())), "{:?}", answer.headers);

    let unknown_name = Request { body: br#"{"pin":"{{secret:other}}"}"#.to_vec(), ..request() };
    let why = refused(outside().send(&endpoint, &unknown_name, NOW).await).to_string();
    assert!(why.contains("`other`"), "{why}");
    assert_eq!(partner.connections(), 1, "nothing left");
}

// ---- whom we believe ----------------------------------------------------------------------------------------------

const AUTHORITY: &str = include_str!("fixtures/bank.authority.pem");
const CLIENT: &str = include_str!("fixtures/koban.example.pem");
const CLIENT_KEY: &str = include_str!("fixtures/koban.example.key.pem");

async fn bank(asks_for_ours: bool) -> Partner {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain =
        vec![CertificateDer::from_pem_slice(include_bytes!("fixtures/bank.example.pem")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/bank.example.key.pem")).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.expect("versions");
    let builder = if asks_for_ours {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).expect("an authority")).expect("a root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(chain, key).expect("they belong together");
    let script = vec![Does::Reads, Does::Says(raw("200 OK", &[], ANSWER))];
    Partner::start(script, Some(TlsAcceptor::from(Arc::new(config)))).await
}

fn local() -> Outside {
    let table = [("bank.example".to_owned(), vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])].into();
    Outside::new(Settings { resolver: Resolver::Table(table), ..Settings::default() }).expect("an outside")
}

fn at_bank(partner: &Partner, credential: Credential, own: bool) -> Endpoint {
    let authorities = own.then(|| Authorities::parse(AUTHORITY).expect("an authority"));
    Endpoint { authorities, ..with(&format!("https://bank.example:{}", partner.address.port()), credential) }
}

#[tokio::test]
async fn a_bank_is_believed_by_its_own_authority_where_the_operator_gave_it_and_nowhere_else() {
    let bank = bank(false).await;
    let outside = local();
    assert_eq!(answer(outside.send(&at_bank(&bank, Credential::None, true), &request(), NOW).await).body, ANSWER);
    let sent = outside.send(&at_bank(&bank, Credential::None, false), &request(), NOW).await;
    assert!(matches!(not_sent(sent), NotSent::Tls(_)));
    assert_eq!(bank.received().len(), 1);
}

#[tokio::test]
async fn our_certificate_is_shown_to_whom_it_is_meant_for() {
    let bank = bank(true).await;
    let ours = ClientCertificate::parse(CLIENT, CLIENT_KEY).expect("a certificate");
    let sent = local().send(&at_bank(&bank, Credential::Certificate(ours), true), &request(), NOW).await;
    assert_eq!(answer(sent).body, ANSWER);
    let without = local().send(&at_bank(&bank, Credential::None, true), &request(), NOW).await;
    assert!(!matches!(without, Sent::Answer(_)), "{without:?}");
    assert_eq!(bank.received().len(), 1, "nobody without a certificate was heard");
}

#[test]
fn what_is_no_certificate_is_refused_without_being_repeated() {
    assert!(ClientCertificate::parse("hunter2", CLIENT_KEY).is_err());
    for (chain, key) in
        [(CLIENT, "hunter2"), (CLIENT, AUTHORITY), (CLIENT, include_str!("fixtures/bank.example.key.pem"))]
    {
        let error = ClientCertificate::parse(chain, key).expect_err("refused").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(Authorities::parse("").is_err());
}

// ---- addresses ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_name_that_changes_between_two_connections_is_judged_each_time() {
    let partner = Partner::that_says(json("{}")).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Public when it is looked at first, this machine when it is connected to: what rebinding does.
    let rebinding = Asked(Arc::new(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => vec![IpAddr::from([203, 0, 114, 9])],
        _ => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
    }));
    let bounds = Bounds { connect: Duration::from_millis(200), ..Bounds::default() };
    let settings = Settings { resolver: Resolver::Asked(rebinding), bounds, ..Settings::default() };
    let outside = Outside::new(settings).expect("an outside");
    let endpoint = Endpoint {
        allow_private: false,
        ..with(&format!("https://partner.example:{}", partner.address.port()), Credential::None)
    };
    let first = outside.send(&endpoint, &request(), NOW).await;
    assert!(matches!(first, Sent::NotSent(_)), "the public address was tried and is not there: {first:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "asked once for a connection: what was judged is what is connected to");
    let second = refused(outside.send(&endpoint, &request(), NOW).await);
    assert!(matches!(second, Refused::Address(AddressRefused::Private { .. })), "{second:?}");
    assert_eq!(partner.connections(), 0, "this machine was never reached");
}

#[tokio::test]
async fn no_redirect_is_followed_wherever_it_leads() {
    let inside = Partner::that_says(json("{}")).await;
    for target in [format!("http://{}/", inside.address), "/elsewhere".to_owned(), "http://169.254.169.254/".to_owned()]
    {
        for status in ["301 Moved", "302 Found", "303 Other", "307 Again", "308 Always"] {
            let partner = Partner::that_says(raw(status, &[("location", &target)], b"")).await;
            let sent =
                outside().send(&with(&base(&partner), Credential::Bearer(Hidden::new(TOKEN))), &request(), NOW).await;
            assert_eq!(answer(sent).status.to_string(), &status[..3]);
            assert_eq!(partner.connections(), 1);
        }
    }
    assert_eq!(inside.connections(), 0, "and the token went nowhere else");
}

// ---- limits -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_endpoints_own_limits_hold_before_and_during_an_exchange() {
    let slow = Partner::that(vec![Does::Reads, Does::Waits(400), Does::Says(json("{}"))]).await;
    let outside = Arc::new(outside());
    let limits = Limits { concurrent: 1, ..Limits::default() };
    let endpoint = Endpoint { limits, ..with(&base(&slow), Credential::None) };
    let first = {
        let (outside, endpoint) = (Arc::clone(&outside), endpoint.clone());
        tokio::spawn(async move { outside.send(&endpoint, &request(), NOW).await })
    };
    while slow.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(not_sent(outside.send(&endpoint, &request(), NOW).await), NotSent::Full { .. }));
    answer(first.await.expect("sent"));
    answer(outside.send(&endpoint, &request(), NOW).await);

    let hasty =
        Endpoint { limits: Limits { total: Duration::from_millis(100), ..Limits::default() }, ..endpoint.clone() };
    assert_eq!(unknown(outside.send(&hasty, &request(), NOW).await), Unknown::Timeout);
    let partner = Partner::that_says(json("0123456789")).await;
    let small = |answer_bytes| Endpoint {
        limits: Limits { answer_bytes, ..Limits::default() },
        ..with(&base(&partner), Credential::None)
    };
    answer(outside.send(&small(10), &request(), NOW).await);
    assert_eq!(unknown(outside.send(&small(9), &request(), NOW).await), Unknown::AnswerTooLong { limit: 9 });

    let rare = Endpoint {
        name: "rare".to_owned(),
        limits: Limits { per_minute: 6, ..Limits::default() },
        ..with(&base(&partner), Credential::None)
    };
    answer(outside.send(&rare, &request(), NOW).await);
    let NotSent::TooOften { retry_at } = not_sent(outside.send(&rare, &request(), NOW).await) else {
        panic!("not held back")
    };
    assert_eq!(retry_at, NOW.plus_ms(10_000));
    answer(outside.send(&rare, &request(), retry_at).await);
    let gates = outside.gates();
    let gate = gates.iter().find(|gate| gate.endpoint == "rare").expect("it was used");
    assert_eq!((gate.running, gate.admitted, gate.held_back, gate.breaker.word()), (0, 2, 1, "closed"));
}

// ---- tokens -------------------------------------------------------------------------------------------------------

/// Answers a list of answers, one for each connection, the last one for ever.
async fn scripted(answers: Vec<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = Arc::clone(&heard);
    tokio::spawn(async move {
        let mut place = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 8_192];
            let mut length = 0;
            loop {
                length += stream.read(&mut bytes[length..]).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= wanted.and_then(|length| length.parse().ok()).unwrap_or(0) {
                    hears.lock().expect("whole").push(text);
                    break;
                }
            }
            let _ = stream.write_all(&answers[place.min(answers.len() - 1)]).await;
            let _ = stream.shutdown().await;
            place += 1;
        }
    });
    (format!("http://{address}"), heard)
}

fn server(address: &str) -> TokenServer {
    TokenServer {
        address: Base::parse(&format!("{address}/oauth/token")).expect("an address"),
        client: "koban".to_owned(),
        secret: Hidden::new("client-secret-1"),
        shown: ClientShown::Basic,
        scopes: vec!["read".to_owned()],
        audience: None,
    }
}

fn token(access: &str, seconds: u32) -> Vec<u8> {
    json(&format!(r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":{seconds}}}"#))
}

#[tokio::test]
async fn a_token_is_asked_for_once_for_all_who_wait_and_again_when_it_ends() {
    let (at, asked) = scripted(vec![token("token-number-one", 3_600), token("token-number-two", 3_600)]).await;
    let partner = Partner::that_says(json("{}")).await;
    let outside = Arc::new(outside());
    let endpoint = with(&base(&partner), Credential::OauthClient(server(&at)));
    let calls = (0..8).map(|_| {
        let (outside, endpoint) = (Arc::clone(&outside), endpoint.clone());
        tokio::spawn(async move { answer(outside.send(&endpoint, &request(), NOW).await) })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("answered");
    }
    assert_eq!(asked.lock().expect("whole").len(), 1, "asked for once");
    let text = asked.lock().expect("whole")[0].clone();
    assert!(text.starts_with("POST /oauth/token HTTP/1.1"), "{text}");
    assert!(text.contains("authorization: Basic a29iYW46Y2xpZW50LXNlY3JldC0x"), "{text}");
    assert!(text.ends_with("grant_type=client_credentials&scope=read"), "{text}");
    assert!(partner.received().iter().all(|one| one.header("authorization") == Some("Bearer token-number-one")));
    answer(outside.send(&endpoint, &request(), NOW.plus_ms(3_580_000)).await);
    assert_eq!(asked.lock().expect("whole").len(), 2, "before it ends another one is asked for");
    assert_eq!(partner.received().last().expect("sent").header("authorization"), Some("Bearer token-number-two"));
}

#[tokio::test]
async fn a_token_that_the_partner_does_not_take_is_replaced_once() {
    let (at, asked) = scripted(vec![token("token-number-one", 3_600), token("token-number-two", 3_600)]).await;
    let (partner, heard) = scripted(vec![raw("401 No", &[], b""), json(r#"{"echo":"token-number-two"}"#)]).await;
    let outside = outside();
    let endpoint = with(&partner, Credential::OauthClient(server(&at)));
    let said = answer(outside.send(&endpoint, &request(), NOW).await);
    assert_eq!((said.status, said.body.as_slice()), (200, &br#"{"echo":"[secret]"}"#[..]));
    assert_eq!((asked.lock().expect("whole").len(), heard.lock().expect("whole").len()), (2, 2));

    let (stubborn, heard) = scripted(vec![raw("401 No", &[], b"")]).await;
    let said = answer(outside.send(&with(&stubborn, Credential::OauthClient(server(&at))), &request(), NOW).await);
    assert_eq!((said.status, heard.lock().expect("whole").len()), (401, 2), "once, and then it is the answer");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let refusal = raw("401 No", &[("content-type", "application/json")], br#"{"error":"invalid_client"}"#);
    let (at, _) = scripted(vec![refusal]).await;
    let partner = Partner::that_says(json("{}")).await;
    let sent = outside().send(&with(&base(&partner), Credential::OauthClient(server(&at))), &request(), NOW).await;
    assert_eq!(not_sent(sent), NotSent::Token(NoToken::Refused("invalid_client".to_owned())));
    assert_eq!(partner.connections(), 0);
    let closed = Endpoint { allow_private: false, ..with("https://partner.example", Credential::None) };
    let why = outside().token(&closed, &server("https://127.0.0.1"), &Grant::Client, NOW).await.expect_err("refused");
    assert!(matches!(why, NoToken::NotAsked(_)), "a token server's address is judged as any other: {why:?}");
}

// ---- tests of endpoints -------------------------------------------------------------------------------------------

fn get() -> Request {
    Request { method: Method::Get, path: "/status".to_owned(), query: Vec::new(), body: Vec::new(), ..request() }
}

fn told(findings: &[koban_outside::Finding]) -> Vec<(&'static str, &'static str)> {
    findings.iter().map(|finding| (finding.step, finding.how.word())).collect()
}

#[tokio::test]
async fn a_test_says_step_by_step_how_far_it_came() {
    let bank = bank(false).await;
    let outside = local();
    let good = outside.probe(&at_bank(&bank, Credential::Bearer(Hidden::new(TOKEN)), true), Some(&get()), NOW).await;
    let steps = ["address", "policy", "connection", "certificate", "credential", "answer"];
    assert_eq!(told(&good), steps.map(|step| (step, "good")));
    assert!(good[0].words.contains("127.0.0.1") && good[3].words.contains("own authorities"), "{good:?}");
    assert_eq!(bank.received()[0].line, "GET /status HTTP/1.1");

    let unbelieved = outside.probe(&at_bank(&bank, Credential::None, false), Some(&get()), NOW).await;
    assert_eq!(told(&unbelieved)[3..], [("certificate", "bad"), ("credential", "skipped"), ("answer", "skipped")]);
    let private = Endpoint { allow_private: false, ..at_bank(&bank, Credential::None, true) };
    let private = outside.probe(&private, None, NOW).await;
    assert_eq!(told(&private)[..3], [("address", "good"), ("policy", "bad"), ("connection", "skipped")]);
    let nowhere = outside.probe(&with("https://nobody.example", Credential::None), None, NOW).await;
    assert_eq!(told(&nowhere)[..2], [("address", "bad"), ("policy", "skipped")]);
}

#[tokio::test]
async fn a_test_asks_nothing_that_was_not_marked_and_tells_a_refused_credential() {
    let partner = Partner::that_says(raw("403 No", &[], b"")).await;
    let endpoint = with(&base(&partner), Credential::Bearer(Hidden::new(TOKEN)));
    let silent = outside().probe(&endpoint, None, NOW).await;
    assert_eq!(silent[5].how, How::Skipped);
    assert_eq!(partner.received().len(), 0, "a connection and not a byte");
    let refused = outside().probe(&endpoint, Some(&get()), NOW).await;
    assert_eq!(refused[5].how, How::Bad);
    assert!(refused[5].words.contains("does not take the credential"), "{refused:?}");
    let failing: Vec<_> = outside().probe(&with("http://127.0.0.1:1", Credential::None), None, Timestamp(0)).await;
    assert_eq!(failing[2].how, How::Bad);
}
