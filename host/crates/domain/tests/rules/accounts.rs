//! What each command posts, as T-accounts; docs/reference/accounts.md shows the same examples.

use std::collections::BTreeSet;

use koban_domain::access::Holder;
use koban_domain::accounts::{AccountKey, Class, PostingSide};
use koban_domain::closures::Close;
use koban_domain::disputes::Outcome;
use koban_domain::guest::Side;
use koban_domain::ledger::{Command, Expect, Unexpected};
use koban_domain::money::{Currency, Money};
use koban_domain::outcomes::Refusal;
use koban_domain::payments::Terms;
use koban_domain::reviews::Ruling;
use koban_domain::verification::Unverify;

use crate::bonus;
use crate::holds;
use crate::links;
use crate::pages;
use crate::shops::TODAY;
use crate::world::{
    COLLEAGUE, HANAKO, HOUR_MS, KENJI, OPERATOR, SHOP, TARO, World, arrived, atm, flow, judgement, offer_dollars, plan,
    proposal, submission, t_account, usd,
};

/// A sentence, what happened before, and what is shown.
pub(crate) type Example = (&'static str, fn(&mut World), fn(&mut World));

const EXAMPLES: &[Example] = &[
    (
        "A charge credits the wallet, and the partner owes the money",
        |_| {},
        |world| drop(world.charge(TARO, 10_000, "r1").unwrap()),
    ),
    (
        "A charge repays first what is owed",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.pay(TARO, 9_000, 1).unwrap();
            world.reverse(TARO, 10_000, "r1", "r1").unwrap();
        },
        |world| drop(world.charge(TARO, 10_000, "r2").unwrap()),
    ),
    (
        "Money that has arrived and that the wallet cannot take goes to suspense",
        |world| drop(world.charge(TARO, 95_000, "r1").unwrap()),
        |world| drop(world.does(arrived(TARO, 10_000, "r2")).unwrap()),
    ),
    (
        "A reversal takes what is left, and the rest is owed",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.pay(TARO, 9_000, 1).unwrap();
        },
        |world| drop(world.reverse(TARO, 10_000, "r1", "r1").unwrap()),
    ),
    (
        "A reversal of money in suspense takes it from there",
        |world| {
            world.charge(TARO, 95_000, "r1").unwrap();
            world.does(arrived(TARO, 10_000, "r2")).unwrap();
        },
        |world| drop(world.reverse(TARO, 10_000, "r2", "r2").unwrap()),
    ),
    (
        "A payment takes prepaid value and owes it to the merchant",
        |world| drop(world.charge(TARO, 10_000, "r1").unwrap()),
        |world| drop(world.pay(TARO, 1_280, 1).unwrap()),
    ),
    (
        "A payment takes prepaid value before funds",
        |world| {
            world.charge(HANAKO, 10_000, "r1").unwrap();
            world.hold_prepaid(HANAKO, 500);
        },
        |world| drop(world.pay(HANAKO, 1_280, 1).unwrap()),
    ),
    (
        "An authorisation sets the amount aside in spend order, and nothing moves",
        |world| {
            world.charge(HANAKO, 10_000, "r1").unwrap();
            world.hold_prepaid(HANAKO, 500);
        },
        |world| drop(world.authorise(HANAKO, 1_280, 1).unwrap()),
    ),
    (
        "An increment sets more aside",
        |world| {
            world.charge(HANAKO, 10_000, "r1").unwrap();
            world.authorise(HANAKO, 1_280, 1).unwrap();
        },
        |world| drop(world.increase(1, 220).unwrap()),
    ),
    (
        "A capture takes what was set aside in the same order",
        |world| {
            world.charge(HANAKO, 10_000, "r1").unwrap();
            world.hold_prepaid(HANAKO, 500);
            world.authorise(HANAKO, 1_280, 1).unwrap();
        },
        |world| drop(world.capture(1, Some(700), false).unwrap()),
    ),
    (
        "A last capture lets go of the rest; prepaid value of a payer verified since becomes funds",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.authorise(TARO, 1_280, 1).unwrap();
            world.verify(TARO).unwrap();
        },
        |world| drop(world.capture(1, Some(1_000), true).unwrap()),
    ),
    (
        "A void lets go of what was set aside",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.authorise(TARO, 1_280, 1).unwrap();
        },
        |world| drop(world.void(1).unwrap()),
    ),
    (
        "A hold that has run out is let go, and what is owed is repaid of it first",
        |world| {
            world.charge(TARO, 2_000, "r1").unwrap();
            world.authorise(TARO, 1_280, 1).unwrap();
            world.reverse(TARO, 1_000, "r1", "v1").unwrap();
            world.now = world.now.plus_ms(HOUR_MS);
        },
        |world| drop(world.expire(1).unwrap()),
    ),
    (
        "A payment that somebody shall look at is set aside",
        |world| drop(world.charge(TARO, 10_000, "r1").unwrap()),
        |world| drop(world.pay_in_review(TARO, 1_280, 1, Terms::AtOnce).unwrap()),
    ),
    (
        "A payment that was approved is made",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.pay_in_review(TARO, 1_280, 1, Terms::AtOnce).unwrap();
        },
        |world| drop(world.conclude(1, Ruling::Approved(OPERATOR)).unwrap()),
    ),
    (
        "A payment that was declined is let go",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.pay_in_review(TARO, 1_280, 1, Terms::AtOnce).unwrap();
        },
        |world| drop(world.conclude(1, Ruling::Declined(OPERATOR)).unwrap()),
    ),
    (
        "A refund gives back in reverse order",
        |world| {
            world.charge(HANAKO, 10_000, "r1").unwrap();
            world.hold_prepaid(HANAKO, 500);
            world.pay(HANAKO, 1_280, 1).unwrap();
            world.unverify(HANAKO);
        },
        |world| drop(world.refund(HANAKO, 1_000, 1).unwrap()),
    ),
    (
        "A refund to a payer who was verified since becomes funds",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.pay(TARO, 1_280, 1).unwrap();
            world.verify(TARO).unwrap();
        },
        |world| drop(world.refund(TARO, 280, 1).unwrap()),
    ),
    (
        "A refund repays first what is owed",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.pay(TARO, 9_000, 1).unwrap();
            world.reverse(TARO, 1_200, "r1", "v1").unwrap();
        },
        |world| drop(world.refund(TARO, 280, 1).unwrap()),
    ),
    (
        "A transfer moves funds, and repays first what the receiver owes",
        |world| {
            world.charge(HANAKO, 10_000, "r1").unwrap();
            world.charge(KENJI, 1_000, "r2").unwrap();
            world.pay(KENJI, 1_000, 1).unwrap();
            world.reverse(KENJI, 1_000, "r2", "r2").unwrap();
        },
        |world| drop(world.send(HANAKO, KENJI, 3_000).unwrap()),
    ),
    (
        "An exchange that buys dollars: the cost is rounded up, and what that leaves is kept apart (amounts in yen and cents)",
        |world| {
            world.charge(HANAKO, 20_000, "r1").unwrap();
            offer_dollars(world, 1_000_000);
        },
        |world| drop(world.trade(Currency::JPY, usd(), Money::new(10_000, usd())).unwrap()),
    ),
    (
        "An exchange that sells them again: what is got is rounded down",
        |world| {
            world.charge(HANAKO, 20_000, "r1").unwrap();
            offer_dollars(world, 1_000_000);
            world.trade(Currency::JPY, usd(), Money::new(10_000, usd())).unwrap();
        },
        |world| drop(world.trade(usd(), Currency::JPY, Money::new(10_000, usd())).unwrap()),
    ),
    (
        "A verification makes funds of prepaid value",
        |world| drop(world.charge(TARO, 10_000, "r1").unwrap()),
        |world| drop(world.verify(TARO).unwrap()),
    ),
    (
        "A closure sets aside what the account held",
        |world| {
            world.charge(HANAKO, 10_000, "r1").unwrap();
            world.hold_prepaid(HANAKO, 500);
        },
        |world| {
            let (user, reason) = (HANAKO, "asked for".to_owned());
            world.does(Command::Close(Close { user, currencies: vec![Currency::JPY], reason })).unwrap();
        },
    ),
    (
        "An adjustment moves what one operator proposed and another approved",
        |world| {
            world.charge(TARO, 95_000, "r1").unwrap();
            world.does(arrived(TARO, 10_000, "r2")).unwrap();
        },
        |world| {
            world.does(Command::Propose(proposal(1, 4_000))).unwrap();
            world.does(Command::Judge(judgement(1, 4_000, COLLEAGUE, true))).unwrap();
        },
    ),
    (
        "A dispute sets aside what the merchant may have to give back",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.pay(TARO, 1_280, 1).unwrap();
        },
        |world| drop(world.contest(1, 1_000).unwrap()),
    ),
    (
        "A dispute that the merchant wins gives it the amount again",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.pay(TARO, 1_280, 1).unwrap();
            world.contest(1, 1_000).unwrap();
        },
        |world| drop(world.end_dispute(1, Outcome::Won(OPERATOR)).unwrap()),
    ),
    (
        "A dispute that the merchant loses gives back in reverse order",
        |world| {
            world.charge(HANAKO, 10_000, "r1").unwrap();
            world.hold_prepaid(HANAKO, 500);
            world.pay(HANAKO, 1_280, 1).unwrap();
            world.contest(1, 1_000).unwrap();
            world.unverify(HANAKO);
        },
        |world| drop(world.end_dispute(1, Outcome::Lost(OPERATOR)).unwrap()),
    ),
    (
        "A closing takes fee and consumption tax, and the rest is due",
        |world| {
            world.charge(TARO, 20_000, "r1").unwrap();
            world.arrange(0, "0.0324");
            world.pay(TARO, 10_000, 1).unwrap();
            world.refund(TARO, 1_000, 1).unwrap();
        },
        |world| drop(world.close(TODAY).unwrap()),
    ),
    (
        "A closing of a merchant that is behind takes the fee alone; the rest is carried forward",
        |world| {
            world.charge(TARO, 20_000, "r1").unwrap();
            world.arrange(0, "0.0324");
            world.pay(TARO, 10_000, 1).unwrap();
            world.refund(TARO, 10_000, 1).unwrap();
        },
        |world| drop(world.close(TODAY).unwrap()),
    ),
    (
        "A payout leaves the bank",
        |world| {
            world.charge(TARO, 20_000, "r1").unwrap();
            world.pay(TARO, 10_000, 1).unwrap();
            world.close(TODAY).unwrap();
        },
        |world| drop(world.pay_out(TODAY, "20181005-0042").unwrap()),
    ),
    (
        "A settlement brings the money of the credits it lists to the bank, less fees",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.charge(HANAKO, 20_000, "r2").unwrap();
        },
        |world| {
            world
                .settle(&[(Side::Credit, "r1", 10_000), (Side::Credit, "r2", 20_000), (Side::Fee, "r1", 110)])
                .unwrap();
        },
    ),
    (
        "A reversal that is listed after its credit was settled leaves the bank",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.settle(&[(Side::Credit, "r1", 10_000)]).unwrap();
            world.reverse(TARO, 10_000, "r1", "r1").unwrap();
        },
        |world| drop(world.settle(&[(Side::Reversal, "r1", 10_000)]).unwrap()),
    ),
    (
        "A credit that the partner paid short is written off",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.settle(&[(Side::Credit, "r1", 9_000)]).unwrap();
        },
        |world| drop(world.write_off(Side::Credit, "r1").unwrap()),
    ),
    (
        "A credit that the partner paid too much for leaves the rest in suspense",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.settle(&[(Side::Credit, "r1", 12_000)]).unwrap();
        },
        |world| drop(world.write_off(Side::Credit, "r1").unwrap()),
    ),
    (
        "A credit that the partner never listed is lost",
        |world| drop(world.charge(TARO, 10_000, "r1").unwrap()),
        |world| drop(world.write_off(Side::Credit, "r1").unwrap()),
    ),
    (
        "A booking that nobody was credited for waits in suspense",
        |world| drop(world.settle(&[(Side::Credit, "r1", 10_000)]).unwrap()),
        |world| drop(world.write_off(Side::Credit, "r1").unwrap()),
    ),
    (
        "A cancellation that we know nothing of is lost",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.settle(&[(Side::Credit, "r1", 10_000), (Side::Reversal, "r1", 10_000)]).unwrap();
        },
        |world| drop(world.write_off(Side::Reversal, "r1").unwrap()),
    ),
    (
        "A reversal for which the partner kept more than we took back",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.settle(&[(Side::Credit, "r1", 10_000)]).unwrap();
            world.reverse(TARO, 4_000, "r1", "v1").unwrap();
            world.settle(&[(Side::Reversal, "v1", 5_000)]).unwrap();
        },
        |world| drop(world.write_off(Side::Reversal, "v1").unwrap()),
    ),
    (
        "A reversal that the partner never listed waits in suspense",
        |world| {
            world.charge(TARO, 10_000, "r1").unwrap();
            world.settle(&[(Side::Credit, "r1", 10_000)]).unwrap();
            world.reverse(TARO, 4_000, "r1", "v1").unwrap();
        },
        |world| drop(world.write_off(Side::Reversal, "v1").unwrap()),
    ),
];

