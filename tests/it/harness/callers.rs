//! Who calls the API: one type per kind of caller, one request builder, one outcome to ask.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use hyper::Method;
use koban_domain::ids::{MerchantId, UserId};
use serde_json::{Value, json};

use super::{PASSWORD, unique};
use crate::client::{Client, Reply};

/// Somebody with an identity. Every call is one over a connection of the caller's own.
pub(crate) trait Caller {
    /// The client with the caller's token.
    fn client(&self) -> &Client;

    /// A request that may be sent under a key.
    fn post(&self, path: impl Into<String>, body: Value) -> Request<'_> {
        Request::new(self.client(), Method::POST, path.into(), Some(body))
    }

    /// A request that sets something, under a key.
    fn put(&self, path: impl Into<String>, body: Value) -> Request<'_> {
        Request::new(self.client(), Method::PUT, path.into(), Some(body))
    }

    /// A request without a body.
    fn get(&self, path: impl Into<String>) -> Request<'_> {
        Request::new(self.client(), Method::GET, path.into(), None)
    }

    /// A request that ends something.
    fn delete(&self, path: impl Into<String>) -> Request<'_> {
        Request::new(self.client(), Method::DELETE, path.into(), None)
    }
}

impl Caller for Client {
    fn client(&self) -> &Client {
        self
    }
}

/// A wallet user.
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) token: String,
    client: Client,
}

impl Caller for User {
    fn client(&self) -> &Client {
        &self.client
    }
}

impl User {
    /// Signs up and in through the API.
    pub(crate) async fn sign_up(anonymous: &Client) -> User {
        let email = format!("{}@example.com", unique("user"));
        let body = json!({ "email": email, "password": PASSWORD, "name": "Hana", "locale": "en" });
        let made = Caller::post(anonymous, "/v1/users", body).await.created();
        let id = made.id.parse().expect("a user id");
        let body = json!({ "email": email, "password": PASSWORD });
        let session = Caller::post(anonymous, "/v1/sessions", body).await.created();
        let token = session.text("token");
        User { id, email, client: anonymous.with_token(token.clone()), token }
    }

    /// The same user in the same session once more, for a task of its own.
    pub(crate) fn same(&self) -> User {
        User {
            id: self.id,
            email: self.email.clone(),
            token: self.token.clone(),
            client: self.client.with_token(self.token.clone()),
        }
    }

    /// A user whose session is known.
    pub(crate) fn signed_in(id: UserId, token: String, anonymous: &Client) -> User {
        User { id, email: String::new(), client: anonymous.with_token(token.clone()), token }
    }

    /// The same user in a new session.
    pub(crate) async fn sign_in_again(&self) -> User {
        let body = json!({ "email": self.email, "password": PASSWORD });
        let anonymous = Client::new(self.client.address());
        let token = Caller::post(&anonymous, "/v1/sessions", body).await.created().text("token");
        User { id: self.id, email: self.email.clone(), client: anonymous.with_token(token.clone()), token }
    }

    /// The same user on a connection of its own.
    pub(crate) fn again(&self) -> User {
        let client = Client::new(self.client.address()).with_token(self.token.clone());
        User { id: self.id, email: self.email.clone(), token: self.token.clone(), client }
    }

    /// Pays a merchant.
    pub(crate) fn pay(&self, shop: &Shop, yen: i64) -> Request<'_> {
        self.post("/v1/payments", json!({ "merchant": shop.id, "amount": yen, "currency": "JPY" }))
    }

    /// Sends to another user.
    pub(crate) fn send(&self, receiver: &User, yen: i64) -> Request<'_> {
        self.post("/v1/transfers", json!({ "receiver": receiver.id, "amount": yen, "currency": "JPY" }))
    }

    /// The wallet as the API shows it.
    pub(crate) async fn wallet(&self) -> Value {
        self.get("/v1/wallet").await.ok()
    }

    /// What the user has, in yen.
    pub(crate) async fn balance(&self) -> i64 {
        let wallet = self.wallet().await;
        minor(&wallet, "prepaid") + minor(&wallet, "funds")
    }

    /// What the user owes, in yen.
    pub(crate) async fn receivable(&self) -> i64 {
        minor(&self.wallet().await, "receivable")
    }

    /// A charge as it stands.
    pub(crate) async fn charge(&self, id: &str) -> Value {
        self.get(format!("/v1/charges/{id}")).await.ok()
    }
}

/// A merchant with an API key.
pub(crate) struct Shop {
    pub(crate) id: MerchantId,
    pub(crate) secret: String,
    client: Client,
}

impl Caller for Shop {
    fn client(&self) -> &Client {
        &self.client
    }
}

