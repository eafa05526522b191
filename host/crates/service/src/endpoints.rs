//! Endpoints as operators set, see and test them: where partners are, on both sides, and what the host allows itself there.

use std::collections::BTreeMap;
use std::time::Duration;

use koban_domain::flows::AGE_MAX_MS;
use koban_domain::manifest::{CredentialKind, EndpointSpec, Method};
use koban_domain::time::Timestamp;
use koban_outside::{GateView, How, Request, Stands};
use koban_store::endpoints::{self, EndpointRow};
use koban_store::platform::Mode;
use serde_json::json;

use crate::app::App;
use crate::clock;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::flows::partner::{self, Detail, Material};
use crate::plugins;
use crate::users::audit;

/// Where a partner is and how both sides prove themselves.
#[derive(Clone, Default)]
pub struct EndpointInput {
    /// The endpoint's name in the manifest.
    pub name: String,
    /// Its base address.
    pub base: String,
    /// `whsec_…` secrets, one to eight: the first ones sign, all are accepted. For `standard-webhooks` alone.
    pub secrets: Vec<String>,
    /// Whether it may lie on a private address. Refused otherwise.
    pub allow_private: bool,
    /// Whether this is the partner's sandbox; the side that the plugin is on, unless told.
    pub sandbox: Option<bool>,
    /// The parts of any other credential, by name: `token`, `user` and `password`, `secret` and `key`, …
    pub credential: BTreeMap<String, String>,
    /// What `{{secret:name}}` in a body stands for.
    pub fill: BTreeMap<String, String>,
    /// PEM of the partner's own authorities, which then are the only ones that are believed there.
    pub authorities: Option<String>,
    /// Addresses of OAuth.
    pub oauth: OauthAddresses,
    /// What the host allows itself there.
    pub limits: LimitsInput,
}

impl std::fmt::Debug for EndpointInput {
    /// Without anything secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointInput").field("name", &self.name).field("base", &self.base).finish_non_exhaustive()
    }
}

/// Where tokens come from, and where users agree.
#[derive(Debug, Clone, Default)]
pub struct OauthAddresses {
    /// The token endpoint.
    pub token: Option<String>,
    /// The page where users agree.
    pub authorize: Option<String>,
    /// Where they come back to, to the letter.
    pub redirect: Option<String>,
    /// Where its server is told that a user's token is given up (RFC 7009); none if it cannot be.
    pub revoke: Option<String>,
}

/// What the host allows itself at an endpoint; each host counts for itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct LimitsInput {
    /// Requests in a minute, 600 unless told.
    pub per_minute: Option<u32>,
    /// Requests at the same time, 16 unless told.
    pub concurrent: Option<u32>,
    /// Bytes of an answer, 65,536 unless told, which is also the most.
    pub answer_bytes: Option<u32>,
    /// Seconds of an exchange, 60 unless told, which is also the most.
    pub timeout_s: Option<u32>,
}

/// One side of an endpoint as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// Its name in the manifest.
    pub name: String,
    /// How both sides prove themselves.
    pub credential: CredentialKind,
    /// Whether this is the partner's sandbox.
    pub sandbox: bool,
    /// Whether the plugin is on this side.
    pub in_use: bool,
    /// Its base address; none if nobody has set it.
    pub base: Option<String>,
    /// Whether it may lie on a private address.
    pub allow_private: bool,
    /// Whether the partner's own authorities are believed instead of the public ones.
    pub own_authorities: bool,
    /// What the host allows itself there.
    pub limits: LimitsView,
    /// What the plugin may ask there.
    pub operations: Vec<OperationView>,
    /// What stands before it on this host, once it was used.
    pub gate: Option<Gate>,
}

/// What the host allows itself at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsView {
    /// Requests in a minute.
    pub per_minute: u32,
    /// Requests at the same time.
    pub concurrent: u32,
    /// Bytes of an answer.
    pub answer_bytes: usize,
    /// Seconds of an exchange.
    pub timeout_s: u64,
}

