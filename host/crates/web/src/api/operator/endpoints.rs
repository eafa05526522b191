//! Endpoints of plugins: where partners are, what the host allows itself there, and whether they can be reached.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use koban_domain::manifest::{CredentialKind, Method};
use koban_service::App;
use koban_service::endpoints::{self, EndpointInput, EndpointView, Gate, LimitsInput, OauthAddresses, Tested};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::amounts::{Line, moment};
use crate::identity::Operator;
use crate::json::Json;
use crate::place::{Id, Ids, PageBody, PluginName};
use crate::problem::Problem;

/// Routes of endpoints.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set)).routes(routes!(test)).routes(routes!(set_mode))
}

/// Where a partner is and how both sides prove themselves.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointRequest {
    /// Its base address.
    #[schema(value_type = String, example = "https://atm.example.com/koban")]
    base: Line,
    /// `whsec_…` secrets, one to eight: the first one signs, all are accepted. For the credential `standard-webhooks` alone.
    #[serde(default)]
    secrets: Vec<String>,
    /// The parts of any other credential: `token`; `user`, `password`; the names of the manifest's headers; `certificate`, `key`; `secret`, `key`; `client_id`,
    /// `client_secret`.
    #[serde(default)]
    credential: BTreeMap<String, String>,
    /// What `{{secret:name}}` in the body of a request stands for.
    #[serde(default)]
    fill: BTreeMap<String, String>,
    /// Whether it may lie on a private address; no unless told.
    #[serde(default)]
    allow_private: bool,
    /// Whether this is the partner's sandbox; the side that the plugin is on, unless told.
    #[serde(default)]
    sandbox: Option<bool>,
    /// PEM of the partner's own authorities, which then are the only ones that are believed there.
    #[serde(default)]
    authorities: Option<String>,
    /// Where tokens are asked for, for OAuth.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    token: Option<Line>,
    /// The page where users agree, for OAuth of users.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    authorize: Option<Line>,
    /// Where users come back to, to the letter, for OAuth of users.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    redirect: Option<Line>,
    /// Where the token server is told that a user's token is given up (RFC 7009), if it can be.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    revoke: Option<Line>,
    /// What each host allows itself there.
    #[serde(default)]
    limits: LimitsRequest,
}

/// What each host allows itself at an endpoint.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = EndpointLimitsRequest)]
pub(crate) struct LimitsRequest {
    /// Requests in a minute, spread; 600 unless told.
    #[schema(minimum = 1, maximum = 60_000)]
    per_minute: Option<u32>,
    /// Requests on their way at the same time; 16 unless told.
    #[schema(minimum = 1, maximum = 64)]
    concurrent: Option<u32>,
    /// Bytes of an answer; 65,536 unless told.
    #[schema(minimum = 1, maximum = 65_536)]
    answer_bytes: Option<u32>,
    /// Seconds of an exchange; 60 unless told.
    #[schema(minimum = 1, maximum = 60)]
    timeout_s: Option<u32>,
}

/// Which side a plugin is on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModeRequest {
    /// Whether it talks to its partners' sandboxes, and can reach no live base.
    sandbox: bool,
}

/// Which side of an endpoint is tested.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EndpointTestRequest)]
pub(crate) struct TestRequest {
    /// Whether its sandbox is tested.
    sandbox: bool,
}

/// One side of an endpoint. Nothing of it is secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginEndpoint)]
pub(crate) struct EndpointBody {
    /// Its name in the manifest.
    #[schema(example = "network")]
    name: String,
    /// How both sides prove themselves.
    #[schema(value_type = String, example = "standard-webhooks")]
    credential: CredentialKind,
    /// Whether this is the partner's sandbox.
    sandbox: bool,
    /// Whether the plugin is on this side.
    in_use: bool,
    /// Its base address; null if nobody has set it.
    #[schema(required, example = "https://atm.example.com/koban")]
    base: Option<String>,
    /// Whether it may lie on a private address.
    allow_private: bool,
    /// Whether the partner's own authorities are believed instead of the public ones.
    own_authorities: bool,
    /// What each host allows itself there.
    limits: LimitsBody,
    /// What the plugin may ask there.
    operations: Vec<OperationBody>,
    /// What stands before it on the host that answers; null before it was used.
    #[schema(required)]
    gate: Option<GateBody>,
}

