//! One behaviour on two databases: the same history is decided alike by both and by books in memory, and reads back the same.

mod databases;
mod history;
mod outgoing;
mod parts;
mod settings;
mod shops;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use koban_domain::accounts::{AccountId, Layer};
use koban_domain::books::{Books, Table};
use koban_domain::ids::{FlowId, PaymentId, TransferId};
use koban_domain::journal::{Head, MARK_EVERY, canonical, chain};
use koban_domain::ledger::{Answer, Command, Commit, Decided, Work};
use koban_domain::money::Money;
use koban_domain::operations::Claim;
use koban_domain::outcomes::Refusal;
use koban_domain::payments::{Pay, Terms};
use koban_domain::policy::{FailurePolicy, Policy};
use koban_domain::records::Digest;
use koban_domain::touched::Touched;
use koban_domain::transfers::Send;
use koban_store::{LedgerWriter, Store, StoreError, StoreErrorKind};
use uuid::Uuid;

use databases::{Database, databases};
use history::History;
use world::{Memory, START, commit, furnish, load_all, merchant, same_captures, user};

async fn furnished() -> Vec<Database> {
    let databases = databases().await;
    for database in &databases {
        furnish(&database.store).await;
    }
    databases
}

fn policy() -> Policy {
    Policy { limits: world::published(), fraud: FailurePolicy::default(), ..Policy::default() }
}

/// Goal: no difference between the databases and the pure decision can hide. Method: random histories from fixed seeds, decided
/// three times; then every table of the books is compared with the model, row by row.
#[tokio::test]
async fn the_same_history_ends_in_the_same_books_everywhere() {
    for seed in [1, 2, 3] {
        println!("seed {seed}");
        let mut databases = furnished().await;
        let mut heads = Vec::new();
        for database in &mut databases {
            let (mut history, mut memory) = (History::new(seed), Memory::furnished(&policy()));
            let mut writer = database.store.ledger().await.unwrap();
            for turn in 0..60 {
                let now = START.plus_ms(turn * 7_200_000);
                let batch = history.batch(&memory, now);
                let expected = memory.commit(&batch, now);
                let (decided, head) = commit(&mut writer, &batch, now).await.unwrap();
                assert_eq!(decided, expected, "{} seed {seed} turn {turn}", database.name);
                assert_eq!(head, memory.head, "{} seed {seed} turn {turn}", database.name);
                history.learn(&batch, &memory);
            }
            assert!(memory.entries.len() > 100, "the history is too tame: {} entries", memory.entries.len());
            same_books(&mut writer, &memory, database.name).await;
            same_captures(&database.store, &memory.books, database.name).await;
            same_journal(&database.store, &memory, database.name).await;
            heads.push(memory.head);
        }
        assert!(heads.windows(2).all(|pair| pair[0] == pair[1]), "{heads:?}");
    }
}

async fn same_books(writer: &mut LedgerWriter, memory: &Memory, name: &str) {
    let (all, stored) = (&memory.books, load_all(writer, &memory.books).await);
    same(&all.accounts, &stored.accounts, "accounts", name);
    same(&all.users, &stored.users, "users", name);
    same(&all.adjustments, &stored.adjustments, "adjustments", name);
    same(&all.campaigns, &stored.campaigns, "campaigns", name);
    same(&all.lots, &stored.lots, "lots", name);
    same(&all.shares, &stored.shares, "shares", name);
    same(&all.gifts, &stored.gifts, "gifts", name);
    same(&all.payments, &stored.payments, "payments", name);
    same(&all.transfers, &stored.transfers, "transfers", name);
    same(&all.reviews, &stored.reviews, "reviews", name);
    same(&all.arrangements, &stored.arrangements, "arrangements", name);
    same(&all.disputes, &stored.disputes, "disputes", name);
    same(&all.closings, &stored.closings, "closings", name);
    same(&all.payout_references, &stored.payout_references, "payout references", name);
    same(&all.step_ups, &stored.step_ups, "challenges", name);
    same(&all.merchant_references, &stored.merchant_references, "merchant references", name);
    same(&all.references, &stored.references, "references", name);
    same(&all.held, &stored.held, "flows' holds", name);
    same(&all.bills, &stored.bills, "bills", name);
    same(&all.links, &stored.links, "links", name);
    same(&all.exposures, &stored.exposures, "exposures", name);
    same(&all.counters, &stored.counters, "counters", name);
    same(&all.differences, &stored.differences, "differences", name);
    same(&all.files, &stored.files, "files", name);
    same(&all.expectations, &stored.expectations, "expectations", name);
    same(&all.signals, &stored.signals, "signals", name);
    same(&all.flows, &stored.flows, "flows", name);
    same(&all.operations, &stored.operations, "operations", name);
}

