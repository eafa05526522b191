//! Withdrawals in transfer files: the record, the file, the bank's result, and the flow between them.

use koban_sdk::files::Outgoing;
use koban_sdk::withdraw::Request;

use super::*;

/// 2018-09-28 15:00 in Japan.
const CUT_OFF: u64 = 1_538_114_400_000;

fn file() -> Outgoing {
    let called = "transfers-20180928-000007.txt".to_owned();
    Outgoing { file: "transfers".into(), called, number: 7, cut_off: CUT_OFF }
}

fn request() -> Request {
    Request {
        wallet: "w".into(),
        amount: Money::yen(9_784),
        at_most: Money::yen(10_000),
        link: None,
        facts: Vec::new(),
    }
}

/// A withdrawal whose record is in a file, with its reference and record.
fn filed(name: &str) -> (Flow, Taken) {
    let (mut flow, _) = Flow::begin_withdraw(NOON, &settings_by(true), &request()).unwrap();
    let form = [("bank", "0005"), ("branch", "001"), ("account", "7654321"), ("name", name)];
    let taken = flow.form("payee", &form.map(|(name, value)| (name, text(value)))).unwrap();
    (flow, taken)
}

fn asked(taken: &Taken) -> (String, Vec<u8>) {
    let Act::Enqueue((file, reference, record)) = taken.effect("record") else { panic!("{taken:?}") };
    assert_eq!(file, "transfers");
    (reference.clone(), record.clone())
}

/// Bytes as people read them: half-width katakana, and points for spaces.
fn shown(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b' ' => '.',
        0xa1..=0xdf => char::from_u32(u32::from(*byte) + 0xfec0).unwrap(),
        other => char::from(*other),
    };
    bytes.iter().map(one).collect()
}

#[test]
fn a_file_is_what_banks_read() {
    let (_, taken) = filed("ヤマダ　タロウ");
    let (reference, record) = asked(&taken);
    let content =
        pretend::compose_file::<BankTransfer>(NOON, &settings_by(true), &file(), &[(reference.clone(), record)])
            .unwrap();
    let lines: Vec<String> = content.split(|byte| *byte == b'\n').map(|line| shown(line.trim_ascii_end())).collect();
    assert!(content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).all(|line| line.len() == 121));
    assert_eq!(
        lines[0].trim_end_matches('.'),
        "12101234567890ﾜｽﾞﾑﾍﾟｲ(ｶ...............................09280001...............001...............11234567"
    );
    let expected = format!(
        "20005...............001...............000017654321ﾔﾏﾀﾞ.ﾀﾛｳ......................00000097840{reference}7Y"
    );
    assert_eq!(lines[1].trim_end_matches('.'), expected);
    assert_eq!(lines[2].trim_end_matches('.'), "8000001000000009784");
    assert_eq!(lines[3].trim_end_matches('.'), "9");
    assert_eq!((lines.len(), reference.len()), (5, 20));
}

#[test]
fn what_is_no_transfer_makes_no_file() {
    for record in [b"2".to_vec(), b"3".repeat(120), b"2".repeat(119), [b"2".repeat(80), b"x".repeat(40)].concat()] {
        let records = [("r".to_owned(), record)];
        let refused = pretend::compose_file::<BankTransfer>(NOON, &settings_by(true), &file(), &records).unwrap_err();
        assert_eq!(refused.code, "file_invalid");
    }
    let (_, taken) = filed("ハナ");
    let record = asked(&taken).1;
    let many: Vec<_> = (0..3).map(|at| (at.to_string(), record.clone())).collect();
    let content = pretend::compose_file::<BankTransfer>(NOON, &settings_by(true), &file(), &many).unwrap();
    assert!(shown(&content).contains("8000003000000029352"), "count and sum");
}

#[test]
fn a_name_that_banks_cannot_write_ends_it_and_costs_nothing() {
    let (flow, taken) = filed("山田");
    assert_eq!((taken.standing, taken.code(), flow.held_minor()), (Standing::Failed, Some("payee_invalid"), 0));
}

#[test]
fn the_banks_result_ends_it_once() {
    for (result, standing, captured) in
        [("DONE,B-1", Standing::Done, 10_000), ("REFUSED,no_such_account", Standing::Failed, 0)]
    {
        let (mut flow, taken) = filed("ハナ");
        let (reference, _) = asked(&taken);
        assert_eq!(flow.queue("record").unwrap().standing, Standing::WaitingForPartner);
        assert_eq!(flow.ask_to_cancel().unwrap().standing, Standing::WaitingForPartner, "it may be in a file already");
        flow.seal("record", &file().called).unwrap();
        let row = format!("R,{reference},9784,{result}");
        let ended = flow.file_says("results", &reference, row.as_bytes()).unwrap();
        assert_eq!((ended.standing, flow.held_minor(), flow.captured_minor()), (standing, 0, captured), "{result}");
    }
}

#[test]
fn a_result_for_another_sum_is_for_an_operator() {
    let (mut flow, taken) = filed("ハナ");
    let (reference, _) = asked(&taken);
    flow.seal("record", &file().called).unwrap();
    let row = format!("R,{reference},9785,DONE,B-1");
    let failure = flow.file_says("results", &reference, row.as_bytes()).unwrap_err();
    assert_eq!(failure.code, "result_differs");
    assert_eq!(flow.held_minor(), 10_000);
}

#[test]
fn a_record_that_came_into_no_file_costs_nothing() {
    let (mut flow, _) = filed("ハナ");
    let ended = flow.lost("record", Lost::Refused).unwrap();
    assert_eq!((ended.code(), flow.held_minor()), (Some("not_sent"), 0));
}

#[test]
fn a_result_file_is_read_whole_or_not_at_all() {
    let parse = |text: &str| pretend::parse_file::<BankTransfer>(NOON, &settings(), "results", text.as_bytes());
    let rows = parse("H,transfers-1.txt\nR,K1,9784,DONE,B-1\nR,K2,16,REFUSED,no_such_account\nT,2,9800\n").unwrap();
    let references: Vec<&str> = rows.iter().map(|(reference, _)| reference.as_str()).collect();
    assert_eq!(references, ["K1", "K2"]);
    assert_eq!(parse("H,transfers-1.txt\nT,0,0\n").unwrap(), []);
    for (text, line) in [
        ("", 1),
        ("R,K1,9784,DONE,B-1\nT,1,9784\n", 1),
        ("H,\nT,0,0\n", 1),
        ("H,f\nR,K1,9784,DONE,B-1\n", 3),
        ("H,f\nR,K1,9784,DONE,B-1\nT,1,9785\n", 3),
        ("H,f\nR,K1,9784,DONE,B-1\nT,2,9784\n", 3),
        ("H,f\nR,K1,9784,DONE\nT,1,9784\n", 2),
        ("H,f\nR,K1,0,DONE,B-1\nT,1,0\n", 2),
        ("H,f\nR,K1,1,MAYBE,B-1\nT,1,1\n", 2),
        ("H,f\nT,0,0\nR,K1,1,DONE,B-1\n", 3),
    ] {
        let refused = parse(text).unwrap_err();
        assert!(
            refused.code == "file_invalid" && refused.message.starts_with(&format!("line {line}:")),
            "{text}: {refused:?}"
        );
    }
}
