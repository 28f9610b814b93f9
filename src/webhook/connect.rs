//! One connection to a receiver: its name, an address that is allowed, TCP, TLS. Every attempt makes its own.
//!
//! What is judged is what is dialled: all addresses of a name before any of them is, the one that was chosen, and the
//! peer that was reached. No proxy stands between, and nothing is kept for the next attempt.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::shares::{Share, Shares};
use crate::queue::{Blocked, Host, Policy, Receiver};
use crate::types::AccountId;

/// How long a name may take to be resolved, and how long TCP and TLS may take together.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most addresses that a name may have: no receiver has so many, and each has to be judged.
const MAX_ADDRESSES: usize = 32;

/// The most of them that are dialled.
const MAX_DIALLED: usize = 4;

/// The most look-ups at once. The system's resolver can't be stopped and may take half a minute on a thread of its own, of
/// which the runtime has 512 for everything that blocks.
const MAX_LOOKUPS: usize = 128;

/// How long a look-up waits for its place among them.
const PLACE_TIMEOUT: Duration = Duration::from_secs(2);

/// A place among the look-ups, which whoever looks up keeps to the end, even where nobody waits for that any more.
#[derive(Debug)]
pub struct LookUp {
    _place: OwnedSemaphorePermit,
    _share: Share,
}

/// Finds the addresses of names.
pub trait Resolve: Send + Sync + Debug {
    /// The addresses of `name`, in the order in which they should be tried; `place` is kept as long as that goes on.
    ///
    /// # Errors
    /// There are none, or nobody answers.
    fn resolve<'a>(&'a self, name: &'a str, place: LookUp) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The system's own resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str, place: LookUp) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let name = name.to_owned();
            let looking = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                drop(place);
                let found = found?.map(|address| address.ip());
                Ok(found.take(MAX_ADDRESSES + 1).collect())
            });
            looking.await.map_err(io::Error::other)?
        })
    }
}

/// Why there is no connection. The texts go to the caller, who is not told which names of a private network there are.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The name could not be resolved.
    #[error("the receiver's name leads to no public address")]
    Resolve(#[source] io::Error),
    /// The name has no address.
    #[error("the receiver's name leads to no public address")]
    NoAddress,
    /// The name has too many addresses.
    #[error("the receiver's name has more than {MAX_ADDRESSES} addresses")]
    TooMany,
    /// An address is not allowed.
    #[error("the receiver's name leads to no public address")]
    Blocked(Blocked),
    /// The name can't stand in a certificate.
    #[error("the receiver's name can't be one of a certificate")]
    Name,
    /// It took too long.
    #[error("{0} took too long")]
    TimedOut(&'static str),
    /// TCP failed.
    #[error("the receiver can't be connected to: {0}")]
    Tcp(#[source] io::Error),
    /// TLS failed.
    #[error("TLS with the receiver failed: {0}")]
    Tls(#[source] io::Error),
}

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes connections to receivers.
#[derive(Clone)]
pub struct Connector {
    resolver: Arc<dyn Resolve>,
    look_ups: Arc<Semaphore>,
    shares: Shares,
    tls: TlsConnector,
}

impl Connector {
    /// A connector that asks `resolver` for addresses and believes the authorities of `tls`.
    pub fn new(resolver: Arc<dyn Resolve>, mut tls: ClientConfig) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Receivers of one customer learn nothing from those of another, and there is no second connection anyway.
        tls.resumption = Resumption::disabled();
        Self {
            resolver,
            look_ups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            shares: Shares::new(MAX_LOOKUPS),
            tls: TlsConnector::from(Arc::new(tls)),
        }
    }

    /// A place for a look-up of an account, which may have all but an eighth of them; none if there is none soon.
    pub(super) async fn look_up(&self, account: &AccountId) -> Option<LookUp> {
        let share = self.shares.take(account.clone());
        if self.shares.is_passed(account) {
            return None;
        }
        let place = timeout(PLACE_TIMEOUT, Arc::clone(&self.look_ups).acquire_owned()).await;
        Some(LookUp {
            _place: place.ok()?.ok()?,
            _share: share,
        })
    }

    /// Connects to `receiver` if all its addresses are allowed.
    pub(super) async fn connect(
        &self,
        receiver: &Receiver,
        policy: &Policy,
        place: LookUp,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let addresses = self.addresses(receiver.host(), place).await?;
        for address in &addresses {
            judge(*address, policy)?;
        }
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let stream = dial(&addresses, receiver.port(), deadline).await?;
        let peer = stream.peer_addr().map_err(ConnectError::Tcp)?;
        judge(peer.ip(), policy)?;
        stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
        if !receiver.is_tls() {
            return Ok(Box::new(stream));
        }
        let connecting = self.tls.connect(server_name(receiver.host())?, stream);
        let connected = timeout_at(deadline, connecting).await;
        let connected = connected.map_err(|_| ConnectError::TimedOut("TLS with the receiver"))?;
        Ok(Box::new(connected.map_err(ConnectError::Tls)?))
    }

    async fn addresses(&self, host: &Host, place: LookUp) -> Result<Vec<IpAddr>, ConnectError> {
        let name = match host {
            Host::Address(address) => return Ok(vec![address.to_canonical()]),
            Host::Name(name) => name,
        };
        let found = timeout(RESOLVE_TIMEOUT, self.resolver.resolve(name, place)).await;
        let found = found.map_err(|_| ConnectError::TimedOut("resolving the receiver's name"))?;
        let found = found.map_err(ConnectError::Resolve)?;
        match found.len() {
            0 => Err(ConnectError::NoAddress),
            1..=MAX_ADDRESSES => Ok(found),
            _ => Err(ConnectError::TooMany),
        }
    }
}

impl Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("resolver", &self.resolver)
            .finish_non_exhaustive()
    }
}

fn judge(address: IpAddr, policy: &Policy) -> Result<(), ConnectError> {
    policy.allows(address).map_err(ConnectError::Blocked)?;
    if !policy.lets_through(address) && is_own(address) {
        return Err(ConnectError::Blocked(Blocked::Own));
    }
    Ok(())
}

/// Whether it is an address of this machine: the system would send from it what goes to it. No packet leaves for that.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 443))?;
        socket.local_addr()
    };
    // An address to which there is no way is nobody's.
    from().is_ok_and(|from| from.ip() == address)
}

/// Connects to the first address that answers; each gets its part of the time that is left.
async fn dial(addresses: &[IpAddr], port: u16, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let mut error = ConnectError::NoAddress;
    let mut left = u32::try_from(addresses.len().min(MAX_DIALLED)).unwrap_or(1);
    for address in addresses.iter().take(MAX_DIALLED) {
        let now = Instant::now();
        let time = deadline.saturating_duration_since(now) / left.max(1);
        left = left.saturating_sub(1);
        let address = SocketAddr::from((address.to_canonical(), port));
        error = match timeout_at(now + time, connect_to(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => ConnectError::Tcp(error),
            Err(_) => ConnectError::TimedOut("connecting to the receiver"),
        };
    }
    Err(error)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    socket?.connect(address).await
}

fn server_name(host: &Host) -> Result<ServerName<'static>, ConnectError> {
    match host {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| ConnectError::Name),
        Host::Address(address) => Ok(ServerName::from(address.to_canonical())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_told_from_others() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.1:9").is_ok() {
            assert!(is_own(socket.local_addr().unwrap().ip()));
        }
        assert!(!is_own("2001:db8::1".parse().unwrap()));
    }
}
