//! The bank's book: accounts that it gave out for charges, transfers that came to them, and transfers that Koban asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::clock::Day;
use crate::settlement::{self, Kind, Row};

/// So many of each fit into the book.
const ROWS_MAX: usize = 100_000;

/// How a transfer that Koban asked for stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferStanding {
    /// The payee has it; that is final.
    Done,
    /// It was not taken, and never will be under this id.
    Refused,
    /// Koban took it back before it came; it will not be taken any more.
    Cancelled,
}

/// Where a transfer goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payee {
    /// Bank code, 4 digits.
    pub bank: String,
    /// Branch code, 3 digits.
    pub branch: String,
    /// Account number, 7 digits.
    pub account: String,
    /// In kana.
    pub name: String,
}

/// A transfer that Koban asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Koban's own id of it.
    pub transfer: String,
    /// Where it goes; none if it was taken back before it came.
    pub payee: Option<Payee>,
    /// In yen.
    pub amount: i64,
    /// How it stands.
    pub standing: TransferStanding,
    /// The bank's reference, once it is done.
    pub receipt: Option<String>,
    /// Why it was refused.
    pub reason: Option<&'static str>,
    /// How often Koban asked for it.
    pub asked: u32,
    /// Under which idempotency keys it did.
    pub keys: BTreeSet<String>,
    /// Whether a file has listed it.
    pub listed: bool,
    /// When it was done, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A transfer that somebody made to one of the accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deposit {
    /// The bank's reference.
    pub reference: String,
    /// To which account.
    pub account: String,
    /// In yen.
    pub amount: i64,
    /// Whether Koban took it: none before it has answered; what it did not take went back.
    pub taken: Option<bool>,
    /// Whether a file has listed it.
    pub listed: bool,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Why the bank does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTransfer {
    /// The book is full.
    #[error("the book is full; start the outside world anew")]
    Full,
    /// The sum leaves the range of its type.
    #[error("the amounts add up to too much")]
    Sum,
    /// A transfer has an amount.
    #[error("a transfer is over 1 to 10,000,000 yen")]
    Amount,
}

/// The book.
#[derive(Debug)]
pub struct Bank {
    name: String,
    references: u32,
    /// By the request of Koban's that asked for it.
    accounts: BTreeMap<String, String>,
    deposits: Vec<Deposit>,
    transfers: BTreeMap<String, Transfer>,
}

impl Bank {
    /// An empty book; references begin with this name.
    pub fn new(name: &str) -> Bank {
        Bank {
            name: name.to_owned(),
            references: 0,
            accounts: BTreeMap::new(),
            deposits: Vec::new(),
            transfers: BTreeMap::new(),
        }
    }

    fn reference(&mut self) -> String {
        self.references = self.references.wrapping_add(1);
        format!("{}-{:07}", self.name, self.references)
    }

    /// The account of this request: the same for the same request, and never another's. Its numbers begin at a place of this book's own, so that
    /// a bank that was started anew gives out others.
    pub fn open(&mut self, request: &str, first: u32) -> Result<String, NoTransfer> {
        if let Some(known) = self.accounts.get(request) {
            return Ok(known.clone());
        }
        let place = u32::try_from(self.accounts.len()).ok().filter(|place| *place < 100_000).ok_or(NoTransfer::Full)?;
        let account = format!("{:07}", (first.wrapping_add(place)) % 10_000_000);
        self.accounts.insert(request.to_owned(), account.clone());
        Ok(account)
    }

    /// Somebody transfers to an account.
    pub fn deposit(&mut self, account: &str, amount: i64, now_ms: i64) -> Result<Deposit, NoTransfer> {
        if !(1..=10_000_000).contains(&amount) {
            return Err(NoTransfer::Amount);
        }
        if self.deposits.len() >= ROWS_MAX {
            return Err(NoTransfer::Full);
        }
        let reference = self.reference();
        let account = account.to_owned();
        let deposit = Deposit { reference, account, amount, taken: None, listed: false, at_ms: now_ms };
        self.deposits.push(deposit.clone());
        Ok(deposit)
    }

    /// Koban's answer to a deposit: taken, or sent back.
    pub fn answered(&mut self, reference: &str, taken: bool) {
        if let Some(known) = self.deposits.iter_mut().find(|known| known.reference == reference) {
            known.taken = Some(taken);
        }
    }

    /// Takes a transfer, once for each id.
    pub fn transfer(
        &mut self,
        id: &str,
        payee: Payee,
        amount: i64,
        key: &str,
        now_ms: i64,
    ) -> Result<&Transfer, NoTransfer> {
        if !self.transfers.contains_key(id) {
            if self.transfers.len() >= ROWS_MAX {
                return Err(NoTransfer::Full);
            }
            let reason = refusal(&payee, amount);
            let receipt = if reason.is_none() { Some(self.reference()) } else { None };
            let standing = if reason.is_none() { TransferStanding::Done } else { TransferStanding::Refused };
            let new = Transfer {
                transfer: id.to_owned(),
                payee: Some(payee),
                amount,
                standing,
                receipt,
                reason,
                asked: 0,
                keys: BTreeSet::new(),
                listed: false,
                at_ms: now_ms,
            };
            self.transfers.insert(id.to_owned(), new);
        }
        let known = self.transfers.get_mut(id).ok_or(NoTransfer::Full)?;
        known.asked = known.asked.saturating_add(1);
        known.keys.insert(key.to_owned());
        Ok(known)
    }

    /// How a transfer stands, if it ever came.
    pub fn find(&self, id: &str) -> Option<&Transfer> {
        self.transfers.get(id)
    }

