//! What is a slip, and which may be paid.

use super::*;

#[test]
fn a_scanned_slip_is_a_bill_with_its_biller_amount_and_last_day() {
    let bill = recognise(&scanned(SLIP)).unwrap().unwrap();
    assert_eq!((bill.biller.as_str(), bill.name.as_str()), ("912345", "Tokyo Power"));
    assert_eq!((bill.amount, bill.fee), (Money::yen(12_800), Money::yen(110)));
    assert_eq!(bill.reference, "000000000000000000045");
    // 2018-10-31T23:59:59.999+09:00
    assert_eq!(bill.due, Some(1_540_997_999_999));
}

#[test]
fn a_reissued_slip_is_the_same_bill() {
    // The same free field with the reissue count 0 instead of 2.
    let first = "91912345000000000000000000045018103100128006";
    assert_eq!(recognise(&scanned(first)).unwrap().unwrap().reference, "000000000000000000045");
}

#[test]
fn typed_digits_may_be_grouped_as_they_are_printed_and_scanned_ones_may_not() {
    let printed = "(91)912345-0000000000000000000452-181031-0-012800-4";
    assert!(recognise(&Code::new(Source::Typed, printed)).unwrap().is_some());
    assert!(recognise(&scanned(printed)).unwrap().is_none());
}

#[test]
fn what_is_no_slip_is_somebody_elses() {
    for content in ["", "4912345678904", &SLIP[..43], &format!("{SLIP}0"), &SLIP.replacen("91", "92", 1), "９１"] {
        assert_eq!(recognise(&scanned(content)), Ok(None), "{content}");
    }
    assert_eq!(recognise(&Code::new(Source::Qr, SLIP)), Ok(None), "a bar code is not printed as a QR code");
}

#[test]
fn one_wrong_digit_is_found() {
    for place in 2..44 {
        let mut digits = SLIP.to_owned().into_bytes();
        digits[place] = b'0' + (digits[place] - b'0' + 1) % 10;
        let wrong = recognise(&scanned(std::str::from_utf8(&digits).unwrap())).unwrap_err();
        assert_eq!((wrong.code.as_str(), wrong.text.as_deref()), ("check_digit", Some("check-digit")), "{place}");
    }
}

#[test]
fn published_slips_are_read_whatever_their_stamp_flag_says() {
    // 123,000 yen with flag 0 and 31,290 yen with flag 1; both were due long ago.
    for slip in ["91912345012345678901234567890101033101230003", "91942386178953917853935692730103073110312903"] {
        assert_eq!(recognise(&scanned(slip)).unwrap_err().code, "overdue", "{slip}");
    }
    assert_eq!(
        recognise(&scanned("91912345000000000000000000047018123113000001")).unwrap_err().code,
        "amount_too_high"
    );
}

#[test]
fn a_slip_is_paid_until_the_end_of_its_last_day_in_japan_and_up_to_the_limit() {
    let at = |now| pretend::recognise::<BillSlip>(now, &settings(), &scanned(SLIP), &[]);
    assert!(at(1_540_997_999_999).unwrap().is_some());
    assert_eq!(at(1_540_998_000_000).unwrap_err().code, "overdue");
    let largest = "91912345000000000000000000047018123100499993";
    assert_eq!(recognise(&scanned(largest)).unwrap().unwrap().amount, Money::yen(49_999));
    // No last day: always.
    let open = "91912345000000000000000000046099999910648009";
    assert_eq!(recognise(&scanned(open)).unwrap_err().code, "amount_too_high");
}

#[test]
fn a_day_that_does_not_exist_and_an_amount_of_nothing_are_no_slip() {
    let with_check = |body: &str| {
        (0..10)
            .map(|check| format!("{body}{check}"))
            .find(|slip| recognise(&scanned(slip)).err().is_none_or(|failure| failure.code != "check_digit"))
    };
    for body in ["9191234500000000000000000004501810320012800", "9191234500000000000000000004501810310000000"] {
        assert_eq!(recognise(&scanned(&with_check(body).unwrap())).unwrap_err().code, "slip_malformed", "{body}");
    }
}
