//! Links in flows: what a flow may save and drop, on which consents that rests, and what becomes of the rows that a flow takes along.

use koban_domain::flows::{self, Authorisation, Closing, Consumed, Flow, Linking, Plan, Resolution, StepRefused};
use koban_domain::guest::{Act, Effect, Event, SavedLink, Show, Standing, Step, What};
use koban_domain::ledger::Command;
use koban_domain::links::{EndedBy, LinkKey, OfLink};
use koban_domain::manifest::{Beginning, CredentialKind, Kind, LinkSpec, Manifest, Words};
use koban_domain::money::Money;
use koban_domain::records::Digest;

use crate::flows::{effect, step};
use crate::world::{DAY_MS, NOON, TARO, atm, flow};

fn manifest() -> Manifest {
    let mut manifest = crate::flows::manifest();
    let about = Words { ja: "家計簿".into(), en: "budgeting".into() };
    manifest.kind = Kind::BudgetLink;
    manifest.proposals.clear();
    manifest.links = vec![LinkSpec { name: "app".into(), about, days_max: 30, mandate: false }];
    manifest.endpoints[0].credential = CredentialKind::OauthUser;
    manifest
}

fn opened(beginning: Beginning) -> Flow {
    let authorisation = Authorisation { user: TARO, at_most: Money::yen(0), expires_at: NOON.plus_ms(300_000) };
    let runs_on = (Digest::of(b"component"), Digest::of(b"settings"));
    let opened = Flow::open(flow(1), "charge-atm", runs_on, beginning, authorisation, "ja", NOON);
    let link = LinkKey { plugin: atm(), reference: "acc-1".into() };
    Flow { linking: Linking { link: Some(link), ..Linking::default() }, ..opened }
}

fn begun(flow: &Flow, effects: Vec<Effect>) -> Result<Plan, StepRefused> {
    flows::advance(flow, None, Step { effects, ..step(Standing::WaitingForUser) }, &manifest(), NOON)
}

fn resumed(flow: &Flow, (key, what): (&str, What), next: Step) -> Plan {
    let event = Event { number: flow.events + 1, key: key.into(), what };
    let consumed = Consumed { place: 1, event, call: None };
    flows::advance(flow, Some(&consumed), next, &manifest(), NOON).unwrap()
}

fn save(kind: &str, reference: &str, expires: Option<u64>) -> Act {
    let (reference, kind, label) = (reference.to_owned(), kind.to_owned(), "Household".to_owned());
    Act::SaveLink(SavedLink { reference, kind, label, data: vec![], expires })
}

fn only_link(commands: &[Command]) -> &OfLink {
    match commands {
        [Command::Link(link)] => link,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_link_rests_on_what_its_user_agreed_to_in_the_flow_that_saves_it() {
    let asks =
        begun(&opened(Beginning::LinkAccount), vec![effect("agree", Act::Show(Show::Consent("network".into())))]);
    let asking = asks.unwrap().step.flow;
    assert!(matches!(asking.shown().next(), Some(("agree", Show::Consent(endpoint))) if endpoint == "network"));
    let saves = Step { effects: vec![effect("save", save("app", "acc-1", None))], ..step(Standing::Done) };
    let plan = resumed(&asking, ("agree", What::Agreed), saves);
    let OfLink::Save(saved) = only_link(&plan.commands) else { panic!("{:?}", plan.commands) };
    assert_eq!((saved.consents.as_slice(), saved.user), (&["network".to_owned()][..], TARO));
    assert!(plan.step.arrivals.is_empty() && plan.step.queued.is_empty(), "nothing comes of it");
    assert!(plan.step.flow.shown().next().is_none(), "the user has agreed");
}

#[test]
fn a_link_lasts_as_long_as_its_kind_at_most() {
    let at = |days: i64| u64::try_from(NOON.plus_ms(days * DAY_MS).0).unwrap();
    for (asked, lasts) in [(None, 30), (Some(at(7)), 7), (Some(at(31)), 30), (Some(u64::MAX), 30)] {
        let plan = begun(&opened(Beginning::LinkAccount), vec![effect("save", save("app", "acc-1", asked))]).unwrap();
        let OfLink::Save(saved) = only_link(&plan.commands) else { panic!("{:?}", plan.commands) };
        assert_eq!(saved.expires_at, NOON.plus_ms(lasts * DAY_MS), "{asked:?}");
    }
}

#[test]
fn links_that_no_manifest_has_and_consents_where_nobody_agrees_break_a_rule() {
    let mut plain = manifest();
    plain.endpoints[0].credential = CredentialKind::Bearer;
    let consent = |endpoint: &str| vec![effect("agree", Act::Show(Show::Consent(endpoint.into())))];
    for (effects, manifest) in [
        (vec![effect("save", save("bank", "acc-1", None))], manifest()),
        (vec![effect("save", save("app", "", None))], manifest()),
        (vec![effect("drop", Act::DropLink("x".repeat(201)))], manifest()),
        (consent("elsewhere"), manifest()),
        (consent("network"), plain),
    ] {
        let next = Step { effects, ..step(Standing::WaitingForUser) };
        let refused = flows::advance(&opened(Beginning::LinkAccount), None, next.clone(), &manifest, NOON);
        assert!(matches!(refused, Err(StepRefused::Broken(_))), "{next:?}");
    }
}

#[test]
fn a_link_that_is_dropped_ends_by_its_plugin_and_is_its_users_only() {
    let plan = begun(&opened(Beginning::Sync), vec![effect("gone", Act::DropLink("acc-1".into()))]).unwrap();
    let OfLink::End(end) = only_link(&plan.commands) else { panic!("{:?}", plan.commands) };
    assert_eq!((end.by, end.user, end.link.reference.as_str()), (EndedBy::Plugin, TARO, "acc-1"));
}

#[test]
fn the_end_of_a_flow_says_whether_its_rows_were_taken() {
    let going = begun(&opened(Beginning::Sync), vec![]).unwrap().step.flow;
    for (standing, taken) in [(Standing::Done, true), (Standing::Failed, false), (Standing::Cancelled, false)] {
        let plan = resumed(&going, ("", What::CancelAsked), step(standing));
        let OfLink::Finish(finish) = only_link(&plan.commands) else { panic!("{:?}", plan.commands) };
        assert_eq!((finish.taken, finish.flow), (taken, flow(1)), "{standing:?}");
        let after = resumed(&plan.step.flow, ("", What::CancelAsked), step(standing));
        assert!(after.commands.is_empty(), "it is said once");
    }
    let ended = flows::resolved(&going, &Resolution::End, Closing::default(), NOON).unwrap();
    let OfLink::Finish(finish) = only_link(&ended.commands) else { panic!("{:?}", ended.commands) };
    assert!(!finish.taken, "nobody knows that they were");
    let linking = begun(&opened(Beginning::LinkAccount), vec![]).unwrap().step.flow;
    assert!(resumed(&linking, ("", What::CancelAsked), step(Standing::Cancelled)).commands.is_empty());
}