    /// Takes a transfer back that has not come; one that has stays as it is.
    pub fn cancel(&mut self, id: &str, now_ms: i64) -> Result<&Transfer, NoTransfer> {
        if self.transfers.len() >= ROWS_MAX && !self.transfers.contains_key(id) {
            return Err(NoTransfer::Full);
        }
        Ok(self.transfers.entry(id.to_owned()).or_insert_with(|| Transfer {
            transfer: id.to_owned(),
            payee: None,
            amount: 0,
            standing: TransferStanding::Cancelled,
            receipt: None,
            reason: Some("cancelled"),
            asked: 0,
            keys: BTreeSet::new(),
            listed: false,
            at_ms: now_ms,
        }))
    }

    /// Everything that Koban asked for, in order of its ids.
    pub fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        self.transfers.values()
    }

    /// Everything that came, in order.
    pub fn deposits(&self) -> &[Deposit] {
        &self.deposits
    }

    /// The file of what no file has listed: what came and was taken, and what went.
    pub fn close_day(&mut self, now_ms: i64) -> Result<Vec<u8>, NoTransfer> {
        let mut rows = Vec::new();
        for deposit in self.deposits.iter_mut().filter(|deposit| deposit.taken == Some(true) && !deposit.listed) {
            deposit.listed = true;
            let (reference, amount, at_ms) = (deposit.reference.clone(), deposit.amount, deposit.at_ms);
            rows.push(Row { kind: Kind::Charge, reference, amount, fee: 0, at_ms });
        }
        for transfer in self.transfers.values_mut().filter(|transfer| !transfer.listed) {
            let Some(reference) = transfer.receipt.clone() else { continue };
            transfer.listed = true;
            let (amount, at_ms) = (transfer.amount, transfer.at_ms);
            rows.push(Row { kind: Kind::Withdraw, reference, amount, fee: 0, at_ms });
        }
        settlement::compose("BANK", Day::at(now_ms), &rows).ok_or(NoTransfer::Sum)
    }
}

/// Why a transfer is not taken, if it is not. The branch 999 exists at no bank.
fn refusal(payee: &Payee, amount: i64) -> Option<&'static str> {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let Payee { bank, branch, account, name } = payee;
    if !digits(bank, 4) || !digits(branch, 3) || !digits(account, 7) || name.is_empty() {
        return Some("payee_malformed");
    }
    if branch == "999" {
        return Some("no_such_account");
    }
    if !(1..=10_000_000).contains(&amount) {
        return Some("amount_not_taken");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payee(branch: &str) -> Payee {
        Payee { bank: "0005".into(), branch: branch.into(), account: "7654321".into(), name: "ハナ".into() }
    }

    #[test]
    fn an_account_belongs_to_the_request_that_asked_for_it() {
        let mut bank = Bank::new("B");
        let first = bank.open("r1", 9_999_999).unwrap();
        assert_eq!((first.as_str(), bank.open("r1", 9_999_999).unwrap()), ("9999999", first.clone()));
        assert_eq!(bank.open("r2", 9_999_999).unwrap(), "0000000");
    }

    #[test]
    fn a_transfer_is_done_once_however_often_it_is_asked_for() {
        let mut bank = Bank::new("B");
        let first = bank.transfer("t1", payee("123"), 10_000, "k1", 0).unwrap().clone();
        assert_eq!((first.standing, first.receipt.as_deref()), (TransferStanding::Done, Some("B-0000001")));
        let again = bank.transfer("t1", payee("123"), 10_000, "k2", 5).unwrap();
        assert_eq!((again.receipt.as_deref(), again.asked, again.keys.len()), (Some("B-0000001"), 2, 2));
        for (id, payee, amount, reason) in [
            ("t2", payee("999"), 10_000, "no_such_account"),
            ("t3", payee("12"), 10_000, "payee_malformed"),
            ("t4", payee("123"), 0, "amount_not_taken"),
        ] {
            assert_eq!(bank.transfer(id, payee, amount, "k", 0).unwrap().reason, Some(reason));
        }
    }

    #[test]
    fn what_was_taken_back_before_it_came_is_never_done_and_what_is_done_is_final() {
        let mut bank = Bank::new("B");
        assert_eq!(bank.cancel("t1", 0).unwrap().standing, TransferStanding::Cancelled);
        assert_eq!(bank.transfer("t1", payee("123"), 1, "k", 0).unwrap().standing, TransferStanding::Cancelled);
        bank.transfer("t2", payee("123"), 1, "k", 0).unwrap();
        assert_eq!(bank.cancel("t2", 0).unwrap().standing, TransferStanding::Done);
    }

    #[test]
    fn the_file_lists_what_was_taken_and_what_went_once() {
        let mut bank = Bank::new("B");
        let taken = bank.deposit("1234567", 10_000, 1_537_844_400_000).unwrap();
        let back = bank.deposit("1234567", 5_000, 1_537_844_400_000).unwrap();
        bank.answered(&taken.reference, true);
        bank.answered(&back.reference, false);
        bank.transfer("t1", payee("123"), 3_000, "k", 1_537_844_400_000).unwrap();
        bank.transfer("t2", payee("999"), 3_000, "k", 1_537_844_400_000).unwrap();
        let file = String::from_utf8(bank.close_day(1_537_844_400_000).unwrap()).unwrap();
        let lines: Vec<&str> = file.lines().collect();
        assert!(lines[1].contains(",CHARGE,B-0000001,,10000,0,"), "{file}");
        assert!(lines[2].contains(",WITHDRAW,B-0000003,,3000,0,"), "{file}");
        assert_eq!((lines[3], lines.len()), ("T,2,13000", 4));
        assert!(String::from_utf8(bank.close_day(0).unwrap()).unwrap().ends_with("T,0,0\n"));
    }
}
