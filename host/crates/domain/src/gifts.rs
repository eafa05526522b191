//! Gifts: bonus that a plugin has a campaign grant for an event, and what goes back when the payment behind it is refunded.
//!
//! The campaign is the bound, not the plugin: an operator binds it to a budget of the plugin's manifest, and its budget, the share of each user and how
//! long a lot lasts are decided in the commit that grants. A plugin gets one gift out of a budget for an event, however often it asks.

use serde::{Deserialize, Serialize};

use crate::accounts::PluginKey;
use crate::bonus::{self, Ended, Grant, Lot, OfLot};
use crate::books::{Books, Postings};
use crate::ids::{EventId, LotId, PaymentId};
use crate::outcomes::Refusal;
use crate::time::Timestamp;

/// To which budget of which plugin a campaign is bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The plugin's id.
    pub plugin: String,
    /// The budget's name in its manifest.
    pub budget: String,
    /// How many days a lot lasts that it grants, the day of the grant in Japan included.
    pub lasts_days: u16,
}

/// Names a gift for ever: the plugin, the budget, the event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GiftKey {
    /// The plugin.
    pub plugin: PluginKey,
    /// The budget's name.
    pub budget: String,
    /// The event that it was granted for.
    pub event: EventId,
}

/// A gift that a plugin asks for, as it enters the commit queue. What cannot be granted is left out, and the rest of the plugin's answer is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gift {
    /// The plugin's id.
    pub plugin: String,
    /// Its name.
    pub key: GiftKey,
    /// The payment that the event is about: what is refunded of it goes back of the gift.
    pub payment: Option<PaymentId>,
    /// What is granted.
    pub grant: Grant,
}

/// A plugin's wish that of a gift go back what of its payment was refunded, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeBack {
    /// The gift.
    pub key: GiftKey,
    /// The lot that it is.
    pub of: OfLot,
    /// The payment that it was granted for.
    pub payment: PaymentId,
}

/// A gift as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gifted {
    /// The lot.
    pub lot: LotId,
    /// The payment behind it.
    pub payment: Option<PaymentId>,
    /// How much was granted, minor units.
    pub granted: i64,
    /// How much of it should have gone back by now, minor units: what was spent did not.
    pub taken: i64,
}

/// Grants a gift; nothing if it was granted before. Errors: [`Refusal::CampaignNotFound`] for a campaign that is not bound to this budget.
pub fn give(books: &mut Books, command: &Gift, now: Timestamp) -> Result<Option<(Postings, Lot)>, Refusal> {
    if books.gifts.contains(&command.key) {
        return Ok(None);
    }
    let campaign = books.campaigns.get(&command.grant.campaign);
    let is_bound =
        |bound: &Bound| (bound.plugin.as_str(), &bound.budget) == (command.plugin.as_str(), &command.key.budget);
    campaign
        .and_then(|campaign| campaign.bound.as_ref())
        .filter(|bound| is_bound(bound))
        .ok_or(Refusal::CampaignNotFound)?;
    let (postings, lot) = bonus::grant(books, &command.grant, now)?;
    let gifted = Gifted { lot: lot.id, payment: command.payment, granted: lot.amount.minor, taken: 0 };
    books.gifts.put(command.key.clone(), gifted);
    Ok(Some((postings, lot)))
}

/// Takes back what a gift is in proportion too much since its payment was refunded, rounded down; at most what is left of its lot and not held. Errors:
/// [`Refusal::LotNotFound`] for a lot that is not this gift's.
pub fn take_back(books: &mut Books, command: &TakeBack) -> Result<(Postings, Ended), Refusal> {
    let gifted = books.gifts.get(&command.key).copied();
    let is_meant = |gifted: &Gifted| gifted.lot == command.of.lot && gifted.payment == Some(command.payment);
    let gifted = gifted.filter(is_meant).ok_or(Refusal::LotNotFound)?;
    let payment = books.payments.get(&command.payment).ok_or(Refusal::PaymentNotFound)?;
    let due = proportion(gifted.granted, payment.refunded, payment.captured);
    let (postings, ended) = bonus::take_back(books, &command.of, (due - gifted.taken).max(0))?;
    books.gifts.put(command.key.clone(), Gifted { taken: due.max(gifted.taken), ..gifted });
    Ok((postings, ended))
}

/// So much of an amount as a part is of a whole, rounded down. Nothing of no whole.
fn proportion(amount: i64, part: i64, whole: i64) -> i64 {
    let share = i128::from(amount) * i128::from(part.clamp(0, whole.max(0)));
    share.checked_div(i128::from(whole)).and_then(|share| i64::try_from(share).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::proportion;

    #[test]
    fn a_proportion_is_rounded_down_and_never_more_than_the_whole() {
        assert_eq!(proportion(64, 1, 3), 21);
        assert_eq!(proportion(64, 2, 3), 42);
        assert_eq!(proportion(64, 3, 3), 64);
        assert_eq!(proportion(64, 9, 3), 64);
        assert_eq!((proportion(64, 0, 0), proportion(64, -1, 3)), (0, 0));
        assert_eq!(proportion(i64::MAX, i64::MAX, i64::MAX), i64::MAX);
    }
}
