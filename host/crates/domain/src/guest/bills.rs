//! Bills: a code as it was scanned, and what a guest recognises in it.

use serde::{Deserialize, Serialize};

use super::Named;
use crate::money::Money;

/// How a code came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BillSource {
    /// Scanned from a one-dimensional bar code.
    BarCode,
    /// Scanned from a QR code.
    Qr,
    /// Typed by the user.
    Typed,
}

/// A code as it was scanned or typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillCode {
    /// How it came in.
    pub source: BillSource,
    /// Its content.
    pub content: String,
}

/// A bill as it was recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// The biller's id in the scheme.
    pub biller: String,
    /// The biller's name as users see it.
    pub name: String,
    /// The biller's own id of this bill.
    pub reference: String,
    /// What the biller gets.
    pub amount: Money,
    /// What the user pays on top.
    pub fee: Money,
    /// The last moment at which it may be paid, Unix milliseconds.
    pub due: Option<u64>,
    /// Further lines for the user, under keys of texts.
    pub fields: Vec<Named>,
}
