//! Each format on one statement, byte by byte where programs are strict.

use koban_sdk::statement::{Account, Row};
use koban_sdk::{Money, Named, pretend, time};

use crate::BudgetExport;

fn at(text: &str) -> u64 {
    time::parse_rfc3339(text).expect("a time")
}

fn row(number: u32, day: &str, kind: &str, minor: i64, counterpart: &str) -> Row {
    Row {
        id: format!("ent_{number:032x}"),
        at: at(&format!("{day}T12:34:56+09:00")),
        kind: kind.into(),
        amount: Money::yen(minor),
        balance: 0,
        counterpart: counterpart.into(),
        memo: String::new(),
        refers_to: None,
    }
}

fn account(rows: Vec<Row>) -> Account {
    let mut balance = 500;
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|row| {
            balance += row.amount.minor;
            Row { balance, ..row }
        })
        .collect();
    Account {
        name: "0123456789abcdef0123456789abcdef".into(),
        currency: "JPY".into(),
        since: at("2018-09-01T00:00:00+09:00"),
        until: at("2018-10-01T00:00:00+09:00"),
        opening: 500,
        closing: balance,
        rows,
    }
}

fn september() -> Account {
    account(vec![
        row(1, "2018-09-10", "charge", 10_000, "ATM charge"),
        row(2, "2018-09-11", "payment", -540, "WASM CAFE"),
        row(3, "2018-09-12", "refund", 40, "WASM CAFE"),
        Row { memo: "ランチ".into(), ..row(4, "2018-09-13", "transfer", -2_000, "ケン <Ken> & Co") },
        row(5, "2018-09-14", "bonus", 27, ""),
    ])
}

fn settings() -> Vec<Named> {
    vec![Named::new("bank_id", "KOBAN"), Named::new("wallet_name", "ウォレット"), Named::new("category", "食費")]
}

fn file(format: &str, account: &Account) -> (String, Vec<u8>) {
    let now = at("2018-10-05T09:00:00+09:00");
    let document = pretend::statement::<BudgetExport>(now, &settings(), format, account).expect("a file");
    (document.name, document.content)
}

fn text(format: &str, account: &Account) -> String {
    String::from_utf8(file(format, account).1).expect("UTF-8")
}

#[test]
fn ofx_has_its_header_and_its_elements_in_order() {
    let (name, content) = file("ofx", &september());
    assert_eq!(name, "koban-jpy-20180901-20180930.ofx");
    let text = String::from_utf8(content).unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(
        lines[..12],
        [
            "OFXHEADER:100",
            "DATA:OFXSGML",
            "VERSION:102",
            "SECURITY:NONE",
            "ENCODING:UTF-8",
            "CHARSET:NONE",
            "COMPRESSION:NONE",
            "OLDFILEUID:NONE",
            "NEWFILEUID:NONE",
            "",
            "<OFX>",
            "<SIGNONMSGSRSV1>",
        ]
    );
    let second = lines.iter().skip_while(|line| !line.contains("ent_00000000000000000000000000000002"));
    assert_eq!(
        second.take(2).collect::<Vec<_>>(),
        [&"<FITID>ent_00000000000000000000000000000002", &"<NAME>WASM CAFE"]
    );
    for wanted in [
        "<TRNTYPE>POS\r\n<DTPOSTED>20180911123456[+9:JST]\r\n<TRNAMT>-540\r\n",
        "<ACCTID>0123456789abcdef012345\r\n",
        "<DTSTART>20180901000000[+9:JST]\r\n<DTEND>20181001000000[+9:JST]\r\n",
        "<NAME>ケン &lt;Ken&gt; &amp; Co\r\n<MEMO>ランチ\r\n",
        "<NAME>ボーナス\r\n",
        "<LEDGERBAL>\r\n<BALAMT>8027\r\n<DTASOF>20181001000000[+9:JST]\r\n</LEDGERBAL>",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in {text}");
    }
    assert!(text.ends_with("</BANKMSGSRSV1>\r\n</OFX>\r\n"));
}

#[test]
fn ofx_2_is_the_same_with_end_tags() {
    let (one, two) = (text("ofx", &september()), text("ofx-2", &september()));
    assert!(two.starts_with(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\r\n<?OFX OFXHEADER=\"200\" VERSION=\"220\" "
    ));
    let body = |text: &str| text[text.find("<OFX>").unwrap()..].to_owned();
    let without_ends: Vec<String> = body(&two)
        .split("\r\n")
        .map(|line| match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            Some((tag, _)) => line.strip_suffix(&format!("</{tag}>")).unwrap_or(line).to_owned(),
            None => line.to_owned(),
        })
        .collect();
    assert_eq!(without_ends.join("\r\n"), body(&one));
}

#[test]
fn an_empty_month_and_texts_at_their_longest_are_files_like_any_other() {
    let empty = text("ofx", &account(vec![]));
    assert!(!empty.contains("STMTTRN>") && empty.contains("<BALAMT>500\r\n"));
    let long = Row { memo: "め".repeat(66), ..row(1, "2018-09-11", "payment", -1, &"な".repeat(26)) };
    let text = text("ofx", &account(vec![long]));
    assert!(text.contains(&format!("<NAME>{}\r\n<MEMO>{}\r\n", "な".repeat(26), "め".repeat(66))));
}

