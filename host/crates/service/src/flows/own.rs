//! What a user sees of a flow of their own, and what they may do with it: fill in its forms, and ask it to stop.

use std::time::Duration;

use koban_domain::flows::{Arrival, EffectState, Flow};
use koban_domain::guest::{Named, Show, Standing, What};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::manifest::{Beginning, Manifest};
use koban_store::flows as rows;

use super::form;
use super::resolve::RESOLVED;
use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::page::{Page, Paged};

/// Most of a user's flows, of one beginning, that are looked through for one that asks for a consent.
const ASKING_MAX: u16 = 50;
/// How long answers and cancellations wait for the plugin, so that what is shown next is mostly there.
const STEP_WITHIN: Duration = Duration::from_secs(2);

/// Something that the user is shown, its texts in the user's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The plugin's name for it; a form is answered under it.
    pub key: String,
    /// What is shown, as the plugin asked for it.
    pub show: Show,
    /// For a text: the text.
    pub text: Option<String>,
    /// For a form: the labels of its fields, in their order.
    pub labels: Vec<String>,
}

/// Why a flow ended as it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// A code of the plugin's manifest, or `resolved_by_operator`.
    pub code: String,
    /// For the user, in the user's language; none if the plugin has nothing to say to users.
    pub text: Option<String>,
}

/// What a beginning is called in messages to its user.
fn noun(beginning: Beginning) -> &'static str {
    match beginning {
        Beginning::Charge => "charge",
        Beginning::PayBill => "bill",
        Beginning::Withdraw => "withdrawal",
        Beginning::LinkAccount => "linking",
        Beginning::Sync | Beginning::Event => "flow",
    }
}

/// A flow of the signed-in user that began as this. Errors: [`Error::NotFound`], also for another's.
pub(crate) async fn flow(app: &App, ctx: &Ctx, id: FlowId, beginning: Beginning) -> Result<Flow, Error> {
    let user = ctx.user()?;
    let flow = rows::by_id(&app.store, id).await?.filter(|flow| flow.authorisation.user == user);
    flow.filter(|flow| flow.beginning == beginning).ok_or(Error::NotFound(noun(beginning)))
}

/// The signed-in user's flows that began as this, newest first.
pub(crate) async fn list(app: &App, ctx: &Ctx, beginning: Beginning, page: &Page) -> Result<Paged<Flow>, Error> {
    let user = ctx.user()?;
    let limit = page.limit()?;
    let before = page.place::<16>()?.map(|bytes| FlowId(uuid::Uuid::from_bytes(bytes)));
    let flows = rows::by_user(&app.store, user, beginning, before, limit + 1).await?;
    Ok(Paged::of(flows, limit, |flow| flow.id.bytes().to_vec()))
}

/// Fills in a form that the flow shows, and waits a moment for the plugin.
pub(crate) async fn answer(app: &App, flow: &Flow, key: &str, values: Vec<Named>) -> Result<(), Error> {
    let noun = noun(flow.beginning);
    if flow.standing.is_final() {
        return Err(Error::Conflict(format!("the {noun} has ended; begin a new one")));
    }
    let shown = flow.effects.iter().find(|effect| effect.key == key && effect.state == EffectState::Open);
    let Some(Show::Form(fields)) = shown.and_then(|effect| effect.show.as_ref()) else {
        return Err(Error::Conflict(format!("the {noun} shows no form `{key}` now; read it again")));
    };
    form::check(fields, &values, flow.authorisation.at_most.currency)?;
    arrive(app, flow, key, What::Form(values)).await
}

/// Asks the plugin to stop the flow, and waits a moment for it. Whether it can is the plugin's to say.
pub(crate) async fn cancel(app: &App, flow: &Flow) -> Result<(), Error> {
    match flow.standing {
        Standing::Cancelled => Ok(()),
        standing if standing.is_final() => {
            Err(Error::Conflict(format!("the {} has ended and cannot be cancelled", noun(flow.beginning))))
        }
        _ => arrive(app, flow, "", What::CancelAsked).await,
    }
}

/// Asks the plugin to stop a flow that the host has begun, and does not wait for it.
pub(crate) async fn ask_to_stop(app: &App, flow: &Flow) -> Result<(), Error> {
    if flow.standing.is_final() || flow.stuck.is_some() {
        return Ok(());
    }
    let (key, at) = (String::new(), app.clock.now());
    rows::arrive(&app.store, &Arrival { flow: flow.id, key, what: What::CancelAsked, call: None, at }).await?;
    app.bell.flow(flow.id);
    Ok(())
}

