//! Seeded mutation, guided by what a target says it saw: an input that shows something new is kept and changed further.
//!
//! Shared by the fuzz targets of the domain and by those over HTTP. It runs on stable Rust and under the ordinary test runner; what it
//! lacks beside a coverage-guided fuzzer are the branches, and in their place stand *signs*: the outcomes that a target tells apart.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Most bytes of an input.
const BYTES_MAX: usize = 4_096;
/// Numbers at which arithmetic goes wrong.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "255",
    "65535",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "0.1",
];

/// A walk through the inputs of one target. The corpus comes first as it is, then changes of it.
pub(crate) struct Search {
    folder: PathBuf,
    inputs: Vec<Vec<u8>>,
    /// How many of the corpus's inputs were given out unchanged.
    given: usize,
    seen: BTreeSet<String>,
    /// What belongs to the language of this target.
    words: &'static [&'static str],
    random: u64,
    current: Vec<u8>,
}

impl Search {
    /// A search that begins with the files in `folder`; there must be some.
    pub(crate) fn new(folder: PathBuf, words: &'static [&'static str], seed: u64) -> Search {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        let inputs: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("an input")).collect();
        assert!(!inputs.is_empty(), "{} is empty", folder.display());
        eprintln!("fuzz {} from {} inputs; run it again with KOBAN_TEST_SEED={seed}", folder.display(), inputs.len());
        let random = seed ^ 0x9e37_79b9_7f4a_7c15;
        Search { folder, inputs, given: 0, seen: BTreeSet::new(), words, random, current: Vec::new() }
    }

    /// The next input.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        self.current = match self.inputs.get(self.given) {
            Some(input) => {
                self.given += 1;
                input.clone()
            }
            None => self.changed(),
        };
        self.current.clone()
    }

    /// What the last input showed. One that shows something new is kept, and written into the corpus under `KOBAN_FUZZ_KEEP=1`.
    pub(crate) fn saw(&mut self, signs: impl IntoIterator<Item = String>) {
        let before = self.seen.len();
        self.seen.extend(signs);
        if self.seen.len() > before && !self.inputs.contains(&self.current) {
            // In front of those not given out yet, for it has just been tried.
            self.inputs.insert(self.given, self.current.clone());
            self.given += 1;
            if std::env::var_os("KOBAN_FUZZ_KEEP").is_some() {
                let name = format!("{:016x}", hash(&self.current));
                std::fs::write(self.folder.join(name), &self.current).expect("a place for the input");
            }
        }
    }

    /// How many different signs were seen.
    pub(crate) fn signs(&self) -> usize {
        self.seen.len()
    }

    /// A random number below `most`, which is at least 1.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(most.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn changed(&mut self) -> Vec<u8> {
        let place = self.below(self.inputs.len());
        let mut bytes = self.inputs[place].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let some = at + self.below(bytes.len() - at + 1);
        match self.below(9) {
            0 => {
                let byte = u8::try_from(self.below(256)).unwrap_or(0);
                bytes.insert(at, byte);
            }
            1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            2 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'0', b'\\'][self.below(8)],
            3 => drop(bytes.drain(at..some)),
            4 => {
                let again = bytes[at..some].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let place = self.below(self.inputs.len());
                let other = self.inputs[place].clone();
                let from = self.below(other.len() + 1);
                bytes.splice(at..some, other[from..].iter().copied());
            }
            6 => {
                let word = self.words.get(self.below(self.words.len())).copied().unwrap_or_default();
                bytes.splice(at..at, word.bytes());
            }
            7 => {
                let digits = digits_from(bytes, at);
                bytes.splice(digits, NUMBERS[self.below(NUMBERS.len())].bytes());
            }
            _ => bytes.truncate(some),
        }
    }
}

/// The run of ASCII digits behind `at`; nothing at the end if there is none.
fn digits_from(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let from = bytes[at..].iter().position(u8::is_ascii_digit).map_or(bytes.len(), |behind| at + behind);
    let to = bytes[from..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |behind| from + behind);
    from..to
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Says which input it was if the target panics on it.
pub(crate) struct Trying(pub(crate) Vec<u8>);

impl Drop for Trying {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!(
                "the input was {:?}\nkeep it in the corpus: echo {hex} | xxd -r -p > NAME",
                self.0.escape_ascii().to_string()
            );
        }
    }
}
