//! How many requests were answered how, and how fast, in Prometheus' text format.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// One answer. The route is its template, never the path that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// The route's template.
    pub(crate) route: &'a str,
    /// The status.
    pub(crate) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

/// The HTTP side's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("koban_http");
        let requests = Family::default();
        registry.register("requests", "Requests by method, route and status", requests.clone());
        let seconds: Family<RouteLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 2.0, 16)));
        registry.register("request_seconds", "From headers to answer", seconds.clone());
        Metrics { registry, requests, seconds }
    }
}

impl Metrics {
    /// Counts an answer. Methods that no route has share one word, so that nobody can invent labels.
    pub(crate) fn answered(&self, answered: Answered<'_>, elapsed: Duration) {
        let known = ["GET", "HEAD", "POST", "PUT", "DELETE"];
        let method = known.into_iter().find(|known| *known == answered.method).unwrap_or("other").to_owned();
        let route = answered.route.to_owned();
        self.seconds
            .get_or_create(&RouteLabels { method: method.clone(), route: route.clone() })
            .observe(elapsed.as_secs_f64());
        self.requests.get_or_create(&Labels { method, route, status: answered.status }).inc();
    }

    /// These and the use cases' metrics as one text.
    pub(crate) fn text(&self, others: &str) -> String {
        let mut text = others.trim_end().trim_end_matches("# EOF").to_owned();
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            text.push_str("# EOF\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_become_one_with_one_end() {
        let metrics = Metrics::default();
        let answered = Answered { method: "BREW", route: "/v1/payments", status: 405 };
        metrics.answered(answered, Duration::from_millis(1));
        let text = metrics.text("koban_dealings_total 1\n# EOF\n");
        assert!(text.starts_with("koban_dealings_total 1\n"), "{text}");
        assert!(
            text.contains(r#"koban_http_requests_total{method="other",route="/v1/payments",status="405"} 1"#),
            "{text}"
        );
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.ends_with("# EOF\n"));
    }
}
