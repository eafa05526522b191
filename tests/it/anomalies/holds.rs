//! R4, R5, R8, R10, R12, R15: what may end once ends once, whoever comes first.

use std::sync::Arc;

use koban_domain::accounts::PluginKey;
use koban_domain::captures::{Collect, OfPayment};
use koban_domain::charges::{ChargeReversal, Tombstone};
use koban_domain::exchanges::{Exchange, Pair};
use koban_domain::guest::{SettlementLine, Side};
use koban_domain::ids::{CaptureId, FileId, FlowId, KeyId, QuoteId, RecordId, RefundId};
use koban_domain::ledger::{Answer, Command};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::payments::PaymentState;
use koban_domain::quotes::Quote;
use koban_domain::records::Digest;
use koban_domain::refunds::GiveBack;
use koban_domain::settlements::Settle;
use koban_service::exchanges::{self, ExchangeInput};
use koban_service::{Actor, freezes, operators, quotes};

use super::provoke;
use super::stage::{Said, Stage, credit, first, moment, some_yen, usd, user};
use crate::harness::{TILL, unique};
use crate::load::Dice;

/// R4. A capture, a void and the end of a hold's time come at once: exactly one of them is what happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_of_capture_void_and_expiry_one_wins() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (yen, host) = (some_yen(&mut dice), first(&mut dice));
        let who = stage.person(yen).await;
        // The hold runs out about when the others come.
        let for_ms = 1 + i64::try_from(dice.below(40)).unwrap_or(0);
        let payment = stage.paid(who, yen, Some(for_ms)).await;
        let of = OfPayment::from(&payment);
        let shop = Actor::Merchant(stage.shop, KeyId::default());
        let capture = CaptureId(stage.host(host).clock.id());
        let collect = Command::Collect(Collect { capture, of, amount: None, last: true });
        let pause = std::time::Duration::from_millis(dice.below(8));
        let captured = async {
            tokio::time::sleep(pause).await;
            stage.asked(host, shop, None, collect).await
        };
        let voided = async {
            tokio::time::sleep(pause).await;
            stage.asked(host + 1, shop, None, Command::Void(of)).await
        };
        let (captured, voided, expired) = tokio::join!(captured, voided, stage.told(host, Command::Expire(of)));
        let over = |said: &Result<Answer, Refusal>| {
            matches!(said, Err(Refusal::HoldEnded | Refusal::HoldExpired | Refusal::NotExpired))
        };
        let won = [&captured, &voided, &expired].iter().filter(|said| said.is_ok()).count();
        let lost = [&captured, &voided, &expired].iter().filter(|said| over(said)).count();
        assert_eq!(won + lost, 3, "{captured:?} {voided:?} {expired:?}");
        if won == 0 {
            // Nobody came in time; whoever sweeps later ends it.
            tokio::time::sleep(std::time::Duration::from_millis(45)).await;
            stage.told(host, Command::Expire(of)).await.expect("its time has run out");
            return "expired later";
        }
        assert_eq!(won, 1, "{captured:?} {voided:?} {expired:?}");
        let left = stage.balance(who).await;
        match (captured.is_ok(), voided.is_ok()) {
            (true, _) => {
                assert_eq!(left, 0);
                "captured"
            }
            (_, true) => {
                assert_eq!(left, yen);
                "voided"
            }
            _ => {
                assert_eq!(left, yen);
                "expired"
            }
        }
    }
    provoke("R4", &["captured", "voided", "expired", "expired later"], race).await;
}

/// R5. Two refunds of all of a payment at once: one is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_the_whole_of_a_payment_is_given_back_once() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let yen = some_yen(&mut dice);
        let who = stage.person(yen).await;
        let payment = stage.paid(who, yen, None).await;
        assert_eq!(payment.state, PaymentState::Captured);
        let shop = Actor::Merchant(stage.shop, KeyId::default());
        let refund = |host: usize| {
            let refund = RefundId(stage.host(host).clock.id());
            let back =
                GiveBack { refund, payment: payment.id, merchant: stage.shop, payer: who, amount: Money::yen(yen) };
            stage.asked(host, shop, None, Command::Refund(back))
        };
        let (one, other) = tokio::join!(refund(0), refund(1));
        let no = Err(Refusal::RefundExceedsPayment);
        assert!(one.is_ok() && other == no || other.is_ok() && one == no, "{one:?} {other:?}");
        assert_eq!(stage.balance(who).await, yen);
        "once"
    }
    provoke("R5", &["once"], race).await;
}

