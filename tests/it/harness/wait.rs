//! Waiting for what another task, process or host brings about: bounded, and with the reason when it does not come.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// Measures how long something takes.
pub(crate) struct Stopwatch(Instant);

/// What a stopwatch shows.
pub(crate) type Elapsed = Duration;

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a test's own stopwatch")]
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Elapsed {
        self.0.elapsed()
    }
}

/// Looks again and again, for 20 seconds at most, until what is found is what is wanted.
pub(crate) async fn eventually<T: Debug, F: Future<Output = T>>(
    what: &str,
    look: impl FnMut() -> F,
    wanted: impl Fn(&T) -> bool,
) -> T {
    eventually_for(Duration::from_secs(20), what, look, wanted).await
}

/// The same with another patience.
pub(crate) async fn eventually_for<T: Debug, F: Future<Output = T>>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let stopwatch = Stopwatch::start();
    loop {
        let found = look().await;
        if wanted(&found) {
            return found;
        }
        assert!(stopwatch.elapsed() < patience, "{what}: not after {patience:?}; at last it was {found:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
