//! The world outside Koban, played: an ATM network that takes cash, a collector of bills, a bank and a budgeting app, which misbehave when they are told to.
//!
//! It is the other side of the wire and shares no code with Koban. README.md lists its controls. Everything is kept in memory; a new start is a
//! new ATM, so no reference is used twice.
//!
//! What it promises as a partner: a deposit that Koban did not answer is sent again a few times, then reversed, and the reversal is sent until
//! it is answered; the cash is in the machine exactly if its book says `booked`.

pub mod bank;
pub mod batches;
pub mod bills;
pub mod book;
pub mod budget;
pub mod clock;
mod collector;
mod controls;
mod courier;
pub mod household;
mod koban;
mod network;
mod rates;
mod serve;
pub mod settlement;
pub mod signing;
pub mod switches;
mod teller;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use clock::Clock;
use koban::KobanBase;
use signing::{SecretProblem, Signer};
use world::World;

/// What the outside world has to know. It holds secrets, so it cannot be printed.
#[derive(Clone)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where Koban is, such as `http://127.0.0.1:8080`.
    pub koban: String,
    /// The secrets shared with Koban (`whsec_…`): the first signs, any is accepted.
    pub secrets: Vec<String>,
    /// The plugin whose inbound operations the ATM network calls.
    pub plugin: String,
    /// The plugin whose inbound operations the collector of bills calls.
    pub bill_plugin: String,
    /// The plugin whose inbound operations the bank calls.
    pub bank_plugin: String,
    /// The directory that the bank shares with Koban for files, if it does: Koban writes into `out`, the bank into `in`.
    pub bank_directory: Option<std::path::PathBuf>,
    /// The name of the ATM (letters, digits, hyphens); without one, a new name is made up.
    pub atm_id: Option<String>,
    /// What the network asks for each deposit, in yen; listed in the settlement file.
    pub fee: i64,
    /// How often it tries, and how long it waits.
    pub patience: Patience,
    /// What time it is.
    pub clock: Clock,
}

/// How often the network tries, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one answer.
    pub answer: Duration,
    /// How often a deposit is sent before it is given up and reversed.
    pub attempts: u32,
    /// The pause after the first attempt; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// How often a reversal is sent before somebody would have to telephone.
    pub attempts_max: u32,
}

impl Config {
    /// A world on a free port of this machine.
    pub fn new(koban: impl Into<String>, secrets: Vec<String>) -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            koban: koban.into(),
            secrets,
            plugin: "charge-atm".to_owned(),
            bill_plugin: "bill-slip".to_owned(),
            bank_plugin: "bank-transfer".to_owned(),
            bank_directory: None,
            atm_id: None,
            fee: 0,
            patience: Patience {
                answer: Duration::from_secs(5),
                attempts: 3,
                pause: Duration::from_millis(200),
                pause_max: Duration::from_secs(5),
                attempts_max: 10_000,
            },
            clock: Clock::system(),
        }
    }
}

/// Why the world did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}; is another outside world running there?")]
    Listen {
        /// What was asked for.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A secret is not one.
    #[error("a secret is not usable")]
    Secret(#[source] SecretProblem),
    /// Koban's address is not one.
    #[error("`{0}` is not where Koban can be; write http://host:port")]
    Koban(String),
    /// The ATM's name would break its references.
    #[error("`{0}` is no name for an ATM; use 1 to 32 letters, digits and hyphens")]
    AtmId(String),
}

/// A world that runs until it is stopped or dropped.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The task that serves; aborted when this value is dropped.
    pub handle: JoinHandle<()>,
    world: Arc<World>,
}

/// Starts the world: it listens when this returns.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let signer = Signer::parse(&config.secrets).map_err(StartError::Secret)?;
    let koban = KobanBase::parse(&config.koban).ok_or_else(|| StartError::Koban(config.koban.clone()))?;
    let atm_id = config.atm_id.clone().unwrap_or_else(|| format!("ATM{}", world::random_name(4)));
    if !book::is_atm_id(&atm_id) {
        return Err(StartError::AtmId(atm_id));
    }
    let listen = config.listen;
    let listener = TcpListener::bind(listen).await.map_err(|source| StartError::Listen { listen, source })?;
    let addr = listener.local_addr().map_err(|source| StartError::Listen { listen, source })?;
    let world = Arc::new(World::new(config, signer, koban, &atm_id));
    let router = network::router()
        .merge(collector::router())
        .merge(teller::router())
        .merge(rates::router())
        .merge(budget::router())
        .merge(controls::router())
        .with_state(world.clone());
    let handle = tokio::spawn(serve::serve(listener, router));
    tracing::info!(%addr, atm = %atm_id, "the outside world is open");
    Ok(Running { addr, handle, world })
}

impl Running {
    /// Where it listens, as a base address.
    pub fn base(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Says that Koban is somewhere else now; what waits to be sent goes there.
    pub fn koban_at(&self, base: &str) -> Result<(), StartError> {
        let koban = KobanBase::parse(base).ok_or_else(|| StartError::Koban(base.to_owned()))?;
        self.world.move_koban(koban);
        Ok(())
    }

    /// Closes it at once, with what it had still to send.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.abort();
        self.world.drop_tasks();
    }
}
