//! From the generated bindings to an author's traits and back; used by the export macros and by `pretend`, by nobody else.

use crate::assess::{Answer, Payment, Signal};
use crate::bindings::machine::koban::plugin::flow;
use crate::flow::{Call, Event, Refusal, Request, Routing, Step};
use crate::settlement::Line;
use crate::{Assess, Charge, Context, Failure, Files, Inbound, Machine, Named, Plugin, Settings, Settlement, Values};

/// Makes the text and the place of a panic reach the host's log before the trap. Called first in every export: each call has a fresh instance.
pub fn arm() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|info| crate::log::error(&info.to_string())));
}

/// Leaves arguments where they are: the instance ends with the call, and taking them apart piece by piece would be work for nothing.
pub fn leave<T>(arguments: T) {
    std::mem::forget(arguments);
}

/// `plugin.check-settings`.
pub fn check_settings<P: Plugin>(settings: &[Named]) -> Result<(), Vec<Failure>> {
    arm();
    P::check_settings(&P::Settings::read(settings)?)
}

/// `assess.assess`.
pub fn assess<P: Assess>(
    ctx: &Context,
    settings: &[Named],
    payment: &Payment,
    facts: &[Named],
    signals: &[Signal],
) -> Result<Answer, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::assess(ctx, settings, payment, Values(facts), signals))
}

/// `charge.begin`.
pub fn begin<P: Charge>(ctx: &Context, settings: &[Named], request: &Request) -> Result<flow::Step, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::begin(ctx, settings, request)).map(write_step)
}

/// `machine.resume`.
pub fn resume<P: Machine>(
    ctx: &Context,
    settings: &[Named],
    state: &[u8],
    event: &Event,
    refused: Option<&Refusal>,
) -> Result<flow::Step, Failure> {
    arm();
    let state = postcard::from_bytes(state).unwrap_or_else(|error| {
        // Not an answer to the partner but a mistake of ours: a fault keeps the event and stops the flow where an operator sees it.
        panic!("the flow's state cannot be read ({error}); was it written by another version of this plugin?")
    });
    with_settings::<P, _>(settings, |settings| P::resume(ctx, settings, state, event, refused)).map(write_step)
}

/// `inbound.route`.
pub fn route<P: Inbound>(ctx: &Context, settings: &[Named], call: &Call) -> Result<Routing, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::route(ctx, settings, call))
}

/// `settlement.parse`.
pub fn parse_settlement<P: Settlement>(
    ctx: &Context,
    settings: &[Named],
    content: &[u8],
) -> Result<Vec<Line>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::parse(ctx, settings, content))
}

/// `files.compose`.
pub fn compose_file<P: Files>(
    ctx: &Context,
    settings: &[Named],
    file: &str,
    records: &[(String, Vec<u8>)],
) -> Result<Vec<u8>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::compose(ctx, settings, file, records))
}

/// `files.parse`.
pub fn parse_file<P: Files>(
    ctx: &Context,
    settings: &[Named],
    file: &str,
    content: &[u8],
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    arm();
    with_settings::<P, _>(settings, |settings| P::parse(ctx, settings, file, content))
}

/// Reads the settings and calls with them. They were judged when they were set, so that the first thing wrong is enough here.
fn with_settings<P: Plugin, T>(
    list: &[Named],
    call: impl FnOnce(&P::Settings) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let settings = P::Settings::read(list).map_err(|failures| {
        let first = failures.into_iter().next();
        first.unwrap_or_else(|| Failure::new(crate::SETTINGS_INVALID, "the settings cannot be read"))
    })?;
    let answer = call(&settings);
    leave(settings);
    answer
}

fn write_step<S: serde::Serialize>(step: Step<S>) -> flow::Step {
    let state = postcard::to_allocvec(&step.state)
        .unwrap_or_else(|error| panic!("the flow's state cannot be written as postcard: {error}"));
    flow::Step {
        state,
        standing: step.standing,
        effects: step.effects,
        proposals: step.proposals,
        reply: step.reply,
        note: step.note,
    }
}

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
                    file: String,
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
