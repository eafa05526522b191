//! Work of several parts: taken in order inside one savepoint, and all of them are kept or none.

use super::{Answer, Commit, Work};
use crate::access;
use crate::outcomes::Refusal;

impl Commit {
    /// Applies every part and keeps them all. Errors: the place of the first part that is refused, and why; the caller rolls back.
    pub(super) fn take_parts(&mut self, work: &Work) -> Result<Vec<Answer>, (usize, Refusal)> {
        access::check(&self.books, work).map_err(|refusal| (0, refusal))?;
        let mut applied = Vec::with_capacity(work.parts.len());
        for (place, part) in work.parts.iter().enumerate() {
            applied.push(self.apply(part).map_err(|(_, refusal)| (place, refusal))?);
        }

        // After this point all of it must succeed.
        self.audit.extend(work.audit.iter().map(|audit| (audit.clone(), self.now)));
        let mut answers = Vec::with_capacity(applied.len());
        for (part, (mut answered, applied)) in work.parts.iter().zip(applied) {
            self.keep(part, &answered, applied);
            answers.push(answered.pop().unwrap_or(Answer::Noted));
        }
        Ok(answers)
    }
}

/// The outcome that is kept of a bulk whose part with this place was refused.
pub(super) fn halted(place: usize, refusal: Refusal) -> Answer {
    Answer::Halted(u32::try_from(place).unwrap_or(u32::MAX), refusal.code().to_owned())
}
