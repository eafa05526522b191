//! The base address of an endpoint: parsed once, strictly, by the only parser of addresses in this room.
//!
//! General URL parsers repair what they read (`\` becomes `/`, `0x7f.1` becomes 127.0.0.1), and two parsers that repair differently are how
//! checks are walked around. This one accepts the plain form and nothing else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear: only to private addresses that the operator allowed.
    Http,
    /// TLS 1.2 or 1.3, the certificate checked against the public roots and those of the operator.
    Https,
}

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A DNS name in lower case.
    Name(String),
    /// A literal address.
    Address(IpAddr),
}

/// `scheme://host[:port][/path]`, without user, query or fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Base {
    scheme: Scheme,
    host: Host,
    port: u16,
    path: String,
}

/// What is wrong with a base address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    /// Longer than any real one.
    #[error("the base address has more than {BASE_LENGTH_MAX} characters")]
    TooLong,
    /// `file:`, `unix:`, `HTTP://`, or none at all.
    #[error("the base address must begin with https:// (or http:// for a private endpoint), in lower case")]
    Scheme,
    /// `user:password@host`: credentials belong to the endpoint's credential.
    #[error("the base address must not name a user; give the endpoint a credential instead")]
    UserInfo,
    /// Neither a DNS name nor an address in its usual spelling.
    #[error("`{0}` is not a host; write a DNS name, four decimal numbers like 192.0.2.1, or [IPv6]")]
    Host(String),
    /// Not a number from 1 to 65535.
    #[error("`{0}` is not a port; write a number from 1 to 65535")]
    Port(String),
    /// The path would not mean the same to everyone who reads it.
    #[error("the path of the base address is not plain: {0}")]
    Path(PathError),
}

/// Why a path is not plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Relative to what?
    #[error("it must begin with `/`")]
    NotAbsolute,
    /// Control characters, spaces, `\`, `?`, `#` and everything outside ASCII.
    #[error("it has a character that must be percent-encoded")]
    Character,
    /// `%` without two digits, or an encoded control character, slash, backslash or dot.
    #[error("it has a percent-encoding that is broken or hides a separator")]
    Encoding,
    /// `.`, `..` or an empty segment in the middle.
    #[error("it has an empty or dotted segment")]
    Segment,
    /// Longer than any real one.
    #[error("it has more than {PATH_LENGTH_MAX} characters")]
    TooLong,
}

const BASE_LENGTH_MAX: usize = 512;
const PATH_LENGTH_MAX: usize = 2_048;

