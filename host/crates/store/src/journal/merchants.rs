//! What is agreed with merchants, their closings and open disputes, read page by page within the snapshot.

use koban_domain::arrangements::Arrangement;
use koban_domain::closings::Closing;
use koban_domain::disputes::Dispute;
use koban_domain::ids::{DisputeId, MerchantId};
use koban_domain::money::Currency;

use super::JournalReader;
use crate::database::{blob, on_tx};
use crate::error::StoreError;
use crate::ledger::merchants::{arrangement, closing, dispute};

impl JournalReader {
    /// What is agreed with merchants, in order of merchant and currency, behind this one.
    pub async fn arrangements_after(
        &mut self,
        after: (MerchantId, &str),
        limit: u16,
    ) -> Result<Vec<((MerchantId, Currency), Arrangement)>, StoreError> {
        let sql =
            "select * from arrangements where (merchant, currency) > ($1, $2) order by merchant, currency limit $3";
        on_tx!(&mut self.tx, connection => {
            let query = sqlx::query(sql).bind(blob(after.0.bytes())).bind(after.1).bind(i64::from(limit));
            query.fetch_all(connection).await?.iter().map(arrangement).collect()
        })
    }

    /// Closings, in order of merchant, currency and period, behind this one.
    pub async fn closings_after(
        &mut self,
        after: (MerchantId, &str, i32),
        limit: u16,
    ) -> Result<Vec<Closing>, StoreError> {
        let sql = "select * from closings where (merchant, currency, until) > ($1, $2, $3)
            order by merchant, currency, until limit $4";
        on_tx!(&mut self.tx, connection => {
            let query = sqlx::query(sql).bind(blob(after.0.bytes())).bind(after.1).bind(after.2).bind(i64::from(limit));
            query.fetch_all(connection).await?.iter().map(closing).collect()
        })
    }

    /// Open disputes, in order of id, behind this one.
    pub async fn open_disputes_after(&mut self, id: DisputeId, limit: u16) -> Result<Vec<Dispute>, StoreError> {
        let sql = "select * from disputes where state = 1 and id > $1 order by id limit $2";
        on_tx!(&mut self.tx, connection => {
            let rows = sqlx::query(sql).bind(blob(id.bytes())).bind(i64::from(limit)).fetch_all(connection).await?;
            rows.iter().map(dispute).collect()
        })
    }
}
