//! Calls for users who agreed to them: asked for with PKCE, kept sealed, refreshed once for all, ended in one clear state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koban_domain::guest::Standing;
use koban_domain::ids::UserId;
use koban_domain::manifest::{CredentialKind, Manifest, OauthSpec};
use koban_domain::records::Digest;
use koban_service::consents::{self, Brought, ConsentView};
use koban_service::endpoints::{self, EndpointInput, OauthAddresses};
use koban_service::operators::command_line;
use koban_service::{Actor, Ctx, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::house::House;

/// A partner with an OAuth server that gives a new refresh token with each use and takes the family away when an old one comes back.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Code and the digest that went along with it.
    challenge: String,
    generation: u32,
    seconds: u32,
    revoked: bool,
    silent: bool,
    asked: Vec<BTreeMap<String, String>>,
    /// Tokens with which the API was called.
    shown: Vec<String>,
    /// The API takes no token but this one, if set.
    only: Option<String>,
}

impl Server {
    async fn listen() -> (Server, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::default();
        server.state().seconds = 3_600;
        let own = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(stream));
            }
        });
        (server, base)
    }

    /// What the token endpoint was asked, so far.
    fn asked(&self) -> Vec<BTreeMap<String, String>> {
        self.state().asked.clone()
    }

    /// The tokens that the API was shown, so far.
    fn shown(&self) -> Vec<String> {
        self.state().shown.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            let mut part = [0; 4_096];
            let length = stream.read(&mut part).await.unwrap_or(0);
            if length == 0 {
                return;
            }
            bytes.extend_from_slice(&part[..length]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= wanted.and_then(|length| length.parse().ok()).unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        };
        let answer = if head.starts_with("POST /token ") { self.token(&body).await } else { self.api(&head) };
        let Some((status, body)) = answer else { return };
        let answer = format!(
            "HTTP/1.1 {status} so\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }

    async fn token(&self, body: &str) -> Option<(u16, String)> {
        let fields: BTreeMap<String, String> = body
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        // Long enough that calls at the same time really meet.
        tokio::time::sleep(Duration::from_millis(60)).await;
        let mut state = self.state();
        state.asked.push(fields.clone());
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let fits = match field("grant_type") {
            "authorization_code" => {
                let digest = Digest::of(field("code_verifier").as_bytes());
                base64url(&digest.0) == state.challenge && field("code") == "good-code"
            }
            "refresh_token" => field("refresh_token") == format!("refresh-token-{}", state.generation),
            _ => false,
        };
        if !fits || state.revoked {
            state.revoked = true;
            return Some((400, r#"{"error":"invalid_grant"}"#.to_owned()));
        }
        state.generation += 1;
        if state.silent {
            return None;
        }
        let (generation, seconds) = (state.generation, state.seconds);
        Some((
            200,
            format!(
                r#"{{"access_token":"access-token-{generation}","token_type":"Bearer","expires_in":{seconds},"refresh_token":"refresh-token-{generation}"}}"#
            ),
        ))
    }

    fn api(&self, head: &str) -> Option<(u16, String)> {
        let mut state = self.state();
        let token = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or_default();
        state.shown.push(token.to_owned());
        match &state.only {
            Some(only) if only != token => Some((401, "{}".to_owned())),
            _ => Some((200, r#"{"result":"ok"}"#.to_owned())),
        }
    }
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut number = 0_u32;
        for place in 0..3 {
            number = number << 8 | u32::from(group.get(place).copied().unwrap_or(0));
        }
        for place in 0..=group.len() {
            text.push(char::from(DIGITS[(number >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

fn for_users(manifest: &mut Manifest) {
    let network = &mut manifest.endpoints[0];
    network.credential = CredentialKind::OauthUser;
    network.oauth = Some(OauthSpec { scopes: vec!["charge".to_owned(), "read".to_owned()], ..OauthSpec::default() });
    network.inbound.clear();
}

async fn house() -> (House, Server) {
    let house = House::with_changed_atm_set(for_users, false).await;
    let (server, base) = Server::listen().await;
    let input = EndpointInput {
        name: "network".to_owned(),
        base: base.clone(),
        allow_private: true,
        credential: [
            ("client_id".to_owned(), "koban".to_owned()),
            ("client_secret".to_owned(), "client-secret".to_owned()),
        ]
        .into(),
        oauth: OauthAddresses {
            token: Some(format!("{base}/token")),
            authorize: Some(format!("{base}/agree")),
            redirect: Some("https://wallet.example.com/back".to_owned()),
            revoke: None,
        },
        ..EndpointInput::default()
    };
    endpoints::set(&house.app, &command_line("endpoint"), "charge-atm", input).await.unwrap();
    (house, server)
}

/// Waits until the partner was called so often.
async fn called(house: &House, server: &Server, times: usize) {
    house.until_true(format!("the partner was called {times} times"), async || server.shown().len() >= times).await;
}

/// What stands in the address of a partner's page.
fn queried(url: &str, name: &str) -> String {
    let query = url.split_once('?').unwrap().1;
    let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
    pair.map(|(_, value)| value.to_owned()).unwrap_or_default()
}

async fn agrees(house: &House, server: &Server) -> ConsentView {
    let asked = consents::ask(&house.app, &house.ctx(""), "charge-atm", "network").await.unwrap();
    server.state().challenge = queried(&asked.url, "code_challenge");
    let brought = Brought::new(queried(&asked.url, "state"), "good-code".to_owned(), None);
    consents::finish(&house.app, &house.ctx(""), brought).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_agrees_at_the_partners_page_and_is_called_for_with_a_token_of_that() {
    let (house, server) = house().await;
    let asked = consents::ask(&house.app, &house.ctx(""), "charge-atm", "network").await.unwrap();
    assert_eq!(queried(&asked.url, "code_challenge_method"), "S256");
    assert_eq!(queried(&asked.url, "scope"), "charge%20read");
    assert_eq!(queried(&asked.url, "redirect_uri"), "https%3A%2F%2Fwallet.example.com%2Fback");
    server.state().challenge = queried(&asked.url, "code_challenge");
    let state = queried(&asked.url, "state");
    let brought =
        |code: &str, issuer: Option<&str>| Brought::new(state.clone(), code.to_owned(), issuer.map(str::to_owned));
    let stranger = Ctx::new(Actor::User(UserId(house.clock.id())), "");
    let stolen = consents::finish(&house.app, &stranger, brought("good-code", None)).await;
    assert!(matches!(stolen, Err(Error::NotFound(_))), "another user brings nothing back: {stolen:?}");
    let given = consents::finish(&house.app, &house.ctx(""), brought("good-code", None)).await.unwrap();
    assert!(given.holds);
    let again = consents::finish(&house.app, &house.ctx(""), brought("good-code", None)).await;
    assert!(matches!(again, Err(Error::NotFound(_))), "what comes back is good once");
    house.begun(30_000, "s-1").await;
    called(&house, &server, 1).await;
    assert_eq!(server.shown(), ["access-token-1"]);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_servers_answer_and_a_late_one_are_not_taken() {
    let (house, server) = house().await;
    let asked = consents::ask(&house.app, &house.ctx(""), "charge-atm", "network").await.unwrap();
    let mixed =
        Brought::new(queried(&asked.url, "state"), "good-code".to_owned(), Some("https://evil.example".to_owned()));
    let mixed = consents::finish(&house.app, &house.ctx(""), mixed).await;
    assert!(matches!(mixed, Err(Error::Invalid { field, .. }) if field == "issuer"));
    let asked = consents::ask(&house.app, &house.ctx(""), "charge-atm", "network").await.unwrap();
    house.clock.advance_ms(600_000);
    let late = Brought::new(queried(&asked.url, "state"), "good-code".to_owned(), None);
    assert!(matches!(consents::finish(&house.app, &house.ctx(""), late).await, Err(Error::NotFound(_))));
    for _ in 0..5 {
        consents::ask(&house.app, &house.ctx(""), "charge-atm", "network").await.unwrap();
    }
    let sixth = consents::ask(&house.app, &house.ctx(""), "charge-atm", "network").await;
    assert!(matches!(sixth, Err(Error::Conflict(_))), "visits are bounded: {sixth:?}");
    assert!(server.asked().is_empty(), "nobody was asked for a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_refresh_once_and_what_was_rotated_is_kept() {
    let (house, server) = house().await;
    server.state().seconds = 60;
    agrees(&house, &server).await;
    house.clock.advance_ms(45_000);
    for session in ["s-1", "s-2", "s-3", "s-4"] {
        house.begun(1_000, session).await;
    }
    called(&house, &server, 4).await;
    assert_eq!(server.asked().len(), 2, "the code, and one refresh for all");
    assert!(server.shown().iter().all(|token| token == "access-token-2"), "{:?}", server.shown());
    house.clock.advance_ms(45_000);
    house.begun(1_000, "s-5").await;
    called(&house, &server, 5).await;
    assert_eq!(server.shown().last().unwrap(), "access-token-3", "the rotated refresh token was used");
    assert!(!server.state().revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_refresh_once() {
    let (mut house, server) = house().await;
    server.state().seconds = 60;
    agrees(&house, &server).await;
    house.stop_jobs().await;
    house.clock.advance_ms(45_000);
    for session in ["s-1", "s-2", "s-3", "s-4"] {
        house.begun(1_000, session).await;
    }
    let another = house.another_host().await;
    let (first, second) = (koban_service::jobs::start(&house.app), koban_service::jobs::start(&another));
    called(&house, &server, 4).await;
    assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
    assert!(!server.state().revoked);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_refresh_ends_the_consent_and_the_flow_is_told_at_once() {
    let (house, server) = house().await;
    server.state().seconds = 60;
    agrees(&house, &server).await;
    server.state().revoked = true;
    house.clock.advance_ms(45_000);
    let charge = house.begun(1_000, "s-1").await;
    house.until(charge, Standing::Failed).await;
    let [consent] = consents::list(&house.app, &house.ctx("")).await.unwrap().try_into().unwrap();
    assert_eq!((consent.holds, consent.reason.as_deref()), (false, Some("invalid_grant")));
    assert!(server.shown().is_empty(), "the partner was not called");
    let asked = server.asked().len();
    let charge = house.begun(1_000, "s-2").await;
    house.until(charge, Standing::Failed).await;
    assert_eq!(server.asked().len(), asked, "what has ended is not asked for again");
    server.state().revoked = false;
    assert!(agrees(&house, &server).await.holds, "the user may agree anew");
    house.begun(1_000, "s-3").await;
    called(&house, &server, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_taken_back_early_is_replaced_and_a_lost_answer_is_no_refusal() {
    let (house, server) = house().await;
    agrees(&house, &server).await;
    server.state().only = Some("access-token-2".to_owned());
    house.begun(1_000, "s-1").await;
    called(&house, &server, 2).await;
    assert_eq!(server.shown(), ["access-token-1", "access-token-2"]);
    // The server gave a new token and nobody heard it: the old one is over by its rules, and that is said.
    server.state().only = None;
    server.state().silent = true;
    house.clock.advance_ms(3_590_000);
    let charge = house.begun(1_000, "s-2").await;
    house.until_true("the server was asked".to_owned(), async || server.asked().len() >= 3).await;
    let [consent] = consents::list(&house.app, &house.ctx("")).await.unwrap().try_into().unwrap();
    assert!(consent.holds, "a lost answer alone ends nothing");
    server.state().silent = false;
    for _ in 0..100 {
        house.clock.advance_ms(1_000);
        tokio::time::sleep(Duration::from_millis(40)).await;
        if house.charge(charge).await.standing == Standing::Failed {
            break;
        }
    }
    let [consent] = consents::list(&house.app, &house.ctx("")).await.unwrap().try_into().unwrap();
    assert_eq!(consent.reason.as_deref(), Some("invalid_grant"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_consent_nothing_is_called_and_an_ended_one_leaves_nothing_behind() {
    let (house, server) = house().await;
    let charge = house.begun(1_000, "s-1").await;
    house.until(charge, Standing::Failed).await;
    agrees(&house, &server).await;
    consents::end(&house.app, &house.ctx(""), "charge-atm", "network").await.unwrap();
    let missing = consents::end(&house.app, &house.ctx(""), "charge-atm", "network").await;
    assert!(matches!(missing, Err(Error::NotFound(_))));
    let charge = house.begun(1_000, "s-2").await;
    house.until(charge, Standing::Failed).await;
    assert!(server.shown().is_empty());
    let file = std::fs::read(house.place.path().join("koban.db")).unwrap();
    let log = std::fs::read(house.place.path().join("koban.db-wal")).unwrap_or_default();
    for secret in ["access-token-1", "refresh-token-1", "client-secret"] {
        for bytes in [&file, &log] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} lies open");
        }
    }
}
