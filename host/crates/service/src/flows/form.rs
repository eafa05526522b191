//! What a user typed into a plugin's form, checked before the plugin sees it.

use koban_domain::guest::{Field, FieldKind, Named, Value};
use koban_domain::money::Currency;

use crate::error::Error;

/// Checks what a user typed against the form's fields.
pub(super) fn check(fields: &[Field], values: &[Named], currency: Currency) -> Result<(), Error> {
    for value in values {
        let same = values.iter().filter(|other| other.name == value.name).count();
        if same > 1 || !fields.iter().any(|field| field.name == value.name) {
            let problem = if same > 1 { "give it once" } else { "is no field of this form" };
            return Err(Error::invalid(format!("values.{}", value.name), problem));
        }
    }
    for field in fields {
        let place = format!("values.{}", field.name);
        match values.iter().find(|value| value.name == field.name) {
            None if field.required => return Err(Error::invalid(place, "is required")),
            None => {}
            Some(given) => {
                check_answer(field, &given.value, currency).map_err(|problem| Error::invalid(place, problem))?
            }
        }
    }
    Ok(())
}

fn check_answer(field: &Field, value: &Value, currency: Currency) -> Result<(), String> {
    if let (FieldKind::Amount, Value::Amount(amount)) = (field.kind, value) {
        let fits = amount.minor > 0 && amount.currency == currency;
        return if fits { Ok(()) } else { Err(format!("must be an amount of more than zero in {currency}")) };
    }
    if field.kind == FieldKind::Secret {
        return Err("this host keeps no secrets from forms yet; the channel cannot be used".to_owned());
    }
    let Value::Text(text) = value else { return Err(format!("must be of kind {:?}", field.kind)) };
    let length = text.chars().count();
    if length > usize::try_from(field.max_length).unwrap_or(usize::MAX) {
        return Err(format!("may have at most {} characters", field.max_length));
    }
    if text.chars().any(char::is_control) {
        return Err("must not have control characters".to_owned());
    }
    if text.is_empty() {
        return if field.required { Err("is required".to_owned()) } else { Ok(()) };
    }
    let fits = match field.kind {
        FieldKind::Text => true,
        FieldKind::Digits => text.bytes().all(|byte| byte.is_ascii_digit()),
        FieldKind::Kana => text.chars().all(is_kana),
        FieldKind::Date => is_date(text),
        FieldKind::Choice => field.choices.contains(text),
        FieldKind::Amount | FieldKind::Secret => false,
    };
    match (fits, field.kind) {
        (true, _) => Ok(()),
        (false, FieldKind::Digits) => Err("must be digits only".to_owned()),
        (false, FieldKind::Kana) => Err("must be katakana only".to_owned()),
        (false, FieldKind::Date) => Err("must be a date such as 2018-09-25".to_owned()),
        (false, FieldKind::Choice) => Err(format!("must be one of: {}", field.choices.join(", "))),
        (false, _) => Err(format!("must be of kind {:?}", field.kind)),
    }
}

/// Full-width katakana with its marks, and the spaces between names.
fn is_kana(character: char) -> bool {
    matches!(character, '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30fe}' | '\u{3000}' | ' ')
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |part: &str, length: usize| {
        (part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use koban_domain::money::Money;

    use super::*;

    #[track_caller]
    fn fits(kind: FieldKind, value: Value, expected: bool) {
        let choices = vec!["a".to_owned(), "b".to_owned()];
        let field =
            Field { name: "f".to_owned(), label: "f".to_owned(), kind, choices, required: true, max_length: 10 };
        let given = [Named { name: "f".to_owned(), value: value.clone() }];
        assert_eq!(check(&[field], &given, Currency::JPY).is_ok(), expected, "{kind:?} {value:?}");
    }

    #[test]
    fn each_kind_of_field_takes_its_own_and_nothing_else() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (kind, value, expected) in [
            (FieldKind::Text, text("七文字"), true),
            (FieldKind::Text, text("longer than ten"), false),
            (FieldKind::Text, text("a\0"), false),
            (FieldKind::Text, text(""), false),
            (FieldKind::Text, Value::Whole(1), false),
            (FieldKind::Digits, text("0123"), true),
            (FieldKind::Digits, text("１２３"), false),
            (FieldKind::Kana, text("ヤマダ ハナ"), true),
            (FieldKind::Kana, text("やまだ"), false),
            (FieldKind::Date, text("2020-02-29"), true),
            (FieldKind::Date, text("2019-02-29"), false),
            (FieldKind::Date, text("2020-13-01"), false),
            (FieldKind::Date, text("2020-1-01"), false),
            (FieldKind::Choice, text("b"), true),
            (FieldKind::Choice, text("c"), false),
            (FieldKind::Amount, Value::Amount(Money::yen(1)), true),
            (FieldKind::Amount, Value::Amount(Money::yen(0)), false),
            (FieldKind::Amount, text("1"), false),
            (FieldKind::Secret, Value::Secret("s".to_owned()), false),
        ] {
            fits(kind, value, expected);
        }
    }

    #[test]
    fn every_required_field_is_there_once_and_no_other() {
        let field = |name: &str, required| Field {
            name: name.to_owned(),
            label: name.to_owned(),
            kind: FieldKind::Text,
            choices: Vec::new(),
            required,
            max_length: 10,
        };
        let fields = [field("a", true), field("b", false)];
        let given = |names: &[&str]| {
            let values: Vec<Named> = names.iter().map(|name| Named::text(name, "x")).collect();
            check(&fields, &values, Currency::JPY).is_ok()
        };
        assert!(given(&["a"]) && given(&["b", "a"]));
        for wrong in [&["b"][..], &[], &["a", "a"], &["a", "c"]] {
            assert!(!given(wrong), "{wrong:?}");
        }
    }
}
