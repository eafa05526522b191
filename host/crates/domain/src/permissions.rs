//! What a plugin may do, as items that an operator accepts: taken from the manifest, compared between versions, summed up in one digest.
//!
//! What the binary can call is proved by its imports: `log`, and nothing else. Everything here comes from the manifest and is enforced at
//! the gate of the call.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::manifest::Manifest;
use crate::records::Digest;

/// Fields of a manifest that describe and give nothing. Every other field is a permission until it stands here: a field that is added
/// later is asked for, and is never granted unseen.
const DESCRIPTIVE: &[&str] = &["id", "version", "contract", "kind", "name", "purpose", "settings", "codes", "texts"];
/// What an item of a list is called by, in this order.
const NAMES: &[&str] = &["name", "code", "id"];
/// Details of an item that say how it is done and not what may be done.
const MANNER: &[&str] = &["timeout_s", "deadline_s", "about", "purpose", "accepted", "refused", "operation_field"];

/// One thing that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Permission {
    /// Its place and value in the manifest, such as `proposals.charge: credit`; the same text is the same permission.
    pub item: String,
    /// The same for people, in English.
    pub words: String,
}

/// Everything that a manifest asks for, in order.
pub fn permissions(manifest: &Manifest) -> Vec<Permission> {
    let mut items = BTreeSet::from([format!("kind: {}", manifest.kind.word())]);
    // A manifest has no map with keys that are not text, the only thing that can fail here.
    if let Ok(Value::Object(fields)) = serde_json::to_value(manifest) {
        for (field, value) in fields.iter().filter(|(field, _)| !DESCRIPTIVE.contains(&field.as_str())) {
            collect(field, value, &mut items);
        }
    }
    items.into_iter().map(|item| Permission { words: words(&item), item }).collect()
}

/// What the new manifest asks for beyond what was accepted.
pub fn grown(accepted: &Manifest, new: &Manifest) -> Vec<Permission> {
    let accepted: BTreeSet<Permission> = permissions(accepted).into_iter().collect();
    permissions(new).into_iter().filter(|permission| !accepted.contains(permission)).collect()
}

/// The digest of what an operator accepts: the plugin, everything that it may do, and the two numbers that bound what it can cost (yen;
/// none for a plugin that touches no money).
pub fn consent(manifest: &Manifest, numbers: Option<(i64, i64)>) -> Digest {
    let items = permissions(manifest);
    let numbers = numbers.map(|(cap, budget)| format!("exposure cap {cap}, loss budget {budget}")).unwrap_or_default();
    let mut parts: Vec<&[u8]> = vec![b"koban consent 1", manifest.id.as_bytes(), numbers.as_bytes()];
    parts.extend(items.iter().map(|permission| permission.item.as_bytes()));
    Digest::of_parts(&parts)
}

/// Whether a plugin of this manifest can bring or move money, so that the two numbers are needed.
pub fn touches_money(manifest: &Manifest) -> bool {
    manifest.kind.touches_money() || !manifest.proposals.is_empty()
}

fn collect(place: &str, value: &Value, items: &mut BTreeSet<String>) {
    match value {
        // Words in the house's languages describe.
        Value::Object(fields) if fields.len() == 2 && fields.contains_key("ja") && fields.contains_key("en") => {}
        Value::Object(fields) => {
            for (field, value) in fields.iter().filter(|(field, _)| !MANNER.contains(&field.as_str())) {
                collect(&format!("{place}.{field}"), value, items);
            }
        }
        Value::Array(list) => {
            for item in list {
                match named(item) {
                    Some((name, rest)) => {
                        items.insert(format!("{place}: {name}"));
                        collect(&format!("{place}.{name}"), &rest, items);
                    }
                    None => collect(place, item, items),
                }
            }
        }
        Value::String(text) => drop(items.insert(format!("{place}: {text}"))),
        Value::Bool(false) | Value::Null => {}
        other => drop(items.insert(format!("{place}: {other}"))),
    }
}

/// An item of a list by its name, with the rest of it.
fn named(item: &Value) -> Option<(String, Value)> {
    let Value::Object(fields) = item else { return None };
    let key = NAMES.iter().find(|key| fields.get(**key).is_some_and(Value::is_string))?;
    let mut rest = fields.clone();
    let name = rest.remove(*key)?.as_str()?.to_owned();
    Some((name, Value::Object(rest)))
}

