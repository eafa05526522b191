//! The life of a plugin's releases: what may follow what, who falls into a canary, and where a rollback leads.

use koban_domain::ids::MerchantId;
use koban_domain::manifest::Kind;
use koban_domain::policy::{Canary, Live, PluginInForce, Policy, Stable};
use koban_domain::records::Digest;
use koban_domain::releases::{
    Enablement, MoveRefused, Moving, Scope, State, falls_into, moved, quarantined, rolled_back, version_numbers,
};
use uuid::Uuid;

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn rule(byte: u8) -> Moving {
    Moving { digest: digest(byte), kind: Kind::FraudRule, settings: digest(90), consent: digest(91) }
}

fn merchant() -> Scope {
    Scope::Merchant(MerchantId(Uuid::from_u128(7)))
}

/// The rows after these steps, each a component, a state and a share, at the scope of the platform.
#[track_caller]
fn after(steps: &[(u8, State, u16)]) -> Vec<Enablement> {
    steps.iter().fold(Vec::new(), |rows, (byte, to, share)| {
        moved(&rows, &Scope::Platform, &rule(*byte), *to, *share).unwrap_or_else(|error| panic!("{byte}: {error}"))
    })
}

fn standing(rows: &[Enablement]) -> Vec<(u8, State)> {
    rows.iter().map(|row| (row.digest.0[0], row.state)).collect()
}

#[test]
fn a_release_goes_through_shadow_and_canary_and_takes_over() {
    let rows = after(&[(1, State::Enabled, 0), (2, State::Shadow, 0), (2, State::Canary, 50), (2, State::Enabled, 0)]);
    assert_eq!(standing(&rows), [(1, State::Draining), (2, State::Enabled)]);
    assert_eq!(rows[1].replaced, Some(digest(1)));
    assert_eq!(rows[1].share, 0);
}

#[test]
fn a_rollback_is_one_step_and_can_be_taken_back_again_by_enabling() {
    let rows = after(&[(1, State::Enabled, 0), (2, State::Enabled, 0)]);
    let (rows, back) = rolled_back(&rows, &Scope::Platform, State::Disabled, |_| true).unwrap();
    assert_eq!(back, digest(1));
    assert_eq!(standing(&rows), [(1, State::Enabled), (2, State::Disabled)]);
    let rows = moved(&rows, &Scope::Platform, &rule(2), State::Enabled, 0).unwrap();
    assert_eq!(standing(&rows), [(1, State::Draining), (2, State::Enabled)]);
}

#[test]
fn a_rollback_passes_over_what_is_no_longer_good() {
    let rows = after(&[(1, State::Enabled, 0), (2, State::Enabled, 0), (3, State::Enabled, 0)]);
    let (rows, back) = rolled_back(&rows, &Scope::Platform, State::Disabled, |digest| digest.0[0] != 2).unwrap();
    assert_eq!(back, digest(1));
    assert_eq!(standing(&rows), [(1, State::Enabled), (2, State::Draining), (3, State::Disabled)]);
    let first = after(&[(1, State::Enabled, 0)]);
    assert_eq!(rolled_back(&first, &Scope::Platform, State::Disabled, |_| true), Err(MoveRefused::NothingBefore));
}

#[test]
fn a_quarantine_returns_to_the_last_good_release() {
    let rows = after(&[(1, State::Enabled, 0), (2, State::Enabled, 0)]);
    assert_eq!(standing(&quarantined(&rows, digest(2), |_| true)), [(1, State::Enabled), (2, State::Quarantined)]);
    assert_eq!(standing(&quarantined(&rows, digest(2), |_| false)), [(1, State::Draining), (2, State::Quarantined)]);
    // What is only tried returns to nothing: what is enabled was so all the time.
    let rows = after(&[(1, State::Enabled, 0), (2, State::Shadow, 0)]);
    assert_eq!(standing(&quarantined(&rows, digest(2), |_| true)), [(1, State::Enabled), (2, State::Quarantined)]);
}

#[test]
fn a_rollback_leads_out_of_a_quarantine_as_well() {
    let rows = after(&[(1, State::Enabled, 0), (2, State::Enabled, 0), (1, State::Disabled, 0)]);
    let rows = quarantined(&rows, digest(2), |_| false);
    let (rows, back) = rolled_back(&rows, &Scope::Platform, State::Disabled, |_| true).unwrap();
    assert_eq!((back, standing(&rows)), (digest(1), vec![(1, State::Enabled), (2, State::Quarantined)]));
}

#[test]
fn what_was_quarantined_is_disabled_before_it_is_tried_again() {
    let rows = quarantined(&after(&[(1, State::Enabled, 0)]), digest(1), |_| true);
    let again = moved(&rows, &Scope::Platform, &rule(1), State::Enabled, 0).unwrap_err();
    assert!(again.to_string().contains("then disable it"), "{again}");
    let rows = moved(&rows, &Scope::Platform, &rule(1), State::Disabled, 0).unwrap();
    let rows = moved(&rows, &Scope::Platform, &rule(1), State::Enabled, 0).unwrap();
    assert_eq!(standing(&rows), [(1, State::Enabled)]);
}

