//! The door's calls by name, each with its own answer type.

use koban_domain::guest::{
    Action, AssessPayment, Assessment, Bill, BillCode, BillRequest, ChargeRequest, Description, Document, Event,
    Failure, Happening, InboundCall, Link, LinkRequest, MarketRate, Named, OutgoingFile, Price, QuoteRequest,
    Remembered, Routing, SettlementLine, Signal, StatementAccount, Step, StepRefusal, SyncRequest, TableRequest, Value,
    WithdrawRequest,
};
use koban_domain::records::{Fault, Input, Output, Record};

use crate::door::{CallContext, Called, Door};
use crate::faults::bad;
use crate::plugin::Plugin;

/// The plugin's answer or its own refusal, or the fault, with the record either way.
type Typed<T> = (Result<Result<T, Failure>, Fault>, Record);

impl Door {
    /// Asks a rule about a payment.
    pub async fn assess(
        &self,
        plugin: &Plugin,
        context: CallContext,
        payment: AssessPayment,
        facts: Vec<Named>,
        signals: Vec<Signal>,
    ) -> Typed<Assessment> {
        typed(self.call(plugin, context, Input::Assess(payment, facts, signals)).await, |output| match output {
            Output::Assessment(assessment) => Some(assessment),
            _ => None,
        })
    }

    /// Begins a charge, with a link if one was chosen.
    pub async fn begin_charge(
        &self,
        plugin: &Plugin,
        context: CallContext,
        request: ChargeRequest,
        link: Option<Link>,
    ) -> Typed<Step> {
        let input = match link {
            Some(link) => Input::BeginLinkedCharge(request, link),
            None => Input::BeginCharge(request),
        };
        typed(self.call(plugin, context, input).await, step)
    }

    /// Begins a withdrawal.
    pub async fn begin_withdraw(&self, plugin: &Plugin, context: CallContext, request: WithdrawRequest) -> Typed<Step> {
        typed(self.call(plugin, context, Input::BeginWithdraw(request)).await, step)
    }

    /// Begins a linking.
    pub async fn begin_link(&self, plugin: &Plugin, context: CallContext, request: LinkRequest) -> Typed<Step> {
        typed(self.call(plugin, context, Input::BeginLink(request)).await, step)
    }

    /// Begins the payment of a bill.
    pub async fn begin_bill(&self, plugin: &Plugin, context: CallContext, request: BillRequest) -> Typed<Step> {
        typed(self.call(plugin, context, Input::BeginBill(Box::new(request))).await, step)
    }

    /// Begins a push of new rows.
    pub async fn begin_sync(&self, plugin: &Plugin, context: CallContext, request: SyncRequest) -> Typed<Step> {
        typed(self.call(plugin, context, Input::BeginSync(Box::new(request))).await, step)
    }

    /// Asks what bill a code is.
    pub async fn recognise(
        &self,
        plugin: &Plugin,
        context: CallContext,
        code: BillCode,
        facts: Vec<Named>,
    ) -> Typed<Option<Bill>> {
        typed(self.call(plugin, context, Input::Recognise(code, facts)).await, |output| match output {
            Output::Bill(bill) => Some(bill),
            _ => None,
        })
    }

    /// Takes a feed of rates apart.
    pub async fn parse_rates(&self, plugin: &Plugin, context: CallContext, content: Vec<u8>) -> Typed<Vec<MarketRate>> {
        typed(self.call(plugin, context, Input::ParseRates(content)).await, |output| match output {
            Output::Rates(rates) => Some(rates),
            _ => None,
        })
    }

    /// Asks for a price.
    pub async fn quote(&self, plugin: &Plugin, context: CallContext, request: QuoteRequest) -> Typed<Price> {
        typed(self.call(plugin, context, Input::Quote(request)).await, |output| match output {
            Output::Price(price) => Some(price),
            _ => None,
        })
    }

    /// Has a statement written in one of the plugin's formats.
    pub async fn compose_statement(
        &self,
        plugin: &Plugin,
        context: CallContext,
        format: String,
        account: StatementAccount,
    ) -> Typed<Document> {
        typed(self.call(plugin, context, Input::ComposeStatement(format, account)).await, |output| match output {
            Output::Document(document) => Some(document),
            _ => None,
        })
    }

    /// Asks what shall follow from an event.
    pub async fn on_event(
        &self,
        plugin: &Plugin,
        context: CallContext,
        event: Happening,
        remembered: Vec<Remembered>,
    ) -> Typed<Vec<Action>> {
        typed(self.call(plugin, context, Input::OnEvent(event, remembered)).await, |output| match output {
            Output::Actions(actions) => Some(actions),
            _ => None,
        })
    }

