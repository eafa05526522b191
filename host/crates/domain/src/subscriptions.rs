//! Subscriptions: how far a plugin has heard of what was committed, what it keeps, and what it could not take.
//!
//! A plugin hears the events that its manifest names, each in its order, and answers with actions. One event is one commit: the place in the
//! outbox, what is put and removed, what is granted, the record. So an event is delivered at least once and counts exactly once.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::accounts::PluginKey;
use crate::guest::Value;
use crate::ids::{EventId, RecordId, UserId};
use crate::ledger::News;
use crate::time::Timestamp;

/// Most names about one user.
pub const USER_NAMES_MAX: usize = 20;
/// Most names about the scope.
pub const SCOPE_NAMES_MAX: usize = 200;
/// Most bytes about one user, names included. All of it is given to every call about the user.
pub const USER_BYTES_MAX: i64 = 16 << 10;
/// Most bytes about the scope.
pub const SCOPE_BYTES_MAX: i64 = 64 << 10;
/// Most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 2_000;
/// Most values of a plugin.
pub const KEPT_MAX: i64 = 1_000_000;
/// Most bytes of a plugin's values, names included.
pub const KEPT_BYTES_MAX: i64 = 256 << 20;
/// Faults at the same event after which it is parked.
pub const FAULTS_MAX: i64 = 4;
/// Parked events with which a plugin rests until an operator has looked.
pub const PARKED_MAX: i64 = 100;

/// Whom a value is about: a user, or nobody in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whose(pub UserId);

impl Whose {
    /// The scope itself.
    pub const SCOPE: Whose = Whose(UserId(Uuid::nil()));
}

/// A value that a plugin has remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// About whom.
    pub whose: Whose,
    /// The plugin's name for it.
    pub name: String,
    /// The value.
    pub value: Value,
    /// From when on it is forgotten; none if it lasts until it is overwritten.
    pub expires_at: Option<Timestamp>,
}

impl Kept {
    /// Whether it is forgotten, whatever a sweeper has done about it.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| now >= at)
    }

    fn bytes(&self) -> i64 {
        i64::try_from(self.name.len() + value_bytes(&self.value)).unwrap_or(i64::MAX)
    }
}

/// Bytes of a value as they are counted: those of its text, 8 for a number.
pub fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Secret(text) => text.len(),
        Value::Whole(_) | Value::Amount(_) | Value::Rate(_) | Value::Flag(_) | Value::Moment(_) => 8,
    }
}

/// A plugin's wish to remember something, or to forget it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// About whom.
    pub whose: Whose,
    /// The plugin's name for it.
    pub name: String,
    /// The value, and from when on it is forgotten; none to forget it now.
    pub value: Option<(Value, Option<Timestamp>)>,
}

/// How far a plugin has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The plugin's id.
    pub plugin: String,
    /// The work that made it so, nought before the first; what was made for another one is not taken. Not a number that grows: of what was
    /// made in advance, the rest must not fit when something else came between.
    pub version: Uuid,
    /// All of the pages of the outbox up to this one were heard.
    pub sequence: i64,
    /// So many news of the page after it were heard as well.
    pub place: i64,
    /// Faults at the next event.
    pub attempts: i64,
    /// Events that were taken.
    pub heard: i64,
    /// Events that wait for an operator.
    pub parked: i64,
    /// Values that it has remembered.
    pub kept: i64,
    /// Their bytes, names included.
    pub kept_bytes: i64,
    /// Since when it listens: it hears nothing of before.
    pub since: Timestamp,
    /// When it last got on.
    pub changed_at: Timestamp,
}

/// An event that a plugin could not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The event.
    pub news: News,
    /// Why: the fault, the refusal, or what the plugin said.
    pub reason: String,
    /// The record of the last call.
    pub decision: Option<RecordId>,
    /// Since when.
    pub at: Timestamp,
}

