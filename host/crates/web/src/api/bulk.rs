//! Many money requests in one.

use axum::extract::State;
use koban_domain::exchanges::Exchange;
use koban_domain::ids::PaymentId;
use koban_domain::ledger::Answer;
use koban_domain::money::Currency;
use koban_domain::payments::{Payment, PaymentState};
use koban_domain::transfers::TransferState;
use koban_service::bulk::{self, Item, Keyed, Mode};
use koban_service::captures::{CaptureInput, IncrementInput};
use koban_service::error::Error;
use koban_service::keys::Scope;
use koban_service::operations::Answered;
use koban_service::refunds::RefundInput;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::captures::CaptureBody;
use super::exchanges::{ExchangeBody, ExchangeRequest};
use super::payments::{PayRequest, PaymentBody};
use super::refunds::RefundBody;
use super::transfers::{TransferBody, TransferRequest};
use super::{DeviceHeader, KeyHeader};
use crate::Web;
use crate::amounts::Minor;
use crate::headers::IdempotencyKey;
use crate::identity::Dealer;
use crate::json::{Done, Large};
use crate::problem::{ItemProblem, Problem};

/// The route of bulks.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Many money requests.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkRequest {
    /// `atomic`: all items or none. `independent`: each by itself.
    mode: ModeRequest,
    /// What is asked, in order.
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<ItemRequest>,
}

/// How a bulk is decided.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum ModeRequest {
    /// All items or none.
    Atomic,
    /// Each item by itself.
    Independent,
}

/// One money request: exactly one field beside `key`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ItemRequest {
    /// In independent bulks: the item's own idempotency key, as if it came alone. Without it the item belongs to the bulk's key.
    #[schema(min_length = 1, max_length = 255)]
    key: Option<String>,
    /// For users: pay a merchant.
    payment: Option<PayRequest>,
    /// For users: send money.
    transfer: Option<TransferRequest>,
    /// For users: exchange currencies.
    exchange: Option<ExchangeRequest>,
    /// For users: have more held.
    increment: Option<IncrementItem>,
    /// For keys with the scope `payments:refund`: give money back.
    refund: Option<RefundItem>,
    /// For keys with the scope `payments:capture`: take from what is held.
    capture: Option<CaptureItem>,
    /// For keys with the scope `payments:capture`: let go of what is held.
    void: Option<VoidItem>,
}

/// An increment of a held amount.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IncrementItem {
    /// Of which payment.
    #[schema(value_type = String)]
    payment: PaymentId,
    /// Whole minor units that are held beside what is held already.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 500)]
    amount: Minor,
    /// ISO 4217 code: the payment's own.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

/// A refund.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundItem {
    /// Of which payment.
    #[schema(value_type = String)]
    payment: PaymentId,
    /// Whole minor units, at most what is left of the payment.
    #[schema(value_type = i64, minimum = 1, maximum = 1_000_000_000_000i64, example = 280)]
    amount: Minor,
    /// ISO 4217 code: the payment's own.
    #[schema(value_type = String, example = "JPY")]
    currency: Currency,
}

/// A capture.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CaptureItem {
    /// Of which payment.
    #[schema(value_type = String)]
    payment: PaymentId,
    /// Whole minor units in the payment's own currency; all that is held if it is left out.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_000i64, example = 980)]
    amount: Option<Minor>,
    /// Whether this is the last capture.
    #[serde(rename = "final", default)]
    last: bool,
}

/// A void.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VoidItem {
    /// Of which payment.
    #[schema(value_type = String)]
    payment: PaymentId,
}

/// What came of a bulk.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Bulk)]
pub(crate) struct BulkBody {
    /// Items that were done.
    done: usize,
    /// Items that were not.
    failed: usize,
    /// What came of each, in the order in which they were sent.
    items: Vec<ItemBody>,
}

/// What came of one item: what its own route would have answered.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = BulkItem)]
pub(crate) struct ItemBody {
    /// The status.
    #[schema(example = 201)]
    status: u16,
    /// Whether it is the first answer, given again.
    replayed: bool,
    /// What was paid, held, increased or let go.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    payment: Option<PaymentBody>,
    /// What was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    transfer: Option<TransferBody>,
    /// What was exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    exchange: Option<ExchangeBody>,
    /// What was given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    refund: Option<RefundBody>,
    /// What was captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    capture: Option<CaptureBody>,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    problem: Option<ItemProblem>,
}

impl ItemBody {
    fn of(outcome: Result<Answered<Answer>, Error>, locale: &str) -> ItemBody {
        match outcome {
            Ok(Answered { value, replayed }) => ItemBody { replayed, ..ItemBody::done(value, locale) },
            Err(error) => {
                let replayed = matches!(error, Error::Refused { replayed: true, .. });
                ItemBody { replayed, ..ItemBody::failed(error, locale) }
            }
        }
    }

