//! The one clock and the one source of ids of a host: everything else is handed times and ids as values.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use koban_domain::time::Timestamp;
use koban_store::platform::Mode;
use tokio::sync::watch;
use uuid::Uuid;

/// How far this host's clock may lead the database server's, unless the operator says otherwise: the journal's time never goes
/// back, so one host that leads would take all of them with it.
pub const LEAD_MAX_MS: i64 = 5_000;

/// Tells the time: the machine's, one that runs ahead of it as far as the test database says, or one that stands.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    lead_max_ms: i64,
}

#[derive(Debug, Clone)]
enum Source {
    /// The machine's, wrong by so many milliseconds.
    Machine(Arc<AtomicI64>),
    /// Milliseconds ahead of the machine's.
    Ahead(watch::Sender<i64>),
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn machine() -> Clock {
        Clock { source: Source::Machine(Arc::default()), lead_max_ms: LEAD_MAX_MS }
    }

    /// A clock that stands where it is set, for tests and simulations. It is compared with no other clock.
    pub fn standing_at(now: Timestamp) -> Clock {
        Clock { source: Source::Set(Arc::new(AtomicI64::new(now.0))), lead_max_ms: LEAD_MAX_MS }
    }

    /// The clock of a test database: so many milliseconds ahead of the machine's, and further when the policy says so.
    pub fn ahead_by(ms: i64) -> Clock {
        Clock { source: Source::Ahead(watch::Sender::new(ms)), lead_max_ms: LEAD_MAX_MS }
    }

    /// What this clock is good for: only the machine's own tells the time of live money.
    pub fn mode(&self) -> Mode {
        match &self.source {
            Source::Machine(_) => Mode::Live,
            Source::Ahead(_) | Source::Set(_) => Mode::Test,
        }
    }

    /// The same clock, which may lead the database server's by so many milliseconds.
    pub fn that_may_lead(self, ms: i64) -> Clock {
        Clock { lead_max_ms: ms, ..self }
    }