fn same<K, V>(expected: &Table<K, V>, stored: &Table<K, V>, table: &str, name: &str)
where
    K: std::hash::Hash + Eq + Clone + Ord + std::fmt::Debug,
    V: Clone + PartialEq + std::fmt::Debug,
{
    assert!(expected.iter().next().is_some(), "no {table} in the history");
    for (key, value) in expected.iter() {
        assert_eq!(stored.get(key), Some(value), "{name}: {table} {key:?}");
    }
}

/// What readers of the journal find is what was decided: entries, postings, sums, pages and the audit log, each chain unbroken.
async fn same_journal(store: &Store, memory: &Memory, name: &str) {
    let mut journal = store.journal().await.unwrap();
    let head = journal.head().await.unwrap();
    assert_eq!(head.head, memory.head);

    let (mut entries, mut hash) = (Vec::new(), Head::EMPTY.hash);
    loop {
        let after = entries.last().map_or(0, |entry: &koban_domain::journal::Entry| entry.sequence);
        let page = journal.entries_after(after, 17).await.unwrap();
        if page.is_empty() {
            break;
        }
        for entry in &page {
            hash = chain(hash, &canonical(entry.sequence, entry.at, &entry.draft));
            assert_eq!(hash, entry.hash, "{name}: entry {}", entry.sequence);
        }
        entries.extend(page);
    }
    assert_eq!(entries, memory.entries, "{name}");

    // Each account's history, worked out again: the entry before, the last one, and what is marked.
    let (mut histories, mut marks) = (BTreeMap::<AccountId, (i64, i64)>::new(), Vec::new());
    for entry in &entries {
        let moved: BTreeSet<_> =
            entry.draft.postings.iter().filter(|it| it.layer == Layer::Posted).map(|it| it.id).collect();
        for posting in &entry.draft.postings {
            let before =
                histories.get(&posting.id).filter(|_| moved.contains(&posting.id)).map_or(0, |(_, last)| *last);
            assert_eq!(posting.previous, before, "{name}: entry {}", entry.sequence);
        }
        for id in moved {
            let (count, last) = histories.entry(id).or_default();
            (*count, *last) = (*count + 1, entry.sequence);
            if *count % MARK_EVERY == 0 {
                marks.push((id, entry.sequence));
            }
        }
    }
    let mut account: Option<AccountId> = None;
    loop {
        let accounts = journal.accounts_after(account, 5).await.unwrap();
        let Some((last, _)) = accounts.last() else { break };
        account = Some(*last);
        for (id, account) in &accounts {
            let history = histories.get(id).copied().unwrap_or_default();
            assert_eq!((account.moved, account.last), history, "{name}");
        }
    }
    marks.sort_unstable();
    assert_eq!(journal.marks_after(None, 10_000).await.unwrap(), marks, "{name}");

    let (mut hash, mut records) = (Digest::default(), 0);
    for page in journal.record_pages_after(0, 1_000).await.unwrap() {
        hash = page.hash_after(hash).unwrap();
        assert_eq!(hash, page.hash, "{name}: record page {}", page.sequence);
        let inside = page.records().unwrap();
        assert_eq!(inside.len(), usize::try_from(page.count).unwrap());
        assert!(inside.iter().all(|(id, _)| page.first <= *id && *id <= page.last));
        records += inside.len();
    }
    assert!(records > 0);
    assert_eq!(hash, head.record_hash);

    let (mut hash, mut sequence) = (Digest::default(), 0);
    for row in journal.audit_after(0, 1_000).await.unwrap() {
        hash = row.hash_after(hash);
        sequence += 1;
        assert_eq!((row.sequence, row.hash), (sequence, hash), "{name}");
    }
    assert_eq!(journal.audit_head().await.unwrap(), (sequence, hash));
}

