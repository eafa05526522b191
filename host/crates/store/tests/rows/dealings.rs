//! Payments, refunds, transfers, statements, and what a fraud rule is told of them.

use koban_domain::accounts::{AccountId, AccountKey, Class, PluginKey, PostingSide};
use koban_domain::charges::ChargeReversal;
use koban_domain::ids::{FlowId, MerchantId, PaymentId, RefundId, TransferId, UserId};
use koban_domain::ledger::{Answer, Command, Counted, Work};
use koban_domain::limits::WalletKind;
use koban_domain::money::Currency;
use koban_domain::operations::{Claim, OperationKey};
use koban_domain::paths::EntryKind;
use koban_domain::refunds::GiveBack;
use koban_domain::signals::{SubjectKey, Subjects};
use koban_domain::transfers::Send;
use koban_store::users::UserRow;
use koban_store::{Questions, payments, statements, transfers, users};

use crate::harness::*;

const JPY: Currency = Currency::JPY;

fn funds(user: UserId) -> AccountId {
    AccountKey::user(Class::Funds, user, JPY).id()
}

fn send(number: u128, sender: UserId, receiver: UserId, amount: i64) -> Work {
    let send = Send {
        transfer: TransferId(uuid(number)),
        sender,
        receiver,
        amount: yen(amount),
        message: Some("thanks".into()),
        decision: None,
        review: false,
    };
    work(number, vec![Command::Transfer(send)])
}

#[tokio::test]
async fn payments_are_listed_newest_first_for_payer_and_merchant_without_skip_or_repeat() {
    on_each(async |store| {
        plugin(store).await;
        let (payer, shop, other) = (user(store, 1).await, merchant(store, 2).await, merchant(store, 3).await);
        commit(store, &[credit(10, payer, 100_000)], NOON).await;
        let batch: Vec<Work> =
            (100..125).map(|number| pay(number, payer, if number % 5 == 0 { other } else { shop }, 100)).collect();
        let answers = commit(store, &batch, NOON).await;

        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = payments::by_payer(store, payer, before, 7).await.unwrap();
            before = page.last().map(|payment| payment.id);
            seen.extend(page);
            if before.is_none() {
                break;
            }
        }
        let mut expected: Vec<_> = answers.iter().map(|answers| paid(answers)).collect();
        expected.reverse();
        assert_eq!(seen, expected);
        assert_eq!(payments::by_merchant(store, shop, None, 100).await.unwrap().len(), 20);
        assert_eq!(payments::by_merchant(store, other, None, 100).await.unwrap().len(), 5);
    })
    .await;
}

