//! What operators see and do: every privileged act needs a session and leaves a row in the audit log.

pub(crate) mod access;
pub(crate) mod adjustments;
pub(crate) mod audit;
pub(crate) mod bonus;
pub(crate) mod calendars;
pub(crate) mod clock;
pub(crate) mod closings;
pub(crate) mod closures;
pub(crate) mod currencies;
pub(crate) mod decisions;
pub(crate) mod differences;
pub(crate) mod disputes;
pub(crate) mod endpoints;
pub(crate) mod feeds;
pub(crate) mod flows;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod merchants;
pub(crate) mod operators;
pub(crate) mod partner_files;
pub(crate) mod plugins;
pub(crate) mod policy;
pub(crate) mod publishers;
pub(crate) mod releases;
pub(crate) mod reviews;
pub(crate) mod subscriptions;
pub(crate) mod users;
pub(crate) mod verification;
pub(crate) mod webhooks;

use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::Web;
use crate::amounts::Line;

/// Routes of operators.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .merge(users::routes())
        .merge(access::routes())
        .merge(verification::routes())
        .merge(closures::routes())
        .merge(adjustments::routes())
        .merge(bonus::routes())
        .merge(merchants::routes())
        .merge(closings::routes())
        .merge(disputes::routes())
        .merge(plugins::routes())
        .merge(endpoints::routes())
        .merge(publishers::routes())
        .merge(releases::routes())
        .merge(partner_files::routes())
        .merge(calendars::routes())
        .merge(flows::routes())
        .merge(decisions::routes())
        .merge(differences::routes())
        .merge(limits::routes())
        .merge(policy::routes())
        .merge(clock::routes())
        .merge(reviews::routes())
        .merge(subscriptions::routes())
        .merge(currencies::routes())
        .merge(feeds::routes())
        .merge(audit::routes())
        .merge(operators::routes())
        .merge(ledger::routes())
        .merge(webhooks::routes())
}

/// Why an operator does something.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonRequest {
    /// Why, in 1 to 500 characters; it goes into the audit log.
    #[schema(value_type = String, example = "the partner confirmed it by phone")]
    reason: Line,
}
