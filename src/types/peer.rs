//! Who is at the other end of a connection.

use std::net::SocketAddr;

/// The client's end of one connection, as the gate itself sees it (never as a header says).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address that the connection comes from.
    pub addr: SocketAddr,
    /// Whether the connection is under TLS.
    pub secure: bool,
}
