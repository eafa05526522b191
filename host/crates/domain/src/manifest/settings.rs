//! Settings of a plugin: what an operator may set, of which type and within which bounds.

use serde::{Deserialize, Serialize};

use super::{ManifestError, Words, wrong};
use crate::guest::Value;
use crate::money::Money;

/// Something an operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// `snake_case`, unique in the manifest.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: SettingKind,
    /// What it means, by language.
    pub about: Words,
    /// Used when the operator sets nothing; without a default the setting is required (a list without default is empty).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<SettingDefault>,
    /// Least number or amount, or least count of characters of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// Greatest number or amount, or greatest count of characters of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// Whether the setting is a list: its name is given once per item, at most 1,000 items.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub list: bool,
}

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// Text.
    Text,
    /// Text of digits only.
    Digits,
    /// A whole number.
    Whole,
    /// An amount in yen.
    Amount,
    /// `true` or `false`.
    Flag,
    /// A rate or a percentage: an exact decimal such as `0.015`, written as text.
    Rate,
}

impl SettingKind {
    /// The value that a text means for a setting of this kind; none if it means nothing. At most 18 decimals.
    pub fn read(self, text: &str) -> Option<Value> {
        match self {
            SettingKind::Text | SettingKind::Digits => Some(Value::Text(text.to_owned())),
            SettingKind::Whole => text.parse().ok().map(Value::Whole),
            SettingKind::Amount => text.parse().ok().map(Money::yen).map(Value::Amount),
            SettingKind::Flag => text.parse().ok().map(Value::Flag),
            SettingKind::Rate => {
                let exact = rust_decimal::Decimal::from_str_exact(text).ok().filter(|rate| rate.scale() <= 18)?;
                let (mantissa, scale) = (exact.mantissa().try_into().ok()?, exact.scale().try_into().ok()?);
                Some(Value::Rate(crate::guest::Decimal { mantissa, scale }))
            }
        }
    }
}

/// The default of a setting as TOML can write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SettingDefault {
    /// For a flag.
    Flag(bool),
    /// For a number or an amount.
    Whole(i64),
    /// For text and digits.
    Text(String),
}

impl Setting {
    /// What is wrong with this value for the setting, if anything.
    pub fn check(&self, value: &Value) -> Option<ManifestError> {
        let place = format!("settings.{}", self.name);
        let bounded = |size: i64, what: &str| {
            let (min, max) = (self.min.unwrap_or(i64::MIN), self.max.unwrap_or(i64::MAX));
            (!(min..=max).contains(&size)).then(|| match (self.min, self.max) {
                (Some(min), Some(max)) => wrong(&place, format!("{what} must be {min} to {max}, not {size}")),
                (Some(min), None) => wrong(&place, format!("{what} must be at least {min}, not {size}")),
                _ => wrong(&place, format!("{what} must be at most {max}, not {size}")),
            })
        };
        match (self.kind, value) {
            (SettingKind::Text, Value::Text(text)) => {
                bounded(i64::try_from(text.chars().count()).unwrap_or(i64::MAX), "its length")
            }
            (SettingKind::Digits, Value::Text(text)) => {
                if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Some(wrong(place, "must be digits"));
                }
                bounded(i64::try_from(text.len()).unwrap_or(i64::MAX), "the number of digits")
            }
            (SettingKind::Whole, Value::Whole(number)) => bounded(*number, "the number"),
            (SettingKind::Amount, Value::Amount(Money { minor, .. })) => bounded(*minor, "the amount"),
            (SettingKind::Flag, Value::Flag(_)) => None,
            (SettingKind::Rate, Value::Rate(rate)) => {
                let exact =
                    rust_decimal::Decimal::try_from_i128_with_scale(i128::from(rate.mantissa), u32::from(rate.scale));
                match exact {
                    Ok(exact) => {
                        let low = self.min.is_some_and(|min| exact < rust_decimal::Decimal::from(min));
                        let high = self.max.is_some_and(|max| exact > rust_decimal::Decimal::from(max));
                        (low || high).then(|| wrong(place, format!("{exact} is out of its bounds")))
                    }
                    Err(_) => Some(wrong(place, "has too many decimals")),
                }
            }
            (kind, _) => Some(wrong(place, format!("must be of type {kind:?}"))),
        }
    }
}

impl SettingDefault {
    pub(super) fn value(&self, kind: SettingKind) -> Option<Value> {
        match (kind, self) {
            (SettingKind::Text | SettingKind::Digits, SettingDefault::Text(text)) => Some(Value::Text(text.clone())),
            (SettingKind::Whole, SettingDefault::Whole(number)) => Some(Value::Whole(*number)),
            (SettingKind::Amount, SettingDefault::Whole(number)) => Some(Value::Amount(Money::yen(*number))),
            (SettingKind::Flag, SettingDefault::Flag(flag)) => Some(Value::Flag(*flag)),
            (SettingKind::Rate, SettingDefault::Text(text)) => SettingKind::Rate.read(text),
            _ => None,
        }
    }
}
