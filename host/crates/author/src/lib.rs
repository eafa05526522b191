//! What `koban plugin` is made of: manifest, guest toolchains of three languages, componentise, check, package, sign, templates, call and scenario
//! files. It knows no database, no engine and no host.
//!
//! [`template::new`] makes a plugin's source, [`build()`] goes the whole way from there to its package; [`package::open`] reads a package,
//! [`check`] says whether a component and its manifest belong together and ask for nothing that plugins do not get. [`call`] and [`scenario`]
//! are what authors test with; whoever runs them brings the guest.

mod build;
pub mod call;
mod check;
mod component;
pub mod manifest;
pub mod package;
pub mod permissions;
mod problem;
pub mod scenario;
pub mod sign;
pub mod template;
pub mod toolchain;
mod unit;
mod values;

pub use build::{BuildError, Built, build};
pub use check::{CheckError, Checked, check};
pub use component::{ComponentError, component};
pub use problem::Problem;
pub use unit::{Unit, UnitError, unit_tests};
