//! The same commands, with the same ids at the same times, end in the same head hash on every store.

use std::sync::Arc;

use koban_domain::accounts::PluginKey;
use koban_domain::charges::{ChargeCredit, ChargeReversal, Tombstone};
use koban_domain::guest::{SettlementLine, Side};
use koban_domain::ids::{AuditId, FileId, FlowId, MerchantId, OperatorId, PaymentId, RefundId, TransferId, UserId};
use koban_domain::ledger::{Audit, Command, Work};
use koban_domain::limits::WalletKind;
use koban_domain::money::{Currency, Money};
use koban_domain::operations::Claim;
use koban_domain::payments::{Pay, Terms};
use koban_domain::records::Digest;
use koban_domain::refunds::GiveBack;
use koban_domain::settlements::{Settle, WriteOff};
use koban_domain::time::Timestamp;
use koban_domain::transfers::Send;
use koban_domain::verification::Verify;
use koban_outside::{Outside, Settings};
use koban_service::clock::Clock;
use koban_service::{App, verify};
use koban_store::merchants::{self, MerchantRow};
use koban_store::plugins::{self, Allowance};
use koban_store::users::{self, UserRow};
use uuid::Uuid;

use crate::harness::{Database, Kind, door, postgres_server};

/// 2026-04-24 09:00 in Japan.
const BEGIN: Timestamp = Timestamp(1_776_988_800_000);
const DAY_MS: i64 = 86_400_000;

/// What this history ends in, whoever keeps it. It changes only with the canonical encoding or with this history.
const HEAD: (i64, &str) = (64, "f008ea1bbf02cd3c9194f324d61663b482ab7b25e8e1486fb0eea594cc42aac3");

const PLUGIN: &str = "partner";

fn id(number: u128) -> Uuid {
    // The last 16 bits are left for counting.
    Uuid::from_u128(number << 16)
}

fn user(number: u128) -> UserId {
    UserId(id(0x1000 + number))
}

const SHOP: MerchantId = MerchantId(Uuid::from_u128(0x2000 << 16));
const OPERATOR: OperatorId = OperatorId(Uuid::from_u128(0x3000 << 16));

fn credit(reference: &str, who: UserId, yen: i64, arrived: bool) -> Command {
    Command::Credit(ChargeCredit {
        plugin: PluginKey::of(PLUGIN),
        flow: FlowId(id(0x4000)),
        user: who,
        amount: Money::yen(yen),
        reference: reference.into(),
        arrived,
    })
}

fn reverse(reference: &str, who: UserId, yen: i64) -> Command {
    Command::Reverse(ChargeReversal {
        plugin: PluginKey::of(PLUGIN),
        flow: FlowId(id(0x4000)),
        user: who,
        of: reference.into(),
        amount: Money::yen(yen),
        reference: reference.into(),
    })
}

fn pay(number: u128, payer: UserId, yen: i64) -> Command {
    Command::Pay(Pay {
        payment: PaymentId(id(0x5000 + number)),
        payer,
        merchant: SHOP,
        amount: Money::yen(yen),
        reference: Some(format!("order-{number}")),
        decision: None,
        terms: Terms::AtOnce,
        review: false,
    })
}

fn refund(number: u128, payment: u128, payer: UserId, yen: i64) -> Command {
    Command::Refund(GiveBack {
        refund: RefundId(id(0x6000 + number)),
        payment: PaymentId(id(0x5000 + payment)),
        merchant: SHOP,
        payer,
        amount: Money::yen(yen),
    })
}

fn send(number: u128, sender: UserId, receiver: UserId, yen: i64) -> Command {
    Command::Transfer(Send {
        transfer: TransferId(id(0x7000 + number)),
        sender,
        receiver,
        amount: Money::yen(yen),
        message: Some("割り勘".into()),
        decision: None,
        review: false,
    })
}

fn settle(file: u128, rows: &[(Side, &str, i64)]) -> Command {
    let line = |(side, reference, yen): &(Side, &str, i64)| SettlementLine {
        reference: (*reference).to_owned(),
        side: *side,
        amount: Money::yen(*yen),
        at: u64::try_from(BEGIN.0).expect("after 1970"),
    };
    Command::Settle(Settle {
        plugin: PluginKey::of(PLUGIN),
        file: FileId(id(0x8000 + file)),
        digest: Digest::of(&file.to_be_bytes()),
        lines: rows.iter().map(line).collect(),
    })
}

fn write_off(reference: &str) -> Command {
    Command::WriteOff(WriteOff {
        plugin: PluginKey::of(PLUGIN),
        side: Side::Credit,
        reference: reference.into(),
        operator: OPERATOR,
        reason: "agreed by telephone".into(),
    })
}

