//! The collector's book: which convenience-store slips were paid, under which payment of Koban's, and how often it was asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::clock::{Day, japanese_time};

/// So many payments fit into the book.
const PAYMENTS_MAX: usize = 200_000;
const SLIP_DIGITS: usize = 44;

/// How a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BillStanding {
    /// The biller has been told that it is paid; that is final.
    Paid,
    /// It was not taken, and never will be under this payment.
    Refused,
    /// Koban took it back before it came; it will not be taken any more.
    Cancelled,
}

/// A payment as the book knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payment {
    /// Koban's own id of it.
    pub payment: String,
    /// The slip's digits; empty if it was cancelled before it came.
    pub slip: String,
    /// In yen.
    pub amount: i64,
    /// How it stands.
    pub standing: BillStanding,
    /// The collector's reference, once it is paid.
    pub receipt: Option<String>,
    /// Why it was refused.
    pub reason: Option<&'static str>,
    /// How often Koban asked for it to be paid.
    pub asked: u32,
    /// Under which idempotency keys it did.
    pub keys: BTreeSet<String>,
    /// Whether a file has listed it.
    pub listed: bool,
    /// When it was paid, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Why the collector does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBill {
    /// The book is full.
    #[error("the book is full; start the outside world anew")]
    Full,
    /// The sum leaves the range of its type.
    #[error("the amounts add up to too much")]
    Sum,
    /// No slip can say this.
    #[error("a slip has 1 to 300,000 yen, a company of 6 digits and a last day of 6 digits or none")]
    Slip,
}

/// The book.
#[derive(Debug)]
pub struct Bills {
    name: String,
    receipts: u32,
    slips: u32,
    payments: BTreeMap<String, Payment>,
    /// Company and free field, which make two slips the same, and who paid them.
    paid: BTreeMap<String, String>,
}

impl Bills {
    /// An empty book; receipts begin with this name.
    pub fn new(name: &str) -> Bills {
        Bills { name: name.to_owned(), receipts: 0, slips: 0, payments: BTreeMap::new(), paid: BTreeMap::new() }
    }

    /// A new slip of a biller, as its bar code has it. Errors: [`NoBill::Slip`].
    pub fn print(&mut self, company: &str, amount: i64, due: Option<&str>) -> Result<String, NoBill> {
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        let due = due.unwrap_or("999999");
        if !digits(company, 6) || !digits(due, 6) || !(1..=300_000).contains(&amount) {
            return Err(NoBill::Slip);
        }
        self.slips = self.slips.wrapping_add(1);
        let stamp = u8::from(amount >= 50_000);
        // A start of its own for each book, so that no slip was printed by another one.
        let start: String = self.name.bytes().map(|byte| char::from(b'0' + byte % 10)).take(13).collect();
        let free = format!("{start:0<13}{:08}", self.slips);
        let body = format!("91{company}{free}0{due}{stamp}{amount:06}");
        let check = check_digit(&body);
        Ok(format!("{body}{check}"))
    }

    /// Takes a payment, once for each id and once for each slip.
    pub fn pay(&mut self, payment: &str, slip: &str, amount: i64, key: &str, now_ms: i64) -> Result<&Payment, NoBill> {
        if !self.payments.contains_key(payment) {
            if self.payments.len() >= PAYMENTS_MAX {
                return Err(NoBill::Full);
            }
            let reason = self.refusal(slip, amount);
            let standing = if reason.is_some() { BillStanding::Refused } else { BillStanding::Paid };
            let receipt = reason.is_none().then(|| {
                self.receipts += 1;
                format!("{}-{:07}", self.name, self.receipts)
            });
            if reason.is_none() {
                self.paid.insert(identity(slip), payment.to_owned());
            }
            let new = Payment {
                payment: payment.to_owned(),
                slip: slip.to_owned(),
                amount,
                standing,
                receipt,
                reason,
                asked: 0,
                keys: BTreeSet::new(),
                listed: false,
                at_ms: now_ms,
            };
            self.payments.insert(payment.to_owned(), new);
        }
        let known = self.payments.get_mut(payment).ok_or(NoBill::Full)?;
        known.asked = known.asked.saturating_add(1);
        known.keys.insert(key.to_owned());
        Ok(known)
    }

