//! The audit log: every privileged act, written with what it did, chained like the journal.

use koban_store::audit::{AuditFilter, AuditRow};

use crate::app::App;
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
}

/// Audit rows, newest first.
pub async fn list(app: &App, filter: &Filter, page: &Page) -> Result<Paged<AuditRow>, Error> {
    let limit = page.limit()?;
    let before = page.place::<8>()?.map(i64::from_be_bytes);
    let asked =
        AuditFilter { actor: filter.actor.as_deref(), act: filter.act.as_deref(), subject: filter.subject.as_deref() };
    let rows = koban_store::audit::list(&app.store, asked, before, limit + 1).await?;
    Ok(Paged::of(rows, limit, |row| row.sequence.to_be_bytes().to_vec()))
}
