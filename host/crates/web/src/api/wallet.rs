//! The signed-in user's wallet.

use axum::extract::State;
use koban_domain::ids::UserId;
use koban_domain::limits::WalletKind;
use koban_domain::money::Currency;
use koban_service::App;
use koban_service::wallets::{self, WalletView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::statements::StatementLineBody;
use crate::Web;
use crate::identity::SignedInUser;
use crate::json::Json;
use crate::place::{CurrencyPageQuery, PageBody, Query};
use crate::problem::Problem;

/// Routes of the wallet.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(all)).routes(routes!(statement))
}

/// What a user has and owes, in whole minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Wallet)]
pub(crate) struct WalletBody {
    /// Whose.
    #[schema(value_type = String)]
    user: UserId,
    /// `prepaid` before verification, `funds` after it.
    #[schema(value_type = String, example = "prepaid")]
    kind: WalletKind,
    /// ISO 4217 code of all amounts.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// What may be spent now.
    available: i64,
    /// Prepaid value: pays, but is never sent or cashed out.
    prepaid: i64,
    /// Funds.
    funds: i64,
    /// What is owed; the next charge repays it first.
    receivable: i64,
}

impl From<WalletView> for WalletBody {
    fn from(wallet: WalletView) -> WalletBody {
        WalletBody {
            user: wallet.user,
            kind: wallet.kind,
            currency: wallet.available.currency,
            available: wallet.available.minor,
            prepaid: wallet.prepaid.minor,
            funds: wallet.funds.minor,
            receivable: wallet.receivable.minor,
        }
    }
}

/// In which currency.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WalletQuery {
    /// ISO 4217 code, JPY unless told.
    #[param(value_type = Option<String>, example = "JPY")]
    currency: Option<Currency>,
}

/// What the signed-in user has and owes in one currency.
#[utoipa::path(get, path = "/v1/wallet", tag = "wallet", security(("session" = [])),
    params(WalletQuery), responses((status = 200, body = WalletBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<WalletQuery>,
) -> Result<Json<WalletBody>, Problem> {
    let currency = query.currency.unwrap_or(Currency::JPY);
    Ok(Json(wallets::balances_in(&app, user.id, currency).await?.into()))
}

/// What the signed-in user has and owes in every currency of the platform, yen first.
#[utoipa::path(get, path = "/v1/wallets", tag = "wallet", security(("session" = [])),
    responses((status = 200, body = PageBody<WalletBody>)))]
pub(crate) async fn all(State(app): State<App>, user: SignedInUser) -> Result<Json<PageBody<WalletBody>>, Problem> {
    Ok(Json(PageBody::whole(wallets::all(&app, user.id).await?)))
}

/// What happened in the wallet of one currency, newest first.
#[utoipa::path(get, path = "/v1/wallet/statement", tag = "wallet", security(("session" = [])),
    params(CurrencyPageQuery), responses((status = 200, body = PageBody<StatementLineBody>)))]
pub(crate) async fn statement(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<CurrencyPageQuery>,
) -> Result<Json<PageBody<StatementLineBody>>, Problem> {
    let (currency, page) = query.page()?;
    Ok(Json(PageBody::of(wallets::statement(&app, user.id, (currency, &page)).await?)))
}
