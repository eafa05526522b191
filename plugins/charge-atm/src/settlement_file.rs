//! The network's end-of-day file, in the form that channels share.

use koban_sdk::Failure;
use koban_sdk::settlement::{Line, Side, daily};

/// The kinds of its rows, and what each comes to.
const KINDS: &[(&str, Side)] = &[("CHARGE", Side::Credit), ("CHARGE_CANCEL", Side::Reversal)];

/// All lines of the file. Errors: as of [`daily::parse`].
pub(crate) fn parse(content: &[u8]) -> Result<Vec<Line>, Failure> {
    daily::parse(content, KINDS)
}