#[test]
fn each_command_posts_as_the_page_shows() {
    let mut section = String::new();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for (sentence, before, shown) in EXAMPLES.iter().chain(bonus::EXAMPLES).chain(holds::EXAMPLES) {
        let mut world = World::new();
        before(&mut world);
        let (from, done) = (world.shelf.entries.len(), world.done.len());
        shown(&mut world);
        told.extend(world.done[done..].iter().map(name));
        let entries: String = world.shelf.entries[from..].iter().map(t_account).collect();
        section.push_str(&format!("### {sentence}\n\n```text\n{entries}```\n\n"));
    }
    pages::check_section("accounts.md", "## What each command posts", section.trim_end());
    let mut rows = String::from("| command |\n|---|");
    for (sentence, before, silent) in SILENT.iter().chain(holds::SILENT) {
        let mut world = World::new();
        before(&mut world);
        let (from, done) = (world.shelf.entries.len(), world.done.len());
        silent(&mut world);
        assert_eq!(world.shelf.entries.len(), from, "{sentence}");
        told.extend(world.done[done..].iter().map(name));
        rows.push_str(&format!("\n| {sentence} |"));
    }
    pages::check_section("accounts.md", "## What posts nothing", &rows);
    let missing: Vec<_> = COMMANDS.iter().filter(|command| !told.contains(*command)).collect();
    assert!(missing.is_empty(), "give these commands an example of what they post, or of what they leave: {missing:?}");
}

