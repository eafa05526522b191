//! Partners' references, settlement files and differences.

use koban_domain::accounts::PluginKey;
use koban_domain::charges::{ReferenceKey, ReferenceState};
use koban_domain::guest::{SettlementLine, Side};
use koban_domain::ids::{FileId, FlowId};
use koban_domain::ledger::Command;
use koban_domain::records::Digest;
use koban_domain::settlements::Settle;
use koban_store::charges::AgePlace;
use koban_store::files::FileStatus;
use koban_store::{charges, files};

use crate::harness::*;

#[tokio::test]
async fn a_file_is_kept_once_and_one_that_was_taken_stays_taken() {
    on_each(async |store| {
        let plugin = PluginKey::of(PLUGIN);
        let (file, new) = files::put(store, plugin, FileId(uuid(1)), b"lines", NOON).await.unwrap();
        assert!(new);
        assert_eq!((file.status, file.digest, file.matched), (FileStatus::Waiting, Digest::of(b"lines"), None));
        let (again, new) = files::put(store, plugin, FileId(uuid(2)), b"lines", NOON.plus_ms(9)).await.unwrap();
        assert!(!new);
        assert_eq!(again, file);
        // Another partner's file with the same content is another file.
        let (_, new) = files::put(store, PluginKey::of("other"), FileId(uuid(3)), b"lines", NOON).await.unwrap();
        assert!(new);

        assert_eq!(files::content(store, file.id).await.unwrap().as_deref(), Some(b"lines".as_slice()));
        assert_eq!(files::content(store, FileId(uuid(2))).await.unwrap(), None);
        assert_eq!(files::waiting(store, None, 10).await.unwrap().len(), 2);
        assert!(files::set_status(store, file.id, FileStatus::Unreadable, Some("line 3")).await.unwrap());
        assert_eq!(files::by_id(store, file.id).await.unwrap().unwrap().note.as_deref(), Some("line 3"));
        assert!(files::set_status(store, file.id, FileStatus::Taken, None).await.unwrap());
        assert!(!files::set_status(store, file.id, FileStatus::Waiting, None).await.unwrap());
        let found = files::by_id(store, file.id).await.unwrap().unwrap();
        assert_eq!((found.status, found.note), (FileStatus::Taken, None));
        assert_eq!(files::waiting(store, None, 10).await.unwrap().len(), 1);
        assert_eq!(files::list(store, plugin, None, 10).await.unwrap().len(), 1);
        assert_eq!(files::list(store, plugin, Some(file.id), 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_settlement_leaves_what_it_did_not_list_unsettled_and_opens_what_does_not_match() {
    on_each(async |store| {
        let key = plugin(store).await;
        let payer = user(store, 1).await;
        for (number, at) in [(10, 0), (11, 1), (12, 2), (13, 3)] {
            commit(store, &[credit(number, payer, 1_000)], NOON.plus_ms(at)).await;
        }
        let totals = charges::unsettled_totals(store, key).await.unwrap();
        assert_eq!((totals[0].count, totals[0].exposed, totals[0].oldest_at), (4, 4_000, NOON));

        let (file, _) = files::put(store, key, FileId(uuid(1)), b"lines", NOON).await.unwrap();
        let line = |reference: &str, amount| SettlementLine {
            reference: reference.into(),
            side: Side::Credit,
            amount: yen(amount),
            at: 0,
        };
        let lines = vec![line("atm-11", 1_000), line("atm-12", 900), line("stranger", 50)];
        let settle = Settle { plugin: key, file: file.id, digest: file.digest, lines };
        commit(store, &[work(20, vec![Command::Settle(settle)])], NOON.plus_ms(SECOND)).await;

        let file = files::by_id(store, file.id).await.unwrap().unwrap();
        assert_eq!((file.matched, file.differences), (Some(1), Some(2)));

        let unsettled = charges::unsettled(store, key, None, 10).await.unwrap();
        let names: Vec<&str> = unsettled.iter().map(|(key, _)| key.reference.as_str()).collect();
        assert_eq!(names, ["atm-10", "atm-12", "atm-13"]);
        let (first, reference) = &unsettled[0];
        let after = AgePlace { at: reference.at, side: first.side, reference: first.reference.clone() };
        assert_eq!(charges::unsettled(store, key, Some(&after), 10).await.unwrap(), unsettled[1..]);

        let differences = charges::open_differences(store, key, None, 10).await.unwrap();
        let found: Vec<(&str, i64, i64)> = differences
            .iter()
            .map(|(key, difference)| (key.reference.as_str(), difference.ours, difference.theirs))
            .collect();
        assert_eq!(found, [("atm-12", 1_000, 900), ("stranger", 0, 50)]);
        let (first, difference) = &differences[0];
        let after = AgePlace { at: difference.at, side: first.side, reference: first.reference.clone() };
        assert_eq!(charges::open_differences(store, key, Some(&after), 10).await.unwrap(), differences[1..]);
        assert_eq!(charges::open_differences(store, PluginKey::of("other"), None, 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_flow_shows_the_references_it_brought() {
    on_each(async |store| {
        let key = plugin(store).await;
        let payer = user(store, 1).await;
        commit(store, &[credit(10, payer, 1_000), credit(11, payer, 2_000)], NOON).await;
        let brought = charges::by_flow(store, FlowId(uuid(10))).await.unwrap();
        let [(reference, row)] = brought.as_slice() else { panic!("{brought:?}") };
        assert_eq!(*reference, ReferenceKey::credit(key, "atm-10"));
        assert_eq!((row.state, row.amount, row.user), (ReferenceState::Credited, yen(1_000), Some(payer)));
        assert_eq!(charges::reference(store, reference).await.unwrap().as_ref(), Some(row));
        assert_eq!(charges::reference(store, &ReferenceKey::reversal(key, "atm-10")).await.unwrap(), None);
    })
    .await;
}
