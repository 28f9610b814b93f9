//! A connection's bytes under the clock: a head that does not come and a client that does not read end it.
//!
//! hyper's own limit on reading a head also bounds how long a kept-alive connection may idle, so it can't tell the two
//! apart and is off. Here the clock for a head starts with its first byte, or with the connection for the first head.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How many calls of a connection have begun and ended, and since when there is none.
#[derive(Debug)]
pub(super) struct Progress(Mutex<Calls>);

#[derive(Debug)]
struct Calls {
    begun: u64,
    ended: u64,
    /// When the last call ended or something else came; none before the first, when that is not to count as idling.
    stirred: Option<Instant>,
}

impl Progress {
    /// A connection without a call. It idles from `since`, or only after its first call.
    pub(super) fn new(since: Option<Instant>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Calls {
            begun: 0,
            ended: 0,
            stirred: since,
        })))
    }

    pub(super) fn begin(self: &Arc<Self>) -> Begun {
        self.calls().begun += 1;
        Begun(Arc::clone(self))
    }

    /// Waits until the connection has had no call, and no beginning of one, for `timeout`.
    pub(super) async fn idled(&self, timeout: Duration) {
        loop {
            let now = Instant::now();
            let until = self.idle_since().unwrap_or(now) + timeout;
            if until <= now {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn begun(&self) -> u64 {
        self.calls().begun
    }

    fn is_idle(&self) -> bool {
        let calls = self.calls();
        calls.begun == calls.ended
    }

    fn idle_since(&self) -> Option<Instant> {
        let calls = self.calls();
        calls.stirred.filter(|_| calls.begun == calls.ended)
    }

    /// Lets the idling begin anew.
    pub(super) fn stir(&self) {
        self.calls().stirred = Some(Instant::now());
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that has begun and not ended.
#[derive(Debug)]
pub(super) struct Begun(Arc<Progress>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.calls().ended += 1;
        self.0.stir();
    }
}

pin_project! {
    /// A connection under the clock.
    pub(super) struct Timed<S> {
        #[pin]
        inner: S,
        // Bytes that were read to see which protocol is spoken.
        front: Bytes,
        progress: Arc<Progress>,
        head: Option<Head>,
        header_timeout: Duration,
        #[pin]
        head_timer: Sleep,
        stalled: bool,
        write_timeout: Duration,
        #[pin]
        write_timer: Sleep,
    }
}

/// A head that is being waited for: it must be whole before the timer ends, that is, another call must have begun.
#[derive(Debug, Clone, Copy)]
struct Head {
    begun_before: u64,
}

impl<S> Timed<S> {
    /// Takes over a connection of which `front` was read already.
    pub(super) fn new(inner: S, front: Bytes, progress: Arc<Progress>, clock: Clock) -> Self {
        Self {
            inner,
            front,
            progress,
            head: clock.watch_heads.then_some(Head { begun_before: 0 }),
            header_timeout: clock.header_timeout,
            head_timer: tokio::time::sleep_until(clock.deadline),
            stalled: false,
            write_timeout: clock.write_timeout,
            write_timer: tokio::time::sleep(clock.write_timeout),
        }
    }
}

/// The times of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// When the first head must have come.
    pub(super) deadline: Instant,
    /// How long every further head may take, from its first byte.
    pub(super) header_timeout: Duration,
    /// Whether heads are watched at all: in HTTP/2 they are frames among others.
    pub(super) watch_heads: bool,
    /// How long the client may leave everything unread.
    pub(super) write_timeout: Duration,
}

impl<S: AsyncRead> AsyncRead for Timed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if !this.front.is_empty() {
            let count = this.front.len().min(buffer.remaining());
            buffer.put_slice(&this.front.split_to(count));
            return Poll::Ready(Ok(()));
        }
        if this
            .head
            .is_some_and(|head| this.progress.begun() != head.begun_before)
        {
            *this.head = None;
        }
        let before = buffer.filled().len();
        match this.inner.poll_read(cx, buffer) {
            Poll::Ready(read) => {
                let begins = buffer.filled().len() > before && this.head.is_none() && this.progress.is_idle();
                if begins && !this.header_timeout.is_zero() {
                    *this.head = Some(Head {
                        begun_before: this.progress.begun(),
                    });
                    this.progress.stir();
                    this.head_timer
                        .as_mut()
                        .reset(Instant::now() + *this.header_timeout);
                }
                Poll::Ready(read)
            }
            Poll::Pending if this.head.is_some() && this.head_timer.poll(cx).is_ready() => Poll::Ready(Err(
                io::Error::new(io::ErrorKind::TimedOut, "the request's head did not come in time"),
            )),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite> Timed<S> {
    /// Passes on what a write came to; one that waits too long fails.
    fn watched<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut this = self.project();
        if written.is_ready() {
            *this.stalled = false;
            return written;
        }
        if !std::mem::replace(this.stalled, true) {
            this.write_timer
                .as_mut()
                .reset(Instant::now() + *this.write_timeout);
        }
        match this.write_timer.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client does not read",
            ))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.as_mut().project().inner.poll_write(cx, bytes);
        self.watched(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.as_mut().project().inner.poll_flush(cx);
        self.watched(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = self.as_mut().project().inner.poll_shutdown(cx);
        self.watched(cx, closed)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.as_mut().project().inner.poll_write_vectored(cx, slices);
        self.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
