//! R11 and R19 with money on its way: whatever was let in before, nothing commits once the end of a session, a key or an operator was answered.

use std::sync::Arc;
use std::time::Duration;

use koban_domain::access::Warrant;
use koban_domain::captures::{Collect, OfPayment};
use koban_domain::ids::{CaptureId, OperatorId, SessionId, UserId};
use koban_domain::ledger::Command;
use koban_domain::money::Money;
use koban_domain::time::Timestamp;
use koban_service::bonus::{self, GrantInput};
use koban_service::identity::token_hash;
use koban_service::keys::{NewKey, Scope};
use koban_service::payments::{self, PayInput};
use koban_service::{Actor, Ctx, Error, keys, operators, users};
use koban_store::operators::OperatorRow;
use koban_store::sessions::{SessionOwner, SessionRow};
use tokio::task::JoinSet;

use super::provoke;
use super::stage::{Stage, audit, first, moment, user};
use crate::harness::unique;
use crate::load::Dice;

/// Requests on their way at the same moment, half of them on each host.
const UNDER_WAY: usize = 8;

/// What came of requests that were under way when their authority ended: by how many were done.
fn word(done: usize) -> &'static str {
    match done {
        0 => "none was done",
        UNDER_WAY => "all were done before",
        _ => "some were done before",
    }
}

/// Whether it was done; the only other answer is that nobody is signed in.
fn is_done<T: std::fmt::Debug>(said: Result<T, Error>) -> bool {
    match said {
        Ok(_) => true,
        Err(Error::NotSignedIn) => false,
        other => panic!("neither done nor refused: {other:?}"),
    }
}

/// When the authority ends: among the requests, or now and then after all of them.
fn later(dice: &mut Dice) -> Duration {
    if dice.below(4) == 0 { Duration::from_millis(400) } else { moment(dice) }
}

/// A session of this owner, and the warrant of requests that came by it.
async fn session(stage: &Stage, owner: SessionOwner) -> (String, Warrant) {
    let (token, now) = (unique("token"), stage.host(0).clock.now());
    let session = SessionRow {
        token_hash: token_hash(&token),
        id: SessionId(stage.host(0).clock.id()),
        owner,
        created_at: now,
        expires_at: now.plus_ms(3_600_000),
        last_seen: now,
        device: None,
    };
    koban_store::sessions::create(&stage.host(0).store, &session).await.expect("a session");
    let warrant = Warrant::Session(token_hash(&token));
    (token, warrant)
}

/// R19. Payments that a session let in race its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r19_nothing_is_paid_by_a_session_once_its_end_was_answered() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (who, host, yen) = (stage.person(10_000).await, first(&mut dice), 100);
        let (token, warrant) = session(&stage, SessionOwner::User(who)).await;
        let mut paying = JoinSet::new();
        for number in 0..UNDER_WAY {
            let (stage, pause) = (Arc::clone(&stage), moment(&mut dice));
            paying.spawn(async move {
                tokio::time::sleep(pause).await;
                let input = PayInput { merchant: stage.shop, amount: Money::yen(yen), reference: None, hold_s: None };
                let ctx = Ctx { warrant: Some(warrant), ..user(who, &unique("r19")) };
                is_done(payments::pay(stage.host(number), &ctx, input).await)
            });
        }
        tokio::time::sleep(later(&mut dice)).await;
        users::sign_out(stage.host(host), &token).await.expect("it is ended");
        let left = stage.balance(who).await;
        let done = paying.join_all().await.into_iter().filter(|done| *done).count();
        assert_eq!(stage.balance(who).await, left, "something was paid after the end was answered");
        assert_eq!(left, 10_000 - yen * i64::try_from(done).unwrap_or(0), "what was answered is what was done");
        word(done)
    }
    provoke("R19 in flight", &["none was done", "some were done before", "all were done before"], race).await;
}

