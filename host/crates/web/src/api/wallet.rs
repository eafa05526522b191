//! The signed-in user's wallet.

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use koban_domain::ids::UserId;
use koban_domain::limits::WalletKind;
use koban_domain::money::Currency;
use koban_domain::time::Timestamp;
use koban_service::App;
use koban_service::wallets::{self, WalletView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::statements::StatementLineBody;
use crate::Web;
use crate::amounts::moment;
use crate::csv;
use crate::identity::SignedInUser;
use crate::json::Json;
use crate::place::{CurrencyPageQuery, PageBody, Query};
use crate::problem::Problem;

/// Routes of the wallet.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(get))
        .routes(routes!(all))
        .routes(routes!(statement))
        .routes(routes!(past))
        .routes(routes!(whole))
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
    /// Bonus, as long as its time lasts: pays first, and is never sent, cashed out or exchanged.
    bonus: i64,
    /// What of the bonus ends next; null if there is none.
    #[schema(required)]
    bonus_next: Option<EndingBody>,
}

/// Bonus that ends.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndingBonus)]
pub(crate) struct EndingBody {
    /// Whole minor units.
    #[schema(example = 300)]
    amount: i64,
    /// From when on it may not be spent any more.
    expires_at: String,
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
            bonus: wallet.bonus.left.minor,
            bonus_next: wallet
                .bonus
                .next
                .map(|(amount, at)| EndingBody { amount: amount.minor, expires_at: moment(at) }),
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

/// At which time, in which currency.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PastQuery {
    /// The time, in Unix milliseconds.
    #[param(example = 1_577_804_400_000i64)]
    at_ms: i64,
    /// ISO 4217 code, JPY unless told.
    #[param(value_type = Option<String>, example = "JPY")]
    currency: Option<Currency>,
}

/// What a user had and owed at a time, in whole minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PastBalances)]
pub(crate) struct PastBody {
    /// When.
    at: String,
    /// ISO 4217 code of all amounts.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Prepaid value.
    prepaid: i64,
    /// Funds.
    funds: i64,
    /// What was owed.
    receivable: i64,
    /// Bonus; of what had ended, what nobody had swept yet.
    bonus: i64,
}

/// What the signed-in user had and owed at a time that has been.
#[utoipa::path(get, path = "/v1/wallet/balances", tag = "wallet", security(("session" = [])),
    params(PastQuery), responses((status = 200, body = PastBody)))]
pub(crate) async fn past(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<PastQuery>,
) -> Result<Json<PastBody>, Problem> {
    let currency = query.currency.unwrap_or(Currency::JPY);
    let past = wallets::balances_at(&app, user.id, (currency, Timestamp(query.at_ms))).await?;
    Ok(Json(PastBody {
        at: moment(past.at),
        currency,
        prepaid: past.prepaid.minor,
        funds: past.funds.minor,
        receivable: past.receivable.minor,
        bonus: past.bonus.minor,
    }))
}

/// From when to when, in which currency.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WholeQuery {
    /// From this time on, in Unix milliseconds.
    #[param(example = 1_575_126_000_000i64)]
    from_ms: i64,
    /// Up to before this time, in Unix milliseconds.
    #[param(example = 1_577_804_400_000i64)]
    to_ms: i64,
    /// ISO 4217 code, JPY unless told.
    #[param(value_type = Option<String>, example = "JPY")]
    currency: Option<Currency>,
}

/// What happened in the wallet of one currency within a time, newest first, as CSV.
///
/// At most 10,000 lines. Amounts have the currency's decimals. Text that a spreadsheet would take for a formula begins with an apostrophe.
#[utoipa::path(get, path = "/v1/wallet/statement.csv", tag = "wallet", security(("session" = [])),
    params(WholeQuery), responses((status = 200, body = String, content_type = "text/csv")))]
pub(crate) async fn whole(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<WholeQuery>,
) -> Result<impl IntoResponse, Problem> {
    let currency = query.currency.unwrap_or(Currency::JPY);
    let time = (Timestamp(query.from_ms), Timestamp(query.to_ms));
    let lines = wallets::whole_statement(&app, user.id, currency, time).await?;
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"statement.csv\""),
    ];
    Ok((headers, csv::of(&lines)))
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
