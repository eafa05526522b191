//! Campaigns and lots of bonus as rows. The ledger writes them; here operators, users and the sweeper find them.

use koban_domain::bonus::{Campaign, Lot};
use koban_domain::ids::{CampaignId, LotId, UserId};
use koban_domain::money::Currency;
use koban_domain::time::Timestamp;

use crate::database::{Store, all, blob, one};
use crate::error::StoreError;
use crate::ledger::bonus::{campaign, lot};
use crate::query::LAST_ID;

/// The campaign with this id.
pub async fn campaign_by_id(store: &Store, id: CampaignId) -> Result<Option<Campaign>, StoreError> {
    const SQL: &str = "select * from campaigns where id = $1";
    one!(store, SQL, [blob(id.bytes())], campaign)
}

/// Campaigns, newest first, before this one.
pub async fn campaigns(store: &Store, before: Option<CampaignId>, limit: u16) -> Result<Vec<Campaign>, StoreError> {
    const SQL: &str = "select * from campaigns where id < $1 order by id desc limit $2";
    all!(store, SQL, [blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)], campaign)
}

/// The lot with this id.
pub async fn lot_by_id(store: &Store, id: LotId) -> Result<Option<Lot>, StoreError> {
    const SQL: &str = "select * from bonus_lots where id = $1";
    one!(store, SQL, [blob(id.bytes())], lot)
}

/// What a user was granted, spent and ended lots too, newest first, before this one.
pub async fn lots_of(store: &Store, user: UserId, before: Option<LotId>, limit: u16) -> Result<Vec<Lot>, StoreError> {
    const SQL: &str = "select * from bonus_lots where user_id = $1 and id < $2 order by id desc limit $3";
    all!(store, SQL, [blob(user.bytes()), blob(before.map_or(LAST_ID, |id| id.bytes())), i64::from(limit)], lot)
}

/// The lots of one wallet with something left. How many there may be is bounded where they are granted.
pub async fn lots_left(store: &Store, user: UserId, currency: Currency) -> Result<Vec<Lot>, StoreError> {
    const SQL: &str = "select * from bonus_lots where user_id = $1 and currency = $2 and remaining > 0";
    all!(store, SQL, [blob(user.bytes()), currency.code()], lot)
}

/// Lots whose time has run out and of which something is left that is not held, the oldest end first.
pub async fn due(store: &Store, now: Timestamp, limit: u16) -> Result<Vec<Lot>, StoreError> {
    const SQL: &str =
        "select * from bonus_lots where remaining > held and expires_at <= $1 order by expires_at, id limit $2";
    all!(store, SQL, [now.0, i64::from(limit)], lot)
}
