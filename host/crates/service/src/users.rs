//! Wallet users: signing up and in, sessions, and the operator's word that somebody is who they say.

use koban_domain::access::Access;
use koban_domain::ids::{AuditId, OperatorId, SessionId, UserId};
use koban_domain::ledger::{Answer, Audit, Command};
use koban_domain::limits::WalletKind;
use koban_domain::time::Timestamp;
use koban_domain::verification::{Verification, Verify};
use koban_store::StoreErrorKind;
use koban_store::passwords;
use koban_store::sessions::{self, SessionOwner, SessionRow};
use koban_store::users::UserRow;

use crate::app::App;
use crate::clock;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::identity::{self, PasswordChange, token_hash};
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};

/// How long a session lasts without use, and at most.
pub const SESSION_IDLE_MS: i64 = 15 * 60_000;
/// How long a session lasts at most.
pub const SESSION_MAX_MS: i64 = 12 * 3_600_000;
/// A session's last use is written down at most this often.
const TOUCH_MS: i64 = 60_000;

/// What somebody signs up with.
#[derive(Debug, Clone)]
pub struct SignUp {
    /// An email address, unique.
    pub email: String,
    /// 12 to 128 characters.
    pub password: String,
    /// What others see, 1 to 60 characters.
    pub name: String,
    /// `ja` or `en`.
    pub locale: String,
}

/// A user, for themselves and for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// Who.
    pub id: UserId,
    /// Their address.
    pub email: String,
    /// What others see.
    pub name: String,
    /// Which account the wallet is.
    pub kind: WalletKind,
    /// Open, frozen or closed.
    pub access: Access,
    /// Where the verification stands.
    pub verification: Verification,
    /// `ja` or `en`.
    pub locale: String,
    /// When they signed up.
    pub created_at: Timestamp,
}

/// A new session.
#[derive(Debug, Clone)]
pub struct SignedIn<T> {
    /// The bearer token, shown once.
    pub token: String,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
    /// Whose session it is.
    pub who: T,
}

/// Whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// A wallet user's.
    User(UserId),
    /// An operator's.
    Operator(OperatorId),
}

