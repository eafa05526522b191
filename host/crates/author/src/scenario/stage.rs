//! The world of one scenario: a flow, a wallet, the books and the plugin's partner, under the rules of the real host.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use koban_domain::access::Access;
use koban_domain::accounts::{AccountKey, Class, PluginKey, PostingSide};
use koban_domain::books::{Books, User};
use koban_domain::charges::{Exposure, ReferenceKey, Tombstone};
use koban_domain::flows::{
    self, AGE_MAX_MS, Arrival, Authorisation, CallKey, Consumed, EffectState, Flow, StepCommit, StepRefused,
};
use koban_domain::guest::{
    Act, Bill, BillCode, BillRequest, ChargeRequest, Delivery, Event, HttpAnswer, InboundCall, Lost, Message, Named,
    Proposal, Routing, Show, Step, StepRefusal, Value, What, WithdrawRequest,
};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::journal::Head;
use koban_domain::ledger::{Command, Commit, Decided, Unexpected, Work};
use koban_domain::limits::{self, Limits, WalletKind};
use koban_domain::manifest::{Beginning, Manifest, Repeat};
use koban_domain::money::Currency;
use koban_domain::outcomes::Refusal;
use koban_domain::policy::Policy;
use koban_domain::records::{Digest, Input, Output};
use koban_domain::time::Timestamp;
use koban_domain::verification::Verification;
use uuid::Uuid;

use super::{Begin, Guest, Scenario, words};
use crate::values::money;

/// How long an authorisation holds, as for a real charge.
const AUTHORISED_MS: i64 = 3_600_000;
/// Most events that one step of a scenario leads to.
const TURN_MAX: u32 = 64;
const USER: UserId = UserId(Uuid::from_u128(1));
const FLOW: FlowId = FlowId(Uuid::from_u128(2));

/// What a step of the scenario led to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The effects asked for, in words.
    pub(super) effects: Vec<String>,
    /// The proposals taken, in words.
    pub(super) proposals: Vec<String>,
    /// The bodies of calls, by key.
    pub(super) sends: BTreeMap<String, Vec<u8>>,
    /// The reply to the partner.
    pub(super) reply: Option<HttpAnswer>,
    /// The code of the note.
    pub(super) note: Option<String>,
    /// Whether what should have happened could not happen, and was left out.
    pub(super) skipped: bool,
}

/// A call under way.
struct Call {
    repeat: Repeat,
    deadline: Timestamp,
}

/// The world. Everything that goes wrong is said in words.
pub(super) struct Stage<'a, G> {
    guest: &'a G,
    manifest: &'a Manifest,
    pub(super) now: Timestamp,
    locale: &'a str,
    head: Head,
    books: Books,
    pub(super) flow: Option<Flow>,
    place: i64,
    works: u128,
    inbox: VecDeque<Arrival>,
    timers: BTreeMap<String, Timestamp>,
    calls: BTreeMap<String, Call>,
    replies: BTreeMap<CallKey, HttpAnswer>,
    /// The ledger refuses the next proposal with this outcome.
    pub(super) refuse: Option<String>,
    /// The last call of the guest with its answer, for a host that is killed before the commit.
    last: Option<(Timestamp, Input, Output)>,
    /// Which happening is being played: what happens twice has the same number twice.
    pub(super) origin: usize,
    /// Which happenings have brought credits, and as which event.
    credited_by: BTreeMap<usize, i64>,
    /// Credits taken, gross, minor units.
    pub(super) gross: i64,
}