macro_rules! commands {
    ($($variant:ident),* $(,)?) => {
        /// Every command there is. A new one does not compile before it stands here, and then it needs an example.
        const COMMANDS: &[&str] = &[$(stringify!($variant)),*];

        fn name(command: &Command) -> &'static str {
            match command {
                $(Command::$variant(_) => stringify!($variant),)*
            }
        }
    };
}

commands!(
    Credit,
    Reverse,
    Tombstone,
    Pay,
    Refund,
    Transfer,
    Verify,
    Submit,
    Unverify,
    Freeze,
    Close,
    Propose,
    Judge,
    Settle,
    WriteOff,
    Expect,
    Unexpected,
    Collect,
    Void,
    Expire,
    Increase,
    Conclude,
    Exchange,
    Plan,
    Grant,
    Lapse,
    Revoke,
    Release,
    Arrange,
    OpenDispute,
    EndDispute,
    MakeClosing,
    PayOut,
    Gift,
    TakeBack,
    SetAside,
    Take,
    LetGo,
    ClaimBill,
    FreeBill,
    Link,
);

/// Commands that move nothing: no entry, only rows.
const SILENT: &[Example] = &[
    ("A partner's reference is killed before it was credited", |_| {}, |world| drop(world.tombstone("r1").unwrap())),
    (
        "A user submits what shall verify them",
        |_| {},
        |world| drop(world.does(Command::Submit(submission(TARO))).unwrap()),
    ),
    (
        "A verification is rejected, or revoked",
        |world| drop(world.does(Command::Submit(submission(TARO))).unwrap()),
        |world| {
            world.does(Command::Unverify(Unverify { user: TARO, revoked: false })).unwrap();
            world.revoke(HANAKO);
        },
    ),
    (
        "A user or a merchant is frozen, or no longer",
        |_| {},
        |world| {
            world.freeze(Holder::User(TARO), true);
            world.freeze(Holder::Merchant(SHOP), false);
        },
    ),
    (
        "An adjustment is proposed, or rejected",
        |_| {},
        |world| {
            world.does(Command::Propose(proposal(1, 10))).unwrap();
            world.does(Command::Judge(judgement(1, 10, COLLEAGUE, false))).unwrap();
        },
    ),
    (
        "A flow saves a user's link, takes new rows to its partner, or the link ends",
        |_| {},
        |world| {
            for command in [links::save(1, TARO), links::begin(1, 0, 9), links::finish(true), links::end(1, TARO)] {
                world.does(command).unwrap();
            }
        },
    ),
    ("A verification of an empty wallet", |_| {}, |world| drop(world.verify(TARO).unwrap())),
    (
        "A flow expects a partner's calls, or a call comes that none expects",
        |_| {},
        |world| {
            let (plugin, key) = (atm(), "calls".to_owned());
            world.does(Command::Expect(Expect { plugin, correlation: "s1".into(), flow: flow(1), key })).unwrap();
            world.does(Command::Unexpected(Unexpected { plugin, correlation: "s2".into() })).unwrap();
        },
    ),
    ("A merchant is given terms", |_| {}, |world| world.arrange(50_000, "0.0324")),
    ("A period in which nothing moved is closed", |_| {}, |world| assert!(world.close(TODAY).unwrap().is_none())),
    ("A campaign is made, or changed", |_| {}, |world| drop(world.does(plan(1_000)).unwrap())),
    (
        "A lot of bonus may be spent before its date",
        |world| bonus::granted_for_later(world),
        |world| drop(world.does(Command::Release(world.of_lot(1))).unwrap()),
    ),
];

