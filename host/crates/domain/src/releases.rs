//! The life of a plugin's releases: uploaded, verified, installed; then, scope by scope, shadow, canary, enabled, draining, disabled or
//! quarantined; in the end removed. What may follow what is decided here, over rows that the store loads and writes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::MerchantId;
use crate::manifest::Kind;
use crate::records::Digest;

/// Most components of one plugin that take part in decisions at the same time, at whatever scopes.
pub const LIVE_MAX: usize = 2;
/// A canary's share is counted in thousandths.
pub const SHARE_WHOLE: u16 = 1_000;

/// Where a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its package is here; nothing was looked at.
    Uploaded,
    /// It is what it says, and its publisher is trusted or was waived.
    Verified,
    /// An operator accepted what it may do.
    Installed,
    /// Asked beside the decisions, without effect.
    Shadow,
    /// Decides for a share.
    Canary,
    /// Decides.
    Enabled,
    /// Begins nothing new and ends what it began.
    Draining,
    /// Switched off by an operator.
    Disabled,
    /// Taken out by the house, or because it was revoked.
    Quarantined,
    /// Gone; its records and its bytes stay.
    Removed,
}

impl State {
    /// All of them, in the order of a life.
    pub const ALL: [State; 10] = [
        State::Uploaded,
        State::Verified,
        State::Installed,
        State::Shadow,
        State::Canary,
        State::Enabled,
        State::Draining,
        State::Disabled,
        State::Quarantined,
        State::Removed,
    ];

    /// The word in rows and answers.
    pub const fn word(self) -> &'static str {
        match self {
            State::Uploaded => "uploaded",
            State::Verified => "verified",
            State::Installed => "installed",
            State::Shadow => "shadow",
            State::Canary => "canary",
            State::Enabled => "enabled",
            State::Draining => "draining",
            State::Disabled => "disabled",
            State::Quarantined => "quarantined",
            State::Removed => "removed",
        }
    }

    /// Whether it is asked about new payments and charges.
    pub const fn is_live(self) -> bool {
        matches!(self, State::Shadow | State::Canary | State::Enabled)
    }

    /// The state of this word.
    pub fn of_word(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// For whom something holds. The narrowest scope that says something decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Everybody.
    Platform,
    /// Dealings with one merchant.
    Merchant(MerchantId),
    /// Dealings at one store of a merchant.
    Store(MerchantId, String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Platform => f.write_str("platform"),
            Scope::Merchant(merchant) => write!(f, "{merchant}"),
            Scope::Store(merchant, store) => write!(f, "{merchant}/{store}"),
        }
    }
}

/// The text names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: write `platform`, a merchant's id, or a merchant's id, `/` and the name of a store")]
pub struct ScopeError(String);

impl FromStr for Scope {
    type Err = ScopeError;
    fn from_str(text: &str) -> Result<Scope, ScopeError> {
        let wrong = || ScopeError(text.chars().take(80).collect());
        if text == "platform" {
            return Ok(Scope::Platform);
        }
        let (merchant, store) = match text.split_once('/') {
            Some((merchant, store)) => (merchant, Some(store)),
            None => (text, None),
        };
        let merchant: MerchantId = merchant.parse().map_err(|_| wrong())?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match store {
            None => Ok(Scope::Merchant(merchant)),
            Some(store) if (1..=40).contains(&store.len()) && store.bytes().all(plain) => {
                Ok(Scope::Store(merchant, store.to_owned()))
            }
            Some(_) => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;
    fn try_from(text: String) -> Result<Scope, ScopeError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.to_string()
    }
}

/// A release at one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enablement {
    /// For whom.
    pub scope: Scope,
    /// The component.
    pub digest: Digest,
    /// From shadow to quarantined.
    pub state: State,
    /// A canary's share, in thousandths; nought for everything else.
    pub share: u16,
    /// The settings that it is given.
    pub settings: Digest,
    /// What the operator accepted.
    pub consent: Digest,
    /// What was enabled before it: where a rollback or a quarantine returns to.
    pub replaced: Option<Digest>,
}

/// A release as it is about to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving {
    /// The component.
    pub digest: Digest,
    /// Its sort.
    pub kind: Kind,
    /// The settings that it is given where it was not before.
    pub settings: Digest,
    /// What the operator accepted.
    pub consent: Digest,
}

