//! Flows over the real host: the books on SQLite, real guests, and a partner on the other end of a real connection.

mod attacks;
mod batches;
mod calls;
mod consents;
mod effects;
mod house;
mod operators;
mod partner;
mod settlement;
