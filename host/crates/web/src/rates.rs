//! How often one may ask: by address, by identity, and more strictly where passwords are tried.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use koban_domain::records::Digest;
use koban_service::ctx::Actor;

use crate::config::{Rate, Rates};
use crate::problem::Problem;

/// Requests after which buckets that have filled up again are forgotten, so that memory follows who asks now.
const FORGET_EVERY: u32 = 4_096;

/// All buckets of a host.
#[derive(Debug)]
pub(crate) struct Limits {
    address: Buckets<IpAddr>,
    identity: Buckets<String>,
    items: Buckets<String>,
    sign_in_address: Buckets<IpAddr>,
    sign_in_email: Buckets<[u8; 16]>,
    sign_up_address: Buckets<IpAddr>,
}

/// What is left of a bucket, for the `RateLimit` header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    name: &'static str,
    rate: Rate,
    requests: u32,
}

struct Buckets<K: Hash + Eq + Clone> {
    name: &'static str,
    rate: Rate,
    clock: DefaultClock,
    limiter: RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>,
    asked: AtomicU32,
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buckets").field("name", &self.name).field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(name: &'static str, rate: Rate) -> Buckets<K> {
        let quota = Quota::per_minute(rate.per_minute).allow_burst(rate.burst);
        let limiter = RateLimiter::dashmap(quota).with_middleware::<StateInformationMiddleware>();
        Buckets { name, rate, clock: DefaultClock::default(), limiter, asked: AtomicU32::new(0) }
    }

    fn take(&self, key: &K) -> Result<Left, Problem> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.take_many(key, NonZeroU32::MIN)
    }

    /// Takes so many at once. Errors: the bucket is too empty, or never holds so many.
    fn take_many(&self, key: &K, count: NonZeroU32) -> Result<Left, Problem> {
        let taken = self.limiter.check_key_n(key, count).map_err(|_| {
            let most = self.rate.burst;
            Problem::invalid(
                "items",
                format!("send at most {most} at once; `RateLimit-Policy` says how many in a minute"),
            )
        })?;
        match taken {
            Ok(state) => Ok(Left { name: self.name, rate: self.rate, requests: state.remaining_burst_capacity() }),
            Err(until) => {
                let wait = until.wait_time_from(self.clock.now());
                let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
                let left = Left { name: self.name, rate: self.rate, requests: 0 };
                Err(Problem::too_many(seconds, Some(left)))
            }
        }
    }
}

impl Limits {
    /// Full buckets.
    pub(crate) fn new(rates: &Rates) -> Limits {
        Limits {
            address: Buckets::new("address", rates.address),
            identity: Buckets::new("identity", rates.identity),
            items: Buckets::new("items", rates.items),
            sign_in_address: Buckets::new("sign-in-address", rates.sign_in_address),
            sign_in_email: Buckets::new("sign-in-email", rates.sign_in_email),
            sign_up_address: Buckets::new("sign-up-address", rates.sign_up_address),
        }
    }

    /// Any request from an address.
    pub(crate) fn request(&self, address: IpAddr) -> Result<Left, Problem> {
        self.address.take(&bucket_of(address))
    }

    /// Any request of an identity that is known to exist, so that guessed tokens fill no memory.
    pub(crate) fn identified(&self, actor: &Actor) -> Result<(), Problem> {
        self.identity.take(&actor.to_string()).map(|_| ())
    }

    /// The items of a bulk.
    pub(crate) fn items(&self, actor: &Actor, count: usize) -> Result<(), Problem> {
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        self.items.take_many(&actor.to_string(), count).map(|_| ())
    }

    /// A password that is tried.
    pub(crate) fn sign_in(&self, address: IpAddr, email: &str) -> Result<(), Problem> {
        self.sign_in_address.take(&bucket_of(address))?;
        let email = Digest::of(email.trim().to_lowercase().as_bytes()).half();
        self.sign_in_email.take(&email).map(|_| ())
    }

    /// Somebody who signs up.
    pub(crate) fn sign_up(&self, address: IpAddr) -> Result<(), Problem> {
        self.sign_up_address.take(&bucket_of(address)).map(|_| ())
    }
}

/// Whoever has one IPv6 address usually has 2^64 of them: they share a bucket.
pub(crate) fn bucket_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::V6(Ipv6Addr::from(segments))
        }
        address => address,
    }
}

impl Left {
    /// Says it in headers, after draft-ietf-httpapi-ratelimit-headers.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let Left { name, rate, requests } = self;
        let policy = format!("\"{name}\";q={};w=60;burst={}", rate.per_minute, rate.burst);
        let left = format!("\"{name}\";r={requests}");
        for (header, text) in [("ratelimit-policy", policy), ("ratelimit", left)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(HeaderName::from_static(header), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_minute: u32, burst: u32) -> Limits {
        let rate = Rate::per_minute(per_minute, burst);
        Limits::new(&Rates { address: rate, sign_in_email: rate, ..Rates::UNREACHED })
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_next_one_waits() {
        let limits = limits(1, 3);
        let address = IpAddr::from([192, 0, 2, 1]);
        for left in [2, 1, 0] {
            assert_eq!(limits.request(address).unwrap().requests, left);
        }
        assert!(limits.request(address).is_err());
        assert!(limits.request(IpAddr::from([192, 0, 2, 2])).is_ok(), "another address has a bucket of its own");
    }

    #[test]
    fn one_email_is_tried_from_many_addresses_no_faster() {
        let limits = limits(1, 2);
        let tries = (1..=4).map(|host| limits.sign_in(IpAddr::from([192, 0, 2, host]), " Hana@example.com"));
        assert_eq!(tries.filter(Result::is_ok).count(), 2);
        assert!(
            limits.sign_in(IpAddr::from([192, 0, 2, 9]), "hana@example.com").is_err(),
            "letters and blanks do not help"
        );
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_bucket() {
        let limits = limits(1, 1);
        assert!(limits.request("2001:db8::1".parse().unwrap()).is_ok());
        assert!(limits.request("2001:db8::2".parse().unwrap()).is_err());
        assert!(limits.request("2001:db8:0:1::1".parse().unwrap()).is_ok());
        assert!(limits.request("::ffff:192.0.2.1".parse().unwrap()).is_ok());
        assert!(limits.request("192.0.2.1".parse().unwrap()).is_err(), "the same address written in two ways");
    }
}
