//! Links: a user's account at a partner that lasts between flows, and how far its partner was told of new rows.
//!
//! A flow saves a link, and the link is its user's from then on: they see it and end it. New rows go to a live link by one flow at a time, which is
//! begun in the commit that notes what it takes along; what it took counts as sent in the commit that ends it, and only if it ended well.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::accounts::PluginKey;
use crate::books::Books;
use crate::flows::Arrival;
use crate::guest::{Lost, What};
use crate::ids::{FlowId, LinkId, UserId};
use crate::money::Currency;
use crate::outcomes::Refusal;
use crate::records::Digest;
use crate::time::Timestamp;

/// Most live links that a user has with one plugin.
pub const LINKS_MAX: usize = 20;
/// Most rows that one flow takes along, as the contract has it.
pub const ROWS_MAX: usize = 500;
/// How long a link rests after rows were not taken: so long after the first time, twice as long after each further one, up to six hours.
const REST_MS: i64 = 60_000;
const REST_MS_MAX: i64 = 6 * 3_600_000;

/// Names a link for ever: the plugin, and the partner's own reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkKey {
    /// The plugin.
    pub plugin: PluginKey,
    /// The partner's own id of it.
    pub reference: String,
}

impl LinkKey {
    /// The id that the link of this name has.
    pub fn id(&self) -> LinkId {
        let parts: [&[u8]; 3] = [b"koban link 1", self.plugin.0.as_bytes(), self.reference.as_bytes()];
        LinkId(uuid::Builder::from_custom_bytes(Digest::of_parts(&parts).half()).into_uuid())
    }
}

/// A link as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// Whose it is.
    pub user: UserId,
    /// The plugin's id.
    pub plugin: String,
    /// The partner's own id of it.
    pub reference: String,
    /// One of the manifest's links.
    pub kind: String,
    /// What the user knows it by.
    pub label: String,
    /// The plugin's own bytes.
    pub data: Vec<u8>,
    /// The flow that saved it last.
    pub saved_by: FlowId,
    /// When it was first saved.
    pub since: Timestamp,
    /// After this no flow begins with it.
    pub expires_at: Timestamp,
    /// Endpoints whose consent its user gave in the flow that saved it: without them it is over.
    pub consents: Vec<String>,
    /// The last entry before it: its partner is told of what came later.
    pub start: i64,
    /// The last entry that its partner was told of, by currency.
    pub sent: BTreeMap<Currency, i64>,
    /// How many rows it was told.
    pub rows: u64,
    /// When it last took some.
    pub sent_at: Option<Timestamp>,
    /// The flow that takes rows along now.
    pub under_way: Option<UnderWay>,
    /// How often in a row they were not taken.
    pub failures: u32,
    /// When it is looked at next.
    pub due_at: Timestamp,
    /// When and why it ended.
    pub ended: Option<(Timestamp, EndedBy)>,
}

/// Rows that a flow takes along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// The flow.
    pub flow: FlowId,
    /// The wallet's currency.
    pub currency: Currency,
    /// The last entry among them.
    pub until: i64,
    /// How many.
    pub rows: u32,
}

/// Why a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndedBy {
    /// Its user ended it.
    User,
    /// Its plugin dropped it: the partner knows it no more.
    Plugin,
    /// A consent that it rests on was taken back, or its tokens are no good any more.
    Consent,
    /// Its time ran out.
    Time,
    /// Its user's account was closed.
    Closing,
    /// What is known of its user was erased: what the user knew it by and the plugin's bytes are gone.
    Erasure,
}

impl EndedBy {
    /// As the API writes it.
    pub fn word(self) -> &'static str {
        match self {
            EndedBy::User => "by_user",
            EndedBy::Plugin => "by_partner",
            EndedBy::Consent => "consent_ended",
            EndedBy::Time => "expired",
            EndedBy::Closing => "account_closed",
            EndedBy::Erasure => "erased",
        }
    }
}

impl Link {
    /// How the books name it.
    pub fn key(&self) -> LinkKey {
        LinkKey { plugin: PluginKey::of(&self.plugin), reference: self.reference.clone() }
    }

    /// Whether flows begin with it, and rows go to its partner.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now <= self.expires_at
    }

    /// The last entry of a wallet that its partner was told of.
    pub fn told_of(&self, currency: Currency) -> i64 {
        self.sent.get(&currency).copied().unwrap_or(self.start)
    }

    /// As a new flow is given it.
    pub fn to_guest(&self) -> crate::guest::Link {
        let moment = |at: Timestamp| u64::try_from(at.0).unwrap_or(0);
        crate::guest::Link {
            reference: self.reference.clone(),
            kind: self.kind.clone(),
            label: self.label.clone(),
            data: self.data.clone(),
            since: moment(self.since),
            expires: Some(moment(self.expires_at)),
            mandate: None,
        }
    }
}

/// What shall happen to a link, as it enters the commit queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfLink {
    /// A flow saves it, new or anew.
    Save(Save),
    /// It ends.
    End(End),
    /// A flow begins to take rows along.
    Begin(Begin),
    /// The flow has ended.
    Finish(Finish),
}

/// A flow saves a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Save {
    /// The plugin's id.
    pub plugin: String,
    /// What it saves, within the bounds of the manifest.
    pub link: crate::guest::SavedLink,
    /// After this no flow begins with it.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub user: UserId,
    /// Endpoints whose consent the user gave in the flow.
    pub consents: Vec<String>,
    /// The flow.
    pub flow: FlowId,
    /// Its name for the effect.
    pub effect: String,
}

