//! Freezing: who is kept from dealing for a while, decided by the commit and never by what a host remembers.

use serde::{Deserialize, Serialize};

use crate::books::{Books, Merchant, User};
use crate::ids::{KeyId, MerchantId, UserId};
use crate::ledger::Work;
use crate::limits::WalletKind;
use crate::outcomes::Refusal;
use crate::records::Digest;
use crate::verification::Verification;

/// Whether somebody may deal. The number is its code in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Access {
    /// Yes.
    #[default]
    Open = 0,
    /// An operator has frozen them.
    Frozen = 1,
    /// The account was closed, for ever.
    Closed = 2,
}

impl Access {
    /// The access with this code.
    pub fn from_code(code: i16) -> Option<Access> {
        [Access::Open, Access::Frozen, Access::Closed].into_iter().find(|access| access.code() == code)
    }

    /// Its code in rows.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The word in answers of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Access::Open => "open",
            Access::Frozen => "frozen",
            Access::Closed => "closed",
        }
    }
}

/// Who or what is frozen by a row that commits read. Keys and devices are frozen by the policy instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// A wallet user: neither pays nor sends nor receives transfers nor begins charges.
    User(UserId),
    /// A merchant: gets no payments and captures nothing. Refunds go on.
    Merchant(MerchantId),
}

/// An operator's decision to freeze somebody, or to let them go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Whom.
    pub holder: Holder,
    /// Frozen from now on, or no longer.
    pub frozen: bool,
}

/// Freezes or thaws. Doing it twice is the same as once. Errors: [`Refusal::AccountClosed`] for a closed account.
pub fn freeze(books: &mut Books, command: &Freeze) -> Result<(), Refusal> {
    let access = if command.frozen { Access::Frozen } else { Access::Open };
    match command.holder {
        Holder::User(id) => {
            let user = *books.users.get(&id).ok_or(Refusal::UserNotFound)?;
            if user.access == Access::Closed {
                return Err(Refusal::AccountClosed);
            }
            books.users.put(id, User { access, ..user });
        }
        Holder::Merchant(id) => {
            let merchant = books.merchants.get(&id).ok_or(Refusal::MerchantNotFound)?.clone();
            books.merchants.put(id, Merchant { access, ..merchant });
        }
    }
    Ok(())
}

/// What a request's authority rests on: whoever takes it back is heard by the very next commit, also by requests that were let in before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Warrant {
    /// A session, by the SHA-256 of its token: until it is signed out.
    Session(Digest),
    /// A merchant's API key: until it is revoked.
    Key(KeyId),
}

/// Whether the key and the device that a piece of work came by may be used, and whether the user of a flow that it opens may
/// deal.
pub(crate) fn check(books: &Books, work: &Work) -> Result<(), Refusal> {
    if work.key.is_some_and(|key: KeyId| books.policy.frozen_keys.contains(&key)) {
        return Err(Refusal::KeyFrozen);
    }
    if work.device.as_ref().is_some_and(|device| books.policy.frozen_devices.contains(device)) {
        return Err(Refusal::DeviceFrozen);
    }
    if let Some(step) = &work.step
        && step.expected.is_none()
        && let Some(user) = books.users.get(&step.flow.authorisation.user)
    {
        user.check_open()?;
        user.check_not_revoked()?;
    }
    Ok(())
}

impl User {
    /// Whether the wallet may deal.
    pub fn check_open(&self) -> Result<(), Refusal> {
        match self.access {
            Access::Open => Ok(()),
            Access::Frozen => Err(Refusal::WalletFrozen),
            Access::Closed => Err(Refusal::AccountClosed),
        }
    }

    /// Whether a verification that was given still stands. Who never had one is not revoked.
    pub fn check_not_revoked(&self) -> Result<(), Refusal> {
        match (self.kind, self.verification) {
            (WalletKind::Prepaid, _) | (WalletKind::Funds, Verification::Verified) => Ok(()),
            (WalletKind::Funds, _) => Err(Refusal::VerificationRevoked),
        }
    }
}

impl Merchant {
    /// Whether it takes payments.
    pub fn check_open(&self) -> Result<(), Refusal> {
        match self.access {
            Access::Open => Ok(()),
            Access::Frozen | Access::Closed => Err(Refusal::MerchantFrozen),
        }
    }
}
