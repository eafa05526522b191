//! Text as banks write it: JIS X 0201 single bytes, katakana of half width with voiced marks of their own.

/// The first of the half-width katakana in Unicode is byte 0xA1 in JIS X 0201.
const HALF_FIRST: u32 = 0xff61;
const HALF_LAST: u32 = 0xff9f;
/// The long vowel mark and the marks of voice, as bytes.
const LONG: u8 = 0xb0;
const VOICED: u8 = 0xde;
const HALF_VOICED: u8 = 0xdf;

/// From `ア` at byte 0xB1 on.
const PLAIN: &str = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン";
const WITH_VOICE: (&str, &str) =
    ("ガギグゲゴザジズゼゾダヂヅデドバビブベボヴ", "カキクケコサシスセソタチツテトハヒフヘホウ");
const WITH_HALF_VOICE: (&str, &str) = ("パピプペポ", "ハヒフヘホ");
/// Banks write no small kana.
const SMALL: (&str, &str) = ("ァィゥェォッャュョヮ", "アイウエオツヤユヨワ");
/// The same of half width, from byte 0xA7 to 0xAF.
const SMALL_HALF: (u8, u8, &str) = (0xa7, 0xaf, "アイウエオヤユヨツ");

/// The text as banks write it. Errors: the first character that they do not use.
pub(crate) fn folded(text: &str) -> Result<Vec<u8>, char> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        let (byte, voice) = fold(character).ok_or(character)?;
        bytes.push(byte);
        bytes.extend(voice);
    }
    Ok(bytes)
}

/// A character as its byte, and the mark of its voice if it has one.
fn fold(character: char) -> Option<(u8, Option<u8>)> {
    // Hiragana stand 0x60 before katakana, full-width ASCII 0xFEE0 behind ASCII.
    let character = match character {
        'ぁ'..='ゖ' => char::from_u32(u32::from(character) + 0x60)?,
        '！'..='～' => char::from_u32(u32::from(character) - 0xfee0)?,
        other => other,
    };
    let byte = match character {
        'A'..='Z' | '0'..='9' | '(' | ')' | '.' | '-' | '/' | ',' | ' ' => u8::try_from(character).ok()?,
        'a'..='z' => u8::try_from(character).ok()?.to_ascii_uppercase(),
        '　' => b' ',
        '・' => b'.',
        'ー' | '－' | '−' | '‐' => b'-',
        '「' | '｢' => 0xa2,
        '」' | '｣' => 0xa3,
        'ヲ' => 0xa6,
        other if (HALF_FIRST..=HALF_LAST).contains(&u32::from(other)) => half_width(other)?,
        other => return katakana(other),
    };
    Some((byte, None))
}

/// What is of half width already.
fn half_width(character: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(character) - HALF_FIRST + 0xa1).ok()?;
    match byte {
        LONG => Some(b'-'),
        0xa6 | 0xb1..=HALF_VOICED => Some(byte),
        byte if (SMALL_HALF.0..=SMALL_HALF.1).contains(&byte) => {
            plain(SMALL_HALF.2.chars().nth(usize::from(byte - SMALL_HALF.0))?)
        }
        _ => None,
    }
}

fn katakana(character: char) -> Option<(u8, Option<u8>)> {
    let of = |(from, to): (&str, &str)| {
        let place = from.chars().position(|known| known == character)?;
        to.chars().nth(place)
    };
    if let Some(base) = of(WITH_VOICE) {
        return Some((plain(base)?, Some(VOICED)));
    }
    if let Some(base) = of(WITH_HALF_VOICE) {
        return Some((plain(base)?, Some(HALF_VOICED)));
    }
    Some((plain(of(SMALL).unwrap_or(character))?, None))
}

fn plain(character: char) -> Option<u8> {
    let place = PLAIN.chars().position(|known| known == character)?;
    u8::try_from(place).ok()?.checked_add(0xb1)
}

#[cfg(test)]
mod tests {
    use super::folded;

    /// Half-width katakana as their bytes.
    fn jis(text: &str) -> Vec<u8> {
        let byte = |one: char| if one.is_ascii() { u32::from(one) } else { u32::from(one) - 0xfec0 };
        text.chars().map(|one| u8::try_from(byte(one)).unwrap()).collect()
    }

    #[test]
    fn names_are_written_as_banks_write_them() {
        for (text, written) in [
            ("ヤマダ　ハナ", "ﾔﾏﾀﾞ ﾊﾅ"),
            ("ワズムペイ(カ", "ﾜｽﾞﾑﾍﾟｲ(ｶ"),
            ("ショッピングセンター", "ｼﾖﾂﾋﾟﾝｸﾞｾﾝﾀ-"),
            ("ヴァイオリン・ＡＢＣ１", "ｳﾞｱｲｵﾘﾝ.ABC1"),
            ("やまだ", "ﾔﾏﾀﾞ"),
            ("ﾔﾏﾀﾞ ｼｮｳｰ", "ﾔﾏﾀﾞ ｼﾖｳ-"),
            ("ヲンワ", "ｦﾝﾜ"),
        ] {
            assert_eq!(folded(text).unwrap(), jis(written), "{text}");
        }
        for (text, bad) in [("山田", '山'), ("ハナ!", '!'), ("ハナ\n", '\n'), ("ヰ", 'ヰ')] {
            assert_eq!(folded(text), Err(bad), "{text}");
        }
    }
}
