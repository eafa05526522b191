//! The bank's file of the day.

use koban_sdk::settlement::Side;

use crate::settlement_file::parse;

const HEADER: &str = "file_id,channel,business_date,seq,kind,channel_txn_id,wallet_txn_id,amount,fee,occurred_at\n";

fn row(kind: &str, reference: &str, amount: &str) -> String {
    format!("BANK-2018-09-25,BANK,2018-09-25,1,{kind},{reference},,{amount},0,2018-09-25T12:00:00+09:00\n")
}

#[test]
fn what_came_settles_credits_and_what_went_settles_captures() {
    let rows = [row("CHARGE", "B-1", "10000"), row("WITHDRAW", "B-2", "3000")].concat();
    let lines = parse(format!("{HEADER}{rows}T,2,13000\n").as_bytes()).unwrap();
    let short: Vec<_> = lines.iter().map(|line| (line.reference.as_str(), line.side, line.amount.minor)).collect();
    assert_eq!(short, [("B-1", Side::Credit, 10_000), ("B-2", Side::Capture, 3_000)]);
    assert!(lines.iter().all(|line| line.at == super::NOON));
    assert!(parse(format!("{HEADER}T,0,0\n").as_bytes()).unwrap().is_empty());
}

#[test]
fn half_a_file_is_no_file_and_the_first_wrong_line_is_named() {
    let says = |file: &str, words: &str| {
        let failure = parse(file.as_bytes()).unwrap_err();
        assert_eq!(failure.code, "file_invalid");
        assert!(failure.message.contains(words), "`{}` does not say `{words}`", failure.message);
    };
    let one = row("WITHDRAW", "B-1", "3000");
    says("", "line 1: the header");
    says(&format!("{HEADER}{one}"), "line 3: the trailer");
    says(&format!("{HEADER}{one}T,1,3001\n"), "the rows sum up to 3000");
    says(&format!("{HEADER}{one}{one}T,2,6000\n"), "B-1 is listed twice");
    says(&format!("{HEADER}{}T,1,1\n", row("CHARGE_CANCEL", "B-1", "1")), "line 2: kind `CHARGE_CANCEL`");
    says(&format!("{HEADER}{}T,1,0\n", row("CHARGE", "B-1", "0")), "line 2: amount");
}
