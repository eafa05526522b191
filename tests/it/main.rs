//! Koban end to end: the real host on a real store, with the world outside it played, attacked and cut off.

mod client;
mod harness;
mod house;

mod bad_input;
mod charges;
mod cli;
mod clock;
mod clocks;
mod decisions;
mod exchanges;
mod flows;
mod fraud;
mod history;
mod hostile;
mod http;
mod idempotency;
mod keys;
mod kills;
mod load;
mod overload;
mod payments;
mod refunds;
mod schedules;
mod sessions;
mod settlements;
mod statements;
mod sweep;
mod tamper;
mod transfers;
mod two_hosts;
mod unsure;
