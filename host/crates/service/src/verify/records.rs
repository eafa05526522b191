//! Records worked out again: their pages follow from each other, each content is the one that its record names, and one that is not
//! there was erased by somebody who said so.

use std::collections::BTreeSet;

use koban_domain::ids::RecordId;
use koban_domain::ledger::Audit;
use koban_domain::records::{Digest, Kept};
use koban_store::{JournalReader, RecordPage};

use super::{Step, Walk, differs};
use crate::erasures;

/// Pages read at a time: one may be large.
const PAGES: u16 = 50;

/// Contents that are not there.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Of single records.
    records: BTreeSet<RecordId>,
    /// The last page all of whose contents are gone.
    pages_to: i64,
    /// The last page whose contents went by the policy of retention, as the audit log says.
    swept_to: i64,
}

impl Gone {
    /// Takes back what this audit row says was erased.
    pub(super) fn explain(&mut self, audit: &Audit) {
        match erasures::noted(audit) {
            Some(erasures::Noted::Records(ids)) => {
                for id in ids {
                    self.records.remove(&id);
                }
            }
            Some(erasures::Noted::Pages(to)) => self.swept_to = self.swept_to.max(to),
            None => {}
        }
    }

    /// Whether everything was explained, once all of the audit log was read.
    pub(super) fn check(&self) -> Step {
        let what = "has lost its content, and no row of the audit log says that anybody erased it";
        match self.records.iter().next() {
            Some(record) => differs(format!("record {record}"), what),
            None if self.pages_to > self.swept_to => differs(format!("record page {}", self.pages_to), what),
            None => Ok(()),
        }
    }
}

impl Walk {
    /// The pages of records from the first to where the lane's head says that they end.
    pub(super) async fn records(&mut self, reader: &mut JournalReader, pages: i64, head: Digest) -> Step {
        let (mut sequence, mut hash) = (0, Digest::default());
        loop {
            let page = reader.record_pages_after(sequence, PAGES).await?;
            if page.is_empty() {
                break;
            }
            for page in page {
                let place = || format!("record page {}", page.sequence);
                if page.sequence != sequence + 1 {
                    return differs(format!("record page {}", sequence + 1), "is missing");
                }
                if page.hash_after(hash)? != page.hash {
                    return differs(
                        format!("{} (records {} to {})", place(), page.first, page.last),
                        "has been changed: its hash does not follow from its records",
                    );
                }
                for kept in page.kept()? {
                    self.record(&page, &kept);
                }
                (sequence, hash) = (page.sequence, page.hash);
            }
        }
        if (sequence, hash) != (pages, head) {
            return differs("the record pages", format!("end at {sequence}, the lane's head says {pages}"));
        }
        match self.named.iter().next() {
            Some(digest) => differs(format!("record {digest}"), "is named by an entry and is not there"),
            None => Ok(()),
        }
    }

    fn record(&mut self, page: &RecordPage, kept: &Kept) {
        self.named.remove(&kept.digest());
        self.components.insert(kept.head.component);
        self.seen.records += 1;
        if !kept.is_erased() {
            return;
        }
        self.seen.erased += 1;
        match page.contents {
            Some(_) => {
                self.gone.records.insert(kept.head.id);
            }
            None => self.gone.pages_to = self.gone.pages_to.max(page.sequence),
        }
    }
}
