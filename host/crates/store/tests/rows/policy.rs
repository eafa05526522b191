//! What operators decide and commits must know: plugins, allowances, limits, the failure policy; and endpoints.

use koban_domain::accounts::PluginKey;
use koban_domain::guest::{Named, Verdict};
use koban_domain::limits::{Action, Limit, WalletKind, Window};
use koban_domain::money::Currency;
use koban_domain::policy::{FailurePolicy, Reliance};
use koban_domain::records::{Digest, settings_digest};
use koban_domain::releases::State;
use koban_domain::time::Timestamp;
use koban_store::endpoints::EndpointRow;
use koban_store::plugins::{Allowance, ComponentRow, PluginRow};
use koban_store::releases::{self, Change};
use koban_store::{StoreErrorKind, endpoints, limits, plugins};

use crate::harness::*;

#[tokio::test]
async fn an_installed_plugin_is_in_force_from_the_next_generation_on_and_a_disabled_one_is_not() {
    on_each(async |store| {
        let before = store.policy().await.unwrap().generation;
        plugin(store).await;
        let policy = store.policy().await.unwrap();
        assert_eq!(policy.generation, before + 1);
        assert_eq!(policy.plugins[PLUGIN].digest, Digest::of(b"component"));

        let disabled = PluginRow { state: State::Disabled, ..plugin_row(b"component") };
        install(store, &disabled, &[], 1, NOON).await;
        let policy = store.policy().await.unwrap();
        assert_eq!((policy.generation, policy.plugins.is_empty()), (before + 2, true));
        assert_eq!(plugins::by_id(store, PLUGIN).await.unwrap().unwrap().state, State::Disabled);
    })
    .await;
}

