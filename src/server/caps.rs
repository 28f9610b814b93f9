//! How many connections may be open, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::Settings;

/// Counts open connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Caps {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
}

impl Caps {
    /// A place for a connection from `ip`, if `settings` leave one. It is given back when the guard falls.
    pub(super) fn take(&self, ip: IpAddr, settings: &Settings) -> Option<Place> {
        let ip = block(ip);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let from_ip = open.by_ip.get(&ip).copied().unwrap_or(0);
        if open.all >= settings.max_connections || from_ip >= settings.max_connections_per_ip {
            return None;
        }
        open.all += 1;
        open.by_ip.insert(ip, from_ip + 1);
        Some(Place {
            open: Arc::clone(&self.open),
            ip,
        })
    }
}

/// Who counts as one: an IPv4 address, or the /64 that one IPv6 customer has.
fn block(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// An open connection's place.
#[must_use = "the place is taken only while this lives"]
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        if let Some(from_ip) = open.by_ip.get_mut(&self.ip) {
            *from_ip = from_ip.saturating_sub(1);
            if *from_ip == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Server;

    fn settings(max_connections: usize, max_connections_per_ip: usize) -> Settings {
        Settings::from(&Server {
            max_connections,
            max_connections_per_ip,
            ..Server::default()
        })
    }

    #[test]
    fn places_are_counted_in_all_and_by_address_and_given_back() {
        let (caps, settings) = (Caps::default(), settings(3, 2));
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = caps.take(ip("10.0.0.1"), &settings).unwrap();
        let _mapped = caps.take(ip("::ffff:10.0.0.1"), &settings).unwrap();
        assert!(
            caps.take(ip("10.0.0.1"), &settings).is_none(),
            "the address is full"
        );
        let _other = caps.take(ip("10.0.0.2"), &settings).unwrap();
        assert!(caps.take(ip("10.0.0.3"), &settings).is_none(), "all is full");
        drop(first);
        assert!(caps.take(ip("10.0.0.1"), &settings).is_some());
    }

    #[test]
    fn a_customers_ipv6_addresses_count_as_one() {
        let (caps, settings) = (Caps::default(), settings(9, 1));
        let _first = caps.take("2001:db8:1:2::1".parse().unwrap(), &settings).unwrap();
        assert!(
            caps.take("2001:db8:1:2:ffff::9".parse().unwrap(), &settings)
                .is_none()
        );
        assert!(caps.take("2001:db8:1:3::1".parse().unwrap(), &settings).is_some());
        assert_eq!(caps.open.lock().unwrap().by_ip.len(), 1);
    }
}
