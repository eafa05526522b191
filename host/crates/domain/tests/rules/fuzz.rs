//! What comes from outside as bytes or text, and whole histories as bytes: whatever it is, it is read back as it was written or refused.
//!
//! `KOBAN_SOAK=1` tries a hundred times as many inputs; `KOBAN_FUZZ_KEEP=1` keeps those that show something new in `tests/fuzz/corpus`.

use std::path::Path;
use std::str::FromStr as _;

use koban_domain::arrangements::Share;
use koban_domain::canonical::{Fields, NotCanonical};
use koban_domain::exchanges::Rate;
use koban_domain::money::{Currency, Money};
use koban_domain::operations::Operation;
use koban_domain::records::{Digest, Kept, RecordHead};
use koban_domain::signals::Ring;
use koban_domain::time::Timestamp;

use crate::{offices, soak};

#[path = "../../../../../tests/fuzz/search.rs"]
mod search;

use search::{Search, Trying};

/// Tries `inputs` of them, in soak a hundred times as many.
fn fuzz(target: &str, words: &'static [&'static str], inputs: usize, mut try_one: impl FnMut(&[u8]) -> Vec<String>) {
    let seed = std::env::var("KOBAN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(random);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fuzz/corpus").join(target);
    let mut search = Search::new(folder, words, seed);
    let times = if std::env::var_os("KOBAN_SOAK").is_some() { 100 } else { 1 };
    for _ in 0..inputs * times {
        let trying = Trying(search.next());
        let signs = try_one(&trying.0);
        search.saw(signs);
    }
    eprintln!("fuzz {target}: {} inputs, {} signs", inputs * times, search.signs());
    assert!(search.signs() > 1, "a target that shows the same whatever it is given proves nothing");
}

/// A new seed for each run.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

/// What an error is about, without the numbers and the text in it.
fn kind(error: impl std::fmt::Debug) -> String {
    format!("{error:?}").chars().take_while(|letter| letter.is_ascii_alphabetic()).collect()
}

#[test]
fn any_bytes_as_a_history_agree_with_the_model() {
    fuzz("decide", &[], 150, |bytes| soak::history_of(&bytes[..bytes.len().min(600)]));
}

#[test]
fn any_bytes_as_a_history_of_operators_keep_the_books() {
    fuzz("offices", &[], 150, |bytes| offices::history_of(&bytes[..bytes.len().min(600)]));
}

#[test]
fn canonical_bytes_are_an_entry_or_say_where_they_stop_being_one() {
    fuzz("canonical", &["KBN\u{1}", "\u{0}\u{0}"], 20_000, |bytes| match Fields::read(bytes) {
        Ok(fields) => {
            assert_eq!(fields.write().as_deref(), Ok(bytes), "one entry has one encoding");
            assert_ne!(fields.hash_after(Digest::default()), fields.hash_after(Digest([1; 32])));
            vec![format!("{} postings, {} records", fields.postings.len().min(4), fields.records.len().min(4))]
        }
        Err(error @ (NotCanonical::CutOff(_) | NotCanonical::NotText(_))) => vec![format!("{error:?}")],
        Err(error) => vec![kind(error)],
    });
}

#[test]
fn amounts_are_read_as_they_are_written_or_refused() {
    fuzz("amounts", &["JPY ", "USD ", "KWD ", "-", ".", "00", "e9", "+", "\u{ff11}"], 20_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (code, number) = text.split_once(' ').unwrap_or(("", &text));
        let mut signs = Vec::new();
        match Currency::new(code) {
            Err(error) => signs.push(kind(error)),
            Ok(currency) => match Money::parse(number, currency) {
                Err(error) => signs.push(format!("{} {}", currency.exponent(), kind(error))),
                Ok(money) => {
                    let written = money.to_string();
                    let again = written.strip_suffix(&format!(" {currency}")).expect("the currency behind it");
                    assert_eq!(Money::parse(again, currency), Ok(money));
                    let plain = number.trim_start_matches('-').trim_start_matches('0');
                    assert_eq!(again.trim_start_matches('-').trim_start_matches('0'), plain, "no digit is lost");
                    signs.push(format!("{} {} digits", currency.exponent(), again.len()));
                }
            },
        }
        // Whatever an amount may be, it is read back.
        let minor = bytes.iter().take(8).fold(0_i64, |minor, byte| (minor << 8) | i64::from(*byte));
        for minor in [minor, minor.wrapping_neg(), i64::MIN, i64::MAX] {
            let money = Money::yen(minor);
            assert_eq!(Money::parse(&minor.to_string(), Currency::JPY), Ok(money));
        }
        signs
    });
}

#[test]
fn rates_shares_and_times_are_read_as_they_are_written_or_refused() {
    fuzz("numbers", &["113.8727", "0.0324", "2018-09-25T03:00:00Z", "2024-02-29", ".", "0", "9"], 20_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut signs = Vec::new();
        if let Ok(rate) = Rate::from_str(&text) {
            assert_eq!(Rate::from_str(&rate.to_string()), Ok(rate));
            signs.push(format!("rate of {}", rate.to_string().len()));
        }
        if let Ok(share) = Share::from_str(&text) {
            assert_eq!(Share::from_str(&share.to_string()), Ok(share));
            let part = share.of(i64::MAX);
            assert!((0..=i64::MAX).contains(&part), "{share} of the most: {part}");
            signs.push(format!("share of {}", share.to_string().len()));
        }
        if let Some(time) = Timestamp::parse(&text) {
            assert_eq!(Timestamp::parse(&time.to_string()), Some(time), "{text}");
            signs.push(format!("time of {}", text.len()));
        }
        if let Some(day) = Timestamp::of_jst_date(&text) {
            assert_eq!(day.jst_date(), text);
            signs.push("day".to_owned());
        }
        if signs.is_empty() {
            signs.push("nothing".to_owned());
        }
        signs
    });
}

#[test]
fn stored_bytes_are_read_back_or_said_to_be_damaged() {
    fuzz("stored", &["\u{1}a", "\u{1}r", "insufficient_funds"], 20_000, |bytes| {
        let mut signs = Vec::new();
        match Kept::open(bytes.to_vec(), None) {
            Ok(kept) if kept.head.content.is_some() => {
                assert_eq!(RecordHead::decode(&kept.head.encode()), Ok(kept.head));
                signs.push("record".to_owned());
            }
            Ok(kept) => match kept.record() {
                Ok(mut record) => {
                    // Version 1 says the call's id twice; contents no longer do.
                    record.context.call = record.id.to_string();
                    let again = record.keep();
                    assert_eq!(Kept::open(again.bytes, again.held).unwrap().record(), Ok(record));
                    signs.push("record of version 1".to_owned());
                }
                Err(error) => signs.push(kind(error)),
            },
            Err(error) => signs.push(kind(error)),
        }
        match Operation::decode_outcome(bytes) {
            Some(outcome) => signs.push(format!("outcome {}", outcome.is_ok())),
            None => signs.push("no outcome".to_owned()),
        }
        let mut ring = Ring::decode(bytes);
        if ring != Ring::default() {
            signs.push("ring".to_owned());
        }
        for now in [0, 1_800_000_000_000] {
            ring.count(1, Timestamp(now));
            let (count, _) = ring.over(3_600, Timestamp(now));
            assert!(count > 0, "the payment that was just counted is in it");
        }
        assert_eq!(Ring::decode(&ring.encode()), ring);
        signs
    });
}