/// A transfer between the two users that begin verified; the first one has no money until somebody gives some.
fn transfer(id: u128, amount: i64) -> Work {
    let mut work = Work::new(Uuid::from_u128(id), "user:test");
    work.operation = Some(Claim::new("user:test", &id.to_string(), "/v1/transfers", b"{}"));
    work.commands.push(Command::Transfer(Send {
        transfer: TransferId(Uuid::from_u128(id)),
        sender: user(0),
        receiver: user(1),
        amount: Money::yen(amount),
        message: None,
        decision: None,
        review: false,
    }));
    work
}

/// Brings the first user so much money through a channel.
fn charge(id: u128, amount: i64) -> Work {
    let mut work = Work::new(Uuid::from_u128(id), "plugin:test");
    work.commands.push(Command::Credit(koban_domain::charges::ChargeCredit {
        plugin: world::plugin(),
        flow: FlowId(Uuid::from_u128(id)),
        user: user(0),
        amount: Money::yen(amount),
        reference: format!("charge {id}"),
        arrived: false,
    }));
    work
}

#[tokio::test]
async fn a_decided_operation_answers_again_and_moves_nothing() {
    for database in furnished().await {
        let mut writer = database.store.ledger().await.unwrap();
        commit(&mut writer, &[charge(10, 5_000)], START).await.unwrap();
        let (first, head) = commit(&mut writer, &[transfer(100, 700), transfer(100, 700)], START).await.unwrap();
        let Decided::Done(answers) = &first[0] else { panic!("{first:?}") };
        assert_eq!(first[1], Decided::Replayed(Ok(answers[0].clone())), "{}", database.name);

        let mut other = transfer(100, 700);
        other.operation = Some(Claim::new("user:test", "100", "/v1/transfers", b"other"));
        let (again, after) = commit(&mut writer, &[transfer(100, 700), other], START).await.unwrap();
        assert_eq!(again, [Decided::Replayed(Ok(answers[0].clone())), Decided::KeyReused]);
        assert_eq!(after, head);
    }
}

#[tokio::test]
async fn a_refusal_sticks_to_its_key_and_leaves_no_entry() {
    for database in furnished().await {
        let mut writer = database.store.ledger().await.unwrap();
        let (decided, head) = commit(&mut writer, &[transfer(100, 1)], START).await.unwrap();
        assert_eq!(decided, [Decided::Refused(0, Refusal::InsufficientFunds)]);
        assert_eq!(head, Head::EMPTY);
        commit(&mut writer, &[charge(10, 5_000)], START).await.unwrap();
        let (decided, _) = commit(&mut writer, &[transfer(100, 1)], START).await.unwrap();
        assert_eq!(decided, [Decided::Replayed(Err(Refusal::InsufficientFunds))], "{}", database.name);
    }
}

#[tokio::test]
async fn a_batch_of_two_thousand_is_one_commit() {
    for database in furnished().await {
        let mut writer = database.store.ledger().await.unwrap();
        commit(&mut writer, &[charge(10, 90_000)], START).await.unwrap();
        let batch: Vec<Work> = (0..2_000).map(|number| transfer(1_000 + number * 4, 1)).collect();
        let (decided, head) = commit(&mut writer, &batch, START).await.unwrap();
        assert!(decided.iter().all(|decided| matches!(decided, Decided::Done(_))), "{}", database.name);
        assert_eq!(head.sequence, 2_001);
        let mut journal = database.store.journal().await.unwrap();
        assert_eq!(journal.head().await.unwrap().head, head);
        assert_eq!(journal.entries_after(0, 5_000).await.unwrap().len(), 2_001);
    }
}