/// R8. A partner's deposit, the same again, its reversal and the word that it never was come in any order: a reference is credited at most once,
/// a credit is reversed at most once, and what was killed is never credited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_partners_messages_in_any_order_end_in_one_of_three_ways() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (yen, host, who) = (some_yen(&mut dice), first(&mut dice), stage.person(0).await);
        let (plugin, reference) = (PluginKey::of(TILL), unique("r8"));
        let flow = FlowId(stage.host(0).clock.id());
        let bring = || match credit(stage.host(0), who, yen, reference.clone()) {
            Command::Credit(command) => Command::Credit(koban_domain::charges::ChargeCredit { flow, ..command }),
            other => other,
        };
        let kill = Command::Tombstone(Tombstone { plugin, flow: Some(flow), reference: reference.clone() });
        let take = |name: &str| {
            Command::Reverse(ChargeReversal {
                plugin,
                flow,
                user: who,
                of: reference.clone(),
                amount: Money::yen(yen),
                reference: format!("{reference}-{name}"),
            })
        };
        let with_kill = dice.below(2) == 0;
        let waits = [(); 4].map(|()| moment(&mut dice));
        let killed = async {
            tokio::time::sleep(waits[2]).await;
            if with_kill { stage.told(host + 1, kill.clone()).await } else { Err(Refusal::Overflow) }
        };
        let after = |wait, host, command| {
            let stage = Arc::clone(&stage);
            async move {
                tokio::time::sleep(wait).await;
                stage.told(host, command).await
            }
        };
        let (one, two, killed, back) = tokio::join!(
            after(waits[0], host, bring()),
            after(waits[1], host + 1, bring()),
            killed,
            after(waits[3], host, take("a")),
        );
        let credited = usize::from(one.is_ok()) + usize::from(two.is_ok());
        assert_eq!(credited, usize::from(killed.is_err()), "{one:?} {two:?} {killed:?}");
        for late in [bring(), bring()] {
            let no = stage.told(host, late).await.expect_err("never twice");
            let wanted = if killed.is_ok() { Refusal::ReferenceTombstoned } else { Refusal::ReferenceUsed };
            assert_eq!(no, wanted);
        }
        match (killed.is_ok(), back) {
            (true, back) => {
                assert_eq!((back, stage.balance(who).await), (Err(Refusal::CreditNotFound), 0));
                "never was"
            }
            (false, Ok(_)) => {
                let more = stage.told(host, take("b")).await.expect_err("nothing is left of it");
                assert_eq!((more, stage.balance(who).await), (Refusal::ReversalExceedsCredit, 0));
                "taken back"
            }
            (false, back) => {
                assert_eq!((back, stage.balance(who).await), (Err(Refusal::CreditNotFound), yen));
                "credited"
            }
        }
    }
    provoke("R8", &["never was", "taken back", "credited"], race).await;
}

/// R10. A rate that was agreed to is traded at once or not at all, while the market moves under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_an_agreed_rate_is_traded_at_once_or_not_at_all() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let operator = operators::command_line(unique("r10"));
        let pair = Pair { base: usd(), quote: Currency::JPY };
        let who = stage.person(100_000).await;
        let mid = ["112", "113", "114"][usize::try_from(dice.below(3)).unwrap_or(0)];
        exchanges::put_reference(stage.host(1), &operator, pair, mid, "0.01").await.expect("a reference");
        let price = exchanges::prices(stage.host(1)).first().copied().expect("a price");
        let amount = Money::new(1_000, usd());
        let input = ExchangeInput { sell: Currency::JPY, buy: usd(), amount, rate: price.buying };
        let key = unique("quote");
        let trade = |host: usize| {
            let (input, ctx) = (input.clone(), user(who, &key));
            let stage = Arc::clone(&stage);
            async move { Said::of(exchanges::exchange(stage.host(host), &ctx, input).await) }
        };
        let other = ["115", "116"][usize::try_from(dice.below(2)).unwrap_or(0)];
        let market = async {
            if dice.below(2) == 0 {
                let moved = exchanges::put_reference(stage.host(0), &operator, pair, other, "0.01").await;
                moved.expect("the market moves");
            }
        };
        let (one, two, ()) = tokio::join!(trade(0), trade(1), market);
        let mut done = Vec::new();
        for said in [&one, &two] {
            match said {
                Said::Done(exchange) | Said::Again(exchange) => done.push(exchange.clone()),
                Said::No(Refusal::RateChanged) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(done.windows(2).all(|pair| pair[0] == pair[1]), "{done:?}");
        let cost = done.first().map_or(0, |exchange| exchange.sell.minor);
        assert!(done.iter().all(|exchange| exchange.rate == price.buying), "{done:?}");
        assert_eq!(stage.balance(who).await, 100_000 - cost, "once, or not at all");
        match done.len() {
            0 => "changed",
            2 => "traded",
            _ => panic!("one key, two outcomes: {one:?} {two:?}"),
        }
    }
    provoke("R10", &["changed", "traded"], race).await;
}

