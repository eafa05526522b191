//! Taking money out of the wallet through a channel that pays out.

use axum::extract::State;
use koban_domain::guest::Standing;
use koban_domain::ids::FlowId;
use koban_domain::money::{Currency, Money};
use koban_service::App;
use koban_service::charges::Note;
use koban_service::withdrawals::{self, WithdrawInput, WithdrawalView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::charges::{AnswerRequest, NoteBody, ShownBody};
use super::{DeviceHeader, KeyHeader};
use crate::Web;
use crate::amounts::{Line, Minor, moment, named};
use crate::headers::IdempotencyKey;
use crate::identity::SignedInUser;
use crate::json::{Created, Json, NoBody};
use crate::place::{Id, PageBody, PageQuery, Query, WithdrawalId};
use crate::problem::Problem;

/// Routes of withdrawals.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get))
        .routes(routes!(answer))
        .routes(routes!(cancel))
}

/// What a user wants to take out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithdrawalRequest {
    /// The channel: a plugin's id.
    #[schema(value_type = String, example = "bank-transfer")]
    channel: Line,
    /// What the user gets, in whole minor units.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 10_000)]
    amount: Minor,
    /// What it costs on top, as the user was shown; nothing unless it is said. A channel that asks for another fee refuses, and says which.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000i64, example = 216)]
    fee: Option<Minor>,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

impl From<WithdrawalRequest> for WithdrawInput {
    fn from(body: WithdrawalRequest) -> WithdrawInput {
        let fee = body.fee.map_or(Money::new(0, body.currency), |fee| fee.of(body.currency));
        WithdrawInput { channel: body.channel.0, amount: body.amount.of(body.currency), fee }
    }
}

/// A withdrawal as its user sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawal)]
pub(crate) struct WithdrawalBody {
    /// Its id.
    #[schema(value_type = String, example = "flw_019a3f0c7b2e7c41a5d3000000000000")]
    id: FlowId,
    /// The channel.
    #[schema(example = "bank-transfer")]
    channel: String,
    /// `waiting-for-user`, `waiting-for-partner`, `checking`, or at last `done`, `failed`, `cancelled`.
    #[schema(value_type = String, example = "done")]
    standing: Standing,
    /// What the user gets, in whole minor units.
    amount: i64,
    /// What it costs on top.
    fee: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// What is shown now, in order.
    shows: Vec<ShownBody>,
    /// What is set aside for it: it can be spent again if nothing is taken out.
    held: i64,
    /// What was taken out, fee included.
    taken: i64,
    /// Why it failed, or was closed.
    note: Option<NoteBody>,
    /// When it began.
    opened_at: String,
    /// When it last changed.
    changed_at: String,
}

impl From<WithdrawalView> for WithdrawalBody {
    fn from(withdrawal: WithdrawalView) -> WithdrawalBody {
        WithdrawalBody {
            id: withdrawal.id,
            channel: withdrawal.channel,
            standing: withdrawal.standing,
            amount: withdrawal.amount.minor,
            fee: withdrawal.fee.minor,
            currency: withdrawal.amount.currency,
            shows: withdrawal.shows.into_iter().map(ShownBody::from).collect(),
            held: withdrawal.held.minor,
            taken: withdrawal.taken.minor,
            note: withdrawal.note.map(|Note { code, text }| NoteBody { code, text }),
            opened_at: moment(withdrawal.opened_at),
            changed_at: moment(withdrawal.changed_at),
        }
    }
}

/// Begin to take money out of the wallet.
///
/// Only a verified user's funds can be taken out. Amount and fee are set aside; where the money shall go the channel asks in a form: read `shows`. It is
/// taken when the channel's partner has it: read `standing`.
#[utoipa::path(post, path = "/v1/withdrawals", tag = "withdrawals", security(("session" = [])),
    params(KeyHeader, DeviceHeader), responses((status = 201, body = WithdrawalBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Json(body): Json<WithdrawalRequest>,
) -> Result<Created<WithdrawalBody>, Problem> {
    let begun = withdrawals::begin(&app, &user.ctx(key), body.into()).await?;
    Ok(Created::answered(begun, |withdrawal: &WithdrawalBody| format!("/v1/withdrawals/{}", withdrawal.id)))
}

/// The signed-in user's withdrawals, newest first.
#[utoipa::path(get, path = "/v1/withdrawals", tag = "withdrawals", security(("session" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<WithdrawalBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<WithdrawalBody>>, Problem> {
    Ok(Json(PageBody::of(withdrawals::list(&app, &user.reading(), &query.page()?).await?)))
}

/// One withdrawal.
#[utoipa::path(get, path = "/v1/withdrawals/{id}", tag = "withdrawals", security(("session" = [])),
    params(("id" = String, Path, description = "The withdrawal's id.")),
    responses((status = 200, body = WithdrawalBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Id(WithdrawalId(id)): Id<WithdrawalId>,
) -> Result<Json<WithdrawalBody>, Problem> {
    Ok(Json(withdrawals::get(&app, &user.reading(), id).await?.into()))
}

/// Fill in a form that the withdrawal shows.
///
/// The same answer again while it waits is the same answer.
#[utoipa::path(post, path = "/v1/withdrawals/{id}/answers", tag = "withdrawals", security(("session" = [])),
    params(("id" = String, Path, description = "The withdrawal's id.")),
    responses((status = 200, body = WithdrawalBody)))]
pub(crate) async fn answer(
    State(app): State<App>,
    user: SignedInUser,
    Id(WithdrawalId(id)): Id<WithdrawalId>,
    Json(body): Json<AnswerRequest>,
) -> Result<Json<WithdrawalBody>, Problem> {
    let AnswerRequest { key, values } = body;
    let values = named("values", values)?;
    Ok(Json(withdrawals::answer(&app, &user.reading(), id, &key.0, values).await?.into()))
}

/// Ask the channel to stop the withdrawal.
///
/// Whether it still can is the channel's to say: read `standing`. What its partner has is final.
#[utoipa::path(post, path = "/v1/withdrawals/{id}/cancel", tag = "withdrawals", security(("session" = [])),
    params(("id" = String, Path, description = "The withdrawal's id.")),
    responses((status = 200, body = WithdrawalBody)))]
pub(crate) async fn cancel(
    State(app): State<App>,
    user: SignedInUser,
    Id(WithdrawalId(id)): Id<WithdrawalId>,
    _: NoBody,
) -> Result<Json<WithdrawalBody>, Problem> {
    Ok(Json(withdrawals::cancel(&app, &user.reading(), id).await?.into()))
}
