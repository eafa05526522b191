//! Charging the wallet through a channel.

use axum::extract::State;
use koban_domain::guest::{Field, FieldKind, Show, Standing};
use koban_domain::ids::FlowId;
use koban_domain::money::Currency;
use koban_service::App;
use koban_service::charges::{self, ChargeInput, ChargeView, Note, Shown};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{DeviceHeader, KeyHeader};
use crate::Web;
use crate::amounts::{Line, Minor, NamedRequest, moment, named};
use crate::headers::IdempotencyKey;
use crate::identity::SignedInUser;
use crate::json::{Created, Json, NoBody};
use crate::place::{ChargeId, Id, PageBody, PageQuery, Query};
use crate::problem::Problem;

/// Routes of charges.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get))
        .routes(routes!(answer))
        .routes(routes!(cancel))
}

/// What a user asks for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChargeRequest {
    /// The channel: a plugin's id.
    #[schema(value_type = String, example = "charge-atm")]
    channel: Line,
    /// How much, in whole minor units, where the channel asks beforehand.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000i64, example = 10_000)]
    amount: Option<Minor>,
    /// The most that the user agrees to, in whole minor units; without it, the most that is possible.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000i64, example = 10_000)]
    at_most: Option<Minor>,
    /// ISO 4217 code; needed with an amount.
    #[schema(value_type = Option<String>, example = "JPY")]
    currency: Option<Currency>,
}

impl ChargeRequest {
    fn input(self) -> Result<ChargeInput, Problem> {
        let money = |minor: Option<Minor>| match (minor, self.currency) {
            (None, _) => Ok(None),
            (Some(minor), Some(currency)) => Ok(Some(minor.of(currency))),
            (Some(_), None) => Err(Problem::invalid("currency", "the field is missing; send it with an amount")),
        };
        Ok(ChargeInput { amount: money(self.amount)?, at_most: money(self.at_most)?, channel: self.channel.0 })
    }
}

/// A filled-in form.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerRequest {
    /// The form's `key` among what is shown.
    #[schema(value_type = String, example = "scan")]
    pub(crate) key: Line,
    /// A value for each field.
    pub(crate) values: Vec<NamedRequest>,
}

/// A charge as its user sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Charge)]
pub(crate) struct ChargeBody {
    /// Its id.
    #[schema(value_type = String, example = "flw_019a3f0c7b2e7c41a5d3000000000000")]
    id: FlowId,
    /// The channel: a plugin's id.
    #[schema(example = "charge-atm")]
    channel: String,
    /// `waiting-for-user`, `waiting-for-partner`, `checking`, or at last `done`, `failed`, `cancelled`.
    #[schema(value_type = String, example = "waiting-for-user")]
    standing: Standing,
    /// What is shown now, in order.
    shows: Vec<ShownBody>,
    /// The most that may be credited, in whole minor units.
    at_most: i64,
    /// Everything credited.
    credited: i64,
    /// What of it was taken back.
    reversed: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// Why it failed, or was closed.
    note: Option<NoteBody>,
    /// When it began.
    opened_at: String,
    /// When it last changed.
    changed_at: String,
}

/// Something that the user is shown: exactly one of text, code, QR code, link, form and consent.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Shown)]
pub(crate) struct ShownBody {
    /// The channel's name for it; a form is answered under it.
    key: String,
    /// `text`, `code`, `qr`, `link`, `form` or `consent`: the field that is there; `fields` for a form, `endpoint` for a consent.
    #[schema(value_type = String, example = "form")]
    kind: &'static str,
    /// Words in the user's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// A code to type or to read out.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// The content of a QR code.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr: Option<String>,
    /// A link.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// The plugin's endpoint where the user is asked to agree: `POST /v1/consents` says where that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// A form's fields, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    fields: Vec<FieldBody>,
}

/// One field of a form.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FormField)]
pub(crate) struct FieldBody {
    /// Its name in the answer.
    name: String,
    /// Its label in the user's language.
    label: String,
    /// `text`, `digits`, `kana`, `amount`, `date`, `choice` or `secret`.
    #[schema(value_type = String, example = "digits")]
    kind: FieldKind,
    /// For a choice: the values.
    choices: Vec<String>,
    /// Whether it must be filled in.
    required: bool,
    /// Longest answer in characters.
    max_length: u32,
}

/// Why a charge ended as it did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChargeNote)]
pub(crate) struct NoteBody {
    /// The plugin's own code.
    pub(crate) code: String,
    /// For the user, in the user's language.
    pub(crate) text: Option<String>,
}