    fn refusal(&self, slip: &str, amount: i64) -> Option<&'static str> {
        let is_slip =
            slip.len() == SLIP_DIGITS && slip.starts_with("91") && slip.bytes().all(|byte| byte.is_ascii_digit());
        if !is_slip || !slip.ends_with(char::from(b'0' + check_digit(&slip[..SLIP_DIGITS - 1]))) {
            return Some("slip_invalid");
        }
        if slip[37..43].parse() != Ok(amount) || amount < 1 {
            return Some("amount_differs");
        }
        self.paid.contains_key(&identity(slip)).then_some("already_paid")
    }

    /// How a payment stands, if it ever came.
    pub fn payment(&self, payment: &str) -> Option<&Payment> {
        self.payments.get(payment)
    }

    /// Takes a payment back that has not come; one that has stays as it is.
    pub fn cancel(&mut self, payment: &str, now_ms: i64) -> Result<&Payment, NoBill> {
        if self.payments.len() >= PAYMENTS_MAX && !self.payments.contains_key(payment) {
            return Err(NoBill::Full);
        }
        Ok(self.payments.entry(payment.to_owned()).or_insert_with(|| Payment {
            payment: payment.to_owned(),
            slip: String::new(),
            amount: 0,
            standing: BillStanding::Cancelled,
            receipt: None,
            reason: Some("cancelled"),
            asked: 0,
            keys: BTreeSet::new(),
            listed: false,
            at_ms: now_ms,
        }))
    }

    /// Everything, in order of Koban's ids.
    pub fn payments(&self) -> impl Iterator<Item = &Payment> {
        self.payments.values()
    }

    /// The file of confirmed payments that no file has listed: CSV with a header row, LF, and a trailer with count and sum.
    pub fn close_day(&mut self, now_ms: i64) -> Result<Vec<u8>, NoBill> {
        let mut file = "kind,receipt_date,receipt_time,barcode,stamp,amount,receipt,file_date\n".to_owned();
        let (mut count, mut sum) = (0_u32, 0_i64);
        let today = compact(Day::at(now_ms));
        for payment in self.payments.values_mut() {
            if payment.listed || payment.receipt.is_none() {
                continue;
            }
            payment.listed = true;
            let receipt = payment.receipt.as_deref().unwrap_or_default();
            let time = japanese_time(payment.at_ms);
            let (hour, minute) = (time[11..13].trim_start_matches('0'), &time[14..16]);
            let (day, stamp) = (compact(Day::at(payment.at_ms)), &payment.slip[36..37]);
            let (slip, amount) = (&payment.slip, payment.amount);
            file.push_str(&format!("03,{day},{hour}{minute},{slip},{stamp},{amount},{receipt},{today}\n"));
            count += 1;
            sum = sum.checked_add(amount).ok_or(NoBill::Sum)?;
        }
        file.push_str(&format!("T,{count},{sum}\n"));
        Ok(file.into_bytes())
    }
}

/// What makes two slips the same: the biller and its free field, whatever the reissue count says.
fn identity(slip: &str) -> String {
    slip[2..29].to_owned()
}

fn compact(day: Day) -> String {
    day.to_string().replace('-', "")
}

/// The digit at the end of a slip: from the right the digits weigh 3 and 1 in turn, and all together make a multiple of ten.
fn check_digit(body: &str) -> u8 {
    let weighted =
        body.bytes().rev().zip([3_u32, 1].into_iter().cycle()).map(|(byte, weight)| u32::from(byte - b'0') * weight);
    u8::try_from((10 - weighted.sum::<u32>() % 10) % 10).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLIP: &str = "91912345000000000000000000045218103100128004";

    #[test]
    fn published_slips_end_with_their_check_digit() {
        for slip in [
            "91912345012345678901234567890101033101230003",
            SLIP,
            "91912345000000000000000000046099999910648009",
            "91912345000000000000000000047018123100499993",
        ] {
            assert_eq!(check_digit(&slip[..43]), slip.as_bytes()[43] - b'0', "{slip}");
        }
    }

    #[test]
    fn a_slip_is_paid_once_and_a_payment_is_answered_alike_however_often_it_is_asked_for() {
        let mut bills = Bills::new("COL");
        let first = bills.pay("p1", SLIP, 12_800, "k1", 0).unwrap().clone();
        assert_eq!(
            (first.standing, first.receipt.as_deref(), first.asked),
            (BillStanding::Paid, Some("COL-0000001"), 1)
        );
        let again = bills.pay("p1", SLIP, 12_800, "k2", 5).unwrap();
        assert_eq!((again.receipt.as_deref(), again.asked, again.keys.len()), (Some("COL-0000001"), 2, 2));
        // The reissue count is another, the bill is the same.
        let reissued = format!("{}3{}", &SLIP[..29], &SLIP[30..43]);
        let reissued = format!("{reissued}{}", check_digit(&reissued));
        assert_eq!(bills.pay("p2", &reissued, 12_800, "k", 0).unwrap().reason, Some("already_paid"));
        assert_eq!(bills.pay("p3", SLIP, 12_801, "k", 0).unwrap().reason, Some("amount_differs"));
        assert_eq!(bills.pay("p4", &SLIP.replace("800", "801"), 12_801, "k", 0).unwrap().reason, Some("slip_invalid"));
    }

    #[test]
    fn what_was_taken_back_before_it_came_is_never_taken_and_what_was_paid_is_final() {
        let mut bills = Bills::new("COL");
        assert_eq!(bills.cancel("p1", 0).unwrap().standing, BillStanding::Cancelled);
        assert_eq!(bills.pay("p1", SLIP, 12_800, "k1", 0).unwrap().standing, BillStanding::Cancelled);
        assert_eq!(bills.pay("p2", SLIP, 12_800, "k2", 0).unwrap().standing, BillStanding::Paid);
        assert_eq!(bills.cancel("p2", 0).unwrap().standing, BillStanding::Paid);
    }

    #[test]
    fn a_printed_slip_can_be_paid_and_stands_in_one_file() {
        let mut bills = Bills::new("COL");
        let slip = bills.print("912345", 64_800, Some("181031")).unwrap();
        assert_eq!((slip.len(), &slip[30..43]), (44, "1810311064800"));
        bills.pay("p1", &slip, 64_800, "k1", 1_537_844_400_000).unwrap();
        let file = String::from_utf8(bills.close_day(1_537_844_400_000).unwrap()).unwrap();
        let lines: Vec<&str> = file.lines().collect();
        assert_eq!(lines[1], format!("03,20180925,1200,{slip},1,64800,COL-0000001,20180925"));
        assert_eq!(lines[2], "T,1,64800");
        assert!(String::from_utf8(bills.close_day(0).unwrap()).unwrap().ends_with("T,0,0\n"));
        assert_eq!(bills.print("91234", 1, None), Err(NoBill::Slip));
        assert_eq!(bills.print("912345", 300_001, None), Err(NoBill::Slip));
    }
}
