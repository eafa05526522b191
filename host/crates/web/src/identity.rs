//! Who asks, as types: a handler that takes one of these cannot be reached without the permission it stands for.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use koban_domain::access::Warrant;
use koban_domain::ids::{MerchantId, StepUpId, UserId};
use koban_service::ctx::{Actor, Ctx};
use koban_service::identity::token_hash;
use koban_service::keys::{self, Scope};
use koban_service::users::{self, Signed};

use crate::Web;
use crate::codes::Trouble;
use crate::headers::{self, IdempotencyKey};
use crate::problem::Problem;

/// The circumstances of a request whose actor is known.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    actor: Actor,
    warrant: Warrant,
    device: Option<String>,
    locale: &'static str,
    step_up: Option<StepUpId>,
}

impl Asker {
    /// The context of a request that moves money.
    pub(crate) fn ctx(&self, key: IdempotencyKey) -> Ctx {
        Ctx { key: key.key, trial: key.trial, ..self.reading() }
    }

    /// The context of a request that moves none.
    pub(crate) fn reading(&self) -> Ctx {
        Ctx {
            warrant: Some(self.warrant),
            step_up: self.step_up,
            device: self.device.clone(),
            locale: self.locale.to_owned(),
            ..Ctx::new(self.actor, "")
        }
    }
}

/// A known identity of any kind.
enum Identity {
    User(UserId),
    Operator,
    Merchant(keys::MerchantKey),
}

/// Finds out whose token or key it is. Errors: nobody's; too many requests.
async fn identify(parts: &Parts, web: &Web) -> Result<(Identity, Asker), Problem> {
    let token = headers::bearer(&parts.headers)?;
    let mode = web.app.clock.mode();
    if keys::is_key(mode.other(), token) {
        let other = mode.other().word();
        return Err(
            Problem::from(Trouble::NotSignedIn).because(format!("this is a {other} key, and here is {}", mode.word()))
        );
    }
    let (identity, actor, warrant) = if keys::is_key(mode, token) {
        let key = keys::by_secret(&web.app, token).await?;
        let actor = Actor::Merchant(key.merchant, key.key);
        let warrant = Warrant::Key(key.key);
        (Identity::Merchant(key), actor, warrant)
    } else {
        let warrant = Warrant::Session(token_hash(token));
        match users::by_token(&web.app, token).await? {
            Signed::User(user) => (Identity::User(user), Actor::User(user), warrant),
            Signed::Operator(operator) => (Identity::Operator, Actor::Operator(operator), warrant),
        }
    };
    web.limits.identified(&actor)?;
    let (device, locale) = (headers::device(&parts.headers)?, headers::locale(&parts.headers));
    let step_up = headers::step_up(&parts.headers)?;
    Ok((identity, Asker { actor, warrant, device, locale, step_up }))
}

fn forbidden(why: &'static str) -> Problem {
    Problem::from(Trouble::Forbidden).because(why)
}

/// A signed-in wallet user.
#[derive(Debug, Clone)]
pub(crate) struct SignedInUser {
    /// Who.
    pub(crate) id: UserId,
    asker: Asker,
}

impl std::ops::Deref for SignedInUser {
    type Target = Asker;
    fn deref(&self) -> &Asker {
        &self.asker
    }
}

impl FromRequestParts<Web> for SignedInUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        match identify(parts, web).await? {
            (Identity::User(id), asker) => Ok(SignedInUser { id, asker }),
            _ => Err(forbidden("this is for wallet users; send a user's session token")),
        }
    }
}

/// A signed-in operator.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    asker: Asker,
}

impl std::ops::Deref for Operator {
    type Target = Asker;
    fn deref(&self) -> &Asker {
        &self.asker
    }
}

impl FromRequestParts<Web> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        match identify(parts, web).await? {
            (Identity::Operator, asker) => Ok(Operator { asker }),
            _ => Err(forbidden("this is for operators; send an operator's session token")),
        }
    }
}

/// A scope as a type.
pub(crate) trait Needs: Send + Sync + 'static {
    /// Which scope.
    const SCOPE: Scope;
}

/// Reading payments, refunds, balance and statement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadPayments;
/// Capturing what is held, and letting go of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CapturePayments;
/// Giving payments back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefundPayments;
/// Making, rotating and revoking keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteKeys;

/// Setting webhook endpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteWebhooks;

