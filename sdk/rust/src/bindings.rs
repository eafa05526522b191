//! The generated bindings, one world per exported interface; authors see them only through the crate's explicit re-exports.

// One module per world, because a component exports exactly what its author implemented and each world brings its own export macro. `types` and
// `log` are generated once (in `plugin`), `flow` once (in `machine`), `market` in `rates`, `accounts` in `statement`; the other worlds are mapped to them, so that all share the same Rust types.

/// `plugin`, and with it `types` and `log`.
pub mod plugin {
    wit_bindgen::generate!({
        path: "../../wit/preview",
        world: "export-plugin",
        pub_export_macro: true,
        export_macro_name: "export",
        additional_derives: [PartialEq, Eq],
    });
}

/// `machine`, and with it `flow`.
pub mod machine {
    wit_bindgen::generate!({
        path: "../../wit/preview",
        world: "export-machine",
        pub_export_macro: true,
        export_macro_name: "export",
        additional_derives: [PartialEq, Eq],
        with: {
            "koban:plugin/types@0.1.0": crate::bindings::plugin::koban::plugin::types,
            "koban:plugin/log@0.1.0": crate::bindings::plugin::koban::plugin::log,
        },
    });
}

/// Bindings of a world whose shared types live in the modules above. (A remapping that a world does not use is an error, hence the list.)
macro_rules! world {
    ($module:ident, $world:literal $(, $interface:literal: $path:path)*) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit/preview",
                world: $world,
                pub_export_macro: true,
                export_macro_name: "export",
                additional_derives: [PartialEq, Eq],
                with: {
                    "koban:plugin/types@0.1.0": crate::bindings::plugin::koban::plugin::types,
                    "koban:plugin/log@0.1.0": crate::bindings::plugin::koban::plugin::log,
                    $($interface: $path,)*
                },
            });
        }
    };
}

world!(inbound, "export-inbound", "koban:plugin/flow@0.1.0": crate::bindings::machine::koban::plugin::flow);
world!(charge, "export-charge", "koban:plugin/flow@0.1.0": crate::bindings::machine::koban::plugin::flow);
world!(withdraw, "export-withdraw", "koban:plugin/flow@0.1.0": crate::bindings::machine::koban::plugin::flow);
world!(link_account, "export-link-account", "koban:plugin/flow@0.1.0": crate::bindings::machine::koban::plugin::flow);
world!(pay_bill, "export-pay-bill", "koban:plugin/flow@0.1.0": crate::bindings::machine::koban::plugin::flow);
world!(
    sync,
    "export-sync",
    "koban:plugin/flow@0.1.0": crate::bindings::machine::koban::plugin::flow,
    "koban:plugin/accounts@0.1.0": crate::bindings::statement::koban::plugin::accounts
);
world!(files, "export-files");
world!(settlement, "export-settlement");
world!(migrate, "export-migrate");
world!(assess, "export-assess");
world!(rates, "export-rates");
world!(quote, "export-quote", "koban:plugin/market@0.1.0": crate::bindings::rates::koban::plugin::market);
world!(statement, "export-statement");
world!(on_event, "export-on-event", "koban:plugin/flow@0.1.0": crate::bindings::machine::koban::plugin::flow);
world!(table, "export-table");
