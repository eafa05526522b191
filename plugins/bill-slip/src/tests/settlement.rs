//! The file of confirmed payments.

use koban_sdk::settlement::Side;

use crate::settlement_file::parse;

const HEADER: &str = "kind,receipt_date,receipt_time,barcode,stamp,amount,receipt,file_date\n";
const SLIP: &str = "91912345000000000000000000045218103100128004";

fn row(receipt: &str) -> String {
    format!("03,20180925,905,{SLIP},0,12800,{receipt},20180925\n")
}

#[test]
fn each_row_settles_one_capture_by_its_receipt() {
    let file = format!("{HEADER}{}{}T,2,25600\n", row("C-1"), row("C-2"));
    let lines = parse(file.as_bytes()).unwrap();
    assert_eq!(lines.iter().map(|line| line.reference.as_str()).collect::<Vec<_>>(), ["C-1", "C-2"]);
    assert!(lines.iter().all(|line| line.side == Side::Capture && line.amount.minor == 12_800));
    // 2018-09-25 09:05 in Japan.
    assert_eq!(lines[0].at, 1_537_833_900_000);
    assert!(parse(format!("{HEADER}T,0,0\n").as_bytes()).unwrap().is_empty());
}

#[test]
fn half_a_file_is_no_file_and_the_first_wrong_line_is_named() {
    let says = |file: &str, words: &str| {
        let failure = parse(file.as_bytes()).unwrap_err();
        assert_eq!(failure.code, "file_invalid");
        assert!(failure.message.contains(words), "`{}` does not say `{words}`", failure.message);
    };
    says("", "line 1: the header");
    says(&format!("{HEADER}{}", row("C-1")), "line 3: the trailer");
    says(&format!("{HEADER}{}T,1,12801\n", row("C-1")), "line 3: the trailer should be `T,1,12800`");
    says(&format!("{HEADER}{}{}T,2,25600\n", row("C-1"), row("C-1")), "line 3: C-1 is listed twice");
    says(&format!("{HEADER}T,0,0\n{}", row("C-1")), "line 3: nothing may follow");
    says(&format!("{HEADER}{}T,1,12800\n", row("C-1").replacen("03", "01", 1)), "line 2: kind `01`");
    says(&format!("{HEADER}{}T,1,12800\n", row("")), "line 2: receipt");
    says(&format!("{HEADER}{}T,1,12800\n", row("C-1").replace(",905,", ",2505,")), "line 2: receipt_date");
    says(&format!("{HEADER}{}T,1,12800\n", row("C-1").replace(",12800,", ",-1,")), "line 2: amount");
    says(&format!("{HEADER}{}T,1,12800\n", row("C-1").replace(SLIP, &SLIP[1..])), "line 2: barcode");
    says(&format!("{HEADER}x\n"), "line 2: a row has 8 columns");
}
