//! Values in JSON bodies: amounts as whole minor units, plain text, typed answers and settings.

use koban_domain::guest::{Named, Value};
use koban_domain::money::{Currency, Money};
use koban_domain::time::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// Whole minor units as they come in: a JSON integer and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Minor(pub(crate) i64);

impl Minor {
    /// This much of a currency.
    pub(crate) fn of(self, currency: Currency) -> Money {
        Money::new(self.0, currency)
    }
}

impl<'de> Deserialize<'de> for Minor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Minor;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "whole minor units without quotes, point or exponent, such as 1280 for 1,280 yen or 12.80 dollars",
                )
            }

            fn visit_i64<E: serde::de::Error>(self, minor: i64) -> Result<Minor, E> {
                if minor > 0 { Ok(Minor(minor)) } else { Err(E::custom("the amount must be more than zero")) }
            }

            fn visit_u64<E: serde::de::Error>(self, minor: u64) -> Result<Minor, E> {
                let minor = i64::try_from(minor).map_err(|_| E::custom("the amount is too large"))?;
                self.visit_i64(minor)
            }
        }
        deserializer.deserialize_i64(Whole)
    }
}

/// Text that others will see or search for: no control characters, and none that turn the reading direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line(pub(crate) String);

/// Most characters of any such text; use cases ask for less.
const CHARACTERS_MAX: usize = 500;

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().count() > CHARACTERS_MAX {
            return Err(D::Error::custom(format!("use at most {CHARACTERS_MAX} characters")));
        }
        if text.chars().any(|c| c.is_control() || is_direction(c)) {
            return Err(D::Error::custom("leave out control characters and marks that turn the reading direction"));
        }
        Ok(Line(text))
    }
}

/// Embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9): they can make a name read as another.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An amount in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct MoneyBody {
    /// Whole minor units: yen for JPY, cents for USD.
    #[schema(example = 1280)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

impl From<Money> for MoneyBody {
    fn from(money: Money) -> MoneyBody {
        MoneyBody { amount: money.minor, currency: money.currency }
    }
}

/// An amount in a request, where it does not stand alone.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoneyRequest {
    /// Whole minor units: yen for JPY, cents for USD.
    #[schema(value_type = i64, minimum = 1, example = 1280)]
    amount: Minor,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

impl From<MoneyRequest> for Money {
    fn from(body: MoneyRequest) -> Money {
        body.amount.of(body.currency)
    }
}

/// A day in Japan, as `2019-03-31`: its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day(pub(crate) Timestamp);

impl Day {
    /// Its midnight, when the next one begins.
    pub(crate) fn end(self) -> Timestamp {
        self.0.plus_ms(86_400_000)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let day = Timestamp::of_jst_date(&text).map(Day);
        day.ok_or_else(|| D::Error::custom("write a day of the calendar such as 2019-03-31"))
    }
}

/// A time in an answer: RFC 3339 in UTC with milliseconds.
pub(crate) fn moment(at: Timestamp) -> String {
    at.to_string()
}

/// A name with a value, for answers to forms and for settings; the same name repeated makes a list.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedRequest {
    /// The name, as the form or the manifest writes it.
    #[schema(value_type = String)]
    name: Line,
    /// Text, a whole number, true or false, or an amount as `{"amount": 1280, "currency": "JPY"}`.
    #[schema(value_type = serde_json::Value)]
    value: Plain,
}

/// A value as a form or a setting takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// Yes or no.
    Flag(bool),
    /// An amount.
    Amount(Money),
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Plain;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text, a whole number, true or false, or an amount with its currency")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Plain, E> {
                if text.len() > 4_096 || text.contains('\0') {
                    return Err(E::custom("use at most 4,096 bytes, none of them NUL"));
                }
                Ok(Plain::Text(text.to_owned()))
            }

            fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Plain, E> {
                Ok(Plain::Flag(flag))
            }

            fn visit_i64<E: serde::de::Error>(self, whole: i64) -> Result<Plain, E> {
                Ok(Plain::Whole(whole))
            }

            fn visit_u64<E: serde::de::Error>(self, whole: u64) -> Result<Plain, E> {
                let out = || E::invalid_value(Unexpected::Unsigned(whole), &self);
                i64::try_from(whole).map(Plain::Whole).map_err(|_| out())
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Plain, A::Error> {
                let amount = MoneyRequest::deserialize(MapAccessDeserializer::new(fields))?;
                Ok(Plain::Amount(amount.into()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Most named values of one request.
const NAMED_MAX: usize = 1_000;

/// Named values as plugins are given them. Errors: more than a thousand.
pub(crate) fn named(field: &str, values: Vec<NamedRequest>) -> Result<Vec<Named>, Problem> {
    if values.len() > NAMED_MAX {
        return Err(Problem::invalid(field, format!("send at most {NAMED_MAX} values")));
    }
    Ok(values
        .into_iter()
        .map(|NamedRequest { name: Line(name), value }| {
            let value = match value {
                Plain::Text(text) => Value::Text(text),
                Plain::Whole(whole) => Value::Whole(whole),
                Plain::Flag(flag) => Value::Flag(flag),
                Plain::Amount(amount) => Value::Amount(amount),
            };
            Named { name, value }
        })
        .collect())
}
