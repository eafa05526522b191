//! The catalogue of facts: what a plugin may be told about the people and things concerned, and nothing else.

/// A fact that a manifest may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// The name in the manifest and in the call.
    pub name: &'static str,
    /// The type of its value: `text`, `whole`, `flag` and so on.
    pub kind: &'static str,
    /// What it is, with its unit, and when it is absent.
    pub about: &'static str,
    /// A value as it may come.
    pub example: &'static str,
    /// The functions that are given it.
    pub given_to: &'static [&'static str],
}

/// Everything that concerns the user who asks.
const OF_THE_USER: &[&str] = &[
    "assess.assess",
    "charge.begin",
    "withdraw.begin",
    "link-account.begin",
    "pay-bill.recognise",
    "pay-bill.begin",
    "quote.quote",
];

/// The published catalogue, in the order of its page.
pub const FACTS: &[Fact] = &[
    Fact {
        name: "account.kind",
        kind: "text",
        about: "`prepaid` or `funds`: the account of the user who pays, charges or asks; `funds` after verification",
        example: "`funds`",
        given_to: OF_THE_USER,
    },
    Fact {
        name: "account.age_days",
        kind: "whole",
        about: "full days since that user signed up",
        example: "`412`",
        given_to: OF_THE_USER,
    },
    Fact {
        name: "payee.first_time",
        kind: "flag",
        about: "the payer has never paid this payee before",
        example: "`true`",
        given_to: &["assess.assess"],
    },
    Fact {
        name: "device.id",
        kind: "text",
        about: "the `Koban-Device` header of the request; absent without it",
        example: "`ios-7f3a`",
        given_to: OF_THE_USER,
    },
    Fact {
        name: "merchant.category",
        kind: "text",
        about: "the merchant's ISO 18245 category code, four digits; absent for transfers and for merchants without one",
        example: "`5411`",
        given_to: &["assess.assess"],
    },
];

/// The fact with this name.
pub fn fact(name: &str) -> Option<&'static Fact> {
    FACTS.iter().find(|fact| fact.name == name)
}
