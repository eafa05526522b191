//! Sending to partners that behave in every way a partner may: what is said of it, and what really went over the wire.
//!
//! The partner is a few lines over a socket, so that every byte of an answer is the test's own.

mod support;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use koban_domain::time::Timestamp;
use koban_outside::address::AddressRefused;
use koban_outside::breaker::BreakerRule;
use koban_outside::{
    Bounds, Endpoint, Limits, NotSent, Outside, Refused, Request, Resolver, Sent, Settings, SignatureError, Unknown,
    verify,
};
use support::{
    ANSWER, ASKED, Does, NOW, OTHER_SECRET, Partner, SECRET, answer, bad_signature, endpoint, not_sent, raw, refused,
    request, ring, signed, signed_by, unknown,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

fn outside() -> Outside {
    Outside::new(Settings::default()).expect("an outside")
}

fn outside_bounded(bounds: Bounds) -> Outside {
    Outside::new(Settings { bounds, ..Settings::default() }).expect("an outside")
}

async fn send_to(partner: &Partner) -> Sent {
    outside().send(&partner.endpoint(), &request(), NOW).await
}

// ---- what is sent, and what an answer is --------------------------------------------------------------------------

#[tokio::test]
async fn a_request_is_signed_and_carries_its_keys_and_nothing_else() {
    let partner = Partner::that_says(signed("200 OK", &[], ANSWER)).await;
    answer(send_to(&partner).await);
    let [received] = partner.received().try_into().expect("one request");
    assert_eq!(received.line, "POST /atm/approve?try=1%202 HTTP/1.1");
    assert_eq!(received.body, ASKED);
    let mut names: Vec<&str> = received.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept-encoding",
            "connection",
            "content-length",
            "content-type",
            "host",
            "idempotency-key",
            "user-agent",
            "webhook-id",
            "webhook-signature",
            "webhook-timestamp"
        ]
    );
    assert_eq!(received.header("host"), Some(partner.address.to_string().as_str()));
    assert_eq!(received.header("accept-encoding"), Some("identity"));
    assert_eq!(received.header("idempotency-key"), Some("effect-1"));
    let headers = received.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let verified = verify(headers, &received.body, &ring(SECRET), NOW).expect("signed");
    assert_eq!(verified.id, "msg_1");
    assert_eq!(verified.timestamp, Timestamp(1_777_000_000_000));
}