/// Makes a user with an unverified wallet.
pub async fn sign_up(app: &App, input: SignUp) -> Result<UserView, Error> {
    let email = identity::check_email(&input.email)?;
    identity::check_password(&input.password)?;
    let name = check_name("name", &input.name)?;
    if !matches!(input.locale.as_str(), "ja" | "en") {
        return Err(Error::invalid("locale", "use `ja` or `en`"));
    }
    let password_hash = app.hashing.hash(input.password).await?;
    let user = UserRow {
        id: UserId(app.clock.id()),
        kind: WalletKind::Prepaid,
        access: Access::Open,
        verification: Verification::Unverified,
        email: Some(email),
        password_hash: Some(password_hash),
        display_name: name,
        locale: input.locale,
        created_at: app.clock.now(),
    };
    match koban_store::users::create(&app.store, &user).await {
        Ok(()) => Ok(user.into()),
        Err(error) if error.kind() == StoreErrorKind::Conflict => {
            Err(Error::Exists("this email address has an account; sign in instead".into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens a session. An unknown email costs the same time as a wrong password and has the same answer.
pub async fn sign_in(app: &App, email: &str, password: String) -> Result<SignedIn<UserView>, Error> {
    let user = koban_store::users::by_email(&app.store, &email.trim().to_lowercase()).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    if !app.hashing.verify(password, hash).await? {
        return Err(Error::WrongCredentials);
    }
    let user = user.ok_or(Error::WrongCredentials)?;
    let (token, expires_at) = open_session(app, SessionOwner::User(user.id)).await?;
    Ok(SignedIn { token, expires_at, who: user.into() })
}

/// Opens a session for somebody who has proved who they are.
pub(crate) async fn open_session(app: &App, owner: SessionOwner) -> Result<(String, Timestamp), Error> {
    let (token, now) = (clock::token(), app.clock.now());
    let expires_at = now.plus_ms(SESSION_MAX_MS);
    let session = SessionRow {
        token_hash: token_hash(&token),
        id: SessionId(app.clock.id()),
        owner,
        created_at: now,
        expires_at,
        last_seen: now,
        device: None,
    };
    sessions::create(&app.store, &session).await?;
    Ok((token, expires_at))
}

/// A user's change of password: their other sessions end. `token` is the session that stays.
pub async fn change_password(app: &App, ctx: &Ctx, token: &str, change: PasswordChange) -> Result<(), Error> {
    let id = ctx.user()?;
    identity::check_password_field("new", &change.new)?;
    let user = koban_store::users::by_id(&app.store, id).await?.ok_or(Error::NotSignedIn)?;
    let before = user.password_hash.ok_or(Error::NotSignedIn)?;
    change.prove(app, &before).await?;
    let hash = app.hashing.hash(change.new).await?;
    let audit = audit(app, ctx, "user.password", id.to_string(), "{}");
    let keep = Some(token_hash(token));
    let now = app.clock.now();
    match passwords::change(&app.store, SessionOwner::User(id), (Some(&before), &hash), keep, (&audit, now)).await? {
        true => Ok(app.store.commit_under_way_has_ended().await?),
        false => Err(password_moved()),
    }
}

/// Two changes at once: one of them was first.
pub(crate) fn password_moved() -> Error {
    Error::Conflict("the password was changed meanwhile; sign in again".to_owned())
}

/// Ends a session. Ending it twice is the same as once.
pub async fn sign_out(app: &App, token: &str) -> Result<(), Error> {
    sessions::delete(&app.store, token_hash(token)).await?;
    Ok(app.store.commit_under_way_has_ended().await?)
}

/// Whose token this is. Errors: [`Error::NotSignedIn`] when it is unknown, ended or idle for too long.
pub async fn by_token(app: &App, token: &str) -> Result<Signed, Error> {
    let hash = token_hash(token);
    let session = app.reads.session(hash).await?.ok_or(Error::NotSignedIn)?;
    let now = app.clock.now();
    if now >= session.expires_at || now.since_ms(session.last_seen) > SESSION_IDLE_MS {
        sessions::delete(&app.store, hash).await?;
        return Err(Error::NotSignedIn);
    }
    if now.since_ms(session.last_seen) > TOUCH_MS {
        app.reads.touch(hash, now, session.expires_at).await?;
    }
    Ok(match session.owner {
        SessionOwner::User(user) => Signed::User(user),
        SessionOwner::Operator(operator) => Signed::Operator(operator),
    })
}

/// A user by id.
pub async fn get(app: &App, id: UserId) -> Result<UserView, Error> {
    Ok(koban_store::users::by_id(&app.store, id).await?.ok_or(Error::NotFound("user"))?.into())
}

/// A user by email address.
pub async fn find_by_email(app: &App, email: &str) -> Result<UserView, Error> {
    let user = koban_store::users::by_email(&app.store, &email.trim().to_lowercase()).await?;
    Ok(user.ok_or(Error::NotFound("user"))?.into())
}

/// Users, newest first, for operators.
pub async fn list(app: &App, page: &Page) -> Result<Paged<UserView>, Error> {
    let limit = page.limit()?;
    let rows = koban_store::users::list(&app.store, page.before()?.map(UserId), limit + 1).await?;
    Ok(Paged::of(rows, limit, |user| user.id.bytes().to_vec()).map(UserView::from))
}

/// An operator says that a user is who they say: prepaid value becomes funds. Answers how much, minor units.
pub async fn verify(app: &App, ctx: &Ctx, user: UserId) -> Result<Answered<i64>, Error> {
    let operator = ctx.operator()?;
    let operation = operations::begin(app, ctx, "POST /v1/operator/users/{id}/verification", &user)?;
    let mut work = ctx.work(app.clock.id());
    work.commands = vec![Command::Verify(Verify { user, operator })];
    work.audit = vec![audit(app, ctx, "user.verify", user.to_string(), "{}")];
    operation.commit(app, work).await?.ok_or(Error::Busy)?.expect(|answer| match answer {
        Answer::Verified(_, converted) => Some(converted),
        _ => None,
    })
}

/// An audit row for a privileged act. The detail is compact JSON.
pub(crate) fn audit(app: &App, ctx: &Ctx, act: &str, subject: String, detail: &str) -> Audit {
    Audit {
        id: AuditId(app.clock.id()),
        actor: ctx.actor.to_string(),
        act: act.to_owned(),
        subject,
        detail: detail.to_owned(),
    }
}

/// A name that others see: 1 to 60 characters, none of them invisible controls.
pub(crate) fn check_name(field: &str, name: &str) -> Result<String, Error> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 60 || name.chars().any(char::is_control) {
        return Err(Error::invalid(field, "use 1 to 60 printable characters"));
    }
    Ok(name.to_owned())
}

impl From<UserRow> for UserView {
    fn from(row: UserRow) -> UserView {
        UserView {
            id: row.id,
            email: row.email.unwrap_or_default(),
            name: row.display_name,
            kind: row.kind,
            access: row.access,
            verification: row.verification,
            locale: row.locale,
            created_at: row.created_at,
        }
    }
}