impl Base {
    /// Reads a base address.
    pub fn parse(text: &str) -> Result<Base, BaseError> {
        if text.len() > BASE_LENGTH_MAX {
            return Err(BaseError::TooLong);
        }
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Scheme::Https, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Scheme::Http, rest)
        } else {
            return Err(BaseError::Scheme);
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(BaseError::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        let host = parse_host(host)?;
        let port = match (port, scheme) {
            (Some(port), _) => parse_port(port)?,
            (None, Scheme::Http) => 80,
            (None, Scheme::Https) => 443,
        };
        let path = path.trim_end_matches('/');
        if !path.is_empty() {
            check_path(path).map_err(BaseError::Path)?;
        }
        Ok(Base { scheme, host, port, path: path.to_owned() })
    }

    /// How the connection is protected.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whom to connect to.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where on that host.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands before the path of every request: empty or `/…` without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same without its path, and the path that stood there; `/` if there was none.
    pub(crate) fn split_path(&self) -> (Base, String) {
        let path = if self.path.is_empty() { "/".to_owned() } else { self.path.clone() };
        (Base { path: String::new(), ..self.clone() }, path)
    }

    /// The value of the `Host` header: without the port where it is the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(IpAddr::V4(v4)) => v4.to_string(),
            Host::Address(IpAddr::V6(v6)) => format!("[{v6}]"),
        };
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base({self})")
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), BaseError> {
    // Colons of an IPv6 address stand inside brackets.
    let after_host = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_host..].find(':') {
        Some(at) => {
            let (host, port) = authority.split_at(after_host + at);
            Ok((host, Some(&port[1..])))
        }
        None => Ok((authority, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, BaseError> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    match text.parse() {
        Ok(port) if plain => Ok(port),
        _ => Err(BaseError::Port(text.to_owned())),
    }
}

fn parse_host(text: &str) -> Result<Host, BaseError> {
    let refused = || BaseError::Host(text.to_owned());
    if let Some(inside) = text.strip_prefix('[') {
        let inside = inside.strip_suffix(']').ok_or_else(refused)?;
        let address: Ipv6Addr = inside.parse().map_err(|_| refused())?;
        return Ok(Host::Address(IpAddr::V6(address)));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let name_like = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label that is a number in any base would be read as an address by most resolvers: 2130706433, 0177.0.0.1, 0x7f.1.
    let last = text.rsplit('.').next().unwrap_or(text).to_ascii_lowercase();
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    let number = last.bytes().all(|b| b.is_ascii_digit()) || hexadecimal;
    if text.len() > 253 || !text.split('.').all(name_like) || number {
        return Err(refused());
    }
    Ok(Host::Name(text.to_ascii_lowercase()))
}

/// Says whether a path is plain: absolute, ASCII, encoded where it must be, and without segments that somebody would resolve.
pub(crate) fn check_path(path: &str) -> Result<(), PathError> {
    if path.len() > PATH_LENGTH_MAX {
        return Err(PathError::TooLong);
    }
    let Some(segments) = path.strip_prefix('/') else {
        return Err(PathError::NotAbsolute);
    };
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()].map(|digit| digit.and_then(hex_digit));
                let [Some(high), Some(low)] = digits else { return Err(PathError::Encoding) };
                let decoded = high * 16 + low;
                if decoded < 0x20 || matches!(decoded, b'.' | b'/' | b'\\' | 0x7f) {
                    return Err(PathError::Encoding);
                }
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' => {}
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
            | b':' | b'@' => {}
            _ => return Err(PathError::Character),
        }
    }
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !last) {
            return Err(PathError::Segment);
        }
    }
    Ok(())
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_base_is_read_as_written() {
        for (text, shown) in [
            ("https://partner.example", "https://partner.example"),
            ("https://partner.example/", "https://partner.example"),
            ("https://Partner.Example:8443/api/v2/", "https://partner.example:8443/api/v2"),
            ("https://partner.example:443", "https://partner.example"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://[::1]:9000/x", "http://[::1]:9000/x"),
            ("http://localhost", "http://localhost"),
            ("https://xn--fiqs8s.example", "https://xn--fiqs8s.example"),
        ] {
            assert_eq!(Base::parse(text).map(|base| base.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for text in [
            "",
            "partner.example",
            "//partner.example",
            "/v1",
            "file:///etc/passwd",
            "unix:/run/socket",
            "ftp://partner.example",
            "HTTPS://partner.example",
            "Http://127.0.0.1",
            "https:partner.example",
            "https:/partner.example",
            "https://",
            "https:///path",
            "https://user@partner.example",
            "https://user:pass@partner.example",
            "https://partner.example@127.0.0.1",
            "https://partner.example\\@127.0.0.1",
            "https:\\\\partner.example",
            "https://2130706433",
            "https://0x7f000001",
            "https://0x7f.0.0.1",
            "https://0177.0.0.1",
            "https://127.1",
            "https://127.0.0.1.",
            "https://127.0.0.256",
            "https://1.2.3.4.5",
            "https://partner.0x1f",
            "https://[::1",
            "https://::1",
            "https://[fe80::1%25eth0]",
            "https://[127.0.0.1]",
            "https://partner.example:",
            "https://partner.example:0",
            "https://partner.example:080",
            "https://partner.example:65536",
            "https://partner.example:+80",
            "https://partner.example:80:81",
            "https://-partner.example",
            "https://partner..example",
            "https://partner_example",
            "https://partner.example?query",
            "https://partner.example/x?query",
            "https://partner.example/x#fragment",
            "https://partner.example/../x",
            "https://partner.example/a//b",
            "https://partner.example/%2e%2e/x",
            "https://partner.example/a b",
            "https://partner.example/\r\nHost: other",
            "https://pärtner.example",
            "https://partner。example",
            " https://partner.example",
        ] {
            assert!(Base::parse(text).is_err(), "{text} was read as {:?}", Base::parse(text));
        }
    }
}