impl From<koban_outside::Limits> for LimitsView {
    fn from(limits: koban_outside::Limits) -> LimitsView {
        LimitsView {
            per_minute: limits.per_minute,
            concurrent: limits.concurrent,
            answer_bytes: limits.answer_bytes,
            timeout_s: limits.total.as_secs(),
        }
    }
}

/// An operation of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationView {
    /// Its name.
    pub name: String,
    /// Its method.
    pub method: Method,
    /// Its path below the base address.
    pub path: String,
    /// Whether a test may call it.
    pub probe: bool,
}

/// What stands before an endpoint on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// When a trial is let through, of an open breaker.
    pub until: Option<Timestamp>,
    /// Requests on their way.
    pub running: u32,
    /// Requests that were let through since the host started.
    pub admitted: u64,
    /// Those that rate, places or breaker held back.
    pub held_back: u64,
    /// Exchanges that spoke against the endpoint.
    pub failed: u64,
}

impl From<&GateView> for Gate {
    fn from(view: &GateView) -> Gate {
        let until = if let Stands::Open { until } = view.breaker { Some(until) } else { None };
        Gate {
            breaker: view.breaker.word(),
            until,
            running: view.running,
            admitted: view.admitted,
            held_back: view.held_back,
            failed: view.failed,
        }
    }
}

/// What a test of an endpoint found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// Whether every step was good or not tried for want of an operation.
    pub good: bool,
    /// The side that was tested.
    pub sandbox: bool,
    /// Every step.
    pub steps: Vec<Step>,
}

/// What a step of a test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `address`, `policy`, `connection`, `certificate`, `credential` or `answer`.
    pub step: &'static str,
    /// `good`, `bad` or `skipped`.
    pub how: &'static str,
    /// What was found.
    pub words: String,
    /// How long it took, milliseconds.
    pub ms: u64,
}

/// Sets where a partner is. It holds from the next call on.
pub async fn set(app: &App, ctx: &Ctx, id: &str, input: EndpointInput) -> Result<(), Error> {
    ctx.operator()?;
    let view = plugins::get(app, id).await?;
    let Some(spec) = view.manifest.endpoint(&input.name) else {
        return Err(Error::invalid("name", format!("the manifest of `{id}` has no endpoint `{}`", input.name)));
    };
    let sandbox = match input.sandbox {
        Some(sandbox) => sandbox,
        None => partner::is_on_sandbox(app, id).await?,
    };
    if !sandbox && app.clock.mode() == Mode::Test {
        let problem =
            "this is a database for tests: it has sandboxes only, so that nothing here reaches a live partner";
        return Err(Error::invalid("sandbox", problem));
    }
    let material = Material { secrets: input.secrets, credential: input.credential, fill: input.fill };
    let detail = Detail {
        authorities: input.authorities,
        token: input.oauth.token,
        authorize: input.oauth.authorize,
        redirect: input.oauth.redirect,
        revoke: input.oauth.revoke,
        per_minute: input.limits.per_minute,
        concurrent: input.limits.concurrent,
        answer_bytes: input.limits.answer_bytes,
        timeout_s: input.limits.timeout_s,
    };
    partner::make((id, spec), (&input.base, input.allow_private), &material, &detail)
        .map_err(|(field, problem)| Error::Invalid { field, problem })?;
    let sealed = partner::seal(app, id, &partner::kept_name(&input.name, sandbox), &material)?;
    let said = json!({
        "endpoint": input.name, "sandbox": sandbox, "base": input.base, "allow_private": input.allow_private,
        "credential": spec.credential.word(), "fill": material.fill.keys().collect::<Vec<_>>(),
        "authorities": detail.authorities.as_ref().map(|pem| koban_domain::records::Digest::of(pem.as_bytes())),
        "token": detail.token, "authorize": detail.authorize, "redirect": detail.redirect, "revoke": detail.revoke,
    });
    let audit = audit(app, ctx, "plugin.endpoint", id.to_owned(), &said.to_string());
    let detail = serde_json::to_string(&detail).map_err(|error| Error::Internal(error.to_string()))?;
    let endpoint = EndpointRow {
        plugin: id.to_owned(),
        name: input.name,
        sandbox,
        base: input.base,
        secret: sealed.bytes,
        key_id: sealed.key_id,
        allow_private: input.allow_private,
        detail,
    };
    endpoints::put(&app.store, &endpoint, &audit, app.clock.now()).await?;
    // A feed that lies there is read at once.
    Ok(koban_store::feeds::ask_soon(&app.store, id, app.clock.now()).await?)
}

