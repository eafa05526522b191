//! What authors write in TOML as the typed values of the contract: settings by the manifest, facts by the catalogue, amounts and durations as text.

use koban_domain::guest::{HttpAnswer, Named, Value};
use koban_domain::manifest::{self, Manifest, SettingKind};
use koban_domain::money::{Currency, Money};
use toml::{Table, Value as Toml};

/// `1280 JPY` or `12.80 USD`. Errors: in words.
pub(crate) fn money(text: &str) -> Result<Money, String> {
    let how = || format!("`{text}` is no amount: write it with its currency, such as \"1280 JPY\" or \"12.80 USD\"");
    let (amount, code) = text.trim().split_once(' ').ok_or_else(how)?;
    let currency = Currency::new(code).map_err(|error| error.to_string())?;
    Money::parse(amount, currency).map_err(|error| error.to_string())
}

/// `5m`, `1h30m`, `2d`, `250ms` as milliseconds. Errors: in words.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let how = || format!("`{text}` is no duration: write it such as \"30s\", \"5m\", \"1h30m\" or \"2d\"");
    let (mut rest, mut sum) = (text.trim(), 0_i64);
    if rest.is_empty() {
        return Err(how());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().map_err(|_| how())?;
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = UNITS.iter().find(|(unit, _)| *unit == &rest[digits..digits + letters]).ok_or_else(how)?;
        sum = number.checked_mul(unit.1).and_then(|part| sum.checked_add(part)).ok_or_else(how)?;
        rest = &rest[digits + letters..];
    }
    Ok(sum)
}

