//! Signed checkpoints of the chain in a file outside the database: what nobody who only holds the database can rewrite.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koban_domain::checkpoints::{Checkpoint, Line, compare};
use koban_domain::records::Digest;
use koban_store::{Store, StoreError};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::app::App;
use crate::clock::{self, Clock};

/// Most bytes of a line that is read.
const LINE_MAX: u64 = 4_096;

/// What keeps a checkpoint from being made or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file cannot be used.
    #[error("{path} cannot be used for checkpoints")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The signing key's file holds something else.
    #[error("{0} holds no key: 64 hexadecimal digits are expected; move it away and a new key is made")]
    Key(PathBuf),
    /// The books cannot be read.
    #[error("the journal cannot be read")]
    Store(#[from] StoreError),
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> CheckpointError + '_ {
    |source| CheckpointError::File { path: path.to_owned(), source }
}

/// Makes checkpoints: a signing key and the file that lines are appended to.
pub struct Keeper {
    path: PathBuf,
    pair: Ed25519KeyPair,
    /// The last sequence and hash that were written, so that a quiet night does not fill the file.
    last: Mutex<Option<(i64, Digest)>>,
}

impl Keeper {
    /// Opens a keeper. The key is read from its file, or made there (mode 0600) with the public key beside it (`.pub`).
    pub fn open(path: &Path, key_path: &Path) -> Result<Keeper, CheckpointError> {
        let seed = match std::fs::read_to_string(key_path) {
            Ok(text) => {
                let mut seed = Zeroizing::new([0; 32]);
                let text = Zeroizing::new(text);
                hex::decode_to_slice(text.trim(), &mut *seed).map_err(|_| CheckpointError::Key(key_path.to_owned()))?;
                seed
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut seed = Zeroizing::new([0; 32]);
                clock::fill(&mut *seed);
                let text = Zeroizing::new(format!("{}\n", hex::encode(*seed)));
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(key_path);
                let file = file.as_mut().map_err(|error| std::io::Error::from(error.kind())).map_err(at(key_path))?;
                file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at(key_path))?;
                seed
            }
            Err(error) => return Err(at(key_path)(error)),
        };
        let pair =
            Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| CheckpointError::Key(key_path.to_owned()))?;
        let keeper = Keeper { path: path.to_owned(), pair, last: Mutex::new(None) };
        let public = public_path(key_path);
        if !public.exists() {
            std::fs::write(&public, format!("{}\n", keeper.public_key())).map_err(at(&public))?;
        }
        // The file is tried now and not in the first minute of work; a piece of a line is what a crash left.
        keeper.append(b"")?;
        let whole = whole_bytes(path)?;
        OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(whole)).map_err(at(path))?;
        Ok(keeper)
    }

    /// The public key, 64 hexadecimal digits.
    pub fn public_key(&self) -> String {
        hex::encode(self.pair.public_key().as_ref())
    }

    /// Appends where the chain stands now, unless it stands where the last line of this keeper says.
    pub async fn keep(&self, store: &Store, clock: &Clock) -> Result<Option<Checkpoint>, CheckpointError> {
        let head = store.lane_head().await?.head;
        let place = (head.sequence, head.hash);
        if *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) == Some(place) {
            return Ok(None);
        }
        let checkpoint = Checkpoint { lane: 0, sequence: head.sequence, hash: head.hash, at: clock.now().0 };
        let signature = self.pair.sign(&checkpoint.signed_bytes());
        let line = Line {
            lane: checkpoint.lane,
            sequence: checkpoint.sequence,
            hash: checkpoint.hash,
            at: checkpoint.at,
            key: self.public_key(),
            signature: hex::encode(signature.as_ref()),
        };
        let mut text = serde_json::to_vec(&line).map_err(std::io::Error::from).map_err(at(&self.path))?;
        text.push(b'\n');
        self.append(&text)?;
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(place);
        Ok(Some(checkpoint))
    }

    /// One write of one line, synced: a crash leaves whole lines and at most one piece at the end.
    fn append(&self, text: &[u8]) -> Result<(), CheckpointError> {
        let mut file =
            OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path).map_err(at(&self.path))?;
        if text.is_empty() {
            return Ok(());
        }
        file.write_all(text).and_then(|()| file.sync_data()).map_err(at(&self.path))
    }
}

/// How many bytes of a file are whole lines.
fn whole_bytes(path: &Path) -> Result<u64, CheckpointError> {
    let mut file = BufReader::new(File::open(path).map_err(at(path))?);
    let (mut whole, mut bytes) = (0, Vec::new());
    loop {
        bytes.clear();
        let read = (&mut file).take(LINE_MAX).read_until(b'\n', &mut bytes).map_err(at(path))?;
        if bytes.last() != Some(&b'\n') {
            return Ok(whole);
        }
        whole += u64::try_from(read).unwrap_or(0);
    }
}

