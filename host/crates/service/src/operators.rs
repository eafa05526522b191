//! The people who run the platform.

use koban_domain::ids::OperatorId;
use koban_domain::time::Timestamp;
use koban_store::operators::{OperatorRow, Removed};
use koban_store::passwords;
use koban_store::sessions::SessionOwner;
use koban_store::{Store, StoreErrorKind};
use serde_json::json;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::identity::{self, Hashing, PasswordChange, token_hash};
use crate::page::{Page, Paged};
use crate::plugins::check_reason;
use crate::users::{self, SignedIn};

/// The circumstances of a command given on the command line by nobody in particular.
pub fn command_line(key: impl Into<String>) -> Ctx {
    Ctx::new(Actor::CommandLine("somebody"), key)
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorView {
    /// Who.
    pub id: OperatorId,
    /// Their address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// Makes an operator. Only an operator can.
pub async fn create(app: &App, ctx: &Ctx, email: &str, name: &str, password: String) -> Result<OperatorView, Error> {
    ctx.operator()?;
    let email = identity::check_email(email)?;
    let name = users::check_name("name", name)?;
    identity::check_password(&password)?;
    let operator = OperatorRow {
        id: OperatorId(app.clock.id()),
        email,
        name,
        password_hash: app.hashing.hash(password).await?,
        created_at: app.clock.now(),
    };
    // The log keeps who it was when the row of the operator is gone.
    let detail = json!({ "email": operator.email, "name": operator.name }).to_string();
    let audit = users::audit(app, ctx, "operator.create", operator.id.to_string(), &detail);
    match koban_store::operators::create(&app.store, &operator, &audit).await {
        Ok(()) => Ok(operator.into()),
        Err(error) if error.kind() == StoreErrorKind::Conflict => {
            Err(Error::Exists("this email address belongs to an operator".into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens a session of an operator.
pub async fn sign_in(app: &App, email: &str, password: String) -> Result<SignedIn<OperatorView>, Error> {
    let operator = koban_store::operators::by_email(&app.store, &email.trim().to_lowercase()).await?;
    let hash = operator.as_ref().map(|operator| operator.password_hash.clone());
    if !app.hashing.verify(password, hash).await? {
        return Err(Error::WrongCredentials);
    }
    let operator = operator.ok_or(Error::WrongCredentials)?;
    let (token, expires_at) = users::open_session(app, SessionOwner::Operator(operator.id)).await?;
    Ok(SignedIn { token, expires_at, who: operator.into() })
}

/// Who this is, by their password: for the command line, which has no sessions.
pub async fn prove(store: &Store, hashing: &Hashing, email: &str, password: String) -> Result<OperatorId, Error> {
    let operator = koban_store::operators::by_email(store, &email.trim().to_lowercase()).await?;
    let hash = operator.as_ref().map(|operator| operator.password_hash.clone());
    if !hashing.verify(password, hash).await? {
        return Err(Error::WrongCredentials);
    }
    operator.map(|operator| operator.id).ok_or(Error::WrongCredentials)
}

/// Operators, newest first.
pub async fn list(app: &App, ctx: &Ctx, page: &Page) -> Result<Paged<OperatorView>, Error> {
    ctx.operator()?;
    let limit = page.limit()?;
    let rows = koban_store::operators::list(&app.store, page.before()?.map(OperatorId), limit + 1).await?;
    Ok(Paged::of(rows, limit, |operator| operator.id.bytes().to_vec()).map(OperatorView::from))
}

/// An operator by email address.
pub async fn find_by_email(app: &App, email: &str) -> Result<OperatorView, Error> {
    let operator = koban_store::operators::by_email(&app.store, &email.trim().to_lowercase()).await?;
    Ok(operator.ok_or(Error::NotFound("operator"))?.into())
}

/// Removes an operator: their sessions end at once. What they did stays theirs in the log. Errors: the last one stays.
pub async fn remove(app: &App, ctx: &Ctx, id: OperatorId, reason: &str) -> Result<(), Error> {
    ctx.operator()?;
    check_reason(reason)?;
    let operator = koban_store::operators::by_id(&app.store, id).await?.ok_or(Error::NotFound("operator"))?;
    let detail = json!({ "email": operator.email, "name": operator.name, "reason": reason }).to_string();
    let audit = users::audit(app, ctx, "operator.remove", id.to_string(), &detail);
    match koban_store::operators::remove(&app.store, id, &audit, app.clock.now()).await? {
        Removed::Gone => Ok(app.store.commit_under_way_has_ended().await?),
        Removed::Unknown => Err(Error::NotFound("operator")),
        Removed::Last => {
            Err(Error::Conflict("this is the last operator; make another one before you remove it".to_owned()))
        }
    }
}

/// An operator's own change of password: their other sessions end. `token` is the session that stays.
pub async fn change_password(app: &App, ctx: &Ctx, token: &str, change: PasswordChange) -> Result<(), Error> {
    let id = ctx.person()?;
    identity::check_password_field("new", &change.new)?;
    let operator = koban_store::operators::by_id(&app.store, id).await?.ok_or(Error::NotSignedIn)?;
    let before = operator.password_hash;
    change.prove(app, &before).await?;
    let hash = app.hashing.hash(change.new).await?;
    let audit = users::audit(app, ctx, "operator.password", id.to_string(), "{}");
    let keep = Some(token_hash(token));
    let now = app.clock.now();
    match passwords::change(&app.store, SessionOwner::Operator(id), (Some(&before), &hash), keep, (&audit, now)).await?
    {
        true => Ok(app.store.commit_under_way_has_ended().await?),
        false => Err(users::password_moved()),
    }
}

/// Gives an operator who forgot theirs a new password; all their sessions end. For the command line: whoever can open the
/// database could do worse.
pub async fn reset_password(app: &App, ctx: &Ctx, id: OperatorId, password: String) -> Result<(), Error> {
    ctx.operator()?;
    identity::check_password(&password)?;
    let hash = app.hashing.hash(password).await?;
    let audit = users::audit(app, ctx, "operator.password-reset", id.to_string(), "{}");
    let now = app.clock.now();
    match passwords::change(&app.store, SessionOwner::Operator(id), (None, &hash), None, (&audit, now)).await? {
        true => Ok(app.store.commit_under_way_has_ended().await?),
        false => Err(Error::NotFound("operator")),
    }
}

impl From<OperatorRow> for OperatorView {
    fn from(row: OperatorRow) -> OperatorView {
        OperatorView { id: row.id, email: row.email, name: row.name, created_at: row.created_at }
    }
}
