//! Partners that work in batches: records wait for their cut-off, a file is made once whatever happens, and what comes in is taken once.

use std::path::PathBuf;

use koban_domain::guest::{Named, Standing};
use koban_domain::ids::FlowId;
use koban_domain::records::Digest;
use koban_service::flows::partner_files::{self, Lying};
use koban_service::operators::command_line;
use koban_service::plugins;
use koban_store::audit::AuditFilter;
use koban_store::partner_files::{self as rows, PartnerFileRow, PartnerFileState, ReceivedRow};

use crate::house::House;

const PLUGIN: &str = "batch-channel";
/// 2026-04-01 is a Wednesday; the house stands at noon.
const NAME: &str = "requests-20260401-1500-000001.txt";
const TO_CUT_OFF_MS: i64 = 3 * 3_600_000;

async fn house() -> House {
    House::with_batches("good").await
}

fn inside(house: &House, way: &str) -> PathBuf {
    house.place.path().join("partners").join(PLUGIN).join("bank").join(way)
}

async fn files(house: &House) -> Vec<PartnerFileRow> {
    rows::list(&house.app.store, Some(PLUGIN), None, 100).await.unwrap()
}

async fn received(house: &House) -> Vec<ReceivedRow> {
    rows::list_received(&house.app.store, Some(PLUGIN), None, 100).await.unwrap()
}

/// The correlation of a charge, and how far it came by its own word.
async fn stage(house: &House, charge: FlowId) -> String {
    let flow = koban_store::flows::by_id(&house.app.store, charge).await.unwrap().unwrap();
    String::from_utf8_lossy(&flow.state).into_owned()
}

async fn queued(house: &House, yen: i64) -> FlowId {
    let charge = house.begin(yen).await.id;
    house
        .until_true("its record is in the file".to_owned(), async || stage(house, charge).await.contains("queued"))
        .await;
    charge
}