impl<'a, G: Guest> Stage<'a, G> {
    pub(super) fn new(scenario: &'a Scenario, manifest: &'a Manifest, guest: &'a G) -> Stage<'a, G> {
        let policy = Policy { limits: Limits(limits::published()), ..Policy::default() };
        let mut books = Books { policy: Arc::new(policy), ..Books::default() };
        let kind = scenario.wallet.kind;
        let verification = Verification::of(kind);
        let user = User { id: USER, kind, access: Access::Open, verification, created_at: Timestamp(0) };
        books.users.load(USER, user);
        let balance = scenario.wallet.balance;
        let (cap, loss_budget) = (scenario.exposure_cap, scenario.loss_budget);
        for currency in [Currency::JPY, balance.currency] {
            let exposure = Exposure { cap, used: 0, loss_budget, lost: 0 };
            books.exposures.load((PluginKey::of(&manifest.id), currency), exposure);
        }
        let class = if kind == WalletKind::Funds { Class::Funds } else { Class::Prepaid };
        let sides = [
            (AccountKey::platform(Class::Bank, balance.currency), PostingSide::Debit),
            (AccountKey::user(class, USER, balance.currency), PostingSide::Credit),
        ];
        for (key, side) in sides {
            if let Some(account) = books.account(key).posted(side, balance.minor) {
                books.accounts.load(key.id(), account);
            }
        }
        Stage {
            guest,
            manifest,
            now: scenario.now,
            locale: &scenario.locale,
            head: Head::EMPTY,
            books,
            flow: None,
            place: 0,
            works: 0,
            inbox: VecDeque::new(),
            timers: BTreeMap::new(),
            calls: BTreeMap::new(),
            replies: BTreeMap::new(),
            refuse: None,
            last: None,
            origin: 0,
            credited_by: BTreeMap::new(),
            gross: 0,
        }
    }

    /// Credits less reversals, minor units.
    pub(super) fn net(&self) -> i64 {
        self.flow.as_ref().map_or(0, Flow::net)
    }

    /// Opens the flow. A plugin's own refusal opens none and is seen as its note.
    pub(super) async fn begin(&mut self, begin: &Begin, seen: &mut Seen) -> Result<(), String> {
        let Begin { beginning, at_most, amount, facts, code } = begin;
        let (beginning, at_most, facts, wallet) = (*beginning, *at_most, facts.clone(), "wallet".to_owned());
        let (mut bill_to_pay, mut fee) = (None, 0);
        let input = match (beginning, code) {
            (Beginning::PayBill, Some(code)) => {
                let Some(bill) = self.recognise(code, facts.clone(), seen).await? else { return Ok(()) };
                (bill_to_pay, fee) = (Some(bill.clone()), bill.fee.minor);
                Input::BeginBill(Box::new(BillRequest { wallet, code: code.clone(), bill, at_most, link: None, facts }))
            }
            (Beginning::Withdraw, _) => {
                let amount = amount.unwrap_or(at_most);
                fee = at_most.minor.saturating_sub(amount.minor);
                Input::BeginWithdraw(WithdrawRequest { wallet, amount, at_most, link: None, facts })
            }
            _ => Input::BeginCharge(ChargeRequest { wallet, amount: *amount, at_most, facts }),
        };
        let step = match self.ask(input).await? {
            Output::Step(step) => step,
            Output::Failure(failure) => {
                seen.note = Some(failure.code);
                return Ok(());
            }
            _ => return Err("the answer belongs to another function".to_owned()),
        };
        let authorisation = Authorisation { user: USER, at_most, expires_at: self.now.plus_ms(AUTHORISED_MS) };
        let ran = (Digest::default(), Digest::default());
        let mut flow = Flow::open(FLOW, &self.manifest.id, ran, beginning, authorisation, self.locale, self.now);
        (flow.outgoing.bill, flow.outgoing.fee) = (bill_to_pay, fee);
        let plan = flows::advance(&flow, None, step.clone(), self.manifest, self.now).map_err(|error| match error {
            StepRefused::Broken(why) => format!("the beginning breaks a rule of flows: {why}"),
            StepRefused::Refused(refusal) => format!("the beginning is refused: {}", refusal.outcome),
        })?;
        match self.commit(plan.commands, plan.step, &step, seen)? {
            Some(refusal) => Err(format!("the ledger refuses the beginning: {}", refusal.outcome)),
            None => self.drain(seen).await,
        }
    }

    /// The bill that a code is. What is none, or cannot be paid, is seen as a note.
    async fn recognise(&mut self, code: &BillCode, facts: Vec<Named>, seen: &mut Seen) -> Result<Option<Bill>, String> {
        match self.ask(Input::Recognise(code.clone(), facts)).await? {
            Output::Bill(Some(bill)) => Ok(Some(bill)),
            Output::Bill(None) => Err("`recognise` says that the code is no bill of this plugin".to_owned()),
            Output::Failure(failure) => {
                seen.note = Some(failure.code);
                Ok(None)
            }
            _ => Err("the answer belongs to another function".to_owned()),
        }
    }

    /// The user fills in a form. False if it is not shown.
    pub(super) async fn form(
        &mut self,
        key: &str,
        values: &BTreeMap<String, String>,
        seen: &mut Seen,
    ) -> Result<bool, String> {
        let effect = self.flow.iter().flat_map(|flow| &flow.effects).find(|effect| effect.key == key);
        let Some(Show::Form(fields)) = effect.and_then(|effect| effect.show.clone()) else { return Ok(false) };
        let mut answers = Vec::new();
        for (name, text) in values {
            let Some(field) = fields.iter().find(|field| field.name == *name) else {
                let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                return Err(format!("the form `{key}` has no field `{name}`: it has {}", names.join(", ")));
            };
            if text.chars().count() > usize::try_from(field.max_length).unwrap_or(usize::MAX) {
                return Err(format!("the field `{name}` takes at most {} characters", field.max_length));
            }
            let value = match field.kind {
                koban_domain::guest::FieldKind::Amount => Value::Amount(money(text)?),
                _ => Value::Text(text.clone()),
            };
            answers.push(Named { name: name.clone(), value });
        }
        if let Some(missing) = fields.iter().find(|field| field.required && !values.contains_key(&field.name)) {
            return Err(format!("the form `{key}` needs a value for `{}`", missing.name));
        }
        self.arrives(key, What::Form(answers), seen).await?;
        Ok(true)
    }

    /// The partner answers a call, or nothing comes. False if no such call is under way; `again` gives it all the same.
    pub(super) async fn ends(&mut self, key: &str, what: What, again: bool, seen: &mut Seen) -> Result<bool, String> {
        let expects =
            |flow: &Flow| flow.effects.iter().any(|effect| effect.key == key && effect.state == EffectState::Open);
        let is_open = self.calls.contains_key(key)
            || (matches!(what, What::Lost(Lost::Refused, _)) && self.flow.as_ref().is_some_and(expects));
        if !is_open && !again {
            return Ok(false);
        }
        self.calls.remove(key);
        self.arrives(key, what, seen).await?;
        Ok(true)
    }

    /// The partner calls. The same bytes again get the stored reply, unless `fresh` makes them another call.
    pub(super) async fn partner(&mut self, call: InboundCall, fresh: bool, seen: &mut Seen) -> Result<(), String> {
        if let Some((_, spec)) = self.manifest.inbound(&call.operation) {
            let has_more = !call.path.is_empty() || !call.query.is_empty();
            spec.check_meant(has_more, &call.body).map_err(|why| format!("the host refuses this call: {why}"))?;
        }
        let delivery = match self.ask(Input::Route(call.clone())).await? {
            Output::Routing(Routing::Deliver(delivery)) => delivery,
            // Played without a mandate: the call goes to the flow, or gets what the plugin says for the case that none can begin.
            Output::Routing(Routing::Begin(opening)) => opening.delivery,
            Output::Routing(Routing::Answer(answer)) => {
                seen.reply = Some(answer);
                return Ok(());
            }
            Output::Failure(failure) => {
                return Err(format!("`route` failed with {} ({})", failure.code, failure.message));
            }
            _ => return Err("the answer belongs to another function".to_owned()),
        };
        let key = CallKey::of(PluginKey::of(&self.manifest.id), &call, &delivery.correlation);
        if let Some(reply) = self.replies.get(&key).filter(|_| !fresh) {
            seen.reply = Some(reply.clone());
            return Ok(());
        }
        match self.expected(&delivery)? {
            Some(name) => {
                let message =
                    Message { operation: call.operation, path: call.path, query: call.query, body: call.body };
                let arrival =
                    Arrival { flow: FLOW, key: name, what: What::Message(message), call: Some(key), at: self.now };
                self.take(arrival, seen).await?;
                self.drain(seen).await
            }
            None => {
                self.replies.insert(key, delivery.otherwise.clone());
                seen.reply = Some(delivery.otherwise);
                Ok(())
            }
        }
    }

    /// The flow's name for the expectation that a call belongs to; none if no flow has it, which is then written down for ever.
    fn expected(&mut self, delivery: &Delivery) -> Result<Option<String>, String> {
        let plugin = PluginKey::of(&self.manifest.id);
        let known = self.books.expectations.get(&(plugin, delivery.correlation.clone()));
        if let Some(known) = known.filter(|known| known.flow.is_some()) {
            return Ok(Some(known.key.clone()));
        }
        let mut commands = vec![Command::Unexpected(Unexpected { plugin, correlation: delivery.correlation.clone() })];
        commands.extend(
            delivery
                .tombstone
                .iter()
                .map(|reference| Command::Tombstone(Tombstone { plugin, flow: None, reference: reference.clone() })),
        );
        let work = Work { commands, ..self.work() };
        match self.decide(work) {
            Ok(_) => Ok(None),
            // The reference was credited: the call concerns the flow that brought it, whatever its correlation.
            Err((_, Refusal::ReferenceCredited)) => {
                let reference = delivery.tombstone.as_deref().unwrap_or_default();
                let credit = self.books.references.get(&ReferenceKey::credit(plugin, reference));
                let flow = self.flow.as_ref().filter(|_| credit.is_some_and(|credit| credit.flow.is_some()));
                let name = flow.and_then(|flow| flow.effects.iter().find(|effect| effect.expects));
                Ok(Some(name.map(|effect| effect.key.clone()).unwrap_or_default()))
            }
            Err((_, refusal)) => Err(format!("the ledger refuses the tombstone of `route`: {}", refusal.code())),
        }
    }

    /// Time passes, and every timer that becomes due rings.
    pub(super) async fn wait(&mut self, ms: i64, seen: &mut Seen) -> Result<(), String> {
        let until = self.now.plus_ms(ms);
        for _ in 0..TURN_MAX {
            let due = self.timers.iter().min_by_key(|(_, at)| **at).map(|(key, at)| (key.clone(), *at));
            let Some((key, at)) = due.filter(|(_, at)| *at <= until) else {
                self.now = until;
                return Ok(());
            };
            self.timers.remove(&key);
            self.now = self.now.max(at);
            self.arrives(&key, What::Rang, seen).await?;
        }
        Err(format!("more than {TURN_MAX} timers rang: the flow sets one after the other without a pause"))
    }

    /// The user asks to stop. False if there is nothing to stop.
    pub(super) async fn cancel(&mut self, seen: &mut Seen) -> Result<bool, String> {
        if self.flow.as_ref().is_none_or(|flow| flow.standing.is_final()) {
            return Ok(false);
        }
        self.arrives("", What::CancelAsked, seen).await?;
        Ok(true)
    }

    /// The host is killed between the guest's last answer and its commit, and starts again: the same event is asked once more.
    pub(super) async fn kill(&mut self) -> Result<(), String> {
        let Some((at, input, before)) = self.last.clone() else { return Ok(()) };
        match self.guest.call(at, self.locale, input).await {
            Ok(answer) if answer == before => Ok(()),
            _ => Err(IMPURE.to_owned()),
        }
    }

    /// The host is killed while a call is under way: what may be repeated is repeated, anything else is unknown. False if there is no such call.
    pub(super) async fn kill_during(&mut self, key: &str, seen: &mut Seen) -> Result<bool, String> {
        match self.calls.get(key).map(|call| call.repeat) {
            None => Ok(false),
            Some(Repeat::Safe) => Ok(true),
            Some(Repeat::Never) => {
                let why = "the host stopped while the call was under way".to_owned();
                self.ends(key, What::Lost(Lost::Unknown, why), false, seen).await
            }
        }
    }

    /// Lets the flow go on alone: timers ring, calls under way are lost, nobody says anything more.
    pub(super) async fn settle(&mut self) -> Result<(), String> {
        for _ in 0..TURN_MAX {
            let Some(flow) = self.flow.as_ref().filter(|flow| !flow.standing.is_final()) else { return Ok(()) };
            if self.now.since_ms(flow.opened_at) > AGE_MAX_MS {
                return Ok(());
            }
            let mut seen = Seen::default();
            let call =
                self.calls.iter().min_by_key(|(_, call)| call.deadline).map(|(key, call)| (key.clone(), call.deadline));
            let timer = self.timers.iter().min_by_key(|(_, at)| **at).map(|(key, at)| (key.clone(), *at));
            match (call, timer) {
                (Some((key, deadline)), timer) if timer.as_ref().is_none_or(|(_, at)| deadline <= *at) => {
                    self.now = self.now.max(deadline);
                    let why = "no answer came in time".to_owned();
                    self.ends(&key, What::Lost(Lost::Unknown, why), false, &mut seen).await?;
                }
                (_, Some((_, at))) => self.wait(at.since_ms(self.now).max(0), &mut seen).await?,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether the flow has come to an end, or something may still move it.
    pub(super) fn rests_well(&self) -> Result<(), String> {
        let Some(flow) = &self.flow else { return Ok(()) };
        let moves =
            |show: &Option<Show>| !matches!(show, Some(Show::Text(_) | Show::Code(_) | Show::Qr(_) | Show::Link(_)));
        let open = flow.effects.iter().any(|effect| effect.state == EffectState::Open && moves(&effect.show));
        if flow.standing.is_final() || open {
            return Ok(());
        }
        Err(format!(
            "the flow stands at {} with nothing open: no form, call, timer or expectation will ever move it; end it, or set a timer",
            words::standing(flow.standing)
        ))
    }

    /// What is open now, for a message.
    pub(super) fn open(&self) -> String {
        let flow = self.flow.iter().flat_map(|flow| &flow.effects);
        let keys: Vec<&str> =
            flow.filter(|effect| effect.state == EffectState::Open).map(|effect| effect.key.as_str()).collect();
        if keys.is_empty() { "nothing is open".to_owned() } else { format!("open are {}", keys.join(", ")) }
    }

    async fn arrives(&mut self, key: &str, what: What, seen: &mut Seen) -> Result<(), String> {
        self.take(Arrival { flow: FLOW, key: key.to_owned(), what, call: None, at: self.now }, seen).await?;
        self.drain(seen).await
    }

    /// Events that arose in commits.
    async fn drain(&mut self, seen: &mut Seen) -> Result<(), String> {
        for _ in 0..TURN_MAX {
            let Some(arrival) = self.inbox.pop_front() else { return Ok(()) };
            self.take(arrival, seen).await?;
        }
        Err(format!("more than {TURN_MAX} events came of one: the flow does not come to rest"))
    }

    /// One event: asks the plugin and commits what may be done of its answer, as the host's driver does.
    async fn take(&mut self, arrival: Arrival, seen: &mut Seen) -> Result<(), String> {
        self.place += 1;
        let place = self.place;
        for _ in 0..=flows::REFUSALS_MAX {
            let Some(flow) = self.flow.clone() else { return Ok(()) };
            let event = Event { number: flow.events + 1, key: arrival.key.clone(), what: arrival.what.clone() };
            if is_stale(&flow, &event) {
                return Ok(());
            }
            let consumed = Consumed { place, event: event.clone(), call: arrival.call };
            let refused = flow.refusal_of(place);
            let step = match self.ask(Input::Resume(flow.state.clone(), event, refused)).await? {
                Output::Step(step) => step,
                Output::Failure(failure) => {
                    return Err(format!(
                        "`resume` gave no step but {} ({}): a flow answers every event with a step",
                        failure.code, failure.message
                    ));
                }
                _ => return Err("the answer belongs to another function".to_owned()),
            };
            let plan = match flows::advance(&flow, Some(&consumed), step.clone(), self.manifest, self.now) {
                Ok(plan) => plan,
                Err(StepRefused::Broken(why)) => return Err(format!("the step breaks a rule of flows: {why}")),
                Err(StepRefused::Refused(refusal)) => {
                    self.refused(&flow, place, refusal)?;
                    continue;
                }
            };
            let forced = self.refuse.take().filter(|_| !step.proposals.is_empty());
            if let Some(outcome) = forced {
                self.refused(&flow, place, StepRefusal { proposal: 0, outcome })?;
                continue;
            }
            match self.commit(plan.commands, plan.step, &step, seen)? {
                Some(refusal) => self.refused(&flow, place, refusal)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// The plugin is told once; after the second refusal of the same event the flow is stuck.
    fn refused(&mut self, flow: &Flow, place: i64, refusal: StepRefusal) -> Result<(), String> {
        let next = flows::refused(flow, place, refusal, self.now).flow;
        let stuck = next.stuck.as_ref().map(|stuck| stuck.reason.clone());
        self.books.flows.load(FLOW, next.version);
        self.flow = Some(next);
        stuck.map_or(Ok(()), |reason| Err(format!("the flow is stuck, an operator would be needed: {reason}")))
    }

    /// Commits a step. The ledger's refusal of a proposal comes back; nothing is taken then.
    fn commit(
        &mut self,
        commands: Vec<Command>,
        plan: StepCommit,
        step: &Step,
        seen: &mut Seen,
    ) -> Result<Option<StepRefusal>, String> {
        let work = Work { commands, step: Some(Box::new(plan.clone())), ..self.work() };
        let arrivals = match self.decide(work) {
            Ok(arrivals) => arrivals,
            Err((place, refusal)) if place < step.proposals.len() => {
                let proposal = u32::try_from(place).unwrap_or(u32::MAX);
                return Ok(Some(StepRefusal { proposal, outcome: refusal.code().to_owned() }));
            }
            Err((_, refusal)) => return Err(format!("the ledger refuses the step: {}", refusal.code())),
        };
        for proposal in &step.proposals {
            if let Proposal::Credit(credit) = proposal {
                self.gross = self.gross.saturating_add(credit.amount.minor);
                let before = self.credited_by.insert(self.origin, self.place);
                if before.is_some_and(|before| before != self.place) {
                    return Err(format!("a second credit: `{}` rests on what was credited before", credit.key));
                }
            }
        }
        if let Some(stuck) = &plan.flow.stuck {
            return Err(format!("the flow is stuck, an operator would be needed: {}", stuck.reason));
        }
        for effect in &step.effects {
            if let Act::Http(call) = &effect.act {
                seen.sends.insert(effect.key.clone(), call.body.clone());
            }
        }
        seen.effects.extend(step.effects.iter().map(|effect| words::effect(effect, self.now)));
        seen.proposals.extend(step.proposals.iter().map(words::proposal));
        seen.note = step.note.as_ref().map(|note| note.code.clone()).or(seen.note.take());
        for key in &plan.cancelled {
            self.timers.remove(key);
        }
        for queued in &plan.queued {
            match queued.act {
                Act::Http(_) => {
                    let call = Call { repeat: queued.repeat, deadline: queued.deadline };
                    self.calls.insert(queued.key.clone(), call);
                }
                Act::Timer(_) => drop(self.timers.insert(queued.key.clone(), queued.due_at)),
                _ => {}
            }
        }
        for (key, reply) in &plan.replies {
            self.replies.insert(*key, reply.clone());
            seen.reply = Some(reply.clone());
        }
        self.inbox.extend(plan.arrivals.iter().cloned().chain(arrivals));
        if plan.flow.standing.is_final() {
            self.timers.clear();
            self.calls.clear();
        }
        self.flow = Some(plan.flow);
        Ok(None)
    }

    fn work(&mut self) -> Work {
        self.works += 1;
        Work::new(Uuid::from_u128(self.works << 32), format!("plugin:{}", self.manifest.id))
    }

    /// Decides work as the ledger does. Errors: which command was refused, and why.
    fn decide(&mut self, work: Work) -> Result<Vec<Arrival>, (usize, Refusal)> {
        let mut commit = Commit::new(self.head, self.books.clone(), self.now);
        match commit.decide(&work) {
            Decided::Refused(place, refusal) => Err((place, refusal)),
            _ => {
                (self.head, self.books) = (commit.head, commit.books);
                Ok(commit.arrivals)
            }
        }
    }

    /// Asks the plugin, twice: whatever happens between its answer and the commit, the same event must give the same step.
    async fn ask(&mut self, input: Input) -> Result<Output, String> {
        let function = input.function();
        let fault = |fault: koban_domain::records::Fault| format!("`{function}` ended in a fault: {fault}");
        let answer = self.guest.call(self.now, self.locale, input.clone()).await.map_err(fault)?;
        let again = self.guest.call(self.now, self.locale, input.clone()).await.map_err(fault)?;
        if answer != again {
            return Err(IMPURE.to_owned());
        }
        self.last = Some((self.now, input, answer.clone()));
        Ok(answer)
    }
}

const IMPURE: &str = "the same event gave another step the second time: a step may depend on nothing but its arguments (a HashMap's order is an accident)";

/// A form that was answered twice, or a timer that rang while it was taken back: the host does not ask the plugin.
fn is_stale(flow: &Flow, event: &Event) -> bool {
    matches!(event.what, What::Form(_) | What::Rang)
        && flow.effects.iter().any(|effect| effect.key == event.key && effect.state != EffectState::Open)
}
