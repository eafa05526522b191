//! Rows as one JSON parameter: what SQLite takes instead of arrays. Bytes travel as hexadecimal text (`unhex`).

use std::fmt::Write as _;

/// `[[…],[…]]` while it is being written.
pub(crate) struct JsonRows {
    text: String,
    rows: usize,
    first: bool,
}

impl JsonRows {
    /// No rows yet, with room for about so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> JsonRows {
        let mut text = String::with_capacity(bytes);
        text.push('[');
        JsonRows { text, rows: 0, first: true }
    }

    /// Begins a row.
    pub(crate) fn row(&mut self) -> &mut JsonRows {
        self.text.push_str(if self.rows == 0 { "[" } else { "],[" });
        self.rows += 1;
        self.first = true;
        self
    }

    /// Adds bytes to the row.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut JsonRows {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.separate();
        self.text.push('"');
        for byte in bytes {
            self.text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            self.text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        self.text.push('"');
        self
    }

    /// Adds bytes or null.
    pub(crate) fn maybe_bytes(&mut self, bytes: Option<&[u8]>) -> &mut JsonRows {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.null(),
        }
    }

    /// Adds a whole number.
    pub(crate) fn int(&mut self, value: impl Into<i64>) -> &mut JsonRows {
        self.separate();
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{}", value.into());
        self
    }

    /// Adds a whole number or null.
    pub(crate) fn maybe_int(&mut self, value: Option<i64>) -> &mut JsonRows {
        match value {
            Some(value) => self.int(value),
            None => self.null(),
        }
    }

    /// Adds text.
    pub(crate) fn text(&mut self, text: &str) -> &mut JsonRows {
        self.separate();
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                control if u32::from(control) < 0x20 => {
                    let _ = write!(self.text, "\\u{:04x}", u32::from(control));
                }
                other => self.text.push(other),
            }
        }
        self.text.push('"');
        self
    }

    /// Adds text or null.
    pub(crate) fn maybe_text(&mut self, text: Option<&str>) -> &mut JsonRows {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// Adds null.
    pub(crate) fn null(&mut self) -> &mut JsonRows {
        self.separate();
        self.text.push_str("null");
        self
    }

    /// The parameter, or nothing if there are no rows.
    pub(crate) fn finish(mut self) -> Option<String> {
        if self.rows == 0 {
            return None;
        }
        self.text.push_str("]]");
        Some(self.text)
    }

    fn separate(&mut self) {
        if !self.first {
            self.text.push(',');
        }
        self.first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_sqlite_reads_them() {
        let mut rows = JsonRows::with_capacity(64);
        rows.row().bytes(&[0, 255]).int(-1_i64).text("a\"\\\n円").null();
        rows.row().maybe_int(None).maybe_text(Some("")).maybe_bytes(None);
        let text = rows.finish().unwrap();
        assert_eq!(text, "[[\"00ff\",-1,\"a\\\"\\\\\\u000a円\",null],[null,\"\",null]]");
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert_eq!(JsonRows::with_capacity(0).finish(), None);
    }
}
