//! Effects: nothing leaves before its commit, nothing is repeated blindly, nothing is forgotten.

use std::time::Duration;

use koban_domain::guest::{Lost, Standing};
use koban_domain::manifest::{Manifest, Repeat};
use koban_service::flows;

use crate::house::House;
use crate::partner::Does;

/// Lets due time pass until the charge stands so.
async fn in_time(house: &House, charge: koban_domain::ids::FlowId, standing: Standing) {
    for _ in 0..150 {
        if house.charge(charge).await.standing == standing {
            return;
        }
        house.clock.advance_ms(400);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    panic!("it stands at {:?} instead of {standing:?}", house.charge(charge).await.standing);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_safe_is_repeated_under_the_same_names_until_it_is_answered() {
    let house = House::with_atm().await;
    house.partner.will([Does::HangsUp, Does::Fails(502), Does::Forges(200, r#"{"result":"refused"}"#)]);
    let charge = house.begun(30_000, "s-1").await;
    in_time(&house, charge, Standing::WaitingForUser).await;
    let heard = house.partner.heard();
    assert_eq!(heard.len(), 4);
    assert!(heard.windows(2).all(|pair| pair[0] == pair[1]), "{heard:?}");
    assert_eq!(heard[0].line, "POST /atm/approve HTTP/1.1");
    assert_eq!(heard[0].idempotency_key.len(), 64);
    assert!(heard[0].message_id.starts_with("msg_"));
    assert!(heard[0].body.contains("\"session\":\"s-1\""), "{}", heard[0].body);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_answers_until_the_deadline_the_plugin_is_told_that_it_is_unknown() {
    let house = House::with_atm().await;
    house.partner.will(std::iter::repeat_n(Does::HangsUp, 100));
    let charge = house.begun(30_000, "s-1").await;
    in_time(&house, charge, Standing::Checking).await;
    assert!(house.partner.heard().len() > 3);
    assert_eq!(house.lost().await, [Lost::Unknown]);
    // The session's timer ends what nobody can say.
    house.clock.advance_ms(5 * 60_000);
    house.until(charge, Standing::Failed).await;
    assert_eq!(house.charge(charge).await.note.unwrap().code, "session_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_our_own_is_no_attempt() {
    let house = House::with_atm().await;
    // A literal private address is refused when it is set; a name only when it is looked up.
    house.partner_is(house.partner.base.replace("127.0.0.1", "localhost"), false).await;
    let charge = house.begun(30_000, "s-1").await;
    house.until(charge, Standing::Failed).await;
    assert_eq!(house.charge(charge).await.note.unwrap().code, "approval_refused");
    assert_eq!(house.partner.heard(), []);
    assert_eq!(house.lost().await, [Lost::Refused]);
}

fn never(manifest: &mut Manifest) {
    manifest.endpoints[0].operations[0].repeat = Repeat::Never;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_never_be_repeated_is_unknown_at_once() {
    let house = House::with_changed_atm(never).await;
    for (session, does, how) in [
        ("s-1", Does::HangsUp, Lost::Unknown),
        ("s-2", Does::Fails(502), Lost::Unknown),
        ("s-3", Does::Forges(200, r#"{"result":"ok"}"#), Lost::BadSignature),
    ] {
        let before = house.partner.heard().len();
        house.partner.will([does]);
        let charge = house.begun(30_000, session).await;
        house.until(charge, Standing::Checking).await;
        assert_eq!((house.partner.heard().len() - before, house.lost().await[0]), (1, how));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_certainly_did_not_leave_is_tried_until_its_deadline_and_then_known_not_to_have_happened() {
    let house = House::with_changed_atm(never).await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    house.partner_is_at(format!("http://{gone}")).await;
    let charge = house.begun(30_000, "s-1").await;
    in_time(&house, charge, Standing::Checking).await;
    assert_eq!(house.lost().await, [Lost::NotSent]);

    // A partner that comes back before the deadline is asked after all.
    let charge = house.begun(30_000, "s-2").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    house.partner_is_at(house.partner.base.clone()).await;
    in_time(&house, charge, Standing::WaitingForUser).await;
    house
        .until_true("it was asked".to_owned(), async || {
            house.clock.advance_ms(400);
            house.partner.heard().len() == 1
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_never_be_repeated_is_unknown_when_its_host_was_killed_under_way() {
    let mut house = House::with_changed_atm(never).await;
    house.partner.will([Does::IsSilent]);
    let charge = house.begun(30_000, "s-1").await;
    house.until_true("the request is out".to_owned(), async || house.partner.heard().len() == 1).await;
    std::mem::forget(house.jobs.take());
    house.clock.advance_ms(31_000);
    house.restart().await;
    house.until(charge, Standing::Checking).await;
    assert_eq!((house.partner.heard().len(), house.lost().await), (1, vec![Lost::Unknown]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_under_way_when_the_host_was_killed_is_sent_again_under_the_same_names() {
    let mut house = House::with_atm().await;
    house.partner.will([Does::IsSilent]);
    let charge = house.begun(30_000, "s-1").await;
    house.until_true("the request is out".to_owned(), async || house.partner.heard().len() == 1).await;
    // The killed host's lease stands until it runs out; what it did afterwards is fenced off.
    std::mem::forget(house.jobs.take());
    house.clock.advance_ms(31_000);
    house.restart().await;
    in_time(&house, charge, Standing::WaitingForUser).await;
    let heard = house.partner.heard();
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0], heard[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_waited_when_the_host_stopped_is_taken_by_the_next_one() {
    let mut house = House::with_atm().await;
    let charge = house.begin(30_000).await;
    house.stop_jobs().await;
    let waits = house.fill_in(charge.id, "scan", "session", "s-1").await.unwrap();
    assert_eq!(waits.standing, Standing::WaitingForUser);
    assert_eq!(flows::get(&house.app, charge.id).await.unwrap().next.unwrap().what, "form");
    house.restart().await;
    house.until_true("it was approved".to_owned(), async || house.partner.heard().len() == 1).await;
    house
        .until_true("nothing waits".to_owned(), async || {
            flows::get(&house.app, charge.id).await.unwrap().next.is_none()
        })
        .await;
}
