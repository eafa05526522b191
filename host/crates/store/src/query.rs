//! What the queries outside the ledger share: the first cursor, many keys in one parameter, and postcard in columns.

use crate::error::StoreError;
use crate::ledger::json::JsonRows;

/// A cursor behind every id: where a list that runs newest first begins.
pub(crate) const LAST_ID: [u8; 16] = [0xff; 16];

/// Reads a value that was written in postcard.
pub(crate) fn from_postcard<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|error| StoreError::damaged(format!("{what}: {error}")))
}

/// The postcard of a value.
pub(crate) fn to_postcard<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, StoreError> {
    // Only a value that cannot say its own length fails here, and the house has none.
    postcard::to_extend(value, Vec::new())
        .map_err(|error| StoreError::Setup(format!("a value has no postcard: {error}")))
}

/// Keys as one parameter: how both databases take many of them in one statement.
pub(crate) fn key_list(keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Option<String> {
    let mut rows = JsonRows::with_capacity(64);
    for key in keys {
        rows.row().bytes(key.as_ref());
    }
    rows.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_are_one_parameter() {
        assert_eq!(key_list(Vec::<[u8; 2]>::new()), None);
        assert_eq!(key_list([[1, 255], [0, 16]]).as_deref(), Some(r#"[["01ff"],["0010"]]"#));
    }
}
