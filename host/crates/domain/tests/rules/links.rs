//! Links: saved by a flow, ended by their user, and told of new rows by one flow at a time, each row once.

use koban_domain::accounts::PluginKey;
use koban_domain::guest::{Lost, SavedLink, What};
use koban_domain::ids::UserId;
use koban_domain::ledger::{Command, Decided, Work};
use koban_domain::links::{Begin, End, EndedBy, Finish, LINKS_MAX, Link, LinkKey, OfLink, Save, UnderWay};
use koban_domain::money::Currency;
use koban_domain::outcomes::Refusal;

use crate::world::{DAY_MS, HANAKO, NOON, TARO, World, flow};

const PLUGIN: &str = "budget-live";

fn key(number: u128) -> LinkKey {
    LinkKey { plugin: PluginKey::of(PLUGIN), reference: format!("account-{number}") }
}

fn of(command: OfLink) -> Command {
    Command::Link(Box::new(command))
}

/// The link of this number lasts a year and rests on one consent.
pub(crate) fn save(number: u128, user: UserId) -> Command {
    let link = SavedLink {
        reference: key(number).reference,
        kind: "app".into(),
        label: "Household *1".into(),
        data: vec![1, 2],
        expires: None,
    };
    of(OfLink::Save(Save {
        plugin: PLUGIN.into(),
        link,
        expires_at: NOON.plus_ms(365 * DAY_MS),
        user,
        consents: vec!["app".into()],
        flow: flow(900),
        effect: "save".into(),
    }))
}

/// Flow 901 takes five rows along.
pub(crate) fn begin(number: u128, after: i64, until: i64) -> Command {
    let rows = UnderWay { flow: flow(901), currency: Currency::JPY, until, rows: 5 };
    of(OfLink::Begin(Begin { link: key(number), after, rows }))
}

pub(crate) fn finish(taken: bool) -> Command {
    of(OfLink::Finish(Finish { link: key(1), flow: flow(901), taken }))
}

pub(crate) fn end(number: u128, user: UserId) -> Command {
    of(OfLink::End(End { link: key(number), user, by: EndedBy::User }))
}

impl World {
    fn link(&self, number: u128) -> Link {
        self.shelf.books.links.get(&key(number)).expect("a link").clone()
    }

    fn linked() -> World {
        let mut world = World::new();
        world.does(save(1, TARO)).unwrap();
        world
    }

    /// What the saving flow is told, if it is refused.
    fn told(&mut self, command: Command) -> Option<String> {
        let work = Work { commands: vec![command], ..self.work() };
        let (decided, commit) = self.commit(work);
        assert!(matches!(decided, Decided::Done(_)), "{decided:?}");
        commit.arrivals.into_iter().next().map(|arrival| match arrival.what {
            What::Lost(Lost::Refused, why) => why,
            other => panic!("{other:?}"),
        })
    }
}

#[test]
fn rows_count_as_sent_when_their_flow_ended_well_and_then_only() {
    let mut world = World::linked();
    assert_eq!(world.link(1).told_of(Currency::JPY), 0);
    world.does(begin(1, 0, 9)).unwrap();
    assert_eq!(world.does(begin(1, 0, 9)), Err(Refusal::LinkNotReady), "one flow at a time");
    world.does(finish(false)).unwrap();
    let link = world.link(1);
    assert_eq!((link.told_of(Currency::JPY), link.failures, link.rows), (0, 1, 0));
    assert_eq!(link.due_at, NOON.plus_ms(60_000), "it rests");
    world.does(begin(1, 0, 9)).unwrap();
    world.does(finish(true)).unwrap();
    let link = world.link(1);
    assert_eq!((link.told_of(Currency::JPY), link.failures, link.rows), (9, 0, 5));
    assert_eq!(link.due_at, NOON, "there may be more");
    assert_eq!(world.does(begin(1, 0, 9)), Err(Refusal::LinkNotReady), "nothing is taken along twice");
    world.does(finish(true)).unwrap();
    assert_eq!(world.link(1).rows, 5, "a flow ends once");
}

