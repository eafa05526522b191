//! Disks that are full, read-only, slow, or do not keep what they were given: writes are refused with a word that says so, reading
//! goes on, and the host works again as soon as the disk does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::{
    Caller, Cluster, Database, Disk, Folder, HostProcess, Ill, Kind, Outcome, Setup, Shop, Stop, Stopwatch, TestApp,
    User, eventually_for,
};
use crate::two_hosts::somebody;

/// A host with somebody who holds 100,000 yen and a shop.
struct Scene {
    database: Arc<Database>,
    host: HostProcess,
    user: User,
    shop: Shop,
}

impl Scene {
    async fn on(database: Database, disk: Option<&Disk>) -> Scene {
        let database = Arc::new(database);
        let (user, token, shop) = somebody(&database).await;
        let environment = disk.map(Disk::environment).unwrap_or_default();
        let host = HostProcess::start_in(&database, "host", &["--listen", "127.0.0.1:0"], &environment).await;
        let user = User::signed_in(user, token, &host.client());
        let shop = Shop::new(shop.0, shop.1, &host.client());
        Scene { database, host, user, shop }
    }

    /// Pays one yen under each of these keys, all at once.
    async fn pay_under(&self, keys: std::ops::Range<u32>) -> Vec<Outcome> {
        let mut paying = JoinSet::new();
        for key in keys {
            let (user, shop) =
                (self.user.again(), Shop::new(self.shop.id, self.shop.secret.clone(), &self.host.client()));
            paying.spawn(async move { user.pay(&shop, 1).key(&format!("k{key}")).await });
        }
        paying.join_all().await
    }

    /// Whoever pays is refused like this, and may repeat it.
    async fn is_refused(&self, keys: std::ops::Range<u32>, status: u16, code: &str) {
        for refused in self.pay_under(keys).await {
            let reply = refused.problem(status, code);
            assert_eq!(reply.body["retryable"], true);
            assert!(reply.header("retry-after").is_some(), "{reply:?}");
        }
    }

    /// Balances, statements and health are read as ever.
    async fn can_be_read(&self, balance: i64) {
        assert_eq!(self.user.balance().await, balance);
        for path in ["/v1/wallet/statement", "/v1/payments", "/readyz"] {
            let read = Caller::client(&self.user).get(path).await.expect("an answer");
            assert_eq!(read.status, 200, "{path}: {read:?}");
        }
    }

