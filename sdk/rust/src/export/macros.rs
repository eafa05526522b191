//! The macros that export a type: one for each kind, one for each option.
//!
//! Every macro names the world of one interface and lends the type's methods to it. The wasm32 guard keeps native builds free of exports, which would
//! fail to link there.

/// Exports a type as a fraud rule: the interfaces `plugin` and `assess`.
#[macro_export]
macro_rules! fraud_rule {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::assess as world;
            struct Export;
            impl world::exports::koban::plugin::assess::Guest for Export {
                fn assess(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    payment: $crate::assess::Payment,
                    facts: Vec<$crate::Named>,
                    signals: Vec<$crate::assess::Signal>,
                ) -> Result<$crate::assess::Answer, $crate::Failure> {
                    let answer = $crate::export::assess::<$plugin>(&ctx, &settings, &payment, &facts, &signals);
                    $crate::export::leave((ctx, settings, payment, facts, signals));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Assess);
    };
}

/// Exports a type as a charge channel: the interfaces `plugin`, `machine` and `charge`.
#[macro_export]
macro_rules! charge_channel {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin);
        $crate::machine!($plugin);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::charge as world;
            struct Export;
            impl world::exports::koban::plugin::charge::Guest for Export {
                fn begin(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    request: $crate::flow::Request,
                ) -> Result<$crate::bindings::machine::koban::plugin::flow::Step, $crate::Failure> {
                    let answer = $crate::export::begin::<$plugin>(&ctx, &settings, &request);
                    $crate::export::leave((ctx, settings, request));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Charge);
    };
}

/// Exports a type as a bill payer: the interfaces `plugin`, `machine` and `pay-bill`.
#[macro_export]
macro_rules! bill_payer {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin);
        $crate::machine!($plugin);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::pay_bill as world;
            struct Export;
            impl world::exports::koban::plugin::pay_bill::Guest for Export {
                fn recognise(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    code: $crate::bill::Code,
                    facts: Vec<$crate::Named>,
                ) -> Result<Option<$crate::bill::Bill>, $crate::Failure> {
                    let answer = $crate::export::recognise::<$plugin>(&ctx, &settings, &code, &facts);
                    $crate::export::leave((ctx, settings, code, facts));
                    answer
                }
                fn begin(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    request: $crate::bill::Request,
                ) -> Result<$crate::bindings::machine::koban::plugin::flow::Step, $crate::Failure> {
                    let answer = $crate::export::begin_bill::<$plugin>(&ctx, &settings, &request);
                    $crate::export::leave((ctx, settings, request));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::PayBill);
    };
}

