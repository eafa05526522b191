//! Hosts that crash: each runs in a runtime of its own, which is dropped in the middle of whatever it does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use koban_domain::time::Timestamp;
use koban_outside::{Outside, Settings};
use koban_service::clock::Clock;
use koban_service::{App, Error};
use koban_store::{Config, Store};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::harness::{Cut, Database, Kind, Line, door, sealer};

/// How often somebody asks again before a seed gives up: longer than a host takes to come back.
const ASKS_MAX: u32 = 2_000;

/// Two hosts on one database, whose clocks stand until they are moved.
pub(super) struct Hosts {
    pub(super) database: Database,
    urls: [String; 2],
    line: Option<Line>,
    slots: [Mutex<Option<Host>>; 2],
    /// Requests that were asked again because no answer came.
    pub(super) unanswered: AtomicU32,
    /// Answers that had been given before, to somebody who did not hear them.
    pub(super) replays: AtomicU32,
    pub(super) crashes: AtomicU32,
}

struct Host {
    runtime: Runtime,
    app: App,
    clock: Clock,
}

impl Hosts {
    /// Opens both at this time. On PostgreSQL the second one's line to the server can be cut.
    pub(super) async fn open(now: Timestamp) -> Hosts {
        let database = Database::fresh().await;
        drop(database.store().await);
        let line = match database.kind {
            Kind::Postgres => Some(Line::to(&Line::server_of(database.url())).await),
            Kind::Sqlite => None,
        };
        let other = line.as_ref().map_or_else(|| database.url().to_owned(), |line| line.over(database.url()));
        let hosts = Hosts {
            urls: [database.url().to_owned(), other],
            database,
            line,
            slots: [Mutex::new(None), Mutex::new(None)],
            unanswered: AtomicU32::new(0),
            replays: AtomicU32::new(0),
            crashes: AtomicU32::new(0),
        };
        for place in 0..2 {
            hosts.start(place, now).await;
        }
        hosts
    }

    async fn start(&self, place: usize, now: Timestamp) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (url, clock) = (self.urls[place].clone(), Clock::standing_at(now));
        let told = clock.clone();
        let starting = runtime.spawn(async move {
            let store = Store::open(&Config { url, connections_max: 4 }).await.expect("the database opens");
            let outside = Outside::new(Settings::default()).expect("the way out opens");
            App::start(store, door(), outside, told, sealer()).await.expect("a host starts")
        });
        let app = starting.await.expect("a host starts");
        *self.slots[place].lock().expect("whole") = Some(Host { runtime, app, clock });
    }

    /// Ends a host in the middle of what it does, and starts another in its place.
    pub(super) async fn crash(&self, place: usize) {
        let Host { runtime, app, clock } = self.slots[place].lock().expect("whole").take().expect("a host");
        runtime.shutdown_background();
        drop(app);
        self.crashes.fetch_add(1, Ordering::Relaxed);
        self.start(place, clock.now()).await;
    }

    /// Moves both clocks; the second one is behind by so much.
    pub(super) fn set_clocks(&self, now: Timestamp, behind_ms: i64) {
        for (place, to) in [(0, now), (1, now.plus_ms(-behind_ms))] {
            let slot = self.slots[place].lock().expect("whole");
            let clock = &slot.as_ref().expect("a host").clock;
            clock.advance_ms(to.since_ms(clock.now()));
        }
    }

    /// The next commit of the second host is cut, if its line can be.
    pub(super) fn cut(&self, cut: Cut) {
        if let Some(line) = &self.line {
            line.cut_after(0, cut);
        }
    }

    /// How many commits were cut.
    pub(super) fn cuts(&self) -> u32 {
        self.line.as_ref().map_or(0, Line::cuts)
    }

    fn at(&self, place: usize) -> Option<(Handle, App)> {
        let slot = self.slots[place % 2].lock().expect("whole");
        slot.as_ref().map(|host| (host.runtime.handle().clone(), host.app.clone()))
    }

    /// Asks one host and hangs up after so long: what was asked may be done, or not.
    pub(super) async fn ask_and_hang_up<T, F>(&self, place: usize, after: Duration, request: impl Fn(App) -> F)
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        if let Some((handle, app)) = self.at(place) {
            let asking = handle.spawn(request(app));
            tokio::time::sleep(after).await;
            asking.abort();
        }
    }

    /// Asks one host, and then whichever is there, until there is an answer for good.
    pub(super) async fn ask<T, F>(&self, place: usize, request: impl Fn(App) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        for asked in 0..ASKS_MAX {
            let place = place + usize::from(asked % 4 == 3);
            let said = match self.at(place) {
                Some((handle, app)) => handle.spawn(request(app)).await,
                None => {
                    wait(asked).await;
                    continue;
                }
            };
            match said {
                Ok(Err(Error::KeyRunning | Error::Busy | Error::Store(_))) | Err(_) => {
                    self.unanswered.fetch_add(1, Ordering::Relaxed);
                    wait(asked).await;
                }
                Ok(said) => return said,
            }
        }
        panic!("no answer for good after {ASKS_MAX} tries");
    }
}

/// Before the next try: short at first, then up to a twentieth of a second, so that all tries take minutes and a busy machine has time to
/// start a host.
async fn wait(asked: u32) {
    tokio::time::sleep(Duration::from_millis(u64::from(asked / 10).clamp(2, 50))).await;
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // A runtime must not wait for its end inside another one.
        for slot in &self.slots {
            if let Some(host) = slot.lock().ok().and_then(|mut slot| slot.take()) {
                host.runtime.shutdown_background();
            }
        }
    }
}