/// Why a release cannot be moved so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefused {
    /// No way leads there.
    #[error("a release that is {from} cannot become {to}; {next}", from = from.word(), to = to.word())]
    NoWay {
        /// Where it stands.
        from: State,
        /// Where it should go.
        to: State,
        /// What can be done instead.
        next: &'static str,
    },
    /// A flow cannot be shadowed.
    #[error("only rules that judge are shadowed: a {kind} would act; try it as a canary", kind = .0.word())]
    NoShadow(Kind),
    /// The share is none.
    #[error("a canary's share is 0.1 to 99.9 percent")]
    Share,
    /// Another release is being tried at this scope.
    #[error("{other} is {state} at this scope already; enable or disable it first", state = state.word())]
    Taken {
        /// Which.
        other: Digest,
        /// As what.
        state: State,
    },
    /// Too many at once.
    #[error(
        "at most {LIVE_MAX} releases of a plugin are live at the same time, and {0} and {1} are: disable one of them first"
    )]
    TooMany(Digest, Digest),
    /// There is nothing to return to.
    #[error("nothing was enabled before at this scope that is still good; enable another release, or disable this one")]
    NothingBefore,
}

/// Moves a release at a scope: the rows of its plugin as they are afterwards. What was enabled there drains when another one is. `share` is
/// a canary's, in thousandths. Errors: [`MoveRefused`].
pub fn moved(
    rows: &[Enablement],
    scope: &Scope,
    moving: &Moving,
    to: State,
    share: u16,
) -> Result<Vec<Enablement>, MoveRefused> {
    let mut rows = rows.to_vec();
    let place = rows.iter().position(|row| row.scope == *scope && row.digest == moving.digest);
    let from = place.map_or(State::Installed, |place| rows[place].state);
    let no_way = |next| Err(MoveRefused::NoWay { from, to, next });
    let mut replaced = place.and_then(|place| rows[place].replaced);
    match (from, to) {
        (State::Quarantined, State::Shadow | State::Canary | State::Enabled) => {
            return no_way("look why it was taken out; then disable it, and it can be tried again");
        }
        (State::Enabled, State::Shadow | State::Canary) => return no_way("roll back or disable it first"),
        (_, State::Shadow) if moving.kind != Kind::FraudRule => return Err(MoveRefused::NoShadow(moving.kind)),
        (_, State::Canary) if !(1..SHARE_WHOLE).contains(&share) => return Err(MoveRefused::Share),
        (_, State::Shadow | State::Canary) => check_free(&rows, scope, moving.digest)?,
        (State::Enabled, State::Enabled) => {}
        (_, State::Enabled) => {
            for row in rows.iter_mut().filter(|row| row.scope == *scope && row.state == State::Enabled) {
                row.state = State::Draining;
                replaced = Some(row.digest);
            }
        }
        (State::Enabled | State::Canary, State::Draining) => {}
        (_, State::Draining) => return no_way("only what decides is drained"),
        (State::Shadow | State::Canary | State::Enabled, State::Quarantined) => {}
        (_, State::Quarantined) => return no_way("only what is live is taken out"),
        (_, State::Disabled) => {}
        (_, State::Uploaded | State::Verified | State::Installed | State::Removed) => {
            return no_way("that is decided for the release as a whole");
        }
    }
    let ends_a_trial = matches!(from, State::Shadow | State::Canary) && to == State::Disabled;
    match place {
        // A trial at a narrower scope leaves nothing behind: a row would switch the plugin off there.
        Some(place) if ends_a_trial && *scope != Scope::Platform => drop(rows.remove(place)),
        Some(place) => {
            let row = &mut rows[place];
            (row.state, row.share, row.replaced) = (to, if to == State::Canary { share } else { 0 }, replaced);
            row.consent = moving.consent;
        }
        None => rows.push(Enablement {
            scope: scope.clone(),
            digest: moving.digest,
            state: to,
            share: if to == State::Canary { share } else { 0 },
            settings: moving.settings,
            consent: moving.consent,
            replaced,
        }),
    }
    check_live(&rows)?;
    Ok(rows)
}

