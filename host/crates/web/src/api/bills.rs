//! Paying bills: saying what a code is, and paying it from the wallet.

use axum::extract::State;
use koban_domain::guest::{Bill, BillCode, BillSource, Standing, Value};
use koban_domain::ids::FlowId;
use koban_domain::money::{Currency, Money};
use koban_domain::time::Timestamp;
use koban_service::App;
use koban_service::bills::{self, BillView, PayInput, Recognised};
use koban_service::charges::Note;
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
use crate::place::{BillId, Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of bills.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(recognise))
        .routes(routes!(create, list))
        .routes(routes!(get))
        .routes(routes!(answer))
        .routes(routes!(cancel))
}

/// A code, as it was scanned or typed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BillCode)]
pub(crate) struct CodeRequest {
    /// How it came in.
    source: SourceWord,
    /// Its content: 1 to 2,000 bytes without control characters, but for the group separator of GS1.
    #[schema(min_length = 1, max_length = 2000, example = "91912345000000000000000000045218103100128004")]
    content: String,
}

/// How a code came in.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = BillSource)]
pub(crate) enum SourceWord {
    /// Scanned from a one-dimensional bar code.
    BarCode,
    /// Scanned from a QR code.
    Qr,
    /// Typed by the user.
    Typed,
}

impl From<CodeRequest> for BillCode {
    fn from(code: CodeRequest) -> BillCode {
        let source = match code.source {
            SourceWord::BarCode => BillSource::BarCode,
            SourceWord::Qr => BillSource::Qr,
            SourceWord::Typed => BillSource::Typed,
        };
        BillCode { source, content: code.content }
    }
}

/// What a user agrees to pay.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayBillRequest {
    /// The plugin that recognised the code.
    #[schema(value_type = String, example = "bill-slip")]
    payer: Line,
    /// The code.
    code: CodeRequest,
    /// What the biller gets, as it was recognised, in whole minor units.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 12_800)]
    amount: Minor,
    /// What the user pays on top, as it was recognised; nothing unless it is said.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000i64)]
    fee: Option<Minor>,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Who is paid, as the code was recognised. If it is said, nothing is begun when the code names another one by now.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, example = "912345")]
    biller: Option<Line>,
    /// The biller's own id of the bill, likewise.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    reference: Option<Line>,
}

impl From<PayBillRequest> for PayInput {
    fn from(body: PayBillRequest) -> PayInput {
        let fee = body.fee.map_or(Money::new(0, body.currency), |fee| fee.of(body.currency));
        let (biller, reference) = (body.biller.map(|line| line.0), body.reference.map(|line| line.0));
        PayInput {
            payer: body.payer.0,
            code: body.code.into(),
            amount: body.amount.of(body.currency),
            fee,
            biller,
            reference,
        }
    }
}

/// What a bill says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BillData)]
pub(crate) struct BillData {
    /// The biller's id in its scheme.
    #[schema(example = "912345")]
    biller: String,
    /// The biller's name.
    name: String,
    /// The biller's own id of the bill. Together with `biller` it is paid once.
    reference: String,
    /// What the biller gets, in whole minor units.
    amount: i64,
    /// What the user pays on top.
    fee: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// The last moment at which it may be paid.
    due: Option<String>,
}

impl From<Bill> for BillData {
    fn from(bill: Bill) -> BillData {
        BillData {
            biller: bill.biller,
            name: bill.name,
            reference: bill.reference,
            amount: bill.amount.minor,
            fee: bill.fee.minor,
            currency: bill.amount.currency,
            due: bill.due.map(|at| moment(Timestamp(i64::try_from(at).unwrap_or(i64::MAX)))),
        }
    }
}

/// A bill that a plugin knows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecognisedBill)]
pub(crate) struct RecognisedBody {
    /// The plugin that would pay it.
    #[schema(example = "bill-slip")]
    payer: String,
    /// What it says.
    #[serde(flatten)]
    bill: BillData,
    /// Further lines for the user.
    lines: Vec<LineBody>,
}

/// A line about a bill.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BillLine)]
pub(crate) struct LineBody {
    /// What it is, in the user's language.
    label: String,
    /// What the bill says of it.
    value: String,
}

impl From<Recognised> for RecognisedBody {
    fn from(found: Recognised) -> RecognisedBody {
        let lines = found.lines.into_iter().map(|(label, value)| LineBody { label, value: shown(value) });
        RecognisedBody { payer: found.payer, bill: found.bill.into(), lines: lines.collect() }
    }
}

fn shown(value: Value) -> String {
    match value {
        Value::Text(text) | Value::Secret(text) => text,
        Value::Whole(number) => number.to_string(),
        Value::Amount(money) => money.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Moment(at) => moment(Timestamp(i64::try_from(at).unwrap_or(i64::MAX))),
        Value::Rate(rate) => format!("{}e-{}", rate.mantissa, rate.scale),
    }
}

