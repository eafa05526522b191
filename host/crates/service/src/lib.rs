//! Koban's use cases: identity and plugins before the commit queue, the books inside it, the news after it. The only room that
//! sees both guests and rows.

pub mod app;
pub mod audit;
pub mod backup;
pub mod charges;
pub mod checkpoints;
pub mod clock;
pub mod ctx;
pub mod decisions;
pub mod differences;
pub mod error;
pub mod exchanges;
pub mod export;
pub mod flows;
pub mod fraud;
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
pub mod page;
pub mod payments;
pub mod platform;
pub mod plugins;
pub mod policy;
pub mod reads;
pub mod refunds;
pub mod sealing;
pub mod standing;
pub mod transfers;
pub mod users;
pub mod verify;
pub mod wallets;
pub mod webhooks;

pub use app::App;
pub use ctx::{Actor, Ctx};
pub use error::Error;
