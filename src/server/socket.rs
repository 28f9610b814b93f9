//! A client's socket, which can be looked at while somebody else reads it.
//!
//! hyper does not read on while bytes that it has read wait for their turn, such as a second request behind the
//! first. Then it does not see either that the client has gone, and a call would run on for nobody.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How often a socket with unread bytes is looked at, and how long its reader has to see by itself that it closed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a client that is still sending is listened to after its answer.
const LINGER: Duration = Duration::from_secs(1);

/// One owner's half of a socket.
#[derive(Debug)]
pub(super) struct Socket(Arc<TcpStream>);

/// The other half: sees the client go, whether or not anybody reads.
#[derive(Debug, Clone)]
pub(super) struct Lookout(Arc<TcpStream>);

impl Socket {
    pub(super) fn new(stream: TcpStream) -> (Self, Lookout) {
        let stream = Arc::new(stream);
        (Self(Arc::clone(&stream)), Lookout(stream))
    }
}

impl Lookout {
    /// Waits until the client has closed its side, and a little longer, so that whoever reads can see it first.
    ///
    /// It sleeps while there is nothing to read, so a connection that is only waited on costs nothing.
    pub(super) async fn gone(&self) {
        loop {
            let ready = self.0.ready(Interest::READABLE).await;
            tokio::time::sleep(LOOK_EVERY).await;
            if ready.is_ok_and(|ready| !ready.is_read_closed()) {
                continue;
            }
            return;
        }
    }

    /// Takes what the client still sends, until it closes its side too, though not for longer than a second.
    ///
    /// To close a socket with unread bytes is to reset it, and many a client that meets the reset while it sends its
    /// body never looks at the answer that came before.
    pub(super) async fn see_out(self) {
        // Fails where the socket is shut down or broken already.
        drop(SockRef::from(&*self.0).shutdown(Shutdown::Write));
        let (mut rest, mut nowhere) = (Socket(self.0), tokio::io::sink());
        let taken = tokio::io::copy(&mut rest, &mut nowhere);
        // Whether it closed, broke or went on for too long: the socket is closed now.
        drop(tokio::time::timeout(LINGER, taken).await);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.read_once(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }
}

impl Socket {
    /// Reads what is there. A read that did not fill the buffer has taken everything: the socket counts as empty then,
    /// which saves the system call that would find it so.
    fn read_once(&self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut has_read = false;
        let tried = self.0.try_io(Interest::READABLE, || {
            let room = buffer.remaining();
            let count = self.0.try_read_buf(buffer)?;
            has_read = true;
            if (1..room).contains(&count) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        if has_read { Ok(()) } else { tried }
    }

    fn poll_try<T>(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match write(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_try(cx, |stream| stream.try_write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(Shutdown::Write))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_try(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
