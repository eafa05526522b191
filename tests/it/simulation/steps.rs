//! What may happen next in a small town, drawn from its seed.

use super::model::Model;
use crate::load::Dice;

const MINUTE_MS: i64 = 60_000;

/// Whether somebody may deal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Access {
    #[default]
    Open,
    Frozen,
    Closed,
}

/// What an operator says to a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    Approve,
    Decline,
}

/// One thing that is done. People, sales, gifts, credits and proposals are named by their number in the town.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Charge { who: usize, yen: i64, arrived: bool, again: Option<usize> },
    TakeBack { credit: usize, yen: i64 },
    Pay { who: usize, yen: i64, held_ms: Option<i64>, review: bool },
    Increase { sale: usize, yen: i64 },
    Capture { sale: usize, yen: Option<i64>, last: bool },
    Void { sale: usize },
    Refund { sale: usize, yen: i64 },
    Send { from: usize, to: usize, yen: i64, review: bool },
    Rule { sale: usize, ruling: Ruling },
    RuleGift { gift: usize, ruling: Ruling },
    BuyDollars { who: usize, cents: i64, right: bool },
    SellDollars { who: usize, cents: i64 },
    Submit { who: usize },
    Verify { who: usize },
    Unverify { who: usize, revoked: bool },
    Freeze { who: Option<usize>, frozen: bool },
    Close { who: usize },
    Propose { who: usize, yen: i64, gives: bool },
    Judge { proposal: usize, approve: bool, same: bool },
    Settle { credit: usize },
    WriteOff { credit: usize },
    Grant { who: usize, yen: i64, from: i64, until: i64 },
    Revoke { lot: usize },
    Release { lot: usize },
    Dispute { sale: usize, yen: i64 },
    EndDispute { dispute: usize, won: bool },
    PayOut { closing: usize },
    SetAside { who: usize, yen: i64, withdrawal: bool },
    TakeAside { aside: usize, yen: i64, fee: i64, last: bool },
    LetGo { aside: usize },
    SettleTaken { taken: usize },
}

