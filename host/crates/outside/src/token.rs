//! Tokens of OAuth 2.0: asked for at the token endpoint, over the same way out as everything else (RFC 6749, sections 4.1.3, 4.4 and 6), and given up where that can be said (RFC 7009).
//!
//! A token endpoint's address is judged like every other one, its answers are bounded, redirects are not followed, and no error repeats a secret.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use koban_domain::manifest::{ClientShown, Method};
use koban_domain::time::Timestamp;
use serde::Deserialize;

use crate::base::Base;
use crate::endpoint::{Credential, Endpoint, TokenServer};
use crate::hidden::Hidden;
use crate::request::{Request, encode_query, encoded};
use crate::send::{NotSent, Outside, Sent};

/// What a token is asked for with.
#[derive(Clone, Debug)]
pub enum Grant {
    /// As ourselves.
    Client,
    /// With what a user brought back from the partner's page.
    Code {
        /// The code.
        code: Hidden,
        /// The verifier whose digest went along with the user (RFC 7636).
        verifier: Hidden,
        /// The address that the user came back to, to the letter.
        redirect: String,
    },
    /// With a refresh token.
    Refresh(Hidden),
}

/// A token.
#[derive(Clone, Debug)]
pub struct Token {
    /// What is shown to the partner.
    pub access: Hidden,
    /// What a new one is asked for with; none if the server gave no (new) one.
    pub refresh: Option<Hidden>,
    /// When it ends by the server's word.
    pub ends_at: Timestamp,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// The server refused for good: what was granted is over, or the client is not known.
    #[error("the token server refuses: {0}")]
    Refused(String),
    /// It could not be asked, or did not say. Trying again may help; with a refresh token that is used once, the server may have used it up.
    #[error("the token server cannot be asked: {0}")]
    Unsure(String),
    /// It certainly was not asked.
    #[error("the token server was not reached: {0}")]
    NotAsked(String),
}

const TIMEOUT: Duration = Duration::from_secs(15);
/// A token that says nothing about its end is used for so long.
const USUAL_S: i64 = 300;
/// The longest that a token is believed to last.
const LONGEST_S: i64 = 86_400;
const TOKEN_LENGTH_MAX: usize = 8_192;

#[derive(Deserialize)]
struct Answered {
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<i64>,
    token_type: Option<String>,
    error: Option<String>,
}

