//! Reviews: amounts that a fraud rule had held until an operator has looked.

use axum::extract::State;
use koban_domain::ids::{OperatorId, RecordId, ReviewId, UserId};
use koban_domain::money::Currency;
use koban_domain::reviews::{Review, Reviewed};
use koban_service::App;
use koban_service::reviews::{self, ReviewInput};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::moment;
use crate::api::KeyHeader;
use crate::headers::IdempotencyKey;
use crate::identity::Operator;
use crate::json::{Done, Json};
use crate::place::{Id, PageBody, Query, page};
use crate::problem::Problem;

/// Routes of reviews.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(approve)).routes(routes!(decline))
}

/// Which reviews.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewQuery {
    /// Whether only those that nobody has decided yet.
    #[serde(default)]
    open: bool,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// A review.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Review)]
pub(crate) struct ReviewBody {
    /// Its id.
    #[schema(value_type = String, example = "rev_019a3f0c7b2e7c41a5d3000000000000")]
    id: ReviewId,
    /// The payment or transfer whose amount is held.
    #[schema(example = "pay_019a3f0c7b2e7c41a5d3000000000000")]
    subject: String,
    /// Whose money it is.
    #[schema(value_type = String)]
    payer: UserId,
    /// The merchant or user who shall have it.
    payee: String,
    /// Whole minor units.
    #[schema(example = 50_000)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// The decision that asked for it.
    #[schema(value_type = Option<String>)]
    decision: Option<RecordId>,
    /// `open`, `approved`, `declined` or `expired`.
    #[schema(example = "open")]
    state: &'static str,
    /// Since when.
    at: String,
    /// When it ends without a decision.
    expires_at: String,
    /// Who decided.
    #[schema(value_type = Option<String>)]
    operator: Option<OperatorId>,
    /// When it was decided or ended.
    ended_at: Option<String>,
}

impl From<Review> for ReviewBody {
    fn from(review: Review) -> ReviewBody {
        let (subject, payee) = match review.of {
            Reviewed::Payment(of) => (of.payment.to_string(), of.merchant.to_string()),
            Reviewed::Transfer { transfer, receiver, .. } => (transfer.to_string(), receiver.to_string()),
        };
        ReviewBody {
            id: review.id,
            subject,
            payer: review.of.payer(),
            payee,
            amount: review.amount.minor,
            currency: review.amount.currency,
            decision: review.decision,
            state: review.state.word(),
            at: moment(review.at),
            expires_at: moment(review.expires_at),
            operator: review.operator,
            ended_at: review.ended_at.map(moment),
        }
    }
}

/// Reviews, newest first.
#[utoipa::path(get, path = "/v1/operator/reviews", tag = "operator", security(("operator" = [])),
    params(ReviewQuery), responses((status = 200, body = PageBody<ReviewBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<ReviewQuery>,
) -> Result<Json<PageBody<ReviewBody>>, Problem> {
    let page = page(query.after, query.limit)?;
    Ok(Json(PageBody::of(reviews::list(&app, query.open, &page).await?)))
}

/// One review.
#[utoipa::path(get, path = "/v1/operator/reviews/{id}", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The review's id.")),
    responses((status = 200, body = ReviewBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<ReviewId>,
) -> Result<Json<ReviewBody>, Problem> {
    Ok(Json(reviews::get(&app, id).await?.into()))
}

/// Approve: a payment is made or authorised as its payer asked, a transfer is sent.
#[utoipa::path(post, path = "/v1/operator/reviews/{id}/approve", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The review's id."), KeyHeader),
    responses((status = 200, body = ReviewBody)))]
pub(crate) async fn approve(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(review): Id<ReviewId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<ReviewBody>, Problem> {
    let input = ReviewInput { review, approve: true, reason: body.reason.0 };
    Ok(Done::answered(reviews::decide(&app, &operator.ctx(key), input).await?))
}

/// Decline: what is held goes back to where it was.
#[utoipa::path(post, path = "/v1/operator/reviews/{id}/decline", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The review's id."), KeyHeader),
    responses((status = 200, body = ReviewBody)))]
pub(crate) async fn decline(
    State(app): State<App>,
    operator: Operator,
    key: IdempotencyKey,
    Id(review): Id<ReviewId>,
    Json(body): Json<ReasonRequest>,
) -> Result<Done<ReviewBody>, Problem> {
    let input = ReviewInput { review, approve: false, reason: body.reason.0 };
    Ok(Done::answered(reviews::decide(&app, &operator.ctx(key), input).await?))
}
