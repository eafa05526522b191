//! A pretend host for native tests: drives a flow with events, asks for decisions, and holds the answers to the rules that the real host has.
//!
//! What it checks after every step: the same call gives the same step twice (a plugin is pure), the state fits into 64 KiB, at most 16 effects are open,
//! a key always has the same content, credits and holds stay within the authorisation, credits and captures rest on an answer or a message, a reference is
//! used once, a final flow proposes no new credit, hold or capture and leaves no hold behind, and nothing is proposed that its beginning may not. What
//! breaks a rule panics, which fails the test. Decisions ([`quote`], [`on_event`], [`statement`] and so on) are called twice and checked as well.

use std::collections::{BTreeMap, BTreeSet};

mod decisions;
mod money;

use crate::bindings::machine::koban::plugin::flow as raw;
use crate::flow::{
    Act, Call, Effect, Event, HttpAnswer, Lost, Message, Proposal, Refusal, Request, Routing, SavedLink, Show,
    Standing, What,
};
use crate::{
    Charge, Context, Failure, Inbound, Json, LinkAccount, Machine, Money, Named, PayBill, Sync, Value, Withdraw, bill,
    export, link_account, sync, withdraw,
};

pub use decisions::{assess, compose_file, on_event, parse_file, quote, rates, recognise, statement, table};
use money::Books;

/// Most bytes of a flow's state.
const STATE_MAX_BYTES: usize = 64 * 1024;
/// Most effects of a flow that have not ended, expectations included.
const OPEN_EFFECTS_MAX: usize = 16;
/// Most bytes of a link's data.
const LINK_MAX_BYTES: usize = 4 * 1024;
/// Most effects, and most proposals, of one step.
const STEP_MAX: usize = 16;

/// A context at this time, in Unix milliseconds.
pub fn context(now: u64) -> Context {
    Context { call: "pretend".into(), scope: "platform".into(), now, seed: 7, locale: "ja".into() }
}

/// What the user authorised: so much at most, with these facts.
pub fn request(at_most: Money, facts: &[Named]) -> Request {
    Request { wallet: "wallet".into(), amount: None, at_most, link: None, facts: facts.to_vec() }
}

/// A withdrawal of so much, for which so much at most may be held.
pub fn withdrawal(amount: Money, at_most: Money, facts: &[Named]) -> withdraw::Request {
    withdraw::Request { wallet: "wallet".into(), amount, at_most, link: None, facts: facts.to_vec() }
}

/// The payment of a bill that was recognised in this code: amount and fee may be held.
pub fn payment(code: bill::Code, bill: bill::Bill, facts: &[Named]) -> bill::Request {
    let at_most = bill.amount.plus(&bill.fee).expect("the fee is in the currency of the bill");
    bill::Request { wallet: "wallet".into(), code, bill, at_most, link: None, facts: facts.to_vec() }
}

/// A linking of this kind, without a mandate.
pub fn linking(kind: &str, facts: &[Named]) -> link_account::Request {
    let wallet = "wallet".into();
    link_account::Request { wallet, kind: kind.to_owned(), link: None, mandate: None, facts: facts.to_vec() }
}

/// A flow of one plugin in a pretend host.
pub struct Flow<P> {
    settings: Vec<Named>,
    now: u64,
    events: u32,
    state: Vec<u8>,
    standing: Standing,
    asked: BTreeMap<String, Act>,
    open: BTreeSet<String>,
    books: Books,
    links: BTreeMap<String, SavedLink>,
    refuse: Option<String>,
    plugin: std::marker::PhantomData<P>,
}

/// A step as it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where the flow stands now.
    pub standing: Standing,
    /// What the host would do now.
    pub effects: Vec<Effect>,
    /// What happened with money.
    pub proposals: Vec<Proposal>,
    /// The reply to the caller.
    pub reply: Option<HttpAnswer>,
    /// Why.
    pub note: Option<Failure>,
}

impl Taken {
    /// The reply's status and JSON body. Panics when there is none.
    pub fn reply_json(&self) -> (u16, Json) {
        let reply = self.reply.as_ref().expect("the step has no reply");
        (reply.status, serde_json::from_slice(&reply.body).expect("the reply is not JSON"))
    }