/// R11. Captures that a merchant's key let in race its revocation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_nothing_is_captured_by_a_key_once_its_revocation_was_answered() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (who, host, yen) = (stage.person(10_000).await, first(&mut dice), 100);
        let of = OfPayment::from(&stage.paid(who, 5_000, Some(3_600_000)).await);
        let operator = operators::command_line(unique("r11"));
        let new = NewKey { name: "till".into(), scopes: Scope::ALL.into_iter().collect() };
        let (key, _) = keys::create(stage.host(0), &operator, stage.shop, new).await.expect("a key");
        let mut capturing = JoinSet::new();
        for number in 0..UNDER_WAY {
            let (stage, pause) = (Arc::clone(&stage), moment(&mut dice));
            capturing.spawn(async move {
                tokio::time::sleep(pause).await;
                let capture = CaptureId(stage.host(number).clock.id());
                let command = Command::Collect(Collect { capture, of, amount: Some(yen), last: false });
                let actor = Actor::Merchant(stage.shop, key.id);
                stage.warranted(number, actor, Warrant::Key(key.id), command).await
            });
        }
        tokio::time::sleep(later(&mut dice)).await;
        keys::revoke(stage.host(host), &operator, stage.shop, key.id).await.expect("it is revoked");
        let left = stage.balance(who).await;
        let done = capturing.join_all().await.into_iter().filter(|done| *done).count();
        assert_eq!(stage.balance(who).await, left, "something was captured after the revocation was answered");
        assert_eq!(left, 10_000 - yen * i64::try_from(done).unwrap_or(0), "what was answered is what was done");
        word(done)
    }
    provoke("R11 in flight", &["none was done", "some were done before", "all were done before"], race).await;
}

/// R11. Grants that an operator's session let in race the removal of the operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_nothing_is_granted_by_an_operator_once_the_removal_was_answered() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (who, host) = (stage.person(0).await, first(&mut dice));
        let (operator, warrant) = colleague(&stage).await;
        let mut granting = JoinSet::new();
        for number in 0..UNDER_WAY {
            let (stage, pause) = (Arc::clone(&stage), moment(&mut dice));
            granting.spawn(async move {
                tokio::time::sleep(pause).await;
                let ctx = Ctx { warrant: Some(warrant), ..Ctx::new(Actor::Operator(operator), unique("r11")) };
                is_done(bonus::grant(stage.host(number), &ctx, gift(&stage, who, 100)).await)
            });
        }
        tokio::time::sleep(later(&mut dice)).await;
        let command_line = operators::command_line(unique("r11"));
        operators::remove(stage.host(host), &command_line, operator, "a race").await.expect("it is removed");
        let has = stage.bonus(who).await;
        let done = granting.join_all().await.into_iter().filter(|done| *done).count();
        assert_eq!(stage.bonus(who).await, has, "something was granted after the removal was answered");
        assert_eq!(has, 100 * i64::try_from(done).unwrap_or(0), "what was answered is what was done");
        word(done)
    }
    provoke("R11 removed", &["none was done", "some were done before", "all were done before"], race).await;
}

/// An operator with a session, and another one who stays: the last one is never removed.
async fn colleague(stage: &Stage) -> (OperatorId, Warrant) {
    made(stage).await;
    let id = made(stage).await;
    let (_, warrant) = session(stage, SessionOwner::Operator(id)).await;
    (id, warrant)
}

/// An operator. Nobody signs in by the password.
async fn made(stage: &Stage) -> OperatorId {
    let app = stage.host(0);
    let id = OperatorId(app.clock.id());
    let row = OperatorRow {
        id,
        name: "Oto".into(),
        email: format!("{}@example.com", unique("operator")),
        password_hash: "-".into(),
        created_at: app.clock.now(),
    };
    koban_store::operators::create(&app.store, &row, &audit(app, "operator.create", id.to_string()))
        .await
        .expect("an operator");
    id
}

/// So much bonus out of the stage's campaign, for an hour.
pub(super) fn gift(stage: &Stage, user: UserId, yen: i64) -> GrantInput {
    let now: Timestamp = stage.host(0).clock.now();
    GrantInput {
        campaign: stage.campaign,
        user,
        amount: Money::yen(yen),
        usable_from: None,
        expires_at: now.plus_ms(3_600_000),
        reason: "a race".into(),
    }
}
