//! Releases, publishers and calls in shadow: read back as written, changed together or not at all.

use koban_domain::guest::Verdict;
use koban_domain::ids::{MerchantId, RecordId};
use koban_domain::manifest::Kind;
use koban_domain::packages::Document;
use koban_domain::policy::Stable;
use koban_domain::records::Digest;
use koban_domain::releases::{Enablement, Scope, State};
use koban_store::plugins::Allowance;
use koban_store::publishers::{self, PublisherRow, PublisherState};
use koban_store::releases::{self, Change, PluginChange, ReleaseRow};
use koban_store::shadows::{self, Agreement, ShadowCall};
use koban_store::{audit as audit_log, plugins};

use crate::harness::*;

fn placed(scope: Scope, component: &[u8], state: State, share: u16) -> Enablement {
    Enablement {
        scope,
        digest: Digest::of(component),
        state,
        share,
        settings: Digest::of(b"settings"),
        consent: Digest::of(b"consent"),
        replaced: Some(Digest::of(b"before")).filter(|_| state == State::Enabled),
    }
}

fn release(component: &[u8]) -> ReleaseRow {
    ReleaseRow {
        digest: Digest::of(component),
        manifest: manifest(),
        state: State::Installed,
        publisher: Some("example".into()),
        package: Some(Digest::of(b"package")),
        signature: Some(vec![7; 96]),
        documents: vec![Document { name: "README.md".into(), body: b"# rule".to_vec() }],
        settings: Some(Digest::of(b"settings")),
        consent: Some(Digest::of(b"consent")),
        at: NOON,
        changed_at: NOON,
    }
}

fn merchant() -> Scope {
    Scope::Merchant(MerchantId(uuid(7)))
}

