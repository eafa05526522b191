//! Spans as they open and close: ids, parents, times, attributes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use koban_service::TRACE;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Closed spans that wait to be sent; more are dropped.
const WAITING_MAX: usize = 8_192;
/// Attributes of one span; more are not kept.
const ATTRIBUTES_MAX: usize = 16;

/// A span that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(super) trace: u128,
    pub(super) span: u64,
    /// Zero for the first span of a trace.
    pub(super) parent: u64,
    pub(super) name: &'static str,
    /// Unix time, nanoseconds.
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
}

/// What an attribute holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Flag(bool),
}

/// The layer of the log's subscriber that makes traces of spans.
pub(crate) struct Traces {
    ended: mpsc::Sender<Ended>,
    dropped: Arc<AtomicU64>,
    /// One trace in so many is kept.
    one_in: u32,
}

/// A span that is open.
struct Open {
    span: Ended,
}

impl Traces {
    /// The layer, the closed spans it makes, and how many of them there was no room for.
    pub(crate) fn new(one_in: u32) -> (Traces, mpsc::Receiver<Ended>, Arc<AtomicU64>) {
        let (ended, spans) = mpsc::channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        (Traces { ended, dropped: Arc::clone(&dropped), one_in: one_in.max(1) }, spans, dropped)
    }

    /// What this layer looks at.
    pub(crate) fn looks_at(metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == TRACE
    }

