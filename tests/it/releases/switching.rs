//! Switching while others pay: hot swap, rollback, kill switch and quarantine, with no failed payment and none that rests on a revoked
//! component after the switch; on one host and on two.
//!
//! Method: people pay without a pause, at every host in turn, while an operator switches at one of them. Every payment must be made. Where
//! the journal stood when the switch had been acknowledged is noted; each later entry must rest on another component.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use koban_domain::guest::Verdict;
use koban_domain::ids::RecordId;
use koban_domain::packages::Package;
use koban_domain::records::Digest;
use koban_domain::releases::{Scope, State};
use koban_service::releases::{Accept, Move, Upload};
use koban_service::{decisions, publishers, releases};
use tokio::task::JoinSet;

use super::{attacking, enabled, panicking, rules, signing_key, standing};
use crate::harness::{Database, Folder, Setup, Shop, TestApp, User, eventually, package_as, seed_shop};

/// How many people pay at the same time.
const PEOPLE: usize = 6;
/// How long they pay before and after a switch.
const WHILE: Duration = Duration::from_millis(900);

/// People at work on one or more hosts of one database.
struct Crowd {
    hosts: Vec<TestApp>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<usize>,
}

impl Crowd {
    async fn on(hosts: usize) -> Crowd {
        let database = Arc::new(Database::fresh().await);
        let mut apps = Vec::new();
        for _ in 0..hosts {
            apps.push(TestApp::on(Arc::clone(&database), Setup::default()).await);
        }
        // A rule that faults must not stop anybody here: what is looked at is who decides.
        apps[0].fraud_policy(Verdict::Allow, Verdict::Decline).await;
        Crowd { hosts: apps, stop: Arc::default(), tasks: JoinSet::new() }
    }

    fn app(&self) -> &TestApp {
        &self.hosts[0]
    }

    /// Everybody begins to pay.
    async fn begin(&mut self) {
        let (merchant, secret) = seed_shop(&self.app().app, "5812").await;
        for number in 0..PEOPLE {
            let user = self.app().user_holding(90_000).await;
            let people: Vec<(User, Shop)> = self
                .hosts
                .iter()
                .map(|host| {
                    let anonymous = host.anonymous();
                    let shop = Shop::new(merchant, secret.clone(), &anonymous);
                    (User::signed_in(user.id, user.token.clone(), &anonymous), shop)
                })
                .collect();
            let stop = Arc::clone(&self.stop);
            self.tasks.spawn(async move {
                let mut made = 0;
                while !stop.load(Ordering::Relaxed) {
                    let (user, shop) = &people[(number + made) % people.len()];
                    user.pay(shop, 1).await.created();
                    made += 1;
                }
                made
            });
        }
        tokio::time::sleep(WHILE).await;
    }

    /// Everybody ends. How many payments were made; none of them failed.
    async fn end(&mut self) -> usize {
        tokio::time::sleep(WHILE).await;
        self.stop.store(true, Ordering::Relaxed);
        let mut made = 0;
        while let Some(paid) = self.tasks.join_next().await {
            made += paid.expect("no payment failed");
        }
        made
    }

    /// The components that payments after this entry rest on.
    async fn deciding_after(&self, entry: i64) -> Vec<Digest> {
        let mut hand = self.app().database.hand().await;
        let sql = format!(
            "select p.decision from entries e join payments p on p.id = e.subject
             where e.sequence > {entry} and p.decision is not null order by e.sequence"
        );
        let mut digests = Vec::new();
        for bytes in hand.blobs(&sql).await {
            let id = RecordId(uuid::Uuid::from_slice(&bytes).expect("an id"));
            digests.push(decisions::get(&self.app().app, id).await.expect("the decision").kept.head.component);
        }
        digests
    }

    async fn are_sound(self) {
        self.app().ledger_is_clean().await;
    }
}

/// After the switch every payment rests on `then`, and there were some before and after.
async fn check(mut crowd: Crowd, at: i64, before: Digest, then: Digest) {
    let made = crowd.end().await;
    let all = crowd.deciding_after(0).await;
    let after = crowd.deciding_after(at).await;
    assert!(all.contains(&before), "nobody paid before the switch");
    assert!(
        !after.is_empty() && after.len() < all.len(),
        "{} of {} payments came after the switch",
        after.len(),
        all.len()
    );
    assert!(
        after.iter().all(|digest| *digest == then),
        "{} payments were made, one after the switch by {before}",
        made
    );
    crowd.are_sound().await;
}

