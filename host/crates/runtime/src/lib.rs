//! Koban's one door to guests. It knows wasmtime, the contract and the manifest; it knows no database, no HTTP and no money rule.
//!
//! [`Door::load`] turns a component into a [`Plugin`], [`Door::call`] runs one call of it in a fresh instance and hands back a typed answer
//! with the record of it, [`Door::replay`] runs a recorded call again. No type of wasmtime leaves this crate.

mod admit;
mod bindings;
mod cache;
mod calls;
mod convert;
mod door;
mod engine;
mod exports;
mod faults;
mod limits;
mod meters;
mod plugin;
mod replay;
mod sizes;
mod state;
mod typed;
pub mod worker;

pub use cache::CacheUse;
pub use door::{CallContext, Called, Door, DoorConfig, DoorError, Used};
pub use limits::{Class, ClassLimits, Limits, LimitsError};
pub use meters::Meters;
pub use plugin::{LoadError, Plugin, grants_digest};
pub use replay::{Difference, Replayed};
pub use worker::Compiler;