#[test]
fn pauses_double_up_to_six_hours() {
    let mut world = World::linked();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        world.does(begin(1, 0, 9)).unwrap();
        world.does(finish(false)).unwrap();
        pauses.push(world.link(1).due_at.since_ms(NOON) / 60_000);
    }
    assert_eq!(pauses[..4], [1, 2, 4, 8]);
    assert_eq!(pauses[8..], [256, 360, 360, 360]);
}

#[test]
fn nothing_goes_to_a_link_that_is_over() {
    let mut world = World::linked();
    world.does(end(1, HANAKO)).unwrap();
    assert_eq!(world.link(1).ended, None, "another's link stays as it is");
    world.does(end(1, TARO)).unwrap();
    assert_eq!(world.link(1).ended, Some((NOON, EndedBy::User)));
    assert_eq!(world.does(begin(1, 0, 9)), Err(Refusal::LinkNotReady));
    assert_eq!(world.does(begin(2, 0, 9)), Err(Refusal::LinkNotReady), "nobody saved this one");
    let mut old = World::linked();
    old.now = NOON.plus_ms(365 * DAY_MS);
    old.does(begin(1, 0, 9)).unwrap();
    old.does(finish(true)).unwrap();
    old.now = NOON.plus_ms(365 * DAY_MS + 1);
    assert_eq!(old.does(begin(1, 9, 10)), Err(Refusal::LinkNotReady), "it has run out");
}

#[test]
fn erasing_leaves_nothing_of_what_was_kept_of_a_user_and_ends_what_holds() {
    let erased = |number| of(OfLink::End(End { link: key(number), user: TARO, by: EndedBy::Erasure }));
    let mut world = World::linked();
    world.does(save(2, TARO)).unwrap();
    world.does(end(2, TARO)).unwrap();
    for number in [1, 2] {
        world.does(erased(number)).unwrap();
        let link = world.link(number);
        assert_eq!((link.label.as_str(), link.data.as_slice()), ("", &[][..]));
    }
    assert_eq!(world.link(1).ended, Some((NOON, EndedBy::Erasure)));
    assert_eq!(world.link(2).ended, Some((NOON, EndedBy::User)), "why it ended stays");
}

#[test]
fn a_flow_that_is_under_way_when_its_link_ends_still_says_what_became_of_its_rows() {
    let mut world = World::linked();
    world.does(begin(1, 0, 9)).unwrap();
    world.does(end(1, TARO)).unwrap();
    world.does(finish(true)).unwrap();
    assert_eq!((world.link(1).rows, world.link(1).under_way), (5, None));
}

#[test]
fn a_reference_is_one_users_and_a_user_has_so_many_links() {
    let mut world = World::linked();
    assert_eq!(world.told(save(1, HANAKO)).as_deref(), Some("this reference is another user's link"));
    assert_eq!(world.link(1).user, TARO);
    for number in 2..=20 {
        assert_eq!(world.told(save(number, TARO)), None);
    }
    assert_eq!(LINKS_MAX, 20);
    let many = "the user has as many links with this plugin as there may be";
    assert_eq!(world.told(save(21, TARO)).as_deref(), Some(many));
    assert_eq!(world.told(save(20, TARO)), None, "one that is there may be renewed");
    world.does(end(3, TARO)).unwrap();
    assert_eq!(world.told(save(21, TARO)), None);
    assert_eq!(world.told(save(22, HANAKO)), None, "others have links of their own");
}

#[test]
fn what_is_renewed_goes_on_and_what_had_ended_begins_anew() {
    let mut world = World::linked();
    world.does(begin(1, 0, 9)).unwrap();
    world.does(finish(true)).unwrap();
    world.now = NOON.plus_ms(DAY_MS);
    world.does(save(1, TARO)).unwrap();
    let link = world.link(1);
    assert_eq!((link.since, link.told_of(Currency::JPY), link.consents), (NOON, 9, vec!["app".to_owned()]));
    world.charge(TARO, 100, "r1").unwrap();
    world.does(end(1, TARO)).unwrap();
    world.does(save(1, TARO)).unwrap();
    let link = world.link(1);
    assert_eq!((link.since, link.told_of(Currency::JPY), link.ended), (NOON.plus_ms(DAY_MS), 1, None));
    assert_eq!(link.id, key(1).id(), "its id stays");
}
