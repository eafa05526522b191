//! Effects: who may perform one, and who may say how it ended.

use std::collections::HashSet;

use koban_domain::flows::StepCommit;
use koban_domain::manifest::Repeat;
use koban_store::flows;
use koban_store::flows::LeasedEffect;

use crate::harness::*;

const LEASE_MS: i64 = 30 * SECOND;

fn keys(leased: &[LeasedEffect]) -> Vec<&str> {
    leased.iter().map(|leased| leased.effect.key.as_str()).collect()
}

#[tokio::test]
async fn effects_are_leased_when_their_time_has_come_oldest_first_and_to_one_alone() {
    on_each(async |store| {
        open_with_effects(store, 10, &["first", "second", "third"]).await;
        assert!(flows::lease_due(store, "a", NOON.plus_ms(-1), LEASE_MS, 10).await.unwrap().is_empty());
        let now = NOON.plus_ms(SECOND);
        let leased = flows::lease_due(store, "a", now, LEASE_MS, 10).await.unwrap();
        assert_eq!(keys(&leased), ["first", "second"]);
        let effect = &leased[0].effect;
        assert_eq!((effect.fence, effect.attempts, effect.repeat), (1, 0, Repeat::Never));
        assert_eq!(effect.leased_until, Some(now.plus_ms(LEASE_MS)));
        assert!(!leased[0].taken_over);
        assert!(flows::lease_due(store, "b", now, LEASE_MS, 10).await.unwrap().is_empty());
        let leased = flows::lease_due(store, "b", NOON.plus_ms(2 * SECOND), LEASE_MS, 10).await.unwrap();
        assert_eq!(keys(&leased), ["third"]);
    })
    .await;
}

#[tokio::test]
async fn a_lease_taken_over_has_a_higher_fence_and_the_old_one_has_lost_it() {
    on_each(async |store| {
        let flow = open_with_effects(store, 10, &["call"]).await;
        let old = flows::lease_due(store, "a", NOON, LEASE_MS, 1).await.unwrap().remove(0);
        assert!(flows::mark_attempt(store, &old.lease()).await.unwrap());

        let now = NOON.plus_ms(LEASE_MS);
        let new = flows::lease_due(store, "b", now, LEASE_MS, 1).await.unwrap().remove(0);
        assert!(new.effect.fence > old.effect.fence);
        assert!(new.taken_over);
        assert_eq!(new.effect.attempts, 1);

        assert!(!flows::mark_attempt(store, &old.lease()).await.unwrap());
        assert!(!flows::requeue(store, &old.lease(), now).await.unwrap());
        assert_eq!(flows::finish_effect(store, &old.lease(), &arrival(flow.id, "call")).await.unwrap(), None);
        assert_eq!(flows::next_event(store, &flow).await.unwrap(), None);

        let place = flows::finish_effect(store, &new.lease(), &arrival(flow.id, "call")).await.unwrap();
        let event = flows::next_event(store, &flow).await.unwrap().unwrap();
        assert_eq!((Some(event.place), event.event.key.as_str()), (place, "call"));
    })
    .await;
}

#[tokio::test]
async fn a_finished_effect_cannot_be_finished_or_leased_again() {
    on_each(async |store| {
        let flow = open_with_effects(store, 10, &["call"]).await;
        let leased = flows::lease_due(store, "a", NOON, LEASE_MS, 1).await.unwrap().remove(0);
        assert!(flows::finish_effect(store, &leased.lease(), &arrival(flow.id, "call")).await.unwrap().is_some());
        assert_eq!(flows::finish_effect(store, &leased.lease(), &arrival(flow.id, "call")).await.unwrap(), None);
        assert!(!flows::requeue(store, &leased.lease(), NOON).await.unwrap());
        assert!(flows::lease_due(store, "a", NOON.plus_ms(10 * LEASE_MS), LEASE_MS, 1).await.unwrap().is_empty());
        assert_eq!(flows::backlog(store, NOON).await.unwrap().events, 1);
        assert!(flows::open_effects(store, flow.id).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_effect_given_back_waits_for_its_new_time_and_is_nobodys_loss() {
    on_each(async |store| {
        let flow = open_with_effects(store, 10, &["call"]).await;
        let leased = flows::lease_due(store, "a", NOON, LEASE_MS, 1).await.unwrap().remove(0);
        assert!(flows::mark_attempt(store, &leased.lease()).await.unwrap());
        let due_at = NOON.plus_ms(5 * SECOND);
        assert!(flows::requeue(store, &leased.lease(), due_at).await.unwrap());
        assert_eq!(flows::next_due(store).await.unwrap(), Some(due_at));
        assert!(flows::lease_due(store, "a", NOON, LEASE_MS, 1).await.unwrap().is_empty());
        let again = flows::lease_due(store, "b", due_at, LEASE_MS, 1).await.unwrap().remove(0);
        assert_eq!((again.taken_over, again.effect.attempts, again.effect.fence), (false, 1, 2));
        assert_eq!(flows::next_due(store).await.unwrap(), Some(due_at.plus_ms(LEASE_MS)));
        assert_eq!(flows::open_effects(store, flow.id).await.unwrap(), [again.effect]);
    })
    .await;
}

#[tokio::test]
async fn an_effect_that_its_flow_took_back_may_not_leave_any_more() {
    on_each(async |store| {
        let flow = open_with_effects(store, 10, &["call"]).await;
        let leased = flows::lease_due(store, "a", NOON, LEASE_MS, 1).await.unwrap().remove(0);
        let step = StepCommit { cancelled: vec!["call".into()], ..step_of(&flow) };
        let flow = take(store, 11, step).await;
        assert!(!flows::mark_attempt(store, &leased.lease()).await.unwrap());
        assert_eq!(flows::finish_effect(store, &leased.lease(), &arrival(flow.id, "call")).await.unwrap(), None);
        assert!(flows::lease_due(store, "b", NOON.plus_ms(10 * LEASE_MS), LEASE_MS, 1).await.unwrap().is_empty());
        assert_eq!(flows::next_due(store).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_lease_at_once_never_get_the_same_effect() {
    on_each(async |store| {
        let names: Vec<String> = (0..15).map(|number| format!("call-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for number in 10..14 {
            open_with_effects(store, number, &names).await;
        }
        let now = NOON.plus_ms(60 * SECOND);
        let hosts: Vec<_> = (0..6)
            .map(|host| {
                let store = store.store.clone();
                tokio::spawn(async move {
                    let mut mine = Vec::new();
                    for _ in 0..100 {
                        let leased = flows::lease_due(&store, &host.to_string(), now, LEASE_MS, 3).await.unwrap();
                        mine.extend(leased.into_iter().map(|leased| (leased.effect.flow, leased.effect.key)));
                    }
                    mine
                })
            })
            .collect();
        let mut seen = HashSet::new();
        for host in hosts {
            for effect in host.await.unwrap() {
                assert!(seen.insert(effect.clone()), "{effect:?} was leased twice");
            }
        }
        assert_eq!(seen.len(), 4 * 15);
        assert_eq!(flows::backlog(store, now).await.unwrap().effects, 60);
    })
    .await;
}
