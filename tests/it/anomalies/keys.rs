//! R6, R7, R11, R19: keys of requests, keys of merchants and sessions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use koban_domain::captures::{Collect, OfPayment};
use koban_domain::ids::{CaptureId, SessionId};
use koban_domain::ledger::Command;
use koban_domain::outcomes::Refusal;
use koban_service::identity::token_hash;
use koban_service::keys::{NewKey, Scope};
use koban_service::{Actor, freezes, keys, operators, users};
use koban_store::sessions::{SessionOwner, SessionRow};
use tokio::task::JoinSet;

use super::provoke;
use super::stage::{Said, Stage, first, moment, some_yen};
use crate::harness::unique;
use crate::load::Dice;

/// R6. The same request fifty times at once on two hosts, some of whose callers are cut off in the middle: one effect. (Hosts that are killed in the
/// middle are `kills`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_one_key_has_one_effect_however_often_and_wherever_it_comes() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (yen, key, who) = (some_yen(&mut dice), unique("r6"), stage.person(2_000).await);
        let (mut asking, cuts) = (JoinSet::new(), dice.below(2) == 0);
        for number in 0..50_usize {
            let (stage, key, cut_us) = (Arc::clone(&stage), key.clone(), dice.below(4_000));
            asking.spawn(async move {
                let pay = stage.pay(number, who, yen, &key);
                if cuts && number % 2 == 1 {
                    // The caller is gone; what it asked for may be done all the same.
                    tokio::time::timeout(Duration::from_micros(cut_us), pay).await.ok()
                } else {
                    Some(pay.await)
                }
            });
        }
        let said: Vec<Said<_>> = asking.join_all().await.into_iter().flatten().collect();
        let mut made = BTreeSet::new();
        let mut done = 0;
        for said in &said {
            match said {
                Said::Done(payment) => {
                    done += 1;
                    made.insert(payment.id);
                }
                Said::Again(payment) => drop(made.insert(payment.id)),
                Said::Running => {}
                other => panic!("{other:?}"),
            }
        }
        let again = loop {
            match stage.pay(0, who, yen, &key).await {
                Said::Running => tokio::time::sleep(Duration::from_millis(2)).await,
                Said::Done(payment) | Said::Again(payment) => break payment,
                other => panic!("{other:?}"),
            }
        };
        made.insert(again.id);
        assert!(made.len() == 1 && done <= 1, "{said:?}");
        assert_eq!(stage.balance(who).await, 2_000 - yen);
        if cuts { "once, callers cut off" } else { "once" }
    }
    provoke("R6", &["once", "once, callers cut off"], race).await;
}

/// R7. One key for two requests: one of them is done, the other is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_a_key_is_never_good_for_another_body() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (yen, key, who) = (some_yen(&mut dice), unique("r7"), stage.person(2_000).await);
        let (one, other) = tokio::join!(stage.pay(0, who, yen, &key), stage.pay(1, who, yen + 1, &key));
        let (paid, which) = match (&one, &other) {
            (Said::Done(_), Said::Reused) => (yen, "the first"),
            (Said::Reused, Said::Done(_)) => (yen + 1, "the second"),
            _ => panic!("{one:?} {other:?}"),
        };
        assert_eq!(stage.balance(who).await, 2_000 - paid);
        let wrong = if paid == yen { yen + 1 } else { yen };
        assert_eq!(stage.pay(0, who, wrong, &key).await, Said::Reused);
        assert!(matches!(stage.pay(1, who, paid, &key).await, Said::Again(_)));
        which
    }
    provoke("R7", &["the first", "the second"], race).await;
}

/// R11. A merchant's key is frozen while a request by it runs: the commit looks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_a_frozen_key_captures_nothing_from_then_on() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (yen, host) = (some_yen(&mut dice), first(&mut dice));
        let who = stage.person(yen * 3).await;
        let payment = stage.paid(who, yen * 3, Some(3_600_000)).await;
        let of = OfPayment::from(&payment);
        let operator = operators::command_line(unique("r11"));
        // A key of its own, that no other race freezes; keys are bounded, so it is revoked in the end.
        let new = NewKey { name: "till".into(), scopes: Scope::ALL.into_iter().collect() };
        let (key, _) = keys::create(stage.host(0), &operator, stage.shop, new).await.expect("a key");
        let collect = |host: usize| {
            let capture = CaptureId(stage.host(host).clock.id());
            let command = Command::Collect(Collect { capture, of, amount: Some(yen), last: false });
            stage.asked(host, Actor::Merchant(stage.shop, key.id), Some(key.id), command)
        };
        let freezing = freezes::set_key(stage.host(host + 1), &operator, key.id, true, "a race");
        let (said, frozen) = tokio::join!(collect(host), freezing);
        frozen.expect("it is frozen");
        for late in 0..2 {
            assert_eq!(collect(late).await, Err(Refusal::KeyFrozen), "after the freeze");
        }
        keys::revoke(stage.host(0), &operator, stage.shop, key.id).await.expect("it is revoked");
        match said {
            Ok(_) => {
                assert_eq!(stage.balance(who).await, yen * 2);
                "captured before"
            }
            Err(refusal) => {
                assert_eq!((refusal, stage.balance(who).await), (Refusal::KeyFrozen, yen * 3));
                "frozen before"
            }
        }
    }
    provoke("R11", &["captured before", "frozen before"], race).await;
}

/// R19. A session ends while requests use it: none is let in once its end was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r19_a_session_that_was_ended_lets_nobody_in() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (who, host) = (stage.person(0).await, first(&mut dice));
        let token = unique("token");
        let now = stage.host(0).clock.now();
        let session = SessionRow {
            token_hash: token_hash(&token),
            id: SessionId(stage.host(0).clock.id()),
            owner: SessionOwner::User(who),
            created_at: now,
            expires_at: now.plus_ms(3_600_000),
            // Long ago: whoever uses it writes that it was used, which must not bring it back.
            last_seen: now.plus_ms(-600_000),
            device: None,
        };
        koban_store::sessions::create(&stage.host(0).store, &session).await.expect("a session");
        let (stage, token) = (&stage, token.as_str());
        let uses = |host: usize| users::by_token(stage.host(host), token);
        let (wait, pause) = (moment(&mut dice), moment(&mut dice));
        let later = |host: usize| async move {
            tokio::time::sleep(wait).await;
            users::by_token(stage.host(host), token).await
        };
        let ending = async {
            tokio::time::sleep(pause).await;
            users::sign_out(stage.host(host + 1), token).await
        };
        let (one, two, three, ended) = tokio::join!(later(0), later(1), later(host), ending);
        ended.expect("it is ended");
        for late in 0..4 {
            let said = uses(late).await;
            assert!(matches!(said, Err(koban_service::Error::NotSignedIn)), "after its end: {said:?}");
        }
        let seen = [one, two, three].iter().filter(|said| said.is_ok()).count();
        match seen {
            0 => "ended before",
            _ => "used before",
        }
    }
    provoke("R19", &["ended before", "used before"], race).await;
}
