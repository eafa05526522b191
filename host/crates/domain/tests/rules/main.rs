//! The ledger's and the flows' rules as sentences, tried over the crate's public door: work in, entries or a refusal out.

mod accounts;
mod attacks;
mod bonus;
mod captures;
mod closings;
mod decided;
mod disputes;
mod events;
mod exchanges;
mod flow_ends;
mod flows;
mod fuzz;
mod limits;
mod model;
mod outcomes;
mod pages;
mod parts;
mod payments;
mod people;
mod records;
mod settlements;
mod shelf;
mod shops;
mod soak;
mod step_ups;
mod world;