impl Step {
    /// The word under which steps are counted.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Step::Charge { .. } => "charge",
            Step::TakeBack { .. } => "reversal",
            Step::Pay { review: true, .. } => "review of a payment",
            Step::Pay { held_ms: Some(_), .. } => "authorisation",
            Step::Pay { .. } => "payment",
            Step::Increase { .. } => "increment",
            Step::Capture { .. } => "capture",
            Step::Void { .. } => "void",
            Step::Refund { .. } => "refund",
            Step::Send { review: true, .. } => "review of a transfer",
            Step::Send { .. } => "transfer",
            Step::Rule { .. } | Step::RuleGift { .. } => "ruling",
            Step::BuyDollars { .. } | Step::SellDollars { .. } => "exchange",
            Step::Submit { .. } | Step::Verify { .. } | Step::Unverify { .. } => "verification",
            Step::Freeze { .. } => "freeze",
            Step::Close { .. } => "closure",
            Step::Propose { .. } | Step::Judge { .. } => "adjustment",
            Step::Settle { .. } => "settlement",
            Step::WriteOff { .. } => "write-off",
            Step::Grant { .. } => "grant",
            Step::Revoke { .. } => "bonus taken back",
            Step::Release { .. } => "bonus released",
            Step::Dispute { .. } => "dispute",
            Step::EndDispute { .. } => "end of a dispute",
            Step::PayOut { .. } => "payout",
            Step::SetAside { withdrawal: true, .. } => "withdrawal",
            Step::SetAside { .. } => "bill",
            Step::TakeAside { .. } => "capture by a partner",
            Step::LetGo { .. } => "release",
            Step::SettleTaken { .. } => "settlement of a capture",
        }
    }

    /// The next step. What there is is used more often than what there is not.
    pub(super) fn draw(dice: &mut Dice, model: &Model, now: i64) -> Step {
        const TRIES: usize = 16;
        let drawn = (0..TRIES).find_map(|_| Step::drawn(dice, model, now));
        drawn.unwrap_or(Step::Charge { who: 0, yen: 1, arrived: false, again: None })
    }

    /// A step, if there is what it is about.
    fn drawn(dice: &mut Dice, model: &Model, now: i64) -> Option<Step> {
        let who = number(dice, 3);
        let yen = amount(dice);
        let held = model.held_sales();
        let sale = match dice.below(4) {
            0 => newest(dice, model.sales()),
            _ => newest(dice, held.len()).map(|place| held[place]).or(newest(dice, model.sales())),
        };
        let credit = newest(dice, model.credits());
        let ruling = if dice.below(3) == 0 { Ruling::Decline } else { Ruling::Approve };
        let review = dice.below(6) == 0;
        Some(match dice.below(62) {
            0..=6 => {
                let again = credit.filter(|_| dice.below(12) == 0);
                Step::Charge { who, yen: yen * 3, arrived: dice.below(3) == 0, again }
            }
            7 | 8 => Step::TakeBack { credit: credit?, yen: part_of(dice, model.credit(credit?)) },
            9..=13 => {
                let held_ms = (dice.below(2) == 0).then(|| 60_000 * (1 + whole(dice, 120)));
                Step::Pay { who, yen, held_ms, review }
            }
            14..=16 => {
                let yen = (dice.below(3) > 0).then(|| part_of(dice, model.held(sale.unwrap_or(0))));
                Step::Capture { sale: sale?, yen, last: dice.below(3) == 0 }
            }
            17 => Step::Void { sale: sale? },
            18 => Step::Increase { sale: sale?, yen: 1 + yen / 4 },
            19..=21 => {
                let sale = sold(dice, model)?;
                Step::Refund { sale, yen: part_of(dice, model.refundable(sale)) }
            }
            22..=25 => {
                let to = if dice.below(8) == 0 { who } else { (who + 1 + number(dice, 2)) % 3 };
                Step::Send { from: who, to, yen: yen * (1 + whole(dice, 3)), review }
            }
            26 => Step::Rule { sale: model.asked_sales().last().copied().or(sale)?, ruling },
            27 => Step::RuleGift { gift: *model.gifts_asked().last()?, ruling },
            28 => Step::BuyDollars { who, cents: 1 + whole(dice, 30_000), right: dice.below(6) > 0 },
            29 => Step::SellDollars { who, cents: [1, 1 + whole(dice, 20_000)][number(dice, 2)] },
            30 | 31 => match dice.below(4) {
                0 => Step::Submit { who },
                1 => Step::Unverify { who, revoked: dice.below(2) == 0 },
                _ => Step::Verify { who },
            },
            32 | 33 => Step::Freeze { who: (dice.below(3) > 0).then_some(who), frozen: dice.below(3) == 0 },
            34 if dice.below(3) == 0 => Step::Close { who },
            34 | 35 => {
                let proposal = newest(dice, model.proposals())?;
                Step::Judge { proposal, approve: dice.below(3) > 0, same: dice.below(5) == 0 }
            }
            36 => Step::Propose { who, yen: 1 + yen / 10, gives: dice.below(3) > 0 },
            37 | 38 => Step::Settle { credit: credit.filter(|credit| model.is_plain(*credit))? },
            39 => Step::WriteOff { credit: credit.filter(|credit| model.is_plain(*credit))? },
            40..=43 => {
                // Each ends at a moment of its own, some within the hour.
                let lasts = [MINUTE_MS * (1 + whole(dice, 90)), MINUTE_MS * (60 + whole(dice, 4_000))][number(dice, 2)];
                let until = now + lasts + 1 + i64::try_from(model.lots()).unwrap_or(0);
                let from = if dice.below(4) == 0 { now + lasts / 2 } else { now };
                Step::Grant { who, yen: 1 + yen / 2, from, until }
            }
            44 => Step::Revoke { lot: newest(dice, model.lots())? },
            45 => Step::Release { lot: newest(dice, model.lots())? },
            46..=48 => {
                let sale = sold(dice, model)?;
                Step::Dispute { sale, yen: part_of(dice, model.refundable(sale)) }
            }
            49 | 50 => Step::EndDispute { dispute: newest(dice, model.contests())?, won: dice.below(2) == 0 },
            51 | 52 => Step::PayOut { closing: newest(dice, model.closings())? },
            53..=55 => Step::SetAside { who, yen: yen * (1 + whole(dice, 3)), withdrawal: dice.below(2) == 0 },
            56..=58 => {
                let aside = aside(dice, model)?;
                // More than its fee reaches the partner.
                let yen = part_of(dice, model.aside(aside)).max(2);
                let fee = [0, 1 + (yen - 1) / 11][number(dice, 2)].min(yen - 1);
                Step::TakeAside { aside, yen, fee, last: dice.below(3) == 0 }
            }
            59 | 60 => Step::LetGo { aside: aside(dice, model)? },
            _ => Step::SettleTaken { taken: newest(dice, model.taken())? },
        })
    }
}

fn whole(dice: &mut Dice, below: u64) -> i64 {
    i64::try_from(dice.below(below)).unwrap_or(0)
}

fn number(dice: &mut Dice, below: u64) -> usize {
    usize::try_from(dice.below(below)).unwrap_or(0)
}

/// Small for the most part, and now and then about a limit.
fn amount(dice: &mut Dice) -> i64 {
    match dice.below(8) {
        0 => 25_000 + whole(dice, 20_000),
        1 => 1 + whole(dice, 10),
        _ => 1 + whole(dice, 9_000),
    }
}

/// A sale of which something may be given back, or now and then any.
fn sold(dice: &mut Dice, model: &Model) -> Option<usize> {
    let sold: Vec<usize> = (0..model.sales()).filter(|sale| model.refundable(*sale) > 0).collect();
    if dice.below(6) == 0 { newest(dice, model.sales()) } else { newest(dice, sold.len()).map(|place| sold[place]) }
}

/// Of what is set aside, one of the last few; now and then one of which nothing is any more.
fn aside(dice: &mut Dice, model: &Model) -> Option<usize> {
    let open = model.asides();
    if dice.below(8) == 0 {
        newest(dice, model.all_asides())
    } else {
        newest(dice, open.len()).map(|place| open[place])
    }
}

/// Of those that there are, one of the last few.
fn newest(dice: &mut Dice, count: usize) -> Option<usize> {
    let back = number(dice, 3).min(count.saturating_sub(1));
    count.checked_sub(1 + back)
}

/// All of it, a half, a little, or one too much.
fn part_of(dice: &mut Dice, whole: i64) -> i64 {
    let part = match dice.below(5) {
        0 => whole / 2,
        1 => whole / 7,
        2 => whole + 1,
        _ => whole,
    };
    part.max(1)
}
