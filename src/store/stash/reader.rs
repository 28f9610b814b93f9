//! Reading a sealed file, a chunk at a time, on a thread for what blocks.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::writer::Writer;
use super::{CHUNK, Chunk, Stashes, chunks, damaged, length, sealed_len};
use crate::body::{Body, BoxError};
use crate::queue::JobId;
use crate::store::seal::OVERHEAD;

/// A file that is being read.
pub(super) struct Reader {
    file: File,
    stashes: Stashes,
    job: JobId,
    name: String,
    number: u64,
    /// What is still to come, in the clear.
    left: u64,
}

impl Reader {
    /// Opens the file, which must be as long as one of a content of `len` bytes is.
    pub(super) fn open(stashes: &Stashes, job: JobId, name: &str, len: u64) -> io::Result<Self> {
        let file = File::open(stashes.path_of(name))?;
        if file.metadata()?.len() != sealed_len(len) {
            return Err(damaged("the file of a job is cut or too long"));
        }
        Ok(Self {
            file,
            stashes: stashes.clone(),
            job,
            name: name.to_owned(),
            number: 0,
            left: len,
        })
    }

    pub(super) fn into_body(self) -> Body {
        Body::stream(Chunks {
            left: self.left,
            state: State::Idle(Box::new(self)),
        })
    }

    /// Seals everything anew into another file. Blocks while it works.
    pub(super) fn copy(mut self, mut to: Writer) -> io::Result<()> {
        while self.left > 0 {
            to = to.write(&self.next()?)?;
        }
        to.finish()
    }

    /// The next chunk, which must be there. Blocks while it works.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let is_last = chunks(self.left) == 1;
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK);
        let mut sealed = vec![0; len.saturating_add(OVERHEAD)];
        self.file.read_exact(&mut sealed)?;
        let chunk = Chunk {
            job: &self.job,
            file: &self.name,
            number: self.number,
            is_last,
        };
        let opened = chunk.at(|place| self.stashes.master.open(place, &sealed));
        let mut opened = opened.map_err(damaged)?;
        self.number = self.number.saturating_add(1);
        self.left = self.left.saturating_sub(length(&opened));
        Ok(std::mem::take(&mut *opened))
    }
}

/// A file on its way to whoever asked for it.
struct Chunks {
    state: State,
    left: u64,
}

enum State {
    Idle(Box<Reader>),
    Reading(JoinHandle<io::Result<(Box<Reader>, Vec<u8>)>>),
    Ended,
}

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Idle(reader) if reader.left == 0 => return Poll::Ready(None),
                State::Idle(mut reader) => {
                    self.state = State::Reading(spawn_blocking(move || {
                        let chunk = reader.next()?;
                        Ok((reader, chunk))
                    }));
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let (reader, chunk) = read.map_err(io::Error::other).flatten()?;
                    self.left = reader.left;
                    self.state = State::Idle(reader);
                    return Poll::Ready(Some(Ok(Frame::data(chunk.into()))));
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
