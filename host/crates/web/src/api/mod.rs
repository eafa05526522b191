//! The JSON API: one module per noun, and this table of contents.

pub(crate) mod bills;
pub(crate) mod bonus;
pub(crate) mod bulk;
pub(crate) mod captures;
pub(crate) mod charges;
pub(crate) mod closings;
pub(crate) mod consents;
pub(crate) mod disputes;
pub(crate) mod documents;
pub(crate) mod exchanges;
pub(crate) mod inbound;
pub(crate) mod keys;
pub(crate) mod links;
pub(crate) mod me;
pub(crate) mod merchant;
pub(crate) mod operator;
pub(crate) mod payments;
pub(crate) mod quotes;
pub(crate) mod refunds;
pub(crate) mod schedules;
pub(crate) mod sessions;
pub(crate) mod statements;
pub(crate) mod step_ups;
pub(crate) mod transfers;
pub(crate) mod users;
pub(crate) mod verification;
pub(crate) mod wallet;
pub(crate) mod webhooks;
pub(crate) mod withdrawals;

use utoipa_axum::router::OpenApiRouter;

use crate::Web;

/// Every route of `/v1`.
pub(crate) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .merge(users::routes())
        .merge(sessions::routes())
        .merge(me::routes())
        .merge(verification::routes())
        .merge(wallet::routes())
        .merge(documents::routes())
        .merge(bonus::routes())
        .merge(charges::routes())
        .merge(consents::routes())
        .merge(bills::routes())
        .merge(withdrawals::routes())
        .merge(links::routes())
        .merge(payments::routes())
        .merge(captures::routes())
        .merge(refunds::routes())
        .merge(step_ups::routes())
        .merge(transfers::routes())
        .merge(exchanges::routes())
        .merge(quotes::routes())
        .merge(bulk::routes())
        .merge(schedules::routes())
        .merge(merchant::routes())
        .merge(disputes::routes())
        .merge(closings::routes())
        .merge(keys::routes())
        .merge(webhooks::routes())
        .merge(operator::routes())
        .merge(inbound::routes())
}

/// The header of every request that moves money.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header; the extractor reads it")]
pub(crate) struct KeyHeader {
    /// 1 to 255 printable ASCII characters. The same key with the same body gets the first answer again, marked
    /// `Idempotent-Replayed: true`; with another body it is refused with 422.
    #[param(rename = "Idempotency-Key", example = "8f0c1c52-5b1e-4d3c-9f5f-0f6f1d0b7a11")]
    key: String,
}

/// The header that names the payer's device.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header; the extractor reads it")]
pub(crate) struct DeviceHeader {
    /// What the app calls this device, 1 to 128 printable ASCII characters. Rules may count by it.
    #[param(rename = "Koban-Device", required = false)]
    device: Option<String>,
}

/// The header by which a payer says that they have confirmed a request.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header; the extractor reads it")]
pub(crate) struct StepUpHeader {
    /// The challenge that the problem `step_up_required` named and that was confirmed since. It counts for the very same request, once.
    #[param(rename = "Koban-Step-Up", required = false, example = "stu_5d41402abc4b2a76b9719d911017c592")]
    step_up: Option<String>,
}
