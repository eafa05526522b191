//! The rules of paying a slip, a sentence each, over the SDK's pretend host (which checks the host's own rules after every step).

use koban_sdk::bill::{Code, Source};
use koban_sdk::flow::{Act, Lost, Show, Standing};
use koban_sdk::pretend::{self, Taken};
use koban_sdk::{Failure, Money, Named, Settings as _, json};

use crate::BillSlip;
use crate::settings::SlipSettings;
use crate::state::Payment;

mod payments;
mod settlement;
mod slips;

type Flow = pretend::Flow<BillSlip>;

/// 2018-09-25 12:00 in Japan.
const NOON: u64 = 1_537_844_400_000;
/// 12,800 yen by the end of October 2018, reissued twice.
const SLIP: &str = "91912345000000000000000000045218103100128004";

fn settings() -> Vec<Named> {
    vec![
        Named::new("most", Money::yen(49_999)),
        Named::new("fee", Money::yen(110)),
        Named::new("billers", "912345=Tokyo Power"),
        Named::new("billers", "942386=Minato City"),
    ]
}

fn scanned(content: &str) -> Code {
    Code::new(Source::BarCode, content)
}

fn recognise(code: &Code) -> Result<Option<koban_sdk::bill::Bill>, Failure> {
    pretend::recognise::<BillSlip>(NOON, &settings(), code, &[])
}

/// A slip whose payment the collector is being asked for.
fn begun() -> (Flow, Taken) {
    let code = scanned(SLIP);
    let bill = recognise(&code).unwrap().unwrap();
    Flow::begin_bill(NOON, &settings(), &pretend::payment(code, bill, &[])).unwrap()
}

fn paid(receipt: &str) -> koban_sdk::Json {
    json!({ "result": "paid", "receipt": receipt, "amount": 12_800 })
}

#[test]
fn settings_name_billers_once_by_their_code() {
    assert_eq!(SlipSettings::read(&settings()).unwrap().name_of("942386"), "Minato City");
    assert_eq!(SlipSettings::read(&settings()).unwrap().name_of("900000"), "GS1 900000");
    let wrong = |line: &str| {
        let mut settings = settings();
        settings.push(Named::new("billers", line));
        SlipSettings::read(&settings).err().unwrap()
    };
    for line in ["912345", "91234=x", "91234x=x", "912345= "] {
        assert!(wrong(line)[0].message.contains("is no biller"), "{line}");
    }
    assert!(wrong("912345=again")[0].message.contains("named twice"));
}

#[test]
fn a_payment_remembers_little() {
    let payment =
        Payment { phase: crate::state::Phase::Paying, id: "x".repeat(36), amount: 300_000, fee: 1_000, asked: 200 };
    assert_eq!(payment.whole(), Money::yen(301_000));
}