/// The endpoints of a plugin's manifest, with every side that was set; one that was not stands there without an address.
pub async fn list(app: &App, id: &str) -> Result<Vec<EndpointView>, Error> {
    let view = plugins::get(app, id).await?;
    let rows = endpoints::list(&app.store, id).await?;
    let on_sandbox = partner::is_on_sandbox(app, id).await?;
    let gates: BTreeMap<String, GateView> =
        app.outside.gates().into_iter().map(|gate| (gate.endpoint.clone(), gate)).collect();
    let mut views = Vec::new();
    for spec in &view.manifest.endpoints {
        let of_it: Vec<&EndpointRow> = rows.iter().filter(|row| row.name == spec.name).collect();
        let gate = gates.get(&format!("{id}/{}", spec.name));
        if !of_it.iter().any(|row| row.sandbox == on_sandbox) {
            views.push(unset(spec, on_sandbox));
        }
        for row in of_it {
            let in_use = row.sandbox == on_sandbox;
            views.push(seen(app, row, spec, in_use, gate.filter(|_| in_use).map(Gate::from)));
        }
    }
    Ok(views)
}

fn unset(spec: &EndpointSpec, sandbox: bool) -> EndpointView {
    EndpointView {
        name: spec.name.clone(),
        credential: spec.credential,
        sandbox,
        in_use: true,
        base: None,
        allow_private: false,
        own_authorities: false,
        limits: koban_outside::Limits::default().into(),
        operations: operations(spec),
        gate: None,
    }
}

fn seen(app: &App, row: &EndpointRow, spec: &EndpointSpec, in_use: bool, gate: Option<Gate>) -> EndpointView {
    // What cannot be put together any more is shown all the same; a test says what is wrong with it.
    let made = partner::read(app, row, spec).ok().map(|made| made.endpoint);
    EndpointView {
        base: Some(row.base.clone()),
        in_use,
        allow_private: row.allow_private,
        own_authorities: made.as_ref().is_some_and(|made| made.authorities.is_some()),
        limits: made.map(|made| made.limits).unwrap_or_default().into(),
        gate,
        ..unset(spec, row.sandbox)
    }
}

fn operations(spec: &EndpointSpec) -> Vec<OperationView> {
    let operations = spec.operations.iter().map(|operation| OperationView {
        name: operation.name.clone(),
        method: operation.method,
        path: operation.path.clone(),
        probe: operation.probe,
    });
    operations.collect()
}