/// Tells a user's flows of a plugin, which ask for it, that the user has agreed at the partner of this endpoint.
pub(crate) async fn agreed(app: &App, user: UserId, plugin: &str, endpoint: &str) -> Result<(), Error> {
    for beginning in Beginning::ALL {
        for flow in rows::by_user(&app.store, user, beginning, None, ASKING_MAX).await? {
            let asks = flow.shown().find(|(_, show)| matches!(show, Show::Consent(asked) if asked == endpoint));
            if flow.plugin == plugin
                && !flow.standing.is_final()
                && flow.stuck.is_none()
                && let Some((key, _)) = asks
            {
                arrive(app, &flow, key, What::Agreed).await?;
            }
        }
    }
    Ok(())
}

async fn arrive(app: &App, flow: &Flow, key: &str, what: What) -> Result<(), Error> {
    if flow.stuck.is_some() {
        let noun = noun(flow.beginning);
        let text = format!("somebody of the platform has to look at this {noun} first; try again later");
        return Err(Error::Conflict(text));
    }
    let mut waiter = app.bell.move_of(flow.id);
    // The same wish again while it waits is the same wish.
    let same =
        rows::next_event(&app.store, flow).await?.filter(|next| next.event.key == key && next.event.what == what);
    let place = match same {
        Some(same) => same.place,
        None => {
            let at = app.clock.now();
            rows::arrive(&app.store, &Arrival { flow: flow.id, key: key.to_owned(), what, call: None, at }).await?
        }
    };
    app.bell.flow(flow.id);
    let stepped = async {
        while rows::next_event(&app.store, flow).await?.is_some_and(|next| next.place <= place) {
            waiter.look_again().await;
        }
        Ok(())
    };
    // Slow is no error: the flow is read again later.
    tokio::time::timeout(STEP_WITHIN, stepped).await.unwrap_or(Ok::<(), Error>(()))
}

/// Whether the flow waits for an operator: then nothing is asked of its user, who is told that it is being checked.
pub(crate) fn waits(flow: &Flow) -> bool {
    flow.stuck.is_some() && !flow.standing.is_final()
}

/// Where a flow stands for its user.
pub(crate) fn standing(flow: &Flow) -> Standing {
    if waits(flow) { Standing::Checking } else { flow.standing }
}

/// What the user is shown now, in the user's language. Without its component a flow is still shown, only without the plugin's texts.
pub(crate) fn shows(flow: &Flow, manifest: Option<&Manifest>, locale: &str) -> Vec<Shown> {
    if waits(flow) {
        return Vec::new();
    }
    let text = |key: &str| word(manifest, key, locale);
    let shown = flow.shown().map(|(key, show)| Shown {
        key: key.to_owned(),
        text: match show {
            Show::Text(key) => text(key),
            Show::Code(_) | Show::Qr(_) | Show::Link(_) | Show::Form(_) | Show::Consent(_) => None,
        },
        labels: match show {
            Show::Form(fields) => {
                fields.iter().map(|field| text(&field.label).unwrap_or_else(|| field.name.clone())).collect()
            }
            Show::Text(_) | Show::Code(_) | Show::Qr(_) | Show::Link(_) | Show::Consent(_) => Vec::new(),
        },
        show: show.clone(),
    });
    shown.collect()
}

/// Why the flow failed, or was closed, in the user's language.
pub(crate) fn note(flow: &Flow, manifest: Option<&Manifest>, locale: &str) -> Option<Note> {
    let note = flow.note.as_ref()?;
    let text = match (note.text.as_deref(), note.code.as_str()) {
        (Some(key), _) => word(manifest, key, locale),
        (None, RESOLVED) if locale == "en" => Some(format!("An operator closed this {}", noun(flow.beginning))),
        (None, RESOLVED) => Some(match flow.beginning {
            Beginning::Charge => "運営がこのチャージを終了しました".to_owned(),
            _ => "運営がこの取引を終了しました".to_owned(),
        }),
        (None, _) => None,
    };
    Some(Note { code: note.code.clone(), text })
}

/// One of a plugin's texts in a user's language.
pub(crate) fn word(manifest: Option<&Manifest>, key: &str, locale: &str) -> Option<String> {
    let words = manifest?.texts.get(key)?;
    Some(if locale == "en" { words.en.clone() } else { words.ja.clone() })
}