    /// The same keys pay now, once each, and the books are clean.
    async fn heals(self, keys: std::ops::Range<u32>, before: i64) {
        let mut left = before;
        for key in keys {
            let key = format!("k{key}");
            let first = self.user.pay(&self.shop, 1).key(&key).await.created();
            let again = self.user.pay(&self.shop, 1).key(&key).await.created();
            assert!(again.replayed && again.id == first.id, "{key} pays once");
            left -= 1;
        }
        assert_eq!(self.user.balance().await, left);
        assert!(self.host.stop().await.success());
        let app = TestApp::on(Arc::clone(&self.database), Setup { jobs: false, ..Setup::default() }).await;
        app.ledger_is_clean().await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_writes_lets_read_and_works_again_when_there_is_room() {
    if Kind::of_this_run() == Kind::Postgres {
        return a_full_disk_of_a_server().await;
    }
    let database = Database::sqlite();
    let disk = Disk::under(Path::new(database.url().trim_start_matches("sqlite:")));
    let scene = Scene::on(database, Some(&disk)).await;
    scene.user.pay(&scene.shop, 100).key("before").await.created();
    disk.is(Ill::Full);
    scene.is_refused(0..20, 507, "storage_full").await;
    scene.can_be_read(99_900).await;
    assert!(scene.host.said().contains("the disk of the database is full"), "{}", scene.host.said());
    disk.is_well();
    scene.heals(0..20, 99_900).await;
}

/// The files of the tables are on the disk that is full; what happens with the log on it is told below.
async fn a_full_disk_of_a_server() {
    tables_that_cannot_grow(Ill::Full, (507, "storage_full"), "the disk of the database is full").await;
}

/// A server on the files of whose tables this disk is.
async fn tables_that_cannot_grow(ill: Ill, refusal: (u16, &str), said_of_it: &str) {
    let cluster = Cluster::prepared();
    let disk = Disk::under(&cluster.data().join("base"));
    let cluster = cluster.start_in(disk.environment()).await;
    let scene = Scene::on(Database::at(cluster.url()), None).await;
    scene.user.pay(&scene.shop, 100).key("before").await.created();
    disk.is(ill);
    // Pages that are there already take some more rows.
    let mut paid = 0;
    let refused = loop {
        let told = scene.user.pay(&scene.shop, 1).key(&format!("fill-{paid}")).await;
        if told.reply.status != 201 {
            break told;
        }
        paid += 1;
        assert!(paid < 2_000, "no table ever grows");
    };
    refused.problem(refusal.0, refusal.1);
    scene.can_be_read(99_900 - paid).await;
    let said = scene.host.said();
    assert!(said.contains(said_of_it), "{said}");
    disk.is_well();
    let first = scene.user.pay(&scene.shop, 1).key(&format!("fill-{paid}")).await.created();
    assert!(!first.replayed, "what was refused was not done");
    scene.heals(0..5, 99_900 - paid - 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_system_that_runs_full_loses_nothing() {
    if Kind::of_this_run() == Kind::Postgres {
        return;
    }
    let Some(mount) = Mount::small() else {
        println!("faults: no file system can be mounted here; the disk that fails on command stands for it");
        return;
    };
    let scene = Scene::on(Database::sqlite_in(&mount.folder), None).await;
    scene.user.pay(&scene.shop, 100).key("before").await.created();
    let ballast = mount.folder.join("ballast");
    // Whatever is left, byte for byte.
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", "status=none"])
        .arg(format!("of={}", ballast.display()))
        .output();
    scene.is_refused(0..20, 507, "storage_full").await;
    scene.can_be_read(99_900).await;
    std::fs::remove_file(&ballast).expect("there is room again");
    scene.heals(0..20, 99_900).await;
    drop(mount);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_turns_read_only_refuses_what_writes_and_lets_read() {
    if Kind::of_this_run() == Kind::Postgres {
        return tables_that_cannot_grow(Ill::ReadOnly, (503, "storage_unwritable"), "takes no writes").await;
    }
    let database = Database::sqlite();
    let disk = Disk::under(Path::new(database.url().trim_start_matches("sqlite:")));
    let scene = Scene::on(database, Some(&disk)).await;
    scene.user.pay(&scene.shop, 100).key("before").await.created();
    disk.is(Ill::ReadOnly);
    scene.is_refused(0..20, 503, "storage_unwritable").await;
    scene.can_be_read(99_900).await;
    assert!(scene.host.said().contains("takes no writes"), "{}", scene.host.said());
    disk.is_well();
    scene.heals(0..20, 99_900).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_does_not_sync_ends_the_host_and_the_next_one_knows_what_was_done() {
    if Kind::of_this_run() == Kind::Postgres {
        return;
    }
    let database = Database::sqlite();
    let disk = Disk::under(Path::new(database.url().trim_start_matches("sqlite:")));
    let Scene { database, host, user, shop } = Scene::on(database, Some(&disk)).await;
    let before = user.pay(&shop, 100).key("before").await.created();
    disk.is(Ill::Unsynced);
    let told = user.pay(&shop, 7).key("k").attempt().await;
    assert!(told.is_err(), "nothing is acknowledged that was not synced: {told:?}");
    let said = host.said();
    let exit = host.ended().await;
    assert!(!exit.success(), "{exit:?}");
    assert!(said.contains("failed to sync; the host ends"), "{said}");
    disk.is_well();
    let host = HostProcess::start(&database).await;
    let user = User::signed_in(user.id, user.token, &host.client());
    let shop = Shop::new(shop.id, shop.secret, &host.client());
    let scene = Scene { database, host, user, shop };
    assert_eq!(scene.user.pay(&scene.shop, 100).key("before").await.created().id, before.id);
    scene.user.pay(&scene.shop, 7).key("k").await.created();
    assert_eq!(scene.user.balance().await, 99_893, "the key pays once, whatever the disk kept of it");
    scene.heals(0..3, 99_893).await;
}

/// A server that cannot write its log stops by itself: nothing is acknowledged meanwhile, and everything that was is there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_log_cannot_be_written_stops_and_loses_nothing() {
    if Kind::of_this_run() != Kind::Postgres {
        return;
    }
    for ill in [Ill::Full, Ill::Unsynced, Ill::ReadOnly] {
        let cluster = Cluster::prepared();
        let disk = Disk::under(&cluster.data().join("pg_wal"));
        let mut cluster = cluster.start_in(disk.environment()).await;
        let scene = Scene::on(Database::at(cluster.url()), None).await;
        scene.user.pay(&scene.shop, 100).key("before").await.created();
        disk.is(ill);
        // Its log is a file of 16 MB that is there already: the next one is what finds no room.
        for _ in 0..8 {
            if !cluster.takes("select pg_switch_wal()").await {
                break;
            }
            scene.user.pay(&scene.shop, 1).key("k").await;
        }
        let refused = scene.user.pay(&scene.shop, 2).key("refused").await;
        assert_eq!((refused.reply.status, refused.reply.body["retryable"].as_bool()), (503, Some(true)), "{ill:?}");
        assert!(refused.reply.header("retry-after").is_some(), "{ill:?}: {:?}", refused.reply);
        assert!(cluster.log().contains("PANIC"), "{ill:?}: {}", cluster.log());
        disk.is_well();
        cluster.stop(Stop::Kill).await;
        cluster.go().await;
        let healthy = || async { scene.user.pay(&scene.shop, 2).key("refused").await.reply.status };
        eventually_for(Duration::from_secs(30), "the host is at work again", healthy, |status| *status == 201).await;
        // Whatever was told of it before: the key pays once.
        scene.user.pay(&scene.shop, 1).key("k").await.created();
        scene.heals(0..3, 99_897).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_everybody_wait_and_nobody_pay_twice() {
    if Kind::of_this_run() == Kind::Postgres {
        return;
    }
    let database = Database::sqlite();
    let disk = Disk::under(Path::new(database.url().trim_start_matches("sqlite:")));
    let scene = Scene::on(database, Some(&disk)).await;
    disk.is(Ill::Slow);
    let stopwatch = Stopwatch::start();
    for paid in scene.pay_under(0..40).await {
        assert!(!paid.created().replayed);
    }
    // One commit carries many: forty commits of one would have taken more than a second.
    assert!(stopwatch.elapsed() < Duration::from_secs(20), "{:?}", stopwatch.elapsed());
    disk.is_well();
    for paid in scene.pay_under(0..40).await {
        assert!(paid.created().replayed);
    }
    scene.heals(100..103, 99_960).await;
}

/// A file system in memory, of 24 MiB. Only root may have one.
struct Mount {
    folder: PathBuf,
    _at: Folder,
}

impl Mount {
    fn small() -> Option<Mount> {
        let at = Folder::new();
        let folder = at.path().join("small");
        std::fs::create_dir(&folder).expect("a folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"]).arg(&folder).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Mount { folder, _at: at })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).output();
    }
}
