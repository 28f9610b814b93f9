//! Where results may be sent: which URLs name a receiver, and which addresses one may have.
//!
//! A URL comes from a caller, so it must not lead into the gate's own network. There is one parser, this one, which takes
//! canonical text only and repairs nothing: what it says of host and port is what is connected to. A host is a name in
//! ASCII, four decimal numbers, or an IPv6 address in brackets; whatever else might be read as an address is refused.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use http::uri::PathAndQuery;

pub use self::policy::{Blocked, Policy};

mod policy;

/// The longest URL, in bytes.
const MAX_URL: usize = 2083;

/// The longest name and the longest part of one, after DNS.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// The lowest port beside 80 and 443: those below it are of the system's own services, such as mail and remote shells.
const LOWEST_PORT: u16 = 1024;

/// Ports above it behind which other protocols stand whose servers would read a request as their own: what browsers
/// refuse (the bad ports of the Fetch standard), and databases, caches, brokers and the ports of container hosts.
const DENIED_PORTS: [u16; 42] = [
    1433, 1521, 1719, 1720, 1723, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060,
    5061, 5432, 5672, 5900, 5984, 6000, 6379, 6443, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 9042,
    9092, 9200, 9300, 10080, 10250, 10255, 11211, 27017,
];

/// Names that lead to one's own network wherever they are asked for.
const INNER_NAMES: [&str; 5] = ["localhost", "localdomain", "local", "internal", "home.arpa"];

/// Who takes results: what a URL says, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    tls: bool,
    host: Host,
    port: u16,
    target: PathAndQuery,
}

/// What is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, in lower case, which has to be resolved.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a URL names no receiver. The texts go to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadReceiver {
    /// There is too much of it.
    #[error("the URL is longer than {MAX_URL} characters")]
    TooLong,
    /// It has what no URL has, such as spaces.
    #[error("the URL has a character that must be percent-encoded, or a host that is not in ASCII")]
    Characters,
    /// It is of another kind.
    #[error("the URL doesn't begin with `https://`")]
    Scheme,
    /// It is without TLS.
    #[error("the URL begins with `http://`, which is not allowed here; expected `https://`")]
    Plain,
    /// It has a user or a password.
    #[error("the URL has a user or a password")]
    UserInfo,
    /// It has a fragment.
    #[error("the URL has a fragment")]
    Fragment,
    /// The host is neither a name nor an address.
    #[error("the host of the URL is neither a name nor an address in its plain form")]
    Host,
    /// The host has no meaning outside a network.
    #[error("the host of the URL is no public name")]
    Inner,
    /// The port is no number, or not one where receivers are.
    #[error("the port of the URL is not allowed")]
    Port,
    /// The host is an address that is not allowed.
    #[error("the address in the URL is not allowed: {}", .0.as_str())]
    Blocked(Blocked),
}

impl Receiver {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// It is no canonical `https` URL (or `http`, where `policy` allows that), or names an address, a port or a kind of name
    /// that no receiver may have.
    pub fn parse(text: &str, policy: &Policy) -> Result<Self, BadReceiver> {
        if text.len() > MAX_URL {
            return Err(BadReceiver::TooLong);
        }
        if !text.bytes().all(is_of_urls) {
            return Err(BadReceiver::Characters);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadReceiver::Scheme)?;
        let tls = scheme.eq_ignore_ascii_case("https");
        if !tls && !scheme.eq_ignore_ascii_case("http") {
            return Err(BadReceiver::Scheme);
        }
        if !tls && !policy.allows_http() {
            return Err(BadReceiver::Plain);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).ok_or(BadReceiver::Host)?;
        if authority.contains('@') {
            return Err(BadReceiver::UserInfo);
        }
        if target.contains('#') {
            return Err(BadReceiver::Fragment);
        }
        let (host, port) = split_port(authority)?;
        Ok(Self {
            tls,
            host: host_of(host, policy)?,
            port: match port {
                None => scheme_port(tls),
                Some(port) => port_of(port)?,
            },
            target: target_of(target)?,
        })
    }

    /// The whole URL in its one form: scheme and host in lower case, no port that the scheme has anyway.
    pub fn url(&self) -> String {
        let scheme = self.scheme();
        format!("{scheme}://{}{}", self.host_header(), self.target)
    }

    /// Scheme, host and port, always with the port: what is the same for all URLs of one receiver.
    pub fn origin(&self) -> String {
        format!("{}://{}:{}", self.scheme(), self.host, self.port)
    }

    /// What a `Host` header says: host and port, without the port that the scheme has anyway.
    pub fn host_header(&self) -> String {
        let mut header = self.host.to_string();
        if self.port != scheme_port(self.tls) {
            // Writing to a string can't fail.
            write!(header, ":{}", self.port).ok();
        }
        header
    }

    /// What is connected to.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port there.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether with TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Path and query.
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Whether a URL may have this byte anywhere: those of RFC 3986 and no other.
fn is_of_urls(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

const fn scheme_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// The host with its brackets, and what stands after the colon.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), BadReceiver> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|at| at.saturating_add(2)),
        None => authority.find(':').or(Some(authority.len())),
    };
    let (host, port) = end
        .and_then(|end| authority.split_at_checked(end))
        .ok_or(BadReceiver::Host)?;
    if port.is_empty() {
        return Ok((host, None));
    }
    let port = port.strip_prefix(':').ok_or(BadReceiver::Host)?;
    Ok((host, Some(port)))
}

fn port_of(text: &str) -> Result<u16, BadReceiver> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let port = text.parse().ok().filter(|_| canonical);
    let open = |port: &u16| {
        matches!(port, 80 | 443) || (*port >= LOWEST_PORT && DENIED_PORTS.binary_search(port).is_err())
    };
    port.filter(open).ok_or(BadReceiver::Port)
}

fn host_of(text: &str, policy: &Policy) -> Result<Host, BadReceiver> {
    let address = if let Some(inside) = text.strip_prefix('[') {
        let inside = inside.strip_suffix(']').ok_or(BadReceiver::Host)?;
        let address: Ipv6Addr = inside.parse().map_err(|_| BadReceiver::Host)?;
        IpAddr::V6(address)
    } else if ends_in_number(text) {
        // The standard library takes four decimal numbers without leading zeros and nothing else.
        IpAddr::V4(text.parse().map_err(|_| BadReceiver::Host)?)
    } else {
        return name_of(text, policy).map(Host::Name);
    };
    policy.allows(address).map_err(BadReceiver::Blocked)?;
    Ok(Host::Address(address))
}

/// Whether resolvers and browsers take a host for an IPv4 address: its last part is a number, whatever the base.
fn ends_in_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    let is_hexadecimal = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    is_hexadecimal || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
}

fn name_of(text: &str, policy: &Policy) -> Result<String, BadReceiver> {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > MAX_NAME || !text.split('.').all(is_label) {
        return Err(BadReceiver::Host);
    }
    let name = text.to_ascii_lowercase();
    let is_inner = !name.contains('.')
        || INNER_NAMES.iter().any(|inner| {
            name.strip_suffix(inner)
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        });
    if is_inner && !policy.allows_inner_names() {
        return Err(BadReceiver::Inner);
    }
    Ok(name)
}

fn target_of(text: &str) -> Result<PathAndQuery, BadReceiver> {
    let parsed = match text.strip_prefix('?') {
        Some(_) => PathAndQuery::try_from(format!("/{text}")),
        None if text.is_empty() => return Ok(PathAndQuery::from_static("/")),
        None => PathAndQuery::try_from(text),
    };
    parsed.map_err(|_| BadReceiver::Characters)
}

#[cfg(test)]
mod tests;
