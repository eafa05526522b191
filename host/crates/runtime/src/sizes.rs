//! How large an input is: the bytes of its texts and bodies, which its class bounds before a guest sees it.

use koban_domain::guest::{Link, Named, StatementAccount, Value, What};
use koban_domain::records::Input;

/// What every item of a list and every amount counts beside its texts.
const ITEM: usize = 16;

/// Bytes of settings and input together.
pub(crate) fn input_bytes(settings: &[Named], input: &Input) -> usize {
    named(settings).saturating_add(of(input))
}

fn of(input: &Input) -> usize {
    match input {
        Input::Describe | Input::CheckSettings => 0,
        Input::Assess(payment, facts, signals) => {
            let signals = signals.iter().map(|signal| signal.name.len() + 2 * ITEM).sum::<usize>();
            payment.id.len() + payment.kind.len() + named(facts) + signals
        }
        Input::BeginCharge(request) => request.wallet.len() + named(&request.facts),
        Input::BeginLinkedCharge(request, its) => request.wallet.len() + named(&request.facts) + link(its),
        Input::BeginWithdraw(request) => {
            request.wallet.len() + named(&request.facts) + request.link.as_ref().map_or(0, link)
        }
        Input::BeginLink(request) => {
            request.wallet.len() + request.kind.len() + named(&request.facts) + request.link.as_ref().map_or(0, link)
        }
        Input::Recognise(code, facts) => code.content.len() + named(facts),
        Input::BeginBill(request) => {
            let bill = &request.bill;
            let texts = bill.biller.len() + bill.name.len() + bill.reference.len() + named(&bill.fields);
            request.wallet.len()
                + request.code.content.len()
                + texts
                + named(&request.facts)
                + request.link.as_ref().map_or(0, link)
        }
        Input::BeginSync(request) => {
            request.wallet.len() + link(&request.link) + account(&request.account) + named(&request.facts)
        }
        Input::Resume(state, event, _) => state.len() + what(&event.what),
        Input::Route(call) => call.path.len() + named(&call.query) + call.body.len(),
        Input::ParseSettlement(content) | Input::ParseRates(content) => content.len(),
        Input::ComposeFile(file, records) => {
            file.file.len()
                + file.called.len()
                + records.iter().map(|(name, record)| name.len() + record.len() + ITEM).sum::<usize>()
        }
        Input::ParseFile(name, content) | Input::MigrateState(name, content) => name.len() + content.len(),
        Input::Quote(request) => request.rates.len() * 2 * ITEM + named(&request.facts),
        Input::ComposeStatement(format, its) => format.len() + account(its),
        Input::OnEvent(event, remembered) => {
            let texts = event.id.len() + event.kind.len() + text(event.user.as_ref()) + text(event.merchant.as_ref());
            let kept = remembered.iter().map(|kept| kept.name.len() + value(&kept.value)).sum::<usize>();
            texts + kept + named(&event.facts)
        }
        Input::TableRows(request) => {
            let subjects = request.subjects.iter().map(|subject| subject.name.len() + ITEM + named(&subject.values));
            request.table.len() + subjects.sum::<usize>()
        }
    }
}

fn text(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn value(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Secret(text) => text.len(),
        Value::Whole(_) | Value::Amount(_) | Value::Rate(_) | Value::Flag(_) | Value::Moment(_) => 8,
    }
}

fn named(list: &[Named]) -> usize {
    list.iter().map(|named| named.name.len() + value(&named.value)).sum()
}

fn link(link: &Link) -> usize {
    link.reference.len() + link.kind.len() + link.label.len() + link.data.len() + 2 * ITEM
}

fn account(account: &StatementAccount) -> usize {
    let rows = account.rows.iter().map(|row| {
        let refers_to = text(row.refers_to.as_ref());
        row.id.len() + row.kind.len() + row.counterpart.len() + row.memo.len() + refers_to + 2 * ITEM
    });
    account.name.len() + rows.sum::<usize>()
}

fn what(what: &What) -> usize {
    match what {
        What::Answer(answer) => {
            let headers = answer.headers.iter();
            answer.body.len() + headers.map(|(name, value)| name.len() + value.len()).sum::<usize>()
        }
        What::Lost(_, word) => word.len(),
        What::Form(answers) => named(answers),
        What::Sealed(file) => file.len(),
        What::Message(message) => message.path.len() + named(&message.query) + message.body.len(),
        What::Rang | What::Queued | What::CancelAsked | What::Agreed => 0,
    }
}
