//! What has happened, what was remembered of it, and what shall follow.

pub use crate::bindings::on_event::exports::koban::plugin::on_event::{About, Action, Bonus, Event, Put, Remembered};

use crate::flow::Step;
use crate::serde::Serialize;
use crate::settings::FromValue;
use crate::{Money, Value, Values};

impl Event {
    /// The facts that the manifest asks for.
    pub fn facts(&self) -> Values<'_> {
        Values(&self.facts)
    }
}

impl Action {
    /// Remembers a value about the event's user.
    pub fn put_for_user(name: &str, value: impl Into<Value>) -> Action {
        Action::Put(Put::new(About::User, name, value))
    }

    /// Remembers a value about the scope that the plugin runs under.
    pub fn put_for_scope(name: &str, value: impl Into<Value>) -> Action {
        Action::Put(Put::new(About::Scope, name, value))
    }

    /// Grants the event's user a bonus from one of the manifest's budgets, for a reason that is one of its codes.
    pub fn bonus(budget: &str, amount: Money, reason: &str) -> Action {
        Action::Bonus(Bonus { budget: budget.to_owned(), amount, reason: reason.to_owned() })
    }

    /// Takes back what a budget granted for the payment that the event is about, in proportion to what was refunded of it.
    pub fn reclaim(budget: &str) -> Action {
        Action::Reclaim(budget.to_owned())
    }

    /// Tells the event's user one of the manifest's texts.
    pub fn tell(text: &str) -> Action {
        Action::Tell(text.to_owned())
    }

    /// Opens a flow with this as its first step. It makes no proposals.
    pub fn begin<S: Serialize>(step: Step<S>) -> Action {
        Action::Begin(crate::export::write_step(step))
    }
}

impl Put {
    /// A value that lasts until it is overwritten.
    pub fn new(about: About, name: &str, value: impl Into<Value>) -> Put {
        Put { about, name: name.to_owned(), value: Some(value.into()), expires: None }
    }

    /// Forgotten by itself at this time, in Unix milliseconds.
    pub fn until(mut self, at: u64) -> Put {
        self.expires = Some(at);
        self
    }

    /// Forgets a value.
    pub fn forget(about: About, name: &str) -> Put {
        Put { about, name: name.to_owned(), value: None, expires: None }
    }
}

/// What is remembered under this name, if it is there and of this type.
pub fn remembered<T: FromValue>(list: &[Remembered], about: About, name: &str) -> Option<T> {
    list.iter().find(|kept| kept.about == about && kept.name == name).and_then(|kept| T::from_value(&kept.value))
}