#[tokio::test]
async fn another_installation_keeps_what_was_used_and_when_it_all_began() {
    on_each(async |store| {
        let key = plugin(store).await;
        let payer = user(store, 1).await;
        commit(store, &[credit(10, payer, 4_000)], NOON).await;
        let later = NOON.plus_ms(SECOND);
        let next = PluginRow { installed_at: later, ..plugin_row(b"another component") };
        let allowance = Allowance { currency: Currency::JPY, cap: 500_000, loss_budget: 10 };
        install(store, &next, &[allowance], 1, later).await;

        let installed = plugins::by_key(store, key).await.unwrap().unwrap();
        assert_eq!((installed.digest, installed.installed_at), (Digest::of(b"another component"), NOON));
        assert_eq!(installed.changed_at, later);
        let exposures = plugins::exposures(store, key).await.unwrap();
        let [(currency, exposure)] = exposures.as_slice() else { panic!("{exposures:?}") };
        assert_eq!((*currency, exposure.cap, exposure.used), (Currency::JPY, 500_000, 4_000));
        assert_eq!((exposure.loss_budget, exposure.lost), (10, 0));

        let allowance = Allowance { cap: 1, ..allowance };
        plugins::set_allowances(store, key, &[allowance], &audit(2, "plugin.allow"), later).await.unwrap();
        let exposure = plugins::exposures(store, key).await.unwrap()[0].1;
        assert_eq!((exposure.cap, exposure.used), (1, 4_000));
        assert_eq!(plugins::list(store, None, 10).await.unwrap().len(), 1);
        assert!(plugins::list(store, Some(PLUGIN), 10).await.unwrap().is_empty());
        assert_eq!(plugins::by_key(store, PluginKey::of("nobody")).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn nothing_may_rest_on_a_revoked_component() {
    on_each(async |store| {
        plugin(store).await;
        let digest = Digest::of(b"component");
        let reliance = Reliance { plugin: PLUGIN.into(), digest, in_force: false };
        assert!(store.policy().await.unwrap().honours(&reliance));
        assert_eq!(plugins::revocation(store, digest).await.unwrap(), None);
        let revoked = Change {
            under: store.policy().await.unwrap().generation,
            revoked: vec![(digest, "it lies".into())],
            audits: vec![audit(1, "component.revoke")],
            ..Change::default()
        };
        assert!(releases::write(store, &revoked, NOON).await.unwrap().is_some());
        assert!(store.policy().await.unwrap().plugins.is_empty());
        assert!(!store.policy().await.unwrap().honours(&reliance));
        assert_eq!(plugins::revocation(store, digest).await.unwrap(), Some(("it lies".into(), NOON)));
    })
    .await;
}

#[tokio::test]
async fn components_and_settings_are_kept_by_digest_and_a_changed_byte_is_found() {
    on_each(async |store| {
        let component = ComponentRow { bytes: vec![0, 97, 115, 109], manifest: manifest(), at: NOON };
        let digest = plugins::put_component(store, &component).await.unwrap();
        assert_eq!(plugins::put_component(store, &component).await.unwrap(), digest);
        assert_eq!(plugins::component(store, digest).await.unwrap(), Some(component));
        assert_eq!(plugins::component(store, Digest::default()).await.unwrap(), None);
        assert_eq!(plugins::component_digests(store, Digest::default(), 10).await.unwrap(), [digest]);
        store.meddle("update components set bytes = digest").await;
        let error = plugins::component(store, digest).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Damaged);
        assert!(error.to_string().contains(&digest.to_string()), "{error}");

        let settings = [Named::whole("limit", 5), Named::text("bank", "0034")];
        let digest = plugins::put_settings(store, &settings).await.unwrap();
        assert_eq!(digest, settings_digest(&settings));
        assert_eq!(plugins::settings(store, digest).await.unwrap().as_deref(), Some(settings.as_slice()));
        assert_eq!(plugins::settings(store, Digest::default()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn limits_and_the_failure_policy_reach_every_commit() {
    on_each(async |store| {
        let limit = |amount, from| Limit {
            wallet: WalletKind::Funds,
            action: Action::Send,
            window: Window::Day,
            amount: yen(amount),
            from: Timestamp(from),
        };
        limits::put(store, &[limit(1_000, 0), limit(2_000, 50)], &audit(1, "limit.set"), NOON).await.unwrap();
        limits::put(store, &[limit(3_000, 50)], &audit(2, "limit.set"), NOON).await.unwrap();
        let policy = FailurePolicy { on_fault: Verdict::StepUp, on_missing: Verdict::Allow };
        limits::set_failure_policy(store, policy, &audit(3, "policy.set"), NOON).await.unwrap();

        let read = store.policy().await.unwrap();
        assert_eq!((read.generation, read.fraud), (3, policy));
        assert_eq!(read.limits.0, [limit(1_000, 0), limit(3_000, 50)]);
        assert_eq!(limits::setting(store, "fraud.on_fault").await.unwrap().as_deref(), Some("step-up"));
        assert_eq!(limits::setting(store, "unset").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_is_replaced_as_a_whole_and_never_shows_its_secret() {
    on_each(async |store| {
        let endpoint = EndpointRow {
            plugin: PLUGIN.into(),
            name: "network".into(),
            sandbox: false,
            base: "https://atm.example.com".into(),
            secret: b"hidden".to_vec(),
            key_id: String::new(),
            allow_private: true,
            detail: "{}".into(),
        };
        endpoints::put(store, &endpoint, &audit(1, "endpoint.set"), NOON).await.unwrap();
        let changed = EndpointRow { secret: b"another".to_vec(), allow_private: false, ..endpoint };
        endpoints::put(store, &changed, &audit(2, "endpoint.set"), NOON).await.unwrap();
        assert_eq!(endpoints::get(store, PLUGIN, "network", false).await.unwrap().as_ref(), Some(&changed));
        assert_eq!(endpoints::get(store, PLUGIN, "bank", false).await.unwrap(), None);
        assert_eq!(endpoints::get(store, PLUGIN, "network", true).await.unwrap(), None, "its sandbox is another row");
        let sandbox = EndpointRow { sandbox: true, base: "https://sandbox.example".into(), ..changed.clone() };
        endpoints::put(store, &sandbox, &audit(3, "endpoint.set"), NOON).await.unwrap();
        assert_eq!(endpoints::get(store, PLUGIN, "network", true).await.unwrap(), Some(sandbox.clone()));
        assert_eq!(endpoints::list(store, PLUGIN).await.unwrap(), [changed.clone(), sandbox]);
        assert_eq!(endpoints::mode(store, PLUGIN).await.unwrap(), None);
        for sandbox in [true, false] {
            endpoints::set_mode(store, PLUGIN, sandbox, &audit(4 + u128::from(sandbox), "plugin.mode"), NOON)
                .await
                .unwrap();
            assert_eq!(endpoints::mode(store, PLUGIN).await.unwrap(), Some(sandbox));
        }
        assert_eq!(endpoints::flows_left(store, PLUGIN, NOON).await.unwrap(), 0);
        let shown = format!("{changed:?}");
        assert!(!shown.contains("secret") && !shown.contains("97, 110"), "{shown}");
    })
    .await;
}
