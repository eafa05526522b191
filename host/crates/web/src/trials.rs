//! Requests that are only tried, `?dry_run=true`: how what was foreseen is written.

mod routes;

use koban_domain::accounts::{Layer, PostingSide};
use koban_domain::ledger::LimitUse;
use koban_domain::limits::{Action, Window};
use koban_domain::money::Currency;
use koban_service::error::Error;
use koban_service::trials::{EntryView, Foresight, PostingView, Unit};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{ItemProblem, Problem};

pub(crate) use routes::{OnTrial, Tried, describe};

/// What would have come of a request. Nothing was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DryRun)]
pub(crate) struct DryRunBody {
    /// Always true: nothing was done.
    dry_run: bool,
    /// Whether any of it would be refused.
    refused: bool,
    /// One for each item of a bulk, up to the one that would end an atomic one; one for any other request.
    items: Vec<DryRunItem>,
}

/// What would have come of one item.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRunItem {
    /// What would be posted, in order. Whatever would only be noted has none.
    entries: Vec<DryRunEntry>,
    /// What would then be used of your limits.
    limits: Vec<DryRunLimit>,
    /// What would be answered instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    refusal: Option<ItemProblem>,
}

/// An entry that would be posted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRunEntry {
    /// What it is for.
    #[schema(example = "payment")]
    kind: &'static str,
    /// Its postings, which sum to zero.
    postings: Vec<DryRunPosting>,
}

/// One side of an entry that would be posted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRunPosting {
    /// On whose account: `own`, `platform` or `other`.
    #[schema(example = "own")]
    whose: &'static str,
    /// The account's class, of your own accounts and the platform's.
    #[schema(example = "prepaid")]
    class: Option<&'static str>,
    /// `posted` moves the amount, `reserved` sets it aside, `released` ends that.
    #[schema(example = "posted")]
    layer: &'static str,
    /// `debit` or `credit`.
    #[schema(example = "debit")]
    side: &'static str,
    /// Whole minor units. On somebody else's accounts, the sum.
    #[schema(example = 1280)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
    /// The balance afterwards, of your own accounts.
    #[schema(example = 8720)]
    balance: Option<i64>,
}

/// What a limit would have counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRunLimit {
    /// `charge`, `pay`, `send`, `withdraw` or `hold`.
    #[schema(example = "pay")]
    action: &'static str,
    /// `day` or `month`, in Japan.
    #[schema(example = "day")]
    window: &'static str,
    /// What it would have counted, minor units.
    #[schema(example = 1280)]
    used: i64,
    /// The most that it may count.
    #[schema(example = 100_000)]
    most: Option<i64>,
    /// ISO 4217 code.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

impl DryRunBody {
    /// What was foreseen, with refusals told in this language.
    pub(crate) fn of(foresight: &Foresight, locale: &str) -> DryRunBody {
        let items = foresight.units.iter().map(|unit| item(unit, locale)).collect();
        DryRunBody { dry_run: true, refused: foresight.refused(), items }
    }
}

fn item(unit: &Unit, locale: &str) -> DryRunItem {
    let refusal = unit.refusal.map(|refusal| Problem::from(Error::refused(refusal)).told(locale));
    let entries = unit.entries.iter().map(entry).collect();
    DryRunItem { entries, limits: unit.limits.iter().map(limit).collect(), refusal }
}

fn entry(entry: &EntryView) -> DryRunEntry {
    DryRunEntry { kind: entry.kind.word(), postings: entry.postings.iter().map(posting).collect() }
}

fn posting(posting: &PostingView) -> DryRunPosting {
    DryRunPosting {
        whose: posting.whose.word(),
        class: posting.class.map(|class| class.word()),
        layer: match posting.layer {
            Layer::Posted => "posted",
            Layer::Reserved => "reserved",
            Layer::Released => "released",
        },
        side: match posting.side {
            PostingSide::Debit => "debit",
            PostingSide::Credit => "credit",
        },
        amount: posting.amount.minor,
        currency: posting.amount.currency,
        balance: posting.balance,
    }
}

fn limit(limit: &LimitUse) -> DryRunLimit {
    DryRunLimit {
        action: match limit.counter.action {
            Action::Charge => "charge",
            Action::Pay => "pay",
            Action::Send => "send",
            Action::Hold => "hold",
            Action::Withdraw => "withdraw",
        },
        window: match limit.counter.window {
            Window::Once => "once",
            Window::Day => "day",
            Window::Month => "month",
        },
        used: limit.used,
        most: limit.most,
        currency: limit.counter.currency,
    }
}
