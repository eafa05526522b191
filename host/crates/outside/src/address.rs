//! Which addresses may be connected to: a pure table of what each block of the address space reaches.
//!
//! The blocks come from the IANA special-purpose registries for IPv4 and IPv6 and from what the large clouds publish about their metadata
//! services. A name says nothing: only the address that it resolved to is judged, and only a judged address is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Somebody on the internet.
    Public,
    /// This machine or a network of its owner, in words: open only to an endpoint that the operator allowed by name.
    Private(&'static str),
    /// Nobody that a partner's endpoint could rightly be, in words: never open.
    Never(&'static str),
}

/// Why an address is not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// The operator has not allowed private addresses for this endpoint.
    #[error(
        "{address} is private ({why}); if this partner really is there, allow private addresses for this endpoint by name"
    )]
    Private {
        /// The address that was asked for.
        address: IpAddr,
        /// What block it belongs to.
        why: &'static str,
    },
    /// No setting opens this address.
    #[error("{address} is never connected to ({why}); correct the endpoint's base address")]
    Never {
        /// The address that was asked for.
        address: IpAddr,
        /// What block it belongs to.
        why: &'static str,
    },
}

/// Judges one address; `allow_private` is the operator's word for this endpoint.
pub fn check(address: IpAddr, allow_private: bool) -> Result<(), AddressRefused> {
    match reach(address) {
        Reach::Public => Ok(()),
        Reach::Private(_) if allow_private => Ok(()),
        Reach::Private(why) => Err(AddressRefused::Private { address, why }),
        Reach::Never(why) => Err(AddressRefused::Never { address, why }),
    }
}

/// Says what is behind an address.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let bits = address.to_bits();
    let block = V4_BLOCKS.iter().find(|(base, length, _)| {
        let host_bits = 32 - length;
        bits >> host_bits == base.to_bits() >> host_bits
    });
    block.map_or(Reach::Public, |(_, _, reach)| *reach)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    // These two forms are only another spelling of an IPv4 address, so they reach what it reaches.
    if let Some(v4) = address.to_ipv4_mapped() {
        return reach_v4(v4);
    }
    let bits = address.to_bits();
    if bits >> 32 == NAT64.to_bits() >> 32 {
        return reach_v4(low_v4(bits));
    }
    let block = V6_BLOCKS.iter().find(|(base, length, _)| {
        let host_bits = 128 - length;
        bits >> host_bits == base.to_bits() >> host_bits
    });
    match block {
        Some((_, _, reach)) => *reach,
        // Only 2000::/3 has been given out; what is outside and not in the table has no owner.
        None if bits >> 125 == 1 => Reach::Public,
        None => Reach::Never("not a global unicast address"),
    }
}

