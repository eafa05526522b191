//! The canonical bytes of a record: a head that stays in the chain for ever, and beside it the content, which can be erased.
//!
//! docs/reference/records.md is the format; a program in another language reads it from that page alone.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Digest, Ending, FaultClass, Input, Output, Part, Record, personal};
use crate::guest::{Context, Verdict};
use crate::ids::{RecordId, UserId};
use crate::time::Timestamp;

/// How a call ended, as far as it is told for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// With an answer, which the content has.
    Answered,
    /// With this verdict and this score.
    Verdict(Verdict, u32),
    /// With the guest's own refusal, by its code.
    Refused(String),
    /// With a fault of this class.
    Fault(FaultClass),
    /// Not told: the record was written before heads said it.
    Untold,
}

impl Outcome {
    /// What the head says of an ending.
    pub fn of(ending: &Ending) -> Outcome {
        match ending {
            Ending::Output(Output::Assessment(answer)) => Outcome::Verdict(answer.verdict, answer.score),
            Ending::Output(Output::Failure(failure)) => Outcome::Refused(failure.code.clone()),
            Ending::Output(_) => Outcome::Answered,
            Ending::Fault(fault) => Outcome::Fault(fault.class),
        }
    }

    /// One word for lists.
    pub fn word(&self) -> &str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Verdict(verdict, _) => verdict.word(),
            Outcome::Refused(code) => code,
            Outcome::Fault(class) => class.word(),
            Outcome::Untold => "untold",
        }
    }
}

/// What the chain holds of a record: everything but what the guest was told and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHead {
    /// The record's id.
    pub id: RecordId,
    /// When the call was made.
    pub at: Timestamp,
    /// The plugin's id.
    pub plugin: String,
    /// The function that was called, `interface.function`; empty in version 1, which has it in its content alone.
    pub function: String,
    /// Whether the answer counted.
    pub part: Part,
    /// The user whom the call was about, if it was about one.
    pub about: Option<UserId>,
    /// The component's digest.
    pub component: Digest,
    /// The contract's name and version.
    pub contract: String,
    /// Engine name, version and settings.
    pub engine: String,
    /// Digest of the settings that the guest was given.
    pub settings: Digest,
    /// Digest of the manifest whose grants applied.
    pub grants: Digest,
    /// The salted digest of the content; absent in version 1, whose bytes have the content inside.
    pub content: Option<Digest>,
    /// What of personal data the content holds, in the words of the format's page.
    pub holds: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Fuel used; 0 in version 1, which has it in its content.
    pub fuel: u64,
}

/// What the guest was told and what it said: all that can be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What the guest was told of its surroundings.
    pub context: Context,
    /// What it was asked.
    pub input: Input,
    /// Lines of its log: the answers of its one import, which has none, are not kept.
    pub log: Vec<(u8, String)>,
    /// How it ended.
    pub ending: Ending,
}

/// Content as it is kept: apart from its record, under a salt of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Random bytes that go with the content: without them its digest says nothing about it.
    pub salt: [u8; 16],
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
}

impl Held {
    /// The digest by which the record's head names this content.
    pub fn digest(&self) -> Digest {
        Digest::of_parts(&[b"koban record content 1", &self.salt, &self.bytes])
    }
}

/// The link of a record in its lane's chain: over the link before it and its digest.
pub fn link(before: Digest, record: Digest) -> Digest {
    Digest::of_parts(&[b"koban record 2", &before.0, &record.0])
}

/// A record as it is kept: its bytes, and its content as long as nobody erased it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The canonical bytes of the head; of a record of version 1, all of it.
    pub bytes: Vec<u8>,
    /// What they say.
    pub head: RecordHead,
    /// Beside them.
    pub held: Option<Held>,
}

/// Bytes that are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version.
    #[error("record version {0} is not known to this host; use a newer one")]
    Version(u8),
    /// Damaged.
    #[error("the bytes are not a record: {0}")]
    Malformed(String),
    /// The content is not the one that the record names.
    #[error("the content beside the record is not the one that it names")]
    OtherContent,
    /// The content was erased.
    #[error("the content of this record was erased; what is left says who was asked, when, and how it ended")]
    Erased,
}

impl RecordError {
    fn of(error: postcard::Error) -> RecordError {
        RecordError::Malformed(error.to_string())
    }
}

