//! The time limit on writing: a peer that takes nothing for too long loses its connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// Watches one connection's writes. Its timer exists only while a write waits.
#[derive(Debug)]
pub struct WriteStall {
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl WriteStall {
    /// Nothing waits yet; what waits later may do so for `limit`.
    pub fn new(limit: Duration) -> Self {
        Self { limit, waiting: None }
    }

    /// Passes on what a write, flush or shutdown came to.
    ///
    /// # Errors
    /// The write's own error, or [`io::ErrorKind::TimedOut`] when nothing was taken for the limit.
    pub fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        waiting
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}
