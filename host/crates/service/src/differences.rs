//! Differences between partners' books and ours, and the operator's way to close them.

use koban_domain::accounts::PluginKey;
use koban_domain::guest::Side;
use koban_domain::ledger::{Answer, Command};
use koban_domain::settlements::{Difference, WriteOff, WrittenOff};
use koban_domain::time::Timestamp;
use koban_store::charges::{self, AgePlace};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};
use crate::plugins;
use crate::users::audit;

/// A difference, with the reference that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DifferenceView {
    /// Whose partner.
    pub plugin: String,
    /// Which side.
    pub side: Side,
    /// The partner's reference.
    pub reference: String,
    /// What the two books say.
    pub difference: Difference,
}

/// What an operator closes.
#[derive(Debug, Clone, Serialize)]
pub struct WriteOffInput {
    /// Whose partner.
    pub plugin: String,
    /// Which side.
    pub side: Side,
    /// The partner's reference.
    pub reference: String,
    /// Why; goes into the audit log and the entry.
    pub reason: String,
}

/// Open differences of a plugin, oldest first.
pub async fn list(app: &App, plugin: &str, page: &Page) -> Result<Paged<DifferenceView>, Error> {
    let limit = page.limit()?;
    let after = page.after.as_deref().map(read_place).transpose()?;
    let rows = charges::open_differences(&app.store, PluginKey::of(plugin), after.as_ref(), limit + 1).await?;
    let paged = Paged::of(rows, limit, |(key, difference)| {
        let place = (difference.at.0, key.side, &key.reference);
        serde_json::to_vec(&place).unwrap_or_default()
    });
    Ok(paged.map(|(key, difference)| DifferenceView {
        plugin: plugin.to_owned(),
        side: key.side,
        reference: key.reference,
        difference,
    }))
}

fn read_place(cursor: &str) -> Result<AgePlace, Error> {
    use base64::Engine as _;
    let wrong = || Error::invalid("after", "use the `next` value of the page before, unchanged");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let (at, side, reference) = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    Ok(AgePlace { at: Timestamp(at), side, reference })
}

/// Closes a difference, or a credit that the partner never settled, against the plugin's loss budget.
pub async fn write_off(app: &App, ctx: &Ctx, input: WriteOffInput) -> Result<Answered<WrittenOff>, Error> {
    let operator = ctx.operator()?;
    plugins::check_reason(&input.reason)?;
    let operation = operations::begin(app, ctx, "POST /v1/operator/differences/write-off", &input)?;
    let mut work = ctx.work(app.clock.id());
    let detail = json!({ "side": input.side, "reference": input.reference, "reason": input.reason }).to_string();
    work.audit = vec![audit(app, ctx, "difference.write-off", input.plugin.clone(), &detail)];
    work.commands = vec![Command::WriteOff(WriteOff {
        plugin: PluginKey::of(&input.plugin),
        side: input.side,
        reference: input.reference,
        operator,
        reason: input.reason,
    })];
    operation.commit(app, work).await?.ok_or(Error::Busy)?.expect(|answer| match answer {
        Answer::WrittenOff(written_off) => Some(written_off),
        _ => None,
    })
}
