//! Amounts as files write them: with the decimals of their currency.

/// Currencies of ISO 4217 that have another number of decimals than two, of those that a wallet might hold.
const OTHERS: [(&str, u32); 22] = [
    ("BHD", 3),
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XPF", 0),
];

/// An amount of minor units as a decimal number: `-1280` yen, `12.05` dollars.
pub(crate) fn decimal(minor: i64, currency: &str) -> String {
    let places = OTHERS.iter().find(|(code, _)| *code == currency).map_or(2, |(_, places)| *places);
    let sign = if minor < 0 { "-" } else { "" };
    let (digits, whole) = (minor.unsigned_abs(), 10_u64.pow(places));
    match places {
        0 => format!("{sign}{digits}"),
        _ => {
            format!("{sign}{}.{:0width$}", digits / whole, digits % whole, width = usize::try_from(places).unwrap_or(2))
        }
    }
}
