//! Calls that partners make: checked, routed, stored with the flow's event in one transaction, and answered after the commit.
//!
//! The same operation, path, query, correlation and body is the same call: it is delivered once and gets the stored reply, however often it
//! comes, on whichever host.

use std::collections::BTreeMap;
use std::time::Duration;

use koban_domain::accounts::PluginKey;
use koban_domain::charges::{ReferenceKey, Tombstone};
use koban_domain::flows::{Arrival, CallKey};
use koban_domain::guest::{Delivery, HttpAnswer, InboundCall, Message, Named, Routing, What};
use koban_domain::ids::FlowId;
use koban_domain::ledger::{Command, Decided, SealedRecord, Unexpected, Work};
use koban_domain::manifest::is_plugin_id;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Reliance;
use koban_domain::records::{Fault, FaultClass, Input, Output};
use koban_outside::Endpoint;
use koban_runtime::Plugin;
use koban_store::inbound::{self as calls, InboundRow};
use koban_store::{charges, flows as rows};

use super::{partner, settlement};
use crate::app::App;
use crate::crash::{self, Point};
use crate::error::Error;
use crate::guests::{self, For};
use crate::plugins;

/// Largest body of a message.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Largest settlement file.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// How long a connection is kept for the reply of its step.
const REPLY_WITHIN: Duration = Duration::from_secs(10);
/// When a partner should ask again.
const RETRY_AFTER_S: u32 = 2;
/// How often a call is routed again because something was switched meanwhile.
const ROUTED_MAX: u32 = 4;
const QUERY_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 1_024;

/// A partner's call as it came in.
#[derive(Debug, Clone)]
pub struct InboundRequest {
    /// The plugin in the path.
    pub plugin: String,
    /// The operation in the path.
    pub operation: String,
    /// What follows it in the path; empty or begins with `/`.
    pub path: String,
    /// Query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// The same as it came, without `?`: what a partner may have signed.
    pub raw_query: String,
    /// All headers.
    pub headers: Vec<(String, String)>,
    /// The exact body.
    pub body: Vec<u8>,
}

/// The reply, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundReply {
    /// The HTTP status.
    pub status: u16,
    /// Headers, those of the signature among them.
    pub headers: Vec<(String, String)>,
    /// The exact body.
    pub body: Vec<u8>,
}

/// Takes a partner's call. Errors: [`Error::NotFound`] for what no manifest offers, [`Error::BadSignature`] for what its partner
/// did not sign (nothing happens), [`Error::Invalid`] beyond the bounds, [`Error::PluginFault`] when the plugin cannot say where
/// the call belongs.
pub async fn receive(app: &App, request: InboundRequest) -> Result<InboundReply, Error> {
    check_bounds(&request)?;
    if !is_plugin_id(&request.plugin) {
        return Err(Error::NotFound("plugin"));
    }
    // Installed is enough: a channel that was switched off still hears what its partners have to say about running flows.
    let plugin = plugins::installed(app, &request.plugin).await?;
    let (endpoint, operation) =
        plugin.manifest().inbound(&request.operation).ok_or(Error::NotFound("inbound operation"))?;
    if !operation.settlement && request.body.len() > MESSAGE_BYTES_MAX {
        return Err(Error::invalid("body", format!("send at most {MESSAGE_BYTES_MAX} bytes")));
    }
    let partner = partner::endpoint(app, &request.plugin, endpoint, None).await?;
    let unset = |_| Error::BadSignature("the operator has set no secret for this endpoint".to_owned());
    let partner = partner.map_err(unset)?;
    let proved = partner::verify(&partner, &request, app.clock.now()).map_err(|error| {
        tracing::warn!(plugin = request.plugin, operation = request.operation, %error, "a call was not signed by its partner");
        Error::BadSignature(error.to_string())
    })?;
    let has_more = !request.path.is_empty() || !request.query.is_empty();
    operation.check_meant(has_more, &request.body).map_err(|why| {
        tracing::warn!(
            plugin = request.plugin,
            operation = request.operation,
            why,
            "a signed message was posted elsewhere"
        );
        Error::BadSignature(why)
    })?;
    let answer = if operation.settlement {
        let file = settlement::store(app, &request.plugin, &request.body).await?;
        json(200, &serde_json::json!({ "result": "ok", "file": file }))
    } else {
        // What the plugin and its record are given holds nothing that is secret about the endpoint.
        let name = endpoint.name.clone();
        let request = InboundRequest { body: partner.strike(request.body), ..request };
        message(app, &plugin, &name, &request).await?
    };
    Ok(signed(app, answer, &proved, &partner))
}

