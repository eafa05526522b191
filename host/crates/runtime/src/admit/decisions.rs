//! Answers of decisions, admitted: verdicts, rates, prices, bills, documents, actions and rows.

use koban_domain::guest as domain;
use koban_domain::records::{Fault, Input};

use super::{
    Gate, NAME_BYTES_MAX, REFERENCE_BYTES_MAX, at_most, currency, money, named, positive, quote, reference, value, word,
};
use crate::bindings::exports::koban::plugin::{
    assess, on_event, pay_bill, quote as price, settlement, statement, table,
};
use crate::bindings::koban::plugin::{market, types};
use crate::faults::{bad, denied};

const REASONS_MAX: usize = 50;
/// Scores and weights.
const SCORE_MAX: u32 = 1_000;
const RATES_MAX: usize = 1_000;
/// Decimals of a rate that customers see, and of one before the spread.
const RATE_SCALE_MAX: u8 = 4;
const MID_SCALE_MAX: u8 = 12;
const BILL_LINES_MAX: usize = 20;
const ACTIONS_MAX: usize = 16;
const ROWS_MAX: usize = 200;
const CELL_BYTES_MAX: usize = 200;
/// Largest document for a user.
const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// The plugin's own names for what it remembers.
const KEPT_NAME_BYTES_MAX: usize = 40;

impl Gate<'_> {
    /// A verdict with its reasons.
    pub(super) fn assessment(&self, answer: assess::Answer) -> Result<domain::Assessment, Fault> {
        at_most("reasons", answer.reasons.len(), REASONS_MAX)?;
        at_most_points("score", answer.score)?;
        let verdict = match answer.verdict {
            assess::Verdict::Allow => domain::Verdict::Allow,
            assess::Verdict::StepUp => domain::Verdict::StepUp,
            assess::Verdict::Review => domain::Verdict::Review,
            assess::Verdict::Decline => domain::Verdict::Decline,
        };
        let reason = |reason: assess::Reason| {
            at_most_points("weight", reason.weight)?;
            Ok(domain::Reason { code: self.code("reason", reason.code)?, weight: reason.weight })
        };
        let reasons = answer.reasons.into_iter().map(reason).collect::<Result<_, Fault>>()?;
        Ok(domain::Assessment { verdict, score: answer.score, reasons })
    }

    /// A bill that was recognised.
    pub(super) fn bill(&self, bill: pay_bill::BillResult) -> Result<domain::Bill, Fault> {
        at_most("lines of a bill", bill.fields.len(), BILL_LINES_MAX)?;
        let (amount, fee) = (positive(bill.amount)?, money(bill.fee)?);
        if fee.minor < 0 || fee.currency != amount.currency {
            return Err(bad(format!("the fee {fee} of a bill over {amount} is negative or in another currency")));
        }
        let field = |field: types::NamedResult| {
            let field = named(field)?;
            Ok(domain::Named { name: self.text(field.name)?, value: field.value })
        };
        Ok(domain::Bill {
            biller: word("a biller's id", bill.biller, NAME_BYTES_MAX)?,
            name: word("a biller's name", bill.name, NAME_BYTES_MAX)?,
            reference: reference(bill.reference)?,
            amount,
            fee,
            due: bill.due,
            fields: bill.fields.into_iter().map(field).collect::<Result<_, Fault>>()?,
        })
    }

    /// What shall follow from an event.
    pub(super) fn actions(&self, input: &Input, actions: Vec<on_event::Action>) -> Result<Vec<domain::Action>, Fault> {
        at_most("actions", actions.len(), ACTIONS_MAX)?;
        let has_user = matches!(input, Input::OnEvent(event, _) if event.user.is_some());
        actions.into_iter().map(|action| self.action(input, has_user, action)).collect()
    }

    fn action(&self, input: &Input, has_user: bool, action: on_event::Action) -> Result<domain::Action, Fault> {
        let of_user = |what: &str| match has_user {
            true => Ok(()),
            false => Err(bad(format!("{what} for the event's user, and this event has none"))),
        };
        Ok(match action {
            on_event::Action::Put(put) => {
                let about = match put.about {
                    on_event::About::User => {
                        of_user("a value is put")?;
                        domain::About::User
                    }
                    on_event::About::Scope => domain::About::Scope,
                };
                domain::Action::Put(domain::Put {
                    about,
                    name: kept_name(put.name)?,
                    value: put.value.map(value).transpose()?,
                    expires: put.expires,
                })
            }
            on_event::Action::Bonus(bonus) => {
                of_user("a bonus is granted")?;
                if matches!(input, Input::OnEvent(event, _) if event.kind.starts_with("bonus.")) {
                    return Err(bad("a bonus is granted for a bonus, which would go on until the budget is gone"));
                }
                domain::Action::Bonus(domain::BudgetBonus {
                    budget: self.budget(bonus.budget)?,
                    amount: positive(bonus.amount)?,
                    reason: self.code("bonus", bonus.reason)?,
                })
            }
            on_event::Action::Tell(key) => {
                of_user("a text is told")?;
                domain::Action::Tell(self.text(key)?)
            }
            on_event::Action::Begin(step) => {
                if !self.has_machine {
                    return Err(denied("a flow needs the interface `machine`, which the component does not export"));
                }
                domain::Action::Begin(Box::new(self.step(input, step)?))
            }
            on_event::Action::Reclaim(budget) => domain::Action::Reclaim(self.budget(budget)?),
        })
    }

    fn budget(&self, name: String) -> Result<String, Fault> {
        match self.manifest.budgets.iter().any(|budget| budget.name == name) {
            true => Ok(name),
            false => Err(denied(format!("budget {} is not in the manifest", quote(&name)))),
        }
    }

    /// The rows of a page.
    pub(super) fn rows(&self, input: &Input, rows: Vec<table::Row>) -> Result<Vec<Vec<domain::Value>>, Fault> {
        at_most("rows", rows.len(), ROWS_MAX)?;
        let table = match input {
            Input::TableRows(request) => self.manifest.table(&request.table),
            _ => None,
        };
        let columns = table.map_or(0, |table| table.columns.len());
        let row = |row: table::Row| {
            if row.cells.len() != columns {
                return Err(bad(format!("a row has {} cells, and the table {columns} columns", row.cells.len())));
            }
            row.cells.into_iter().map(cell).collect()
        };
        rows.into_iter().map(row).collect()
    }
}

