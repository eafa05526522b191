//! The command line of publishers and operators, as they type it.

use serde_json::Value;

use crate::harness::{Database, Folder, koban, packages};

fn run(database: &Database, words: &[&str]) -> (bool, String, String) {
    let (status, said, log) = koban(database, words);
    (status.success(), said, log)
}

#[track_caller]
fn done(database: &Database, words: &[&str]) -> String {
    let (good, said, log) = run(database, words);
    assert!(good, "{words:?}: {said}{log}");
    said
}

#[track_caller]
fn fails(database: &Database, words: &[&str], expected: &str) {
    let (good, said, log) = run(database, words);
    assert!(!good && log.contains(expected), "{words:?}: {said}{log}");
}

/// Goal: from a key to a rule that decides, and back, in the words of the guide.
#[tokio::test]
async fn a_plugin_is_signed_trusted_accepted_tried_enabled_and_taken_back() {
    let database = Database::fresh().await;
    let folder = Folder::new();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (key, package) = (place("publisher.key"), place("fraud-rules.koban"));
    let built = packages().join("fraud-rules").display().to_string();
    let made: Value = serde_json::from_str(&done(&database, &["--json", "publisher", "keygen", &key])).expect("JSON");
    fails(&database, &["publisher", "keygen", &key], "is there already");
    let signed = done(&database, &["plugin", "sign", &built, "--key", &key, "--out", &package]);
    assert!(signed.contains("signed"), "{signed}");

    fails(&database, &["plugin", "install", &package], "koban publisher add NAME");
    let public = made["public_key"].as_str().expect("a key");
    done(&database, &["publisher", "add", "example-inc", public]);
    fails(&database, &["plugin", "install", &package], "koban publisher trust example-inc");
    done(&database, &["publisher", "trust", "example-inc", "--reason", "compared by phone"]);
    let listed = done(&database, &["publisher", "list"]);
    assert!(listed.contains("trusted") && listed.contains("compared by phone"), "{listed}");

    let (good, _, asked) = run(&database, &["plugin", "install", &package]);
    assert!(!good && asked.contains("is told the fact `device.id`"), "{asked}");
    let accept = asked.split("--accept ").nth(1).expect("how to accept").split_whitespace().next().expect("a digest");
    fails(&database, &["plugin", "install", &package, "--accept", "0123456789ab"], "asks for");
    let said = done(&database, &["plugin", "install", &package, "--accept", accept]);
    assert!(said.contains("next: koban plugin enable fraud-rules --release"), "{said}");
    done(&database, &["plugin", "shadow", "fraud-rules"]);
    done(&database, &["plugin", "canary", "fraud-rules", "--percent", "2.5"]);
    for percent in ["0", "100", "2.55", "many"] {
        fails(&database, &["plugin", "canary", "fraud-rules", "--percent", percent], "0.1 to 99.9");
    }
    let shown = done(&database, &["plugin", "releases", "fraud-rules"]);
    assert!(shown.contains("canary 2.5 % at platform") && shown.contains("example-inc"), "{shown}");
    done(&database, &["plugin", "enable", "fraud-rules"]);
    let detail = done(&database, &["plugin", "releases", "fraud-rules", "--release", "0.1.0"]);
    assert!(detail.contains("proved by its imports") && detail.contains("accepted as"), "{detail}");
    fails(&database, &["plugin", "enable", "fraud-rules", "--release", "9.9.9"], "has no release `9.9.9`");
    fails(&database, &["plugin", "rollback", "fraud-rules", "--reason", "x"], "nothing was enabled before");
    fails(&database, &["plugin", "remove", "fraud-rules"], "disable it first");
    let out = done(&database, &["plugin", "disable", "fraud-rules"]);
    assert!(out.contains("disabled at platform"), "{out}");
    done(&database, &["plugin", "enable", "fraud-rules"]);
    done(&database, &["publisher", "revoke", "example-inc", "--reason", "its key was stolen"]);
    let shown = done(&database, &["plugin", "releases", "fraud-rules"]);
    assert!(shown.contains("revoked") && shown.contains("quarantined at platform"), "{shown}");
    fails(&database, &["plugin", "enable", "fraud-rules", "--release", "0.1.0"], "was revoked");
    fails(&database, &["plugin", "install", &package, "--accept", "all"], "was revoked");
}

#[tokio::test]
async fn a_folder_is_installed_unsigned_on_purpose_alone() {
    let database = Database::fresh().await;
    let built = packages().join("hostile-rule").display().to_string();
    fails(&database, &["plugin", "install", &built, "--accept", "all"], "--unsigned");
    let settings = ["--set", "attack=none", "--set", "from_amount=5000"];
    let words: Vec<&str> = ["plugin", "install", &built, "--unsigned", "--accept", "all", "--enable"]
        .into_iter()
        .chain(settings)
        .collect();
    let (good, said, log) = run(&database, &words);
    assert!(good && said.contains("enabled at platform"), "{said}{log}");
    assert!(said.contains("(unsigned)"), "{said}");
    let (good, listed, log) = run(&database, &["--json", "audit", "list", "--subject", "hostile-rule"]);
    assert!(good && listed.contains("unsigned"), "{listed}{log}");
    let folder = Folder::new();
    let rubbish = folder.path().join("rubbish.koban");
    std::fs::write(&rubbish, b"not a package").expect("written");
    fails(&database, &["plugin", "install", &rubbish.display().to_string()], "no package of this format");
    fails(&database, &["plugin", "sign", &built, "--key", &rubbish.display().to_string()], "holds no signing key");
}