/// The file of the public key that belongs to a signing key's file.
pub fn public_path(key_path: &Path) -> PathBuf {
    key_path.with_extension("pub")
}

/// A running keeper.
pub struct Keeping {
    keeper: Arc<Keeper>,
    app: App,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Keeps checkpoints at an interval, the first one now.
pub fn start(app: &App, keeper: Keeper, every: Duration) -> Keeping {
    let keeper = Arc::new(keeper);
    let (stop, mut told) = watch::channel(false);
    let (mine, host) = (Arc::clone(&keeper), app.clone());
    let task = tokio::spawn(async move {
        while !*told.borrow() {
            note(&host, mine.keep(&host.store, &host.clock).await);
            tokio::select! {
                _ = told.changed() => {}
                () = tokio::time::sleep(every) => {}
            }
        }
    });
    Keeping { keeper, app: app.clone(), stop, task }
}

impl Keeping {
    /// Keeps the last checkpoint, when nothing is committed any more.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
        note(&self.app, self.keeper.keep(&self.app.store, &self.app.clock).await);
    }
}

fn note(app: &App, kept: Result<Option<Checkpoint>, CheckpointError>) {
    match kept {
        Ok(Some(checkpoint)) => drop(app.metrics.checkpoint_sequence.set(checkpoint.sequence)),
        Ok(None) => {}
        Err(error) => {
            app.metrics.checkpoints_failed.inc();
            tracing::error!(error = %crate::ledger::chain(&error), "a checkpoint was not kept; it is tried again");
        }
    }
}

/// The last whole line of a file, if there is one; not checked.
pub fn last(path: &Path) -> Result<Option<Checkpoint>, CheckpointError> {
    let mut last = None;
    each(path, |_, line| {
        last = line.ok().map(|line| line.checkpoint()).or(last);
        true
    })?;
    Ok(last)
}

/// What was compared, and the first thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Checkpoints that hold.
    pub good: u64,
    /// The last entry that one of them vouches for.
    pub good_until: i64,
    /// What is wrong, with its line.
    pub difference: Option<crate::verify::Difference>,
}

/// Compares the journal with every checkpoint of a file. The key is whose signatures count, 64 hexadecimal digits: it comes
/// from where the file's writer cannot change it.
pub async fn verify(store: &Store, path: &Path, key: &str) -> Result<Compared, CheckpointError> {
    let mut lines = Vec::new();
    let mut compared = Compared { good: 0, good_until: 0, difference: None };
    each(path, |number, line| {
        let what = match line {
            Ok(line) if line.key != key => format!("is signed by another key: {}", line.key),
            Ok(line) if !is_signed(&line) => "has a signature that is not its own: the line was changed".to_owned(),
            Ok(line) => {
                // Lines that repeat a place are one question.
                let checkpoint = line.checkpoint();
                if lines.last().is_none_or(|(_, last): &(u64, Checkpoint)| {
                    (last.sequence, last.hash) != (checkpoint.sequence, checkpoint.hash)
                }) {
                    lines.push((number, checkpoint));
                }
                return true;
            }
            Err(error) => error,
        };
        let place = format!("{}, line {number}", path.display());
        compared.difference = Some(crate::verify::Difference { place, what });
        false
    })?;
    let mut reader = store.journal().await?;
    let head = reader.head().await?.head;
    for (number, checkpoint) in lines {
        let found = match checkpoint.sequence {
            0 => Some(Digest::default()),
            sequence => reader.hash_at(sequence).await?,
        };
        if let Some(suffered) = compare(checkpoint, found, head, compared.good_until) {
            let place = format!("the checkpoint in line {number}");
            compared.difference = Some(crate::verify::Difference { place, what: suffered.to_string() });
            return Ok(compared);
        }
        compared.good += 1;
        compared.good_until = compared.good_until.max(checkpoint.sequence);
    }
    Ok(compared)
}

fn is_signed(line: &Line) -> bool {
    let (Ok(key), Ok(signature)) = (hex::decode(&line.key), hex::decode(&line.signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(&line.checkpoint().signed_bytes(), &signature).is_ok()
}

/// Hands over every line with its number, until told to stop. A piece at the end without a line's end is what a crash left.
fn each(path: &Path, mut take: impl FnMut(u64, Result<Line, String>) -> bool) -> Result<(), CheckpointError> {
    let mut file = BufReader::new(File::open(path).map_err(at(path))?);
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        (&mut file).take(LINE_MAX).read_until(b'\n', &mut bytes).map_err(at(path))?;
        if bytes.last() != Some(&b'\n') && u64::try_from(bytes.len()).unwrap_or(u64::MAX) < LINE_MAX {
            return Ok(());
        }
        let line = serde_json::from_slice(&bytes).map_err(|error| format!("cannot be read: {error}"));
        if !take(number, line) {
            return Ok(());
        }
    }
    Ok(())
}
