//! Statements and closings as CSV (RFC 4180) for spreadsheets: no cell that others wrote can become a formula there.

use koban_domain::closings::Closing;
use koban_domain::money::Money;
use koban_domain::time::date_of_day;
use koban_service::wallets::StatementLine;

use crate::amounts::moment;

/// The columns, in order.
const HEADER: &str = "at,kind,subject,reference,account,change,balance,currency,entry";

/// A statement's lines under a header, newest first, with CRLF at each end as the RFC asks.
pub(crate) fn of(lines: &[StatementLine]) -> String {
    let mut csv = format!("{HEADER}\r\n");
    for line in lines {
        let cells = [
            text(&moment(line.at)),
            text(line.kind.word()),
            text(&line.subject),
            text(line.reference.as_deref().unwrap_or_default()),
            text(line.class.word()),
            number(line.change),
            number(line.balance),
            text(line.change.currency.code()),
            text(&line.entry.to_string()),
        ];
        csv.push_str(&cells.join(","));
        csv.push_str("\r\n");
    }
    csv
}

/// The columns of closings, in order.
const CLOSINGS: &str = "until,state,currency,carried,captured,refunded,disputed,returned,adjusted,fee_rate,fee,tax_rate,tax,due,left,\
    reference,closing,merchant,at,paid_at";

/// Closings under a header, with CRLF at each end.
pub(crate) fn of_closings(closings: &[Closing]) -> String {
    let mut csv = format!("{CLOSINGS}\r\n");
    for closing in closings {
        let amount = |minor| number(Money::new(minor, closing.currency));
        let cells = [
            text(&date_of_day(closing.until)),
            text(closing.state.word()),
            text(closing.currency.code()),
            amount(closing.carried),
            amount(closing.captured),
            amount(closing.refunded),
            amount(closing.disputed),
            amount(closing.returned),
            amount(closing.adjusted),
            closing.fee_rate.to_string(),
            amount(closing.fee),
            closing.tax_rate.to_string(),
            amount(closing.tax),
            amount(closing.due),
            amount(closing.left),
            text(closing.reference.as_deref().unwrap_or_default()),
            text(&closing.id.to_string()),
            text(&closing.merchant.to_string()),
            text(&moment(closing.at)),
            text(&closing.paid_at.map(moment).unwrap_or_default()),
        ];
        csv.push_str(&cells.join(","));
        csv.push_str("\r\n");
    }
    csv
}

/// A number of ours: digits with the currency's decimals, and perhaps a minus. Never guarded, so that it can be added up.
fn number(amount: Money) -> String {
    let shown = amount.to_string();
    shown.split(' ').next().unwrap_or_default().to_owned()
}

/// A text in quotes. One that a spreadsheet would take for a formula gets an apostrophe in front.
fn text(cell: &str) -> String {
    let guard =
        if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) { "'" } else { "" };
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use koban_domain::money::Currency;

    #[test]
    fn what_could_be_a_formula_is_text_and_quotes_are_doubled() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            assert!(text(formula).starts_with("\"'"), "{formula:?}");
        }
        assert_eq!(text("order \"7\", late"), "\"order \"\"7\"\", late\"");
        assert_eq!(text("a=1"), "\"a=1\"");
    }

    #[test]
    fn amounts_are_numbers_with_the_decimals_of_their_currency() {
        let usd = Currency::new("USD").unwrap();
        assert_eq!((number(Money::yen(-1_280)), number(Money::new(-5, usd))), ("-1280".into(), "-0.05".into()));
    }
}
