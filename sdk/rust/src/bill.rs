//! Bills: the codes that users give, what is recognised in them, and what their payment begins with.

pub use crate::bindings::pay_bill::exports::koban::plugin::pay_bill::{Bill, Code, Request, Source};

use crate::{Money, Named, Value, Values};

impl Code {
    /// A code as it was scanned or typed.
    pub fn new(source: Source, content: &str) -> Code {
        Code { source, content: content.to_owned() }
    }
}

impl Bill {
    /// A bill without a fee that never runs out.
    pub fn new(biller: &str, name: &str, reference: &str, amount: Money) -> Bill {
        Bill {
            biller: biller.to_owned(),
            name: name.to_owned(),
            reference: reference.to_owned(),
            fee: Money::new(0, &amount.currency),
            amount,
            due: None,
            fields: Vec::new(),
        }
    }

    /// What the user pays on top, in minor units of the bill's currency.
    pub fn fee(mut self, minor: i64) -> Bill {
        self.fee = Money::new(minor, &self.amount.currency);
        self
    }

    /// The last moment at which it may be paid, in Unix milliseconds.
    pub fn due(mut self, at: u64) -> Bill {
        self.due = Some(at);
        self
    }

    /// A further line for the user, under the key of one of the manifest's texts.
    pub fn line(mut self, text: &str, value: impl Into<Value>) -> Bill {
        self.fields.push(Named::new(text, value));
        self
    }
}

impl Request {
    /// The facts that the manifest asks for.
    pub fn facts(&self) -> Values<'_> {
        Values(&self.facts)
    }
}