    /// The code of the note, if there is one.
    pub fn code(&self) -> Option<&str> {
        self.note.as_ref().map(|note| note.code.as_str())
    }

    /// The effect of this key. Panics when there is none.
    pub fn effect(&self, key: &str) -> &Act {
        let effect = self.effects.iter().find(|effect| effect.key == key);
        &effect.unwrap_or_else(|| panic!("no effect `{key}` in {:?}", self.effects)).act
    }
}

impl<P: Charge> Flow<P> {
    /// Begins a charge. Errors: the plugin's own refusal.
    pub fn begin(now: u64, settings: &[Named], request: &Request) -> Result<(Flow<P>, Taken), Failure> {
        let books = Books::charge(request.at_most.clone());
        Flow::open(now, settings, books, || export::begin::<P>(&context(now), settings, request))
    }
}

impl<P: Withdraw> Flow<P> {
    /// Begins a withdrawal. Errors: the plugin's own refusal.
    pub fn begin_withdraw(
        now: u64,
        settings: &[Named],
        request: &withdraw::Request,
    ) -> Result<(Flow<P>, Taken), Failure> {
        let books = Books::payout(request.at_most.clone());
        Flow::open(now, settings, books, || export::begin_withdraw::<P>(&context(now), settings, request))
    }
}

impl<P: PayBill> Flow<P> {
    /// Begins the payment of a bill. Errors: the plugin's own refusal.
    pub fn begin_bill(now: u64, settings: &[Named], request: &bill::Request) -> Result<(Flow<P>, Taken), Failure> {
        let books = Books::payout(request.at_most.clone());
        Flow::open(now, settings, books, || export::begin_bill::<P>(&context(now), settings, request))
    }
}

impl<P: LinkAccount> Flow<P> {
    /// Begins a linking. Errors: the plugin's own refusal.
    pub fn begin_link(
        now: u64,
        settings: &[Named],
        request: &link_account::Request,
    ) -> Result<(Flow<P>, Taken), Failure> {
        Flow::open(now, settings, Books::without_money(), || export::begin_link::<P>(&context(now), settings, request))
    }
}

impl<P: Sync> Flow<P> {
    /// Begins a push of new rows. Errors: the plugin's own refusal.
    pub fn begin_sync(now: u64, settings: &[Named], request: &sync::Request) -> Result<(Flow<P>, Taken), Failure> {
        Flow::open(now, settings, Books::without_money(), || export::begin_sync::<P>(&context(now), settings, request))
    }
}

impl<P: Machine> Flow<P> {
    fn open(
        now: u64,
        settings: &[Named],
        books: Books,
        begin: impl Fn() -> Result<raw::Step, Failure>,
    ) -> Result<(Flow<P>, Taken), Failure> {
        let step = begin()?;
        assert_eq!(Ok(&step), begin().as_ref(), "the beginning is not pure");
        let mut flow = Flow {
            settings: settings.to_vec(),
            now,
            events: 0,
            state: Vec::new(),
            standing: Standing::WaitingForUser,
            asked: BTreeMap::new(),
            open: BTreeSet::new(),
            books,
            links: BTreeMap::new(),
            refuse: None,
            plugin: std::marker::PhantomData,
        };
        let taken = flow.take(step, None);
        Ok((flow, taken))
    }

    /// Where the flow stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// What the wallet got from this flow, after reversals, in minor units.
    pub fn credited_minor(&self) -> i64 {
        self.books.credited_minor()
    }

    /// Whether the credit side of this reference is dead.
    pub fn is_dead(&self, reference: &str) -> bool {
        self.books.is_dead(reference)
    }

    /// What is held now, in minor units.
    pub fn held_minor(&self) -> i64 {
        self.books.held_minor()
    }

    /// What was captured, fees included, in minor units.
    pub fn captured_minor(&self) -> i64 {
        self.books.captured_minor()
    }

    /// The link of the user with this reference, as this flow saved it.
    pub fn link(&self, reference: &str) -> Option<&SavedLink> {
        self.links.get(reference)
    }

    /// Lets time pass.
    pub fn wait_ms(&mut self, milliseconds: u64) {
        self.now += milliseconds;
    }

