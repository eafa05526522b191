//! What people outside know of each test's database: what hosts told clients, the networks' books, what receivers of webhooks heard.
//!
//! Every client that calls a host of a test notes each write that was acknowledged, so that the auditor can compare all of them with the
//! rows whenever a test ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};

use hyper::Method;
use koban_auditor::{Acknowledged, Evidence};
use serde_json::Value;

use super::Sink;
use crate::client::{Client, Reply};

/// What is known of one database.
#[derive(Default)]
struct Known {
    /// By id.
    told: BTreeMap<String, Acknowledged>,
    /// Payments of which more was asked to be held, until it is known whether it is.
    growing: BTreeSet<String>,
    /// Controls of networks beside a host, as `host:port`.
    networks: Vec<String>,
    /// Whether money came through a network that none of these is.
    others: bool,
    /// Receivers by the endpoint's id.
    sinks: BTreeMap<String, Sink>,
}

/// Every host of this process's tests, and what is known, by the address of the database.
#[derive(Default)]
struct Everybody {
    hosts: HashMap<String, String>,
    known: HashMap<String, Known>,
}

static EVERYBODY: LazyLock<Mutex<Everybody>> = LazyLock::new(Mutex::default);

fn with<T>(read: impl FnOnce(&mut Everybody) -> T) -> T {
    read(&mut EVERYBODY.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What is known of the database behind this host; nothing if it is no host of ours.
fn behind<T>(host: &str, read: impl FnOnce(&mut Known) -> T) -> Option<T> {
    with(|everybody| {
        let url = everybody.hosts.get(host)?.clone();
        Some(read(everybody.known.entry(url).or_default()))
    })
}

/// A host at this address serves this database.
pub(crate) fn serves(host: &str, database: &str) {
    with(|everybody| everybody.hosts.insert(host.to_owned(), database.to_owned()));
}

/// The network with these controls works with this host. `before` says whether money came through another one already.
pub(super) fn works_with(host: &str, controls: &str, before: bool) {
    behind(host, |known| {
        known.networks.push(controls.to_owned());
        known.others |= before;
    });
}

/// Somebody spoke to this host in the network's name, whose book is not the whole any more.
pub(super) fn another_speaks(host: &str) {
    behind(host, |known| known.others = true);
}

/// This sink is that endpoint of this host.
pub(super) fn hears(host: &str, endpoint: &str, sink: &Sink) {
    behind(host, |known| known.sinks.insert(endpoint.to_owned(), sink.clone()));
}

/// What rows keep under an id's prefix, and where an answer of the API says the amount of it; none for what has no one amount.
const KEPT: [(&str, Option<&str>); 13] = [
    ("pay", Some("/amount")),
    ("ref", Some("/amount")),
    ("trf", Some("/amount")),
    ("cap", Some("/amount")),
    ("exc", Some("/sell/amount")),
    ("dsp", Some("/amount")),
    ("clo", Some("/due")),
    ("cmp", None),
    ("lot", None),
    ("adj", None),
    ("rev", None),
    ("sch", None),
    ("flw", None),
];

/// A request goes out.
pub(crate) fn asks(host: &str, path: &str) {
    if let Some(payment) = increment_of(path) {
        behind(host, |known| known.growing.insert(payment.to_owned()));
    }
}

/// An answer came. What it says was done is noted; a request on trial does nothing.
pub(crate) fn hear(host: &str, (method, path): (&Method, &str), by: Option<(&str, &str)>, reply: &Reply) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if let Some(payment) = increment_of(path).filter(|_| reply.status < 500) {
        behind(host, |known| known.growing.remove(payment));
    }
    let writes = *method == Method::POST || *method == Method::PUT;
    if !writes || !(200..300).contains(&reply.status) || query.contains("dry_run") {
        return;
    }
    // A key makes one dealing: what other routes answer with was made under another one.
    let makes = ["/v1/payments", "/v1/transfers", "/v1/exchanges"].contains(&path)
        || path.starts_with("/v1/payments/") && (path.ends_with("/captures") || path.ends_with("/refunds"));
    let key = by.filter(|_| makes).map(|(who, key)| (who.to_owned(), key.to_owned()));
    let done: Vec<&Value> = match reply.body["items"].as_array() {
        Some(items) if path == "/v1/bulk" => {
            items.iter().filter_map(Value::as_object).flat_map(|item| item.values()).collect()
        }
        _ => vec![&reply.body],
    };
    for said in done {
        let Some(id) = said["id"].as_str() else { continue };
        let Some((_, amount)) = KEPT.iter().find(|(prefix, _)| id.split('_').next() == Some(prefix)) else { continue };
        let amount = amount.and_then(|place| said.pointer(place)).and_then(Value::as_i64);
        behind(host, |known| {
            let told = known.told.entry(id.to_owned()).or_insert_with(|| Acknowledged {
                id: id.to_owned(),
                amount,
                key: None,
            });
            // Of a payment more may be held later, never less.
            told.amount = told.amount.max(amount);
            told.key = told.key.take().or(key.clone());
        });
    }
}

/// The payment of which this path asks to hold more.
fn increment_of(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/payments/")?.strip_suffix("/increments")
}

/// Everything that is known of this database by now.
pub(super) async fn of(database: &str) -> Evidence {
    let (acknowledged, networks, sinks) = with(|everybody| {
        let known = everybody.known.entry(database.to_owned()).or_default();
        let growing = &known.growing;
        let told = known.told.values().map(|told| Acknowledged {
            // Whoever does not know whether more is held cannot say how much is.
            amount: told.amount.filter(|_| !growing.contains(&told.id)),
            ..told.clone()
        });
        let networks = if known.others { Vec::new() } else { known.networks.clone() };
        (told.collect(), networks, known.sinks.clone())
    });
    let mut evidence = Evidence { acknowledged, book_of: "charge-atm".to_owned(), ..Evidence::default() };
    // Two networks at one host keep two books; none is the whole then.
    if let [controls] = &networks[..]
        && let Ok(book) = Client::new(controls.clone()).get("/control/book").await
    {
        evidence.book = Some(book.body);
    }
    evidence.heard = sinks.iter().map(|(endpoint, sink)| (endpoint.clone(), sink.heard())).collect();
    evidence
}