const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Milliseconds as authors write them: `1h30m`.
pub(crate) fn duration_text(ms: i64) -> String {
    let (mut rest, mut text) = (ms.max(0), String::new());
    for (unit, size) in UNITS {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The settings of a file, typed and completed by the manifest. Errors: everything that is wrong, a line each.
pub(crate) fn settings(manifest: &Manifest, given: &Table) -> Result<Vec<Named>, String> {
    let (mut named, mut wrong) = (Vec::new(), Vec::new());
    for (name, value) in given {
        let kind = manifest.settings.iter().find(|setting| setting.name == *name).map(|setting| setting.kind);
        let items = match value {
            Toml::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        for item in items {
            let Some(kind) = kind else {
                wrong.push(format!("settings.{name}: is not a setting of plugin.toml"));
                break;
            };
            match setting(kind, item) {
                Some(value) => named.push(Named { name: name.clone(), value }),
                None => wrong.push(format!("settings.{name}: `{item}` is not of the type {kind:?}")),
            }
        }
    }
    match manifest.settings(&named) {
        Ok(complete) if wrong.is_empty() => Ok(complete),
        Ok(_) => Err(wrong.join("\n")),
        Err(errors) => {
            wrong.extend(errors.iter().map(ToString::to_string));
            Err(wrong.join("\n"))
        }
    }
}

fn setting(kind: SettingKind, value: &Toml) -> Option<Value> {
    match (kind, value) {
        (SettingKind::Amount, Toml::String(text)) if text.contains(' ') => money(text).ok().map(Value::Amount),
        (_, Toml::String(text)) => kind.read(text),
        (SettingKind::Whole | SettingKind::Amount, Toml::Integer(number)) => kind.read(&number.to_string()),
        (SettingKind::Flag, Toml::Boolean(flag)) => Some(Value::Flag(*flag)),
        _ => None,
    }
}

/// Facts, typed by the catalogue; only those that the manifest asks for exist. Errors: in words.
pub(crate) fn facts(manifest: &Manifest, given: &Table) -> Result<Vec<Named>, String> {
    let mut named = Vec::new();
    for (name, value) in given {
        if !manifest.facts.contains(name) {
            return Err(format!(
                "the fact `{name}` is not among the manifest's `facts`, so the host never gives it: add it there"
            ));
        }
        let (kind, about) = manifest::fact(name).map_or(("", ""), |fact| (fact.kind, fact.about));
        let value = match (kind, value) {
            ("amount", Toml::String(text)) => Value::Amount(money(text)?),
            ("text", Toml::String(text)) => Value::Text(text.clone()),
            ("whole", Toml::Integer(number)) => Value::Whole(*number),
            ("flag", Toml::Boolean(flag)) => Value::Flag(*flag),
            _ => return Err(format!("the fact `{name}` is {kind}: {about}; `{value}` is not")),
        };
        named.push(Named { name: name.clone(), value });
    }
    // In the manifest's order, as the host gives them.
    named.sort_by_key(|fact| manifest.facts.iter().position(|name| *name == fact.name));
    Ok(named)
}

/// A body: exact text, or JSON written as TOML. Errors: in words.
pub(crate) fn body(json: Option<&Toml>, text: Option<&str>) -> Result<Vec<u8>, String> {
    match (json, text) {
        (Some(_), Some(_)) => Err("give `json` or `body`, not both".to_owned()),
        (Some(json), None) => Ok(json_of(json).to_string().into_bytes()),
        (None, text) => Ok(text.unwrap_or_default().as_bytes().to_vec()),
    }
}

/// TOML as the JSON that it looks like; dates become text.
pub(crate) fn json_of(value: &Toml) -> serde_json::Value {
    match value {
        Toml::String(text) => text.clone().into(),
        Toml::Integer(number) => (*number).into(),
        Toml::Float(number) => (*number).into(),
        Toml::Boolean(flag) => (*flag).into(),
        Toml::Datetime(moment) => moment.to_string().into(),
        Toml::Array(items) => items.iter().map(json_of).collect(),
        Toml::Table(table) => {
            serde_json::Value::Object(table.iter().map(|(name, value)| (name.clone(), json_of(value))).collect())
        }
    }
}

/// What the given JSON lacks of the expected one: objects may have more fields, everything else is equal, item by item. The first difference, by its
/// path.
pub(crate) fn lacks(expected: &serde_json::Value, given: &serde_json::Value) -> Option<String> {
    fn look(path: &str, expected: &serde_json::Value, given: &serde_json::Value) -> Option<String> {
        match (expected, given) {
            (serde_json::Value::Object(fields), serde_json::Value::Object(known)) => {
                fields.iter().find_map(|(name, expected)| {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    match known.get(name) {
                        Some(given) => look(&path, expected, given),
                        None => Some(format!("`{path}` is missing, expected {expected}")),
                    }
                })
            }
            (serde_json::Value::Array(items), serde_json::Value::Array(known)) if items.len() == known.len() => {
                let pairs = items.iter().zip(known).enumerate();
                pairs
                    .into_iter()
                    .find_map(|(place, (expected, given))| look(&format!("{path}[{place}]"), expected, given))
            }
            (expected, given) if expected == given => None,
            (expected, given) if path.is_empty() => Some(format!("it is {given}, expected {expected}")),
            (expected, given) => Some(format!("`{path}` is {given}, expected {expected}")),
        }
    }
    look("", expected, given)
}

/// The body as JSON if it is JSON, as text otherwise.
pub(crate) fn readable(body: &[u8]) -> serde_json::Value {
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into())
}

/// An answer over HTTP as one object to read.
pub(crate) fn answer(answer: &HttpAnswer) -> serde_json::Value {
    serde_json::json!({ "status": answer.status, "body": readable(&answer.body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, ms) in
            [("5m", 300_000), ("1h30m", 5_400_000), ("5m1s", 301_000), ("250ms", 250), ("14d", 1_209_600_000)]
        {
            assert_eq!((duration(text), duration_text(ms)), (Ok(ms), text.to_owned()));
        }
        assert_eq!(duration_text(0), "0s");
        for wrong in ["", "5", "m", "5 m", "-5m", "5x", "99999999999999999999d"] {
            assert!(duration(wrong).unwrap_err().contains("5m"), "{wrong}");
        }
    }

    #[test]
    fn an_amount_has_its_currency_and_its_decimals() {
        assert_eq!(money("1280 JPY"), Ok(Money::yen(1_280)));
        assert_eq!(money("12.80 USD").map(|money| money.minor), Ok(1_280));
        for wrong in ["1280", "12.8 USD", "1,280 JPY", "1280 yen"] {
            assert!(money(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_may_have_more_fields_but_no_other_values() {
        let given = serde_json::json!({ "result": "ok", "amount": 1, "list": [1, 2] });
        let lacks = |expected| lacks(&expected, &given);
        assert_eq!(lacks(serde_json::json!({ "amount": 1 })), None);
        assert_eq!(lacks(serde_json::json!({ "amount": 2 })), Some("`amount` is 1, expected 2".to_owned()));
        assert_eq!(lacks(serde_json::json!({ "list": [1] })), Some("`list` is [1,2], expected [1]".to_owned()));
        assert_eq!(lacks(serde_json::json!({ "list": [1, 3] })), Some("`list[1]` is 2, expected 3".to_owned()));
        assert_eq!(lacks(serde_json::json!({ "x": {} })), Some("`x` is missing, expected {}".to_owned()));
    }
}
