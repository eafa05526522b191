//! Secrets as values: wiped when dropped, never shown, filled into what is sent and struck out of what came back.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

/// A text that nobody may see. It is wiped when dropped, and `Debug` says only that it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Zeroizing<String>);

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Hidden {
        Hidden(Zeroizing::new(text.into()))
    }

    /// The text, for whoever sends or seals it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// Shorter secrets are not struck out of answers: they would stand in amounts and dates by chance. Nor are they accepted as secrets.
pub const SECRET_LENGTH_MIN: usize = 8;
/// What stands where a secret stood.
const STRUCK: &[u8] = b"[secret]";
const OPEN: &[u8] = b"{{secret:";
const CLOSE: &[u8] = b"}}";

/// How values are written into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    Json,
    Form,
    None,
}

/// Puts secrets where `{{secret:name}}` stands, escaped as the media type asks. What comes out of it is not looked at again, so a secret that holds
/// such a mark itself stays as it is. Errors: the name of a secret that is not there.
pub(crate) fn fill(
    body: &[u8],
    content_type: &str,
    secrets: &[(String, Hidden)],
) -> Result<Zeroizing<Vec<u8>>, String> {
    let escape = match content_type {
        media if media.contains("json") => Escape::Json,
        media if media.contains("x-www-form-urlencoded") => Escape::Form,
        _ => Escape::None,
    };
    let mut filled = Zeroizing::new(Vec::with_capacity(body.len() + 64));
    let mut rest = body;
    while let Some(at) = find(rest, OPEN) {
        let behind = &rest[at + OPEN.len()..];
        let Some(end) = find(behind, CLOSE) else { break };
        let name = String::from_utf8_lossy(&behind[..end]).into_owned();
        let secret = secrets.iter().find(|(known, _)| *known == name);
        let Some((_, secret)) = secret else { return Err(name.chars().take(60).collect()) };
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(written(secret.reveal(), escape).as_bytes());
        rest = &behind[end + CLOSE.len()..];
    }
    filled.extend_from_slice(rest);
    Ok(filled)
}

fn written(secret: &str, escape: Escape) -> Zeroizing<String> {
    Zeroizing::new(match escape {
        Escape::Json => json(secret),
        Escape::Form => crate::request::encoded(secret),
        Escape::None => secret.to_owned(),
    })
}

fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            control if u32::from(control) < 0x20 => escaped.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Strikes every secret out of bytes that go on to somebody who may not see it: as it is, as JSON and forms write it, and in base64.
pub fn strike<'a>(bytes: Vec<u8>, secrets: impl IntoIterator<Item = &'a Hidden>) -> Vec<u8> {
    let mut bytes = bytes;
    for secret in secrets.into_iter().map(Hidden::reveal).filter(|secret| secret.len() >= SECRET_LENGTH_MIN) {
        let base64 = BASE64.encode(secret);
        let forms = [
            Zeroizing::new(secret.to_owned()),
            written(secret, Escape::Json),
            written(secret, Escape::Form),
            // The last group depends on what follows: without it the rest still says it all.
            Zeroizing::new(base64[..base64.len() / 4 * 4 - 4].to_owned()),
        ];
        for (place, form) in forms.iter().enumerate() {
            if forms[..place].iter().any(|before| **before == **form) || form.len() < SECRET_LENGTH_MIN {
                continue;
            }
            bytes = struck(bytes, form.as_bytes());
        }
    }
    bytes
}

fn struck(bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    if find(&bytes, secret).is_none() {
        return bytes;
    }
    let bytes = Zeroizing::new(bytes);
    let mut clean = Vec::with_capacity(bytes.len());
    let mut rest: &[u8] = &bytes;
    while let Some(at) = find(rest, secret) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(STRUCK);
        rest = &rest[at + secret.len()..];
    }
    clean.extend_from_slice(rest);
    clean
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(text: &str) -> Vec<(String, Hidden)> {
        vec![("pin".to_owned(), Hidden::new(text))]
    }

    #[track_caller]
    fn filled(body: &str, media: &str, secret: &str) -> String {
        String::from_utf8(fill(body.as_bytes(), media, &secrets(secret)).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_secret_is_written_as_the_body_writes_values() {
        let body = r#"{"pin":"{{secret:pin}}"}"#;
        assert_eq!(filled(body, "application/json", "a\"b\\c\n"), r#"{"pin":"a\"b\\c\u000a"}"#);
        assert_eq!(filled("pin={{secret:pin}}&x=1", "application/x-www-form-urlencoded", "a&b=c"), "pin=a%26b%3Dc&x=1");
        assert_eq!(filled("{{secret:pin}}{{secret:pin}}", "text/plain", "ab"), "abab");
        assert_eq!(filled("{{secret:pin}}", "text/plain", "{{secret:pin}}"), "{{secret:pin}}", "looked at once");
        assert_eq!(filled("{{secret:pin", "text/plain", "ab"), "{{secret:pin", "an open mark is text");
    }

    #[test]
    fn a_secret_that_is_not_there_is_named() {
        assert_eq!(fill(b"{{secret:other}}", "text/plain", &secrets("x")).unwrap_err(), "other");
    }

    #[test]
    fn what_comes_back_holds_no_secret_however_it_is_written() {
        let secret = Hidden::new("p\"ss/word+1 long");
        for echo in [
            "p\"ss/word+1 long".to_owned(),
            "p\\\"ss/word+1 long".to_owned(),
            "p%22ss%2Fword%2B1%20long".to_owned(),
            BASE64.encode("p\"ss/word+1 long"),
        ] {
            let text = String::from_utf8(strike(format!("you said <{echo}>, twice <{echo}>").into_bytes(), [&secret]))
                .unwrap();
            assert!(!text.contains("word"), "{text}");
            assert!(!text.contains(&echo), "{text}");
        }
        assert_eq!(
            strike(b"amount 1234567".to_vec(), [&Hidden::new("1234567")]),
            b"amount 1234567",
            "too short to be told"
        );
        assert_eq!(format!("{secret:?}"), "Hidden(…)");
    }
}
