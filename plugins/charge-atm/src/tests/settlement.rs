//! The end-of-day file, good and bad.

use koban_sdk::settlement::Side;

use crate::settlement_file::parse;

const HEADER: &str = "file_id,channel,business_date,seq,kind,channel_txn_id,wallet_txn_id,amount,fee,occurred_at\n";

fn row(kind: &str, serial: &str, amount: &str, fee: &str) -> String {
    format!("F1,seven,2026-04-01,1,{kind},A-17/2026-04-01/{serial},w,{amount},{fee},2026-04-01T12:00:00+09:00\n")
}

fn file(rows: &[String], trailer: &str) -> String {
    format!("{HEADER}{}{trailer}\n", rows.concat())
}

#[track_caller]
fn check_refused(content: &str, expected: &str) {
    let failure = parse(content.as_bytes()).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("file_invalid", expected));
}

#[test]
fn a_file_becomes_a_line_for_each_charge_each_cancellation_and_each_fee() {
    let rows =
        [row("CHARGE", "1", "10000", "110"), row("CHARGE", "2", "3000", "0"), row("CHARGE_CANCEL", "2", "3000", "0")];
    let lines = parse(file(&rows, "T,3,16000").as_bytes()).unwrap();
    let short: Vec<_> = lines.iter().map(|line| (line.reference.as_str(), line.side, line.amount.minor)).collect();
    assert_eq!(
        short,
        [
            ("A-17/2026-04-01/1", Side::Credit, 10_000),
            ("A-17/2026-04-01/1", Side::Fee, 110),
            ("A-17/2026-04-01/2", Side::Credit, 3_000),
            ("A-17/2026-04-01/2", Side::Reversal, 3_000),
        ]
    );
    assert!(lines.iter().all(|line| line.amount.is_in("JPY") && line.at == super::NOON));
}

#[test]
fn a_day_without_transactions_is_a_file_without_rows() {
    assert_eq!(parse(file(&[], "T,0,0").as_bytes()), Ok(vec![]));
}

#[test]
fn a_file_whose_trailer_does_not_agree_or_is_missing_is_refused_whole() {
    let rows = [row("CHARGE", "1", "10000", "0")];
    check_refused(&file(&rows, "T,2,10000"), "line 3: the trailer says 2 rows, there are 1");
    check_refused(&file(&rows, "T,1,9999"), "line 3: the trailer says 9999 yen, the rows sum up to 10000");
    check_refused(&file(&rows, "T,1"), "line 3: the trailer should be `T,count,sum`");
    check_refused(
        format!("{HEADER}{}", rows.concat()).as_str(),
        "line 3: the trailer `T,count,sum` is missing: the file may have been cut",
    );
    check_refused(&(file(&rows, "T,1,10000") + "x"), "line 4: nothing may follow the trailer");
}

#[test]
fn a_row_that_cannot_be_read_refuses_the_file_by_its_number() {
    let bad = |row: String| file(&[self::row("CHARGE", "1", "10000", "0"), row], "T,2,20000");
    let kind = "line 3: kind `WITHDRAW` is none of this channel's: CHARGE, CHARGE_CANCEL";
    check_refused(&bad(row("WITHDRAW", "2", "10000", "0")), kind);
    for amount in ["0", "-1", "+1", "1.5", "", "99999999999999999999"] {
        check_refused(&bad(row("CHARGE", "2", amount, "0")), "line 3: amount should be whole yen above 0");
    }
    check_refused(&bad(row("CHARGE", "2", "10000", "")), "line 3: fee should be whole yen, 0 for none");
    let twice = "line 3: A-17/2026-04-01/1 is listed twice as the same kind";
    check_refused(&bad(row("CHARGE", "1", "10000", "0")), twice);
    check_refused(&bad("F1,seven\n".into()), "line 3: a row has 10 columns, not 2");
    check_refused(
        &bad(row("CHARGE", "2", "10000", "0").replace("F1", "F2")),
        "line 3: file_id differs from the first row's",
    );
    let time = "line 3: occurred_at should look like 2026-04-01T09:30:00+09:00";
    check_refused(&bad(row("CHARGE", "2", "10000", "0").replace("+09:00", "")), time);
}

#[test]
fn what_is_no_such_file_is_refused() {
    assert_eq!(parse(b"\xff").unwrap_err().message, "line 1: the file is not UTF-8");
    assert!(parse(b"").unwrap_err().message.starts_with("line 1: the header should be"));
    assert!(parse(b"T,0,0\n").unwrap_err().message.starts_with("line 1: the header should be"));
    let huge = [row("CHARGE", "1", &i64::MAX.to_string(), "0"), row("CHARGE", "2", "1", "0")];
    check_refused(&file(&huge, "T,2,0"), "line 3: the sum is too great");
}
