//! Many small histories of everything on two hosts that crash, whose clocks jump and whose commits are lost, against an independent model.
//!
//! Towns of a group live on one database and do one thing in each round; between rounds the time jumps. Rounds are the same for every seed, so a
//! seed meets the same times and the same faults alone: `KOBAN_SIMULATION_SEED=7 cargo test --workspace --test it simulation`.

mod hosts;
mod model;
mod steps;
mod town;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use koban_auditor::Evidence;
use koban_domain::exchanges::Pair;
use koban_domain::guest::Verdict;
use koban_domain::ledger::Work;
use koban_domain::money::Currency;
use koban_domain::policy::FailurePolicy;
use koban_domain::time::Timestamp;
use koban_service::{exchanges, jobs, operators, policy};
use tokio::task::JoinSet;

use crate::harness::{Cut, Kind, Stopwatch, limit_dollars, seed_till, unique};
use crate::load::is_soak;
use hosts::Hosts;
use town::{Town, till};

/// Noon of a day in Japan.
const NOON: i64 = 1_537_844_400_000;
const DAY_MS: i64 = 86_400_000;
/// Towns that live at the same time.
const GROUP: u64 = 64;
/// Towns of one database: the auditor reads it whole.
const DATABASE: u64 = 512;

/// One round: by how many minutes the time jumps before it, and what goes wrong in it.
struct Round {
    jump_min: i64,
    /// Everything whose time has run out is swept first; otherwise the sweeper is late.
    sweep: bool,
    /// The second host's clock is an hour behind.
    behind: bool,
    /// This host crashes after so many milliseconds.
    crash: Option<(usize, u64)>,
    /// A commit of the second host is cut.
    cut: Option<Cut>,
}

const fn quiet(jump_min: i64) -> Round {
    Round { jump_min, sweep: false, behind: false, crash: None, cut: None }
}

/// Three days and a half, in which references of exchanges stay fresh.
const ROUNDS: [Round; 26] = [
    quiet(0),
    quiet(0),
    quiet(3),
    Round { cut: Some(Cut::AnswerLost), ..quiet(0) },
    Round { behind: true, ..quiet(45) },
    quiet(0),
    Round { crash: Some((0, 1)), ..quiet(10) },
    quiet(0),
    Round { sweep: true, ..quiet(90) },
    Round { cut: Some(Cut::RequestLost), ..quiet(0) },
    quiet(0),
    Round { behind: true, ..quiet(300) },
    Round { crash: Some((1, 2)), ..quiet(1) },
    Round { sweep: true, ..quiet(0) },
    quiet(720),
    quiet(0),
    Round { cut: Some(Cut::AnswerLost), ..quiet(5) },
    Round { sweep: true, ..quiet(1_445) },
    quiet(0),
    Round { behind: true, crash: Some((0, 0)), ..quiet(60) },
    quiet(0),
    Round { sweep: true, ..quiet(120) },
    Round { crash: Some((1, 3)), ..quiet(15) },
    quiet(0),
    Round { sweep: true, ..quiet(2_000) },
    quiet(0),
];

/// What must have come at least once in a run of all seeds: outcomes of the model's list, and steps.
const SOMETIMES: [&str; 36] = [
    "done",
    "account_closed",
    "adjustment_closed",
    "already_verified",
    "amount_limit",
    "balance_limit",
    "campaign_budget_exhausted",
    "capture_exceeds_hold",
    "closing_paid",
    "day_limit",
    "dispute_closed",
    "dispute_exceeds_payment",
    "exposure_cap_reached",
    "hold_ended",
    "hold_expired",
    "holds_open",
    "insufficient_funds",
    "loss_budget_exhausted",
    "lot_empty",
    "merchant_balance_too_low",
    "merchant_frozen",
    "not_verified",
    "payment_in_review",
    "rate_changed",
    "receiver_not_verified",
    "receiver_unavailable",
    "reference_used",
    "refund_exceeds_payment",
    "repayment_due",
    "reversal_exceeds_credit",
    "review_closed",
    "same_party",
    "second_person_required",
    "verification_revoked",
    "verification_state",
    "wallet_frozen",
];

