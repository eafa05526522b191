//! Temporary measurement of one commit's phases.
#![allow(
    missing_docs,
    clippy::all,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation
)]
use koban_domain::accounts::{AccountKey, Class};
use koban_domain::ledger::Audit;
use koban_domain::{
    ids::*, ledger::*, limits, money::*, operations::Claim, time::Timestamp, touched::Touched, transfers::Send,
};
use koban_store::{Config, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;
fn user(n: u64) -> UserId {
    UserId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(n) * 0x1_0001))
}
struct Dice(u64);
impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let mut m = self.0;
        m = (m ^ (m >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        m = (m ^ (m >> 27)).wrapping_mul(0x94d049bb133111eb);
        m ^ (m >> 31)
    }
}
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let url = std::env::args().nth(1).unwrap_or_else(|| std::env::var("KOBAN_TEST_POSTGRES").unwrap());
    let batch_size: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let seconds: u64 = std::env::args().nth(3).unwrap().parse().unwrap();
    let pay = std::env::args().nth(4).is_some_and(|a| a == "pay");
    let store = Store::open(&Config::new(&url)).await.unwrap();
    store.migrate().await.unwrap();
    let users: u64 = 100_000;
    let audit = Audit {
        id: AuditId(Uuid::from_u128(1)),
        actor: "x".into(),
        act: "y".into(),
        subject: "z".into(),
        detail: "{}".into(),
    };
    if store.policy().await.unwrap().generation == 0 {
        koban_store::limits::put(&store, &limits::published(), &audit, Timestamp(0)).await.unwrap();
        // users and balances by hand
        if url.starts_with("sqlite") {
            let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
            let mut tx = pool.begin().await.unwrap();
            for n in 0..users {
                let key = AccountKey::user(Class::Funds, user(n), Currency::JPY);
                sqlx::query("insert into users values ($1, 2, 0, 'n', null, null, 'ja')")
                    .bind(user(n).bytes().to_vec())
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                sqlx::query("insert into accounts values ($1, 2, $2, 'JPY', 0, 500000, 0, 0)")
                    .bind(key.id().0.to_vec())
                    .bind(user(n).bytes().to_vec())
                    .execute(&mut *tx)
                    .await
                    .unwrap();
            }
            sqlx::query("insert into merchants values ($1, 'm', '1', 'JPY', 0)")
                .bind(user(0).bytes().to_vec())
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        } else {
            let pool = sqlx::PgPool::connect(&url).await.unwrap();
            let ids: Vec<_> = (0..users).map(|n| user(n).bytes()).collect();
            let keys: Vec<_> =
                (0..users).map(|n| AccountKey::user(Class::Funds, user(n), Currency::JPY).id().0).collect();
            sqlx::query("insert into users select u, 2, 0, 'n', null, null, 'ja' from unnest($1::bytea[]) u")
                .bind(ids.clone())
                .execute(&pool)
                .await
                .unwrap();
            sqlx::query("insert into accounts select k, 2, u, 'JPY', 0, 500000, 0, 0 from unnest($1::bytea[], $2::bytea[]) as x(u,k)").bind(ids.clone()).bind(keys).execute(&pool).await.unwrap();
            sqlx::query("insert into merchants values ($1, 'm', '1', 'JPY', 0)")
                .bind(user(0).bytes().to_vec())
                .execute(&pool)
                .await
                .unwrap();
        }
    }
    let mut writer = store.ledger().await.unwrap();
    let backend: Option<i32> = if url.starts_with("sqlite") { None } else {
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        Some(sqlx::query_scalar("select pid from pg_stat_activity where application_name='koban-ledger'").fetch_one(&pool).await.unwrap())
    };
    let cpu = |pid: String| -> f64 { let t = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap(); let f: Vec<&str> = t[t.rfind(')').unwrap()..].split(' ').collect(); (f[12].parse::<f64>().unwrap() + f[13].parse::<f64>().unwrap()) * 10_000.0 };
    let both = || (cpu("self".into()), backend.map_or(0.0, |p| cpu(p.to_string())));
    // zipf 1.0 by table
    let mut cdf = Vec::with_capacity(users as usize);
    let mut sum = 0.0;
    for n in 0..users {
        sum += 1.0 / (n as f64 + 1.0);
        cdf.push(sum);
    }
    let mut dice = Dice(std::process::id() as u64);
    let mut zipf = |dice: &mut Dice| {
        let x = (dice.next() >> 11) as f64 / (1u64 << 53) as f64 * sum;
        cdf.partition_point(|c| *c < x).min(users as usize - 1) as u64
    };
    let (mut t, start) = ([Duration::ZERO; 6], Instant::now());
    let (mut commits, mut done, mut next) = (0u32, 0usize, 0u128);
    let mut policy = None;
    let boot = u128::from(std::process::id()) << 40;
    let before = both();
    while start.elapsed().as_secs() < seconds {
        let a = Instant::now();
        let at = Timestamp(1_900_000_000_000 + start.elapsed().as_millis() as i64);
        let batch: Vec<Work> = (0..batch_size)
            .map(|_| {
                next += 16;
                let id = Uuid::from_u128(((at.0 as u128) << 80) | boot | next);
                let from = zipf(&mut dice);
                let mut to = zipf(&mut dice);
                if to == from {
                    to = (from + 1) % users;
                }
                let mut w = Work::new(id, format!("user:{}", user(from)));
                w.operation = Some(Claim::new("user", &format!("{id}"), "/v1/transfers", b"{}"));
                w.commands.push(if pay {
                    Command::Pay(koban_domain::payments::Pay {
                        payment: PaymentId(id),
                        payer: user(from),
                        merchant: MerchantId(user(0).0),
                        amount: Money::yen(1),
                        reference: None,
                        decision: None,
                    })
                } else {
                    Command::Transfer(Send {
                        transfer: TransferId(id),
                        sender: user(from),
                        receiver: user(to),
                        amount: Money::yen(1),
                        message: None,
                        decision: None,
                    })
                });
                w
            })
            .collect();
        let b = Instant::now();
        let mut tx = writer.begin().await.unwrap();
        if policy.is_none() {
            policy = Some(Arc::new(tx.policy().await.unwrap()));
        }
        let now = at.max(tx.head().at);
        let c = Instant::now();
        let touched = Touched::by(&batch, now);
        let books = tx.load(&touched, policy.clone().unwrap()).await.unwrap();
        let d = Instant::now(); if commits % 40 == 39 { println!("load {:?} ops {} accounts {}", d - c, touched.operations.len(), touched.accounts.len()); }
        let mut commit = Commit::new(tx.head(), books, now);
        for w in &batch {
            let dd = commit.decide(w);
            if matches!(dd, Decided::Done(_)) {
                done += 1
            } else if done < 3 {
                println!("{dd:?}")
            }
        }
        let e = Instant::now();
        tx.write(&commit).await.unwrap();
        let f = Instant::now();
        tx.commit().await.unwrap();
        let g = Instant::now();
        for (i, (x, y)) in [(a, b), (b, c), (c, d), (d, e), (e, f), (f, g)].into_iter().enumerate() {
            t[i] += y - x;
        }
        commits += 1;
    }
    let per = |d: Duration| d.as_micros() as f64 / f64::from(commits);
    println!(
        "{} commits of {batch_size}, {} done, {:.0}/s; us per commit: make {:.0} begin {:.0} load {:.0} decide {:.0} write {:.0} commit {:.0}",
        commits,
        done,
        done as f64 / start.elapsed().as_secs_f64(),
        per(t[0]),
        per(t[1]),
        per(t[2]),
        per(t[3]),
        per(t[4]),
        per(t[5])
    );
    let after = both();
    println!("   CPU us per transfer: client {:.1} server {:.1}", (after.0 - before.0) / done as f64, (after.1 - before.1) / done as f64);
    println!(
        "   us per transfer: make {:.1} load {:.1} decide {:.1} write {:.1}",
        per(t[0]) / batch_size as f64,
        per(t[2]) / batch_size as f64,
        per(t[3]) / batch_size as f64,
        per(t[4]) / batch_size as f64
    );
}
