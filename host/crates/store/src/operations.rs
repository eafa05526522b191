//! Decided operations, read before anything is done for a request that may be a repetition.

use std::collections::HashMap;

use koban_domain::operations::{Operation, OperationKey};

use crate::database::{Store, all};
use crate::error::StoreError;
use crate::ledger::rows;
use crate::query::key_list;

/// The operations that were decided under these keys, in one statement.
pub async fn by_keys(store: &Store, keys: &[OperationKey]) -> Result<HashMap<OperationKey, Operation>, StoreError> {
    let sql = store.either(
        "select key, fingerprint, outcome, at from operations
            where key in (select unhex(value ->> 0) from json_each($1))",
        "select key, fingerprint, outcome, at from operations
            where key = any(array(select decode(value ->> 0, 'hex') from json_array_elements($1::json)))",
    );
    all!(store, sql, [key_list(keys.iter().map(|key| key.0))], rows::operation)
}