/// Tests one side of an endpoint step by step: address, policy, connection, certificate, credential, answer. Nothing changes at the partner: only
/// an operation that the manifest marks as a `probe` is called.
pub async fn test(app: &App, ctx: &Ctx, id: &str, name: &str, sandbox: Option<bool>) -> Result<Tested, Error> {
    ctx.operator()?;
    let view = plugins::get(app, id).await?;
    let spec = view.manifest.endpoint(name).ok_or(Error::NotFound("endpoint"))?;
    let on_sandbox = partner::is_on_sandbox(app, id).await?;
    let sandbox = sandbox.unwrap_or(on_sandbox);
    if !sandbox && on_sandbox {
        let problem =
            format!("`{id}` is on its partners' sandboxes: nothing reaches a live base until it is live again");
        return Err(Error::Conflict(problem));
    }
    let row = endpoints::get(&app.store, id, name, sandbox).await?;
    let row = row.ok_or_else(|| Error::Conflict(partner::NotReady::Unset { sandbox }.why()))?;
    let made = partner::read(app, &row, spec)?;
    let probe = spec.operations.iter().find(|operation| operation.probe);
    // What is asked for one user's token would need the user.
    let asked = probe.filter(|_| made.server.is_none()).map(|operation| Request {
        method: operation.method,
        path: operation.path.clone(),
        query: Vec::new(),
        body: Vec::new(),
        content_type: "application/json".to_owned(),
        idempotency_key: None,
        message_id: format!("msg_{}", clock::random_id().simple()),
        nonce: clock::random_id().to_string(),
        timeout: Duration::from_secs(u64::from(operation.timeout_s)),
    });
    let steps = app.outside.probe(&made.endpoint, asked.as_ref(), app.clock.now()).await;
    let good = steps.iter().all(|step| step.how != How::Bad);
    let said = json!({ "endpoint": name, "sandbox": sandbox, "good": good });
    let row = audit(app, ctx, "plugin.endpoint.test", id.to_owned(), &said.to_string());
    koban_store::audit::append(&app.store, &row, app.clock.now()).await?;
    let steps = steps.into_iter();
    let steps = steps.map(|step| Step { step: step.step, how: step.how.word(), words: step.words, ms: step.ms });
    Ok(Tested { good, sandbox, steps: steps.collect() })
}

/// Puts a plugin on its partners' sandboxes or on the live ones. What was begun on one side must have come to its end: the plugin is switched off, no
/// flow of it is open or may still hear from its partner, and money that a sandbox says has come is none, so its exposure cap is 0. Errors: what of
/// this is missing.
pub async fn set_mode(app: &App, ctx: &Ctx, id: &str, sandbox: bool) -> Result<(), Error> {
    ctx.operator()?;
    let view = plugins::get(app, id).await?;
    if app.clock.mode() == Mode::Test {
        return Err(Error::Conflict(
            "this is a database for tests: every plugin is on its partners' sandboxes".to_owned(),
        ));
    }
    if partner::is_on_sandbox(app, id).await? == sandbox {
        return Ok(());
    }
    app.ledger.refresh().await?;
    // Without being in force no flow can be committed, on any host, so what is counted now stays.
    // A canary, and what decides at another scope than the platform's, are in force as well.
    if app.ledger.policy().deciding_of(view.kind).any(|(plugin, _)| plugin == id) {
        return Err(Error::Conflict(format!("`{id}` is in force: `koban plugin disable {id}` first")));
    }
    if sandbox && view.exposure.is_some_and(|exposure| exposure.cap.minor > 0) {
        let problem = format!(
            "money that a sandbox says has come is none: set `koban plugin limits {id} --exposure-cap 0 --loss-budget 0` first"
        );
        return Err(Error::Conflict(problem));
    }
    let now = app.clock.now();
    let left = endpoints::flows_left(&app.store, id, now.plus_ms(-AGE_MAX_MS)).await?;
    if left > 0 {
        let problem = format!(
            "{left} flows of `{id}` are open or ended within the last 14 days and may still hear from the partner; wait for them"
        );
        return Err(Error::Conflict(problem));
    }
    let audit = audit(app, ctx, "plugin.mode", id.to_owned(), &json!({ "sandbox": sandbox }).to_string());
    endpoints::set_mode(&app.store, id, sandbox, &audit, now).await?;
    Ok(())
}

/// Whether a plugin may have so much unsettled. Errors: it is on a sandbox, whose money is none.
pub(crate) async fn check_cap(app: &App, id: &str, cap: i64) -> Result<(), Error> {
    if cap > 0 && app.clock.mode() == Mode::Live && partner::is_on_sandbox(app, id).await? {
        let problem =
            "the plugin is on its partners' sandboxes, whose money is none: use 0, or put it on the live ones first";
        return Err(Error::invalid("exposure_cap", problem));
    }
    Ok(())
}