#[test]
fn the_page_lists_every_class_with_its_side_floor_and_owner_and_no_other() {
    let page = pages::read("accounts.md");
    let (_, table) = page.split_once("## Classes\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), Class::ALL.len(), "accounts.md has one row for each class");
    for (class, row) in Class::ALL.into_iter().zip(rows) {
        let side = match class.normal() {
            PostingSide::Debit => "debit",
            PostingSide::Credit => "credit",
        };
        let floor = class.floor().map_or("none".to_owned(), |floor| floor.to_string());
        let ceiling = match class {
            Class::Prepaid | Class::Funds | Class::Bonus => "balance limit of the wallet",
            Class::Clearing => "exposure cap of the plugin, on unsettled credits",
            Class::InTransit => "exposure cap of the plugin, with what flows have set aside",
            Class::WriteOff => "loss budgets of all plugins together",
            Class::BonusExpense => "budgets of campaigns",
            Class::FxPosition => "position limit of the currency, either way",
            _ => "none",
        };
        let owner = match class {
            Class::Prepaid | Class::Funds | Class::Receivable | Class::Bonus => "user",
            Class::Payable | Class::Disputed | Class::PayoutDue => "merchant",
            Class::Clearing | Class::InTransit => "plugin",
            _ => "platform",
        };
        let (word, code) = (format!("`{}`", class.word()), class.code().to_string());
        assert_eq!(row.len(), 7, "the row of {word} has seven cells: {row:?}");
        assert_eq!(row[..6], [&word, &code, side, &floor, ceiling, owner], "the row of {word}");
        assert!(row[6].len() > 10, "the row of {word} says what it mirrors");
    }
}

#[test]
fn the_page_lists_every_path() {
    let rows: Vec<String> = koban_domain::paths::PATHS
        .iter()
        .map(|(kind, debit, credit)| format!("| {} | {} | {} |", kind.word(), debit.word(), credit.word()))
        .collect();
    let table = format!("| entry | debit | credit |\n|---|---|---|\n{}", rows.join("\n"));
    pages::check_section("accounts.md", "## The table of paths", &table);
}

#[test]
fn prepaid_value_is_never_sent() {
    let mut world = World::new();
    world.charge(TARO, 10_000, "r1").unwrap();
    assert_eq!(world.send(TARO, HANAKO, 1).unwrap_err(), Refusal::NotVerified);
    world.hold_prepaid(HANAKO, 500);
    assert_eq!(
        world.send(HANAKO, KENJI, 500).unwrap_err(),
        Refusal::InsufficientFunds,
        "prepaid value of a verified user"
    );
    let prepaid = AccountKey::user(Class::Prepaid, HANAKO, Currency::JPY);
    assert_eq!(world.balance(prepaid), 500);
}

#[test]
fn a_verification_of_an_empty_wallet_leaves_no_entry() {
    let mut world = World::new();
    world.verify(TARO).unwrap();
    assert!(world.shelf.entries.is_empty());
    assert_eq!(world.verify(TARO).unwrap_err(), Refusal::AlreadyVerified);
    world.charge(TARO, 200_000, "r1").unwrap();
    assert_eq!(
        world.balance(AccountKey::user(Class::Funds, TARO, Currency::JPY)),
        200_000,
        "limits and home are a verified user's"
    );
}
