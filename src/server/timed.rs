//! A connection's bytes under the clock: a head that does not come and a client that does not read end it.
//!
//! hyper's own limit on reading a head also bounds how long a kept-alive connection may idle, so it can't tell the two
//! apart and is off. Here the clock for a head starts with its first byte, or with the connection for the first head.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::progress::Progress;
use crate::stall::WriteStall;

/// A connection under the clock. A timer is made when it first has to run.
pub(super) struct Timed<S> {
    inner: S,
    /// Bytes that were read to see which protocol is spoken.
    front: Bytes,
    progress: Arc<Progress>,
    times: Times,
    head: Option<Head>,
    head_timer: Option<Pin<Box<Sleep>>>,
    stall: WriteStall,
}

/// A head that is being waited for: it must be whole in time, that is, another call must have begun.
#[derive(Debug, Clone, Copy)]
struct Head {
    begun_before: u64,
    deadline: Instant,
}

impl<S> Timed<S> {
    /// Takes over a connection of which `front` was read already.
    pub(super) fn new(inner: S, front: Bytes, progress: Arc<Progress>, times: Times) -> Self {
        let head = times.heads.map(|_| Head {
            begun_before: 0,
            deadline: times.deadline,
        });
        Self {
            inner,
            front,
            progress,
            times,
            head,
            head_timer: None,
            stall: WriteStall::new(times.write_timeout),
        }
    }
}

/// The times of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// When the first head must have come.
    pub(super) deadline: Instant,
    /// How long every further head may take, from its first byte. Absent in HTTP/2, where heads are frames among others.
    pub(super) heads: Option<Duration>,
    /// How long the client may leave everything unread.
    pub(super) write_timeout: Duration,
}

/// Whether `deadline` is over; wakes the task when it is.
fn is_over(timer: &mut Option<Pin<Box<Sleep>>>, deadline: Instant, cx: &mut Context<'_>) -> bool {
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    if timer.deadline() != deadline {
        timer.as_mut().reset(deadline);
    }
    timer.as_mut().poll(cx).is_ready()
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.front.is_empty() {
            let count = this.front.len().min(buffer.remaining());
            buffer.put_slice(&this.front.split_to(count));
            // What follows is most likely there already: hyper's buffer would grow for a second read.
            return match Pin::new(&mut this.inner).poll_read(cx, buffer) {
                Poll::Ready(read) => Poll::Ready(read),
                Poll::Pending => Poll::Ready(Ok(())),
            };
        }
        this.head = this
            .head
            .filter(|head| this.progress.begun() == head.begun_before);
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                if buffer.filled().len() > before && this.head.is_none() {
                    this.begin_head();
                }
                Poll::Ready(read)
            }
            Poll::Pending => match this.head {
                Some(head) if is_over(&mut this.head_timer, head.deadline, cx) => Poll::Ready(Err(
                    io::Error::new(io::ErrorKind::TimedOut, "the request's head did not come in time"),
                )),
                _ => Poll::Pending,
            },
        }
    }
}

impl<S> Timed<S> {
    /// Bytes have come: if no call is under way they begin the next head.
    fn begin_head(&mut self) {
        if let Some(timeout) = self.times.heads
            && let Some(begun_before) = self.progress.idle_after()
        {
            self.head = Some(Head {
                begun_before,
                deadline: Instant::now() + timeout,
            });
            self.progress.stir();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.stall.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.stall.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.stall.watch(cx, closed)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.stall.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
