//! The interfaces that a component exports: found by name once, and their functions held against the contract.

use koban_domain::manifest::Manifest;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::bindings::exports::koban::plugin as contract;
use crate::plugin::LoadError;
use crate::state::State;

/// One field for each interface that a component may export, filled if it does.
macro_rules! exports {
    ($($interface:ident $name:literal),* $(,)?) => {
        /// The interfaces of one component. A kind's table says which must be there.
        pub(crate) struct Exports {
            pub(crate) plugin: contract::plugin::GuestIndices,
            $(pub(crate) $interface: Option<contract::$interface::GuestIndices>,)*
            /// Their names, in the order of the contract.
            pub(crate) names: Vec<&'static str>,
        }

        impl Exports {
            /// Finds them. Errors: one that the kind needs is missing, or one lacks a function of the contract.
            pub(crate) fn find(pre: &InstancePre<State>, manifest: &Manifest) -> Result<Exports, LoadError> {
                let (name, version) = koban_domain::guest::CONTRACT.split_once('@').unwrap_or_default();
                let has = |interface: &str| {
                    pre.component().get_export_index(None, format!("{name}/{interface}@{version}")).is_some()
                };
                for interface in ["plugin"].iter().chain(manifest.kind.required_interfaces()) {
                    if !has(interface) {
                        return Err(LoadError::MissingExport {
                            kind: manifest.kind.word(),
                            interface: (*interface).to_owned(),
                        });
                    }
                }
                let shape = |error: wasmtime::Error| LoadError::WrongType(error.to_string());
                let mut names = vec!["plugin"];
                $(if has($name) {
                    names.push($name);
                })*
                Ok(Exports {
                    plugin: contract::plugin::GuestIndices::new(pre).map_err(shape)?,
                    $($interface: has($name)
                        .then(|| contract::$interface::GuestIndices::new(pre))
                        .transpose()
                        .map_err(shape)?,)*
                    names,
                })
            }

            /// Looks at the types of all functions, so that none can be a surprise at the first payment.
            pub(crate) fn probe(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
                self.plugin.load(&mut *store, instance)?;
                $(if let Some(indices) = &self.$interface {
                    indices.load(&mut *store, instance)?;
                })*
                Ok(())
            }
        }
    };
}

exports! {
    machine "machine",
    charge "charge",
    withdraw "withdraw",
    link_account "link-account",
    pay_bill "pay-bill",
    sync "sync",
    inbound "inbound",
    files "files",
    settlement "settlement",
    migrate "migrate",
    assess "assess",
    rates "rates",
    quote "quote",
    statement "statement",
    on_event "on-event",
    table "table",
}
