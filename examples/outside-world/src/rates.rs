//! A central bank that publishes its reference rates: those of 2018-09-25, always as the newest ones.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::clock::Day;
use crate::world::World;

/// The day's file as the bank wrote it.
const PUBLISHED: &str = include_str!("../feeds/2018-09-25.xml");
const DAY: &str = "2018-09-25";
/// Rates are fixed at 14:15 in Frankfurt, 12:15 UTC in summer, and Japan is nine hours ahead.
const FIXED_MS: i64 = (12 * 60 + 15 + 9 * 60) * 60_000;

/// What the bank answers to.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new().route("/eurofxref-daily.xml", get(daily))
}

async fn daily(State(world): State<Arc<World>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/xml")], published_at(world.now_ms()))
}

/// The file of the last fixing.
fn published_at(now_ms: i64) -> String {
    PUBLISHED.replace(DAY, &Day::at(now_ms.saturating_sub(FIXED_MS)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_days_rates_come_out_when_they_are_fixed() {
        // 2026-04-24 12:14:59 and 12:15:00 UTC.
        for (now_ms, day) in [(1_777_032_899_999, "2026-04-23"), (1_777_032_900_000, "2026-04-24")] {
            let file = published_at(now_ms);
            assert!(file.contains(&format!("<Cube time='{day}'>")) && file.contains("rate='1.1777'"), "{file}");
        }
    }
}
