//! Trials: work that is decided by the same code over the same books as any other, and then taken back.

use super::{Commit, Work};
use crate::access;
use crate::books::Mark;
use crate::journal::Draft;
use crate::limits::CounterKey;
use crate::outcomes::Refusal;

/// How work with several parts is tried. For work without parts both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// All parts or none: the first that is refused ends it.
    Whole,
    /// Each part by itself, against the books as the parts before it left them.
    Each,
}

/// What would come of a unit of work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// The entries that would be written, in order. They have no place in the chain.
    pub entries: Vec<Draft>,
    /// The limits that would be used, with what would then be used of each.
    pub limits: Vec<LimitUse>,
    /// The refusal that would come; then there are no entries.
    pub refusal: Option<Refusal>,
}

/// What a limit would have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// Which counter.
    pub counter: CounterKey,
    /// What it would have counted, this work included; minor units.
    pub used: i64,
    /// The most that it may count.
    pub most: Option<i64>,
}

impl Commit {
    /// Tries work and leaves everything as it was. A trial is never found under a key, and nothing of it is kept. One answer for
    /// each part, or one for work without parts; a whole that is refused ends with the part that was.
    pub(super) fn foresee(&mut self, work: &Work, trial: Trial) -> Vec<Foreseen> {
        self.books.savepoint();
        let barred = access::check(&self.books, work).err();
        let units = if work.parts.is_empty() { std::slice::from_ref(work) } else { &work.parts };
        let mut all: Vec<Foreseen> = Vec::with_capacity(units.len());
        for unit in units {
            let mark = self.books.mark();
            let applied = match barred {
                Some(refusal) => Err(refusal),
                None => self.apply(unit).map_err(|(_, refusal)| refusal),
            };
            match applied {
                Ok((_, applied)) => {
                    all.push(Foreseen { entries: applied.drafts, limits: self.limits_since(&mark), refusal: None });
                }
                Err(refusal) => {
                    self.books.rollback_to(&mark);
                    if trial == Trial::Whole {
                        all.iter_mut().for_each(|unit| *unit = Foreseen::default());
                    }
                    all.push(Foreseen { refusal: Some(refusal), ..Foreseen::default() });
                    if trial == Trial::Whole {
                        break;
                    }
                }
            }
        }
        self.books.rollback();
        all
    }

    fn limits_since(&self, mark: &Mark) -> Vec<LimitUse> {
        let limits = &self.books.policy.limits;
        let most = |counter: &CounterKey| {
            let user = self.books.users.get(&counter.user)?;
            limits.most(user.kind, counter.action, counter.window, counter.currency, self.now)
        };
        let counted = self.books.counters.since(mark.counters).into_iter();
        counted.map(|(counter, used)| LimitUse { counter, used, most: most(&counter) }).collect()
    }
}
