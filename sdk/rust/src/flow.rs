//! Flows: the words of the contract, with helpers that build steps and read events.

pub use crate::bindings::charge::exports::koban::plugin::charge::Request;
pub use crate::bindings::inbound::exports::koban::plugin::inbound::{
    Beginning, Call, Delivery, Opening, Owner, Routing,
};
pub use crate::bindings::machine::koban::plugin::flow::{
    Act, Capture, Credit, Effect, Event, Field, FieldKind, Hold, HttpAnswer, HttpCall, Link, Lost, Mandate, Message,
    Proposal, Refusal, Reversal, SavedLink, Show, Standing, What,
};

use crate::serde::Serialize;
use crate::serde::de::DeserializeOwned;
use crate::{Failure, Json, Money, Values};

/// One step of a flow, being built: new state and standing, then whatever follows from it. Taken whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<S> {
    /// What the flow remembers.
    pub state: S,
    /// Where it stands.
    pub standing: Standing,
    /// What the host shall do after the commit.
    pub effects: Vec<Effect>,
    /// What shall happen with money, in order, all or none.
    pub proposals: Vec<Proposal>,
    /// The reply to the partner whose call the event is.
    pub reply: Option<HttpAnswer>,
    /// Why the flow failed, or what an operator should know.
    pub note: Option<Failure>,
}

impl<S> Step<S> {
    /// A step that only remembers and stands.
    pub fn new(state: S, standing: Standing) -> Step<S> {
        Step { state, standing, effects: Vec::new(), proposals: Vec::new(), reply: None, note: None }
    }

    /// With an effect under a key of the plugin's own, unique in the flow.
    pub fn effect(mut self, key: &str, act: Act) -> Step<S> {
        self.effects.push(Effect { key: key.to_owned(), act });
        self
    }

    /// Calls a partner.
    pub fn http(self, key: &str, call: HttpCall) -> Step<S> {
        self.effect(key, Act::Http(call))
    }

    /// Shows the user something.
    pub fn show(self, key: &str, show: Show) -> Step<S> {
        self.effect(key, Act::Show(show))
    }

    /// Wakes the flow at this time, in Unix milliseconds.
    pub fn timer(self, key: &str, at: u64) -> Step<S> {
        self.effect(key, Act::Timer(at))
    }

    /// Expects calls from outside that `route` gives this correlation.
    pub fn expect(self, key: &str, correlation: &str) -> Step<S> {
        self.effect(key, Act::Expect(correlation.to_owned()))
    }

    /// Puts one record into a file that the host seals at its cut-off.
    pub fn enqueue(self, key: &str, file: &str, correlation: &str, record: Vec<u8>) -> Step<S> {
        self.effect(key, Act::Enqueue((file.to_owned(), correlation.to_owned(), record)))
    }

    /// Takes back the timer, expectation or form that was asked for under `of`.
    pub fn cancel(self, key: &str, of: &str) -> Step<S> {
        self.effect(key, Act::Cancel(of.to_owned()))
    }

    /// Saves a link of the flow's user.
    pub fn save_link(self, key: &str, link: SavedLink) -> Step<S> {
        self.effect(key, Act::SaveLink(link))
    }

    /// Drops the user's link with this reference.
    pub fn drop_link(self, key: &str, reference: &str) -> Step<S> {
        self.effect(key, Act::DropLink(reference.to_owned()))
    }

    /// With a proposal about money.
    pub fn propose(mut self, proposal: Proposal) -> Step<S> {
        self.proposals.push(proposal);
        self
    }

    /// Proposes a credit.
    pub fn credit(self, credit: Credit) -> Step<S> {
        self.propose(Proposal::Credit(credit))
    }

    /// Proposes to set money of the user aside, fee included, under a key of the plugin's own.
    pub fn hold(self, key: &str, amount: Money) -> Step<S> {
        self.propose(Proposal::Hold(Hold { key: key.to_owned(), amount }))
    }

    /// Proposes that the partner has taken a hold, or a part of it.
    pub fn capture(self, capture: Capture) -> Step<S> {
        self.propose(Proposal::Capture(capture))
    }

    /// Proposes to give back what is left of the hold with this key.
    pub fn release(self, hold: &str) -> Step<S> {
        self.propose(Proposal::Release(hold.to_owned()))
    }

    /// Proposes to take one of the flow's own credits back.
    pub fn reverse(self, reversal: Reversal) -> Step<S> {
        self.propose(Proposal::Reverse(reversal))
    }

    /// Proposes to kill the credit side of a reference for ever.
    pub fn tombstone(self, reference: &str) -> Step<S> {
        self.propose(Proposal::Tombstone(reference.to_owned()))
    }

    /// Replies to the partner whose call this event is.
    pub fn reply(mut self, answer: HttpAnswer) -> Step<S> {
        self.reply = Some(answer);
        self
    }

    /// Says why.
    pub fn note(mut self, failure: Failure) -> Step<S> {
        self.note = Some(failure);
        self
    }
}

impl Standing {
    /// Final means: no new credit, hold or capture, ever.
    pub fn is_final(self) -> bool {
        matches!(self, Standing::Done | Standing::Failed | Standing::Cancelled)
    }
}

impl Credit {
    /// A credit for which the partner is asking: what does not fit is refused. [`Credit::arrived`] says otherwise.
    pub fn asked(key: &str, amount: Money, reference: &str, because: &Event) -> Credit {
        Credit { key: key.to_owned(), amount, reference: reference.to_owned(), because: because.number, arrived: false }
    }

