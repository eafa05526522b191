//! What has happened on the platform as guests are told it, what they remember of it, and what they would like done.

use serde::{Deserialize, Serialize};

use super::{Named, Step, Value};
use crate::money::Money;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// Its id, as in webhooks.
    pub id: String,
    /// A word of the catalogue of events.
    pub kind: String,
    /// When it was booked, Unix milliseconds.
    pub at: u64,
    /// How much it was about.
    pub amount: Option<Money>,
    /// The user concerned, opaque to the guest.
    pub user: Option<String>,
    /// The merchant concerned, by its public id.
    pub merchant: Option<String>,
    /// The facts that the manifest asks for.
    pub facts: Vec<Named>,
}

/// Whom a remembered value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// The event's user.
    User,
    /// The scope that the plugin runs under.
    Scope,
}

/// A value that a plugin put earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Whom it is about.
    pub about: About,
    /// The plugin's own name for it.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// A value to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Whom it is about.
    pub about: About,
    /// The plugin's own name for it.
    pub name: String,
    /// The new value; none forgets it.
    pub value: Option<Value>,
    /// When it is forgotten by itself, Unix milliseconds.
    pub expires: Option<u64>,
}

/// A bonus out of a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetBonus {
    /// One of the manifest's budgets.
    pub budget: String,
    /// How much.
    pub amount: Money,
    /// A code of the manifest: why.
    pub reason: String,
}

/// What shall follow from an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Remember a value.
    Put(Put),
    /// Grant a bonus.
    Bonus(BudgetBonus),
    /// Tell the user the text of this key.
    Tell(String),
    /// Open a flow with this as its first step.
    Begin(Box<Step>),
    /// Take back what this budget granted for the event's payment, in proportion to what was refunded of it.
    Reclaim(String),
}

/// What a plugin remembers about one user, or about its scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSubject {
    /// The user, opaque to the guest; empty for the scope.
    pub name: String,
    /// What was put about them.
    pub values: Vec<Named>,
}

/// A page of the console that a plugin fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRequest {
    /// One of the manifest's tables.
    pub table: String,
    /// What is remembered.
    pub subjects: Vec<TableSubject>,
    /// Whether a next page follows.
    pub more: bool,
}