#[tokio::test]
async fn a_merchant_finds_a_payment_by_its_own_reference_and_not_by_anothers() {
    on_each(async |store| {
        plugin(store).await;
        let (payer, shop) = (user(store, 1).await, merchant(store, 2).await);
        commit(store, &[credit(10, payer, 1_000)], NOON).await;
        let payment = paid(&commit(store, &[pay(100, payer, shop, 300)], NOON).await[0]);
        assert_eq!(payments::by_reference(store, shop, "order-100").await.unwrap(), Some(payment.clone()));
        assert_eq!(payments::by_reference(store, shop, "order-10").await.unwrap(), None);
        assert_eq!(payments::by_reference(store, MerchantId(uuid(9)), "order-100").await.unwrap(), None);
        assert_eq!(payments::by_id(store, payment.id).await.unwrap(), Some(payment));
        assert_eq!(payments::by_id(store, PaymentId(uuid(101))).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_payment_shows_what_was_given_back() {
    on_each(async |store| {
        plugin(store).await;
        let (payer, shop) = (user(store, 1).await, merchant(store, 2).await);
        commit(store, &[credit(10, payer, 5_000), pay(100, payer, shop, 1_280)], NOON).await;
        let refund = |number: u128, amount| {
            let give_back = GiveBack {
                refund: RefundId(uuid(number)),
                payment: PaymentId(uuid(100)),
                merchant: shop,
                payer,
                amount: yen(amount),
            };
            work(number, vec![Command::Refund(give_back)])
        };
        commit(store, &[refund(200, 280), refund(201, 20)], NOON).await;
        let refunds = payments::refunds(store, PaymentId(uuid(100)), None, 10).await.unwrap();
        assert_eq!(refunds.iter().map(|refund| refund.amount.minor).collect::<Vec<_>>(), [280, 20]);
        let rest = payments::refunds(store, PaymentId(uuid(100)), Some(refunds[0].id), 10).await.unwrap();
        assert_eq!(rest, refunds[1..]);
        assert_eq!(payments::refund_by_id(store, RefundId(uuid(200))).await.unwrap(), Some(refunds[0].clone()));
        assert_eq!(payments::by_id(store, PaymentId(uuid(100))).await.unwrap().unwrap().refundable(), 980);
    })
    .await;
}

#[tokio::test]
async fn a_statement_follows_several_accounts_newest_first_and_ends_in_their_balances() {
    on_each(async |store| {
        plugin(store).await;
        let (payer, shop) = (user(store, 1).await, merchant(store, 2).await);
        commit(store, &[credit(10, payer, 10_000)], NOON).await;
        for number in 100..110 {
            commit(store, &[pay(number, payer, shop, 100)], NOON).await;
        }
        let wallet =
            [Class::Prepaid, Class::Funds, Class::Receivable].map(|class| AccountKey::user(class, payer, JPY).id());
        let mut lines = Vec::new();
        let mut before = None;
        loop {
            let page = statements::lines(store, &wallet, before, 4).await.unwrap();
            before = page.last().map(|line| line.place);
            lines.extend(page);
            if before.is_none() {
                break;
            }
        }
        assert_eq!(lines.len(), 11);
        assert!(lines.windows(2).all(|pair| pair[0].place > pair[1].place));
        let (newest, oldest) = (&lines[0], &lines[10]);
        assert_eq!((newest.kind, newest.side, newest.amount), (EntryKind::Payment, PostingSide::Debit, 100));
        assert_eq!((newest.balance, newest.subject, newest.account), (9_000, uuid(109), funds(payer)));
        assert_eq!((oldest.kind, oldest.side, oldest.balance), (EntryKind::ChargeCredit, PostingSide::Credit, 10_000));
        assert_eq!(oldest.meta, r#"{"reference":"atm-10"}"#);

        let payable = AccountKey::payable(shop, JPY).id();
        let balances = statements::balances(store, &[funds(payer), payable, AccountId([9; 16])]).await.unwrap();
        assert_eq!(balances.len(), 2);
        assert_eq!((balances[&funds(payer)].balance(), balances[&payable].balance()), (9_000, 1_000));

        // More accounts than one statement of SQL takes are merged in the same order.
        let clearing = AccountKey::clearing(PluginKey::of(PLUGIN), JPY).id();
        let many = [wallet[0], wallet[1], wallet[2], payable, clearing];
        let merged = statements::lines(store, &many, None, 100).await.unwrap();
        assert_eq!(merged.len(), 22);
        assert!(merged.windows(2).all(|pair| pair[0].place > pair[1].place));
    })
    .await;
}

#[tokio::test]
async fn a_long_history_is_entered_anywhere_through_its_marks() {
    on_each(async |store| {
        plugin(store).await;
        let (payer, shop) = (user(store, 1).await, merchant(store, 2).await);
        commit(store, &[credit(10, payer, 100_000)], NOON).await;
        for batch in 0..5 {
            let payments: Vec<_> = (0..40).map(|number| pay(100 + batch * 40 + number, payer, shop, 7)).collect();
            commit(store, &payments, NOON).await;
        }
        let payable = AccountKey::payable(shop, JPY).id();
        let marks = store.journal().await.unwrap().marks_after(None, 100).await.unwrap();
        let of_shop: Vec<i64> = marks.iter().filter(|mark| mark.0 == payable).map(|mark| mark.1).collect();
        assert_eq!(of_shop, [65, 129, 193], "the credit is entry 1, the shop's n-th payment entry n + 1");
        let account = statements::balances(store, &[payable]).await.unwrap()[&payable];
        assert_eq!((account.moved, account.last), (200, 201));

        let all = statements::lines(store, &[payable], None, 500).await.unwrap();
        assert_eq!(all.len(), 200);
        assert_eq!((all[0].balance, all[199].balance), (1_400, 7));
        for place in 0..=199 {
            // From every place on: just before a mark, on it, and behind the last one.
            let page = statements::lines(store, &[payable, funds(payer)], Some(all[place].place), 5).await.unwrap();
            assert!(page.iter().all(|line| line.place < all[place].place), "{place}");
            let rest: Vec<_> = page.iter().filter(|line| line.account == payable).cloned().collect();
            assert_eq!(rest, all[place + 1..(place + 1 + rest.len())], "{place}");
            let other = page.iter().filter(|line| line.account == funds(payer)).count();
            assert_eq!(rest.len() + other, page.len());
            assert!(place > 195 || page.len() == 5, "{place}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_users_transfers_are_listed_once_each_also_those_that_repaid() {
    on_each(async |store| {
        plugin(store).await;
        let (sender, receiver, shop) = (user(store, 1).await, user(store, 2).await, merchant(store, 3).await);
        commit(store, &[credit(10, sender, 50_000), credit(11, receiver, 1_000)], NOON).await;
        commit(store, &[pay(100, receiver, shop, 1_000)], NOON).await;
        // The receiver's charge is taken back after it was spent: 1,000 are owed.
        let reversal = ChargeReversal {
            plugin: PluginKey::of(PLUGIN),
            flow: FlowId(uuid(11)),
            user: receiver,
            of: "atm-11".into(),
            amount: yen(1_000),
            reference: "atm-11".into(),
        };
        commit(store, &[work(12, vec![Command::Reverse(reversal)])], NOON).await;
        // The first only repays, the second repays the rest and credits, the third only credits.
        for (number, amount) in [(200, 400), (201, 1_000), (202, 50)] {
            commit(store, &[send(number, sender, receiver, amount)], NOON).await;
        }
        for party in [sender, receiver] {
            let newest = transfers::by_user(store, party, JPY, None, 2).await.unwrap();
            let rest = transfers::by_user(store, party, JPY, Some(newest[1].0), 2).await.unwrap();
            let amounts: Vec<i64> = newest.iter().chain(&rest).map(|(_, transfer)| transfer.amount.minor).collect();
            assert_eq!(amounts, [50, 1_000, 400]);
        }
        let transfer = transfers::by_id(store, TransferId(uuid(200))).await.unwrap().unwrap();
        assert_eq!((transfer.sender, transfer.receiver), (sender, receiver));
        assert_eq!(transfer.message.as_deref(), Some("thanks"));
    })
    .await;
}

#[tokio::test]
async fn what_many_payments_ask_comes_in_one_answer() {
    on_each(async |store| {
        plugin(store).await;
        let (payer, shop) = (user(store, 1).await, merchant(store, 2).await);
        let prepaid = UserRow { kind: WalletKind::Prepaid, created_at: NOON.plus_ms(5), ..user_row(3) };
        users::create(store, &prepaid).await.unwrap();
        commit(store, &[credit(10, payer, 5_000)], NOON).await;
        let subjects = Subjects {
            user: SubjectKey::user(payer),
            merchant: Some(SubjectKey::merchant(shop)),
            device: Some(SubjectKey::device("phone")),
        };
        let counted = Counted { subjects: subjects.clone(), amount: 700 };
        let claim = Claim::new("a payer", "key", "POST /v1/payments", b"{}");
        let work = Work {
            operation: Some(claim),
            counted: Some(counted),
            payee: Some((payer, shop.0)),
            ..pay(100, payer, shop, 700)
        };
        commit(store, &[work], NOON).await;

        let (nobody, nowhere, unknown) = (UserId(uuid(9)), MerchantId(uuid(9)), SubjectKey::device("another"));
        let mut asked: Vec<SubjectKey> = subjects.iter().collect();
        asked.push(unknown);
        let questions = Questions {
            operations: vec![claim.key, OperationKey([9; 16])],
            users: vec![payer, prepaid.id, nobody],
            merchants: vec![shop, nowhere],
            payees: vec![(payer, shop), (payer, nowhere), (nobody, shop)],
            subjects: asked,
        };
        let mut reader = store.reader();
        // Twice: the second time the statement is prepared and the connection is there.
        for _ in 0..2 {
            let found = reader.dealings(&questions).await.unwrap();
            assert_eq!(found.operations.len(), 1);
            let operation = &found.operations[&claim.key];
            assert_eq!((operation.fingerprint, operation.at), (claim.fingerprint, NOON));
            assert!(matches!(operation.outcome, Ok(Answer::Paid(_))), "{:?}", operation.outcome);
            assert_eq!(found.users.len(), 2);
            assert_eq!((found.users[&payer].kind, found.users[&payer].created_at), (WalletKind::Funds, NOON));
            let facts = found.users[&prepaid.id];
            assert_eq!((facts.kind, facts.created_at), (WalletKind::Prepaid, NOON.plus_ms(5)));
            assert_eq!(found.categories.into_iter().collect::<Vec<_>>(), [(shop, merchant_row(2).category)]);
            assert_eq!(found.payees.into_iter().collect::<Vec<_>>(), [(payer, shop)]);
            assert_eq!(found.rings.len(), 3);
            assert!(found.rings.values().all(|ring| ring.over(60, NOON) == (1, 700)));
            assert!(!found.rings.contains_key(&unknown));
        }
        let nothing = reader.dealings(&Questions::default()).await.unwrap();
        assert!(nothing.users.is_empty() && nothing.operations.is_empty() && nothing.rings.is_empty());
    })
    .await;
}
