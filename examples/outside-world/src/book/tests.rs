//! What the book of the network says of sessions, deposits and days.

use super::*;

const NOON: i64 = 1_777_000_000_000;

fn book() -> Book {
    let mut book = Book::new("7A01", 0);
    book.open_session("s1".to_owned()).expect("room");
    book
}

fn approval() -> Approval {
    Approval { company_number: "8391".to_owned(), max_amount: 50_000, expires_at: NOON + 300_000 }
}

fn matched() -> Book {
    let mut book = book();
    book.approve("s1", approval(), NOON).expect("approved");
    book.type_number("s1", "8391", NOON).expect("a session");
    book
}

/// A deposit that was sent and decided so.
fn sent(book: &mut Book, amount: i64, decided: &Decided, now_ms: i64) -> Reference {
    let reference = book.count_cash("x", amount, true, now_ms).expect("room");
    book.sending(&reference);
    book.decided(&reference, decided);
    reference
}

#[test]
fn an_approval_is_answered_alike_when_repeated_and_refused_when_changed() {
    let mut book = book();
    assert_eq!(book.approve("s2", approval(), NOON), Err("unknown_session"));
    assert_eq!(book.approve("s1", approval(), NOON + 300_000), Err("expired"));
    assert_eq!(book.approve("s1", approval(), NOON), Ok(()));
    assert_eq!(book.approve("s1", approval(), NOON), Ok(()));
    let other = Approval { max_amount: 60_000, ..approval() };
    assert_eq!(book.approve("s1", other, NOON), Err("already_approved"));
    assert_eq!(book.end_session("s1", "user_left"), Ok(true));
    assert_eq!(book.approve("s1", approval(), NOON), Err("session_ended"));
}

#[test]
fn the_third_wrong_number_ends_the_session_and_koban_is_told_once() {
    let mut book = book();
    book.approve("s1", approval(), NOON).expect("approved");
    assert_eq!(book.type_number("s1", "0000", NOON), Ok((Keyed::Wrong { left: 2 }, false)));
    assert_eq!(book.type_number("s1", "", NOON), Ok((Keyed::Wrong { left: 1 }, false)));
    let ended = Keyed::Ended { reason: "wrong_company_number".to_owned() };
    assert_eq!(book.type_number("s1", "8392", NOON), Ok((ended.clone(), true)));
    assert_eq!(book.type_number("s1", "8391", NOON), Ok((ended, false)), "the right number comes too late");
    assert!(matches!(book.count_cash("s1", 1_000, false, NOON), Err(CannotDo::NotReady(_))));
}

#[test]
fn a_session_expires_when_the_approval_says_so() {
    let mut book = book();
    book.approve("s1", approval(), NOON).expect("approved");
    let expired = Keyed::Ended { reason: "session_expired".to_owned() };
    assert_eq!(book.type_number("s1", "8391", NOON + 300_000), Ok((expired, true)));
    let mut book = matched();
    assert!(book.count_cash("s1", 1_000, false, NOON + 299_999).is_ok());
    assert!(matches!(matched().count_cash("s1", 1_000, false, NOON + 300_000), Err(CannotDo::NotReady(_))));
}

#[test]
fn a_session_takes_cash_once() {
    let mut book = matched();
    assert_eq!(book.count_cash("s1", 0, false, NOON), Err(CannotDo::Amount));
    let reference = book.count_cash("s1", 10_000, false, NOON).expect("taken");
    assert_eq!(reference.to_string(), "7A01/2026-04-24/000001");
    assert!(matches!(book.count_cash("s1", 10_000, false, NOON), Err(CannotDo::NotReady(_))));
    let second = book.count_cash("s1", 10_000, true, NOON).expect("an ATM that does not look");
    assert_eq!(second.to_string(), "7A01/2026-04-24/000002");
}

#[test]
fn the_file_lists_booked_once_and_cancelled_twice_and_nothing_else() {
    let mut book = Book::new("7A01", 0);
    sent(&mut book, 10_000, &Decided::Ok, NOON);
    sent(&mut book, 3_000, &Decided::Refused("limit".to_owned()), NOON);
    sent(&mut book, 4_000, &Decided::Nothing, NOON);
    let cancelled = sent(&mut book, 20_000, &Decided::Nothing, NOON);
    book.reversed(&cancelled, NOON + 1_000);
    let never_sent = book.count_cash("x", 5_000, true, NOON).expect("room");
    book.reversed(&never_sent, NOON);
    let (day, file) = book.close_day(None, NOON).expect("closed");
    assert_eq!(day.to_string(), "2026-04-24");
    assert_eq!(
        String::from_utf8(file).expect("text"),
        "file_id,channel,business_date,seq,kind,channel_txn_id,wallet_txn_id,amount,fee,occurred_at\n\
         ATM-2026-04-24,ATM,2026-04-24,1,CHARGE,7A01/2026-04-24/000001,,10000,0,2026-04-24T12:06:40+09:00\n\
         ATM-2026-04-24,ATM,2026-04-24,2,CHARGE,7A01/2026-04-24/000004,,20000,0,2026-04-24T12:06:40+09:00\n\
         ATM-2026-04-24,ATM,2026-04-24,3,CHARGE_CANCEL,7A01/2026-04-24/000004,,20000,0,2026-04-24T12:06:41+09:00\n\
         T,3,50000\n"
    );
}

#[test]
fn a_closed_day_gives_the_same_bytes_and_what_comes_later_is_in_the_next_file() {
    let mut book = Book::new("7A01", 25);
    let first = sent(&mut book, 10_000, &Decided::Ok, NOON);
    let closed = book.close_day(None, NOON).expect("closed");
    assert_eq!(book.close_day(None, NOON + 1), Ok(closed.clone()));
    assert_eq!(book.close_day(Some("2026-04-24"), NOON + 1), Ok(closed.clone()));
    let second = sent(&mut book, 2_000, &Decided::Ok, NOON + 2);
    assert_eq!(second.business_date, "2026-04-25", "the day was closed");
    book.reversing(&first);
    book.reversed(&first, NOON + 3);
    assert_eq!(book.close_day(Some("2026-04-24"), NOON + 4), Ok(closed));
    let (day, file) = book.close_day(None, NOON + 4).expect("closed");
    assert_eq!(day.to_string(), "2026-04-25");
    let file = String::from_utf8(file).expect("text");
    let rows: Vec<&str> = file.lines().skip(1).collect();
    assert_eq!(rows.len(), 3, "{file}");
    assert!(rows[0].contains("CHARGE_CANCEL,7A01/2026-04-24/000001"), "{file}");
    assert!(rows[1].contains("CHARGE,7A01/2026-04-25/000002,,2000,25,"), "{file}");
    assert_eq!(rows[2], "T,2,12000");
    assert_eq!(book.close_day(Some("2026-04-31"), NOON), Err(CannotDo::Day("2026-04-31".to_owned())));
}

#[test]
fn what_was_reversed_stays_reversed_when_the_deposit_comes_late() {
    let mut book = Book::new("7A01", 0);
    let reference = book.count_cash("x", 1_000, true, NOON).expect("room");
    book.reversed(&reference, NOON);
    book.sending(&reference);
    let standing = book.decided(&reference, &Decided::Refused("reference_dead".to_owned()));
    assert_eq!(standing, Some(DepositStanding::Reversed));
    book.decided(&reference, &Decided::Ok);
    assert_eq!(book.deposit(&reference).map(|d| d.reason.clone()), Ok(Some("credited_after_reversal".to_owned())));
}
