//! Clients in a closed loop: each asks, waits for the durable answer, and asks again. Latency is what a caller would see.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::figures::{self, Latencies};

/// What came of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done, durable.
    Done,
    /// Refused by a rule, durable.
    Refused,
    /// Told to come back. Counted, never as done.
    Busy,
}

/// One client.
pub(super) trait Client: Send + 'static {
    /// Waits until it is this client's turn, where only so many may ask at a time. Waiting is part of the latency.
    fn turn(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Makes the next request and waits for its answer. Errors end the measurement: what cannot be answered is not measured.
    fn request(&mut self) -> impl Future<Output = anyhow::Result<Outcome>> + Send;
}

/// How long a run takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Before anything counts.
    pub(super) warm_up: Duration,
    /// What counts.
    pub(super) window: Duration,
}

/// What one run gave.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Answered as done in the window, per second.
    pub(super) per_second: f64,
    /// Latencies of requests that were answered in the window.
    pub(super) latencies: Vec<u32>,
    /// Everything that was done, warm-up and the last answers included: the audit counts these.
    pub(super) done: u64,
    /// Refusals, as `done`.
    pub(super) refused: u64,
    /// Requests told to come back, as `done`.
    pub(super) busy: u64,
}

impl Measured {
    /// The same counted in items, of which each request brought so many.
    pub(super) fn in_items(self, each: u32) -> Measured {
        let many = |requests: u64| requests * u64::from(each);
        Measured {
            per_second: figures::times(self.per_second, each),
            done: many(self.done),
            refused: many(self.refused),
            ..self
        }
    }
}

/// Runs the clients for the span and lets each finish what it has begun; those that still wait for their turn go home.
pub(super) async fn run<C: Client>(span: Span, clients: Vec<C>) -> anyhow::Result<Measured> {
    let stop = Arc::new(AtomicBool::new(false));
    let from = now() + span.warm_up;
    let until = from + span.window;
    let tasks: Vec<_> =
        clients.into_iter().map(|client| tokio::spawn(loop_until(client, Arc::clone(&stop), from, until))).collect();
    tokio::time::sleep_until(until.into()).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Measured::default();
    let mut in_window = 0;
    for task in tasks {
        let one = task.await.context("a client of the bench panicked")??;
        in_window += one.in_window;
        all.done += one.done;
        all.refused += one.refused;
        all.busy += one.busy;
        all.latencies.extend(one.latencies);
    }
    all.per_second = figures::per_second(in_window, span.window);
    Ok(all)
}

#[derive(Default)]
struct One {
    in_window: u64,
    done: u64,
    refused: u64,
    busy: u64,
    latencies: Vec<u32>,
}

async fn loop_until<C: Client>(
    mut client: C,
    stop: Arc<AtomicBool>,
    from: Instant,
    until: Instant,
) -> anyhow::Result<One> {
    let mut one = One::default();
    let mut asked = now();
    while !stop.load(Ordering::Relaxed) {
        match tokio::time::timeout_at(until.into(), client.turn()).await {
            Ok(turn) => turn?,
            Err(_) => break,
        }
        let outcome = client.request().await?;
        let answered = now();
        match outcome {
            Outcome::Done => one.done += 1,
            Outcome::Refused => one.refused += 1,
            Outcome::Busy => {
                one.busy += 1;
                // As a client would: a moment later.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        if outcome == Outcome::Done && answered >= from && answered < until {
            one.in_window += 1;
            one.latencies.push(u32::try_from((answered - asked).as_micros()).unwrap_or(u32::MAX));
        }
        asked = now();
    }
    Ok(one)
}

/// The bench's stopwatch.
#[expect(clippy::disallowed_methods, reason = "durations of the measurement; no decision sees them")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The measurements of one side of a row: several runs, of which medians are shown.
#[derive(Debug, Default)]
pub(super) struct Runs {
    rates: Vec<f64>,
    latencies: Vec<u32>,
    /// As in [`Measured`], of all runs together.
    pub(super) done: u64,
    /// As in [`Measured`], of all runs together.
    pub(super) refused: u64,
    /// As in [`Measured`], of all runs together.
    pub(super) busy: u64,
}

impl Runs {
    /// Adds a run.
    pub(super) fn add(&mut self, measured: Measured) {
        self.rates.push(measured.per_second);
        self.latencies.extend(measured.latencies);
        self.done += measured.done;
        self.refused += measured.refused;
        self.busy += measured.busy;
    }

    /// The median of the runs' rates.
    pub(super) fn per_second(&self) -> f64 {
        figures::median(self.rates.iter().copied())
    }

    /// The latencies of all runs together.
    pub(super) fn latencies(&self) -> Latencies {
        Latencies::of(self.latencies.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u64);

    impl Client for Counting {
        async fn request(&mut self) -> anyhow::Result<Outcome> {
            self.0 += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(if self.0.is_multiple_of(4) { Outcome::Refused } else { Outcome::Done })
        }
    }

    #[tokio::test]
    async fn everything_that_was_answered_is_counted_and_only_the_window_is_measured() {
        let span = Span { warm_up: Duration::from_millis(20), window: Duration::from_millis(50) };
        let measured = run(span, vec![Counting(0), Counting(0)]).await.unwrap();
        assert!(measured.refused > 0 && measured.busy == 0);
        assert!(u64::try_from(measured.latencies.len()).unwrap() < measured.done, "the warm-up is not measured");
        assert!(measured.per_second > 0.0);
    }
}
