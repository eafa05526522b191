//! Pages with opaque cursors: stable under insertions, never longer than a hundred items.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::Error;

/// Most items of a page.
pub const LIMIT_MAX: u16 = 100;

/// Which page is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The cursor that the page before ended with.
    pub after: Option<String>,
    /// How many items, 1 to 100; 20 if zero.
    pub limit: u16,
}

impl Page {
    /// How many items to read. Errors: more than 100.
    pub fn limit(&self) -> Result<u16, Error> {
        match self.limit {
            0 => Ok(20),
            limit if limit <= LIMIT_MAX => Ok(limit),
            _ => Err(Error::invalid("limit", format!("ask for 1 to {LIMIT_MAX} items"))),
        }
    }

    /// The place that the cursor names, as big-endian bytes of a fixed number of parts. Errors: a cursor of another list.
    pub fn place<const N: usize>(&self) -> Result<Option<[u8; N]>, Error> {
        let Some(cursor) = &self.after else { return Ok(None) };
        URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| <[u8; N]>::try_from(bytes).ok())
            .map(Some)
            .ok_or_else(|| Error::invalid("after", "use the `next` value of the page before, unchanged"))
    }
}

/// One page, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; none on the last one.
    pub next: Option<String>,
}

impl<T> Paged<T> {
    /// A page of what was read: `limit + 1` rows tell whether there are more.
    pub fn of(mut items: Vec<T>, limit: u16, place: impl Fn(&T) -> Vec<u8>) -> Paged<T> {
        let limit = usize::from(limit);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| cursor(&place(last)));
        Paged { items, next }
    }

    /// The same page of other values.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Paged<U> {
        Paged { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

impl Page {
    /// The time-ordered id that the cursor names, in a list that runs newest first.
    pub fn before(&self) -> Result<Option<uuid::Uuid>, Error> {
        Ok(self.place::<16>()?.map(uuid::Uuid::from_bytes))
    }
}

/// A cursor that names this place.
pub fn cursor(place: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(place)
}
