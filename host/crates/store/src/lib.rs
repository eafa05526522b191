//! Koban's rows: SQLite and PostgreSQL behind one interface. This room decides nothing, knows no HTTP and calls no guest.

pub mod adjustments;
pub mod audit;
pub mod backup;
pub mod bench;
pub mod captures;
pub mod charges;
pub mod endpoints;
pub mod exchanges;
pub mod files;
pub mod flows;
pub mod freezes;
pub mod inbound;
pub mod keys;
pub mod limits;
pub mod merchants;
pub mod operations;
pub mod operators;
pub mod outbox;
pub mod payments;
pub mod platform;
pub mod plugins;
pub mod records;
pub mod reviews;
pub mod schedules;
pub mod sessions;
pub mod statements;
pub mod submissions;
pub mod transfers;
pub mod users;
pub mod webhooks;

mod database;
mod error;
mod journal;
mod ledger;
mod migrations;
mod policy;
mod query;
mod reading;

pub use database::{Config, Dialect, Store};
pub use error::{StoreError, StoreErrorKind};
pub use journal::{JournalReader, PostingPlace, PostingSums, RecordPage, StoredAudit, StoredPosting};
pub use ledger::{LaneHead, LedgerTx, LedgerWriter, marks};
pub use migrations::{Schema, schema_version};
pub use reading::{Found, Payer, Questions, Reader};