    /// Makes the ledger refuse the first proposal of the next step that has one, with this outcome.
    pub fn refuse_next(&mut self, outcome: &str) {
        self.refuse = Some(outcome.to_owned());
    }

    /// A partner answers.
    pub fn answer(&mut self, key: &str, status: u16, body: &Json) -> Result<Taken, Failure> {
        self.end(key);
        self.resume(key, What::Answer(HttpAnswer::json(status, body)))
    }

    /// No answer came.
    pub fn lost(&mut self, key: &str, lost: Lost) -> Result<Taken, Failure> {
        self.end(key);
        self.resume(key, What::Lost((lost, "pretended".into())))
    }

    /// A timer rings; time is moved on to it.
    pub fn ring(&mut self, key: &str) -> Result<Taken, Failure> {
        match self.asked.get(key) {
            Some(Act::Timer(at)) => self.now = self.now.max(*at),
            other => panic!("`{key}` is no timer of the flow but {other:?}"),
        }
        self.end(key);
        self.resume(key, What::Rang)
    }

    /// The user fills in a form.
    pub fn form(&mut self, key: &str, answers: &[(&str, Value)]) -> Result<Taken, Failure> {
        assert!(matches!(self.asked.get(key), Some(Act::Show(Show::Form(_)))), "`{key}` is no form of the flow");
        self.end(key);
        let answers = answers.iter().map(|(name, value)| Named { name: (*name).to_owned(), value: value.clone() });
        self.resume(key, What::Form(answers.collect()))
    }

    /// The user agreed at the partner.
    pub fn agree(&mut self, key: &str) -> Result<Taken, Failure> {
        assert!(matches!(self.asked.get(key), Some(Act::Show(Show::Consent(_)))), "`{key}` sends the user nowhere");
        self.end(key);
        self.resume(key, What::Agreed)
    }

    /// A record stands in its file.
    pub fn queue(&mut self, key: &str) -> Result<Taken, Failure> {
        assert!(matches!(self.asked.get(key), Some(Act::Enqueue(_))), "`{key}` put nothing into a file");
        self.resume(key, What::Queued)
    }

    /// A file of the partner's has this record for the flow. Panics when it never expected the correlation.
    pub fn file_says(&mut self, file: &str, correlation: &str, record: &[u8]) -> Result<Taken, Failure> {
        let expectation = Act::Expect(correlation.to_owned());
        let key = self.asked.iter().find(|(_, act)| **act == expectation).map(|(key, _)| key.clone());
        let key = key.unwrap_or_else(|| panic!("the flow never expected `{correlation}`"));
        let (operation, body) = (file.to_owned(), record.to_vec());
        self.resume(&key, What::Message(Message { operation, path: String::new(), query: Vec::new(), body }))
    }

    /// The file that a record was put into is sealed under this name.
    pub fn seal(&mut self, key: &str, file: &str) -> Result<Taken, Failure> {
        assert!(matches!(self.asked.get(key), Some(Act::Enqueue(_))), "`{key}` put nothing into a file");
        self.end(key);
        self.resume(key, What::Sealed(file.to_owned()))
    }

    /// The user asks to cancel.
    pub fn ask_to_cancel(&mut self) -> Result<Taken, Failure> {
        self.resume("", What::CancelAsked)
    }

    /// An event as it is.
    pub fn resume(&mut self, key: &str, what: What) -> Result<Taken, Failure> {
        let event = Event { number: self.events + 1, key: key.to_owned(), what };
        let step = self.call(&event, None)?;
        let step = match self.refuse.take_if(|_| !step.proposals.is_empty()) {
            None => step,
            Some(outcome) => {
                // Nothing of the refused step is taken: the same state and event again, with the refusal beside them.
                let again = self.call(&event, Some(&Refusal { proposal: 0, outcome }))?;
                assert!(
                    !again.proposals.iter().any(|proposal| step.proposals.contains(proposal)),
                    "what was refused is proposed again: the flow would be stuck"
                );
                again
            }
        };
        self.events = event.number;
        Ok(self.take(step, Some(&event)))
    }

    fn call(&self, event: &Event, refused: Option<&Refusal>) -> Result<raw::Step, Failure> {
        let step = || export::resume::<P>(&context(self.now), &self.settings, &self.state, event, refused);
        let (once, again) = (step(), step());
        assert_eq!(once, again, "the same event gives two different steps");
        once
    }

