//! What lasts between flows, as guests see and save it; and what flows begin with besides a charge.

use serde::{Deserialize, Serialize};

use super::{Bill, BillCode, Named, StatementAccount};
use crate::money::Money;

/// What a user agreed to once, for many flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mandate {
    /// The most of one flow.
    pub each: Money,
    /// The most of all flows of a calendar month in Japan together.
    pub month: Option<Money>,
    /// Until when, Unix milliseconds.
    pub expires: u64,
}

/// What lasts between flows, as a new flow is given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The partner's own id of it.
    pub reference: String,
    /// One of the manifest's links.
    pub kind: String,
    /// What the user knows it by.
    pub label: String,
    /// The plugin's own bytes.
    pub data: Vec<u8>,
    /// When it was first saved, Unix milliseconds.
    pub since: u64,
    /// After this no flow begins with it, Unix milliseconds.
    pub expires: Option<u64>,
    /// What the user agreed to for flows that begin without them.
    pub mandate: Option<Mandate>,
}

/// A link as a flow saves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLink {
    /// The partner's own id of it.
    pub reference: String,
    /// One of the manifest's links.
    pub kind: String,
    /// What the user shall know it by.
    pub label: String,
    /// The plugin's own bytes, at most 4 KiB.
    pub data: Vec<u8>,
    /// After this no flow begins with it, Unix milliseconds.
    pub expires: Option<u64>,
}

/// What a withdrawal begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawRequest {
    /// The wallet, opaque to the guest.
    pub wallet: String,
    /// What the user wants to get.
    pub amount: Money,
    /// The most that may be held.
    pub at_most: Money,
    /// The account that the user chose.
    pub link: Option<Link>,
    /// The facts that the manifest asks for.
    pub facts: Vec<Named>,
}

/// What a linking begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRequest {
    /// The wallet, opaque to the guest.
    pub wallet: String,
    /// One of the manifest's links.
    pub kind: String,
    /// The link that is to be renewed.
    pub link: Option<Link>,
    /// What the user agrees to for flows that begin without them.
    pub mandate: Option<Mandate>,
    /// The facts that the manifest asks for.
    pub facts: Vec<Named>,
}

/// What the payment of a bill begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillRequest {
    /// The wallet, opaque to the guest.
    pub wallet: String,
    /// The code that the user gave.
    pub code: BillCode,
    /// What was recognised, and the user agreed to.
    pub bill: Bill,
    /// The most that may be held.
    pub at_most: Money,
    /// The user's account with the biller.
    pub link: Option<Link>,
    /// The facts that the manifest asks for.
    pub facts: Vec<Named>,
}

/// What a push of new rows to a live link begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// The wallet, opaque to the guest.
    pub wallet: String,
    /// The link.
    pub link: Link,
    /// The rows since the last finished sync.
    pub account: StatementAccount,
    /// The facts that the manifest asks for.
    pub facts: Vec<Named>,
}