/// What each host allows itself at an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointLimits)]
pub(crate) struct LimitsBody {
    /// Requests in a minute.
    per_minute: u32,
    /// Requests on their way at the same time.
    concurrent: u32,
    /// Bytes of an answer.
    answer_bytes: usize,
    /// Seconds of an exchange.
    timeout_s: u64,
}

/// An operation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointOperation)]
pub(crate) struct OperationBody {
    /// Its name.
    name: String,
    /// Its method.
    #[schema(value_type = String, example = "POST")]
    method: Method,
    /// Its path below the base address.
    path: String,
    /// Whether a test may call it.
    probe: bool,
}

/// What stands before an endpoint on one host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointGate)]
pub(crate) struct GateBody {
    /// `closed`: requests go through. `open`: they wait. `half-open`: one is tried.
    #[schema(example = "closed")]
    breaker: &'static str,
    /// When a trial is let through, of an open breaker.
    #[schema(required)]
    until: Option<String>,
    /// Requests on their way.
    running: u32,
    /// Requests that were let through since the host started.
    admitted: u64,
    /// Those that rate, places or breaker held back.
    held_back: u64,
    /// Exchanges that spoke against the endpoint.
    failed: u64,
}

/// What a test found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointTested)]
pub(crate) struct TestedBody {
    /// Whether nothing bad was found.
    good: bool,
    /// The side that was tested.
    sandbox: bool,
    /// `address`, `policy`, `connection`, `certificate`, `credential` and `answer`, in this order.
    steps: Vec<StepBody>,
}

/// A step of a test.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndpointTestStep)]
pub(crate) struct StepBody {
    /// Its name.
    #[schema(example = "certificate")]
    step: &'static str,
    /// `good`, `bad` or `skipped`.
    #[schema(example = "good")]
    how: &'static str,
    /// What was found.
    words: String,
    /// How long it took, milliseconds.
    ms: u64,
}

impl From<EndpointView> for EndpointBody {
    fn from(view: EndpointView) -> EndpointBody {
        let operations = view.operations.into_iter();
        EndpointBody {
            name: view.name,
            credential: view.credential,
            sandbox: view.sandbox,
            in_use: view.in_use,
            base: view.base,
            allow_private: view.allow_private,
            own_authorities: view.own_authorities,
            limits: LimitsBody {
                per_minute: view.limits.per_minute,
                concurrent: view.limits.concurrent,
                answer_bytes: view.limits.answer_bytes,
                timeout_s: view.limits.timeout_s,
            },
            operations: operations
                .map(|operation| OperationBody {
                    name: operation.name,
                    method: operation.method,
                    path: operation.path,
                    probe: operation.probe,
                })
                .collect(),
            gate: view.gate.map(GateBody::from),
        }
    }
}

impl From<Gate> for GateBody {
    fn from(gate: Gate) -> GateBody {
        GateBody {
            breaker: gate.breaker,
            until: gate.until.map(moment),
            running: gate.running,
            admitted: gate.admitted,
            held_back: gate.held_back,
            failed: gate.failed,
        }
    }
}

impl From<Tested> for TestedBody {
    fn from(tested: Tested) -> TestedBody {
        let steps = tested.steps.into_iter();
        let steps = steps.map(|step| StepBody { step: step.step, how: step.how, words: step.words, ms: step.ms });
        TestedBody { good: tested.good, sandbox: tested.sandbox, steps: steps.collect() }
    }
}