/// Takes what was enabled at a scope back to what was enabled before, in one step: the rows afterwards, and the component that decides
/// again. What leaves becomes `to`, disabled or quarantined; `is_good` says that a component is not revoked and still installed. Errors:
/// nothing before it is still good.
pub fn rolled_back(
    rows: &[Enablement],
    scope: &Scope,
    to: State,
    is_good: impl Fn(Digest) -> bool,
) -> Result<(Vec<Enablement>, Digest), MoveRefused> {
    let here = |row: &&Enablement| row.scope == *scope;
    let leaving = rows
        .iter()
        .filter(here)
        .find(|row| row.state == State::Enabled)
        .or_else(|| rows.iter().filter(here).find(|row| row.state == State::Quarantined && row.replaced.is_some()))
        .ok_or(MoveRefused::NothingBefore)?;
    let back = good_before(rows, leaving, &is_good).ok_or(MoveRefused::NothingBefore)?;
    let left = leaving.digest;
    let mut rows = rows.to_vec();
    for row in rows.iter_mut().filter(|row| row.scope == *scope) {
        if row.digest == left && row.state == State::Enabled {
            row.state = to;
        } else if row.digest == back {
            row.state = State::Enabled;
            row.share = 0;
        }
    }
    check_live(&rows)?;
    Ok((rows, back))
}

/// Takes a component out wherever it is live, and returns to the last good one where it was enabled: the rows afterwards.
pub fn quarantined(rows: &[Enablement], digest: Digest, is_good: impl Fn(Digest) -> bool) -> Vec<Enablement> {
    let mut after = rows.to_vec();
    let out = |row: &Enablement| row.digest == digest && (row.state.is_live() || row.state == State::Draining);
    for row in rows.iter().filter(|row| out(row)) {
        let enabled = row.state == State::Enabled;
        let back = good_before(rows, row, &is_good).filter(|_| enabled);
        for other in after.iter_mut().filter(|other| other.scope == row.scope) {
            if other.digest == digest {
                (other.state, other.share) = (State::Quarantined, 0);
            } else if Some(other.digest) == back {
                (other.state, other.share) = (State::Enabled, 0);
            }
        }
    }
    after
}

/// The last component that was enabled before this row at its scope and is still good.
fn good_before(rows: &[Enablement], row: &Enablement, is_good: &impl Fn(Digest) -> bool) -> Option<Digest> {
    let mut before = row.replaced;
    // Each step goes to another row of the scope; more steps than rows would be a circle.
    for _ in 0..rows.len() {
        let digest = before?;
        let found = rows.iter().find(|other| other.scope == row.scope && other.digest == digest)?;
        let rests = matches!(found.state, State::Draining | State::Disabled | State::Canary | State::Shadow);
        if rests && digest != row.digest && is_good(digest) {
            return Some(digest);
        }
        before = found.replaced;
    }
    None
}

fn check_free(rows: &[Enablement], scope: &Scope, digest: Digest) -> Result<(), MoveRefused> {
    let trial = |row: &&Enablement| matches!(row.state, State::Shadow | State::Canary);
    match rows.iter().filter(trial).find(|row| row.scope == *scope && row.digest != digest) {
        Some(row) => Err(MoveRefused::Taken { other: row.digest, state: row.state }),
        None => Ok(()),
    }
}

fn check_live(rows: &[Enablement]) -> Result<(), MoveRefused> {
    let live: BTreeSet<Digest> = rows.iter().filter(|row| row.state.is_live()).map(|row| row.digest).collect();
    match live.into_iter().collect::<Vec<_>>().as_slice() {
        [one, other, _, ..] => Err(MoveRefused::TooMany(*one, *other)),
        _ => Ok(()),
    }
}

/// Whether somebody falls into a canary's share: the same person always does for the same component, and a larger share only adds to a
/// smaller one. The first eight bytes of SHA-256 over component and person, as a number of thousandths.
pub fn falls_into(digest: Digest, person: &[u8], share: u16) -> bool {
    let mut hasher = Sha256::new();
    hasher.update(b"koban canary 1");
    hasher.update(digest.0);
    hasher.update(person);
    let hash: [u8; 32] = hasher.finalize().into();
    let first = hash.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first));
    first % u64::from(SHARE_WHOLE) < u64::from(share)
}

/// A version as three numbers; none if it is not written so.
pub fn version_numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}
