//! `koban webhook`: receive webhooks on this machine, send a test, see and repeat what was sent.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use clap::{Args, Subcommand};
use koban_domain::ids::{EventId, MerchantId, WebhookId};
use koban_domain::time::Timestamp;
use koban_outside::{Keyring, verify};
use koban_service::page::Page;
use koban_service::webhooks::{self, Again, DeliveryState, Input};
use koban_service::{App, Ctx};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::commands::{PageArguments, moment, say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum Webhooks {
    /// Receive webhooks here: check each signature and print each event. Needs a running host, which sends them
    #[command(
        after_help = "Examples:\n  koban webhook listen                          everything the platform is told, until Ctrl-C\n  koban webhook listen --merchant mer_0193…     what this merchant is told\n  koban webhook listen --status 500 --count 3   refuse three, to see them come again"
    )]
    Listen(Listen),
    /// Send a test event to an endpoint
    #[command(after_help = "Example:\n  koban webhook trigger whk_0193…")]
    Trigger {
        /// The endpoint, `whk_…`
        id: WebhookId,
    },
    /// The endpoints: whose, where, and how they are doing
    #[command(after_help = "Example:\n  koban webhook list --merchant mer_0193…")]
    List {
        /// Of one merchant only
        #[arg(long)]
        merchant: Option<MerchantId>,
        #[command(flatten)]
        page: PageArguments,
    },
    /// What an endpoint was given, and how it went
    #[command(after_help = "Example:\n  koban webhook deliveries whk_0193…")]
    Deliveries {
        /// The endpoint, `whk_…`
        id: WebhookId,
        #[command(flatten)]
        page: PageArguments,
    },
    /// Send again: one event, or everything since a time
    #[command(
        after_help = "Examples:\n  koban webhook replay whk_0193… --event evt_0193…\n  koban webhook replay whk_0193… --since 2026-11-20T00:00:00Z"
    )]
    Replay(Replay),
}

/// Arguments of `listen`.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Whose events; without it everything that the platform is told
    #[arg(long)]
    merchant: Option<MerchantId>,
    /// The port to receive on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The status to answer with
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..600))]
    status: u16,
    /// Stop after so many calls
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Replay {
    /// The endpoint, `whk_…`
    id: WebhookId,
    /// One event, `evt_…`
    #[arg(long, group = "what")]
    event: Option<EventId>,
    /// Everything since then, such as 2026-11-20T00:00:00Z
    #[arg(long, group = "what", value_parser = moment)]
    since: Option<Timestamp>,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Webhooks) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let ctx = person::ctx(global, &app.store, "").await?;
    match command {
        Webhooks::Listen(arguments) => listen(global, &app, &ctx, arguments).await?,
        Webhooks::Trigger { id } => {
            let event = webhooks::test(&app, &ctx, None, id).await?;
            say(global, &json!({ "endpoint": id, "event": event }), || {
                format!("{event} is on its way; `koban webhook deliveries {id}` says how it went")
            });
        }
        Webhooks::List { merchant, page } => {
            let list = webhooks::list(&app, &ctx, merchant, &Page::from(&page)).await?;
            let value = |one: &webhooks::WebhookView| {
                json!({ "id": one.id, "merchant": one.merchant, "url": one.url, "types": one.types, "enabled": one.enabled,
                    "disabled_reason": one.disabled_reason, "failing_since": one.failing_since.map(|at| at.to_string()) })
            };
            say_page(global, &list, value, || {
                let rows: Vec<Vec<String>> = list
                    .items
                    .iter()
                    .map(|one| {
                        let state = match (&one.disabled_reason, one.enabled, one.failing_since) {
                            (Some(reason), ..) => format!("off: {reason}"),
                            (None, false, _) => "off".to_owned(),
                            (None, true, Some(since)) => format!("failing since {since}"),
                            (None, true, None) => "on".to_owned(),
                        };
                        let whose = one.merchant.map_or("the platform".to_owned(), |merchant| merchant.to_string());
                        vec![one.id.to_string(), whose, one.url.clone(), state]
                    })
                    .collect();
                table(&["ENDPOINT", "OF", "URL", "STATE"], &rows)
            });
        }
        Webhooks::Deliveries { id, page } => {
            let list = webhooks::deliveries(&app, &ctx, None, id, &Page::from(&page)).await?;
            let word = |state| match state {
                DeliveryState::Waiting | DeliveryState::Leased => "waiting",
                DeliveryState::Delivered => "delivered",
                DeliveryState::Failed => "failed",
            };
            let last = |row: &webhooks::DeliveryRow| match row.tries.last() {
                Some(one) => {
                    one.status.map_or_else(|| one.problem.clone().unwrap_or_default(), |status| status.to_string())
                }
                None => "-".to_owned(),
            };
            let value = |row: &webhooks::DeliveryRow| {
                json!({ "event": row.event, "sequence": row.sequence, "type": row.kind, "state": word(row.state),
                    "attempts": row.attempts, "last": last(row), "due_at": row.due_at.to_string() })
            };
            say_page(global, &list, value, || {
                let cells = |row: &webhooks::DeliveryRow| {
                    let numbers = [row.sequence.to_string(), row.attempts.to_string()];
                    let [sequence, attempts] = numbers;
                    vec![
                        sequence,
                        row.event.to_string(),
                        row.kind.clone(),
                        word(row.state).to_owned(),
                        attempts,
                        last(row),
                    ]
                };
                let rows: Vec<Vec<String>> = list.items.iter().map(cells).collect();
                table(&["NO", "EVENT", "TYPE", "STATE", "ATTEMPTS", "LAST"], &rows)
            });
        }
        Webhooks::Replay(Replay { id, event, since }) => {
            let again = match (event, since) {
                (Some(event), _) => Again::Event(event),
                (None, Some(since)) => Again::Since(since),
                (None, None) => anyhow::bail!("give --event or --since"),
            };
            webhooks::replay(&app, &ctx, None, id, again).await?;
            say(global, &json!({ "endpoint": id, "replaying": true }), || format!("{id} is told once more"));
        }
    }
    Ok(())
}

