//! it
mod house;