/// Charges, payments, refunds, transfers, verification, settlements and write-offs, refused ones among them; `None` lets a day go by.
fn history() -> Vec<Option<Vec<Command>>> {
    let (hana, ken, yui) = (user(1), user(2), user(3));
    let verify = |user| Command::Verify(Verify { user, operator: OPERATOR });
    let tombstone =
        Command::Tombstone(Tombstone { plugin: PluginKey::of(PLUGIN), flow: None, reference: "r-9".into() });
    let mut works = vec![
        Some(vec![credit("r-1", hana, 10_000, false)]),
        Some(vec![credit("r-2", ken, 50_000, false)]),
        Some(vec![pay(1, hana, 9_000)]),
        Some(vec![pay(2, hana, 9_000)]),
        Some(vec![reverse("r-1", hana, 10_000)]),
        Some(vec![pay(3, hana, 1)]),
        Some(vec![refund(1, 1, hana, 500)]),
        Some(vec![credit("r-3", hana, 12_000, false)]),
        Some(vec![verify(ken)]),
        Some(vec![verify(yui)]),
        Some(vec![send(1, ken, yui, 7_777)]),
        Some(vec![send(2, ken, hana, 1)]),
        Some(vec![send(3, yui, ken, 777), pay(4, yui, 1_000)]),
        Some(vec![send(4, yui, ken, 1), pay(5, yui, 1_000_000)]),
        None,
        Some(vec![tombstone.clone()]),
        Some(vec![credit("r-9", hana, 1_000, false)]),
        Some(vec![credit("r-4", hana, 99_000, false)]),
        Some(vec![credit("r-5", hana, 99_000, true)]),
        Some(vec![settle(1, &[(Side::Credit, "r-1", 10_000), (Side::Credit, "r-2", 50_000), (Side::Fee, "r-2", 25)])]),
        Some(vec![settle(1, &[(Side::Credit, "r-1", 10_000), (Side::Credit, "r-2", 50_000), (Side::Fee, "r-2", 25)])]),
        None,
        Some(vec![settle(
            2,
            &[(Side::Reversal, "r-1", 10_000), (Side::Credit, "r-3", 11_000), (Side::Credit, "r-8", 300)],
        )]),
        Some(vec![write_off("r-3")]),
        Some(vec![write_off("r-8")]),
        Some(vec![write_off("r-8")]),
    ];
    works.extend((10..60).map(|number| Some(vec![pay(number, ken, i64::try_from(number).expect("small"))])));
    works
}

/// Runs the history over a fresh database and answers where its journal ends.
async fn head_on(database: &Database) -> (i64, String) {
    let clock = Clock::standing_at(BEGIN);
    let store = database.store().await;
    let audit = |number: u128| Audit {
        id: AuditId(id(0x9000 + number)),
        actor: "system".into(),
        act: "history".into(),
        subject: "history".into(),
        detail: "{}".into(),
    };
    let allowance = [Allowance { currency: Currency::JPY, cap: 1_000_000, loss_budget: 50_000 }];
    plugins::set_allowances(&store, PluginKey::of(PLUGIN), &allowance, &audit(0), BEGIN).await.expect("the numbers");
    for number in 1..=3 {
        let row = UserRow {
            id: user(number),
            kind: WalletKind::Prepaid,
            access: koban_domain::access::Access::Open,
            verification: koban_domain::verification::Verification::of(WalletKind::Prepaid),
            email: None,
            password_hash: None,
            display_name: format!("user {number}"),
            locale: "ja".into(),
            created_at: BEGIN,
        };
        users::create(&store, &row).await.expect("a user");
    }
    let shop = MerchantRow {
        id: SHOP,
        access: koban_domain::access::Access::Open,
        name: "Corner shop".into(),
        category: "5812".into(),
        currencies: vec![Currency::JPY],
        created_at: BEGIN,
    };
    merchants::create(&store, &shop, &audit(1)).await.expect("a merchant");
    let outside = Outside::new(Settings::default()).expect("the way out opens");
    let app =
        App::start(store, door(), outside, clock.clone(), crate::harness::sealer()).await.expect("the host starts");
    for (place, commands) in history().into_iter().enumerate() {
        let place = u128::try_from(place).expect("small");
        let Some(commands) = commands else {
            clock.advance_ms(DAY_MS);
            continue;
        };
        clock.advance_ms(1_000);
        let mut work = Work::new(id(0x10_0000 + place), "system");
        work.operation = Some(Claim::new("system", &format!("history-{place}"), "history", b"{}"));
        work.commands = commands;
        app.ledger.commit(work).await.expect("the ledger answers");
    }
    let verdict = verify::verify(&app.store).await.expect("it can be read");
    assert!(verdict.difference.is_none(), "{verdict}");
    (verdict.head.sequence, verdict.head.hash.to_string())
}

#[tokio::test]
async fn the_same_history_ends_in_the_same_head_hash_on_every_store() {
    let mut databases = vec![Arc::new(Database::sqlite())];
    if postgres_server().is_some() {
        databases.push(Arc::new(Database::postgres().await));
    }
    if Kind::of_this_run() == Kind::Postgres {
        assert_eq!(databases.len(), 2, "KOBAN_TEST_POSTGRES names no server");
    }
    for database in &databases {
        let head = head_on(database).await;
        assert_eq!((head.0, head.1.as_str()), HEAD, "on {:?}", database.kind);
    }
}