#[test]
fn amounts_have_the_decimals_of_their_currency() {
    let usd = |minor| Row { amount: Money::new(minor, "USD"), ..row(1, "2018-09-11", "exchange", 0, "") };
    let account = Account { currency: "USD".into(), opening: 0, closing: -5, rows: vec![usd(-5)], ..account(vec![]) };
    assert!(text("ofx", &account).contains("<TRNAMT>-0.05\r\n"));
    assert!(text("zaim", &account).contains(",USD,0,0,0.05,0,0.05,"));
}

#[test]
fn a_payment_in_the_form_of_zaim() {
    let csv = text("zaim", &september());
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(lines[0].split(',').count(), 16);
    assert_eq!(
        lines[1],
        "2018-09-10,transfer,チャージ,-,ATM charge,ウォレット,,,,JPY,0,0,10000,0,10000,集計に含めない"
    );
    assert_eq!(lines[2], "2018-09-11,payment,食費,-,ウォレット,-,,,WASM CAFE,JPY,0,540,0,0,540,常に集計に含める");
    assert_eq!(lines[3], "2018-09-12,income,返金,-,-,ウォレット,,,WASM CAFE,JPY,40,0,0,0,40,常に集計に含める");
    assert_eq!(
        lines[4],
        "2018-09-13,payment,食費,-,ウォレット,-,,ランチ,ケン <Ken> & Co,JPY,0,2000,0,0,2000,常に集計に含める"
    );
    assert_eq!(lines.len(), 7);
}

#[test]
fn what_others_wrote_becomes_no_formula_and_breaks_no_line() {
    for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "＝1"] {
        let named = Row { memo: formula.into(), ..row(1, "2018-09-11", "payment", -540, formula) };
        let account = account(vec![named]);
        assert!(text("zaim", &account).contains(&format!(",'{formula},'{formula},JPY,")), "{formula}");
        let mf = encoding_rs::SHIFT_JIS.decode(&file("moneyforward", &account).1).0.into_owned();
        assert!(mf.contains(&format!("\"'{formula}\"")), "{formula}");
    }
    let odd = row(1, "2018-09-11", "payment", -540, "a,\"b\"\r\nc");
    let csv = text("zaim", &account(vec![odd]));
    assert_eq!(csv.split("\r\n").count(), 3);
    assert!(csv.contains(",\"a,\"\"b\"\"  c\",JPY,"));
}

#[test]
fn money_forward_is_quoted_newest_first_and_leaves_transfers_out() {
    let (name, content) = file("moneyforward", &september());
    assert_eq!(name, "koban-jpy-20180901-20180930.csv");
    let (csv, _, broken) = encoding_rs::SHIFT_JIS.decode(&content);
    assert!(!broken);
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(
        lines[0],
        r#""計算対象","日付","内容","金額（円）","保有金融機関","大項目","中項目","メモ","振替","ID""#
    );
    assert!(lines[1].starts_with(r#""1","2018/09/14","ボーナス","27","ウォレット","収入","ボーナス","","0","ent_"#));
    assert!(
        lines[5].starts_with(r#""0","2018/09/10","ATM charge","10000","ウォレット","収入","チャージ","","1","ent_"#)
    );
    let usd = Account { currency: "USD".into(), rows: vec![], opening: 0, closing: 0, ..september() };
    let refused = pretend::statement::<BudgetExport>(0, &settings(), "moneyforward", &usd).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.text.as_deref()), ("currency_not_supported", Some("yen_only")));
}

#[test]
fn what_shift_jis_cannot_write_is_replaced_visibly() {
    let row = row(1, "2018-09-11", "payment", -540, "寿司🍣 10〜12時 ①髙");
    let content = file("zaim-sjis", &account(vec![row])).1;
    let (csv, _, broken) = encoding_rs::SHIFT_JIS.decode(&content);
    assert!(!broken);
    assert!(csv.contains(",寿司〓 10～12時 ①髙,JPY,"), "{csv}");
}

#[test]
fn every_format_of_the_manifest_is_written_and_no_other() {
    let manifest = include_str!("../plugin.toml");
    let formats = manifest.split("[[formats]]").skip(1).map(|part| part.split('"').nth(1).expect("a name"));
    let formats: Vec<&str> = formats.collect();
    assert_eq!(formats.len(), 5);
    for format in formats {
        assert!(!file(format, &september()).1.is_empty(), "{format}");
    }
    assert!(pretend::statement::<BudgetExport>(0, &settings(), "pdf", &september()).is_err());
}

#[test]
fn ten_thousand_rows_are_one_file() {
    let rows = (0..10_000).map(|number| row(number, "2018-09-11", "payment", -1, "喫茶店〜髙島屋前")).collect();
    let content = file("moneyforward", &account(rows)).1;
    assert!(content.len() < 2 << 20, "{} bytes", content.len());
}
