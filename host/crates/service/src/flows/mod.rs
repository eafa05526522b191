//! Flows: driven event by event, with effects that leave after the commit and partners' calls that wait for their step.
//!
//! What a step may do is decided by `koban_domain::flows`; here is who brings it event and answer, and what happens around
//! it. docs/internals/flows.md tells the whole.

pub(crate) mod begin;
mod bell;
pub mod drive;
pub mod effects;
mod form;
pub mod inbound;
pub(crate) mod links;
pub mod moving;
pub(crate) mod own;
pub(crate) mod partner;
pub mod partner_files;
pub mod resolve;
pub mod settlement;
pub mod view;

pub use bell::{Bell, Waiter};
pub use inbound::{InboundReply, InboundRequest, receive};
pub use koban_store::flows::Which;
pub use moving::{NextStep, Prospect, foresee, move_to};
pub use resolve::{Reply, adjusting, resolve, retry};
pub(crate) use view::word;
pub use view::{FlowDetail, FlowFilter, FlowSummary, get, list};