impl Outside {
    /// Asks for a token. `of` is the endpoint that it is for: whether private addresses are open and which authorities are believed is taken from it.
    pub async fn token(
        &self,
        of: &Endpoint,
        server: &TokenServer,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Token, NoToken> {
        let (status, body) = self.ask(of, server, (&server.address, form(server, grant)), now).await?;
        read(status, &body, now)
    }

    /// Tells the server at this address that a token is given up (RFC 7009); with a refresh token what was made of it is over, too. One that the
    /// server does not know any more is as good. Errors: it refuses, or could not be told.
    pub async fn revoke(
        &self,
        of: &Endpoint,
        server: &TokenServer,
        (address, token): (&Base, &Hidden),
        now: Timestamp,
    ) -> Result<(), NoToken> {
        let mut fields = vec![("token".to_owned(), token.reveal().to_owned())];
        fields.extend(shown_in_form(server));
        let (status, _) = self.ask(of, server, (address, encode_query(&fields)), now).await?;
        match status {
            200..=299 => Ok(()),
            400..=428 | 430..=499 => Err(NoToken::Refused(format!("it answered {status}"))),
            _ => Err(NoToken::Unsure(format!("it answered {status}"))),
        }
    }

    /// Posts a form to a token server: its answer's status and body.
    async fn ask(
        &self,
        of: &Endpoint,
        server: &TokenServer,
        (address, form): (&Base, String),
        now: Timestamp,
    ) -> Result<(u16, Vec<u8>), NoToken> {
        let (base, path) = address.split_path();
        let endpoint = Endpoint {
            name: format!("{} (token)", of.name),
            base,
            credential: match server.shown {
                ClientShown::Basic if !server.secret.reveal().is_empty() => Credential::Basic {
                    // RFC 6749, section 2.3.1: both are written as forms write them first.
                    user: encoded(&server.client),
                    password: Hidden::new(encoded(server.secret.reveal())),
                },
                _ => Credential::None,
            },
            allow_private: of.allow_private,
            limits: of.limits,
            authorities: of.authorities.clone(),
            secrets: Vec::new(),
        };
        let request = Request {
            method: Method::Post,
            path,
            query: Vec::new(),
            body: form.into_bytes(),
            content_type: "application/x-www-form-urlencoded".to_owned(),
            idempotency_key: None,
            message_id: "token".to_owned(),
            nonce: "token".to_owned(),
            timeout: TIMEOUT,
        };
        match self.send_raw(&endpoint, &request, now).await {
            Ok(answer) => Ok((answer.status, answer.body)),
            Err(Sent::Refused(why)) => Err(NoToken::NotAsked(why.to_string())),
            Err(Sent::NotSent(why)) => Err(NoToken::NotAsked(why.to_string())),
            Err(Sent::Unknown(why)) => Err(NoToken::Unsure(why.to_string())),
            Err(Sent::BadSignature(why)) => Err(NoToken::Unsure(why.to_string())),
            Err(Sent::Answer(answer)) => Err(NoToken::Unsure(format!("it answered {}", answer.status))),
        }
    }
}

fn form(server: &TokenServer, grant: &Grant) -> String {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    match grant {
        Grant::Client => {
            put("grant_type", "client_credentials");
        }
        Grant::Code { code, verifier, redirect } => {
            put("grant_type", "authorization_code");
            put("code", code.reveal());
            put("code_verifier", verifier.reveal());
            put("redirect_uri", redirect);
        }
        Grant::Refresh(token) => {
            put("grant_type", "refresh_token");
            put("refresh_token", token.reveal());
        }
    }
    if matches!(grant, Grant::Client) && !server.scopes.is_empty() {
        put("scope", &server.scopes.join(" "));
    }
    if let Some(audience) = &server.audience {
        put("audience", audience);
    }
    fields.extend(shown_in_form(server));
    encode_query(&fields)
}

/// How a client shows itself in the form, if it does so there.
fn shown_in_form(server: &TokenServer) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    if server.shown == ClientShown::Form || server.secret.reveal().is_empty() {
        fields.push(("client_id".to_owned(), server.client.clone()));
        if !server.secret.reveal().is_empty() {
            fields.push(("client_secret".to_owned(), server.secret.reveal().to_owned()));
        }
    }
    fields
}

