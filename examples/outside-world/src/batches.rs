//! The bank's other door: transfer files of 120-byte records that Koban puts into a shared directory, and the result files that the bank puts beside them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::bank::{Bank, Payee, TransferStanding};

/// Bytes of a record, without its line's end.
const RECORD: usize = 120;
/// Largest file that is read.
const BYTES_MAX: u64 = 4 << 20;

/// Files that the bank has taken, with their bytes: the same name with other bytes is a mistake of somebody's.
pub type Taken = BTreeMap<String, Vec<u8>>;

/// What the bank did about one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The file.
    pub name: String,
    /// How many transfers it asked for; none if it was not taken.
    pub transfers: usize,
    /// Why it was not taken.
    pub refused: Option<String>,
    /// The result file that answers it.
    pub results: Option<String>,
}

/// One transfer of a file.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    reference: String,
    payee: Payee,
    amount: i64,
}

/// Takes what lies in `out` and was not taken before, and puts its results into `in`. Errors: the directory cannot be used.
pub fn take(bank: &mut Bank, taken: &mut Taken, directory: &Path, now_ms: i64) -> io::Result<Vec<Seen>> {
    let (out, back) = (directory.join("out"), directory.join("in"));
    let mut names = Vec::new();
    if out.exists() {
        for entry in fs::read_dir(&out)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    let mut seen = Vec::new();
    for name in names {
        let path = out.join(&name);
        let refused =
            |why: &str| Seen { name: name.clone(), transfers: 0, refused: Some(why.to_owned()), results: None };
        if fs::metadata(&path)?.len() > BYTES_MAX {
            seen.push(refused("too long"));
            continue;
        }
        let content = fs::read(&path)?;
        match taken.get(&name) {
            Some(before) if *before == content => continue,
            Some(_) => {
                seen.push(refused("a file of this name was taken, and it had other bytes"));
                continue;
            }
            None => {}
        }
        let asked = match read(&content) {
            Ok(asked) => asked,
            Err(why) => {
                seen.push(refused(&why));
                continue;
            }
        };
        let answer = answer(bank, &name, asked, now_ms);
        taken.insert(name.clone(), content);
        let results = format!("results-{:06}.csv", taken.len());
        fs::create_dir_all(&back)?;
        // Whole or not at all: whoever looks must not find half of it.
        let draft = back.join(format!(".{results}.draft"));
        fs::write(&draft, &answer.1)?;
        fs::rename(&draft, back.join(&results))?;
        seen.push(Seen { name, transfers: answer.0, refused: None, results: Some(results) });
    }
    Ok(seen)
}

/// Does what a file asks for; says how many transfers that were, and what the result file holds.
fn answer(bank: &mut Bank, name: &str, asked: Vec<Asked>, now_ms: i64) -> (usize, String) {
    let (count, mut sum, mut rows) = (asked.len(), 0_i64, String::new());
    for Asked { reference, payee, amount } in asked {
        sum = sum.saturating_add(amount);
        let said = match bank.transfer(&reference, payee, amount, name, now_ms) {
            Ok(known) if known.standing == TransferStanding::Done => {
                format!("DONE,{}", known.receipt.as_deref().unwrap_or_default())
            }
            Ok(known) => format!("REFUSED,{}", known.reason.unwrap_or("refused")),
            Err(_) => "REFUSED,bank_full".to_owned(),
        };
        rows.push_str(&format!("R,{reference},{amount},{said}\n"));
    }
    (count, format!("H,{name}\n{rows}T,{count},{sum}\n"))
}

/// The transfers of a file. Errors: the first thing that is wrong; nothing of such a file is done.
fn read(content: &[u8]) -> Result<Vec<Asked>, String> {
    let mut records = Vec::new();
    for (at, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if line.len() != RECORD {
            return Err(format!("record {} has {} bytes and not {RECORD}", at + 1, line.len()));
        }
        records.push(line);
    }
    let [header, body @ .., trailer, end] = &records[..] else {
        return Err("header, trailer or end is missing".into());
    };
    if !header.starts_with(b"1210") || !trailer.starts_with(b"8") || !end.starts_with(b"9") {
        return Err("it begins with 1210 and ends with 8 and 9".into());
    }
    let asked = body.iter().map(|record| transfer(record)).collect::<Option<Vec<_>>>();
    let asked = asked.ok_or("a record is no transfer")?;
    let sum: i64 = asked.iter().map(|asked| asked.amount).sum();
    if number(trailer, 1, 6) != i64::try_from(asked.len()).ok() || number(trailer, 7, 12) != Some(sum) {
        return Err("count or sum of the trailer are not those of the records".into());
    }
    Ok(asked)
}

fn transfer(record: &[u8]) -> Option<Asked> {
    if record.first() != Some(&b'2') || record.get(112) != Some(&b'Y') {
        return None;
    }
    let payee = Payee {
        bank: text(record, 1, 4)?,
        branch: text(record, 20, 3)?,
        account: text(record, 43, 7)?,
        name: text(record, 50, 30)?,
    };
    Some(Asked { reference: text(record, 91, 20)?, payee, amount: number(record, 80, 10)? })
}

fn number(record: &[u8], from: usize, width: usize) -> Option<i64> {
    let digits = record.get(from..from + width)?;
    if digits.iter().all(u8::is_ascii_digit) { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

/// A field as text: half-width katakana stand 0xFEC0 further in Unicode.
fn text(record: &[u8], from: usize, width: usize) -> Option<String> {
    let field = record.get(from..from + width)?;
    let decoded: Option<String> = field
        .iter()
        .map(|byte| match byte {
            b' '..=b'~' => Some(char::from(*byte)),
            0xa1..=0xdf => char::from_u32(u32::from(*byte) + 0xfec0),
            _ => None,
        })
        .collect();
    Some(decoded?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(parts: &[(&str, usize)]) -> String {
        parts.iter().map(|(text, width)| format!("{text:<width$}")).collect()
    }

    fn file(transfers: &[(&str, i64, &str)]) -> Vec<u8> {
        let mut lines = vec![record(&[("12101234567890", 14), ("CLIENT", 40), ("0928", 4), ("", 62)])];
        for (reference, amount, branch) in transfers {
            lines.push(record(&[
                ("20005", 5),
                ("", 15),
                (branch, 3),
                ("", 15),
                ("000017654321", 12),
                ("YAMADA", 30),
                (&format!("{amount:010}0"), 11),
                (reference, 20),
                ("7Y", 9),
            ]));
        }
        let sum: i64 = transfers.iter().map(|(_, amount, _)| amount).sum();
        lines.push(record(&[(&format!("8{:06}{sum:012}", transfers.len()), 120)]));
        lines.push(record(&[("9", 120)]));
        lines.join("\r\n").into_bytes()
    }

    #[test]
    fn a_file_is_taken_once_and_answered_in_a_file() {
        let place = std::env::temp_dir().join(format!("outside-world-batches-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(place.join("out")).unwrap();
        let (mut bank, mut taken) = (Bank::new("B"), Taken::new());
        fs::write(place.join("out/transfers-1.txt"), file(&[("K1", 9_784, "001"), ("K2", 16, "999")])).unwrap();
        fs::write(place.join("out/.transfers-2.txt.part"), "half").unwrap();
        let seen = take(&mut bank, &mut taken, &place, 0).unwrap();
        assert_eq!((seen.len(), seen[0].transfers, seen[0].results.as_deref()), (1, 2, Some("results-000001.csv")));
        let results = fs::read_to_string(place.join("in/results-000001.csv")).unwrap();
        assert_eq!(results, "H,transfers-1.txt\nR,K1,9784,DONE,B-0000001\nR,K2,16,REFUSED,no_such_account\nT,2,9800\n");
        assert_eq!(take(&mut bank, &mut taken, &place, 0).unwrap(), []);
        fs::write(place.join("out/transfers-1.txt"), file(&[("K3", 1, "001")])).unwrap();
        assert!(take(&mut bank, &mut taken, &place, 0).unwrap()[0].refused.is_some());
        assert_eq!(bank.transfers().count(), 2);
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_file_with_a_mistake_is_not_done_in_part() {
        let good = file(&[("K1", 9_784, "001")]);
        assert_eq!(read(&good).unwrap()[0].payee.name, "YAMADA");
        for (from, to) in [
            ("8000001", "8000002"),
            ("8000001000000009784", "8000001000000009785"),
            ("20005", "30005"),
            ("1210", "1910"),
        ] {
            let wrong = String::from_utf8(good.clone()).unwrap().replacen(from, to, 1);
            assert!(read(wrong.as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(read(&good[..300]).is_err());
        assert!(read(b"").is_err());
    }
}