    /// The partner holds the money and cannot give it back.
    pub fn arrived(mut self) -> Credit {
        self.arrived = true;
        self
    }
}

impl Capture {
    /// The whole of what is taken from the hold, after which the rest is given back.
    pub fn last(hold: &str, amount: Money, reference: &str, because: &Event) -> Capture {
        Capture {
            hold: hold.to_owned(),
            amount,
            fee: None,
            reference: reference.to_owned(),
            because: because.number,
            final_: true,
        }
    }

    /// Of the amount, what the platform keeps.
    pub fn fee(mut self, fee: Money) -> Capture {
        self.fee = Some(fee);
        self
    }

    /// More may be taken later; the rest stays held.
    pub fn more_follows(mut self) -> Capture {
        self.final_ = false;
        self
    }
}

impl SavedLink {
    /// A link that lasts until it is dropped, under the partner's own reference; `label` is what the user knows it by.
    pub fn new(kind: &str, reference: &str, label: &str) -> SavedLink {
        SavedLink {
            reference: reference.to_owned(),
            kind: kind.to_owned(),
            label: label.to_owned(),
            data: Vec::new(),
            expires: None,
        }
    }

    /// What the plugin wants to find in it, as postcard; at most 4 KiB.
    pub fn data<T: Serialize>(mut self, data: &T) -> SavedLink {
        self.data = postcard::to_allocvec(data)
            .unwrap_or_else(|error| panic!("the link's data cannot be written as postcard: {error}"));
        self
    }

    /// No flow begins with it after this time, in Unix milliseconds.
    pub fn until(mut self, at: u64) -> SavedLink {
        self.expires = Some(at);
        self
    }
}

impl Link {
    /// The data that was saved, as a type. Nothing when it was written as another type.
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        postcard::from_bytes(&self.data).ok()
    }
}

impl Reversal {
    /// Takes the credit with the key `of` back.
    pub fn new(of: &str, amount: Money, reference: &str, because: &Event) -> Reversal {
        Reversal { of: of.to_owned(), amount, reference: reference.to_owned(), because: because.number }
    }
}

impl Field {
    /// A field that must be filled in, of at most 200 characters.
    pub fn new(name: &str, label: &str, kind: FieldKind) -> Field {
        Field {
            name: name.to_owned(),
            label: label.to_owned(),
            kind,
            choices: Vec::new(),
            required: true,
            max_length: 200,
        }
    }

    /// May be left empty.
    pub fn optional(mut self) -> Field {
        self.required = false;
        self
    }

    /// The longest answer, in characters.
    pub fn at_most(mut self, characters: u32) -> Field {
        self.max_length = characters;
        self
    }

    /// The values to choose from.
    pub fn choices<'a>(mut self, choices: impl IntoIterator<Item = &'a str>) -> Field {
        self.choices = choices.into_iter().map(str::to_owned).collect();
        self
    }
}

impl HttpCall {
    /// A call of one of the manifest's operations with a JSON body.
    pub fn json(endpoint: &str, operation: &str, body: &Json) -> HttpCall {
        HttpCall {
            endpoint: endpoint.to_owned(),
            operation: operation.to_owned(),
            path: String::new(),
            query: Vec::new(),
            body: body.to_string().into_bytes(),
        }
    }

    /// What follows the operation's own path; begins with `/`.
    pub fn path(mut self, path: &str) -> HttpCall {
        self.path = path.to_owned();
        self
    }
}

impl HttpAnswer {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &Json) -> HttpAnswer {
        HttpAnswer {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as a type. Errors: what is wrong with the JSON and where, in at most 200 bytes.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        read(&self.body)
    }
}

impl Message {
    /// The body as a type. Errors: what is wrong with the JSON and where, in at most 200 bytes.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        read(&self.body)
    }
}

impl Call {
    /// The body as a type. Errors: what is wrong with the JSON and where, in at most 200 bytes.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        read(&self.body)
    }
}

impl Routing {
    /// To the flow that expects this correlation; if none ever did, the partner gets this answer.
    pub fn deliver(correlation: &str, otherwise: HttpAnswer) -> Routing {
        Routing::Deliver(Delivery { correlation: correlation.to_owned(), otherwise, tombstone: None })
    }

    /// As [`Routing::deliver`]; and if no flow ever expected it, the credit side of this reference is dead.
    pub fn deliver_or_kill(correlation: &str, otherwise: HttpAnswer, reference: &str) -> Routing {
        let tombstone = Some(reference.to_owned());
        Routing::Deliver(Delivery { correlation: correlation.to_owned(), otherwise, tombstone })
    }
}

impl Routing {
    /// To the flow that expects this correlation; if none ever did, a flow of this owner is begun. If that cannot be, the partner gets this answer.
    pub fn begin(
        beginning: Beginning,
        owner: Owner,
        amount: Money,
        correlation: &str,
        otherwise: HttpAnswer,
    ) -> Routing {
        let delivery = Delivery { correlation: correlation.to_owned(), otherwise, tombstone: None };
        Routing::Begin(Opening { beginning, owner, amount, delivery })
    }
}

impl Request {
    /// The facts that the manifest asks for.
    pub fn facts(&self) -> Values<'_> {
        Values(&self.facts)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    // The text may quote the body, so it is as long as the partner likes.
    serde_json::from_slice(body).map_err(|error| crate::cut(error.to_string(), 200))
}
