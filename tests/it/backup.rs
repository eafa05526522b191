//! Backups: made while a host works, restored into either database, and every changed byte named.

use std::path::Path;
use std::sync::Arc;

use koban_service::backup;
use serde_json::Value;

use crate::harness::{Database, Kind, Setup, TestApp, User, koban, whole};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// A host with some history of every sort, and a user whose session is known.
async fn busy() -> (TestApp, User) {
    let app = TestApp::start().await.with_fraud_rules(&[whole("night_from", 0), whole("night_to", 0)]).await;
    let atm = app.atm().await;
    let user = app.user().await;
    let (_, _, report) = atm.charge(&user, 10_000).await;
    assert_eq!(report["atm"], "accepted-cash", "{report}");
    let shop = app.shop().await;
    let paid = user.pay(&shop, 1_280).key("before").await.created();
    shop.refund(&paid, 280).await.created();
    (app, user)
}

#[tokio::test]
async fn a_backup_of_a_working_host_restores_verifies_and_serves() {
    let (app, user) = busy().await;
    let shop = app.shop().await;
    let file = app.database.folder().join("koban.backup");
    // Payments go on while it is made; what it holds is one moment of them.
    let paying = async {
        for _ in 0..10 {
            app.user_holding(10).await.pay(&shop, 1).await.created();
        }
    };
    let store = app.database.store().await;
    let making = async { backup::create(&store, &file, app.app.clock.now()).await.expect("a backup") };
    let ((), (manifest, _)) = tokio::join!(paying, making);
    assert!(manifest.sequence > 0 && manifest.chunks.len() > 5, "{manifest:?}");
    let (token, id) = (user.token.clone(), user.id);
    let database = app.stop().await;

    let restored = Arc::new(empty().await);
    let (status, said, log) = koban(&restored, &["backup", "restore", text(&file)]);
    assert!(status.success() && said.contains("clean"), "{said}{log}");
    let again = TestApp::on(Arc::clone(&restored), Setup::default()).await;
    again.ledger_is_clean().await;
    assert_eq!(again.entries().await, manifest.sequence);
    let user = User::signed_in(id, token, &again.anonymous());
    let before = user.balance().await;
    user.pay(&again.shop().await, 100).await.created();
    assert_eq!(user.balance().await, before - 100);
    // The database numbers what it numbers on from where it was.
    let atm = again.atm_with(&[], (1_000_000, 100_000)).await;
    let (_, _, report) = atm.charge(&user, 1_000).await;
    assert_eq!(report["atm"], "accepted-cash", "{report}");
    again.ledger_is_clean().await;
    again.stop().await;
    drop(database);
}

#[tokio::test]
async fn a_backup_moves_a_platform_to_the_other_database() {
    if Kind::of_this_run() != Kind::Postgres {
        // Both databases are needed: the run on PostgreSQL has them.
        return;
    }
    let (app, _) = busy().await;
    let database = app.stop().await;
    let file = database.folder().join("koban.backup");
    let (_, head, _) = koban(&database, &["--json", "ledger", "head"]);
    let (status, _, log) = koban(&database, &["backup", "create", text(&file)]);
    assert!(status.success(), "{log}");
    let sqlite = Database::sqlite();
    let (status, said, log) = koban(&sqlite, &["backup", "restore", text(&file)]);
    assert!(status.success(), "{said}{log}");
    assert_eq!(koban(&sqlite, &["--json", "ledger", "head"]).1, head, "the same history has the same head");
    let back = sqlite.folder().join("back.backup");
    let (status, _, log) = koban(&sqlite, &["backup", "create", text(&back)]);
    assert!(status.success(), "{log}");
    let postgres = Database::empty_postgres().await;
    let (status, said, log) = koban(&postgres, &["backup", "restore", text(&back)]);
    assert!(status.success(), "{said}{log}");
    assert_eq!(koban(&postgres, &["--json", "ledger", "head"]).1, head);
}

#[tokio::test]
async fn a_changed_byte_of_a_backup_is_found_wherever_it_is_and_named() {
    let (app, _) = busy().await;
    let database = app.stop().await;
    let file = database.folder().join("koban.backup");
    let (status, made, log) = koban(&database, &["--json", "backup", "create", text(&file)]);
    assert!(status.success(), "{log}");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let good = std::fs::read(&file).expect("the backup");
    assert_eq!(backup::check(&file).expect("it is read").difference, None);
    let manifest = backup::check(&file).expect("it is read").manifest.expect("a manifest");
    for at in
        [0, 7, 8, 9, good.len() / 3, good.len() / 2, good.len() - 60, good.len() - 48, good.len() - 20, good.len() - 1]
    {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&file, &bytes).expect("written");
        let found =
            backup::check(&file).expect("it is read").difference.unwrap_or_else(|| panic!("byte {at} is not found"));
        let at_64 = u64::try_from(at).expect("a place");
        if let Some(number) =
            manifest.chunks.iter().position(|chunk| (chunk.offset..chunk.offset + chunk.length).contains(&at_64))
        {
            assert!(
                found.place.starts_with(&format!("chunk {number} (bytes ")),
                "byte {at} is in chunk {number}: {found:?}"
            );
        }
    }
    for length in [0, 30, good.len() / 2, good.len() - 1] {
        std::fs::write(&file, &good[..length]).expect("written");
        assert!(backup::check(&file).expect("it is read").difference.is_some(), "{length} bytes of {}", good.len());
    }
    let longer: Vec<u8> = good.iter().copied().chain([0]).collect();
    std::fs::write(&file, longer).expect("written");
    let (status, said, _) = koban(&database, &["backup", "verify", text(&file)]);
    assert!(!status.success() && said.contains("DIFFERENT at bytes"), "{said}");
    let target = empty().await;
    let (status, _, said) = koban(&target, &["backup", "restore", text(&file)]);
    assert!(!status.success() && said.contains("koban backup verify"), "{said}");
    std::fs::write(&file, good).expect("written");
    let (status, said, _) = koban(&database, &["backup", "verify", text(&file)]);
    assert!(status.success() && said.contains(made["digest"].as_str().expect("a digest")), "{said}");
}

#[tokio::test]
async fn a_backup_is_never_written_over_a_file_nor_restored_over_rows() {
    let (app, _) = busy().await;
    let database = app.stop().await;
    let file = database.folder().join("koban.backup");
    let (status, _, log) = koban(&database, &["backup", "create", text(&file)]);
    assert!(status.success(), "{log}");
    let (status, _, log) = koban(&database, &["backup", "create", text(&file)]);
    assert!(!status.success() && log.contains("cannot be used for a backup"), "{log}");
    let (status, _, log) = koban(&database, &["backup", "restore", text(&file)]);
    assert!(!status.success() && log.contains("empty database"), "{log}");
}

/// A database without any table, on the store of this run.
async fn empty() -> Database {
    match Kind::of_this_run() {
        Kind::Sqlite => Database::sqlite(),
        Kind::Postgres => Database::empty_postgres().await,
    }
}
