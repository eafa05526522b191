//! The bell: tells this host's jobs and waiting connections at once what the store would tell them a moment later.
//!
//! Nothing depends on it. Whoever waits also looks into the store from time to time, because another host may have done what
//! is waited for, and this one may have been started in the middle.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use koban_domain::flows::CallKey;
use koban_domain::ids::FlowId;
use tokio::sync::{Notify, watch};

/// Most flows that are remembered as rung; more are found in the store.
const RUNG_MAX: usize = 10_000;
/// Most keys that somebody waits for; whoever comes later looks into the store instead.
const WAITED_FOR_MAX: usize = 20_000;
/// How long anybody waits before looking into the store.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Wakes the jobs of this host and the connections that wait for them. Cloning it is cheap.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rung: Mutex<HashSet<FlowId>>,
    driver: Notify,
    effects: Notify,
    files: Notify,
    webhooks: Notify,
    calls: Waiters<CallKey>,
    moves: Waiters<FlowId>,
}

impl Bell {
    /// A flow has an event.
    pub fn flow(&self, flow: FlowId) {
        let mut rung = lock(&self.0.rung);
        if rung.len() < RUNG_MAX {
            rung.insert(flow);
        }
        drop(rung);
        self.0.driver.notify_one();
    }

    /// Effects were queued.
    pub fn effects(&self) {
        self.0.effects.notify_one();
    }

    /// A settlement file has come.
    pub fn files(&self) {
        self.0.files.notify_one();
    }

    /// Deliveries of webhooks are due.
    pub fn webhooks(&self) {
        self.0.webhooks.notify_one();
    }

    /// A stored call has its reply.
    pub fn replied(&self, call: CallKey) {
        self.0.calls.ring(&call);
    }

    /// A flow stands otherwise than before.
    pub fn moved(&self, flow: FlowId) {
        self.0.moves.ring(&flow);
    }

    /// Waits for the reply of a call. Begin to wait before looking whether it is there.
    pub fn reply_of(&self, call: CallKey) -> Waiter {
        self.0.calls.wait_for(call)
    }

    /// Waits for a flow to move. Begin to wait before looking where it stands.
    pub fn move_of(&self, flow: FlowId) -> Waiter {
        self.0.moves.wait_for(flow)
    }

    /// The flows that were rung since the last time.
    pub(crate) fn take_flows(&self) -> HashSet<FlowId> {
        std::mem::take(&mut *lock(&self.0.rung))
    }

    pub(crate) async fn driver_rung(&self) {
        self.0.driver.notified().await;
    }

    pub(crate) async fn webhooks_rung(&self) {
        self.0.webhooks.notified().await;
    }

    pub(crate) async fn effects_rung(&self) {
        self.0.effects.notified().await;
    }

    pub(crate) async fn files_rung(&self) {
        self.0.files.notified().await;
    }
}

/// Those who wait, by what they wait for. A key goes when the last of them goes.
#[derive(Debug)]
struct Waiters<K>(Arc<Mutex<HashMap<K, watch::Sender<()>>>>);

impl<K> Default for Waiters<K> {
    fn default() -> Self {
        Waiters(Arc::default())
    }
}

impl<K: Hash + Eq + Clone + Send + 'static> Waiters<K> {
    fn ring(&self, key: &K) {
        if let Some(sender) = lock(&self.0).get(key) {
            sender.send_replace(());
        }
    }

    fn wait_for(&self, key: K) -> Waiter {
        let mut waiters = lock(&self.0);
        if waiters.len() >= WAITED_FOR_MAX && !waiters.contains_key(&key) {
            return Waiter { rung: None, leave: None };
        }
        let rung = waiters.entry(key.clone()).or_insert_with(|| watch::Sender::new(())).subscribe();
        drop(waiters);
        let all = Arc::clone(&self.0);
        let leave = move || {
            let mut waiters = lock(&all);
            if waiters.get(&key).is_some_and(|sender| sender.receiver_count() == 0) {
                waiters.remove(&key);
            }
        };
        Waiter { rung: Some(rung), leave: Some(Box::new(leave)) }
    }
}

/// One who waits for something that is also found in the store.
pub struct Waiter {
    rung: Option<watch::Receiver<()>>,
    leave: Option<Box<dyn FnOnce() + Send>>,
}

impl Waiter {
    /// Returns when it is time to look again: rung since the last look, or a moment later.
    pub async fn look_again(&mut self) {
        match &mut self.rung {
            // Rung or not, the answer is in the store.
            Some(rung) => drop(tokio::time::timeout(LOOK_EVERY, rung.changed()).await),
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.rung = None;
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps and sets are whole even if somebody panicked beside them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_between_two_looks_is_not_lost() {
        let bell = Bell::default();
        let call = CallKey([7; 16]);
        let mut waiter = bell.reply_of(call);
        bell.replied(call);
        let soon = Duration::from_millis(100);
        let rung = tokio::time::timeout(soon, waiter.look_again()).await;
        assert!(rung.is_ok(), "the ring came after the waiter began to wait");
        let silent = tokio::time::timeout(soon, waiter.look_again()).await;
        assert!(silent.is_err(), "one ring wakes once");
        let by_itself = tokio::time::timeout(LOOK_EVERY * 8, waiter.look_again()).await;
        assert!(by_itself.is_ok(), "without a ring it looks by itself");
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let bell = Bell::default();
        let (first, second) = (bell.move_of(FlowId::default()), bell.move_of(FlowId::default()));
        drop(first);
        assert_eq!(lock(&bell.0.moves.0).len(), 1);
        drop(second);
        assert_eq!(lock(&bell.0.moves.0).len(), 0);
    }

    #[test]
    fn a_flow_that_rings_often_is_driven_once() {
        let bell = Bell::default();
        bell.flow(FlowId::default());
        bell.flow(FlowId::default());
        assert_eq!(bell.take_flows().len(), 1);
        assert!(bell.take_flows().is_empty());
    }
}
