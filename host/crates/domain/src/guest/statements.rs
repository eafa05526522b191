//! Statements of wallets as guests see them, and the files that they make of them.

use serde::{Deserialize, Serialize};

use crate::money::{Currency, Money};

/// One line of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRow {
    /// Unique for ever in the account.
    pub id: String,
    /// When it was booked, Unix milliseconds.
    pub at: u64,
    /// What it was: `charge`, `payment` and so on.
    pub kind: String,
    /// Above zero what came in, below zero what went out.
    pub amount: Money,
    /// The balance after it, minor units.
    pub balance: i64,
    /// Who was paid or who paid.
    pub counterpart: String,
    /// The user's own words.
    pub memo: String,
    /// The row that this one takes back or gives back.
    pub refers_to: Option<String>,
}

/// The rows of one account in one currency over a period, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementAccount {
    /// The wallet, opaque to the guest.
    pub name: String,
    /// The currency of all its rows.
    pub currency: Currency,
    /// The beginning of the period, inclusive, Unix milliseconds.
    pub since: u64,
    /// Its end, exclusive.
    pub until: u64,
    /// The balance before the first row, minor units.
    pub opening: i64,
    /// The balance after the last row, minor units.
    pub closing: i64,
    /// The rows.
    pub rows: Vec<StatementRow>,
}

/// A file for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What it is called, without any folder.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
}