impl Needs for ReadPayments {
    const SCOPE: Scope = Scope::PaymentsRead;
}
impl Needs for CapturePayments {
    const SCOPE: Scope = Scope::PaymentsCapture;
}
impl Needs for RefundPayments {
    const SCOPE: Scope = Scope::PaymentsRefund;
}
impl Needs for WriteKeys {
    const SCOPE: Scope = Scope::KeysWrite;
}
impl Needs for WriteWebhooks {
    const SCOPE: Scope = Scope::WebhooksWrite;
}

/// A merchant, by an API key with this scope.
#[derive(Debug, Clone)]
pub(crate) struct MerchantKey<S> {
    /// Whose key it is.
    pub(crate) merchant: MerchantId,
    scopes: BTreeSet<Scope>,
    asker: Asker,
    scope: PhantomData<S>,
}

impl<S> std::ops::Deref for MerchantKey<S> {
    type Target = Asker;
    fn deref(&self) -> &Asker {
        &self.asker
    }
}

impl<S> MerchantKey<S> {
    /// A key never makes another that may do more than itself. Errors: it would.
    pub(crate) fn check_grants(&self, scopes: &BTreeSet<Scope>) -> Result<(), Problem> {
        match scopes.difference(&self.scopes).next() {
            None => Ok(()),
            Some(scope) => Err(Problem::from(Trouble::InsufficientScope)
                .because(format!("this key has not the scope `{}` itself, so it cannot give it", scope.word()))),
        }
    }
}

fn check_scope(key: &keys::MerchantKey, scope: Scope) -> Result<(), Problem> {
    if key.scopes.contains(&scope) {
        return Ok(());
    }
    Err(Problem::from(Trouble::InsufficientScope)
        .because(format!("this needs a key with the scope `{}`", scope.word())))
}

impl<S: Needs> FromRequestParts<Web> for MerchantKey<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        match identify(parts, web).await? {
            (Identity::Merchant(key), asker) => {
                check_scope(&key, S::SCOPE)?;
                Ok(MerchantKey { merchant: key.merchant, scopes: key.scopes, asker, scope: PhantomData })
            }
            _ => Err(forbidden("this is for merchants; send a merchant's API key")),
        }
    }
}

/// A wallet user or a merchant: both have to do with payments.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    asker: Asker,
}

impl std::ops::Deref for Party {
    type Target = Asker;
    fn deref(&self) -> &Asker {
        &self.asker
    }
}

impl FromRequestParts<Web> for Party {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        match identify(parts, web).await? {
            (Identity::User(_), asker) => Ok(Party { asker }),
            (Identity::Merchant(key), asker) => check_scope(&key, Scope::PaymentsRead).map(|()| Party { asker }),
            (Identity::Operator, _) => {
                Err(forbidden("this is for users and merchants; send a user's session token or an API key"))
            }
        }
    }
}

/// A wallet user or a merchant who sends many money requests at once: what each item needs is asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Dealer {
    key: Option<keys::MerchantKey>,
    asker: Asker,
}

impl std::ops::Deref for Dealer {
    type Target = Asker;
    fn deref(&self) -> &Asker {
        &self.asker
    }
}

impl Dealer {
    /// Errors: not a user, who alone may send an item of this name.
    pub(crate) fn user(&self, item: &'static str) -> Result<(), Problem> {
        match &self.key {
            None => Ok(()),
            Some(_) => Err(forbidden("this item is for wallet users; send a user's session token").at(item)),
        }
    }

    /// Errors: not a merchant's key with this scope, which alone may send an item of this name.
    pub(crate) fn key(&self, item: &'static str, scope: Scope) -> Result<(), Problem> {
        match &self.key {
            Some(key) => check_scope(key, scope).map_err(|problem| problem.at(item)),
            None => Err(forbidden("this item is for merchants; send a merchant's API key").at(item)),
        }
    }
}

impl FromRequestParts<Web> for Dealer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        match identify(parts, web).await? {
            (Identity::User(_), asker) => Ok(Dealer { key: None, asker }),
            (Identity::Merchant(key), asker) => Ok(Dealer { key: Some(key), asker }),
            (Identity::Operator, _) => {
                Err(forbidden("this is for users and merchants; send a user's session token or an API key"))
            }
        }
    }
}

/// The token of whoever is signed in, user or operator, to end that session.
#[derive(Debug, Clone)]
pub(crate) struct Session(pub(crate) String);

impl FromRequestParts<Web> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        match identify(parts, web).await? {
            (Identity::User(_) | Identity::Operator, _) => {
                headers::bearer(&parts.headers).map(|token| Session(token.to_owned()))
            }
            (Identity::Merchant(_), _) => Err(forbidden("an API key has no session; revoke the key instead")),
        }
    }
}
