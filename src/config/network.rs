//! A network of addresses, as operators write it: `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    /// How many bits they share.
    length: u8,
}

impl Network {
    /// Reads a CIDR: the first address of the network, a slash and how many bits its addresses share. `None` for anything
    /// else, also where bits beyond those are set. IPv4 networks are written as such, never inside IPv6.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if !length.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let length: u8 = length.parse().ok()?;
        let first = first(address, length)?;
        (first == address && address.to_canonical() == address).then_some(Self { address, length })
    }

    /// Whether `address` belongs to it. An IPv4-mapped address belongs where its IPv4 address does.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && first(address, self.length) == Some(self.address)
    }
}

/// The first address of the network of that length around `address`; `None` if no address has so many bits.
fn first(address: IpAddr, length: u8) -> Option<IpAddr> {
    let length = u32::from(length);
    Some(match address {
        IpAddr::V4(address) => {
            let rest = u32::BITS.checked_sub(length)?;
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let rest = u128::BITS.checked_sub(length)?;
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    })
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_a_length_that_go_together() {
        for good in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "127.0.0.1/32",
            "::/0",
            "fd00::/8",
            "::1/128",
        ] {
            assert_eq!(Network::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/8 ",
            "10.0.0.1/8",
            "10/8",
            "::1/129",
            "fd00::1/8",
            "::ffff:10.0.0.0/104",
            "example.com/8",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        let has =
            |network: &str, address: &str| Network::parse(network).unwrap().has(address.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.255.255.255"));
        assert!(!has("10.0.0.0/8", "11.0.0.0"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!has("10.0.0.0/8", "::10.1.2.3"));
        assert!(has("0.0.0.0/0", "255.255.255.255"));
        assert!(!has("0.0.0.0/0", "::1"));
        assert!(has("::1/128", "::1"));
        assert!(!has("::/0", "127.0.0.1"));
        assert!(has("fd00::/8", "fdff::1"));
    }
}