async fn hot_swap_and_rollback(hosts: usize) {
    let mut crowd = Crowd::on(hosts).await;
    let old = enabled(crowd.app(), package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    crowd.begin().await;
    let new = enabled(crowd.app(), package_as("fraud-rules", "0.2.1"), &rules(&[])).await;
    let swapped = crowd.app().entries().await;
    tokio::time::sleep(WHILE).await;
    let between = crowd.deciding_after(swapped).await;
    assert!(!between.is_empty() && between.iter().all(|digest| *digest == new), "the new release decides at once");
    let ctx = crowd.app().operator_ctx();
    releases::rollback(&crowd.app().app, &ctx, "fraud-rules", &Scope::Platform, "back").await.expect("rolled back");
    let at = crowd.app().entries().await;
    check(crowd, at, new, old).await;
}

async fn kill_switch(hosts: usize) {
    let mut crowd = Crowd::on(hosts).await;
    let good = enabled(crowd.app(), package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    let bad = enabled(crowd.app(), package_as("fraud-rules", "0.2.1"), &rules(&[])).await;
    crowd.begin().await;
    let ctx = crowd.app().operator_ctx();
    releases::revoke(&crowd.app().app, &ctx, bad, "it lies").await.expect("revoked");
    let at = crowd.app().entries().await;
    check(crowd, at, bad, good).await;
}

async fn kill_switch_for_a_publisher(hosts: usize) {
    let mut crowd = Crowd::on(hosts).await;
    let folder = Folder::new();
    let key = signing_key(folder.path(), "example.key");
    let ctx = crowd.app().operator_ctx();
    publishers::add(&crowd.app().app, &ctx, "example", &key.public_key()).await.expect("added");
    publishers::trust(&crowd.app().app, &ctx, "example", "we met").await.expect("trusted");
    let good = enabled(crowd.app(), package_as("fraud-rules", "0.2.0"), &rules(&[])).await;
    let signed = |mut package: Package| {
        key.sign(&mut package);
        Upload { package, unsigned: false }
    };
    let mut last = good;
    // Two of them, so that the way back leads over the first.
    for version in ["0.2.1", "0.2.2"] {
        let upload = signed(package_as("fraud-rules", version));
        let release = releases::upload(&crowd.app().app, &ctx, upload).await.expect("taken");
        let accept = Accept { asks: Some(release.asks), ..Accept::default() };
        releases::install(&crowd.app().app, &ctx, "fraud-rules", release.digest, accept).await.expect("accepted");
        let step = Move::to(State::Enabled);
        releases::move_to(&crowd.app().app, &ctx, "fraud-rules", release.digest, &step).await.expect("enabled");
        last = release.digest;
    }
    crowd.begin().await;
    publishers::revoke(&crowd.app().app, &ctx, "example", "its key was stolen").await.expect("revoked");
    let at = crowd.app().entries().await;
    check(crowd, at, last, good).await;
}

async fn quarantine(hosts: usize) {
    let mut crowd = Crowd::on(hosts).await;
    let good = enabled(crowd.app(), package_as("hostile-rule", "0.2.0"), &attacking("none")).await;
    crowd.begin().await;
    let bad = enabled(crowd.app(), package_as("hostile-rule", "0.2.1"), &panicking()).await;
    let out = || standing(crowd.app(), "hostile-rule", bad);
    eventually("it is taken out", out, |rows| *rows == [("platform".to_owned(), State::Quarantined)]).await;
    // The other host learns of it with its next commit, which every payment is.
    let at = crowd.app().entries().await;
    check(crowd, at, bad, good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_swap_and_a_rollback_under_load_fail_no_payment() {
    hot_swap_and_rollback(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_swap_and_a_rollback_on_two_hosts_fail_no_payment() {
    hot_swap_and_rollback(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_kill_switch_no_payment_rests_on_the_component() {
    kill_switch(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_kill_switch_on_one_host_no_payment_of_another_rests_on_the_component() {
    kill_switch(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_publisher_was_revoked_no_payment_rests_on_what_it_signed() {
    kill_switch_for_a_publisher(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_publisher_was_revoked_on_one_host_no_payment_of_another_rests_on_what_it_signed() {
    kill_switch_for_a_publisher(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_faults_under_load_is_taken_out_and_no_payment_fails() {
    quarantine(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_faults_on_two_hosts_is_taken_out_and_no_payment_fails() {
    quarantine(2).await;
}