/// One call, as it is printed.
struct Received {
    id: String,
    problem: Option<String>,
    body: String,
}

#[derive(Clone)]
struct Receiver {
    keys: Arc<Keyring>,
    clock: koban_service::clock::Clock,
    status: StatusCode,
    heard: mpsc::Sender<Received>,
}

/// Makes an endpoint for this machine, prints what comes, and takes the endpoint away again.
async fn listen(global: &Global, app: &App, ctx: &Ctx, arguments: Listen) -> anyhow::Result<()> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], arguments.port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("{address} cannot be listened on"))?;
    let url = format!("http://{}/", listener.local_addr()?);
    let input = Input {
        url: url.clone(),
        types: Vec::new(),
        description: "koban webhook listen".to_owned(),
        enabled: true,
        allow_private: Some(true),
    };
    let made = webhooks::create(app, ctx, arguments.merchant, input).await?;
    let id = made.endpoint.id;
    let (heard, mut calls) = mpsc::channel(64);
    let keys = Keyring::parse([made.secret.as_str()]).context("the secret cannot be read")?;
    let status = StatusCode::from_u16(arguments.status)?;
    let state = Receiver { keys: Arc::new(keys), clock: app.clock.clone(), status, heard };
    let serving =
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(receive).with_state(state)).await });
    eprintln!("{id} receives at {url}; `koban webhook trigger {id}` sends a test, Ctrl-C ends");
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let call = tokio::select! {
            call = calls.recv() => call,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(Received { id, problem, body }) = call else { break };
        let verified = problem.is_none();
        let value = json!({ "id": id, "verified": verified, "problem": problem,
            "event": serde_json::from_str::<Value>(&body).unwrap_or(Value::Null) });
        say(global, &value, || match &problem {
            None => format!("{id} verified\n{body}"),
            Some(problem) => format!("{id} NOT VERIFIED: {problem}\n{body}"),
        });
        left -= 1;
    }
    serving.abort();
    webhooks::remove(app, ctx, None, id).await?;
    eprintln!("{id} is taken away");
    Ok(())
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let given: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let id = given.iter().find(|(name, _)| *name == "webhook-id").map_or("-", |(_, value)| *value).to_owned();
    let problem = verify(given, &body, &receiver.keys, receiver.clock.now()).err().map(|error| error.to_string());
    let status = if problem.is_none() { receiver.status } else { StatusCode::UNAUTHORIZED };
    let body = String::from_utf8_lossy(&body).into_owned();
    // Printing has ended: so does receiving.
    let _ = receiver.heard.send(Received { id, problem, body }).await;
    status
}