/// What a commit does to a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The version that it was made for.
    pub expected: Uuid,
    /// The subscription as it shall be; the commit gives it its version.
    pub subscription: Subscription,
    /// Values that are remembered.
    pub put: Vec<Kept>,
    /// Values that are forgotten.
    pub forgotten: Vec<(Whose, String)>,
    /// An event that is put aside, or said anew why.
    pub parked: Option<Parked>,
    /// An event that is no longer put aside.
    pub unparked: Option<EventId>,
}

impl Heard {
    /// The plugin's key.
    pub fn key(&self) -> PluginKey {
        PluginKey::of(&self.subscription.plugin)
    }
}

/// What a plugin asked for that is too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TooMuch(pub String);

impl Subscription {
    /// A plugin that has heard nothing yet, from behind this page of the outbox on.
    pub fn begin(plugin: &str, sequence: i64, since: Timestamp, now: Timestamp) -> Subscription {
        Subscription {
            plugin: plugin.to_owned(),
            version: Uuid::nil(),
            sequence,
            place: 0,
            attempts: 0,
            heard: 0,
            parked: 0,
            kept: 0,
            kept_bytes: 0,
            since,
            changed_at: now,
        }
    }

    /// Whether it waits for an operator: nothing more is delivered.
    pub fn is_resting(&self) -> bool {
        self.parked >= PARKED_MAX
    }

    fn next(&self, now: Timestamp) -> Subscription {
        Subscription { changed_at: now, ..self.clone() }
    }

    fn commit(&self, subscription: Subscription) -> Heard {
        Heard {
            expected: self.version,
            subscription,
            put: Vec::new(),
            forgotten: Vec::new(),
            parked: None,
            unparked: None,
        }
    }

    /// Everything up to this place was looked at, and nothing of it was for the plugin.
    pub fn passed(&self, place: (i64, i64), now: Timestamp) -> Heard {
        self.commit(self.next(now).at(place))
    }

    /// The event before this place was taken (or one that was put aside, with no place): what is remembered of `known` changes as the plugin asked.
    /// Errors: more than may be remembered; nothing of the answer is taken.
    pub fn took(
        &self,
        place: Option<(i64, i64)>,
        (known, puts): (&[Kept], &[Put]),
        now: Timestamp,
    ) -> Result<Heard, TooMuch> {
        let mut next = self.next(now);
        if let Some(place) = place {
            next = next.at(place);
        }
        next.heard += 1;
        let mut heard = self.remember(Subscription { attempts: 0, ..next }, known, puts, now);
        let (kept, bytes) = (heard.subscription.kept, heard.subscription.kept_bytes);
        if kept > KEPT_MAX || bytes > KEPT_BYTES_MAX {
            return Err(TooMuch(format!(
                "at most {KEPT_MAX} values and {KEPT_BYTES_MAX} bytes of a plugin are remembered"
            )));
        }
        let mut sums: BTreeMap<Whose, (usize, i64)> = BTreeMap::new();
        for kept in &heard.put {
            let sum = sums.entry(kept.whose).or_default();
            *sum = (sum.0 + 1, sum.1 + kept.bytes());
        }
        for (whose, (names, bytes)) in sums {
            let (names_max, bytes_max) = match whose {
                Whose::SCOPE => (SCOPE_NAMES_MAX, SCOPE_BYTES_MAX),
                _ => (USER_NAMES_MAX, USER_BYTES_MAX),
            };
            if names > names_max || bytes > bytes_max {
                let what = format!("{names} names and {bytes} bytes about the same");
                return Err(TooMuch(format!("{what}, at most {names_max} and {bytes_max} are remembered")));
            }
        }
        heard.put.retain(|put| !known.contains(put));
        Ok(heard)
    }

    /// Forgets these values.
    pub fn forgets(&self, gone: &[Kept], now: Timestamp) -> Heard {
        let puts: Vec<Put> =
            gone.iter().map(|kept| Put { whose: kept.whose, name: kept.name.clone(), value: None }).collect();
        self.remember(self.next(now), gone, &puts, now)
    }