/// A bill as its payer sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PaidBill)]
pub(crate) struct BillBody {
    /// Its id.
    #[schema(value_type = String, example = "flw_019a3f0c7b2e7c41a5d3000000000000")]
    id: FlowId,
    /// The plugin that pays it.
    #[schema(example = "bill-slip")]
    payer: String,
    /// `waiting-for-user`, `waiting-for-partner`, `checking`, or at last `done`, `failed`, `cancelled`.
    #[schema(value_type = String, example = "done")]
    standing: Standing,
    /// What it says.
    #[serde(flatten)]
    bill: BillData,
    /// What is shown now, in order.
    shows: Vec<ShownBody>,
    /// What is set aside for it, in whole minor units: it can be spent again if the bill is not paid.
    held: i64,
    /// What was paid, fee included.
    paid: i64,
    /// Why it failed, or was closed.
    note: Option<NoteBody>,
    /// When it began.
    opened_at: String,
    /// When it last changed.
    changed_at: String,
}

impl From<BillView> for BillBody {
    fn from(bill: BillView) -> BillBody {
        BillBody {
            id: bill.id,
            payer: bill.payer,
            standing: bill.standing,
            bill: bill.bill.into(),
            shows: bill.shows.into_iter().map(ShownBody::from).collect(),
            held: bill.held.minor,
            paid: bill.paid.minor,
            note: bill.note.map(|Note { code, text }| NoteBody { code, text }),
            opened_at: moment(bill.opened_at),
            changed_at: moment(bill.changed_at),
        }
    }
}

/// Say what bill a code is.
///
/// Each plugin that pays bills is asked in turn until one knows the code. Nothing is paid, and nothing is set aside.
#[utoipa::path(post, path = "/v1/bills/recognise", tag = "bills", security(("session" = [])),
    params(DeviceHeader), responses((status = 200, body = RecognisedBody)))]
pub(crate) async fn recognise(
    State(app): State<App>,
    user: SignedInUser,
    Json(body): Json<CodeRequest>,
) -> Result<Json<RecognisedBody>, Problem> {
    Ok(Json(bills::recognise(&app, &user.reading(), &body.into()).await?.into()))
}

/// Pay a bill from the wallet.
///
/// Amount and fee are those that were recognised: if the code says something else by now, nothing is done. The amount is set aside at once and
/// taken when the biller has it: read `standing`.
#[utoipa::path(post, path = "/v1/bills", tag = "bills", security(("session" = [])),
    params(KeyHeader, DeviceHeader), responses((status = 201, body = BillBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Json(body): Json<PayBillRequest>,
) -> Result<Created<BillBody>, Problem> {
    let begun = bills::pay(&app, &user.ctx(key), body.into()).await?;
    Ok(Created::answered(begun, |bill: &BillBody| format!("/v1/bills/{}", bill.id)))
}

/// The signed-in user's bills, newest first.
#[utoipa::path(get, path = "/v1/bills", tag = "bills", security(("session" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<BillBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<BillBody>>, Problem> {
    Ok(Json(PageBody::of(bills::list(&app, &user.reading(), &query.page()?).await?)))
}

/// One bill.
#[utoipa::path(get, path = "/v1/bills/{id}", tag = "bills", security(("session" = [])),
    params(("id" = String, Path, description = "The bill's id.")),
    responses((status = 200, body = BillBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Id(BillId(id)): Id<BillId>,
) -> Result<Json<BillBody>, Problem> {
    Ok(Json(bills::get(&app, &user.reading(), id).await?.into()))
}

/// Fill in a form that the bill shows.
///
/// The same answer again while it waits is the same answer.
#[utoipa::path(post, path = "/v1/bills/{id}/answers", tag = "bills", security(("session" = [])),
    params(("id" = String, Path, description = "The bill's id.")),
    responses((status = 200, body = BillBody)))]
pub(crate) async fn answer(
    State(app): State<App>,
    user: SignedInUser,
    Id(BillId(id)): Id<BillId>,
    Json(body): Json<AnswerRequest>,
) -> Result<Json<BillBody>, Problem> {
    let AnswerRequest { key, values } = body;
    let values = named("values", values)?;
    Ok(Json(bills::answer(&app, &user.reading(), id, &key.0, values).await?.into()))
}

/// Ask the plugin not to pay the bill after all.
///
/// Whether it still can is the plugin's to say: read `standing`. What a biller has is final.
#[utoipa::path(post, path = "/v1/bills/{id}/cancel", tag = "bills", security(("session" = [])),
    params(("id" = String, Path, description = "The bill's id.")),
    responses((status = 200, body = BillBody)))]
pub(crate) async fn cancel(
    State(app): State<App>,
    user: SignedInUser,
    Id(BillId(id)): Id<BillId>,
    _: NoBody,
) -> Result<Json<BillBody>, Problem> {
    Ok(Json(bills::cancel(&app, &user.reading(), id).await?.into()))
}
