//! Where a request points: ids in paths, and pages in queries.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path as AnyPath, Query as AnyQuery};
use axum::http::request::Parts;
use koban_domain::ids::{
    AdjustmentId, CampaignId, ClosingId, DisputeId, EventId, ExchangeId, FlowId, IdError, KeyId, LinkId, LotId,
    MerchantId, OperatorId, PartnerFileId, PaymentId, QuoteId, RecordId, ReviewId, ScheduleId, StepUpId, TransferId,
    UserId, WebhookId,
};
use koban_domain::money::Currency;
use koban_domain::records::Digest;
use koban_service::page::{LIMIT_MAX, Page, Paged};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::problem::Problem;

/// Something that a path can name.
pub(crate) trait Named: FromStr {
    /// What it is called where there is none.
    const NOUN: &'static str;
}

macro_rules! named {
    ($($name:ty: $noun:literal),* $(,)?) => {
        $(impl Named for $name { const NOUN: &'static str = $noun; })*
    };
}

named! {
    UserId: "user",
    MerchantId: "merchant",
    PaymentId: "payment",
    ReviewId: "review",
    DisputeId: "dispute",
    ClosingId: "closing",
    StepUpId: "step-up",
    TransferId: "transfer",
    ExchangeId: "exchange",
    QuoteId: "quote",
    ScheduleId: "schedule",
    FlowId: "flow",
    ChargeId: "charge",
    BillId: "bill",
    WithdrawalId: "withdrawal",
    LinkingId: "linking",
    LinkId: "link",
    KeyId: "key",
    AdjustmentId: "adjustment",
    OperatorId: "operator",
    CampaignId: "campaign",
    LotId: "lot",
    RecordId: "decision",
    Digest: "component",
    PluginName: "plugin",
    WebhookId: "webhook endpoint",
    EventId: "event of this endpoint",
    SubscriberName: "subscription",
    ParkedId: "parked event",
    PartnerFileId: "partner file",
}

/// A plugin's id as its manifest writes it.
#[derive(Debug, Clone)]
pub(crate) struct PluginName(pub(crate) String);

impl FromStr for PluginName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if plain && (3..=40).contains(&text.len()) { Ok(PluginName(text.to_owned())) } else { Err(()) }
    }
}

/// The id of a plugin that hears.
#[derive(Debug, Clone)]
pub(crate) struct SubscriberName(pub(crate) String);

impl FromStr for SubscriberName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse::<PluginName>().map(|name| SubscriberName(name.0))
    }
}

/// The id of an event that a plugin could not take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParkedId(pub(crate) EventId);

impl FromStr for ParkedId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(ParkedId)
    }
}

/// A charge's id: that of its flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChargeId(pub(crate) FlowId);

impl FromStr for ChargeId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(ChargeId)
    }
}

/// A bill's id: that of its flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BillId(pub(crate) FlowId);

impl FromStr for BillId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(BillId)
    }
}

/// A withdrawal's id: that of its flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WithdrawalId(pub(crate) FlowId);

impl FromStr for WithdrawalId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(WithdrawalId)
    }
}

/// A linking's id: that of its flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkingId(pub(crate) FlowId);

impl FromStr for LinkingId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(LinkingId)
    }
}

/// The id in a path. What cannot be an id names nothing, so the answer is the same as for a missing one.
#[derive(Debug)]
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: Named> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let missing = || Problem::not_found(T::NOUN);
        let AnyPath(text) = AnyPath::<String>::from_request_parts(parts, state).await.map_err(|_| missing())?;
        text.parse().map(Id).map_err(|_| missing())
    }
}

/// The two ids in a path.
#[derive(Debug)]
pub(crate) struct Ids<T, U>(pub(crate) T, pub(crate) U);

impl<S: Send + Sync, T: Named, U: Named> FromRequestParts<S> for Ids<T, U> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = AnyPath::<(String, String)>::from_request_parts(parts, state).await;
        let AnyPath((first, second)) = path.map_err(|_| Problem::not_found(T::NOUN))?;
        let first = first.parse().map_err(|_| Problem::not_found(T::NOUN))?;
        let second = second.parse().map_err(|_| Problem::not_found(U::NOUN))?;
        Ok(Ids(first, second))
    }
}

/// Query parameters of this type; unknown ones are a mistake, as in bodies.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let AnyQuery(value) = AnyQuery::try_from_uri(&parts.uri).map_err(|rejection| {
            let text = std::error::Error::source(&rejection).map_or_else(|| rejection.to_string(), ToString::to_string);
            let (field, detail) = match text.split_once(": ") {
                Some((field, detail)) if !field.contains(' ') => (field.to_owned(), detail.to_owned()),
                _ => (text.split('`').nth(1).unwrap_or("query").to_owned(), text),
            };
            Problem::invalid(field, detail)
        })?;
        Ok(Query(value))
    }
}

/// The page that a query asks for. Errors: a limit outside 1 to 100, a cursor that no page gave.
pub(crate) fn page(after: Option<String>, limit: Option<u16>) -> Result<Page, Problem> {
    if !(1..=LIMIT_MAX).contains(&limit.unwrap_or(1)) {
        return Err(Problem::invalid("limit", format!("ask for 1 to {LIMIT_MAX} items")));
    }
    if after.as_ref().is_some_and(|cursor| cursor.is_empty() || cursor.len() > 1_024) {
        return Err(Problem::invalid("after", "use the `next` value of the page before, unchanged"));
    }
    Ok(Page { after, limit: limit.unwrap_or(0) })
}

/// Which page of a list.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

impl PageQuery {
    /// The page.
    pub(crate) fn page(self) -> Result<Page, Problem> {
        page(self.after, self.limit)
    }
}

/// Which page of a list, and in which currency.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CurrencyPageQuery {
    /// ISO 4217 code, JPY unless told.
    #[param(value_type = Option<String>, example = "JPY")]
    currency: Option<Currency>,
    /// The `next` value of the page before; without it the list begins.
    after: Option<String>,
    /// How many items, 20 unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

impl CurrencyPageQuery {
    /// The currency and the page.
    pub(crate) fn page(self) -> Result<(Currency, Page), Problem> {
        Ok((self.currency.unwrap_or(Currency::JPY), page(self.after, self.limit)?))
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageBody<T> {
    /// The items, in the list's order.
    items: Vec<T>,
    /// Give this as `after` to get the next page; null on the last one.
    #[schema(required)]
    next: Option<String>,
}

impl<T> PageBody<T> {
    /// A page of what was found.
    pub(crate) fn of<V: Into<T>>(paged: Paged<V>) -> PageBody<T> {
        PageBody { items: paged.items.into_iter().map(Into::into).collect(), next: paged.next }
    }

    /// A list that needs no pages.
    pub(crate) fn whole<V: Into<T>>(items: Vec<V>) -> PageBody<T> {
        PageBody { items: items.into_iter().map(Into::into).collect(), next: None }
    }
}
