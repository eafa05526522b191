//! Publishers: whose signature under a package counts.

use axum::extract::State;
use koban_service::App;
use koban_service::publishers::{self, PublisherRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReasonRequest;
use crate::Web;
use crate::amounts::{Line, moment};
use crate::identity::Operator;
use crate::json::{Created, Json};
use crate::place::{Id, Named, PageBody};
use crate::problem::Problem;

/// Routes of publishers.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(add)).routes(routes!(trust)).routes(routes!(revoke))
}

/// A publisher's key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublisherRequest {
    /// What you call it: 2 to 40 of a-z, 0-9 and `-`.
    #[schema(value_type = String, example = "example-inc")]
    name: Line,
    /// Its Ed25519 public key: 64 hexadecimal digits.
    #[schema(value_type = String)]
    key: Line,
}

/// A publisher.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Publisher)]
pub(crate) struct PublisherBody {
    /// What operators call it.
    #[schema(example = "example-inc")]
    name: String,
    /// Its public key.
    key: String,
    /// `known`, `trusted` or `revoked`.
    #[schema(example = "trusted")]
    state: &'static str,
    /// Why it is trusted or revoked.
    note: String,
    /// Since when it is known.
    added_at: String,
    /// Since when it stands so.
    changed_at: String,
}

impl From<PublisherRow> for PublisherBody {
    fn from(publisher: PublisherRow) -> PublisherBody {
        PublisherBody {
            name: publisher.name,
            key: publisher.key.iter().map(|byte| format!("{byte:02x}")).collect(),
            state: publisher.state.word(),
            note: publisher.note,
            added_at: moment(publisher.added_at),
            changed_at: moment(publisher.changed_at),
        }
    }
}

/// A publisher's name in a path.
#[derive(Debug, Clone)]
pub(crate) struct PublisherName(String);

impl std::str::FromStr for PublisherName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if plain && (2..=40).contains(&text.len()) { Ok(PublisherName(text.to_owned())) } else { Err(()) }
    }
}

impl Named for PublisherName {
    const NOUN: &'static str = "publisher";
}

/// Every publisher, in the order of names.
#[utoipa::path(get, path = "/v1/operator/publishers", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = PageBody<PublisherBody>)))]
pub(crate) async fn list(State(app): State<App>, _: Operator) -> Result<Json<PageBody<PublisherBody>>, Problem> {
    Ok(Json(PageBody::whole(publishers::list(&app).await?)))
}

/// Add a publisher's key.
///
/// Nothing that it signs is taken before somebody trusts it. Compare the key by another way than the one the package came.
#[utoipa::path(post, path = "/v1/operator/publishers", tag = "operator", security(("operator" = [])),
    responses((status = 201, body = PublisherBody)))]
pub(crate) async fn add(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<PublisherRequest>,
) -> Result<Created<PublisherBody>, Problem> {
    let publisher = publishers::add(&app, &operator.reading(), &body.name.0, &body.key.0).await?;
    let place = format!("/v1/operator/publishers/{}", publisher.name);
    Ok(Created::new(place, publisher.into()))
}

/// Take what a publisher signs.
#[utoipa::path(post, path = "/v1/operator/publishers/{id}/trust", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The publisher's name.")),
    responses((status = 200, body = PublisherBody)))]
pub(crate) async fn trust(
    State(app): State<App>,
    operator: Operator,
    Id(PublisherName(name)): Id<PublisherName>,
    Json(body): Json<ReasonRequest>,
) -> Result<Json<PublisherBody>, Problem> {
    Ok(Json(publishers::trust(&app, &operator.reading(), &name, &body.reason.0).await?.into()))
}

/// Revoke a publisher.
///
/// From the next commit on nothing may rest on anything that it ever signed. Where its releases were enabled, the last good release of
/// somebody else decides again. It cannot be taken back.
#[utoipa::path(post, path = "/v1/operator/publishers/{id}/revoke", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The publisher's name.")),
    responses((status = 200, body = PublisherBody)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    operator: Operator,
    Id(PublisherName(name)): Id<PublisherName>,
    Json(body): Json<ReasonRequest>,
) -> Result<Json<PublisherBody>, Problem> {
    Ok(Json(publishers::revoke(&app, &operator.reading(), &name, &body.reason.0).await?.into()))
}
