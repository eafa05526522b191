//! What flows have set aside, worked out again: it is pending on their accounts, and what partners took waits in transit.

use std::collections::BTreeMap;

use koban_domain::accounts::{AccountId, AccountKey, PluginKey};
use koban_domain::ids::{FlowId, LotId};
use koban_domain::payments::Source;
use koban_store::{JournalReader, Store, charges, plugins};

use super::{PAGE, Step, Walk, differs};

impl Walk {
    /// Adds what flows hold of each account and of each lot of bonus.
    pub(super) async fn flow_holds(
        &self,
        reader: &mut JournalReader,
        held: &mut BTreeMap<AccountId, i64>,
        lots: &mut BTreeMap<LotId, i64>,
    ) -> Step {
        let mut after = (FlowId::default(), String::new());
        loop {
            let page = reader.open_holds_after((after.0, &after.1), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.of.row();
            for hold in &page {
                let of = &hold.of;
                if hold.held() + hold.captured() > hold.amount {
                    let what = format!("holds {} and gave {} of {}", hold.held(), hold.captured(), hold.amount);
                    return differs(format!("the hold `{}` of {}", of.key, of.flow), what);
                }
                for part in hold.parts.iter().filter(|part| part.held > 0) {
                    let from = AccountKey::user(part.source.class(), of.user, of.currency);
                    *held.entry(from.id()).or_default() += part.held;
                    if let Source::Bonus(lot) = part.source {
                        *lots.entry(lot).or_default() += part.held;
                    }
                }
                *held.entry(of.in_transit().id()).or_default() += hold.held();
            }
        }
    }

    /// What counts against each plugin's cap must be the sum of its unsettled credits and captures and of what its flows have set aside.
    pub(super) async fn exposures(&self, store: &Store) -> Step {
        for plugin in plugins::list(store, None, PAGE).await? {
            let key = PluginKey::of(&plugin.manifest.id);
            let unsettled = charges::unsettled_totals(store, key).await?;
            let set_aside = charges::set_aside_totals(store, key).await?;
            for (currency, exposure) in plugins::exposures(store, key).await? {
                let settling =
                    unsettled.iter().find(|total| total.currency == currency).map_or(0, |total| total.exposed);
                let held = set_aside.iter().find(|(known, _)| *known == currency).map_or(0, |(_, held)| *held);
                if settling + held != exposure.used {
                    let what = format!(
                        "{} is counted, its unsettled credits and captures make {settling}, its holds {held}",
                        exposure.used
                    );
                    return differs(format!("exposure of {} in {currency}", plugin.manifest.id), what);
                }
            }
        }
        Ok(())
    }
}
