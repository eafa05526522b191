//! What `koban plugin` is made of: manifest, guest toolchains of three languages, componentise, check, package. It knows no database, no engine
//! and no host.
//!
//! [`build()`] goes the whole way from a plugin's source to its package; [`package::open`] reads a package, [`check`] says whether a component
//! and its manifest belong together and ask for nothing that plugins do not get.

mod build;
mod check;
pub mod manifest;
pub mod package;
pub mod toolchain;

pub use build::{BuildError, Built, build};
pub use check::{CheckError, Checked, check};