fn low_v4(bits: u128) -> Ipv4Addr {
    let [.., a, b, c, d] = bits.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// RFC 6052: the last 32 bits are the IPv4 address that a translator will connect to.
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

const METADATA: Reach = Reach::Never("a cloud's metadata service");
const DOCUMENTATION: Reach = Reach::Never("documentation");

/// Block, prefix length, what it reaches. The first match counts, so single addresses stand before the blocks that hold them.
const V4_BLOCKS: &[(Ipv4Addr, u32, Reach)] = &[
    (Ipv4Addr::new(169, 254, 169, 254), 32, METADATA),
    (Ipv4Addr::new(169, 254, 170, 2), 32, METADATA),
    (Ipv4Addr::new(100, 100, 100, 200), 32, METADATA),
    (Ipv4Addr::new(168, 63, 129, 16), 32, METADATA),
    (Ipv4Addr::new(192, 0, 0, 192), 32, METADATA),
    (Ipv4Addr::new(0, 0, 0, 0), 8, Reach::Never("unspecified")),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Reach::Private("private network")),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Reach::Private("carrier-grade NAT")),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Reach::Private("loopback")),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Reach::Never("link-local")),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Reach::Private("private network")),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Reach::Never("protocol assignments")),
    (Ipv4Addr::new(192, 0, 2, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Reach::Never("6to4 relay")),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Reach::Private("private network")),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Reach::Never("benchmarking")),
    (Ipv4Addr::new(198, 51, 100, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(203, 0, 113, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Reach::Never("multicast")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Reach::Never("reserved or broadcast")),
];

/// As above. Tunnels that carry an IPv4 address inside (6to4, Teredo) are refused whole: they were retired, and hide where they lead.
const V6_BLOCKS: &[(Ipv6Addr, u32, Reach)] = &[
    (Ipv6Addr::LOCALHOST, 128, Reach::Private("loopback")),
    (Ipv6Addr::UNSPECIFIED, 96, Reach::Never("unspecified or IPv4-compatible")),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Reach::Never("local IPv4 translation")),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, METADATA),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, METADATA),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Reach::Never("Teredo and protocol assignments")),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, DOCUMENTATION),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Reach::Never("6to4")),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, DOCUMENTATION),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Reach::Private("unique local network")),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Reach::Never("link-local")),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Reach::Never("multicast")),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter per address: `+` public, `p` private, `-` never.
    #[track_caller]
    fn check_all(cases: &[(&str, char)]) {
        for (text, expected) in cases {
            let address = text.parse().expect("an address");
            let (letter, open, open_if_allowed) = match reach(address) {
                Reach::Public => ('+', true, true),
                Reach::Private(_) => ('p', false, true),
                Reach::Never(_) => ('-', false, false),
            };
            assert_eq!(letter, *expected, "{text}: {:?}", reach(address));
            assert_eq!(check(address, false).is_ok(), open, "{text} without the operator's word");
            assert_eq!(check(address, true).is_ok(), open_if_allowed, "{text} with the operator's word");
        }
    }

    #[test]
    fn ipv4_is_judged_by_block_and_at_the_edges_of_blocks() {
        check_all(&[
            ("1.1.1.1", '+'),
            ("8.8.8.8", '+'),
            ("0.0.0.0", '-'),
            ("0.255.255.255", '-'),
            ("1.0.0.0", '+'),
            ("9.255.255.255", '+'),
            ("10.0.0.0", 'p'),
            ("10.255.255.255", 'p'),
            ("11.0.0.0", '+'),
            ("100.63.255.255", '+'),
            ("100.64.0.0", 'p'),
            ("100.127.255.255", 'p'),
            ("100.128.0.0", '+'),
            ("100.100.100.200", '-'),
            ("127.0.0.1", 'p'),
            ("127.255.255.254", 'p'),
            ("168.63.129.16", '-'),
            ("169.253.255.255", '+'),
            ("169.254.0.1", '-'),
            ("169.254.169.254", '-'),
            ("169.254.170.2", '-'),
            ("172.15.255.255", '+'),
            ("172.16.0.0", 'p'),
            ("172.31.255.255", 'p'),
            ("172.32.0.0", '+'),
            ("192.0.0.192", '-'),
            ("192.0.2.1", '-'),
            ("192.88.99.1", '-'),
            ("192.167.255.255", '+'),
            ("192.168.0.1", 'p'),
            ("192.169.0.0", '+'),
            ("198.18.0.1", '-'),
            ("198.19.255.255", '-'),
            ("198.51.100.7", '-'),
            ("203.0.113.9", '-'),
            ("223.255.255.255", '+'),
            ("224.0.0.1", '-'),
            ("239.255.255.255", '-'),
            ("240.0.0.1", '-'),
            ("255.255.255.255", '-'),
        ]);
    }

    #[test]
    fn ipv6_is_judged_by_block() {
        check_all(&[
            ("2606:4700:4700::1111", '+'),
            ("2400::1", '+'),
            ("::", '-'),
            ("::1", 'p'),
            ("::2", '-'),
            ("fc00::1", 'p'),
            ("fd12:3456::1", 'p'),
            ("fd00:ec2::254", '-'),
            ("fd20:ce::254", '-'),
            ("fe80::1", '-'),
            ("fec0::1", '-'),
            ("ff02::1", '-'),
            ("2001:db8::1", '-'),
            ("3fff::1", '-'),
            ("100::1", '-'),
            ("4000::1", '-'),
            ("1fff::1", '-'),
            ("5f00::1", '-'),
        ]);
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_address_hides_nothing() {
        check_all(&[
            ("::ffff:127.0.0.1", 'p'),
            ("::ffff:10.1.2.3", 'p'),
            ("::ffff:169.254.169.254", '-'),
            ("::ffff:0.0.0.0", '-'),
            ("::ffff:8.8.8.8", '+'),
            ("::127.0.0.1", '-'),
            ("::8.8.8.8", '-'),
            ("64:ff9b::7f00:1", 'p'),
            ("64:ff9b::a9fe:a9fe", '-'),
            ("64:ff9b::808:808", '+'),
            ("64:ff9b:1::a00:1", '-'),
            ("2002:7f00:1::", '-'),
            ("2002:808:808::1", '-'),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", '-'),
        ]);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = check("10.0.0.1".parse().expect("an address"), false).expect_err("refused");
        assert!(refused.to_string().contains("allow private addresses for this endpoint by name"), "{refused}");
    }
}
