//! What flows set aside and pay, as a part of the random history.

use koban_domain::bills::{BillKey, ClaimBill, FreeBill};
use koban_domain::guest::SavedLink;
use koban_domain::holds::{LetGo, OfHold, Purpose, SetAside, Take};
use koban_domain::ids::FlowId;
use koban_domain::ledger::Command;
use koban_domain::links::{Begin, End, EndedBy, Finish, LinkKey, OfLink, Save, UnderWay};
use koban_domain::money::{Currency, Money};
use uuid::Uuid;

use crate::history::History;
use crate::world::{Memory, PLUGIN, START, plugin, user};

impl History {
    /// A flow sets money aside, its partner takes it, it lets go, or it claims a bill; now and then what is not there.
    pub(crate) fn outgoing(&mut self, memory: &Memory, number: u128) -> Command {
        let mut held: Vec<_> = memory.books.held.iter().map(|(_, held)| held).filter(|held| held.held() > 0).collect();
        held.sort_by_key(|held| held.of.row());
        let place = usize::try_from(self.dice.below(held.len().max(1) as u128)).unwrap();
        let nothing = OfHold {
            flow: FlowId(self.id()),
            key: format!("hold \"{}\" 円", self.dice.below(4)),
            plugin: plugin(),
            user: user(number),
            currency: Currency::JPY,
            purpose: if self.dice.one_in(3) { Purpose::Withdrawal } else { Purpose::Bill },
        };
        let known = held.get(place).map(|held| held.of.clone());
        let bill =
            BillKey { plugin: plugin(), biller: "91\"2345".into(), reference: format!("請求{}", self.dice.below(5)) };
        let flow = FlowId(Uuid::from_u128(0x0e00 + self.dice.below(4)));
        match self.dice.below(10) {
            0..5 => Command::SetAside(SetAside { of: nothing, amount: self.dice.amount(1_500).minor }),
            5 => Command::LetGo(LetGo { of: known.unwrap_or(nothing) }),
            6 => Command::ClaimBill(ClaimBill { bill, flow, due: None }),
            7 => Command::FreeBill(FreeBill { bill, flow }),
            _ => Command::Take(Take {
                of: known.unwrap_or(nothing),
                amount: Money::yen(1 + self.dice.amount(900).minor),
                fee: self.dice.amount(3).minor,
                reference: format!("paid{}", self.dice.below(80)),
                last: self.dice.one_in(2),
            }),
        }
    }

    /// A link is saved, told of rows, or ended; now and then one that is not there.
    pub(crate) fn links(&mut self, number: u128) -> Command {
        let reference = format!("口座 \"{}\"", self.dice.below(4));
        let link = LinkKey { plugin: plugin(), reference: reference.clone() };
        let of = FlowId(Uuid::from_u128(0x0f00 + self.dice.below(3)));
        Command::Link(Box::new(match self.dice.below(6) {
            0 => OfLink::End(End { link, user: user(number % 2), by: EndedBy::Consent }),
            1 => {
                let rows = UnderWay { flow: of, currency: Currency::JPY, until: 5, rows: 3 };
                OfLink::Begin(Begin { link, after: 0, rows })
            }
            2 => OfLink::Finish(Finish { link, flow: of, taken: self.dice.one_in(2) }),
            _ => OfLink::Save(Save {
                plugin: PLUGIN.into(),
                link: SavedLink {
                    reference,
                    kind: "app".into(),
                    label: "家計簿 *1".into(),
                    data: vec![0, 255],
                    expires: None,
                },
                expires_at: START.plus_ms(400 * 86_400_000),
                user: user(number % 2),
                consents: vec!["app".into()],
                flow: of,
                effect: "save".into(),
            }),
        }))
    }
}
