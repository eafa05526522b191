//! Flows, their inboxes, and partners' calls.

use koban_domain::accounts::PluginKey;
use koban_domain::flows::{Arrival, CallKey, StepCommit, Stuck};
use koban_domain::guest::{HttpAnswer, InboundCall, Message, Standing, What};
use koban_domain::ids::{FlowId, UserId};
use koban_domain::ledger::{Command, Expect, Unexpected};
use koban_domain::manifest::Beginning;
use koban_store::flows::Which;
use koban_store::inbound::{Delivered, InboundRow};
use koban_store::{flows, inbound};

use crate::harness::*;

#[tokio::test]
async fn a_flow_reads_back_as_it_was_committed_and_is_listed_by_user_plugin_and_standing() {
    on_each(async |store| {
        let (one, two) = (UserId(uuid(1)), UserId(uuid(2)));
        let mut expected = Vec::new();
        for (number, user, plugin) in [(10, one, "a"), (11, one, "b"), (12, two, "a"), (13, two, "a")] {
            let mut flow = flow_of(number, user, plugin);
            match number {
                11 => flow.standing = Standing::Done,
                12 => flow.stuck = Some(Stuck { reason: "it trapped".into(), since: NOON }),
                _ => {}
            }
            expected.push(take(store, number, opening(&flow)).await);
        }
        assert_eq!(flows::by_id(store, FlowId(uuid(12))).await.unwrap().as_ref(), Some(&expected[2]));
        assert_eq!(flows::by_id(store, FlowId(uuid(99))).await.unwrap(), None);
        let listed = async |which, plugin| -> Vec<u128> {
            let page = flows::list(store, which, plugin, None, 10).await.unwrap();
            page.iter().map(|flow| flow.id.0.as_u128()).collect()
        };
        assert_eq!(listed(Which::All, None).await, [13, 12, 11, 10]);
        assert_eq!(listed(Which::All, Some("a")).await, [13, 12, 10]);
        assert_eq!(listed(Which::Open, None).await, [13, 12, 10]);
        assert_eq!(listed(Which::Open, Some("b")).await, [] as [u128; 0]);
        assert_eq!(listed(Which::Stuck, None).await, [12]);
        assert_eq!(listed(Which::Stuck, Some("b")).await, [] as [u128; 0]);
        let page = flows::list(store, Which::All, None, Some(FlowId(uuid(12))), 1).await.unwrap();
        assert_eq!(page[0].id, FlowId(uuid(11)));
        let mine = flows::by_user(store, one, Beginning::Charge, None, 10).await.unwrap();
        assert_eq!(mine, [expected[1].clone(), expected[0].clone()]);
    })
    .await;
}

#[tokio::test]
async fn events_are_given_one_after_the_other_and_numbered_by_the_flow() {
    on_each(async |store| {
        let flow = take(store, 1, opening(&flow_of(10, UserId(uuid(1)), PLUGIN))).await;
        assert_eq!(flows::next_event(store, &flow).await.unwrap(), None);
        let first = flows::arrive(store, &arrival(flow.id, "a")).await.unwrap();
        let second = flows::arrive(store, &arrival(flow.id, "b")).await.unwrap();
        assert!(second > first);

        let event = flows::next_event(store, &flow).await.unwrap().unwrap();
        assert_eq!((event.place, event.event.number, event.event.key.as_str()), (first, 1, "a"));
        // As long as no step has consumed it, it is the next one.
        assert_eq!(flows::next_event(store, &flow).await.unwrap(), Some(event.clone()));

        let mut step = step_of(&flow);
        step.consumed = vec![first];
        step.flow.events = 1;
        let flow = take(store, 2, step).await;
        let event = flows::next_event(store, &flow).await.unwrap().unwrap();
        assert_eq!((event.place, event.event.number, event.event.what), (second, 2, What::Rang));

        // An operator sees both: what was consumed has its number for ever.
        let events = flows::events(store, flow.id, 0, 10).await.unwrap();
        let seen: Vec<_> = events.iter().map(|event| (event.place, event.key.as_str(), event.number)).collect();
        assert_eq!(seen, [(first, "a", Some(1)), (second, "b", None)]);
        assert_eq!(flows::events(store, flow.id, first, 10).await.unwrap(), events[1..]);
    })
    .await;
}

#[tokio::test]
async fn flows_with_waiting_events_are_found_after_a_restart_unless_they_wait_for_an_operator() {
    on_each(async |store| {
        let user = UserId(uuid(1));
        let first = take(store, 1, opening(&flow_of(10, user, PLUGIN))).await;
        let second = take(store, 2, opening(&flow_of(11, user, PLUGIN))).await;
        let mut stuck = flow_of(12, user, PLUGIN);
        stuck.stuck = Some(Stuck { reason: "it trapped".into(), since: NOON });
        let stuck = take(store, 3, opening(&stuck)).await;
        take(store, 4, opening(&flow_of(13, user, PLUGIN))).await;
        for flow in [&second, &stuck, &first, &second] {
            flows::arrive(store, &arrival(flow.id, "a")).await.unwrap();
        }
        let waiting = flows::with_waiting_events(store, 0, 10).await.unwrap();
        assert_eq!(waiting.iter().map(|(_, flow)| *flow).collect::<Vec<_>>(), [second.id, first.id]);
        let rest = flows::with_waiting_events(store, waiting[0].0, 10).await.unwrap();
        assert_eq!(rest, waiting[1..]);
        assert_eq!(flows::with_waiting_events(store, 0, 1).await.unwrap(), waiting[..1]);

        let backlog = flows::backlog(store, NOON).await.unwrap();
        assert_eq!((backlog.open, backlog.stuck, backlog.events), (4, 1, 4));
        assert_eq!(backlog.oldest_event_at, Some(NOON));
        assert_eq!((backlog.effects, backlog.oldest_due_at), (0, None));
    })
    .await;
}