#[tokio::test]
async fn a_commit_that_decides_nothing_writes_nothing() {
    for database in furnished().await {
        let before = database.store.lane_head().await.unwrap();
        let mut writer = database.store.ledger().await.unwrap();
        commit(&mut writer, &[], START).await.unwrap();
        let mut step = Work::new(Uuid::from_u128(1), "plugin:test");
        let mut history = History::new(9);
        // A step of a flow that nobody knows: moved on, as far as the books can tell.
        let mut made = loop {
            let batch = history.batch(&Memory::furnished(&policy()), START);
            if let Some(step) = batch.into_iter().find_map(|work| work.step) {
                break step;
            }
        };
        made.expected = Some(3);
        step.step = Some(made);
        let (decided, _) = commit(&mut writer, &[step], START).await.unwrap();
        assert_eq!(decided, [Decided::FlowMoved]);
        assert_eq!(database.store.lane_head().await.unwrap(), before, "{}", database.name);
    }
}

/// The version stands in the statement itself: even a writer whose books are wrong cannot overwrite a flow that moved on.
#[tokio::test]
async fn a_step_for_a_version_that_is_gone_is_not_written() {
    for database in furnished().await {
        let mut history = History::new(4);
        let memory = Memory::furnished(&policy());
        let made = loop {
            let batch = history.batch(&memory, START);
            if let Some(step) = batch.into_iter().find_map(|work| work.step) {
                break *step;
            }
        };
        let id = made.flow.id;
        let mut work = Work::new(Uuid::from_u128(5), "plugin:test");
        work.step = Some(Box::new(made.clone()));
        let mut writer = database.store.ledger().await.unwrap();
        commit(&mut writer, &[work.clone()], START).await.unwrap();

        let mut tx = writer.begin().await.unwrap();
        let mut books = Books::default();
        books.flows.load(id, 8);
        let mut next = made;
        next.expected = Some(8);
        next.flow.version = 9;
        next.queued.clear();
        work.step = Some(Box::new(next));
        let mut wrong = Commit::new(tx.head(), books, START);
        assert!(matches!(wrong.decide(&work), Decided::Done(_)));
        let error = tx.write(&wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::FlowMoved(moved) if moved == id), "{}: {error}", database.name);
        drop(tx);
        assert_eq!(koban_store::flows::by_id(&database.store, id).await.unwrap().unwrap().version, 1);
    }
}

#[tokio::test]
async fn a_step_consumes_its_event_once() {
    use koban_domain::flows::{Arrival, Flow, StepCommit};
    for database in furnished().await {
        let store = &database.store;
        let mut history = History::new(4);
        let memory = Memory::furnished(&policy());
        let opened = loop {
            let batch = history.batch(&memory, START);
            if let Some(step) = batch.into_iter().find_map(|work| work.step) {
                break StepCommit { arrivals: Vec::new(), ..*step };
            }
        };
        let mut work = Work::new(Uuid::from_u128(5), "plugin:test");
        work.step = Some(Box::new(opened.clone()));
        let mut writer = store.ledger().await.unwrap();
        commit(&mut writer, &[work.clone()], START).await.unwrap();
        let flow = opened.flow.id;
        let arrival = Arrival { flow, key: "k".into(), what: koban_domain::guest::What::Rang, call: None, at: START };
        let place = koban_store::flows::arrive(store, &arrival).await.unwrap();

        let step = |version: i64| StepCommit {
            flow: Flow { version: version + 1, events: 1, ..opened.flow.clone() },
            expected: Some(version),
            consumed: vec![place],
            queued: Vec::new(),
            cancelled: Vec::new(),
            arrivals: Vec::new(),
            replies: Vec::new(),
        };
        work.step = Some(Box::new(step(1)));
        commit(&mut writer, &[work.clone()], START).await.unwrap();
        // The same event under the next version: the flow is right, but nothing waits there any more.
        work.step = Some(Box::new(step(2)));
        let error = commit(&mut writer, &[work], START).await.unwrap_err();
        assert!(matches!(error, StoreError::FlowMoved(moved) if moved == flow), "{}: {error}", database.name);
        assert_eq!(koban_store::flows::by_id(store, flow).await.unwrap().unwrap().version, 2);
    }
}