#[tokio::test]
async fn a_signed_answer_is_an_answer_whatever_its_status() {
    for (line, status) in [("200 OK", 200), ("302 Found", 302), ("422 No", 422), ("503 Later", 503)] {
        let more = [("Retry-After", "7"), ("set-cookie", "a=b"), ("location", "http://169.254.169.254/")];
        let partner = Partner::that_says(signed(line, &more, ANSWER)).await;
        let answer = answer(send_to(&partner).await);
        assert_eq!(answer.status, status);
        assert_eq!(answer.body, ANSWER);
        let expected = [("content-length", "15"), ("retry-after", "7"), ("location", "http://169.254.169.254/")];
        let expected: Vec<(String, String)> = expected.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        assert_eq!(answer.headers, expected);
        assert_eq!(partner.connections(), 1, "a redirect is not followed, a failure is not repeated");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_prove_whose_it_is_is_a_bad_signature() {
    let other_time = Timestamp(NOW.0 - 301_000);
    for (bytes, expected) in [
        (raw("200 OK", &[], ANSWER), SignatureError::Missing("webhook-id")),
        (raw("404 Not Found", &[], b""), SignatureError::Missing("webhook-id")),
        (raw("302 Found", &[("location", "http://127.0.0.1/")], b""), SignatureError::Missing("webhook-id")),
        (signed_by(OTHER_SECRET, "msg_1", "200 OK", &[], ANSWER, NOW), SignatureError::NoMatch),
        (signed_by(OTHER_SECRET, "msg_1", "500 Broken", &[], ANSWER, NOW), SignatureError::NoMatch),
        (signed_by(SECRET, "msg_2", "200 OK", &[], ANSWER, NOW), SignatureError::OtherMessage),
        (signed_by(SECRET, "msg_1", "200 OK", &[], ASKED, NOW), SignatureError::Echo),
        (signed_by(SECRET, "msg_1", "200 OK", &[], ANSWER, other_time), SignatureError::TooOld { seconds: 301 }),
    ] {
        let partner = Partner::that_says(bytes).await;
        assert_eq!(bad_signature(send_to(&partner).await), expected);
    }
}

#[tokio::test]
async fn an_unsigned_server_error_leaves_it_unknown() {
    for (line, status) in [("500 Internal Server Error", 500), ("502 Bad Gateway", 502), ("503 Later", 503)] {
        let partner = Partner::that_says(raw(line, &[], b"oops")).await;
        assert_eq!(unknown(send_to(&partner).await), Unknown::ServerError { status });
    }
}

// ---- not sent, or unknown -----------------------------------------------------------------------------------------

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let sent = outside().send(&endpoint(&format!("http://{address}")), &request(), NOW).await;
    assert!(matches!(not_sent(sent), NotSent::Connect { .. }));
}

#[tokio::test]
async fn a_name_without_an_address_means_nothing_was_sent() {
    let settings = Settings { resolver: Resolver::Table(HashMap::new()), ..Settings::default() };
    let outside = Outside::new(settings).expect("an outside");
    let sent = outside.send(&endpoint("http://nobody.example"), &request(), NOW).await;
    assert!(matches!(not_sent(sent), NotSent::Resolve { .. }));
}

#[tokio::test]
async fn without_tls_nothing_was_sent_although_bytes_of_the_handshake_left() {
    let partner = Partner::that(vec![Does::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())]).await;
    let base = format!("https://{}", partner.address);
    let sent = outside().send(&endpoint(&base), &request(), NOW).await;
    assert!(matches!(not_sent(sent), NotSent::Tls(_)));
    assert_eq!(partner.connections(), 1);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up_and_nothing_was_sent() {
    let partner = Partner::that(vec![Does::Waits(60_000)]).await;
    let outside = outside_bounded(Bounds { connect: Duration::from_millis(200), ..Bounds::default() });
    let sent = outside.send(&endpoint(&format!("https://{}", partner.address)), &request(), NOW).await;
    assert_eq!(not_sent(sent), NotSent::ConnectTimeout);
}

#[tokio::test]
async fn a_request_that_was_written_and_not_answered_is_unknown() {
    let dropped = Partner::that(vec![Does::Reads]).await;
    assert!(matches!(unknown(send_to(&dropped).await), Unknown::Broken(_)));
    let half_an_answer = signed("200 OK", &[], ANSWER);
    let cut = Partner::that_says(half_an_answer[..half_an_answer.len() - 1].to_vec()).await;
    assert!(matches!(unknown(send_to(&cut).await), Unknown::Broken(_)));
    let not_http = Partner::that_says(b"SSH-2.0-something\r\n".to_vec()).await;
    assert!(matches!(unknown(send_to(&not_http).await), Unknown::Broken(_)));
}

#[tokio::test]
async fn a_partner_that_is_silent_or_trickles_is_not_waited_for() {
    let silent = Partner::that(vec![Does::Reads, Does::Waits(60_000)]).await;
    let hasty = Request { timeout: Duration::from_millis(500), ..request() };
    assert_eq!(unknown(outside().send(&silent.endpoint(), &hasty, NOW).await), Unknown::Timeout);

    let mut script = vec![Does::Reads, Does::Says(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".to_vec())];
    script.extend([Does::Says(b"x".to_vec()), Does::Waits(20)].into_iter().cycle().take(20_000));
    let trickling = Partner::that(script).await;
    let outside = outside_bounded(Bounds { body: Duration::from_millis(200), ..Bounds::default() });
    assert_eq!(unknown(outside.send(&trickling.endpoint(), &request(), NOW).await), Unknown::Timeout);
}

#[tokio::test]
async fn answers_are_bounded_in_every_direction() {
    let limit = Limits::default().answer_bytes;
    let largest = vec![b'x'; limit];
    let partner = Partner::that_says(signed("200 OK", &[], &largest)).await;
    assert_eq!(answer(send_to(&partner).await).body.len(), limit);
    let partner = Partner::that_says(signed("200 OK", &[], &vec![b'x'; limit + 1])).await;
    assert_eq!(unknown(send_to(&partner).await), Unknown::AnswerTooLong { limit });

    let mut endless = vec![Does::Reads, Does::Says(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())];
    endless.extend(std::iter::repeat_n(Does::Says(vec![b'x'; 1 << 16]), 64));
    let partner = Partner::that(endless).await;
    assert_eq!(unknown(send_to(&partner).await), Unknown::AnswerTooLong { limit });

    let long = "x".repeat(64 << 10);
    let partner = Partner::that_says(signed("200 OK", &[("x-long", &long)], ANSWER)).await;
    assert!(matches!(unknown(send_to(&partner).await), Unknown::Broken(_)));
    let partner = Partner::that_says(signed("200 OK", &[("x-many", "1"); 100], ANSWER)).await;
    assert!(matches!(unknown(send_to(&partner).await), Unknown::Broken(_)));

    let partner = Partner::that_says(signed("200 OK", &[("content-encoding", "gzip")], ANSWER)).await;
    assert_eq!(unknown(send_to(&partner).await), Unknown::Encoded { encoding: "gzip".to_owned() });
    let partner =
        Partner::that_says(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_vec())
            .await;
    assert_eq!(unknown(send_to(&partner).await), Unknown::Status { status: 101 });
}

// ---- what is refused ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn private_addresses_are_refused_unless_the_operator_allowed_this_endpoint() {
    let partner = Partner::that_says(signed("200 OK", &[], ANSWER)).await;
    let without_word = Endpoint { allow_private: false, ..endpoint(&format!("https://{}", partner.address)) };
    let sent = outside().send(&without_word, &request(), NOW).await;
    assert!(matches!(refused(sent), Refused::Address(AddressRefused::Private { .. })));
    let clear = Endpoint { allow_private: false, ..partner.endpoint() };
    assert_eq!(refused(outside().send(&clear, &request(), NOW).await), Refused::ClearText);
    assert_eq!(partner.connections(), 0);
}

#[tokio::test]
async fn a_name_is_judged_by_every_address_that_it_has() {
    let public = IpAddr::from([93, 184, 216, 34]);
    let never = IpAddr::from([169, 254, 169, 254]);
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let table = HashMap::from([
        ("mixed.example".to_owned(), vec![public, loopback]),
        ("metadata.example".to_owned(), vec![never]),
        ("public.example".to_owned(), vec![public]),
    ]);
    let outside =
        Outside::new(Settings { resolver: Resolver::Table(table), ..Settings::default() }).expect("an outside");
    let closed = |base: &str| Endpoint { allow_private: false, ..endpoint(base) };
    let sent = outside.send(&closed("https://mixed.example"), &request(), NOW).await;
    assert!(matches!(refused(sent), Refused::Address(AddressRefused::Private { .. })));
    let sent = outside.send(&endpoint("https://metadata.example"), &request(), NOW).await;
    assert!(matches!(refused(sent), Refused::Address(AddressRefused::Never { .. })));
    let sent = outside.send(&endpoint("http://public.example"), &request(), NOW).await;
    assert_eq!(refused(sent), Refused::ClearText, "what is public is never spoken to in the clear");
}

#[tokio::test]
async fn a_request_that_is_not_well_formed_goes_nowhere() {
    let partner = Partner::that_says(signed("200 OK", &[], ANSWER)).await;
    for path in ["//other.example/", "/../x", "/x\r\nHost: y", "@other.example/"] {
        let request = Request { path: path.to_owned(), ..request() };
        assert!(
            matches!(refused(outside().send(&partner.endpoint(), &request, NOW).await), Refused::Request(_)),
            "{path}"
        );
    }
    assert_eq!(partner.connections(), 0);
}

// ---- breakers, TLS ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_left_alone_for_a_while() {
    let partner = Partner::that_says(raw("500 Broken", &[], b"")).await;
    let breaker = BreakerRule { failures_to_open: 3, open_ms: 60_000 };
    let outside = outside_bounded(Bounds { breaker, ..Bounds::default() });
    for _ in 0..3 {
        unknown(outside.send(&partner.endpoint(), &request(), NOW).await);
    }
    let NotSent::BreakerOpen { retry_at } = not_sent(outside.send(&partner.endpoint(), &request(), NOW).await) else {
        panic!("the breaker is closed");
    };
    assert_eq!(partner.connections(), 3);
    let other = Endpoint { name: "other/network".to_owned(), ..partner.endpoint() };
    unknown(outside.send(&other, &request(), NOW).await);
    unknown(outside.send(&partner.endpoint(), &request(), retry_at).await);
    assert_eq!(partner.connections(), 5, "another endpoint is not concerned, and at its time one trial goes through");
    not_sent(outside.send(&partner.endpoint(), &request(), retry_at).await);
}

#[tokio::test]
async fn tls_is_spoken_with_who_has_the_certificate_and_with_nobody_else() {
    let certificate = include_bytes!("fixtures/partner.example.certificate.der").to_vec();
    let key = include_bytes!("fixtures/partner.example.key.der").to_vec();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate.clone())],
            PrivateKeyDer::try_from(key).expect("the key of the fixture"),
        )
        .expect("a certificate");
    let script = vec![Does::Reads, Does::Says(signed("200 OK", &[], ANSWER))];
    let partner = Partner::start(script, Some(TlsAcceptor::from(Arc::new(config)))).await;

    let loopback = vec![partner.address.ip()];
    let names = ["partner.example", "impostor.example"].map(|name| (name.to_owned(), loopback.clone()));
    let outside = |extra_roots| {
        let resolver = Resolver::Table(HashMap::from(names.clone()));
        Outside::new(Settings { resolver, extra_roots, ..Settings::default() }).expect("an outside")
    };
    let trusting = outside(vec![certificate]);
    let at = |name: &str| endpoint(&format!("https://{name}:{}", partner.address.port()));
    assert_eq!(answer(trusting.send(&at("partner.example"), &request(), NOW).await).body, ANSWER);
    assert!(matches!(not_sent(trusting.send(&at("impostor.example"), &request(), NOW).await), NotSent::Tls(_)));
    let strict = outside(Vec::new());
    assert!(matches!(not_sent(strict.send(&at("partner.example"), &request(), NOW).await), NotSent::Tls(_)));
    assert_eq!(partner.received().len(), 1, "nobody else got a byte of a request");
    assert!(Outside::new(Settings { extra_roots: vec![b"rubbish".to_vec()], ..Settings::default() }).is_err());
}
