//! Every record of a database run again: whoever holds the records can say that each call would end the same way today.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use koban_domain::ids::RecordId;
use koban_domain::records::{Digest, Ending, FaultClass, Kept, Record};
use koban_runtime::{Difference, Door, Plugin};
use koban_store::{Store, plugins, records};

use crate::error::Error;
use crate::walk::{self, Progress, Visitor};

/// Differing records that are named.
const NAMED_MAX: usize = 20;
/// Components kept ready; beyond it all are dropped.
const READY_MAX: usize = 200;

/// What came of running every record again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records there are.
    pub records: u64,
    /// Those that ended the same way.
    pub same: u64,
    /// Those whose content was erased.
    pub erased: u64,
    /// Those that ended as `busy`: nothing ran.
    pub busy: u64,
    /// Those that ended as `deadline`: the machine was ill.
    pub deadlines: u64,
    /// Those that did not end the same way.
    pub differing: u64,
    /// The first of them, with what is not as recorded.
    pub named: Vec<(RecordId, Vec<Difference>)>,
}

impl Summary {
    /// Whether every record that can be run again ended as it says.
    pub fn is_confirmed(&self) -> bool {
        self.differing == 0
    }
}

/// Components made ready for replays, shared by all of them.
#[derive(Clone)]
pub struct Replayer {
    door: Door,
    ready: Arc<Mutex<HashMap<(Digest, Digest), Plugin>>>,
}

impl Replayer {
    /// A replayer behind this door.
    pub fn new(door: Door) -> Replayer {
        Replayer { door, ready: Arc::default() }
    }

    /// The component under the settings that a record names. Errors: one of them is not there any more.
    async fn plugin(&self, store: &Store, record: &Record) -> Result<Plugin, Error> {
        let key = (record.component, record.settings);
        if let Some(plugin) = self.look(key) {
            return Ok(plugin);
        }
        let component = plugins::component(store, record.component).await?.ok_or(Error::NotFound("component"))?;
        let settings = plugins::settings(store, record.settings).await?.ok_or(Error::NotFound("plugin settings"))?;
        let door = self.door.clone();
        let load = move || door.load(&component.bytes, &component.manifest, settings);
        let plugin = tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| Error::Internal(error.to_string()))?
            .map_err(|error| Error::Conflict(format!("the component of {} cannot be loaded: {error}", record.id)))?;
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= READY_MAX {
            ready.clear();
        }
        ready.insert(key, plugin.clone());
        Ok(plugin)
    }

    fn look(&self, key: (Digest, Digest)) -> Option<Plugin> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }
}

/// Runs every record again, on all cores.
pub async fn replay_all(
    store: &Store,
    replayer: &Replayer,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Summary, Error> {
    let last = records::last_page(store).await?;
    let visitor = || Again { store: store.clone(), replayer: replayer.clone(), seen: Summary::default() };
    let visitors = (0..walk::cores()).map(|_| visitor()).collect();
    let mut sum = Summary::default();
    for Again { seen, .. } in walk::walk(store, (1, last), visitors, progress).await? {
        sum.records += seen.records;
        sum.same += seen.same;
        sum.erased += seen.erased;
        sum.busy += seen.busy;
        sum.deadlines += seen.deadlines;
        sum.differing += seen.differing;
        sum.named.extend(seen.named);
    }
    sum.named.sort_by_key(|(id, _)| *id);
    sum.named.truncate(NAMED_MAX);
    Ok(sum)
}

struct Again {
    store: Store,
    replayer: Replayer,
    seen: Summary,
}

impl Visitor for Again {
    async fn visit(&mut self, page: Vec<Kept>) -> Result<(), Error> {
        for kept in page {
            self.seen.records += 1;
            self.again(&kept).await?;
        }
        Ok(())
    }
}

impl Again {
    async fn again(&mut self, kept: &Kept) -> Result<(), Error> {
        if kept.is_erased() {
            self.seen.erased += 1;
            return Ok(());
        }
        let record = match kept.record() {
            Ok(record) => record,
            Err(error) => {
                let (recorded, found) = ("a record".to_owned(), error.to_string());
                self.differs(kept.head.id, vec![Difference { what: "content", recorded, found }]);
                return Ok(());
            }
        };
        match &record.ending {
            Ending::Fault(fault) if fault.class == FaultClass::Busy => {
                self.seen.busy += 1;
                return Ok(());
            }
            Ending::Fault(fault) if fault.class == FaultClass::Deadline => {
                self.seen.deadlines += 1;
                return Ok(());
            }
            Ending::Fault(_) | Ending::Output(_) => {}
        }
        let plugin = self.replayer.plugin(&self.store, &record).await?;
        let replayed = self.replayer.door.replay_loaded(&plugin, &record).await;
        match replayed.same {
            true => self.seen.same += 1,
            false => self.differs(record.id, replayed.differences),
        }
        Ok(())
    }

    fn differs(&mut self, id: RecordId, differences: Vec<Difference>) {
        self.seen.differing += 1;
        if self.seen.named.len() < NAMED_MAX {
            self.seen.named.push((id, differences));
        }
    }
}