#[tokio::test]
async fn what_is_not_committed_is_taken_back_and_the_writer_goes_on() {
    for database in furnished().await {
        let mut writer = database.store.ledger().await.unwrap();
        let before = database.store.lane_head().await.unwrap();
        {
            let batch = [charge(10, 5_000)];
            let mut tx = writer.begin().await.unwrap();
            let policy = Arc::new(tx.policy().await.unwrap());
            let books = tx.load(&Touched::by(&batch, START), policy).await.unwrap();
            let mut commit = Commit::new(tx.head(), books, START);
            assert!(matches!(commit.decide(&batch[0]), Decided::Done(_)));
            tx.write(&commit).await.unwrap();
        }
        assert_eq!(database.store.lane_head().await.unwrap(), before, "{}", database.name);
        let (decided, head) = commit(&mut writer, &[charge(10, 5_000)], START).await.unwrap();
        assert!(matches!(decided[0], Decided::Done(_)));
        assert_eq!(head.sequence, 1);
    }
}

#[tokio::test]
async fn two_hosts_take_turns_and_share_no_sequence() {
    for database in furnished().await {
        let second = database.again().await;
        let (mut first, second) = (database.store.ledger().await.unwrap(), second.ledger().await.unwrap());
        commit(&mut first, &[charge(10, 50_000)], START).await.unwrap();
        let (first, second) = (tokio::spawn(pay_often(first, 10_000)), tokio::spawn(pay_often(second, 20_000)));
        first.await.unwrap();
        second.await.unwrap();
        let mut journal = database.store.journal().await.unwrap();
        let entries = journal.entries_after(0, 1_000).await.unwrap();
        assert_eq!(entries.len(), 121, "{}", database.name);
        let mut hash = Head::EMPTY.hash;
        for (place, entry) in (1..).zip(&entries) {
            hash = chain(hash, &canonical(entry.sequence, entry.at, &entry.draft));
            assert_eq!((entry.sequence, entry.hash), (place, hash));
        }
    }
}

async fn pay_often(mut writer: LedgerWriter, from: u128) {
    for number in 0..30 {
        let batch = [transfer(from + number * 4, 1), transfer(from + 2 + number * 4, 1)];
        let (decided, _) = commit(&mut writer, &batch, START).await.unwrap();
        assert!(decided.iter().all(|decided| matches!(decided, Decided::Done(_))));
    }
}

/// Goal: what a writer remembers of its last commit never hides what somebody else has written since. Method: one writer learns
/// balances, kinds and limits; then another host and an operator change each of them.
#[tokio::test]
async fn a_writer_sees_what_another_host_wrote_since_its_last_commit() {
    for database in furnished().await {
        let other = database.again().await;
        let (mut first, mut second) = (database.store.ledger().await.unwrap(), other.ledger().await.unwrap());
        let send = |id: u128, sender: u128, receiver: u128, amount: i64| {
            let mut work = transfer(id, amount);
            let Command::Transfer(send) = &mut work.commands[0] else { panic!("a transfer") };
            (send.sender, send.receiver) = (user(sender), user(receiver));
            work
        };
        let (decided, _) = commit(&mut first, &[charge(10, 5_000), send(100, 0, 4, 1)], START).await.unwrap();
        assert_eq!(decided[1], Decided::Refused(0, Refusal::ReceiverNotVerified), "{}", database.name);

        // The other host spends the balance and verifies the receiver, who held nothing: no entry says so.
        let mut verify = Work::new(Uuid::from_u128(300), "operator:test");
        let operator = koban_domain::ids::OperatorId(Uuid::from_u128(1));
        verify.commands.push(Command::Verify(koban_domain::verification::Verify { user: user(4), operator }));
        let (decided, _) = commit(&mut second, &[send(200, 0, 1, 4_900), verify], START).await.unwrap();
        assert!(decided.iter().all(|decided| matches!(decided, Decided::Done(_))), "{decided:?}");

        let batch = [send(400, 0, 4, 101), send(404, 0, 4, 100)];
        let (decided, _) = commit(&mut first, &batch, START).await.unwrap();
        assert_eq!(decided[0], Decided::Refused(0, Refusal::InsufficientFunds), "{}", database.name);
        assert!(matches!(decided[1], Decided::Done(_)), "{decided:?}");

        let lower = koban_domain::limits::Limit {
            wallet: koban_domain::limits::WalletKind::Funds,
            action: koban_domain::limits::Action::Send,
            window: koban_domain::limits::Window::Day,
            amount: Money::yen(5),
            from: START,
        };
        koban_store::limits::put(&other, &[lower], &world::audit(900, "limits.put"), START).await.unwrap();
        let (decided, _) = commit(&mut first, &[send(500, 1, 4, 6)], START).await.unwrap();
        assert_eq!(decided, [Decided::Refused(0, Refusal::DayLimit)], "{}", database.name);
    }
}