impl Shop {
    /// A merchant by its key's secret.
    pub(crate) fn new(id: MerchantId, secret: String, anonymous: &Client) -> Shop {
        Shop { id, client: anonymous.with_token(secret.clone()), secret }
    }

    /// The same merchant under another key.
    pub(crate) fn with_secret(&self, secret: &str) -> Shop {
        Shop::new(self.id, secret.to_owned(), &Client::new(self.client.address()))
    }

    /// Gives a payment back, in part or whole.
    pub(crate) fn refund(&self, payment: &Made, yen: i64) -> Request<'_> {
        self.post(format!("/v1/payments/{}/refunds", payment.id), json!({ "amount": yen, "currency": "JPY" }))
    }

    /// What the merchant is owed, in yen.
    pub(crate) async fn balance(&self) -> i64 {
        minor(&self.get("/v1/merchant").await.ok(), "balance")
    }
}

/// Somebody who runs the platform.
pub(crate) struct Operator {
    pub(crate) email: String,
    client: Client,
}

impl Caller for Operator {
    fn client(&self) -> &Client {
        &self.client
    }
}

impl Operator {
    /// Signs in through the API.
    pub(crate) async fn sign_in(anonymous: &Client, email: &str) -> Operator {
        let body = json!({ "email": email, "password": PASSWORD });
        let session = Caller::post(anonymous, "/v1/operators/sessions", body).await.created();
        Operator { email: email.to_owned(), client: anonymous.with_token(session.text("token")) }
    }
}

/// A request before it is sent. Awaiting it sends it.
pub(crate) struct Request<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    body: Option<Value>,
    key: Option<String>,
    headers: Vec<(String, String)>,
}

impl<'a> Request<'a> {
    fn new(client: &'a Client, method: Method, path: String, body: Option<Value>) -> Request<'a> {
        Request { client, method, path, body, key: None, headers: Vec::new() }
    }

    /// Under this idempotency key; without one it is sent under a new one.
    pub(crate) fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// From this device.
    pub(crate) fn device(self, device: &str) -> Self {
        self.header("koban-device", device)
    }

    /// With this header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this field in its body.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.body.get_or_insert_with(|| json!({}))[field] = value.into();
        self
    }

    /// Sends it and says what came, or that nothing came.
    pub(crate) async fn attempt(self) -> Result<Outcome, String> {
        let what = format!("{} {}", self.method, self.path);
        let key = self.key.unwrap_or_else(|| unique("key"));
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if self.method == Method::POST || self.method == Method::PUT {
            headers.push(("idempotency-key", &key));
        }
        let body = self.body.map(|body| body.to_string().into_bytes());
        match self.client.send(self.method, &self.path, &headers, body).await {
            Ok(reply) => Ok(Outcome { what, reply }),
            Err(error) => Err(format!("{what}: {error:#}")),
        }
    }
}

impl<'a> IntoFuture for Request<'a> {
    type Output = Outcome;
    type IntoFuture = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.attempt().await.unwrap_or_else(|error| panic!("no answer: {error}")) })
    }
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    what: String,
    pub(crate) reply: Reply,
}

impl Outcome {
    /// Something was made.
    #[track_caller]
    pub(crate) fn created(self) -> Made {
        assert_eq!(self.reply.status, 201, "{}: {}", self.what, self.said());
        let id = self.reply.body["id"].as_str().unwrap_or_default().to_owned();
        Made { id, replayed: self.replayed(), body: self.reply.body }
    }

    /// It was done; the answer's body.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(matches!(self.reply.status, 200 | 204), "{}: {} {}", self.what, self.reply.status, self.said());
        self.reply.body
    }

    /// It was taken.
    #[track_caller]
    pub(crate) fn accepted(self) -> Value {
        assert!((200..300).contains(&self.reply.status), "{}: {} {}", self.what, self.reply.status, self.said());
        self.reply.body
    }

    /// It was not done, and the answer says why in the stated form.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Reply {
        assert_eq!((self.reply.status, self.reply.code()), (status, code), "{}: {}", self.what, self.said());
        assert_eq!(self.reply.header("content-type"), Some("application/problem+json"), "{}", self.what);
        self.reply
    }

    /// Whether it is the first answer given again.
    pub(crate) fn replayed(&self) -> bool {
        self.reply.header("idempotent-replayed") == Some("true")
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.reply.bytes).into_owned()
    }
}

/// Something that was made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) replayed: bool,
    pub(crate) body: Value,
}

impl Made {
    /// A text of the answer.
    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {}", self.body)).to_owned()
    }
}

/// The minor units under a name in an answer.
#[track_caller]
pub(crate) fn minor(answer: &Value, field: &str) -> i64 {
    answer[field].as_i64().unwrap_or_else(|| panic!("no `{field}` in {answer}"))
}
