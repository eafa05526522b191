//! Live money or tests: what a database is for, which clock its hosts have, and how a test's clock is moved.

use koban_domain::time::Timestamp;
pub use koban_store::platform::Mode;
use koban_store::{Store, platform};
use serde_json::json;

use crate::app::App;
use crate::clock::Clock;
use crate::ctx::Ctx;
use crate::error::Error;
use crate::users::audit;

/// The longest way that a test's clock can be moved at once, and altogether: one year, ten years.
pub const MOVE_S_MAX: i64 = 366 * 86_400;
const AHEAD_MS_MAX: i64 = 3_653 * 86_400_000;

/// The clock as the operator API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockView {
    /// The time by it.
    pub now: Timestamp,
    /// What the database is for.
    pub mode: Mode,
    /// How far it runs ahead of the machine's, milliseconds.
    pub ahead_ms: i64,
}

/// The clock of a host that is to serve this database. The first host decides what the database is for. Errors:
/// [`Error::Conflict`] if a test clock is asked for beside live money, or live money on a test's database.
pub async fn begin(store: &Store, test_clock: bool) -> Result<Clock, Error> {
    let known = platform::mode(store).await?;
    if test_clock && known.is_none() && platform::has_keys(store).await? {
        return Err(Error::Conflict(
            "there are live keys in this database; a test clock needs a database of its own".into(),
        ));
    }
    let wanted = if test_clock { Mode::Test } else { Mode::Live };
    match (wanted, platform::begin(store, wanted).await?) {
        (Mode::Live, Mode::Live) => Ok(Clock::machine()),
        (Mode::Test, Mode::Test) => Ok(Clock::ahead_by(platform::ahead_ms(store).await?)),
        (Mode::Test, Mode::Live) => {
            Err(Error::Conflict("this database is for live money; a test clock needs a database of its own".into()))
        }
        (Mode::Live, Mode::Test) => {
            Err(Error::Conflict("this database is for tests; serve it with --test-clock, or name another one".into()))
        }
    }
}

/// The clock of a command that only visits this database.
pub async fn clock(store: &Store) -> Result<Clock, Error> {
    match platform::mode(store).await? {
        None | Some(Mode::Live) => Ok(Clock::machine()),
        Some(Mode::Test) => Ok(Clock::ahead_by(platform::ahead_ms(store).await?)),
    }
}

/// The time, and by which clock.
pub fn time(app: &App, ctx: &Ctx) -> Result<ClockView, Error> {
    ctx.operator()?;
    Ok(ClockView { now: app.clock.now(), mode: app.clock.mode(), ahead_ms: app.clock.ahead_ms().unwrap_or_default() })
}

/// Moves a test's clock on; what became due by it is seen to at once, on every host. Errors: [`Error::Conflict`] for live money.
pub async fn move_clock(app: &App, ctx: &Ctx, by_s: i64) -> Result<ClockView, Error> {
    ctx.operator()?;
    if !(1..=MOVE_S_MAX).contains(&by_s) {
        return Err(Error::invalid("by_s", format!("use 1 to {MOVE_S_MAX} seconds; a clock is never moved back")));
    }
    if app.clock.ahead_ms().is_none() {
        return Err(Error::Conflict(
            "the clock of live money is the machine's; only a host that was started with --test-clock has another"
                .into(),
        ));
    }
    let audit = audit(app, ctx, "clock.move", "clock".to_owned(), &json!({ "by_s": by_s }).to_string());
    let moved = platform::move_clock(&app.store, by_s * 1_000, AHEAD_MS_MAX, &audit, app.clock.now()).await?;
    if moved.is_none() {
        return Err(Error::invalid("by_s", "the clock would run more than ten years ahead"));
    }
    app.ledger.refresh().await?;
    time(app, ctx)
}