fn check_bounds(request: &InboundRequest) -> Result<(), Error> {
    if request.body.len() > FILE_BYTES_MAX {
        return Err(Error::invalid("body", format!("send at most {FILE_BYTES_MAX} bytes")));
    }
    if request.path.len() > TEXT_BYTES_MAX {
        return Err(Error::invalid("path", format!("send at most {TEXT_BYTES_MAX} bytes after the operation's name")));
    }
    let long = |(name, value): &(String, String)| name.len() + value.len() > TEXT_BYTES_MAX;
    if request.query.len() > QUERY_MAX || request.query.iter().any(long) {
        let problem = format!("send at most {QUERY_MAX} parameters of {TEXT_BYTES_MAX} bytes");
        return Err(Error::invalid("query", problem));
    }
    Ok(())
}

/// Where a routed call goes.
enum Destination {
    /// To this flow, under its own name for the expectation.
    Flow(FlowId, String),
    /// To nobody: answered, and that is all.
    Answered(HttpAnswer),
}

/// A call that is no file: routed by the plugin, then given to the flow that it concerns, or answered as the plugin says.
async fn message(app: &App, plugin: &Plugin, endpoint: &str, request: &InboundRequest) -> Result<HttpAnswer, Error> {
    let key = PluginKey::of(plugin.id());
    if app.ledger.policy().revoked.contains(&plugin.digest()) {
        // Nothing may rest on what this component would say. The partner asks again; an operator puts another one in force.
        return Ok(later());
    }
    let query: Vec<Named> = request.query.iter().map(|(name, value)| Named::text(name, value.as_str())).collect();
    let routed = InboundCall {
        endpoint: endpoint.to_owned(),
        operation: request.operation.clone(),
        path: request.path.clone(),
        query: query.clone(),
        body: request.body.clone(),
    };
    let (answer, record) = guests::call(app, plugin, For::PLATFORM, Input::Route(routed.clone())).await;
    let routing = match answer {
        Ok(Output::Routing(routing)) => routing,
        Ok(Output::Failure(failure)) => {
            keep(app, plugin, record).await?;
            let (code, message) = (failure.code, failure.message);
            return Err(Error::PluginRefused { plugin: plugin.id().to_owned(), code, message, text: None });
        }
        Ok(_) => {
            keep(app, plugin, record).await?;
            let detail = "the answer belongs to another function".to_owned();
            let fault = Fault { class: FaultClass::BadAnswer, detail };
            return Err(Error::PluginFault { plugin: plugin.id().to_owned(), fault });
        }
        Err(fault) if fault.class == FaultClass::Busy => return Err(Error::Busy),
        Err(fault) => {
            keep(app, plugin, record).await?;
            return Err(Error::PluginFault { plugin: plugin.id().to_owned(), fault });
        }
    };
    let correlation = match &routing {
        Routing::Deliver(delivery) => delivery.correlation.as_str(),
        Routing::Begin(opening) => opening.delivery.correlation.as_str(),
        Routing::Answer(_) => "",
    };
    let call = CallKey::of(key, &routed, correlation);
    // Begun before the first look, so that no reply falls between.
    let mut waiter = app.bell.reply_of(call);
    if let Some(known) = calls::find_call(&app.store, call).await? {
        return match known.reply {
            Some(reply) => Ok(reply),
            None => reply_of(app, call, &mut waiter).await,
        };
    }
    let stored = InboundRow {
        key: call,
        plugin: key,
        operation: request.operation.clone(),
        correlation: correlation.to_owned(),
        at: app.clock.now(),
    };
    let destination = match routing {
        Routing::Deliver(delivery) => destination(app, plugin, delivery, &record).await?,
        // No user has given a mandate yet, so none can be begun: the partner is told what the plugin says for that case.
        Routing::Begin(opening) => destination(app, plugin, opening.delivery, &record).await?,
        Routing::Answer(answer) => {
            keep(app, plugin, record).await?;
            Destination::Answered(answer)
        }
    };
    match destination {
        Destination::Flow(flow, key) => {
            let what = What::Message(Message {
                operation: request.operation.clone(),
                path: request.path.clone(),
                query,
                body: request.body.clone(),
            });
            let arrival = Arrival { flow, key, what, call: Some(call), at: stored.at };
            calls::deliver(&app.store, &stored, &arrival).await?;
            crash::pass(Point::CallStored);
            app.bell.flow(flow);
            let reply = reply_of(app, call, &mut waiter).await?;
            crash::pass(Point::ReplyStored);
            Ok(reply)
        }
        // The first of two that come at once decides.
        Destination::Answered(answer) => match calls::store_answer(&app.store, &stored, &answer).await? {
            Some(answer) => Ok(answer),
            None => reply_of(app, call, &mut waiter).await,
        },
    }
}

