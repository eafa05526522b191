//! Banking calendars: what is known of their holidays, and more of them.

use axum::extract::State;
use koban_domain::calendars::{Calendar, is_calendar_name};
use koban_domain::time::date_of_day;
use koban_service::App;
use koban_service::calendars;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Web;
use crate::identity::Operator;
use crate::json::Json;
use crate::place::Id;
use crate::problem::Problem;

/// Routes of calendars.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(add))
}

/// A calendar.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Calendar)]
pub(crate) struct CalendarBody {
    /// Its name.
    #[schema(example = "jp-banking")]
    name: String,
    /// Its holidays, span by span; of two spans that hold a day the first decides. Saturdays and Sundays need not be listed, nor the days from 31 December to
    /// 3 January in `jp-banking`.
    spans: Vec<SpanBody>,
}

/// Holidays of a span of days.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CalendarSpan)]
pub(crate) struct SpanBody {
    /// Its first day.
    #[schema(example = "2026-01-01")]
    from: String,
    /// Its last day.
    #[schema(example = "2027-12-31")]
    until: String,
    /// Its holidays.
    holidays: Vec<String>,
}

impl CalendarBody {
    fn of(name: String, calendar: &Calendar) -> CalendarBody {
        let spans = calendar.holidays().iter().map(|span| SpanBody {
            from: date_of_day(span.from),
            until: date_of_day(span.until),
            holidays: span.days.iter().map(|day| date_of_day(*day)).collect(),
        });
        CalendarBody { name, spans: spans.collect() }
    }
}

/// Holidays to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalendarRequest {
    /// The calendar as people write it down: the lines `calendar NAME`, `from DAY`, `until DAY`, then a line for each holiday, which begins with its day. At most
    /// 5,000 characters: some ten years.
    #[schema(
        max_length = 5_000,
        example = "calendar jp-banking\nfrom 2028-01-01\nuntil 2028-12-31\n2028-01-10 Coming of Age Day"
    )]
    text: String,
}

/// A calendar's name.
#[derive(Debug, Clone)]
pub(crate) struct CalendarName(String);

impl std::str::FromStr for CalendarName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        if is_calendar_name(text) { Ok(CalendarName(text.to_owned())) } else { Err(()) }
    }
}

impl crate::place::Named for CalendarName {
    const NOUN: &'static str = "calendar";
}

/// What is known of a calendar.
///
/// A calendar of which nothing is known is not there.
#[utoipa::path(get, path = "/v1/operator/calendars/{name}", tag = "operator", security(("operator" = [])),
    params(("name" = String, Path, description = "`jp-banking`, or a calendar of the platform's own.")),
    responses((status = 200, body = CalendarBody)))]
pub(crate) async fn get(
    State(app): State<App>,
    operator: Operator,
    Id(CalendarName(name)): Id<CalendarName>,
) -> Result<Json<CalendarBody>, Problem> {
    let calendar = calendars::get(&app, &operator.reading(), &name).await?;
    Ok(Json(CalendarBody::of(name, &calendar)))
}

/// Add holidays to a calendar.
///
/// What is added last decides, so a mistake is mended by adding the span once more. Files that are open already keep their cut-off.
#[utoipa::path(post, path = "/v1/operator/calendars", tag = "operator", security(("operator" = [])),
    request_body = CalendarRequest, responses((status = 200, body = CalendarBody)))]
pub(crate) async fn add(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<CalendarRequest>,
) -> Result<Json<CalendarBody>, Problem> {
    let (name, calendar) = calendars::add(&app, &operator.reading(), &body.text).await?;
    Ok(Json(CalendarBody::of(name, &calendar)))
}
