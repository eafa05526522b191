//! Reviews: an operator says yes or no to an amount that a fraud rule had held, and what nobody decides ends by itself.

use koban_domain::ids::ReviewId;
use koban_domain::ledger::{Answer, Command};
use koban_domain::reviews::{Conclude, Review, Ruling};
use koban_domain::time::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::captures::end_all;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::operations::{self, Answered};
use crate::page::{Page, Paged};
use crate::plugins::check_reason;
use crate::users::audit;

/// Most reviews that are ended in one go.
const ENDED_AT_ONCE: u16 = 256;

/// What an operator decides.
#[derive(Debug, Clone, Serialize)]
pub struct ReviewInput {
    /// Which review.
    pub review: ReviewId,
    /// Whether the amount may go on its way.
    pub approve: bool,
    /// Why; goes into the audit log.
    pub reason: String,
}

/// A review.
pub async fn get(app: &App, id: ReviewId) -> Result<Review, Error> {
    koban_store::reviews::by_id(&app.store, id).await?.ok_or(Error::NotFound("review"))
}

/// Reviews, newest first: all of them, or those that are open.
pub async fn list(app: &App, open: bool, page: &Page) -> Result<Paged<Review>, Error> {
    let limit = page.limit()?;
    let before = page.before()?.map(ReviewId);
    let rows = koban_store::reviews::list(&app.store, open, before, limit + 1).await?;
    Ok(Paged::of(rows, limit, |review| review.id.bytes().to_vec()))
}

/// Decides a review. Of two operators, and of an operator and the clock, one wins.
pub async fn decide(app: &App, ctx: &Ctx, input: ReviewInput) -> Result<Answered<Review>, Error> {
    let operator = ctx.operator()?;
    check_reason(&input.reason)?;
    let review = get(app, input.review).await?;
    let (act, ruling, route) = match input.approve {
        true => ("review.approve", Ruling::Approved(operator), "POST /v1/operator/reviews/{id}/approve"),
        false => ("review.decline", Ruling::Declined(operator), "POST /v1/operator/reviews/{id}/decline"),
    };
    let operation = operations::begin(app, ctx, route, &input)?;
    let mut work = ctx.work(app.clock.id());
    let detail = json!({ "reason": input.reason }).to_string();
    work.audit = vec![audit(app, ctx, act, review.id.to_string(), &detail)];
    work.payee = input.approve.then_some((review.of.payer(), review.of.payee()));
    work.commands = vec![Command::Conclude(Conclude { of: review.of, ruling })];
    operation.commit(app, work).await?.ok_or(Error::Busy)?.expect(|answer| match answer {
        Answer::Reviewed(ended) => Some(ended.0),
        _ => None,
    })
}

/// Ends every review that nobody decided in time.
pub(crate) async fn expire_due(app: &App, now: Timestamp) -> Result<(), Error> {
    let due = koban_store::reviews::due(&app.store, now, ENDED_AT_ONCE).await?;
    let ends = due.into_iter().map(|review| Command::Conclude(Conclude { of: review.of, ruling: Ruling::Expired }));
    end_all(app, ends).await.map(drop)
}