/// R10. A price that a plugin named is traded at once and in time, or not at all, wherever and under whatever keys it is accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_a_quote_is_accepted_once_and_in_time() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (who, yen) = (stage.person(100_000).await, 1_139);
        let app = stage.host(0);
        let now = app.clock.now();
        let pair = Pair { base: usd(), quote: Currency::JPY };
        exchanges::put_reference(app, &operators::command_line(unique("r10")), pair, "112.745", "0.01")
            .await
            .expect("a reference");
        let quote = Quote {
            id: QuoteId(app.clock.id()),
            user: who,
            plugin: "exchange".into(),
            component: Digest::of(b"exchange"),
            decision: RecordId(app.clock.id()),
            asked: Money::new(1_000, usd()),
            sell: Money::yen(yen),
            buy: Money::new(1_000, usd()),
            pair,
            rate: "113.8727".parse().expect("a rate"),
            mid: "112.745".parse().expect("a number"),
            fixed_at: now,
            at: now,
            expires_at: now.plus_ms(i64::try_from(dice.below(60)).unwrap_or(0)),
            last_good: false,
        };
        koban_store::quotes::put(&app.store, &quote).await.expect("it is kept");
        let accept = |host: usize, pause: std::time::Duration| {
            let (stage, ctx) = (Arc::clone(&stage), user(who, &unique("accept")));
            async move {
                tokio::time::sleep(pause).await;
                Said::of(quotes::accept(stage.host(host), &ctx, quote.id).await)
            }
        };
        let (one, two) = tokio::join!(accept(0, moment(&mut dice) * 4), accept(1, moment(&mut dice) * 4));
        let came = |said: &Said<Exchange>| match said {
            Said::Done(exchange) | Said::Again(exchange) => Some(exchange.clone()),
            Said::No(Refusal::QuoteExpired) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(came(&one), came(&two), "both are told the same");
        assert!(!matches!((&one, &two), (Said::Done(_), Said::Done(_))), "it was traded twice");
        match came(&one) {
            Some(_) => {
                assert_eq!(stage.balance(who).await, 100_000 - yen, "once");
                "traded"
            }
            None => {
                assert_eq!(stage.balance(who).await, 100_000);
                "expired"
            }
        }
    }
    provoke("R10 quote", &["traded", "expired"], race).await;
}

/// R12. Whether an account is frozen is decided in the commit and not when the request was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r12_a_freeze_binds_from_its_commit_on() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (yen, host) = (some_yen(&mut dice), first(&mut dice));
        let (from, to) = (stage.person(yen * 2).await, stage.person(0).await);
        let freezes_sender = dice.below(2) == 0;
        let frozen = if freezes_sender { from } else { to };
        let holder = koban_domain::access::Holder::User(frozen);
        let operator = operators::command_line(unique("r12"));
        let freezing = freezes::set(stage.host(host + 1), &operator, holder, true, "a race");
        let (said, freeze) = tokio::join!(stage.send(host, from, to, yen), freezing);
        freeze.expect("it is frozen");
        let no = Said::No(if freezes_sender { Refusal::WalletFrozen } else { Refusal::ReceiverUnavailable });
        for late in 0..2 {
            assert_eq!(stage.send(late, from, to, yen).await, no, "after the freeze");
        }
        match said {
            Said::Done(_) => {
                assert_eq!((stage.balance(from).await, stage.balance(to).await), (yen, yen));
                "sent before"
            }
            said => {
                assert_eq!(said, no);
                assert_eq!((stage.balance(from).await, stage.balance(to).await), (yen * 2, 0));
                "frozen before"
            }
        }
    }
    provoke("R12", &["sent before", "frozen before"], race).await;
}

/// R15. Two files of a partner list the same credit at once, while it is taken back: its line is in the books once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_a_line_is_settled_in_exactly_one_file() {
    async fn race(stage: Arc<Stage>, mut dice: Dice) -> &'static str {
        let (yen, who) = (some_yen(&mut dice), stage.person(0).await);
        let (plugin, reference) = (PluginKey::of(TILL), unique("r15"));
        let late = dice.below(2) == 0;
        let bring = credit(stage.host(0), who, yen, reference.clone());
        if !late {
            stage.told(0, bring.clone()).await.expect("it comes");
        }
        let file = |host: usize| {
            let file = FileId(stage.host(host).clock.id());
            let amount = Money::yen(yen);
            let lines = vec![SettlementLine { side: Side::Credit, reference: reference.clone(), amount, at: 0 }];
            let digest = Digest::of(unique("file").as_bytes());
            stage.told(host, Command::Settle(Settle { plugin, file, digest, lines }))
        };
        let coming = async { if late { stage.told(1, bring.clone()).await } else { Err(Refusal::Overflow) } };
        let (one, other, came) = tokio::join!(file(0), file(1), coming);
        let (Ok(Answer::Settled(one)), Ok(Answer::Settled(other))) = (&one, &other) else {
            panic!("{one:?} {other:?}")
        };
        let total = |part: fn(&koban_domain::settlements::Settled) -> u32| part(one) + part(other);
        let sums = (total(|file| file.matched), total(|file| file.repeated), total(|file| file.differences));
        match (late, came, sums) {
            (false, _, (1, 1, 0)) | (true, Ok(_), (1, 1, 0)) => "settled",
            // The line came before the credit: it waits for a file that lists the credit again, and is settled then, once.
            (true, Ok(_), (_, _, _)) => {
                let Ok(Answer::Settled(again)) = file(0).await else { panic!("a file is never refused") };
                assert!(again.matched + one.matched + other.matched == 1, "{one:?} {other:?} {again:?}");
                "settled later"
            }
            other => panic!("{other:?}"),
        }
    }
    provoke("R15", &["settled", "settled later"], race).await;
}
