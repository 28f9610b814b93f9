//! Which addresses a receiver may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Network, Webhooks};

/// What receivers are allowed: public addresses, and the networks that the operator lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    http: bool,
    networks: Vec<Network>,
}

/// Why nothing is sent to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blocked {
    /// It is this machine.
    Loopback,
    /// It is one of this machine's own, though a public one.
    Own,
    /// It is of a private network.
    Private,
    /// It is of the network at hand.
    LinkLocal,
    /// A cloud tells its machines secrets there.
    Metadata,
    /// It is between a provider and its customers.
    Cgnat,
    /// It is of a group.
    Multicast,
    /// It is none.
    Unspecified,
    /// It is IPv6 and has an IPv4 address in it, to which something might lead it.
    Embedded,
    /// It is set aside for something else.
    Reserved,
}

impl Blocked {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Loopback,
        Self::Own,
        Self::Private,
        Self::LinkLocal,
        Self::Metadata,
        Self::Cgnat,
        Self::Multicast,
        Self::Unspecified,
        Self::Embedded,
        Self::Reserved,
    ];

    /// The word for it, a label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Own => "own",
            Self::Private => "private",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::Cgnat => "cgnat",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Embedded => "embedded",
            Self::Reserved => "reserved",
        }
    }
}

impl From<&Webhooks> for Policy {
    fn from(settings: &Webhooks) -> Self {
        Self {
            http: settings.allow_http,
            networks: settings.allow_networks.clone(),
        }
    }
}

impl Policy {
    /// Whether receivers may be without TLS.
    pub fn allows_http(&self) -> bool {
        self.http
    }

    /// Whether names may lead into one's own network. They do mean something to an operator who lets networks through, and
    /// their addresses are judged like all others.
    pub fn allows_inner_names(&self) -> bool {
        !self.networks.is_empty()
    }

    /// Whether the operator lets the address through, whatever it is.
    pub fn lets_through(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.has(address))
    }

    /// Judges an address. An IPv4-mapped one is let through where its IPv4 address is, and else never taken.
    ///
    /// # Errors
    /// What it is instead of public.
    pub fn allows(&self, address: IpAddr) -> Result<(), Blocked> {
        if self.lets_through(address) {
            return Ok(());
        }
        match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => v4(mapped).and(Err(Blocked::Embedded)),
                None => v6(address),
            },
        }
    }
}

/// Where clouds tell their machines about themselves.
const METADATA_V4: [[u8; 4]; 5] = [
    [169, 254, 169, 254],
    [169, 254, 170, 2],
    [100, 100, 100, 200],
    [168, 63, 129, 16],
    [192, 0, 0, 192],
];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The registry of special-purpose addresses, as far as they are not reachable from everywhere.
fn v4(address: Ipv4Addr) -> Result<(), Blocked> {
    let octets = address.octets();
    if METADATA_V4.contains(&octets) {
        return Err(Blocked::Metadata);
    }
    Err(match octets {
        [0, ..] => Blocked::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Blocked::Private,
        [100, 64..=127, ..] => Blocked::Cgnat,
        [127, ..] => Blocked::Loopback,
        [169, 254, ..] => Blocked::LinkLocal,
        [192, 0, 0 | 2, _]
        | [192, 31, 196, _]
        | [192, 52, 193, _]
        | [192, 88, 99, _]
        | [192, 175, 48, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Blocked::Reserved,
        [224..=239, ..] => Blocked::Multicast,
        _ => return Ok(()),
    })
}

/// Global unicast is 2000::/3, less what is set aside there: whatever the registry gets is refused before it is known here.
fn v6(address: Ipv6Addr) -> Result<(), Blocked> {
    if address == METADATA_V6 {
        return Err(Blocked::Metadata);
    }
    Err(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Blocked::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Blocked::Loopback,
        // IPv4-compatible, IPv4-translated, NAT64, 6to4, Teredo.
        [0, 0, 0, 0, 0, 0, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, ..]
        | [0x2002, ..]
        | [0x2001, 0, ..] => Blocked::Embedded,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Blocked::Private,
        [0xfe80..=0xfebf, ..] => Blocked::LinkLocal,
        [0xff00..=0xffff, ..] => Blocked::Multicast,
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Blocked::Reserved,
        [0x2000..=0x3fff, ..] => return Ok(()),
        _ => Blocked::Reserved,
    })
}
