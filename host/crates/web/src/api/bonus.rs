//! Lots of bonus, as their owners and operators see them.

use axum::extract::State;
use koban_domain::bonus::Lot;
use koban_domain::ids::{CampaignId, LotId, UserId};
use koban_domain::money::Currency;
use koban_service::{App, bonus};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::moment;
use crate::identity::SignedInUser;
use crate::json::Json;
use crate::place::{PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of lots.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A lot of bonus. It pays merchants until it ends, and is never sent, cashed out or exchanged.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lot)]
pub(crate) struct LotBody {
    /// Its id.
    #[schema(value_type = String, example = "lot_019a3f0c7b2e7c41a5d3000000000000")]
    pub(crate) id: LotId,
    /// Whose.
    #[schema(value_type = String)]
    user: UserId,
    /// Which campaign granted it.
    #[schema(value_type = String)]
    campaign: CampaignId,
    /// What was granted, in whole minor units.
    #[schema(example = 300)]
    amount: i64,
    /// What is left of it, in whole minor units.
    #[schema(example = 100)]
    left: i64,
    /// What of that is held for payments.
    held: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// From when on it may be spent.
    usable_from: String,
    /// From when on it may not be spent any more.
    expires_at: String,
    /// When it was taken back, or the account was closed.
    ended_at: Option<String>,
    /// When it was granted.
    at: String,
}

impl From<Lot> for LotBody {
    fn from(lot: Lot) -> LotBody {
        LotBody {
            id: lot.id,
            user: lot.user,
            campaign: lot.campaign,
            amount: lot.amount.minor,
            left: lot.left,
            held: lot.held,
            currency: lot.amount.currency,
            usable_from: moment(lot.usable_from),
            expires_at: moment(lot.expires_at),
            ended_at: lot.ended_at.map(moment),
            at: moment(lot.at),
        }
    }
}

/// What the signed-in user was granted of bonus, newest first; what was spent or has ended, too.
#[utoipa::path(get, path = "/v1/wallet/lots", tag = "wallet", security(("session" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<LotBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<LotBody>>, Problem> {
    Ok(Json(PageBody::of(bonus::lots_of(&app, user.id, &query.page()?).await?)))
}