    /// Has the rows of a page made.
    pub async fn table_rows(
        &self,
        plugin: &Plugin,
        context: CallContext,
        request: TableRequest,
    ) -> Typed<Vec<Vec<Value>>> {
        typed(self.call(plugin, context, Input::TableRows(request)).await, |output| match output {
            Output::Rows(rows) => Some(rows),
            _ => None,
        })
    }

    /// Has a partner's file composed of its records.
    pub async fn compose_file(
        &self,
        plugin: &Plugin,
        context: CallContext,
        file: OutgoingFile,
        records: Vec<(String, Vec<u8>)>,
    ) -> Typed<Vec<u8>> {
        typed(self.call(plugin, context, Input::ComposeFile(file, records)).await, |output| match output {
            Output::File(content) => Some(content),
            _ => None,
        })
    }

    /// Takes a partner's file apart.
    pub async fn parse_file(
        &self,
        plugin: &Plugin,
        context: CallContext,
        file: String,
        content: Vec<u8>,
    ) -> Typed<Vec<(String, Vec<u8>)>> {
        typed(self.call(plugin, context, Input::ParseFile(file, content)).await, |output| match output {
            Output::Records(records) => Some(records),
            _ => None,
        })
    }

    /// Has the state of a flow carried over from another version.
    pub async fn migrate_state(
        &self,
        plugin: &Plugin,
        context: CallContext,
        version: String,
        state: Vec<u8>,
    ) -> Typed<Vec<u8>> {
        typed(self.call(plugin, context, Input::MigrateState(version, state)).await, |output| match output {
            Output::State(state) => Some(state),
            _ => None,
        })
    }

    /// Gives a flow its next event.
    pub async fn resume(
        &self,
        plugin: &Plugin,
        context: CallContext,
        state: Vec<u8>,
        event: Event,
        refused: Option<StepRefusal>,
    ) -> Typed<Step> {
        typed(self.call(plugin, context, Input::Resume(state, event, refused)).await, step)
    }

    /// Asks where a partner's call belongs.
    pub async fn route(&self, plugin: &Plugin, context: CallContext, call: InboundCall) -> Typed<Routing> {
        typed(self.call(plugin, context, Input::Route(call)).await, |output| match output {
            Output::Routing(routing) => Some(routing),
            _ => None,
        })
    }

    /// Takes a settlement file apart.
    pub async fn parse_settlement(
        &self,
        plugin: &Plugin,
        context: CallContext,
        content: Vec<u8>,
    ) -> Typed<Vec<SettlementLine>> {
        typed(self.call(plugin, context, Input::ParseSettlement(content)).await, |output| match output {
            Output::Lines(lines) => Some(lines),
            _ => None,
        })
    }

    /// Asks the component who it is. An answer that differs from the manifest is a fault.
    pub async fn describe(&self, plugin: &Plugin, context: CallContext) -> (Result<Description, Fault>, Record) {
        let Called { result, record, .. } = self.call(plugin, context, Input::Describe).await;
        let result = result.and_then(|output| match output {
            Output::Description(description) => Ok(description),
            _ => Err(other_answer()),
        });
        (result, record)
    }

    /// Asks the component to judge the settings it was loaded with; an empty list means that they are good.
    pub async fn check_settings(&self, plugin: &Plugin, context: CallContext) -> (Result<Vec<Failure>, Fault>, Record) {
        let Called { result, record, .. } = self.call(plugin, context, Input::CheckSettings).await;
        let result = result.and_then(|output| match output {
            Output::SettingsChecked(failures) => Ok(failures),
            _ => Err(other_answer()),
        });
        (result, record)
    }
}

fn step(output: Output) -> Option<Step> {
    match output {
        Output::Step(step) => Some(step),
        _ => None,
    }
}

fn typed<T>(called: Called, answer: impl FnOnce(Output) -> Option<T>) -> Typed<T> {
    let result = match called.result {
        Ok(Output::Failure(failure)) => Ok(Err(failure)),
        Ok(output) => answer(output).map(Ok).ok_or_else(other_answer),
        Err(fault) => Err(fault),
    };
    (result, called.record)
}

/// The types of the call make this impossible; it is a fault and not a panic all the same.
fn other_answer() -> Fault {
    bad("the answer belongs to another function")
}