impl From<ChargeView> for ChargeBody {
    fn from(charge: ChargeView) -> ChargeBody {
        ChargeBody {
            id: charge.id,
            channel: charge.channel,
            standing: charge.standing,
            shows: charge.shows.into_iter().map(ShownBody::from).collect(),
            at_most: charge.at_most.minor,
            credited: charge.credited.minor,
            reversed: charge.reversed.minor,
            currency: charge.at_most.currency,
            note: charge.note.map(|Note { code, text }| NoteBody { code, text }),
            opened_at: moment(charge.opened_at),
            changed_at: moment(charge.changed_at),
        }
    }
}

impl From<Shown> for ShownBody {
    fn from(shown: Shown) -> ShownBody {
        let Shown { key, show, text, labels } = shown;
        let empty = ShownBody { key, ..ShownBody::default() };
        match show {
            // A text that the manifest lacks is shown by its key, so that nothing is lost.
            Show::Text(name) => ShownBody { kind: "text", text: Some(text.unwrap_or(name)), ..empty },
            Show::Code(code) => ShownBody { kind: "code", code: Some(code), ..empty },
            Show::Qr(content) => ShownBody { kind: "qr", qr: Some(content), ..empty },
            Show::Consent(endpoint) => ShownBody { kind: "consent", endpoint: Some(endpoint), ..empty },
            Show::Link(link) => ShownBody { kind: "link", link: Some(link), ..empty },
            Show::Form(fields) => {
                let mut labels = labels.into_iter();
                let fields = fields.into_iter().map(|field| field_body(field, labels.next())).collect();
                ShownBody { kind: "form", fields, ..empty }
            }
        }
    }
}

fn field_body(field: Field, label: Option<String>) -> FieldBody {
    FieldBody {
        label: label.unwrap_or_else(|| field.name.clone()),
        name: field.name,
        kind: field.kind,
        choices: field.choices,
        required: field.required,
        max_length: field.max_length,
    }
}

/// Begin to charge the wallet.
///
/// The channel says what happens next: read `shows`, and answer its form if there is one.
#[utoipa::path(post, path = "/v1/charges", tag = "charges", security(("session" = [])),
    params(KeyHeader, DeviceHeader), responses((status = 201, body = ChargeBody)))]
pub(crate) async fn create(
    State(app): State<App>,
    user: SignedInUser,
    key: IdempotencyKey,
    Json(body): Json<ChargeRequest>,
) -> Result<Created<ChargeBody>, Problem> {
    let begun = charges::begin(&app, &user.ctx(key), body.input()?).await?;
    Ok(Created::answered(begun, |charge: &ChargeBody| format!("/v1/charges/{}", charge.id)))
}

/// The signed-in user's charges, newest first.
#[utoipa::path(get, path = "/v1/charges", tag = "charges", security(("session" = [])),
    params(PageQuery), responses((status = 200, body = PageBody<ChargeBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    user: SignedInUser,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<ChargeBody>>, Problem> {
    Ok(Json(PageBody::of(charges::list(&app, &user.reading(), &query.page()?).await?)))
}

/// One charge.
#[utoipa::path(get, path = "/v1/charges/{id}", tag = "charges", security(("session" = [])),
    params(("id" = String, Path, description = "The charge's id.")),
    responses((status = 200, body = ChargeBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    user: SignedInUser,
    Id(ChargeId(id)): Id<ChargeId>,
) -> Result<Json<ChargeBody>, Problem> {
    Ok(Json(charges::get(&app, &user.reading(), id).await?.into()))
}

/// Fill in a form that the charge shows.
///
/// The same answer again while it waits is the same answer.
#[utoipa::path(post, path = "/v1/charges/{id}/answers", tag = "charges", security(("session" = [])),
    params(("id" = String, Path, description = "The charge's id.")),
    responses((status = 200, body = ChargeBody)))]
pub(crate) async fn answer(
    State(app): State<App>,
    user: SignedInUser,
    Id(ChargeId(id)): Id<ChargeId>,
    Json(body): Json<AnswerRequest>,
) -> Result<Json<ChargeBody>, Problem> {
    let values = named("values", body.values)?;
    Ok(Json(charges::answer(&app, &user.reading(), id, &body.key.0, values).await?.into()))
}

/// Ask the channel to stop the charge.
///
/// Whether it still can is the channel's to say: read `standing`.
#[utoipa::path(post, path = "/v1/charges/{id}/cancel", tag = "charges", security(("session" = [])),
    params(("id" = String, Path, description = "The charge's id.")),
    responses((status = 200, body = ChargeBody)))]
pub(crate) async fn cancel(
    State(app): State<App>,
    user: SignedInUser,
    Id(ChargeId(id)): Id<ChargeId>,
    _: NoBody,
) -> Result<Json<ChargeBody>, Problem> {
    Ok(Json(charges::cancel(&app, &user.reading(), id).await?.into()))
}
