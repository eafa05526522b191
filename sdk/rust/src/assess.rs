//! What a fraud rule sees and says.

pub use crate::bindings::assess::exports::koban::plugin::assess::{Answer, Payment, Reason, Signal, Verdict};

impl Answer {
    /// Nothing suspicious.
    pub fn allow() -> Answer {
        Answer::new(Verdict::Allow, 0)
    }

    /// No, with the highest score.
    pub fn decline() -> Answer {
        Answer::new(Verdict::Decline, 1000)
    }

    /// A verdict with a score of 0 to 1000 (a greater one counts as 1000).
    pub fn new(verdict: Verdict, score: u32) -> Answer {
        Answer { verdict, score: score.min(1000), reasons: Vec::new() }
    }

    /// With a reason: one of the manifest's codes, and how much it weighed.
    pub fn because(mut self, code: &str, weight: u32) -> Answer {
        self.reasons.push(Reason { code: code.to_owned(), weight });
        self
    }
}
