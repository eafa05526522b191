//! The audit log: every privileged act, written with what it did, chained like the journal.

use koban_domain::ids::AuditId;
use koban_domain::ledger::Audit;
use koban_domain::time::Timestamp;
use koban_store::Store;
use koban_store::audit::{AuditFilter, AuditRow};

use crate::app::App;
use crate::clock::Clock;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::page::{Page, Paged};

/// Which rows are asked for; all of them where nothing is said.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Who acted, such as `operator:opr_…`.
    pub actor: Option<String>,
    /// What was done, such as `user.verify`.
    pub act: Option<String>,
    /// To whom or what.
    pub subject: Option<String>,
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Up to before this time.
    pub to: Option<Timestamp>,
}

/// Writes down that somebody read what is not everybody's: an export, a backup. What leaves no trace is not handed out.
pub async fn note(store: &Store, clock: &Clock, ctx: &Ctx, act: &str, subject: &str) -> Result<(), Error> {
    ctx.operator()?;
    let row = Audit {
        id: AuditId(clock.id()),
        actor: ctx.actor.to_string(),
        act: act.to_owned(),
        subject: subject.to_owned(),
        detail: "{}".to_owned(),
    };
    Ok(koban_store::audit::append(store, &row, clock.now()).await?)
}

/// Audit rows, newest first.
pub async fn list(app: &App, filter: &Filter, page: &Page) -> Result<Paged<AuditRow>, Error> {
    let limit = page.limit()?;
    let before = page.place::<8>()?.map(i64::from_be_bytes);
    let asked = AuditFilter {
        actor: filter.actor.as_deref(),
        act: filter.act.as_deref(),
        subject: filter.subject.as_deref(),
        from: filter.from,
        to: filter.to,
    };
    let rows = koban_store::audit::list(&app.store, asked, before, limit + 1).await?;
    Ok(Paged::of(rows, limit, |row| row.sequence.to_be_bytes().to_vec()))
}