    fn remember(&self, mut next: Subscription, known: &[Kept], puts: &[Put], now: Timestamp) -> Heard {
        let mut values: BTreeMap<(Whose, &str), Kept> = BTreeMap::new();
        for kept in known.iter().filter(|kept| !kept.is_over(now)) {
            values.insert((kept.whose, &kept.name), kept.clone());
        }
        for put in puts {
            match &put.value {
                Some((value, expires_at)) => {
                    let (name, value) = (put.name.clone(), value.clone());
                    let kept = Kept { whose: put.whose, name, value, expires_at: *expires_at };
                    values.insert((put.whose, &put.name), kept);
                }
                None => drop(values.remove(&(put.whose, put.name.as_str()))),
            }
        }
        let count = |values: usize| i64::try_from(values).unwrap_or(i64::MAX);
        next.kept += count(values.len()) - count(known.len());
        next.kept_bytes += values.values().map(Kept::bytes).sum::<i64>() - known.iter().map(Kept::bytes).sum::<i64>();
        let mut heard = self.commit(next);
        let gone = known.iter().filter(|kept| !values.contains_key(&(kept.whose, kept.name.as_str())));
        heard.forgotten = gone.map(|kept| (kept.whose, kept.name.clone())).collect();
        heard.put = values.into_values().collect();
        heard
    }

    /// The plugin faulted at its next event. It is given again, or after too many times put aside.
    pub fn faulted(&self, place: (i64, i64), parked: Parked, now: Timestamp) -> Heard {
        if self.attempts + 1 < FAULTS_MAX {
            return self.commit(Subscription { attempts: self.attempts + 1, ..self.next(now) });
        }
        self.parks(place, parked, now)
    }

    /// The event before this place is put aside for an operator, and the plugin goes on.
    pub fn parks(&self, place: (i64, i64), parked: Parked, now: Timestamp) -> Heard {
        let next = self.next(now).at(place);
        let mut heard = self.commit(Subscription { attempts: 0, parked: next.parked + 1, ..next });
        heard.parked = Some(parked);
        heard
    }

    /// What was put aside was tried again in vain: it stays there with another reason.
    pub fn parks_again(&self, parked: Parked, now: Timestamp) -> Heard {
        let mut heard = self.commit(self.next(now));
        heard.parked = Some(parked);
        heard
    }

    /// An operator gives up an event that was put aside.
    pub fn dismissed(&self, event: EventId, now: Timestamp) -> Heard {
        self.commit(self.next(now)).unpark(event)
    }

    fn at(self, (sequence, place): (i64, i64)) -> Subscription {
        Subscription { sequence, place, ..self }
    }
}

