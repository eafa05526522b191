//! Koban's use cases: identity and plugins before the commit queue, the books inside it, the news after it. The only room that
//! sees both guests and rows.

pub mod adjustments;
pub mod app;
pub mod audit;
pub mod backtests;
pub mod backup;
pub mod beside;
pub mod bonus;
pub mod bulk;
pub mod captures;
pub mod charges;
pub mod checkpoints;
pub mod clock;
pub mod closings;
pub mod closures;
pub mod consents;
pub mod ctx;
pub mod decisions;
pub mod differences;
pub mod disputes;
pub mod endpoints;
pub mod erasures;
pub mod error;
pub mod exchanges;
pub mod export;
pub mod flows;
pub mod fraud;
pub mod freezes;
pub mod guests;
pub mod identity;
pub mod jobs;
mod judged;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod loaded;
pub mod merchants;
pub mod metrics;
pub mod operations;
pub mod operators;
mod orders;
pub mod page;
pub mod payments;
pub mod platform;
pub mod plugins;
pub mod policy;
pub mod publishers;
mod quarantine;
pub mod reads;
pub mod refunds;
pub mod releases;
pub mod replays;
pub mod reviews;
pub mod schedules;
pub mod sealing;
pub mod shadows;
pub mod standing;
pub mod step_ups;
pub mod tally;
pub mod transfers;
pub mod trials;
pub mod users;
pub mod verification;
pub mod verify;
pub mod walk;
pub mod wallets;
pub mod webhooks;
pub mod what_ifs;

/// The target of the spans that become traces. They say what was done and how long it took: routes, plugins, ids of requests, flows
/// and decisions; never who, and no amounts.
pub const TRACE: &str = "koban::trace";

pub use app::App;
pub use ctx::{Actor, Ctx};
pub use error::Error;