/// A link ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Which.
    pub link: LinkKey,
    /// Whose it must be: another's stays as it is.
    pub user: UserId,
    /// Why.
    pub by: EndedBy,
}

/// A flow begins to take rows along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// To which link.
    pub link: LinkKey,
    /// Behind this entry.
    pub after: i64,
    /// What it takes along.
    pub rows: UnderWay,
}

/// A flow that took rows along has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// To which link.
    pub link: LinkKey,
    /// The flow.
    pub flow: FlowId,
    /// Whether the partner has them.
    pub taken: bool,
}

impl OfLink {
    /// The link that it is about.
    pub fn key(&self) -> LinkKey {
        match self {
            OfLink::Save(save) => {
                LinkKey { plugin: PluginKey::of(&save.plugin), reference: save.link.reference.clone() }
            }
            OfLink::End(end) => end.link.clone(),
            OfLink::Begin(begin) => begin.link.clone(),
            OfLink::Finish(finish) => finish.link.clone(),
        }
    }
}

/// Decides it; `posted` is the last entry of the journal. Answers what the saving flow is told, if it is refused. Errors:
/// [`Refusal::LinkNotReady`] for rows to a link that is over, behind another entry, or beside another flow.
pub fn decide(books: &mut Books, command: &OfLink, posted: i64, now: Timestamp) -> Result<Option<Arrival>, Refusal> {
    match command {
        OfLink::Save(save) => return Ok(keep(books, save, posted, now)),
        OfLink::End(end) => {
            let known = books.links.get(&end.link).filter(|link| link.user == end.user).cloned();
            match known {
                Some(link) if end.by == EndedBy::Erasure => {
                    let (label, data, ended) = (String::new(), Vec::new(), link.ended.or(Some((now, end.by))));
                    books.links.put(end.link.clone(), Link { label, data, ended, ..link });
                }
                Some(link) if link.ended.is_none() => {
                    books.links.put(end.link.clone(), Link { ended: Some((now, end.by)), ..link });
                }
                _ => {}
            }
        }
        OfLink::Begin(begin) => {
            let Begin { link: key, after, rows } = begin;
            let ready =
                |link: &&Link| link.is_live(now) && link.under_way.is_none() && link.told_of(rows.currency) == *after;
            let link = books.links.get(key).filter(ready).cloned().ok_or(Refusal::LinkNotReady)?;
            let due_at = now.plus_ms(REST_MS);
            books.links.put(key.clone(), Link { under_way: Some(rows.clone()), due_at, ..link });
        }
        OfLink::Finish(finish) => {
            let link = books.links.get(&finish.link).cloned();
            let mine = |rows: &&UnderWay| rows.flow == finish.flow;
            if let Some(link) = link
                && let Some(rows) = link.under_way.as_ref().filter(mine).cloned()
            {
                books.links.put(finish.link.clone(), finished(link, &rows, finish.taken, now));
            }
        }
    }
    Ok(None)
}

fn finished(mut link: Link, rows: &UnderWay, taken: bool, now: Timestamp) -> Link {
    link.under_way = None;
    if taken {
        link.sent.insert(rows.currency, rows.until);
        link.rows = link.rows.saturating_add(u64::from(rows.rows));
        (link.sent_at, link.failures, link.due_at) = (Some(now), 0, now);
    } else {
        let rest = REST_MS.saturating_mul(1 << link.failures.min(16)).min(REST_MS_MAX);
        (link.failures, link.due_at) = (link.failures.saturating_add(1), now.plus_ms(rest));
    }
    link
}

/// Saves a link, or says why not.
fn keep(books: &mut Books, save: &Save, posted: i64, now: Timestamp) -> Option<Arrival> {
    let lost = |why: &str| {
        let what = What::Lost(Lost::Refused, why.to_owned());
        Some(Arrival { flow: save.flow, key: save.effect.clone(), what, call: None, at: now })
    };
    let key = LinkKey { plugin: PluginKey::of(&save.plugin), reference: save.link.reference.clone() };
    let known = books.links.get(&key).cloned();
    if known.as_ref().is_some_and(|known| known.user != save.user) {
        return lost("this reference is another user's link");
    }
    let is_live = known.as_ref().is_some_and(|known| known.is_live(now));
    let of_user = |(of, link): &(&LinkKey, &Link)| of.plugin == key.plugin && link.user == save.user;
    let others = books.links.iter().filter(of_user).filter(|(_, link)| link.is_live(now)).count();
    if !is_live && others >= LINKS_MAX {
        return lost("the user has as many links with this plugin as there may be");
    }
    let fresh = Link {
        id: key.id(),
        user: save.user,
        plugin: save.plugin.clone(),
        reference: save.link.reference.clone(),
        kind: save.link.kind.clone(),
        label: save.link.label.clone(),
        data: save.link.data.clone(),
        saved_by: save.flow,
        since: now,
        expires_at: save.expires_at,
        consents: save.consents.clone(),
        start: posted,
        sent: BTreeMap::new(),
        rows: 0,
        sent_at: None,
        under_way: None,
        failures: 0,
        due_at: now,
        ended: None,
    };
    let link = match known {
        // What is renewed goes on where it was; what had ended begins anew, and nothing of between is sent.
        Some(known) if is_live => {
            let Link { since, start, sent, rows, sent_at, under_way, mut consents, .. } = known;
            consents.extend(fresh.consents.iter().filter(|one| !consents.contains(one)).cloned().collect::<Vec<_>>());
            Link { since, start, sent, rows, sent_at, under_way, consents, ..fresh }
        }
        Some(Link { under_way, .. }) => Link { under_way, ..fresh },
        None => fresh,
    };
    books.links.put(key, link);
    None
}
