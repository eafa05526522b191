//! What the store promises of its rows outside the bulk commit, on SQLite always and on PostgreSQL where `KOBAN_TEST_POSTGRES`
//! names a server (`cargo xtask postgres -- cargo test -p koban-store`).

mod harness;

mod access;
mod baseline;
mod consents;
mod dealings;
mod effects;
mod evidence;
mod flows;
mod merchants;
mod partner_files;
mod partners;
mod people;
mod policy;
mod records;
mod releases;
mod subscriptions;
mod webhooks;
