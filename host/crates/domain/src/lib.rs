//! Koban's pure room: values and decisions. It knows no IO, no async, no clock, no SQL, no HTTP and no WebAssembly.

pub mod accounts;
pub mod books;
pub mod charges;
pub mod events;
pub mod exchanges;
pub mod flows;
pub mod guest;
pub mod ids;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod manifest;
pub mod money;
pub mod operations;
pub mod outcomes;
pub mod paths;
pub mod payments;
pub mod policy;
pub mod records;
pub mod refunds;
pub mod settlements;
pub mod signals;
pub mod time;
pub mod touched;
pub mod transfers;
pub mod verification;
