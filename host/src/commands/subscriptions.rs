//! `koban subscription`: what plugins hear of what happens, and events that one could not take.

use clap::{Args, Subcommand};
use koban_domain::ids::EventId;
use koban_domain::subscriptions::Parked;
use koban_service::page::Page;
use koban_service::subscriptions::{self, SubscriptionView};
use serde_json::json;

use crate::commands::{PageArguments, say, say_page, table};
use crate::config::Global;
use crate::person;

/// What can be done with what plugins hear.
#[derive(Debug, Subcommand)]
pub(crate) enum Subscriptions {
    /// Every plugin that hears events, and how far it has come
    #[command(after_help = "Example:\n  koban subscription list")]
    List,
    /// Events that a plugin could not take, the oldest first, with the reason
    #[command(after_help = "Example:\n  koban subscription parked charge-campaign")]
    Parked {
        /// The plugin's id
        plugin: String,
        #[command(flatten)]
        page: PageArguments,
    },
    /// Give such an event to its plugin once more, after what it has heard meanwhile
    #[command(after_help = "Example:\n  koban subscription retry charge-campaign evt_0193…")]
    Retry(Event),
    /// Give such an event up: the plugin never sees it again
    #[command(
        after_help = "Example:\n  koban subscription dismiss charge-campaign evt_0193… --reason 'the campaign is over'"
    )]
    Dismiss {
        #[command(flatten)]
        event: Event,
        /// Why; goes into the audit log
        #[arg(long)]
        reason: String,
    },
}

/// Which event of which plugin.
#[derive(Debug, Args)]
pub(crate) struct Event {
    /// The plugin's id
    plugin: String,
    /// The event, `evt_…`
    event: EventId,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, command: Subscriptions) -> anyhow::Result<()> {
    global.start_log()?;
    let app = global.app().await?;
    let (view, what) = match command {
        Subscriptions::List => {
            let all = subscriptions::list(&app).await?;
            let items: Vec<_> = all.iter().map(json_of).collect();
            say(global, &json!({ "items": items, "next": null }), || {
                let rows: Vec<Vec<String>> = all.iter().map(row).collect();
                table(&["PLUGIN", "HEARD", "BEHIND", "PARKED", "REMEMBERED", "SINCE"], &rows)
            });
            return Ok(());
        }
        Subscriptions::Parked { plugin, page } => {
            let list = subscriptions::parked(&app, &plugin, &Page::from(&page)).await?;
            say_page(global, &list, json_of_parked, || {
                let rows: Vec<Vec<String>> = list.items.iter().map(row_of_parked).collect();
                table(&["EVENT", "TYPE", "AT", "REASON"], &rows)
            });
            return Ok(());
        }
        Subscriptions::Retry(Event { plugin, event }) => {
            let ctx = person::ctx(global, &app.store, "").await?;
            (subscriptions::retry(&app, &ctx, &plugin, event).await?, format!("{plugin} has taken {event}"))
        }
        Subscriptions::Dismiss { event: Event { plugin, event }, reason } => {
            let ctx = person::ctx(global, &app.store, "").await?;
            let view = subscriptions::dismiss(&app, &ctx, &plugin, (event, &reason)).await?;
            (view, format!("{event} is given up"))
        }
    };
    let waiting = view.subscription.parked;
    say(global, &json_of(&view), || format!("{what}; {waiting} more wait"));
    Ok(())
}

fn row(view: &SubscriptionView) -> Vec<String> {
    let subscription = &view.subscription;
    let resting = if subscription.is_resting() { " (resting)" } else { "" };
    vec![
        subscription.plugin.clone(),
        subscription.heard.to_string(),
        view.behind.to_string(),
        format!("{}{resting}", subscription.parked),
        format!("{} ({} bytes)", subscription.kept, subscription.kept_bytes),
        subscription.since.to_string(),
    ]
}

fn json_of(view: &SubscriptionView) -> serde_json::Value {
    let subscription = &view.subscription;
    json!({
        "plugin": subscription.plugin, "heard": subscription.heard, "behind": view.behind, "attempts": subscription.attempts,
        "parked": subscription.parked, "resting": subscription.is_resting(), "remembered": subscription.kept,
        "remembered_bytes": subscription.kept_bytes, "since": subscription.since.to_string(),
        "changed_at": subscription.changed_at.to_string(),
    })
}

fn row_of_parked(parked: &Parked) -> Vec<String> {
    let reason = parked.reason.chars().take(100).collect();
    vec![parked.news.id.to_string(), parked.news.kind.clone(), parked.news.at.to_string(), reason]
}

fn json_of_parked(parked: &Parked) -> serde_json::Value {
    json!({
        "event": parked.news.id, "type": parked.news.kind, "at": parked.news.at.to_string(), "reason": parked.reason,
        "decision": parked.decision, "parked_at": parked.at.to_string(),
    })
}
