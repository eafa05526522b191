//! The door's calls by name, each with its own answer type.

use koban_domain::guest::{
    AssessPayment, Assessment, ChargeRequest, Description, Event, Failure, InboundCall, Named, Routing, SettlementLine,
    Signal, Step, StepRefusal,
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

    /// Begins a charge.
    pub async fn begin_charge(&self, plugin: &Plugin, context: CallContext, request: ChargeRequest) -> Typed<Step> {
        typed(self.call(plugin, context, Input::BeginCharge(request)).await, step)
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