    fn end(&mut self, key: &str) {
        assert!(self.open.remove(key), "no effect `{key}` is open; open are {:?}", self.open);
    }

    /// Takes a step as the real host would, or panics with the rule that it breaks.
    fn take(&mut self, step: raw::Step, because: Option<&Event>) -> Taken {
        assert!(step.state.len() <= STATE_MAX_BYTES, "the state has {} bytes", step.state.len());
        assert!(step.proposals.len() <= STEP_MAX, "a step with {} proposals", step.proposals.len());
        assert!(step.effects.len() <= STEP_MAX, "a step with {} effects", step.effects.len());
        for proposal in &step.proposals {
            self.books.post(self.standing.is_final(), proposal, because);
        }
        for effect in &step.effects {
            self.ask(effect);
        }
        assert!(self.open.len() <= OPEN_EFFECTS_MAX, "{} effects are open", self.open.len());
        if self.standing.is_final() {
            assert!(step.effects.is_empty(), "a final flow asks for {:?}", step.effects);
            assert_eq!(step.standing, self.standing, "a final flow changes its standing");
        }
        if step.standing.is_final() {
            self.books.is_settled();
            self.open.retain(|key| matches!(self.asked.get(key), Some(Act::Expect(_))));
        }
        self.state = step.state;
        self.standing = step.standing;
        Taken {
            standing: step.standing,
            effects: step.effects,
            proposals: step.proposals,
            reply: step.reply,
            note: step.note,
        }
    }

    fn ask(&mut self, effect: &Effect) {
        if let Some(before) = self.asked.get(&effect.key) {
            assert_eq!(before, &effect.act, "the key `{}` stands for two things", effect.key);
            return;
        }
        self.asked.insert(effect.key.clone(), effect.act.clone());
        match &effect.act {
            Act::Cancel(of) => {
                assert!(self.asked.contains_key(of), "`{}` takes back `{of}`, which was never asked", effect.key);
                self.open.remove(of);
            }
            // What is only shown costs nobody anything.
            Act::Show(Show::Form(_) | Show::Consent(_))
            | Act::Http(_)
            | Act::Timer(_)
            | Act::Enqueue(_)
            | Act::Expect(_) => {
                self.open.insert(effect.key.clone());
            }
            Act::Show(_) => {}
            Act::SaveLink(link) => {
                assert!(link.data.len() <= LINK_MAX_BYTES, "the link's data has {} bytes", link.data.len());
                self.links.insert(link.reference.clone(), link.clone());
            }
            Act::DropLink(reference) => drop(self.links.remove(reference)),
        }
    }
}

impl<P: Machine + Inbound> Flow<P> {
    /// A partner calls: the plugin routes the call, and this flow gets it if it ever expected the correlation. Panics when it did not, and when the
    /// plugin answers by itself; [`route`] shows those.
    pub fn partner_calls(&mut self, operation: &str, body: &Json) -> Result<Taken, Failure> {
        let call = call(operation, body);
        let delivery = match export::route::<P>(&context(self.now), &self.settings, &call)? {
            Routing::Deliver(delivery) => delivery,
            Routing::Begin(opening) => opening.delivery,
            Routing::Answer(answer) => panic!("the plugin answered by itself: {answer:?}"),
        };
        let expectation = Act::Expect(delivery.correlation.clone());
        let key = self.asked.iter().find(|(_, act)| **act == expectation).map(|(key, _)| key.clone());
        let key = key.unwrap_or_else(|| panic!("the flow never expected `{}`", delivery.correlation));
        let message = Message { operation: call.operation, path: call.path, query: call.query, body: call.body };
        self.resume(&key, What::Message(message))
    }
}

/// Where the plugin would send this call.
pub fn route<P: Inbound>(now: u64, settings: &[Named], operation: &str, body: &Json) -> Result<Routing, Failure> {
    export::route::<P>(&context(now), settings, &call(operation, body))
}

fn call(operation: &str, body: &Json) -> Call {
    Call {
        endpoint: "network".into(),
        operation: operation.to_owned(),
        path: String::new(),
        query: Vec::new(),
        body: body.to_string().into_bytes(),
    }
}
