//! What a partner may ask of a plugin, and how its signature is tied to the operation that is meant.

use serde::{Deserialize, Serialize};

use super::{ManifestError, wrong};

/// An operation that a partner may ask of the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundSpec {
    /// Unique in the manifest: the last part of `/v1/inbound/{plugin}/{operation}`.
    pub name: String,
    /// The body is an end-of-day file: the host stores it, answers, and gives it to the `settlement` hook.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settlement: bool,
    /// The field of the JSON body in which the partner repeats the operation's name. The signature covers the body and neither
    /// path nor query, so without it a message can be posted to another operation on its way. With it the host refuses a body
    /// that says another operation, and a call with anything behind the operation's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_field: Option<String>,
    /// The JSON that tells the partner yes, sent with status 200 when an operator ends a flow and has its waiting call accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// The JSON that tells the partner no, sent with status 200 when an operator ends a flow and has its waiting call refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl InboundSpec {
    /// Whether this operation is what the partner signed. Errors: what is wrong, for the partner's developers.
    pub fn check_meant(&self, has_more: bool, body: &[u8]) -> Result<(), String> {
        let Some(field) = &self.operation_field else { return Ok(()) };
        if has_more {
            return Err("nothing may follow the operation's name: path and query are not signed".to_owned());
        }
        let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        match body.as_ref().and_then(|body| body.get(field)).and_then(serde_json::Value::as_str) {
            Some(said) if said == self.name => Ok(()),
            Some(_) => {
                Err(format!("the signed body is for another operation than `{}`, see its field `{field}`", self.name))
            }
            None => Err(format!("the signed body must repeat the operation's name in its field `{field}`")),
        }
    }
}

/// Most bytes of an answer that a manifest holds.
const ANSWER_BYTES_MAX: usize = 2_000;

/// Everything that is wrong with an inbound operation as such.
pub(super) fn check(operation: &InboundSpec, errors: &mut Vec<ManifestError>) {
    let place = |field: &str| format!("endpoints.inbound.{}.{field}", operation.name);
    let words = [
        ("operation_field", &operation.operation_field),
        ("accepted", &operation.accepted),
        ("refused", &operation.refused),
    ];
    if operation.settlement
        && let Some((field, _)) = words.into_iter().find(|(_, word)| word.is_some())
    {
        errors.push(wrong(place(field), "a settlement file has no such thing; take it out"));
    }
    if operation.operation_field.as_ref().is_some_and(|field| field.is_empty() || field.len() > 80) {
        errors.push(wrong(place("operation_field"), "name a field of the body in 1 to 80 bytes"));
    }
    for (field, answer) in words.into_iter().skip(1) {
        let is_json = |text: &String| serde_json::from_str::<serde_json::Value>(text).is_ok();
        if answer.as_ref().is_some_and(|text| text.len() > ANSWER_BYTES_MAX || !is_json(text)) {
            errors.push(wrong(place(field), format!("write one JSON value of at most {ANSWER_BYTES_MAX} bytes")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbound(name: &str) -> InboundSpec {
        InboundSpec {
            name: name.into(),
            settlement: false,
            operation_field: Some("operation".into()),
            accepted: None,
            refused: None,
        }
    }

    #[test]
    fn a_message_is_taken_only_by_the_operation_that_its_signed_body_names() {
        let deposit = inbound("deposit");
        assert_eq!(deposit.check_meant(false, br#"{"operation":"deposit"}"#), Ok(()));
        for body in
            [&br#"{"operation":"reversal"}"#[..], b"{}", br#"{"operation":1}"#, br#"["operation"]"#, b"deposit", b""]
        {
            assert!(deposit.check_meant(false, body).is_err(), "{body:?}");
        }
        assert!(deposit.check_meant(true, br#"{"operation":"deposit"}"#).is_err(), "a path or query is not signed");
        let free = InboundSpec { operation_field: None, ..deposit };
        assert_eq!(free.check_meant(true, b"anything"), Ok(()));
    }

    #[test]
    fn answers_for_operators_are_json_and_a_file_has_none() {
        let with = |spec: InboundSpec| {
            let mut errors = Vec::new();
            check(&spec, &mut errors);
            errors.into_iter().map(|error| error.place).collect::<Vec<_>>()
        };
        let good = InboundSpec { accepted: Some(r#"{"result":"ok"}"#.into()), ..inbound("deposit") };
        assert_eq!(with(good.clone()), Vec::<String>::new());
        assert_eq!(
            with(InboundSpec { refused: Some("{".into()), ..good.clone() }),
            ["endpoints.inbound.deposit.refused"]
        );
        assert_eq!(with(InboundSpec { operation_field: Some(String::new()), ..good.clone() }).len(), 1);
        assert_eq!(with(InboundSpec { settlement: true, ..good }).len(), 1);
    }
}