    /// Moves a clock: one that stands is moved on, the machine's is wrong by so much from now on. Tests do this. The
    /// clock of a test database is moved over the API alone.
    pub fn advance_ms(&self, ms: i64) {
        if let Source::Machine(moved) | Source::Set(moved) = &self.source {
            moved.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// By how many milliseconds this clock leads the server's; `asked` was read before the server was asked, so the way there is
    /// never taken for a lead. None for the clocks of tests, or where there is no server.
    pub fn lead_ms(&self, asked: Timestamp, server: Option<Timestamp>) -> Option<i64> {
        match self.source {
            Source::Machine(_) => server.map(|server| asked.since_ms(server)),
            Source::Ahead(_) | Source::Set(_) => None,
        }
    }

    /// Follows the policy of a test database. Never back, and never the machine's clock.
    pub(crate) fn follow(&self, ahead_ms: i64) {
        if let Source::Ahead(ahead) = &self.source {
            ahead.send_if_modified(|known| {
                let is_later = ahead_ms > *known;
                *known = ahead_ms.max(*known);
                is_later
            });
        }
    }

    /// How far it runs ahead of the machine's, milliseconds; none for a clock that cannot be moved over the API.
    pub fn ahead_ms(&self) -> Option<i64> {
        match &self.source {
            Source::Ahead(ahead) => Some(*ahead.borrow()),
            Source::Machine(_) | Source::Set(_) => None,
        }
    }

    /// Waits for so long, or until the clock is moved: what became due by that is seen to at once.
    pub(crate) async fn pause(&self, at_most: std::time::Duration) {
        let pause = tokio::time::sleep(at_most);
        match &self.source {
            Source::Machine(_) | Source::Set(_) => pause.await,
            Source::Ahead(ahead) => {
                let mut ahead = ahead.subscribe();
                tokio::select! {
                    () = pause => {}
                    _ = ahead.changed() => {}
                }
            }
        }
    }

    /// How far it may lead, in milliseconds.
    pub fn lead_max_ms(&self) -> i64 {
        self.lead_max_ms
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::Machine(wrong) => machine().plus_ms(wrong.load(Ordering::SeqCst)),
            Source::Ahead(ahead) => machine().plus_ms(*ahead.borrow()),
            Source::Set(now) => Timestamp(now.load(Ordering::SeqCst)),
        }
    }

    /// A time-ordered id (UUIDv7) of now. Several entries of one unit of work count on from it, so its last 16 bits are zero.
    pub fn id(&self) -> Uuid {
        let random = take::<10>();
        let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(self.now().0).unwrap_or(0), &random);
        Uuid::from_u128(id.into_uuid().as_u128() & !0xffff)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
fn machine() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Measures how long something took, for metrics only: nothing is ever decided by it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "a duration for metrics, no time of anything")]
    pub fn start() -> Stopwatch {
        Stopwatch(std::time::Instant::now())
    }

    /// How long it has run, in seconds.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    /// How long it has run, in whole microseconds.
    pub fn micros(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Unpredictable bytes from the operating system. A machine that has none cannot keep secrets: the process ends.
#[expect(clippy::disallowed_methods, reason = "the one place where randomness comes from")]
pub fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

/// Bytes fetched at once for [`take`]: a payment needs some forty, and each fetch is a call into the kernel.
const STOCK: usize = 512;

thread_local! {
    /// Unpredictable bytes that nobody has had yet, and how many are left.
    static UNUSED: RefCell<([u8; STOCK], usize)> = const { RefCell::new(([0; STOCK], 0)) };
}

/// A few unpredictable bytes for ids and seeds, from a stock of this thread. What is taken is wiped from the stock. Secrets are
/// made with [`fill`] instead: they never lie about beforehand.
pub fn take<const N: usize>() -> [u8; N] {
    const { assert!(N <= STOCK, "the stock is larger than anything taken from it") };
    UNUSED.with_borrow_mut(|(stock, left)| {
        if *left < N {
            fill(stock);
            *left = STOCK;
        }
        let (from, to) = (*left - N, *left);
        let mut taken = [0; N];
        taken.copy_from_slice(&stock[from..to]);
        stock[from..to].fill(0);
        *left = from;
        taken
    })
}

/// An unpredictable id that says nothing of its time (UUIDv4).
pub fn random_id() -> Uuid {
    let mut random = [0; 16];
    fill(&mut random);
    uuid::Builder::from_random_bytes(random).into_uuid()
}

/// 256 unpredictable bits as 43 characters, for tokens.
pub fn token() -> String {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    fill(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_test_clock_runs_ahead_as_told_and_never_back() {
        let (machine, ahead) = (Clock::machine(), Clock::ahead_by(0));
        ahead.follow(86_400_000);
        ahead.follow(3_600_000);
        machine.follow(86_400_000);
        assert_eq!((machine.ahead_ms(), ahead.ahead_ms()), (None, Some(86_400_000)));
        assert!(ahead.now().since_ms(machine.now()) >= 86_399_000);
        assert_eq!((machine.mode(), ahead.mode()), (Mode::Live, Mode::Test));
    }

    #[tokio::test]
    async fn a_moved_clock_ends_a_pause() {
        let clock = Clock::ahead_by(0);
        let pausing = clock.clone();
        let pause = tokio::spawn(async move { pausing.pause(std::time::Duration::from_secs(3_600)).await });
        tokio::task::yield_now().await;
        clock.follow(1);
        pause.await.unwrap();
    }

    #[test]
    fn nothing_is_taken_twice_from_the_stock() {
        let taken: std::collections::BTreeSet<[u8; 16]> = (0..10 * STOCK).map(|_| take()).collect();
        assert_eq!(taken.len(), 10 * STOCK);
        assert!(!taken.contains(&[0; 16]));
    }

    #[test]
    fn ids_are_ordered_by_time_and_leave_room_to_count() {
        let clock = Clock::standing_at(Timestamp(1_537_851_600_000));
        let first = clock.id();
        clock.advance_ms(1);
        let second = clock.id();
        assert!(first < second);
        assert_eq!(first.get_version_num(), 7);
        assert_eq!(first.as_u128() & 0xffff, 0);
    }
}
