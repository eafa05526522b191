//! Limits as operators see and set them: dated rows, never changed, only followed by later ones.

use koban_domain::limits::Limit;
use serde_json::json;

use crate::app::App;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::users::audit;

/// Every row, those to come included.
pub fn list(app: &App) -> Vec<Limit> {
    app.ledger.policy().limits.0.clone()
}

/// Adds a row. It may begin now or later, but not in the past: what was decided stays decided.
pub async fn put(app: &App, ctx: &Ctx, limit: Limit) -> Result<(), Error> {
    ctx.operator()?;
    if limit.amount.minor < 0 {
        return Err(Error::invalid("amount", "use zero or more"));
    }
    if limit.from < app.clock.now().plus_ms(-60_000) {
        return Err(Error::invalid("from", "a limit begins now or later"));
    }
    let subject = format!("{:?} {:?} {:?}", limit.wallet, limit.action, limit.window).to_lowercase();
    let detail = json!({ "limit": limit });
    let audit = audit(app, ctx, "limit.put", subject, &detail.to_string());
    koban_store::limits::put(&app.store, &[limit], &audit, app.clock.now()).await?;
    app.ledger.refresh().await
}