/// An item as people say it. What has no words of its own is shown as it stands in the manifest.
fn words(item: &str) -> String {
    let Some((place, value)) = item.split_once(": ") else { return item.to_owned() };
    let parts: Vec<&str> = place.split('.').collect();
    match parts.as_slice() {
        ["kind"] => format!("acts as a {value}"),
        ["engine"] => format!("runs on the {value} engine"),
        ["facts"] => format!("is told the fact `{value}`"),
        ["signals"] => format!("is told the counter `{value}`"),
        ["signals", name, "subject"] => format!("`{name}` counts payments by {value}"),
        ["signals", name, "window_s"] => format!("`{name}` looks back {value} s"),
        ["endpoints"] => format!("talks to the partner `{value}` through the host"),
        ["endpoints", name, "credential"] => format!("`{name}` is proved by {value}; the plugin never sees the secret"),
        ["endpoints", name, "operations"] => format!("may ask `{name}` for `{value}`"),
        ["endpoints", name, "operations", operation, what] => format!("`{name}` `{operation}`: {what} {value}"),
        ["endpoints", name, "inbound"] => format!("may be called by `{name}` with `{value}`"),
        ["endpoints", name, "inbound", operation, what] => format!("`{name}` calls `{operation}`: {what} {value}"),
        ["directories"] => format!("shares the directory `{value}` with a partner, through the host"),
        ["directories", name, "outgoing"] => {
            format!("has the host write the file `{value}` into `{name}` at its cut-offs")
        }
        ["directories", name, "incoming"] => format!("reads the file `{value}` that the partner puts into `{name}`"),
        ["events"] => format!("is told of every `{value}` event"),
        ["links"] => format!("may keep the link `{value}` between flows"),
        ["formats"] => format!("writes statements as `{value}`"),
        ["budgets"] => format!("may grant bonuses from the budget `{value}`"),
        ["tables"] => format!("fills the console's page `{value}`"),
        ["proposals", beginning] => format!("may propose `{value}` in a {beginning}, within what the user agreed to"),
        _ => item.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{CodeSpec, Words};

    fn manifest(facts: &[&str]) -> Manifest {
        let json = serde_json::json!({
            "id": "rule-test", "version": "1.0.0", "contract": crate::guest::CONTRACT, "kind": "fraud-rule",
            "name": { "ja": "あ", "en": "a" }, "purpose": { "ja": "あ", "en": "a" }, "facts": facts,
            "signals": [{ "name": "day", "subject": "user", "window_s": 3600 }],
        });
        serde_json::from_value(json).unwrap()
    }

    fn items(permissions: &[Permission]) -> Vec<&str> {
        permissions.iter().map(|permission| permission.item.as_str()).collect()
    }

    #[test]
    fn everything_of_a_manifest_that_gives_something_is_listed() {
        let permissions = permissions(&manifest(&["device.id"]));
        assert_eq!(
            items(&permissions),
            [
                "facts: device.id",
                "kind: fraud-rule",
                "signals.day.subject: user",
                "signals.day.window_s: 3600",
                "signals: day"
            ]
        );
        assert_eq!(permissions[0].words, "is told the fact `device.id`");
    }

    #[test]
    fn only_what_is_new_has_grown() {
        let (small, large) = (manifest(&["device.id"]), manifest(&["device.id", "account.kind"]));
        assert_eq!(items(&grown(&small, &large)), ["facts: account.kind"]);
        assert_eq!(grown(&large, &small), []);
        let mut reworded = small.clone();
        reworded.version = "1.0.1".into();
        reworded.codes.push(CodeSpec { code: "x".into(), about: Words { ja: "あ".into(), en: "a".into() } });
        assert_eq!(grown(&small, &reworded), []);
    }

    #[test]
    fn a_consent_names_permissions_and_numbers_and_nothing_else() {
        let (small, large) = (manifest(&[]), manifest(&["device.id"]));
        assert_ne!(consent(&small, None), consent(&large, None));
        assert_ne!(consent(&small, None), consent(&small, Some((1, 2))));
        assert_ne!(consent(&small, Some((1, 2))), consent(&small, Some((2, 2))));
        let next = Manifest { version: "1.0.1".into(), ..small.clone() };
        assert_eq!(consent(&small, None), consent(&next, None));
    }
}
