//! Typed reading of named values: settings, facts and form answers.

use crate::{Decimal, Failure, Money, Named, Value};

/// The code of a failure about settings. A plugin that reads settings lists it in its manifest.
pub const SETTINGS_INVALID: &str = "settings_invalid";

/// Settings as a type. The host has checked them against the manifest and filled in its defaults; reading says what is wrong all at once.
pub trait Settings: Sized {
    /// Reads the settings, best through a [`Reader`]. Errors: one failure for each setting that is missing or of another type.
    fn read(list: &[Named]) -> Result<Self, Vec<Failure>>;
}

/// A plugin without settings.
impl Settings for () {
    fn read(_: &[Named]) -> Result<Self, Vec<Failure>> {
        Ok(())
    }
}

/// Reads settings one after the other and keeps what is wrong until [`Reader::finish`].
pub struct Reader<'a> {
    values: Values<'a>,
    /// Where the setting after the last one read stands, if they are read in the manifest's order, as they mostly are.
    next: usize,
    failures: Vec<Failure>,
}

impl<'a> Reader<'a> {
    /// A reader of these settings.
    pub fn of(list: &'a [Named]) -> Reader<'a> {
        Reader { values: Values(list), next: 0, failures: Vec::new() }
    }

    /// The setting of this name, which must be there once (a list is read with [`Reader::list`]). When it is not, a placeholder stands in until [`Reader::finish`] fails.
    pub fn one<T: FromValue>(&mut self, name: &str) -> T {
        match self.find(name) {
            Some(value) => self.read(name, value).unwrap_or_else(T::placeholder),
            None => {
                self.fail(name, &format!("is missing; it should be {}", T::WHAT));
                T::placeholder()
            }
        }
    }

    /// The setting of this name, if it is there.
    pub fn maybe<T: FromValue>(&mut self, name: &str) -> Option<T> {
        let value = self.find(name)?;
        self.read(name, value)
    }

    /// All settings of this name, in order: a list is the same name repeated.
    pub fn list<T: FromValue>(&mut self, name: &str) -> Vec<T> {
        let all: Vec<Option<T>> = self.values.all(name).map(T::from_value).collect();
        if all.iter().any(Option::is_none) {
            self.fail(name, &format!("should be a list of {}", T::WHAT));
        }
        all.into_iter().flatten().collect()
    }

    /// What was read, if nothing was wrong.
    pub fn finish<S>(self, settings: S) -> Result<S, Vec<Failure>> {
        if self.failures.is_empty() { Ok(settings) } else { Err(self.failures) }
    }

    fn find(&mut self, name: &str) -> Option<&'a Value> {
        let list = self.values.0;
        let is_next = list.get(self.next).is_some_and(|named| named.name == name);
        let place = if is_next { self.next } else { list.iter().position(|named| named.name == name)? };
        self.next = place + 1;
        Some(&list[place].value)
    }

    fn read<T: FromValue>(&mut self, name: &str, value: &Value) -> Option<T> {
        let read = T::from_value(value);
        if read.is_none() {
            self.fail(name, &format!("should be {}", T::WHAT));
        }
        read
    }

    fn fail(&mut self, name: &str, problem: &str) {
        self.failures.push(Failure::new(SETTINGS_INVALID, format!("setting `{name}` {problem}")));
    }
}

/// Named values to look up: facts, form answers, query parameters.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a>(pub &'a [Named]);

impl<'a> Values<'a> {
    /// The first value of this name, if it is there and of this type.
    pub fn get<T: FromValue>(&self, name: &str) -> Option<T> {
        self.all(name).next().and_then(T::from_value)
    }

    /// All values of this name, in order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a Value> + use<'a, 'n> {
        let list = self.0;
        list.iter().filter(move |named| named.name == name).map(|named| &named.value)
    }
}

/// A type that one kind of value turns into.
pub trait FromValue: Sized {
    /// What it is called in a sentence, such as `a whole number`.
    const WHAT: &'static str;
    /// The value, if it is of this type.
    fn from_value(value: &Value) -> Option<Self>;
    /// What stands in while other settings are being read.
    fn placeholder() -> Self;
}

/// The handle of a secret: only the host can open it, by `{{secret:name}}` in the body of an `http` effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret(pub String);

macro_rules! from_value {
    ($type:ty, $what:literal, $placeholder:expr, $case:pat => $value:expr) => {
        impl FromValue for $type {
            const WHAT: &'static str = $what;
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $case => Some($value),
                    _ => None,
                }
            }
            fn placeholder() -> Self {
                $placeholder
            }
        }
    };
}

from_value!(String, "text", String::new(), Value::Text(text) => text.clone());
from_value!(i64, "a whole number", 0, Value::Whole(number) => *number);
from_value!(Money, "an amount", Money::new(0, ""), Value::Amount(amount) => amount.clone());
from_value!(Decimal, "a rate", Decimal { mantissa: 0, scale: 0 }, Value::Rate(rate) => *rate);
from_value!(bool, "yes or no", false, Value::Flag(flag) => *flag);
from_value!(u64, "a moment", 0, Value::Moment(moment) => *moment);
from_value!(Secret, "a secret", Secret(String::new()), Value::Secret(handle) => Secret(handle.clone()));

impl Named {
    /// A value under its name.
    pub fn new(name: &str, value: impl Into<Value>) -> Named {
        Named { name: name.to_owned(), value: value.into() }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Whole(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Flag(flag)
    }
}

impl From<Money> for Value {
    fn from(amount: Money) -> Value {
        Value::Amount(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &[Named]) -> Result<(i64, Money, Vec<String>), Vec<Failure>> {
        let mut read = Reader::of(list);
        let settings = (read.one("hours"), read.one("most"), read.list("denied"));
        read.finish(settings)
    }

    #[test]
    fn settings_become_a_type() {
        let list = [
            Named::new("most", Money::yen(500)),
            Named::new("denied", "a"),
            Named::new("hours", 3),
            Named::new("denied", "b"),
        ];
        assert_eq!(read(&list), Ok((3, Money::yen(500), vec!["a".into(), "b".into()])));
    }

    #[test]
    fn all_that_is_wrong_with_settings_is_said_at_once_and_by_name() {
        let failures = read(&[Named::new("hours", "three"), Named::new("denied", 4)]).unwrap_err();
        let messages: Vec<&str> = failures.iter().map(|failure| failure.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "setting `hours` should be a whole number",
                "setting `most` is missing; it should be an amount",
                "setting `denied` should be a list of text",
            ]
        );
        assert!(failures.iter().all(|failure| failure.code == SETTINGS_INVALID));
    }

    #[test]
    fn settings_may_be_read_in_any_order() {
        let list = [Named::new("a", 1), Named::new("b", 2), Named::new("c", 3)];
        let mut read = Reader::of(&list);
        let settings: [i64; 4] = [read.one("b"), read.one("a"), read.one("c"), read.one("b")];
        assert_eq!((settings, read.maybe::<i64>("d")), ([2, 1, 3, 2], None));
    }

    #[test]
    fn a_fact_of_another_type_is_no_fact() {
        let facts = [Named::new("payee.first_time", "yes")];
        assert_eq!(Values(&facts).get::<bool>("payee.first_time"), None);
        assert_eq!(Values(&facts).get::<String>("payee.first_time"), Some("yes".into()));
    }
}