impl Heard {
    /// With an event that is no longer put aside.
    pub fn unpark(mut self, event: EventId) -> Heard {
        self.subscription.parked = (self.subscription.parked - 1).max(0);
        self.unparked = Some(event);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANA: Whose = Whose(UserId(Uuid::from_u128(1)));

    fn subscription() -> Subscription {
        Subscription::begin("charge-campaign", 7, Timestamp(1), Timestamp(2))
    }

    fn put(whose: Whose, name: &str, text: &str) -> Put {
        Put { whose, name: name.into(), value: Some((Value::Text(text.into()), None)) }
    }

    fn kept(whose: Whose, name: &str, expires_at: Option<Timestamp>) -> Kept {
        Kept { whose, name: name.into(), value: Value::Text("xyz".into()), expires_at }
    }

    fn took(subscription: &Subscription, known: &[Kept], puts: &[Put]) -> Result<Heard, TooMuch> {
        subscription.took(Some((8, 0)), (known, puts), Timestamp(3))
    }

    #[test]
    fn what_is_remembered_is_counted_in_values_and_bytes() {
        let puts = [put(HANA, "n", "0123456789"), put(Whose::SCOPE, "all", "01234")];
        let heard = took(&subscription(), &[], &puts).unwrap();
        assert_eq!((heard.subscription.kept, heard.subscription.kept_bytes), (2, 19));
        assert_eq!((heard.expected, heard.subscription.heard), (Uuid::nil(), 1));
        assert_eq!((heard.subscription.sequence, heard.subscription.place), (8, 0));
        let again = took(&heard.subscription, &heard.put, &[put(HANA, "n", "abc")]).unwrap();
        assert_eq!((again.subscription.kept, again.subscription.kept_bytes), (2, 12));
        assert_eq!(again.put.len(), 1, "what stays as it is is not written again");
        let forget = Put { value: None, ..put(HANA, "n", "") };
        let gone = took(&again.subscription, &[kept(HANA, "n", None)], &[forget]).unwrap();
        assert_eq!((gone.subscription.kept, gone.subscription.kept_bytes), (1, 8));
        assert_eq!(gone.forgotten, [(HANA, "n".to_owned())]);
    }

    #[test]
    fn a_value_whose_time_has_run_out_is_forgotten_with_the_next_event_or_the_sweeper() {
        let before = Subscription { kept: 2, kept_bytes: 8, ..subscription() };
        let over = [kept(HANA, "a", Some(Timestamp(3))), kept(HANA, "b", Some(Timestamp(4)))];
        let heard = took(&before, &over, &[]).unwrap();
        assert_eq!((heard.subscription.kept, heard.subscription.kept_bytes), (1, 4));
        assert_eq!((heard.forgotten.clone(), heard.put.clone()), (vec![(HANA, "a".to_owned())], vec![]));
        let swept = before.forgets(&over[..1], Timestamp(3));
        assert_eq!((swept.forgotten, swept.subscription.kept, swept.subscription.heard), (heard.forgotten, 1, 0));
        let all = before.forgets(&over, Timestamp(3));
        assert_eq!((all.forgotten.len(), all.subscription.kept, all.subscription.kept_bytes), (2, 0, 0));
    }

    #[test]
    fn more_than_the_bounds_is_not_taken() {
        let many: Vec<Kept> = (0..USER_NAMES_MAX).map(|n| kept(HANA, &format!("k{n}"), None)).collect();
        let of_them = Subscription { kept: 20, kept_bytes: 110, ..subscription() };
        assert!(took(&of_them, &many, &[put(HANA, "one-more", "")]).is_err());
        assert!(took(&of_them, &many, &[put(HANA, "k0", "other")]).is_ok());
        assert!(took(&of_them, &many, &[put(Whose::SCOPE, "one-more", "")]).is_ok());
        let full = Subscription { kept: KEPT_MAX, ..subscription() };
        assert!(took(&full, &[], &[put(HANA, "k", "")]).is_err());
        let full = Subscription { kept_bytes: KEPT_BYTES_MAX, ..subscription() };
        assert!(took(&full, &[], &[put(HANA, "k", "")]).is_err());
    }

    #[test]
    fn the_fourth_fault_parks_the_event_and_the_plugin_goes_on() {
        let news = crate::events::test(EventId(Uuid::from_u128(9)), Timestamp(3));
        let parked = Parked { news, reason: "it trapped".into(), decision: None, at: Timestamp(3) };
        let once = subscription().faulted((8, 0), parked.clone(), Timestamp(3));
        assert_eq!((once.subscription.attempts, once.subscription.sequence, &once.parked), (1, 7, &None));
        let twice = once.subscription.faulted((8, 0), parked.clone(), Timestamp(3));
        let thrice = twice.subscription.faulted((8, 0), parked.clone(), Timestamp(3));
        assert_eq!((thrice.subscription.attempts, &thrice.parked), (3, &None));
        let thrice = thrice.subscription.faulted((8, 0), parked.clone(), Timestamp(3));
        assert_eq!((thrice.subscription.attempts, thrice.subscription.sequence, thrice.subscription.parked), (0, 8, 1));
        assert_eq!(thrice.parked, Some(parked.clone()));
        let dismissed = thrice.subscription.dismissed(parked.news.id, Timestamp(4));
        assert_eq!((dismissed.subscription.parked, dismissed.unparked), (0, Some(parked.news.id)));
        assert!(Subscription { parked: PARKED_MAX, ..subscription() }.is_resting());
    }
}