/// A plugin's endpoints, in the order of its manifest.
///
/// Each side that was set; the side that the plugin is on stands there without an address if nobody has set it.
#[utoipa::path(get, path = "/v1/operator/plugins/{id}/endpoints", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 200, body = PageBody<EndpointBody>)))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Id(PluginName(id)): Id<PluginName>,
) -> Result<Json<PageBody<EndpointBody>>, Problem> {
    Ok(Json(PageBody::whole(endpoints::list(&app, &id).await?)))
}

/// Set where a partner is.
#[utoipa::path(put, path = "/v1/operator/plugins/{id}/endpoints/{endpoint}", tag = "operator",
    security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id."),
        ("endpoint" = String, Path, description = "The endpoint's name in the manifest.")),
    responses((status = 204, description = "It holds from the next call on.")))]
pub(crate) async fn set(
    State(app): State<App>,
    operator: Operator,
    Ids(PluginName(id), EndpointName(name)): Ids<PluginName, EndpointName>,
    Json(body): Json<EndpointRequest>,
) -> Result<StatusCode, Problem> {
    let line = |line: Option<Line>| line.map(|line| line.0);
    let input = EndpointInput {
        name,
        base: body.base.0,
        secrets: body.secrets,
        allow_private: body.allow_private,
        sandbox: body.sandbox,
        credential: body.credential,
        fill: body.fill,
        authorities: body.authorities,
        oauth: OauthAddresses {
            token: line(body.token),
            authorize: line(body.authorize),
            redirect: line(body.redirect),
            revoke: line(body.revoke),
        },
        limits: LimitsInput {
            per_minute: body.limits.per_minute,
            concurrent: body.limits.concurrent,
            answer_bytes: body.limits.answer_bytes,
            timeout_s: body.limits.timeout_s,
        },
    };
    endpoints::set(&app, &operator.reading(), &id, input).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test an endpoint, step by step.
///
/// Address, policy, connection, certificate, credential, answer. Nothing changes at the partner: only an operation that the manifest marks as a `probe` is
/// called.
#[utoipa::path(post, path = "/v1/operator/plugins/{id}/endpoints/{endpoint}/test", tag = "operator",
    security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id."),
        ("endpoint" = String, Path, description = "The endpoint's name in the manifest.")),
    responses((status = 200, body = TestedBody)))]
pub(crate) async fn test(
    State(app): State<App>,
    operator: Operator,
    Ids(PluginName(id), EndpointName(name)): Ids<PluginName, EndpointName>,
    Json(body): Json<TestRequest>,
) -> Result<Json<TestedBody>, Problem> {
    Ok(Json(endpoints::test(&app, &operator.reading(), &id, &name, Some(body.sandbox)).await?.into()))
}

/// Put a plugin on its partners' sandboxes or on the live ones.
///
/// What was begun on one side must have come to its end: the plugin is switched off, none of its flows is open or ended within the last 14 days, and for
/// the sandbox its exposure cap is 0.
#[utoipa::path(put, path = "/v1/operator/plugins/{id}/mode", tag = "operator", security(("operator" = [])),
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 204, description = "It holds from the next call on.")))]
pub(crate) async fn set_mode(
    State(app): State<App>,
    operator: Operator,
    Id(PluginName(id)): Id<PluginName>,
    Json(body): Json<ModeRequest>,
) -> Result<StatusCode, Problem> {
    endpoints::set_mode(&app, &operator.reading(), &id, body.sandbox).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An endpoint's name as manifests write it.
#[derive(Debug, Clone)]
pub(crate) struct EndpointName(pub(crate) String);

impl std::str::FromStr for EndpointName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let plain =
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
        if plain && (1..=60).contains(&text.len()) { Ok(EndpointName(text.to_owned())) } else { Err(()) }
    }
}

impl crate::place::Named for EndpointName {
    const NOUN: &'static str = "endpoint";
}
