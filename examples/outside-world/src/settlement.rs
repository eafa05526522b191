//! The end-of-day file: CSV in UTF-8 with a header row, LF, and a trailer with count and sum.

use crate::clock::{Day, japanese_time};

/// What a row says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A deposit that was kept.
    Charge,
    /// The same deposit, cancelled: its second row.
    ChargeCancel,
    /// A transfer that went out.
    Withdraw,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What happened.
    pub kind: Kind,
    /// The network's reference.
    pub reference: String,
    /// In yen, never negative: the kind says the direction.
    pub amount: i64,
    /// What the network asks for it, in yen.
    pub fee: i64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Writes the file of a channel's day; `None` if the sum leaves the range of its type. No field can hold a comma or a quote.
pub fn compose(channel: &str, day: Day, rows: &[Row]) -> Option<Vec<u8>> {
    let mut file =
        "file_id,channel,business_date,seq,kind,channel_txn_id,wallet_txn_id,amount,fee,occurred_at\n".to_owned();
    let mut sum: i64 = 0;
    for (row, seq) in rows.iter().zip(1_u32..) {
        sum = sum.checked_add(row.amount)?;
        let kind = match row.kind {
            Kind::Charge => "CHARGE",
            Kind::ChargeCancel => "CHARGE_CANCEL",
            Kind::Withdraw => "WITHDRAW",
        };
        let Row { reference, amount, fee, at_ms, .. } = row;
        let at = japanese_time(*at_ms);
        file.push_str(&format!("{channel}-{day},{channel},{day},{seq},{kind},{reference},,{amount},{fee},{at}\n"));
    }
    file.push_str(&format!("T,{},{sum}\n", rows.len()));
    Some(file.into_bytes())
}
