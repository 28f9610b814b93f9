//! A body that must be seen whole before it goes on: in memory while it is small, else in a file without a name.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, AsyncWriteExt, ReadBuf};

use crate::body::{Body, BoxError};

/// How much stays in memory, in bytes; forms without a large file fit.
const IN_MEMORY: usize = 256 * 1024;

/// The size of the pieces in which a file is read, in bytes.
const PIECE: usize = 64 * 1024;

/// The body as it came. The file has no name from the start: the system takes it back however the process ends.
#[derive(Debug, Default)]
pub struct Spool {
    memory: BytesMut,
    file: Option<File>,
    len: u64,
}

impl Spool {
    /// Adds a piece.
    ///
    /// # Errors
    /// The temporary folder can't be written.
    pub async fn push(&mut self, piece: &Bytes) -> std::io::Result<()> {
        self.len = self
            .len
            .saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.file.is_none() && self.memory.len().saturating_add(piece.len()) <= IN_MEMORY {
            self.memory.extend_from_slice(piece);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let unnamed = tokio::task::spawn_blocking(tempfile::tempfile)
                    .await
                    .map_err(std::io::Error::other)??;
                let file = none.insert(File::from_std(unnamed));
                file.write_all(&std::mem::take(&mut self.memory)).await?;
                file
            }
        };
        file.write_all(piece).await
    }

    /// How much was added so far, in bytes.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// The body for the upstream, of exactly known length: as it came, but for the ranges that `edits` replace with other
    /// bytes. They do not overlap.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn into_body(self, mut edits: Vec<(Range<u64>, Bytes)>) -> std::io::Result<Body> {
        edits.sort_by_key(|(place, _)| place.start);
        let Some(mut file) = self.file else {
            let whole = self.memory.freeze();
            if edits.is_empty() {
                return Ok(Body::full(whole));
            }
            let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
            let (mut edited, mut done) = (BytesMut::with_capacity(whole.len()), 0);
            for (place, put) in edits {
                edited.extend_from_slice(&whole.slice(done..at(place.start).max(done)));
                edited.extend_from_slice(&put);
                done = at(place.end).max(done);
            }
            edited.extend_from_slice(&whole.slice(done..));
            return Ok(Body::full(edited.freeze()));
        };
        file.flush().await?;
        file.rewind().await?;
        let (mut segments, mut done, mut skip) = (Vec::new(), 0, 0);
        for (place, put) in edits {
            let left = place.start.saturating_sub(done);
            segments.extend([Segment::File { left, skip }, Segment::Bytes(put)]);
            skip = place.end.saturating_sub(place.start);
            done = place.end;
        }
        let left = self.len.saturating_sub(done);
        segments.push(Segment::File { left, skip });
        segments.reverse();
        Ok(Body::stream(FileBody { file, segments }))
    }
}

/// A stretch of the body.
#[derive(Debug)]
enum Segment {
    /// So many bytes of the file, after so many that are passed over.
    File { left: u64, skip: u64 },
    /// These bytes.
    Bytes(Bytes),
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Self::File { left, .. } => *left,
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }
}

/// A file on its way upstream, read as it is asked for; the segments lie in reverse order.
#[derive(Debug)]
struct FileBody {
    file: File,
    segments: Vec<Segment>,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { file, segments } = self.get_mut();
        loop {
            let data = match segments.last_mut() {
                None => return Poll::Ready(None),
                Some(Segment::Bytes(bytes)) => std::mem::take(bytes),
                Some(Segment::File { left: 0, skip: 0 }) => Bytes::new(),
                Some(Segment::File { left, skip }) => {
                    let passed_over = *skip > 0;
                    let count = if passed_over { skip } else { left };
                    let read = ready!(poll_read(file, cx, *count))?;
                    *count = count.saturating_sub(u64::try_from(read.len()).unwrap_or(u64::MAX));
                    if passed_over {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(read))));
                }
            };
            segments.pop();
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.segments.iter().map(Segment::len).sum())
    }
}

fn poll_read(file: &mut File, cx: &mut Context<'_>, most: u64) -> Poll<Result<Bytes, BoxError>> {
    let mut piece = BytesMut::zeroed(usize::try_from(most).unwrap_or(PIECE).min(PIECE));
    let mut buffer = ReadBuf::new(&mut piece);
    ready!(Pin::new(file).poll_read(cx, &mut buffer))?;
    let filled = buffer.filled().len();
    if filled == 0 {
        return Poll::Ready(Err("the spooled body is shorter than it was".into()));
    }
    piece.truncate(filled);
    Poll::Ready(Ok(piece.freeze()))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn spooled(whole: &[u8]) -> Spool {
        let mut spool = Spool::default();
        for piece in whole.chunks(10_000) {
            spool.push(&Bytes::copy_from_slice(piece)).await.unwrap();
        }
        spool
    }

    #[tokio::test]
    async fn what_was_spooled_comes_back_byte_for_byte_or_edited() {
        for len in [0, 1, IN_MEMORY, IN_MEMORY + 1, 1_000_000] {
            let whole: Vec<u8> = (0..=250).cycle().take(len).collect();
            let body = spooled(&whole).await.into_body(Vec::new()).await.unwrap();
            assert_eq!(body.size_hint().exact(), Some(u64::try_from(len).unwrap()));
            assert!(body.collect().await.unwrap().to_bytes() == whole, "{len}");
            if len < 100 {
                continue;
            }
            let last = u64::try_from(len).unwrap();
            let edits = vec![
                (90..91, Bytes::new()),
                (50..90, Bytes::from_static(b"edited")),
                (0..10, Bytes::new()),
                (last - 3..last, Bytes::new()),
            ];
            let body = spooled(&whole).await.into_body(edits).await.unwrap();
            let want = [&whole[10..50], b"edited", &whole[91..len - 3]].concat();
            assert_eq!(body.size_hint().exact(), Some(u64::try_from(want.len()).unwrap()));
            assert!(body.collect().await.unwrap().to_bytes() == want, "{len}");
        }
    }
}