fn read(status: u16, body: &[u8], now: Timestamp) -> Result<Token, NoToken> {
    let answered: Option<Answered> = serde_json::from_slice(body).ok();
    if status != 200 {
        let word = answered.and_then(|answered| answered.error).filter(|word| is_word(word));
        // RFC 6749, section 5.2: what the server decided about the grant or the client. Anything else may pass.
        let decided =
            ["invalid_grant", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"];
        return match (status, word) {
            (400 | 401 | 403, Some(word)) if decided.contains(&word.as_str()) => Err(NoToken::Refused(word)),
            (400..=499, word) => Err(NoToken::Unsure(format!("it answered {status} {}", word.unwrap_or_default()))),
            _ => Err(NoToken::Unsure(format!("it answered {status}"))),
        };
    }
    let answered = answered.ok_or_else(|| NoToken::Unsure("its answer is no JSON".to_owned()))?;
    let bearer = answered.token_type.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    if !bearer {
        return Err(NoToken::Unsure("its token is no bearer token".to_owned()));
    }
    let access = answered.access_token.filter(|token| is_token(token));
    let access = access.ok_or_else(|| NoToken::Unsure("its answer holds no token".to_owned()))?;
    let seconds = answered.expires_in.unwrap_or(USUAL_S).clamp(0, LONGEST_S);
    Ok(Token {
        access: Hidden::new(access),
        refresh: answered.refresh_token.filter(|token| is_token(token)).map(Hidden::new),
        ends_at: now.plus_ms(seconds * 1_000),
    })
}

fn is_word(word: &str) -> bool {
    (1..=60).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn is_token(token: &str) -> bool {
    (1..=TOKEN_LENGTH_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The value of `Authorization: Basic`.
pub(crate) fn basic(user: &str, password: &Hidden) -> Hidden {
    let pair = zeroize::Zeroizing::new(format!("{user}:{}", password.reveal()));
    Hidden::new(format!("Basic {}", BASE64.encode(pair.as_bytes())))
}

/// Tokens that the host holds as itself, by endpoint. A token is asked for once, however many requests wait for it.
#[derive(Debug, Default)]
pub(crate) struct Tokens(std::sync::Mutex<std::collections::HashMap<String, Slot>>);

type Slot = std::sync::Arc<tokio::sync::Mutex<Option<Token>>>;

/// So many endpoints' tokens are kept; above it all are asked for again.
const KEPT_MAX: usize = 1_024;
/// A token that ends so soon is not used any more.
const SPARE_MS: i64 = 30_000;

impl Tokens {
    fn slot(&self, key: String) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if slots.len() >= KEPT_MAX && !slots.contains_key(&key) {
            slots.clear();
        }
        slots.entry(key).or_default().clone()
    }
}

impl Outside {
    /// The token of an endpoint whose credential is one, asked for if none is held or the one held ends soon. `not` is one that the partner
    /// did not take: it is not answered again.
    pub(crate) async fn client_token(
        &self,
        endpoint: &Endpoint,
        server: &TokenServer,
        not: Option<&Hidden>,
        now: Timestamp,
    ) -> Result<Hidden, Sent> {
        // Another client or server under the same name is another slot.
        let key = format!("{}\n{}\n{}\n{}", endpoint.name, server.address, server.client, server.scopes.join(" "));
        let slot = self.tokens.slot(key);
        let mut held = slot.lock().await;
        let usable = held.as_ref().filter(|token| token.ends_at.since_ms(now) > SPARE_MS && not != Some(&token.access));
        if let Some(token) = usable {
            return Ok(token.access.clone());
        }
        match self.token(endpoint, server, &Grant::Client, now).await {
            Ok(token) => {
                let access = token.access.clone();
                *held = Some(token);
                Ok(access)
            }
            Err(why) => {
                *held = None;
                Err(Sent::NotSent(NotSent::Token(why)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_777_000_000_000);

    fn server(shown: ClientShown, secret: &str) -> TokenServer {
        TokenServer {
            address: Base::parse("https://auth.example/token").unwrap(),
            client: "koban".to_owned(),
            secret: Hidden::new(secret),
            shown,
            scopes: vec!["read".to_owned(), "write".to_owned()],
            audience: None,
        }
    }

    #[test]
    fn each_grant_asks_in_its_own_form() {
        let server = server(ClientShown::Basic, "secret-secret");
        assert_eq!(form(&server, &Grant::Client), "grant_type=client_credentials&scope=read%20write");
        let refresh = Grant::Refresh(Hidden::new("r/1"));
        assert_eq!(form(&server, &refresh), "grant_type=refresh_token&refresh_token=r%2F1");
        let code = Grant::Code {
            code: Hidden::new("c"),
            verifier: Hidden::new("v"),
            redirect: "https://us.example/back".to_owned(),
        };
        assert_eq!(
            form(&server, &code),
            "grant_type=authorization_code&code=c&code_verifier=v&redirect_uri=https%3A%2F%2Fus.example%2Fback"
        );
    }

    #[test]
    fn a_client_shows_itself_in_one_place() {
        let in_form = form(&server(ClientShown::Form, "secret-secret"), &Grant::Client);
        assert!(in_form.ends_with("&client_id=koban&client_secret=secret-secret"), "{in_form}");
        let public = form(&server(ClientShown::Basic, ""), &Grant::Client);
        assert!(public.ends_with("&client_id=koban"), "{public}");
    }

    #[test]
    fn an_answer_is_a_token_a_refusal_or_nothing_certain() {
        let token =
            read(200, br#"{"access_token":"a","token_type":"Bearer","expires_in":60,"refresh_token":"r"}"#, NOW)
                .unwrap();
        assert_eq!((token.access.reveal(), token.ends_at), ("a", NOW.plus_ms(60_000)));
        assert_eq!(token.refresh.unwrap().reveal(), "r");
        let refused = read(400, br#"{"error":"invalid_grant","error_description":"secret"}"#, NOW).unwrap_err();
        assert_eq!(refused, NoToken::Refused("invalid_grant".to_owned()));
        for (status, body) in [
            (400, &br#"{"error":"invalid_request"}"#[..]),
            (400, b"no JSON"),
            (429, b"{}"),
            (500, br#"{"error":"invalid_grant"}"#),
            (302, b""),
            (200, b"{}"),
            (200, br#"{"access_token":"a b"}"#),
            (200, br#"{"access_token":"a","token_type":"mac"}"#),
        ] {
            assert!(matches!(read(status, body, NOW), Err(NoToken::Unsure(_))), "{status} {body:?}");
        }
    }
}