#[tokio::test]
async fn a_change_is_written_whole_and_reads_back() {
    on_each(async |store| {
        let under = store.policy().await.unwrap().generation;
        let rows = vec![
            placed(merchant(), b"new", State::Canary, 250),
            placed(Scope::Platform, b"component", State::Enabled, 0),
        ];
        let change = Change {
            under,
            plugins: vec![PluginChange { row: plugin_row(b"component"), enablements: rows.clone() }],
            releases: vec![release(b"component"), release(b"new")],
            audits: vec![audit(1, "plugin.enable")],
            ..Change::default()
        };
        assert_eq!(releases::write(store, &change, NOON).await.unwrap(), Some(under + 1));
        let standing = releases::standing(store, PLUGIN).await.unwrap();
        assert_eq!(standing.generation, under + 1);
        assert_eq!(standing.plugin, plugins::by_id(store, PLUGIN).await.unwrap());
        let read: Vec<Enablement> = standing.enablements.iter().map(|(row, _)| row.clone()).collect();
        assert_eq!(read, rows);
        let mut written = vec![release(b"component"), release(b"new")];
        written.sort_by_key(|release| release.digest);
        assert_eq!(standing.releases, written);

        let policy = store.policy().await.unwrap();
        let live = policy.live[PLUGIN][&merchant()];
        assert_eq!(live.canary.map(|canary| (canary.version.digest, canary.share)), Some((Digest::of(b"new"), 250)));
        assert_eq!((live.stable, policy.plugins[PLUGIN].kind), (Stable::Unsaid, Kind::ChargeChannel));

        // What is left out is gone; what stays as it was keeps its time.
        let later = NOON.plus_ms(SECOND);
        let change = Change {
            under: under + 1,
            plugins: vec![PluginChange { row: plugin_row(b"component"), enablements: rows[1..].to_vec() }],
            ..Change::default()
        };
        releases::write(store, &change, later).await.unwrap().unwrap();
        let standing = releases::standing(store, PLUGIN).await.unwrap();
        assert_eq!(standing.enablements, [(rows[1].clone(), NOON)]);
        assert_eq!(releases::plugins(store, "", 10).await.unwrap(), [PLUGIN]);
        assert_eq!(releases::plugin_of(store, Digest::of(b"new")).await.unwrap().as_deref(), Some(PLUGIN));
        assert_eq!(releases::of_publisher(store, "example").await.unwrap().len(), 2);
        assert_eq!(releases::of_publisher(store, "nobody").await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_change_that_was_decided_under_another_generation_is_not_written() {
    on_each(async |store| {
        plugin(store).await;
        let before = store.policy().await.unwrap();
        let rows = vec![placed(Scope::Platform, b"component", State::Disabled, 0)];
        let change = Change {
            under: before.generation - 1,
            plugins: vec![PluginChange { row: plugin_row(b"component"), enablements: rows }],
            releases: vec![release(b"new")],
            allowances: vec![(
                koban_domain::accounts::PluginKey::of(PLUGIN),
                vec![Allowance { currency: koban_domain::money::Currency::JPY, cap: 1, loss_budget: 1 }],
            )],
            revoked: vec![(Digest::of(b"component"), "why".into())],
            audits: vec![audit(1, "plugin.disable")],
            ..Change::default()
        };
        assert_eq!(releases::write(store, &change, NOON).await.unwrap(), None);
        assert_eq!(store.policy().await.unwrap(), before);
        assert_eq!(releases::standing(store, PLUGIN).await.unwrap().releases.len(), 1);
        assert_eq!(plugins::revocation(store, Digest::of(b"component")).await.unwrap(), None);
        assert_eq!(audit_log::after(store, 0, 10).await.unwrap().len(), 1, "its installation");
    })
    .await;
}

#[tokio::test]
async fn a_release_that_nobody_runs_moves_no_generation() {
    on_each(async |store| {
        let under = store.policy().await.unwrap().generation;
        let uploaded = ReleaseRow { state: State::Uploaded, consent: None, settings: None, ..release(b"new") };
        let change =
            Change { under, releases: vec![uploaded], audits: vec![audit(1, "plugin.upload")], ..Change::default() };
        assert_eq!(releases::write(store, &change, NOON).await.unwrap(), Some(under));
        let standing = releases::standing(store, PLUGIN).await.unwrap();
        assert_eq!((standing.plugin, standing.releases[0].state), (None, State::Uploaded));
    })
    .await;
}

#[tokio::test]
async fn what_drains_is_found_with_its_flows() {
    on_each(async |store| {
        plugin(store).await;
        let rows = vec![placed(Scope::Platform, b"component", State::Draining, 0)];
        let change = Change {
            under: store.policy().await.unwrap().generation,
            plugins: vec![PluginChange { row: plugin_row(b"component"), enablements: rows }],
            ..Change::default()
        };
        releases::write(store, &change, NOON).await.unwrap().unwrap();
        let draining = releases::draining(store, 10).await.unwrap();
        assert_eq!(draining, [(PLUGIN.to_owned(), Digest::of(b"component"), Scope::Platform)]);
        assert_eq!(releases::open_flows(store, PLUGIN, Digest::of(b"component")).await.unwrap(), 0);
        assert!(store.policy().await.unwrap().plugins.is_empty(), "it begins nothing new");
    })
    .await;
}

#[tokio::test]
async fn a_publisher_is_added_once_by_name_and_by_key() {
    on_each(async |store| {
        let publisher = PublisherRow {
            name: "example".into(),
            key: [3; 32],
            state: PublisherState::Known,
            note: String::new(),
            added_at: NOON,
            changed_at: NOON,
        };
        assert!(publishers::add(store, &publisher, &audit(1, "publisher.add")).await.unwrap());
        let same_name = PublisherRow { key: [4; 32], ..publisher.clone() };
        let same_key = PublisherRow { name: "other".into(), ..publisher.clone() };
        assert!(!publishers::add(store, &same_name, &audit(2, "publisher.add")).await.unwrap());
        assert!(!publishers::add(store, &same_key, &audit(3, "publisher.add")).await.unwrap());
        let change = Change {
            under: store.policy().await.unwrap().generation,
            publisher: Some(("example".into(), PublisherState::Trusted, "we met".into())),
            audits: vec![audit(4, "publisher.trust")],
            ..Change::default()
        };
        let later = NOON.plus_ms(SECOND);
        releases::write(store, &change, later).await.unwrap().unwrap();
        let trusted =
            PublisherRow { state: PublisherState::Trusted, note: "we met".into(), changed_at: later, ..publisher };
        assert_eq!(publishers::by_name(store, "example").await.unwrap().as_ref(), Some(&trusted));
        assert_eq!(publishers::by_key(store, [3; 32]).await.unwrap().as_ref(), Some(&trusted));
        assert_eq!(publishers::by_key(store, [4; 32]).await.unwrap(), None);
        assert_eq!(publishers::list(store, 10).await.unwrap(), [trusted]);
        assert_eq!(audit_log::after(store, 0, 10).await.unwrap().len(), 2, "what was refused left nothing");
    })
    .await;
}

#[tokio::test]
async fn calls_in_shadow_are_marked_listed_and_counted() {
    on_each(async |store| {
        let digest = Digest::of(b"new");
        let call = |number: u128, verdict| ShadowCall {
            decision: RecordId(uuid(number)),
            beside: Some(RecordId(uuid(100 + number))),
            plugin: PLUGIN.into(),
            digest,
            subject: format!("pay_{number}"),
            decided: Verdict::Allow,
            verdict,
            at: NOON,
        };
        let calls = [call(1, Some(Verdict::Allow)), call(2, Some(Verdict::Decline)), call(3, None)];
        shadows::mark(store, &calls).await.unwrap();
        shadows::mark(store, &calls[..1]).await.unwrap();
        let newest = shadows::list(store, PLUGIN, digest, None, 2).await.unwrap();
        assert_eq!(newest, [calls[2].clone(), calls[1].clone()]);
        let before = Some(newest[1].decision);
        assert_eq!(shadows::list(store, PLUGIN, digest, before, 2).await.unwrap(), [calls[0].clone()]);
        assert_eq!(shadows::by_decision(store, calls[1].decision).await.unwrap().as_ref(), Some(&calls[1]));
        assert_eq!(shadows::by_decision(store, RecordId(uuid(9))).await.unwrap(), None);
        let agreement = shadows::agreement(store, PLUGIN, digest).await.unwrap();
        assert_eq!(agreement, Agreement { calls: 3, differ: 1, faults: 1 });
        assert_eq!(shadows::agreement(store, PLUGIN, Digest::of(b"old")).await.unwrap(), Agreement::default());
    })
    .await;
}
