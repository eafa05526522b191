//! What an operator may set about HTTP: bounds, rates, timeouts, and who stands in front of us.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// Settings of the HTTP side. The defaults are meant for production.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// Most bytes of a JSON body.
    pub body_bytes_max: usize,
    /// Most bytes of a bulk.
    pub bulk_bytes_max: usize,
    /// Most bytes of a partner's call, which may carry a settlement file.
    pub inbound_bytes_max: usize,
    /// How long a client may take to send its headers; an idle connection is closed after it, too.
    pub header_timeout: Duration,
    /// How long a client may take to send its body.
    pub body_timeout: Duration,
    /// How long a request may take altogether.
    pub request_timeout: Duration,
    /// Most connections at a time; more wait to be accepted.
    pub connections_max: usize,
    /// Most connections of one address at a time; one more is closed at once. Trusted proxies stand for many and have no share.
    pub connections_per_address: usize,
    /// Most requests worked on at a time; more are told to come back.
    pub requests_max: usize,
    /// How long `/readyz` says no before the host stops accepting connections.
    pub notice: Duration,
    /// How long requests that were begun may go on once the host stops.
    pub drain: Duration,
    /// Whether to tell browsers to use TLS only. Set it where TLS is terminated in front of the host.
    pub hsts: bool,
    /// Proxies whose `X-Forwarded-For` is believed. Its last entry is then the client's address.
    pub trusted_proxies: Vec<IpAddr>,
    /// How often one may ask.
    pub rates: Rates,
}

impl Default for WebConfig {
    fn default() -> Self {
        WebConfig {
            body_bytes_max: 64 * 1024,
            bulk_bytes_max: 512 * 1024,
            inbound_bytes_max: 1024 * 1024,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            connections_max: 4_096,
            connections_per_address: 512,
            requests_max: 2_560,
            notice: Duration::from_secs(2),
            drain: Duration::from_secs(20),
            hsts: false,
            trusted_proxies: Vec::new(),
            rates: Rates::default(),
        }
    }
}

/// How often one may ask, by who asks for what.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Any request, by address.
    pub address: Rate,
    /// Any request, by identity: a user, an API key, an operator.
    pub identity: Rate,
    /// Items of bulks, by identity, beside the one request that brings them. A bulk never has more than come at once.
    pub items: Rate,
    /// Signing in, by address.
    pub sign_in_address: Rate,
    /// Signing in, by email, whatever the address.
    pub sign_in_email: Rate,
    /// Signing up, by address.
    pub sign_up_address: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Rates {
            address: Rate::per_minute(6_000, 1_000),
            identity: Rate::per_minute(1_200, 200),
            items: Rate::per_minute(6_000, 1_000),
            sign_in_address: Rate::per_minute(60, 30),
            sign_in_email: Rate::per_minute(6, 10),
            sign_up_address: Rate::per_minute(30, 30),
        }
    }
}

/// A steady rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests that are allowed again in a minute.
    pub per_minute: NonZeroU32,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// This many per minute, this many at once; nought counts as one.
    pub const fn per_minute(per_minute: u32, burst: u32) -> Rate {
        Rate { per_minute: at_least_one(per_minute), burst: at_least_one(burst) }
    }

    /// A rate that nobody reaches, for tests and benchmarks of everything else.
    pub const UNREACHED: Rate = Rate::per_minute(60_000_000, 1_000_000);
}

const fn at_least_one(count: u32) -> NonZeroU32 {
    match NonZeroU32::new(count) {
        Some(count) => count,
        None => NonZeroU32::MIN,
    }
}

impl Rates {
    /// Rates that nobody reaches.
    pub const UNREACHED: Rates = Rates {
        address: Rate::UNREACHED,
        identity: Rate::UNREACHED,
        items: Rate::UNREACHED,
        sign_in_address: Rate::UNREACHED,
        sign_in_email: Rate::UNREACHED,
        sign_up_address: Rate::UNREACHED,
    };
}
