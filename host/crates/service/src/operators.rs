//! The people who run the platform.

use koban_domain::ids::OperatorId;
use koban_domain::time::Timestamp;
use koban_store::StoreErrorKind;
use koban_store::operators::OperatorRow;
use koban_store::sessions::SessionOwner;

use crate::app::App;
use crate::ctx::{Actor, Ctx};
use crate::error::Error;
use crate::identity;
use crate::users::{self, SignedIn};

/// The operator that the command line acts as: whoever can open the database is one.
pub const COMMAND_LINE: OperatorId = OperatorId(uuid::Uuid::nil());

/// The circumstances of a command given on the command line.
pub fn command_line(key: impl Into<String>) -> Ctx {
    Ctx::new(Actor::Operator(COMMAND_LINE), key)
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
    let audit = users::audit(app, ctx, "operator.create", operator.id.to_string(), "{}");
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

impl From<OperatorRow> for OperatorView {
    fn from(row: OperatorRow) -> OperatorView {
        OperatorView { id: row.id, email: row.email, name: row.name, created_at: row.created_at }
    }
}