/// Finds the flow that a call concerns, or commits that there is none. The record is kept in the commit that settles it, or
/// before the delivery that rests on it.
async fn destination(
    app: &App,
    plugin: &Plugin,
    delivery: Delivery,
    record: &SealedRecord,
) -> Result<Destination, Error> {
    let key = PluginKey::of(plugin.id());
    let mut kept = false;
    for _ in 0..ROUTED_MAX {
        let known = calls::expectation(&app.store, key, &delivery.correlation).await?;
        if let Some((flow, name)) = known.and_then(|known| known.flow.map(|flow| (flow, known.key))) {
            if !kept {
                keep(app, plugin, record.clone()).await?;
            }
            return Ok(Destination::Flow(flow, name));
        }
        let mut commands =
            vec![Command::Unexpected(Unexpected { plugin: key, correlation: delivery.correlation.clone() })];
        commands.extend(
            delivery.tombstone.iter().map(|reference| {
                Command::Tombstone(Tombstone { plugin: key, flow: None, reference: reference.clone() })
            }),
        );
        let mut work = Work::new(app.clock.id(), format!("plugin:{}", plugin.id()));
        work.commands = commands;
        work.records = vec![record.clone()];
        work.relies_on = vec![relies_on(plugin)];
        match app.ledger.commit(work).await? {
            Decided::Done(_) => return Ok(Destination::Answered(delivery.otherwise)),
            // A flow has begun to expect it since we looked: look again. The record was kept with the refused work.
            Decided::Refused(_, Refusal::CorrelationTaken) => kept = true,
            Decided::Refused(_, Refusal::ReferenceCredited) => {
                let reference = delivery.tombstone.as_deref().unwrap_or_default();
                if let Some(destination) = credited(app, key, reference).await? {
                    return Ok(destination);
                }
                return Err(Error::Internal(format!("the reference `{reference}` was credited by no flow")));
            }
            Decided::Refused(_, refusal) => return Err(Error::refused(refusal)),
            Decided::PluginChanged => return Ok(Destination::Answered(later())),
            Decided::FlowMoved
            | Decided::Replayed(_)
            | Decided::KeyReused
            | Decided::SignedOut
            | Decided::Foreseen(_) => {}
        }
    }
    Err(Error::Busy)
}

/// The flow that brought the credit which a call would have killed: the call concerns it, whatever correlation it carries.
async fn credited(app: &App, plugin: PluginKey, reference: &str) -> Result<Option<Destination>, Error> {
    let credit = charges::reference(&app.store, &ReferenceKey::credit(plugin, reference)).await?;
    let Some(flow) = credit.and_then(|credit| credit.flow) else { return Ok(None) };
    let name = rows::by_id(&app.store, flow)
        .await?
        .and_then(|flow| flow.effects.iter().find(|effect| effect.expects).map(|effect| effect.key.clone()));
    Ok(Some(Destination::Flow(flow, name.unwrap_or_default())))
}

/// Keeps the record of a routing on which something rests that is no commit of the ledger.
pub(crate) async fn keep(app: &App, plugin: &Plugin, record: SealedRecord) -> Result<(), Error> {
    let mut work = Work::new(app.clock.id(), format!("plugin:{}", plugin.id()));
    work.records = vec![record];
    app.ledger.commit(work).await?;
    Ok(())
}

fn relies_on(plugin: &Plugin) -> Reliance {
    Reliance { plugin: plugin.id().to_owned(), digest: plugin.digest(), in_force: false }
}

/// Waits for the reply of a stored call. If it does not come in time the call stays stored, and asking again gets the reply. Of a
/// flow that waits for an operator nothing is to be expected in time.
async fn reply_of(app: &App, call: CallKey, waiter: &mut super::Waiter) -> Result<HttpAnswer, Error> {
    let waiting = async {
        loop {
            let Some(known) = calls::find_call(&app.store, call).await? else { return Ok(later()) };
            if let Some(reply) = known.reply {
                return Ok(reply);
            }
            let flow = match known.delivered {
                Some((flow, _)) => rows::by_id(&app.store, flow).await?,
                None => None,
            };
            if flow.is_some_and(|flow| flow.stuck.is_some()) {
                return Ok(later());
            }
            waiter.look_again().await;
        }
    };
    tokio::time::timeout(REPLY_WITHIN, waiting).await.unwrap_or_else(|_| Ok(later()))
}

/// We have it and cannot say yet.
fn later() -> HttpAnswer {
    let mut answer = json(503, &serde_json::json!({ "result": "pending", "retry_after_s": RETRY_AFTER_S }));
    answer.headers.push(("retry-after".to_owned(), RETRY_AFTER_S.to_string()));
    answer
}

fn json(status: u16, body: &serde_json::Value) -> HttpAnswer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    HttpAnswer { status, headers, body: body.to_string().into_bytes() }
}

/// The answer with our signature under the id of the call. Of a guest's headers only those go out that say how to read the body.
fn signed(app: &App, answer: HttpAnswer, proved: &partner::Proved, partner: &Endpoint) -> InboundReply {
    let known = |name: &str| matches!(name, "content-type" | "content-language" | "retry-after");
    let mut headers: BTreeMap<String, String> = answer
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| known(name))
        .collect();
    let media = headers.get("content-type").cloned().unwrap_or_default();
    let said = (answer.status, media.as_str(), answer.body.as_slice());
    headers.extend(partner::sign_reply(partner, proved, said, app.clock.now()));
    InboundReply { status: answer.status, headers: headers.into_iter().collect(), body: answer.body }
}
