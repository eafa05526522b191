//! What a text may not hold if people are to read it as it is written.

/// Whether a character is not seen, or makes others be read otherwise than they stand: controls, spaces without width, invisible
/// operators, line separators, and the marks of Unicode's bidirectional algorithm (UAX #9). Joiners are none of them: emoji need those.
pub fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_misleads_and_what_people_write_does_not() {
        for misleading in ['\0', '\n', '\u{7f}', '\u{85}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{2028}', '\u{feff}'] {
            assert!(misleads(misleading), "{misleading:?}");
        }
        for plain in ['a', ' ', '\u{3000}', 'ー', '円', '€', '\u{200d}', '\u{a0}'] {
            assert!(!misleads(plain), "{plain:?}");
        }
    }
}
