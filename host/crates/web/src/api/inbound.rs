//! Calls that partners make to plugins: taken as they come, answered as the plugin's step says.

use axum::body::Body;
use axum::extract::{Path, Query as AnyQuery, Request, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use koban_service::App;
use koban_service::flows::{self, InboundReply, InboundRequest};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::codes::Trouble;
use crate::json::{Bounds, read};
use crate::problem::Problem;

/// Routes of partners' calls.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(receive)).routes(routes!(receive_below))
}

/// A partner's call.
///
/// Signed as the endpoint's credential asks (Standard Webhooks 1.0.0, or HMAC by the manifest's template); the answer is signed in the same way. The same call again
/// gets the stored answer. Without a valid signature nothing happens.
#[utoipa::path(post, path = "/v1/inbound/{plugin}/{operation}", tag = "partners",
    params(("plugin" = String, Path, description = "The plugin's id."),
        ("operation" = String, Path, description = "The inbound operation of its manifest.")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The exact signed bytes."),
    responses((status = 200, description = "As the plugin answers; other statuses are possible.")))]
pub(crate) async fn receive(
    State(app): State<App>,
    Path((plugin, operation)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    deliver(&app, plugin, operation, String::new(), request).await
}

/// A partner's call with more of a path.
///
/// As the call without it; the plugin is told what follows the operation's name.
#[utoipa::path(post, path = "/v1/inbound/{plugin}/{operation}/{*path}", tag = "partners",
    params(("plugin" = String, Path, description = "The plugin's id."),
        ("operation" = String, Path, description = "The inbound operation of its manifest."),
        ("path" = String, Path, description = "What the plugin is told of the path.")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The exact signed bytes."),
    responses((status = 200, description = "As the plugin answers; other statuses are possible.")))]
pub(crate) async fn receive_below(
    State(app): State<App>,
    Path((plugin, operation, path)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    deliver(&app, plugin, operation, format!("/{path}"), request).await
}

async fn deliver(
    app: &App,
    plugin: String,
    operation: String,
    path: String,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let bounds = Bounds::of_request(&request);
    let query = AnyQuery::<Vec<(String, String)>>::try_from_uri(request.uri());
    let AnyQuery(query) = query.map_err(|rejection| Problem::invalid("query", rejection.to_string()))?;
    let raw_query = request.uri().query().unwrap_or_default().to_owned();
    // A header that is no text cannot be part of a signature.
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let headers = headers.collect();
    let body = read(request.into_body(), bounds.inbound_bytes_max, bounds.body_timeout).await?.to_vec();
    let reply =
        flows::receive(app, InboundRequest { plugin, operation, path, query, raw_query, headers, body }).await?;
    shape(reply)
}

/// The reply as it is: its bytes are signed and may not change.
fn shape(reply: InboundReply) -> Result<Response<Body>, Problem> {
    let internal = |what: &str| {
        tracing::error!(what, "a plugin's reply cannot be sent");
        Problem::from(Trouble::Internal)
    };
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).map_err(|_| internal("status"))?;
    for (name, value) in reply.headers {
        let name = HeaderName::try_from(name).map_err(|_| internal("header name"))?;
        let value = HeaderValue::try_from(value).map_err(|_| internal("header value"))?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}