/// Goal: a host that is stopped between lock and commit holds the others up for a few seconds at most, and its batch is refused
/// when it wakes. Method: a transaction that is left alone for longer than the server allows, and another writer meanwhile.
#[tokio::test]
async fn a_stopped_host_frees_the_head_within_five_seconds_and_is_refused_when_it_wakes() {
    let Some(database) = databases::postgres().await else { return };
    furnish(&database.store).await;
    let (mut first, mut second) = (database.store.ledger().await.unwrap(), database.store.ledger().await.unwrap());
    let batch = [charge(10, 5_000)];
    let mut stopped = first.begin().await.unwrap();
    let policy = Arc::new(stopped.policy().await.unwrap());
    let books = stopped.load(&Touched::by(&batch, START), policy).await.unwrap();
    let mut late = Commit::new(stopped.head(), books, START);
    late.decide(&batch[0]);
    stopped.write(&late).await.unwrap();

    let waited = tokio::time::timeout(std::time::Duration::from_secs(5), commit(&mut second, &batch, START));
    let (decided, _) = waited.await.expect("the head is freed within five seconds").unwrap();
    assert!(matches!(decided[0], Decided::Done(_)));

    let error = stopped.commit().await.unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::Retry | StoreErrorKind::Unknown), "{error:?}");
    assert_eq!(database.store.lane_head().await.unwrap().head.sequence, 1);
    // The writer that was cut off connects again.
    let (decided, head) = commit(&mut first, &[charge(20, 1)], START).await.unwrap();
    assert!(matches!(decided[0], Decided::Done(_)));
    assert_eq!(head.sequence, 2);
}

#[tokio::test]
async fn a_merchant_reference_is_unique_even_against_wrong_books() {
    for database in furnished().await {
        let mut writer = database.store.ledger().await.unwrap();
        let pay = |id: u128| {
            let mut work = Work::new(Uuid::from_u128(id), "user:test");
            work.commands.push(Command::Pay(Pay {
                payment: PaymentId(Uuid::from_u128(id)),
                payer: user(0),
                merchant: merchant(0),
                amount: Money::yen(10),
                reference: Some("order 1".into()),
                decision: None,
                terms: Terms::AtOnce,
                review: false,
            }));
            work
        };
        let (decided, _) = commit(&mut writer, &[charge(10, 5_000), pay(100), pay(200)], START).await.unwrap();
        assert!(matches!(&decided[1], Decided::Done(answers) if matches!(answers[0], Answer::Paid(_))));
        assert_eq!(decided[2], Decided::Refused(0, Refusal::MerchantReferenceUsed), "{}", database.name);

        let mut tx = writer.begin().await.unwrap();
        let policy = Arc::new(tx.policy().await.unwrap());
        let mut touched = Touched::by(&[pay(300)], START);
        touched.merchant_references.clear();
        let books = tx.load(&touched, policy).await.unwrap();
        let mut wrong = Commit::new(tx.head(), books, START);
        assert!(matches!(wrong.decide(&pay(300)), Decided::Done(_)));
        let error = tx.write(&wrong).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
        assert_eq!(error.constraint(), Some("payments_merchant_reference"), "{}", database.name);
    }
}