/// What a plugin calls something that it remembers.
fn kept_name(name: String) -> Result<String, Fault> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > KEPT_NAME_BYTES_MAX || !name.bytes().all(plain) {
        let problem =
            format!("{} is no name for a value: use 1 to {KEPT_NAME_BYTES_MAX} of a-z, 0-9, `_` and `-`", quote(&name));
        return Err(bad(problem));
    }
    Ok(name)
}

fn cell(cell: types::ValueResult) -> Result<domain::Value, Fault> {
    let cell = value(cell)?;
    match &cell {
        domain::Value::Text(text) if text.len() > CELL_BYTES_MAX || text.chars().any(char::is_control) => {
            Err(bad(format!("a cell has at most {CELL_BYTES_MAX} bytes and no control characters: {}", quote(text))))
        }
        domain::Value::Secret(_) => Err(bad("a cell shows no secret")),
        _ => Ok(cell),
    }
}

/// A line of a settlement file.
pub(super) fn settlement_line(line: settlement::Line) -> Result<domain::SettlementLine, Fault> {
    let amount = money(line.amount)?;
    if amount.minor < 0 {
        return Err(bad(format!("the amount {amount} of a settlement line is negative")));
    }
    let side = match line.side {
        settlement::Side::Credit => domain::Side::Credit,
        settlement::Side::Reversal => domain::Side::Reversal,
        settlement::Side::Capture => domain::Side::Capture,
        settlement::Side::Fee => domain::Side::Fee,
    };
    Ok(domain::SettlementLine { reference: reference(line.reference)?, side, amount, at: line.at })
}

/// What a feed says, and nothing twice.
pub(super) fn rates(rates: Vec<market::RateResult>) -> Result<Vec<domain::MarketRate>, Fault> {
    at_most("rates", rates.len(), RATES_MAX)?;
    let mut seen = std::collections::BTreeSet::new();
    let rate = |rate: market::RateResult| {
        let (base, priced_in) = pair(&rate.base, &rate.quote)?;
        let mid = above_nought("a rate", rate.mid, MID_SCALE_MAX)?;
        if !seen.insert((base, priced_in, rate.at)) {
            return Err(bad(format!("{base}/{priced_in} of one time is there twice")));
        }
        Ok(domain::MarketRate { base, quote: priced_in, mid, at: rate.at })
    };
    rates.into_iter().map(rate).collect()
}

/// A price that was named for this request. Whether it lies within the host's band, the books decide.
pub(super) fn price(input: &Input, price: price::Price) -> Result<domain::Price, Fault> {
    let (base, priced_in) = pair(&price.base, &price.quote)?;
    let asked = match input {
        Input::Quote(request) => [(request.sell, request.buy), (request.buy, request.sell)],
        _ => return Err(bad("a price that nobody asked for")),
    };
    if !asked.contains(&(base, priced_in)) {
        return Err(bad(format!("{base}/{priced_in} is not the pair that was asked for")));
    }
    Ok(domain::Price {
        base,
        quote: priced_in,
        rate: above_nought("a price's rate", price.rate, RATE_SCALE_MAX)?,
        mid: above_nought("a price's middle", price.mid, MID_SCALE_MAX)?,
        fixed: price.fixed,
        expires: price.expires,
    })
}

fn pair(base: &str, priced_in: &str) -> Result<(koban_domain::money::Currency, koban_domain::money::Currency), Fault> {
    let (base, priced_in) = (currency(base)?, currency(priced_in)?);
    if base == priced_in {
        return Err(bad(format!("{base} is priced in itself")));
    }
    Ok((base, priced_in))
}

fn above_nought(what: &str, decimal: types::Decimal, scale_max: u8) -> Result<domain::Decimal, Fault> {
    if decimal.mantissa <= 0 || decimal.scale > scale_max {
        let types::Decimal { mantissa, scale } = decimal;
        return Err(bad(format!(
            "{what} is above nought with at most {scale_max} decimals, not {mantissa} with {scale}"
        )));
    }
    Ok(domain::Decimal { mantissa: decimal.mantissa, scale: decimal.scale })
}

fn at_most_points(what: &str, points: u32) -> Result<(), Fault> {
    if points > SCORE_MAX { Err(bad(format!("{what} {points} is above {SCORE_MAX}"))) } else { Ok(()) }
}

/// A file for a user: its name cannot lead anywhere.
pub(super) fn document(document: statement::Document) -> Result<domain::Document, Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let name = document.name;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(bad(format!("{} is no plain name of a file", quote(&name))));
    }
    at_most("bytes of a document", document.content.len(), DOCUMENT_BYTES_MAX)?;
    Ok(domain::Document { name, content: document.content })
}

/// A partner's file, taken apart.
pub(super) fn records(records: Vec<(String, Vec<u8>)>) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    at_most("records of a file", records.len(), super::LINES_MAX)?;
    let record = |(correlation, record): (String, Vec<u8>)| {
        at_most("bytes of a file record", record.len(), super::BODY_BYTES_MAX)?;
        Ok((word("a correlation", correlation, REFERENCE_BYTES_MAX)?, record))
    };
    records.into_iter().map(record).collect()
}