/// The fields of version 2 in their order, after the byte 2.
#[derive(Serialize, Deserialize)]
struct Version2<'a> {
    id: [u8; 16],
    at: i64,
    plugin: &'a str,
    function: &'a str,
    part: PartBytes,
    about: Option<[u8; 16]>,
    component: [u8; 32],
    contract: &'a str,
    engine: &'a str,
    settings: [u8; 32],
    grants: [u8; 32],
    content: [u8; 32],
    #[serde(borrow)]
    holds: Vec<&'a str>,
    outcome: Outcome,
    fuel: u64,
}

#[derive(Serialize, Deserialize)]
enum PartBytes {
    Live,
    Shadow([u8; 16]),
}

impl From<Part> for PartBytes {
    fn from(part: Part) -> PartBytes {
        match part {
            Part::Live => PartBytes::Live,
            Part::Shadow(live) => PartBytes::Shadow(live.bytes()),
        }
    }
}

impl Version2<'_> {
    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![2]).unwrap_or_default()
    }
}

/// The fields with which version 1 began, after the byte 1; input, log, ending and fuel follow.
#[derive(Deserialize)]
struct Version1 {
    id: RecordId,
    at: Timestamp,
    plugin: String,
    component: Digest,
    contract: String,
    engine: String,
    settings: Digest,
    grants: Digest,
}

/// The rest of version 1.
#[derive(Deserialize)]
struct Version1Rest {
    context: Context,
    input: Input,
    log: Vec<(u8, String)>,
    ending: Ending,
    fuel: u64,
}

/// The fields of the content in their order. The call's id is the record's and not said again.
#[derive(Serialize, Deserialize)]
struct ContentBytes<S, I, L, E> {
    scope: S,
    now: u64,
    seed: u64,
    locale: S,
    input: I,
    log: L,
    ending: E,
}

impl RecordHead {
    /// The canonical bytes, version 2. A head without the digest of a content is never written.
    pub fn encode(&self) -> Vec<u8> {
        let fields = Version2 {
            id: self.id.bytes(),
            at: self.at.0,
            plugin: &self.plugin,
            function: &self.function,
            part: self.part.into(),
            about: self.about.map(|user| user.bytes()),
            component: self.component.0,
            contract: &self.contract,
            engine: &self.engine,
            settings: self.settings.0,
            grants: self.grants.0,
            content: self.content.unwrap_or_default().0,
            holds: self.holds.iter().map(String::as_str).collect(),
            outcome: self.outcome.clone(),
            fuel: self.fuel,
        };
        fields.encode()
    }

    /// Reads the head of a record of any version. Errors: an unknown version, or bytes that are no record.
    pub fn decode(bytes: &[u8]) -> Result<RecordHead, RecordError> {
        match bytes.split_first() {
            Some((1, rest)) => Ok(first(rest)?.0),
            Some((2, rest)) => second(rest),
            Some((version, _)) => Err(RecordError::Version(*version)),
            None => Err(RecordError::Malformed("it is empty".into())),
        }
    }
}

