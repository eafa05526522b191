//! Bills: each is paid by one flow, and by another only if the first came to nothing.

use serde::{Deserialize, Serialize};

use crate::accounts::PluginKey;
use crate::books::Books;
use crate::ids::FlowId;
use crate::outcomes::Refusal;
use crate::time::Timestamp;

/// What makes two bills the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BillKey {
    /// Whose scheme.
    pub plugin: PluginKey,
    /// The biller's id in the scheme.
    pub biller: String,
    /// The biller's own id of the bill.
    pub reference: String,
}

/// A bill that a flow has paid or is paying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedBill {
    /// The flow; none since it came to nothing.
    pub flow: Option<FlowId>,
    /// When it was claimed last.
    pub at: Timestamp,
}

/// A flow begins to pay a bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimBill {
    /// Which bill.
    pub bill: BillKey,
    /// Which flow.
    pub flow: FlowId,
    /// The last moment at which it may be paid.
    pub due: Option<Timestamp>,
}

/// A flow ended without paying its bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeBill {
    /// Which bill.
    pub bill: BillKey,
    /// Which flow.
    pub flow: FlowId,
}

/// Gives the bill to the flow. Errors: [`Refusal::BillPaid`] while another flow is paying it or has, [`Refusal::BillOverdue`].
pub fn claim(books: &mut Books, command: &ClaimBill, now: Timestamp) -> Result<(), Refusal> {
    let known = books.bills.get(&command.bill).and_then(|known| known.flow);
    if known.is_some_and(|flow| flow != command.flow) {
        return Err(Refusal::BillPaid);
    }
    if command.due.is_some_and(|due| now > due) {
        return Err(Refusal::BillOverdue);
    }
    books.bills.put(command.bill.clone(), ClaimedBill { flow: Some(command.flow), at: now });
    Ok(())
}

/// Lets another flow pay the bill. A bill of another flow stays as it is.
pub fn free(books: &mut Books, command: &FreeBill) {
    if let Some(known) = books.bills.get(&command.bill).filter(|known| known.flow == Some(command.flow)).cloned() {
        books.bills.put(command.bill.clone(), ClaimedBill { flow: None, ..known });
    }
}
