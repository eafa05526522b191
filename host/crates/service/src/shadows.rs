//! What a component in shadow would have decided otherwise than the one in force: their records stand beside each other.

use std::collections::HashMap;

use koban_domain::ids::RecordId;
use koban_domain::records::{Digest, Kept, Part};
use koban_domain::time::Timestamp;
use koban_store::{Store, records};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::Error;
use crate::tally::{Tally, Totals};
use crate::walk::{self, Progress, Visitor};

/// What a component in shadow made of the decisions of a window of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The plugin's id.
    pub plugin: String,
    /// Components that were asked in shadow.
    pub components: Vec<Digest>,
    /// From this time on.
    pub from: Timestamp,
    /// Up to before this time.
    pub to: Timestamp,
    /// What was compared, and what came of it.
    #[serde(flatten)]
    pub totals: Totals,
    /// Pairs of which one content was erased.
    pub erased: u64,
}

/// Compares the answers in shadow of this window with those that counted; of one component, or of all.
pub async fn report(
    app: &App,
    plugin: &str,
    component: Option<Digest>,
    (from, to): (Timestamp, Timestamp),
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Report, Error> {
    if from >= to {
        return Err(Error::invalid("from", "a window ends after it begins"));
    }
    let window = walk::pages_of(&app.store, from, to).await?;
    let pairs = || Pairs {
        store: app.store.clone(),
        plugin: plugin.to_owned(),
        component,
        window: (from, to),
        tally: Tally::default(),
        components: Vec::new(),
        erased: 0,
    };
    let visitors = (0..walk::cores()).map(|_| pairs()).collect();
    let (mut tally, mut components, mut erased) = (Tally::default(), Vec::new(), 0);
    for pairs in walk::walk(&app.store, window, visitors, progress).await? {
        tally.merge(pairs.tally);
        components.extend(pairs.components);
        erased += pairs.erased;
    }
    components.sort();
    components.dedup();
    Ok(Report { plugin: plugin.to_owned(), components, from, to, totals: tally.totals(), erased })
}

struct Pairs {
    store: Store,
    plugin: String,
    component: Option<Digest>,
    window: (Timestamp, Timestamp),
    tally: Tally,
    components: Vec<Digest>,
    erased: u64,
}

impl Visitor for Pairs {
    async fn visit(&mut self, page: Vec<Kept>) -> Result<(), Error> {
        let live: HashMap<RecordId, &Kept> = page.iter().map(|kept| (kept.head.id, kept)).collect();
        for shadow in &page {
            let head = &shadow.head;
            let Part::Shadow(beside) = head.part else { continue };
            let is_meant = head.plugin == self.plugin && self.component.is_none_or(|wanted| wanted == head.component);
            if !is_meant || !(self.window.0..self.window.1).contains(&head.at) {
                continue;
            }
            if !self.components.contains(&head.component) {
                self.components.push(head.component);
            }
            // They are written in one commit, unless the one in shadow came too late for it.
            match live.get(&beside) {
                Some(live) => self.pair(live, shadow),
                None => match records::find(&self.store, beside).await? {
                    Some(live) => self.pair(&live.kept, shadow),
                    None => self.erased += 1,
                },
            }
        }
        Ok(())
    }
}

impl Pairs {
    fn pair(&mut self, live: &Kept, shadow: &Kept) {
        match (live.record(), shadow.record()) {
            (Ok(live), Ok(shadow)) => drop(self.tally.compare(&live, &shadow.ending)),
            _ => self.erased += 1,
        }
    }
}