fn second(rest: &[u8]) -> Result<RecordHead, RecordError> {
    let (fields, rest): (Version2<'_>, _) = postcard::take_from_bytes(rest).map_err(RecordError::of)?;
    if !rest.is_empty() {
        return Err(RecordError::Malformed(format!("{} bytes follow its end", rest.len())));
    }
    Ok(RecordHead {
        id: RecordId(Uuid::from_bytes(fields.id)),
        at: Timestamp(fields.at),
        plugin: fields.plugin.to_owned(),
        function: fields.function.to_owned(),
        part: match fields.part {
            PartBytes::Live => Part::Live,
            PartBytes::Shadow(live) => Part::Shadow(RecordId(Uuid::from_bytes(live))),
        },
        about: fields.about.map(|user| UserId(Uuid::from_bytes(user))),
        component: Digest(fields.component),
        contract: fields.contract.to_owned(),
        engine: fields.engine.to_owned(),
        settings: Digest(fields.settings),
        grants: Digest(fields.grants),
        content: Some(Digest(fields.content)),
        holds: fields.holds.into_iter().map(str::to_owned).collect(),
        outcome: fields.outcome,
        fuel: fields.fuel,
    })
}

fn first(rest: &[u8]) -> Result<(RecordHead, &[u8]), RecordError> {
    let (fields, rest): (Version1, _) = postcard::take_from_bytes(rest).map_err(RecordError::of)?;
    let head = RecordHead {
        id: fields.id,
        at: fields.at,
        plugin: fields.plugin,
        function: String::new(),
        part: Part::Live,
        about: None,
        component: fields.component,
        contract: fields.contract,
        engine: fields.engine,
        settings: fields.settings,
        grants: fields.grants,
        content: None,
        holds: Vec::new(),
        outcome: Outcome::Untold,
        fuel: 0,
    };
    Ok((head, rest))
}

impl Record {
    /// The content's canonical bytes under the record's salt.
    pub fn held(&self) -> Held {
        let fields = ContentBytes {
            scope: self.context.scope.as_str(),
            now: self.context.now,
            seed: self.context.seed,
            locale: self.context.locale.as_str(),
            input: &self.input,
            log: &self.log,
            ending: &self.ending,
        };
        Held { salt: self.salt, bytes: postcard::to_extend(&fields, Vec::new()).unwrap_or_default() }
    }

    /// The canonical bytes of the head, and the content that it names: the head as [`Record::head`] says it, without a copy of its texts.
    pub fn seal(&self) -> (Vec<u8>, Held) {
        let held = self.held();
        let fields = Version2 {
            id: self.id.bytes(),
            at: self.at.0,
            plugin: &self.plugin,
            function: self.input.function(),
            part: self.part.into(),
            about: self.about.map(|user| user.bytes()),
            component: self.component.0,
            contract: &self.contract,
            engine: &self.engine,
            settings: self.settings.0,
            grants: self.grants.0,
            content: held.digest().0,
            holds: personal::held_by(&self.input, &self.log),
            outcome: Outcome::of(&self.ending),
            fuel: self.fuel,
        };
        (fields.encode(), held)
    }

    /// The head that names this content.
    pub fn head(&self, held: &Held) -> RecordHead {
        RecordHead {
            id: self.id,
            at: self.at,
            plugin: self.plugin.clone(),
            function: self.input.function().to_owned(),
            part: self.part,
            about: self.about,
            component: self.component,
            contract: self.contract.clone(),
            engine: self.engine.clone(),
            settings: self.settings,
            grants: self.grants,
            content: Some(held.digest()),
            holds: personal::held_by(&self.input, &self.log).into_iter().map(str::to_owned).collect(),
            outcome: Outcome::of(&self.ending),
            fuel: self.fuel,
        }
    }

    /// The record as it is kept.
    pub fn keep(&self) -> Kept {
        let held = self.held();
        let head = self.head(&held);
        Kept { bytes: head.encode(), head, held: Some(held) }
    }
}

impl Kept {
    /// A record from the bytes that the chain has, with the content beside it. Errors: they are no record, or it is another's content.
    pub fn open(bytes: Vec<u8>, held: Option<Held>) -> Result<Kept, RecordError> {
        let head = RecordHead::decode(&bytes)?;
        match (&held, head.content) {
            (Some(held), Some(named)) if held.digest() != named => return Err(RecordError::OtherContent),
            (Some(_), None) => return Err(RecordError::OtherContent),
            _ => {}
        }
        Ok(Kept { bytes, head, held })
    }

    /// The digest by which entries name the record.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Whether its content is gone.
    pub fn is_erased(&self) -> bool {
        self.head.content.is_some() && self.held.is_none()
    }

    /// The whole record. Errors: its content was erased, or was written under a contract whose values this host no longer reads.
    pub fn record(&self) -> Result<Record, RecordError> {
        let head = &self.head;
        let (content, salt, fuel) = match (&self.held, head.content) {
            (Some(held), Some(_)) => (self.content(held)?, held.salt, head.fuel),
            (None, Some(_)) => return Err(RecordError::Erased),
            (_, None) => {
                let (_, rest) = first(self.bytes.get(1..).unwrap_or_default())?;
                let rest: Version1Rest = postcard::from_bytes(rest).map_err(RecordError::of)?;
                let Version1Rest { context, input, log, ending, fuel } = rest;
                (Content { context, input, log, ending }, [0; 16], fuel)
            }
        };
        Ok(Record {
            id: head.id,
            at: head.at,
            plugin: head.plugin.clone(),
            part: head.part,
            about: head.about,
            component: head.component,
            contract: head.contract.clone(),
            engine: head.engine.clone(),
            settings: head.settings,
            grants: head.grants,
            context: content.context,
            input: content.input,
            log: content.log,
            ending: content.ending,
            fuel,
            salt,
        })
    }

    fn content(&self, held: &Held) -> Result<Content, RecordError> {
        let fields: ContentBytes<String, Input, Vec<(u8, String)>, Ending> =
            postcard::from_bytes(&held.bytes).map_err(RecordError::of)?;
        let call = self.head.id.to_string();
        let ContentBytes { scope, now, seed, locale, input, log, ending } = fields;
        Ok(Content { context: Context { call, scope, now, seed, locale }, input, log, ending })
    }
}
