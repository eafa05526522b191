//! The contract as types and functions, generated from `wit/preview`; nothing outside this crate sees them.
//!
//! The world lists every interface that a guest may export, but no guest exports all: the door uses the indices of single interfaces.
//! Parameters borrow, so a call lowers the host's values without copying them first.

wasmtime::component::bindgen!({
    path: "../../../wit/preview",
    inline: "
        package koban:host;
        world guests {
            import koban:plugin/log@0.1.0;
            export koban:plugin/plugin@0.1.0;
            export koban:plugin/machine@0.1.0;
            export koban:plugin/charge@0.1.0;
            export koban:plugin/withdraw@0.1.0;
            export koban:plugin/link-account@0.1.0;
            export koban:plugin/pay-bill@0.1.0;
            export koban:plugin/sync@0.1.0;
            export koban:plugin/inbound@0.1.0;
            export koban:plugin/files@0.1.0;
            export koban:plugin/settlement@0.1.0;
            export koban:plugin/migrate@0.1.0;
            export koban:plugin/assess@0.1.0;
            export koban:plugin/rates@0.1.0;
            export koban:plugin/quote@0.1.0;
            export koban:plugin/statement@0.1.0;
            export koban:plugin/on-event@0.1.0;
            export koban:plugin/table@0.1.0;
        }
    ",
    world: "koban:host/guests",
    imports: { default: trappable },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