/// Exports a type as an exchange: the interfaces `plugin`, `rates` and `quote`.
#[macro_export]
macro_rules! exchange {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::rates as world;
            struct Export;
            impl world::exports::koban::plugin::rates::Guest for Export {
                fn parse(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    content: Vec<u8>,
                ) -> Result<Vec<$crate::market::Rate>, $crate::Failure> {
                    let answer = $crate::export::parse_rates::<$plugin>(&ctx, &settings, &content);
                    $crate::export::leave((ctx, settings, content));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::quote as world;
            struct Export;
            impl world::exports::koban::plugin::quote::Guest for Export {
                fn quote(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    request: $crate::market::Request,
                ) -> Result<$crate::market::Price, $crate::Failure> {
                    let answer = $crate::export::quote::<$plugin>(&ctx, &settings, &request);
                    $crate::export::leave((ctx, settings, request));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Quote);
    };
}

/// Exports a type as a budget link: the interfaces `plugin` and `statement`.
#[macro_export]
macro_rules! budget_link {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::statement as world;
            struct Export;
            impl world::exports::koban::plugin::statement::Guest for Export {
                fn compose(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    format: String,
                    account: $crate::statement::Account,
                ) -> Result<$crate::statement::Document, $crate::Failure> {
                    let answer = $crate::export::compose_statement::<$plugin>(&ctx, &settings, &format, &account);
                    $crate::export::leave((ctx, settings, format, account));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Statement);
    };
}

/// Exports a type as a merchant tool: the interfaces `plugin` and `on-event`.
#[macro_export]
macro_rules! merchant_tool {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::on_event as world;
            struct Export;
            impl world::exports::koban::plugin::on_event::Guest for Export {
                fn on_event(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    event: $crate::on_event::Event,
                    remembered: Vec<$crate::on_event::Remembered>,
                ) -> Result<Vec<$crate::on_event::Action>, $crate::Failure> {
                    let answer = $crate::export::on_event::<$plugin>(&ctx, &settings, &event, &remembered);
                    $crate::export::leave((ctx, settings, event, remembered));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::OnEvent);
    };
}

/// Exports the interface `machine`: part of a charge channel and a bill payer, an option of others.
#[macro_export]
macro_rules! machine {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::machine as world;
            struct Export;
            impl world::exports::koban::plugin::machine::Guest for Export {
                fn resume(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    state: Vec<u8>,
                    event: $crate::flow::Event,
                    refused: Option<$crate::flow::Refusal>,
                ) -> Result<world::koban::plugin::flow::Step, $crate::Failure> {
                    let answer = $crate::export::resume::<$plugin>(&ctx, &settings, &state, &event, refused.as_ref());
                    $crate::export::leave((ctx, settings, state, event, refused));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Machine);
    };
}

/// Exports the optional interface `withdraw` as well.
#[macro_export]
macro_rules! withdraw {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::withdraw as world;
            struct Export;
            impl world::exports::koban::plugin::withdraw::Guest for Export {
                fn begin(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    request: $crate::withdraw::Request,
                ) -> Result<$crate::bindings::machine::koban::plugin::flow::Step, $crate::Failure> {
                    let answer = $crate::export::begin_withdraw::<$plugin>(&ctx, &settings, &request);
                    $crate::export::leave((ctx, settings, request));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Withdraw);
    };
}

/// Exports the optional interface `link-account` as well.
#[macro_export]
macro_rules! link_account {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::link_account as world;
            struct Export;
            impl world::exports::koban::plugin::link_account::Guest for Export {
                fn begin(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    request: $crate::link_account::Request,
                ) -> Result<$crate::bindings::machine::koban::plugin::flow::Step, $crate::Failure> {
                    let answer = $crate::export::begin_link::<$plugin>(&ctx, &settings, &request);
                    $crate::export::leave((ctx, settings, request));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::LinkAccount);
    };
}

/// Exports the optional interface `sync` as well.
#[macro_export]
macro_rules! sync {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::sync as world;
            struct Export;
            impl world::exports::koban::plugin::sync::Guest for Export {
                fn begin(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    request: $crate::sync::Request,
                ) -> Result<$crate::bindings::machine::koban::plugin::flow::Step, $crate::Failure> {
                    let answer = $crate::export::begin_sync::<$plugin>(&ctx, &settings, &request);
                    $crate::export::leave((ctx, settings, request));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Sync);
    };
}

/// Exports the optional interface `migrate` as well.
#[macro_export]
macro_rules! migrate {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::migrate as world;
            struct Export;
            impl world::exports::koban::plugin::migrate::Guest for Export {
                fn state(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    version: String,
                    state: Vec<u8>,
                ) -> Result<Vec<u8>, $crate::Failure> {
                    let answer = $crate::export::migrate::<$plugin>(&ctx, &settings, &version, &state);
                    $crate::export::leave((ctx, settings, version, state));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Migrate);
    };
}

/// Exports the optional interface `table` as well.
#[macro_export]
macro_rules! table {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::table as world;
            struct Export;
            impl world::exports::koban::plugin::table::Guest for Export {
                fn rows(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    request: $crate::table::Request,
                ) -> Result<Vec<$crate::table::Row>, $crate::Failure> {
                    let answer = $crate::export::table_rows::<$plugin>(&ctx, &settings, &request);
                    $crate::export::leave((ctx, settings, request));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Table);
    };
}

/// Exports the optional interface `inbound` as well.
#[macro_export]
macro_rules! inbound {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::inbound as world;
            struct Export;
            impl world::exports::koban::plugin::inbound::Guest for Export {
                fn route(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    call: $crate::flow::Call,
                ) -> Result<$crate::flow::Routing, $crate::Failure> {
                    let answer = $crate::export::route::<$plugin>(&ctx, &settings, &call);
                    $crate::export::leave((ctx, settings, call));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Inbound);
    };
}

/// Exports the optional interface `settlement` as well.
#[macro_export]
macro_rules! settlement {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::settlement as world;
            struct Export;
            impl world::exports::koban::plugin::settlement::Guest for Export {
                fn parse(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    content: Vec<u8>,
                ) -> Result<Vec<$crate::settlement::Line>, $crate::Failure> {
                    let answer = $crate::export::parse_settlement::<$plugin>(&ctx, &settings, &content);
                    $crate::export::leave((ctx, settings, content));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Settlement);
    };
}

/// Exports the optional interface `files` as well.
#[macro_export]
macro_rules! files {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::files as world;
            struct Export;
            impl world::exports::koban::plugin::files::Guest for Export {
                fn compose(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    file: $crate::files::Outgoing,
                    records: Vec<(String, Vec<u8>)>,
                ) -> Result<Vec<u8>, $crate::Failure> {
                    let answer = $crate::export::compose_file::<$plugin>(&ctx, &settings, &file, &records);
                    $crate::export::leave((ctx, settings, file, records));
                    answer
                }
                fn parse(
                    ctx: $crate::Context,
                    settings: Vec<$crate::Named>,
                    file: String,
                    content: Vec<u8>,
                ) -> Result<Vec<(String, Vec<u8>)>, $crate::Failure> {
                    let answer = $crate::export::parse_file::<$plugin>(&ctx, &settings, &file, &content);
                    $crate::export::leave((ctx, settings, file, content));
                    answer
                }
            }
            world::export!(Export with_types_in world);
        };
        $crate::must_be!($plugin: $crate::Files);
    };
}

/// The interface `plugin`, part of every kind. `env!` reads the author's package, not this one.
#[doc(hidden)]
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::plugin as world;
            struct Export;
            impl world::exports::koban::plugin::plugin::Guest for Export {
                fn describe() -> world::exports::koban::plugin::plugin::Description {
                    $crate::export::arm();
                    world::exports::koban::plugin::plugin::Description {
                        id: env!("CARGO_PKG_NAME").to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        contract: $crate::CONTRACT.to_owned(),
                    }
                }
                fn check_settings(settings: Vec<$crate::Named>) -> Result<(), Vec<$crate::Failure>> {
                    let answer = $crate::export::check_settings::<$plugin>(&settings);
                    $crate::export::leave((settings,));
                    answer
                }
            }
    world::export!(Export with_types_in world);
        };
    };
}

/// A native build has no exports, but the compiler should still say when a trait is missing.
#[doc(hidden)]
#[macro_export]
macro_rules! must_be {
    ($plugin:ty: $interface:path) => {
        const _: () = {
            const fn is<P: $interface>() {}
            is::<$plugin>()
        };
    };
}