async fn until_written(house: &House) {
    for _ in 0..200 {
        if files(house).await.iter().any(|file| file.state == PartnerFileState::Written) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not written within 10 s: {:?}", files(house).await);
}

/// The correlations of a file that went out, in its order.
fn asked(content: &str) -> Vec<String> {
    content.lines().skip(1).map(|line| line.split(',').next().unwrap_or_default().to_owned()).collect()
}

async fn looked_at(house: &House) -> Result<Vec<PartnerFileRow>, koban_service::Error> {
    let app = &house.app;
    partner_files::look_at_written(&app.store, app.outside.directories(), app.clock.now()).await
}

fn put(house: &House, name: &str, content: &str) {
    std::fs::create_dir_all(inside(house, "in")).unwrap();
    std::fs::write(inside(house, "in").join(name), content).unwrap();
}

/// Looks are five seconds apart; a file is taken at the second one that finds it unchanged.
async fn until_received(house: &House, count: usize) -> Vec<ReceivedRow> {
    for _ in 0..6 {
        let known = received(house).await;
        if known.len() >= count {
            return known;
        }
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    }
    panic!("not {count} files: {:?}", received(house).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_for_their_cut_off_and_come_back_as_money() {
    let house = house().await;
    let (first, second) = (queued(&house, 1_000).await, queued(&house, 2_000).await);
    let [open] = files(&house).await.try_into().unwrap();
    assert_eq!((open.state, open.records, open.number), (PartnerFileState::Open, 2, None));
    assert!(!inside(&house, "out").join(NAME).exists(), "nothing leaves before the cut-off");
    house.clock.advance_ms(TO_CUT_OFF_MS);
    until_written(&house).await;
    let content = std::fs::read_to_string(inside(&house, "out").join(NAME)).unwrap();
    assert!(content.starts_with("requests 1 2\n"), "{content}");
    let [written] = files(&house).await.try_into().unwrap();
    assert_eq!((written.digest, written.number), (Some(Digest::of(content.as_bytes())), Some(1)));
    for charge in [first, second] {
        house
            .until_true("its flow is told the name".to_owned(), async || {
                stage(&house, charge).await.contains(&format!("sealed {NAME}"))
            })
            .await;
    }
    let late = queued(&house, 500).await;
    let next = files(&house).await;
    assert_eq!(
        next[0].key.cut_off.to_string(),
        "2026-04-02T00:30:00.000Z",
        "after the cut-off it is the next banking day's"
    );

    let asked = asked(&content);
    put(&house, "results-1.txt", &format!("{},1000,r-1\n{},2000,r-2\nc-nobody,5,r-3\nEND\n", asked[0], asked[1]));
    let known = until_received(&house, 1).await;
    assert_eq!((known[0].taken, known[0].records), (true, 2));
    assert!(known[0].note.as_deref().is_some_and(|note| note.contains("c-nobody")), "{known:?}");
    house.until(first, Standing::Done).await;
    house.until(second, Standing::Done).await;
    assert_eq!(house.balance().await, 3_000);
    assert_ne!(house.charge(late).await.standing, Standing::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_came_before_is_not_taken_again_and_half_a_file_never() {
    let mut house = house().await;
    let charge = queued(&house, 1_000).await;
    house.clock.advance_ms(TO_CUT_OFF_MS);
    until_written(&house).await;
    let content = std::fs::read_to_string(inside(&house, "out").join(NAME)).unwrap();
    let line = format!("{},1000,r-1\n", asked(&content)[0]);
    put(&house, "results-1.txt", &line);
    let half = until_received(&house, 1).await;
    assert_eq!((half[0].taken, half[0].note.as_deref()), (false, Some("unreadable: the file has no end")));
    put(&house, "results-1.txt", &format!("{line}END\n"));
    let whole = until_received(&house, 2).await;
    assert!(whole.iter().any(|file| file.taken && file.records == 1), "{whole:?}");
    house.until(charge, Standing::Done).await;
    put(&house, "results-again.txt", &format!("{line}END\n"));
    house.restart().await;
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    assert_eq!(
        received(&house).await.len(),
        2,
        "the same bytes under another name, and after a restart, are the same file"
    );
    assert_eq!(house.balance().await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_composed_file_is_never_made_anew_and_never_written_over_anothers() {
    let mut house = house().await;
    queued(&house, 1_000).await;
    std::fs::create_dir_all(inside(&house, "out")).unwrap();
    std::fs::write(inside(&house, "out").join(NAME), "somebody else's").unwrap();
    house.clock.advance_ms(TO_CUT_OFF_MS);
    house
        .until_true("it is composed and waits".to_owned(), async || {
            files(&house).await.iter().any(|file| file.state == PartnerFileState::Composed && file.note.is_some())
        })
        .await;
    let composed = files(&house).await[0].digest;
    assert_eq!(std::fs::read(inside(&house, "out").join(NAME)).unwrap(), b"somebody else's");
    // From here on the plugin could make nothing any more: the bytes are those that were fixed.
    let mood = [Named::text("mood", "unable")];
    plugins::set_settings(&house.app, &command_line("mood"), PLUGIN, &mood).await.unwrap();
    house.restart().await;
    std::fs::remove_file(inside(&house, "out").join(NAME)).unwrap();
    until_written(&house).await;
    let content = std::fs::read(inside(&house, "out").join(NAME)).unwrap();
    assert_eq!(Some(Digest::of(&content)), composed);
    let left: Vec<_> = std::fs::read_dir(inside(&house, "out")).unwrap().collect();
    assert_eq!(left.len(), 1, "no draft is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_between_two_steps_is_gone_on_with_by_whoever_comes_next() {
    let mut house = house().await;
    let charge = queued(&house, 1_000).await;
    house.stop_jobs().await;
    house.clock.advance_ms(TO_CUT_OFF_MS);
    let file = files(&house).await[0].id;
    let (store, now) = (house.app.store.clone(), house.clock.now());
    // Sealed, and the host gone: another one composes and writes.
    assert!(rows::seal(&store, file, None, now).await.unwrap());
    assert!(!rows::seal(&store, file, None, now).await.unwrap());
    // Composed by one host while another was at it: the first one's bytes stand.
    assert!(rows::compose(&store, file, b"requests 1\nfirst\n", now).await.unwrap());
    assert!(!rows::compose(&store, file, b"requests 1\nsecond\n", now).await.unwrap());
    // Written, and the host gone before it said so; with half of another host's draft beside it.
    std::fs::create_dir_all(inside(&house, "out")).unwrap();
    std::fs::write(inside(&house, "out").join(NAME), b"requests 1\nfirst\n").unwrap();
    std::fs::write(inside(&house, "out").join(".requests-20260401-1500-000001.txt.host-gone.part"), b"requests 1\nfi")
        .unwrap();
    house.restart().await;
    until_written(&house).await;
    assert_eq!(std::fs::read(inside(&house, "out").join(NAME)).unwrap(), b"requests 1\nfirst\n");
    house.until_true("the flow is told".to_owned(), async || stage(&house, charge).await.contains("sealed")).await;
    let told = house.sealed_events(charge).await;
    assert_eq!(told, 1, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_made_asks_an_operator_and_loses_nothing() {
    let house = House::with_batches("unable").await;
    let charge = queued(&house, 1_000).await;
    house.clock.advance_ms(TO_CUT_OFF_MS);
    house
        .until_true("it is refused".to_owned(), async || {
            files(&house).await.iter().any(|file| file.state == PartnerFileState::Refused)
        })
        .await;
    let refused = files(&house).await.remove(0);
    assert_eq!(refused.note.as_deref(), Some("unreadable: this file cannot be made"));
    let mood = [Named::text("mood", "good")];
    plugins::set_settings(&house.app, &command_line("mood"), PLUGIN, &mood).await.unwrap();
    partner_files::retry(&house.app, &command_line("again"), refused.id, "it is good now").await.unwrap();
    until_written(&house).await;
    house.until_true("the flow is told".to_owned(), async || stage(&house, charge).await.contains("sealed")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_make_one_file() {
    let mut house = house().await;
    for yen in [100, 200, 300] {
        queued(&house, yen).await;
    }
    house.stop_jobs().await;
    let another = house.another_host().await;
    let (one, other) = (koban_service::jobs::start(&house.app), koban_service::jobs::start(&another));
    house.clock.advance_ms(TO_CUT_OFF_MS);
    until_written(&house).await;
    let content = std::fs::read_to_string(inside(&house, "out").join(NAME)).unwrap();
    assert!(content.starts_with("requests 1 3\n"), "{content}");
    assert_eq!(std::fs::read_dir(inside(&house, "out")).unwrap().count(), 1);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_seals_early_sends_again_and_is_told_what_somebody_changed() {
    let house = house().await;
    let (app, ctx) = (&house.app, command_line("files"));
    queued(&house, 1_000).await;
    let id = files(&house).await[0].id;
    assert!(partner_files::send(app, &ctx, id, "too early").await.is_err());
    assert!(partner_files::content(app, &ctx, id).await.is_err());
    let sealed = partner_files::seal(app, &ctx, id, "the bank closes early today").await.unwrap();
    assert_eq!((sealed.row.number, sealed.row.name.as_str()), (Some(1), NAME));
    assert!(partner_files::seal(app, &ctx, id, "again").await.is_err());
    until_written(&house).await;
    // Before the cut-off, and yet the next record is in the next file, with the next number.
    queued(&house, 500).await;
    // The clock stands still: which of the two is listed first is chance.
    let next = files(&house).await.into_iter().find(|file| file.id != id).unwrap();
    assert_eq!(
        (next.state, next.key.cut_off.to_string().as_str()),
        (PartnerFileState::Open, "2026-04-02T00:30:00.000Z")
    );
    assert_eq!(partner_files::seal(app, &ctx, next.id, "once more").await.unwrap().row.number, Some(2));

    let path = inside(&house, "out").join(NAME);
    let written = std::fs::read(&path).unwrap();
    assert_eq!(partner_files::content(app, &ctx, id).await.unwrap(), (NAME.to_owned(), written.clone()));
    assert_eq!(partner_files::get(app, &ctx, id).await.unwrap().lying, Lying::Same);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(partner_files::get(app, &ctx, id).await.unwrap().lying, Lying::Nothing, "its partner took it");
    assert!(looked_at(&house).await.unwrap().is_empty());
    let again = partner_files::send(app, &ctx, id, "the bank lost it").await.unwrap();
    assert_eq!((again.lying, std::fs::read(&path).unwrap()), (Lying::Same, written.clone()));
    std::fs::write(&path, "requests 1 1\nsomebody's,999999\n").unwrap();
    assert_eq!(partner_files::get(app, &ctx, id).await.unwrap().lying, Lying::Other);
    let changed: Vec<String> = looked_at(&house).await.unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(changed, [NAME]);
    let refused = partner_files::send(app, &ctx, id, "over it").await.unwrap_err().to_string();
    assert!(refused.contains(NAME) && refused.contains("never overwritten"), "{refused}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("somebody's"));
    let rows = koban_store::audit::list(&app.store, AuditFilter::default(), None, 100).await.unwrap();
    let acts: Vec<String> =
        rows.into_iter().map(|row| row.audit.act).filter(|act| act.starts_with("partner-file.")).collect();
    assert_eq!(
        acts,
        ["partner-file.send", "partner-file.send", "partner-file.read", "partner-file.seal", "partner-file.seal"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_a_calendar_waits_and_is_in_the_file_once_there_is_one() {
    let house = House::with_changed_batches(|manifest| {
        "lunar".clone_into(&mut manifest.directories[0].outgoing[0].calendar);
    })
    .await;
    let charge = house.begin(1_000).await.id;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(files(&house).await.is_empty() && stage(&house, charge).await.contains("asked"));
    let left = koban_service::calendars::days_left(&house.app.store, house.clock.now()).await.unwrap();
    assert_eq!(left, [("lunar".to_owned(), -1)]);
    let text = "calendar lunar\nfrom 2026-04-01\nuntil 2026-06-30\n2026-04-01 closed\n";
    koban_service::calendars::add(&house.app, &command_line("calendar"), text).await.unwrap();
    // It is looked at again after a minute.
    house.clock.advance_ms(61_000);
    house
        .until_true("its record is in the file".to_owned(), async || stage(&house, charge).await.contains("queued"))
        .await;
    assert_eq!(files(&house).await[0].key.cut_off.to_string(), "2026-04-02T00:30:00.000Z");
    let left = koban_service::calendars::days_left(&house.app.store, house.clock.now()).await.unwrap();
    assert_eq!(left, [("lunar".to_owned(), 90)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_its_flow_was_told_waits() {
    let mut house = house().await;
    let charge = queued(&house, 1_000).await;
    house.clock.advance_ms(TO_CUT_OFF_MS);
    until_written(&house).await;
    house.until_true("the flow is told".to_owned(), async || stage(&house, charge).await.contains("sealed")).await;
    // A second one, whose host goes away between putting the file down and saying so; the bank has it all the same.
    let late = queued(&house, 500).await;
    house.stop_jobs().await;
    let file = files(&house).await.remove(0);
    let (store, now) = (house.app.store.clone(), house.clock.now());
    assert!(rows::seal(&store, file.id, None, now).await.unwrap());
    let correlation = rows::records(&store, file.id).await.unwrap().remove(0).correlation;
    assert!(rows::untold(&store, PLUGIN).await.unwrap().contains(&correlation));
    put(&house, "results-2.txt", &format!("{correlation},500,r-2\nEND\n"));
    house.restart().await;
    until_received(&house, 1).await;
    house.until(late, Standing::Done).await;
    let told = koban_store::flows::events(&house.app.store, late, 0, 100).await.unwrap();
    let order: Vec<_> = told.iter().map(|event| std::mem::discriminant(&event.what)).collect();
    assert_eq!(order.len(), 3, "queued, sealed, and then what came of it");
    assert_eq!(house.balance().await, 500);
}