    fn done(answer: Answer, locale: &str) -> ItemBody {
        match answer {
            Answer::Paid(payment) => {
                let status = if payment.state == PaymentState::InReview { 202 } else { 201 };
                ItemBody::payment(status, payment)
            }
            Answer::Increased(payment) | Answer::Voided(payment) => ItemBody::payment(200, payment),
            Answer::Transferred(transfer) => {
                let status = if transfer.state == TransferState::InReview { 202 } else { 201 };
                ItemBody { status, transfer: Some(transfer.into()), ..ItemBody::default() }
            }
            Answer::Exchanged(exchange) => ItemBody::exchange(exchange),
            Answer::Refunded(refund) => ItemBody { status: 201, refund: Some(refund.into()), ..ItemBody::default() },
            Answer::Captured(capture) => ItemBody { status: 201, capture: Some(capture.into()), ..ItemBody::default() },
            other => ItemBody::failed(Error::Internal(format!("no item of a bulk answers {other:?}")), locale),
        }
    }

    fn payment(status: u16, payment: Payment) -> ItemBody {
        ItemBody { status, payment: Some(payment.into()), ..ItemBody::default() }
    }

    fn exchange(exchange: Exchange) -> ItemBody {
        ItemBody { status: 201, exchange: Some(exchange.into()), ..ItemBody::default() }
    }

    fn failed(error: Error, locale: &str) -> ItemBody {
        let problem = Problem::from(error).told(locale);
        ItemBody { status: problem.status, problem: Some(problem), ..ItemBody::default() }
    }
}

/// What an item asks for, if whoever sent it may ask for that.
fn read(dealer: &Dealer, place: usize, request: ItemRequest) -> Result<Keyed, Problem> {
    let key = request.key.clone();
    let item = wish(dealer, request).map_err(|problem| problem.within(&format!("items[{place}]")))?;
    Ok(Keyed { key, item })
}

fn wish(dealer: &Dealer, request: ItemRequest) -> Result<Item, Problem> {
    let ItemRequest { key: _, payment, transfer, exchange, increment, refund, capture, void } = request;
    let mut items = Vec::new();
    if let Some(payment) = payment {
        dealer.user("payment")?;
        items.push(Item::Payment(payment.input().map_err(|problem| problem.within("payment"))?));
    }
    if let Some(transfer) = transfer {
        dealer.user("transfer")?;
        items.push(Item::Transfer(transfer.input()));
    }
    if let Some(exchange) = exchange {
        dealer.user("exchange")?;
        items.push(Item::Exchange(exchange.input()));
    }
    if let Some(IncrementItem { payment, amount, currency }) = increment {
        dealer.user("increment")?;
        items.push(Item::Increment(IncrementInput { payment, amount: amount.of(currency) }));
    }
    if let Some(RefundItem { payment, amount, currency }) = refund {
        dealer.key("refund", Scope::PaymentsRefund)?;
        items.push(Item::Refund(RefundInput { payment, amount: amount.of(currency) }));
    }
    if let Some(CaptureItem { payment, amount, last }) = capture {
        dealer.key("capture", Scope::PaymentsCapture)?;
        items.push(Item::Capture(CaptureInput { payment, amount: amount.map(|amount| amount.0), last }));
    }
    if let Some(VoidItem { payment }) = void {
        dealer.key("void", Scope::PaymentsCapture)?;
        items.push(Item::Void(payment));
    }
    match (items.pop(), items.is_empty()) {
        (Some(item), true) => Ok(item),
        _ => Err(Problem::invalid(
            "",
            "give exactly one of payment, transfer, exchange, increment, refund, capture, void",
        )),
    }
}

/// Send many money requests at once, at most 1,000.
///
/// Users send payments, transfers, exchanges and increments; merchants' keys refunds, captures and voids, as their scopes allow. Items
/// are decided in order, each as if it came alone. `atomic`: the first item that cannot be done is named in `field`, and nothing of
/// the bulk was done. `independent`: each item has its own answer, and its own key if it gives one. The same request again brings the
/// first answers; items that nobody could decide (503) are decided then.
#[utoipa::path(post, path = "/v1/bulk", tag = "bulk", security(("session" = []), ("api_key" = [])),
    params(KeyHeader, DeviceHeader), request_body = BulkRequest, responses((status = 200, body = BulkBody)))]
pub(crate) async fn create(
    State(web): State<Web>,
    dealer: Dealer,
    key: IdempotencyKey,
    Large(body): Large<BulkRequest>,
) -> Result<Done<BulkBody>, Problem> {
    let ctx = dealer.ctx(key);
    web.limits.items(&ctx.actor, body.items.len())?;
    let mode = match body.mode {
        ModeRequest::Atomic => Mode::Atomic,
        ModeRequest::Independent => Mode::Independent,
    };
    let items = body.items.into_iter().enumerate().map(|(place, item)| read(&dealer, place, item));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let Answered { value, replayed } = bulk::decide(&web.app, &ctx, mode, items).await?;
    let items: Vec<ItemBody> = value.into_iter().map(|outcome| ItemBody::of(outcome, &ctx.locale)).collect();
    let failed = items.iter().filter(|item| item.problem.is_some()).count();
    let value = BulkBody { done: items.len() - failed, failed, items };
    Ok(Done::answered(Answered { value, replayed }))
}