    /// Where a new span stands: below the span that is open here, below the caller's own, or first in a trace of its own. None if the
    /// trace is not kept.
    fn place(&self, above: Option<(u128, u64)>, fields: &mut Fields) -> Option<(u128, u64)> {
        if let Some(above) = above {
            return Some(above);
        }
        match fields.caller.take().as_deref().and_then(caller) {
            Some(Caller { trace, span, is_kept: true }) => Some((trace, span)),
            Some(_) => None,
            None => {
                let chance = u64::from_be_bytes(koban_service::clock::take());
                chance
                    .is_multiple_of(u64::from(self.one_in))
                    .then(|| (u128::from_be_bytes(koban_service::clock::take()), 0))
            }
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Traces {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let above = span.scope().skip(1).find(|above| Traces::looks_at(above.metadata()));
        let above = match above {
            // Below a span that is not kept nothing is.
            Some(above) => match above.extensions().get::<Open>() {
                Some(open) => Some((open.span.trace, open.span.span)),
                None => return,
            },
            None => None,
        };
        let Some((trace, parent)) = self.place(above, &mut fields) else { return };
        let own = u64::from_be_bytes(koban_service::clock::take()).max(1);
        let open = Ended {
            trace,
            span: own,
            parent,
            name: span.name(),
            began: unix_nanos(),
            ended: 0,
            attributes: fields.kept,
        };
        span.extensions_mut().insert(Open { span: open });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(open) = extensions.get_mut::<Open>() else { return };
        let mut fields = Fields { kept: std::mem::take(&mut open.span.attributes), caller: None };
        values.record(&mut fields);
        open.span.attributes = fields.kept;
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open { span: mut ended }) = span.extensions_mut().remove::<Open>() else { return };
        ended.ended = unix_nanos().max(ended.began);
        if self.ended.try_send(ended).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// When a span begins and ends. Nothing is decided by it.
#[expect(
    clippy::disallowed_methods,
    reason = "an edge that measures: spans carry the machine's time, and no decision sees it"
)]
fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads the fields of a span.
#[derive(Default)]
struct Fields {
    kept: Vec<(&'static str, Value)>,
    /// The field `traceparent`: the caller's place in its own trace.
    caller: Option<String>,
}

impl Fields {
    fn keep(&mut self, field: &Field, value: Value) {
        if self.kept.len() < ATTRIBUTES_MAX {
            self.kept.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "traceparent" => self.caller = Some(value.to_owned()),
            _ => self.keep(field, Value::Text(value.to_owned())),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, Value::Whole(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, Value::Whole(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, Value::Flag(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.keep(field, Value::Text(format!("{value:?}")));
    }
}

/// Where a caller is in its own trace.
#[derive(Debug, PartialEq, Eq)]
struct Caller {
    trace: u128,
    span: u64,
    is_kept: bool,
}

/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01` (W3C Trace Context, "traceparent"); none if it is not that.
fn caller(text: &str) -> Option<Caller> {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let parts: Vec<&str> = text.trim().split('-').collect();
    let [version, trace, span, flags, more @ ..] = parts.as_slice() else { return None };
    let lengths = (version.len(), trace.len(), span.len(), flags.len());
    if lengths != (2, 32, 16, 2) || *version == "ff" || (*version == "00" && !more.is_empty()) {
        return None;
    }
    if ![version, trace, span, flags].into_iter().all(|part| is_hex(part)) {
        return None;
    }
    let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (trace != 0 && span != 0).then_some(Caller { trace, span, is_kept: flags & 1 == 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn a_callers_place_is_read_and_nothing_else_is() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let known =
            Caller { trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, span: 0x00f0_67aa_0ba9_02b7, is_kept: true };
        assert_eq!(caller(good), Some(known));
        assert!(caller(&good.replace("-01", "-00")).is_some_and(|caller| !caller.is_kept));
        assert!(
            caller("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some(),
            "a later version may say more"
        );
        for bad in [
            "",
            "hello",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(caller(bad), None, "{bad}");
        }
    }

    fn traced(one_in: u32, work: impl FnOnce()) -> Vec<Ended> {
        use tracing_subscriber::filter::filter_fn;
        let (traces, mut spans, _) = Traces::new(one_in);
        let subscriber = tracing_subscriber::registry().with(traces.with_filter(filter_fn(Traces::looks_at)));
        tracing::subscriber::with_default(subscriber, work);
        std::iter::from_fn(|| spans.try_recv().ok()).collect()
    }

    #[test]
    fn a_span_inside_another_is_its_child_and_what_is_learnt_later_is_kept() {
        let ended = traced(1, || {
            let outer =
                tracing::info_span!(target: TRACE, "outer", route = "/v1/payments", status = tracing::field::Empty);
            let _outer = outer.enter();
            tracing::info_span!("other target").in_scope(|| {
                tracing::info_span!(target: TRACE, "inner", works = 3_u64, fault = true).in_scope(|| {});
            });
            outer.record("status", 201_u64);
        });
        let [inner, outer] = ended.as_slice() else { panic!("{ended:?}") };
        assert_eq!((inner.name, outer.name, outer.parent), ("inner", "outer", 0));
        assert_eq!((inner.trace, inner.parent), (outer.trace, outer.span));
        assert!(outer.began <= inner.began && inner.ended <= outer.ended);
        assert_eq!(inner.attributes, [("works", Value::Whole(3)), ("fault", Value::Flag(true))]);
        assert_eq!(outer.attributes, [("route", Value::Text("/v1/payments".into())), ("status", Value::Whole(201))]);
    }

    #[test]
    fn a_callers_trace_goes_on_if_it_is_kept_and_is_left_out_with_all_below_it_if_not() {
        let below = |flags: &str| {
            let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            traced(1, || {
                let span = tracing::info_span!(target: TRACE, "request", traceparent = parent.as_str());
                span.in_scope(|| tracing::info_span!(target: TRACE, "inner").in_scope(|| {}));
            })
        };
        let kept = below("01");
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().all(|span| span.trace == 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
        assert_eq!(kept[1].parent, 0x00f0_67aa_0ba9_02b7);
        assert!(kept[1].attributes.is_empty(), "the caller's words are no attribute");
        assert!(below("00").is_empty());
    }

    #[test]
    fn one_trace_in_so_many_is_kept_whole() {
        let ended = traced(4, || {
            for _ in 0..400 {
                let span = tracing::info_span!(target: TRACE, "outer");
                span.in_scope(|| tracing::info_span!(target: TRACE, "inner").in_scope(|| {}));
            }
        });
        assert!(ended.len() % 2 == 0 && (80..=350).contains(&ended.len()), "{}", ended.len());
        assert!(ended.chunks(2).all(|pair| pair[0].trace == pair[1].trace));
    }
}
