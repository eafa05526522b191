//! Sending money to other users.

use axum::extract::State;
use koban_domain::ids::{RecordId, TransferId, UserId};
use koban_domain::money::Currency;
use koban_domain::transfers::{Transfer, TransferState};
use koban_service::App;
use koban_service::transfers::{self, SendInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{DeviceHeader, KeyHeader, StepUpHeader};
use crate::Web;
use crate::amounts::{Line, Minor, moment};
use crate::headers::IdempotencyKey;
use crate::identity::SignedInUser;
use crate::json::{Created, Json};
use crate::place::{CurrencyPageQuery, Id, PageBody, Query};
use crate::problem::Problem;

/// Routes of transfers.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(get))
}

/// What a sender asks for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferRequest {
    /// Who shall receive; a verified user.
    #[schema(value_type = String, example = "usr_019a3f0c7b2e7c41a5d3000000000000")]
    receiver: UserId,
    /// Whole minor units: yen for JPY.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 2000)]
    amount: Minor,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Words to the receiver, at most 100 characters.
    #[schema(value_type = Option<String>, example = "ありがとう")]
    message: Option<Line>,
}

impl TransferRequest {
    /// What it asks for.
    pub(crate) fn input(self) -> SendInput {
        let (receiver, amount) = (self.receiver, self.amount.of(self.currency));
        SendInput { receiver, amount, message: self.message.map(|line| line.0) }
    }
}

/// A transfer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Transfer)]
pub(crate) struct TransferBody {
    /// Its id.
    #[schema(value_type = String, example = "trf_019a3f0c7b2e7c41a5d3000000000000")]
    id: TransferId,
    /// Who sent.
    #[schema(value_type = String)]
    sender: UserId,
    /// Who received.
    #[schema(value_type = String)]
    receiver: UserId,
    /// `sent`, or `in-review` until an operator has looked, then perhaps `declined` or `expired`.
    #[schema(example = "sent")]
    state: &'static str,
    /// Whole minor units.
    #[schema(example = 2000)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Words to the receiver.
    message: Option<String>,
    /// The decision that allowed it.
    #[schema(value_type = Option<String>)]
    decision: Option<RecordId>,
    /// When it was posted or held.
    at: String,
}

impl From<Transfer> for TransferBody {
    fn from(transfer: Transfer) -> TransferBody {
        TransferBody {
            id: transfer.id,
            sender: transfer.sender,
            receiver: transfer.receiver,
            state: transfer.state.word(),
            amount: transfer.amount.minor,
            currency: transfer.amount.currency,
            message: transfer.message,
            decision: transfer.decision,
            at: moment(transfer.at),
        }
    }
}

/// Send money from the signed-in user's funds.
///
/// Both sides must be verified. The fraud rules judge it first; if one wants a person to look, the amount is held until then and the
/// answer is 202.
#[utoipa::path(post, path = "/v1/transfers", tag = "transfers", security(("session" = [])),
    params(KeyHeader, DeviceHeader, StepUpHeader), responses((status = 201, body = TransferBody),
        (status = 202, body = TransferBody, description = "Held until an operator has looked at it.")))]
pub(crate) async fn create(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Json(body): Json<TransferRequest>,
) -> Result<Created<TransferBody>, Problem> {
    let sent = transfers::send(&app, &user.ctx(key), body.input()).await?;
    let waits = sent.value.state == TransferState::InReview;
    Ok(Created::answered(sent, |transfer: &TransferBody| format!("/v1/transfers/{}", transfer.id)).waiting(waits))
}

/// The signed-in user's transfers in one currency, sent and received, newest first.
#[utoipa::path(get, path = "/v1/transfers", tag = "transfers", security(("session" = [])),
    params(CurrencyPageQuery), responses((status = 200, body = PageBody<TransferBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<CurrencyPageQuery>,
) -> Result<Json<PageBody<TransferBody>>, Problem> {
    let (currency, page) = query.page()?;
    Ok(Json(PageBody::of(transfers::list(&app, &user.reading(), (currency, &page)).await?)))
}

/// One transfer, for its sender or its receiver.
#[utoipa::path(get, path = "/v1/transfers/{id}", tag = "transfers", security(("session" = [])),
    params(("id" = String, Path, description = "The transfer's id.")),
    responses((status = 200, body = TransferBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Id(id): Id<TransferId>,
) -> Result<Json<TransferBody>, Problem> {
    Ok(Json(transfers::get(&app, &user.reading(), id).await?.into()))
}