/// Every kind of step, each of which must be done at least once in a run of all seeds.
const KINDS: [&str; 29] = [
    "charge",
    "reversal",
    "review of a payment",
    "authorisation",
    "payment",
    "increment",
    "capture",
    "void",
    "refund",
    "review of a transfer",
    "transfer",
    "ruling",
    "exchange",
    "verification",
    "freeze",
    "closure",
    "adjustment",
    "settlement",
    "grant",
    "bonus taken back",
    "bonus released",
    "dispute",
    "end of a dispute",
    "payout",
    "bill",
    "withdrawal",
    "capture by a partner",
    "release",
    "settlement of a capture",
];

#[derive(Default)]
struct Came {
    outcomes: BTreeMap<&'static str, u32>,
    steps: BTreeMap<&'static str, u32>,
    crashes: u32,
    cuts: u32,
    unanswered: u32,
    replays: u32,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_histories_of_everything_agree_with_the_model_whatever_befalls_two_hosts() {
    let alone = number("KOBAN_SIMULATION_SEED");
    let count = number("KOBAN_SOAK_SEEDS").unwrap_or(if is_soak() { 10_000 } else { 512 });
    let seeds: Vec<u64> = alone.map_or_else(|| (1..=count).collect(), |seed| vec![seed]);
    let stopwatch = Stopwatch::start();
    let mut came = Came::default();
    for part in seeds.chunks(usize::try_from(DATABASE).unwrap_or(1)) {
        live(part, &mut came).await;
    }
    let Came { outcomes, steps, crashes, cuts, unanswered, replays } = &came;
    println!(
        "simulation: {} seeds of {} steps in {} s; {crashes} crashes, {cuts} commits cut, {unanswered} requests asked again, \
         {replays} first answers given again\n  steps {steps:?}\n  outcomes {outcomes:?}",
        seeds.len(),
        ROUNDS.len(),
        stopwatch.elapsed().as_secs(),
    );
    if alone.is_none() && count >= 512 {
        for word in SOMETIMES {
            assert!(outcomes.contains_key(word), "`{word}` never came: the histories are too tame");
        }
        for (word, kind) in KINDS.iter().map(|word| (word, steps.contains_key(word))) {
            assert!(kind, "nobody ever did a {word}");
        }
        assert!(*crashes > 0 && *unanswered > 0 && *replays > 0, "nobody was ever left without an answer");
    }
}

/// Group after group on one database; then the auditor.
async fn live(seeds: &[u64], came: &mut Came) {
    let mut now = Timestamp(NOON);
    let hosts = Arc::new(Hosts::open(now).await);
    prepare(&hosts).await;
    for group in seeds.chunks(usize::try_from(GROUP).unwrap_or(1)) {
        renew_the_rate(&hosts).await;
        let mut founding = JoinSet::new();
        for seed in group {
            let (hosts, seed) = (Arc::clone(&hosts), *seed);
            founding.spawn(async move { Town::found(seed, &hosts, now).await });
        }
        let mut towns = founding.join_all().await;
        for round in &ROUNDS {
            now = now.plus_ms(round.jump_min * 60_000);
            towns = one_round(&hosts, towns, round, now, came).await;
        }
        for town in &towns {
            town.compare(&hosts, now).await;
        }
        // The next day at noon, so that every group has the same day.
        now = Timestamp(NOON + ((now.0 - NOON) / DAY_MS + 1) * DAY_MS);
        hosts.set_clocks(now, 0);
    }
    came.crashes += hosts.crashes.load(Ordering::Relaxed);
    came.unanswered += hosts.unanswered.load(Ordering::Relaxed);
    came.replays += hosts.replays.load(Ordering::Relaxed);
    came.cuts += hosts.cuts();
    assert!(hosts.database.kind == Kind::Sqlite || hosts.cuts() > 0, "no commit was cut");
    let evidence = Evidence { tills: seeds.iter().map(|seed| till(*seed)).collect(), ..Evidence::default() };
    hosts.database.is_sound_with(evidence).await;
}

async fn one_round(hosts: &Arc<Hosts>, towns: Vec<Town>, round: &Round, now: Timestamp, came: &mut Came) -> Vec<Town> {
    hosts.set_clocks(now, if round.behind { 3_600_000 } else { 0 });
    tick(hosts).await;
    let mut towns = towns;
    if round.sweep {
        let swept = hosts.ask(0, async |app| jobs::sweep_once(&app, &mut jobs::Round::default()).await);
        swept.await.expect("the sweep ends");
        towns.iter_mut().for_each(|town| town.sweep(now));
    }
    if let Some(cut) = round.cut {
        hosts.cut(cut);
    }
    let mut doing = JoinSet::new();
    for mut town in towns {
        let hosts = Arc::clone(hosts);
        doing.spawn(async move {
            let came = town.step(&hosts, now).await;
            (town, came)
        });
    }
    if let Some((place, after_ms)) = round.crash {
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        hosts.crash(place).await;
        hosts.set_clocks(now, if round.behind { 3_600_000 } else { 0 });
    }
    let mut towns = Vec::new();
    while let Some(ended) = doing.join_next().await {
        let (town, (word, outcome)) = match ended {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        *came.steps.entry(word).or_default() += 1;
        *came.outcomes.entry(outcome).or_default() += 1;
        towns.push(town);
    }
    towns
}

/// An entry of the first host at its time: from here on that is the journal's time for both.
async fn tick(hosts: &Hosts) {
    let ticked = hosts.ask(0, async |app| {
        let mut work = Work::new(app.clock.id(), "system");
        let reference = unique("tick");
        work.commands = vec![koban_domain::ledger::Command::Credit(koban_domain::charges::ChargeCredit {
            plugin: koban_domain::accounts::PluginKey::of(crate::harness::TILL),
            flow: koban_domain::ids::FlowId(app.clock.id()),
            user: koban_domain::ids::UserId(uuid::Uuid::from_u128(1)),
            amount: koban_domain::money::Money::yen(1),
            reference,
            arrived: true,
        })];
        app.ledger.commit(work).await
    });
    ticked.await.expect("it ticks");
}

async fn prepare(hosts: &Hosts) {
    let prepared = hosts.ask(0, async |app| {
        let ctx = operators::command_line(unique("simulation"));
        policy::set(&app, &ctx, FailurePolicy { on_fault: Verdict::Decline, on_missing: Verdict::Allow }).await?;
        limit_dollars(&app, &ctx).await;
        exchanges::put_currency(&app, &ctx, Currency::new("USD").expect("a currency"), 1_000_000_000_000).await?;
        seed_till(&app).await;
        let row = koban_store::users::UserRow {
            id: koban_domain::ids::UserId(uuid::Uuid::from_u128(1)),
            kind: koban_domain::limits::WalletKind::Prepaid,
            access: koban_domain::access::Access::Open,
            verification: koban_domain::verification::Verification::Unverified,
            created_at: app.clock.now(),
            display_name: "Clock".into(),
            email: None,
            password_hash: None,
            locale: "en".into(),
        };
        koban_store::users::create(&app.store, &row).await?;
        app.ledger.refresh().await
    });
    prepared.await.expect("it is prepared");
}

async fn renew_the_rate(hosts: &Hosts) {
    for place in 0..2 {
        let renewed = hosts.ask(place, move |app| async move {
            let ctx = operators::command_line(unique("simulation"));
            let pair = Pair { base: Currency::new("USD").expect("a currency"), quote: Currency::JPY };
            if place == 0 {
                exchanges::put_reference(&app, &ctx, pair, "112.3", "0").await?;
            }
            app.ledger.refresh().await
        });
        renewed.await.expect("the rate is renewed");
    }
}