#[test]
fn at_most_two_releases_are_live_at_whatever_scopes() {
    let rows = after(&[(1, State::Enabled, 0), (2, State::Canary, 10)]);
    let third = moved(&rows, &merchant(), &rule(3), State::Shadow, 0).unwrap_err();
    assert!(matches!(third, MoveRefused::TooMany(..)), "{third}");
    let taken = moved(&rows, &Scope::Platform, &rule(3), State::Shadow, 0).unwrap_err();
    assert!(matches!(taken, MoveRefused::Taken { state: State::Canary, .. }), "{taken}");
    let rows = moved(&rows, &merchant(), &rule(2), State::Enabled, 0).unwrap();
    assert_eq!(standing(&rows), [(1, State::Enabled), (2, State::Canary), (2, State::Enabled)]);
}

#[test]
fn a_flow_is_not_shadowed_and_a_share_is_neither_nothing_nor_all() {
    let channel = Moving { kind: Kind::ChargeChannel, ..rule(1) };
    let shadow = moved(&[], &Scope::Platform, &channel, State::Shadow, 0);
    assert_eq!(shadow, Err(MoveRefused::NoShadow(Kind::ChargeChannel)));
    for share in [0, 1_000] {
        assert_eq!(moved(&[], &Scope::Platform, &rule(1), State::Canary, share), Err(MoveRefused::Share));
    }
}

#[test]
fn no_way_leads_backwards() {
    for (from, to) in [
        (State::Enabled, State::Shadow),
        (State::Enabled, State::Canary),
        (State::Disabled, State::Draining),
        (State::Disabled, State::Quarantined),
        (State::Enabled, State::Uploaded),
        (State::Enabled, State::Removed),
    ] {
        let rows = after(&[(1, from, 0)]);
        let refused = moved(&rows, &Scope::Platform, &rule(1), to, 10);
        assert!(matches!(refused, Err(MoveRefused::NoWay { .. })), "{from:?} {to:?}: {refused:?}");
    }
}

#[test]
fn a_trial_at_a_merchant_leaves_nothing_behind() {
    let rows = moved(&[], &merchant(), &rule(1), State::Canary, 10).unwrap();
    assert_eq!(moved(&rows, &merchant(), &rule(1), State::Disabled, 0).unwrap(), []);
    let rows = moved(&[], &merchant(), &rule(1), State::Disabled, 0).unwrap();
    assert_eq!(standing(&rows), [(1, State::Disabled)], "switched off there on purpose");
}

#[test]
fn the_same_person_falls_into_the_same_share_and_a_larger_one_only_adds() {
    let people: Vec<[u8; 4]> = (0..10_000_u32).map(u32::to_be_bytes).collect();
    let within = |share| people.iter().filter(|person| falls_into(digest(1), &person[..], share)).count();
    assert_eq!(within(0), 0);
    assert_eq!(within(1_000), people.len());
    let tenth = within(100);
    assert!((850..1_150).contains(&tenth), "{tenth}");
    for person in &people {
        assert!(!falls_into(digest(1), person, 100) || falls_into(digest(1), person, 101));
    }
    assert!(people.iter().any(|person| falls_into(digest(1), person, 100) != falls_into(digest(2), person, 100)));
}

#[test]
fn the_narrowest_scope_that_says_something_decides() {
    let one = |byte| PluginInForce { kind: Kind::FraudRule, digest: digest(byte), settings: digest(90) };
    let mut policy = Policy::default();
    let scopes = policy.live.entry("rule".into()).or_default();
    let trial = Some(Canary { version: one(2), share: 1_000 });
    scopes.insert(Scope::Platform, Live { stable: Stable::On(one(1)), canary: None, shadow: Some(one(4)) });
    let everywhere = [Scope::Platform];
    let there = [merchant(), Scope::Platform];
    let chosen = |policy: &Policy, chain: &[Scope]| policy.chosen("rule", chain, b"hana").map(|it| it.digest);
    assert_eq!(chosen(&policy, &there), Some(digest(1)), "nothing is said of the merchant");
    let live = Live { stable: Stable::Unsaid, canary: trial, shadow: None };
    policy.live.entry("rule".into()).or_default().insert(merchant(), live);
    assert_eq!(chosen(&policy, &there), Some(digest(2)), "everybody falls into the whole");
    assert_eq!(chosen(&policy, &everywhere), Some(digest(1)));
    let off = Live { stable: Stable::Off, canary: None, shadow: None };
    policy.live.entry("rule".into()).or_default().insert(merchant(), off);
    assert_eq!(chosen(&policy, &there), None);
    assert_eq!(policy.shadows(Kind::FraudRule, &there).map(|(.., it)| it.digest).collect::<Vec<_>>(), [digest(4)]);
    assert_eq!(policy.shadows(Kind::ChargeChannel, &there).count(), 0);
}

#[test]
fn a_scope_is_read_as_it_is_written() {
    let MerchantId(id) = MerchantId(Uuid::from_u128(7));
    let store = Scope::Store(MerchantId(id), "ginza-2".into());
    for scope in [Scope::Platform, merchant(), store] {
        assert_eq!(scope.to_string().parse(), Ok(scope));
    }
    for text in
        ["", "everywhere", "mer_7", "mer_00000000000000000000000000000007/", "mer_00000000000000000000000000000007/a b"]
    {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
}

#[test]
fn versions_are_compared_as_numbers() {
    assert!(version_numbers("1.10.0") > version_numbers("1.9.9"));
    assert_eq!(version_numbers("1.0"), None);
    assert_eq!(version_numbers("1.0.0.0"), None);
}