fn call(correlation: &str) -> InboundRow {
    let plugin = PluginKey::of(PLUGIN);
    let made = InboundCall {
        endpoint: "network".into(),
        operation: "deposit".into(),
        path: String::new(),
        query: vec![],
        body: b"body".to_vec(),
    };
    InboundRow {
        key: CallKey::of(plugin, &made, correlation),
        plugin,
        operation: "deposit".into(),
        correlation: correlation.into(),
        at: NOON,
    }
}

fn message(flow: FlowId) -> Arrival {
    let message = Message { operation: "deposit".into(), path: String::new(), query: vec![], body: b"body".to_vec() };
    Arrival { what: What::Message(message), ..arrival(flow, "deposit") }
}

fn answer(status: u16) -> HttpAnswer {
    HttpAnswer { status, headers: vec![("content-type".into(), "text/plain".into())], body: b"ok".to_vec() }
}

#[tokio::test]
async fn the_same_call_is_delivered_once_and_gets_the_reply_that_its_step_gave() {
    on_each(async |store| {
        let flow = take(store, 1, opening(&flow_of(10, UserId(uuid(1)), PLUGIN))).await;
        assert_eq!(inbound::find_call(store, call("s1").key).await.unwrap(), None);
        let Delivered::First(place) = inbound::deliver(store, &call("s1"), &message(flow.id)).await.unwrap() else {
            panic!("it came for the first time");
        };
        let Delivered::Again(stored) = inbound::deliver(store, &call("s1"), &message(flow.id)).await.unwrap() else {
            panic!("it came before");
        };
        assert_eq!((stored.call, stored.delivered, stored.reply), (call("s1"), Some((flow.id, place)), None));

        let event = flows::next_event(store, &flow).await.unwrap().unwrap();
        assert_eq!((event.place, event.call), (place, Some(call("s1").key)));
        let mut step = step_of(&flow);
        step.consumed = vec![place];
        step.flow.events = 1;
        step.replies = vec![(call("s1").key, answer(200))];
        let flow = take(store, 2, step).await;
        assert_eq!(flows::next_event(store, &flow).await.unwrap(), None);
        let stored = inbound::find_call(store, call("s1").key).await.unwrap().unwrap();
        assert_eq!(stored.reply, Some(answer(200)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_call_at_the_same_time_is_delivered_once() {
    on_each(async |store| {
        let flow = take(store, 1, opening(&flow_of(10, UserId(uuid(1)), PLUGIN))).await.id;
        let deliveries: Vec<_> = (0..12)
            .map(|_| {
                let store = store.store.clone();
                tokio::spawn(async move { inbound::deliver(&store, &call("s1"), &message(flow)).await.unwrap() })
            })
            .collect();
        let mut first = 0;
        for delivery in deliveries {
            match delivery.await.unwrap() {
                Delivered::First(_) => first += 1,
                Delivered::Again(stored) => assert!(stored.delivered.is_some()),
            }
        }
        assert_eq!(first, 1);
        assert_eq!(flows::backlog(store, NOON).await.unwrap().events, 1);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_no_flow_got_keeps_its_first_answer() {
    on_each(async |store| {
        let kept = inbound::store_answer(store, &call("s1"), &answer(200)).await.unwrap();
        assert_eq!(kept, Some(answer(200)));
        let kept = inbound::store_answer(store, &call("s1"), &answer(404)).await.unwrap();
        assert_eq!(kept, Some(answer(200)));
        let flow = FlowId(uuid(10));
        let Delivered::Again(stored) = inbound::deliver(store, &call("s1"), &message(flow)).await.unwrap() else {
            panic!("it was answered");
        };
        assert_eq!((stored.delivered, stored.reply), (None, Some(answer(200))));
        assert_eq!(flows::backlog(store, NOON).await.unwrap().events, 0);
        // A flow has this one; its reply is still to come.
        inbound::deliver(store, &call("s2"), &message(flow)).await.unwrap();
        assert_eq!(inbound::store_answer(store, &call("s2"), &answer(404)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_correlation_belongs_to_the_first_flow_or_to_nobody_for_ever() {
    on_each(async |store| {
        let plugin = PluginKey::of(PLUGIN);
        let flow = flow_of(10, UserId(uuid(1)), PLUGIN);
        let expect = Command::Expect(Expect { plugin, correlation: "s1".into(), flow: flow.id, key: "deposit".into() });
        let nobody = Command::Unexpected(Unexpected { plugin, correlation: "s2".into() });
        commit(store, &[work(1, vec![expect]), work(2, vec![nobody])], NOON).await;
        let expectation = inbound::expectation(store, plugin, "s1").await.unwrap().unwrap();
        assert_eq!((expectation.flow, expectation.key.as_str()), (Some(flow.id), "deposit"));
        assert_eq!(inbound::expectation(store, plugin, "s2").await.unwrap().unwrap().flow, None);
        assert_eq!(inbound::expectation(store, plugin, "s3").await.unwrap(), None);
        assert_eq!(inbound::expectation(store, PluginKey::of("other"), "s1").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn events_that_arise_in_a_step_wait_behind_those_that_came_before() {
    on_each(async |store| {
        let flow = flow_of(10, UserId(uuid(1)), PLUGIN);
        let step = StepCommit { arrivals: vec![arrival(flow.id, "at-once")], ..opening(&flow) };
        let flow = take(store, 1, step).await;
        flows::arrive(store, &arrival(flow.id, "later")).await.unwrap();
        let event = flows::next_event(store, &flow).await.unwrap().unwrap();
        assert_eq!(event.event.key, "at-once");
    })
    .await;
}
