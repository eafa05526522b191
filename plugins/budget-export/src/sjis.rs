//! Shift_JIS as Windows has it (code page 932): what it cannot write is replaced visibly, never dropped.

use encoding_rs::{EncoderResult, SHIFT_JIS};

/// Stands for a sign that cannot be written.
const GETA: &str = "〓";

/// The text in Shift_JIS.
pub(crate) fn encode(text: &str) -> Vec<u8> {
    let text: String = text.chars().map(alike).collect();
    let mut encoder = SHIFT_JIS.new_encoder();
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_str();
    loop {
        let needed = encoder.max_buffer_length_from_utf8_without_replacement(rest.len()).unwrap_or(rest.len() * 3);
        out.reserve(needed);
        let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut out, true);
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => return out,
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(_) => {
                out.reserve(2);
                let _ = encoder.encode_from_utf8_to_vec_without_replacement(GETA, &mut out, false);
            }
        }
    }
}

/// Signs that Unicode has twice, in the form that Windows writes.
fn alike(character: char) -> char {
    match character {
        '〜' => '～',
        '−' => '－',
        '—' => '―',
        '‖' => '∥',
        '¢' => '￠',
        '£' => '￡',
        '¬' => '￢',
        '¥' => '￥',
        other => other,
    }
}
