//! Writing a sealed file: whatever comes is cut into chunks.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use super::{CHUNK, Chunk, Stashes};
use crate::queue::JobId;
use crate::store::folder;

/// A file that is being written. What does not fill a chunk waits for more.
pub(super) struct Writer {
    file: File,
    stashes: Stashes,
    job: JobId,
    name: Arc<str>,
    number: u64,
    waiting: Vec<u8>,
}

impl Writer {
    /// Makes the file, for its owner alone.
    pub(super) fn create(stashes: &Stashes, job: JobId, name: Arc<str>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let path = stashes.path_of(&name);
        let file = match options.open(&path) {
            // Somebody has removed an empty folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                folder::make(&stashes.folder)?;
                options.open(&path)?
            }
            file => file?,
        };
        Ok(Self {
            file,
            stashes: stashes.clone(),
            job,
            name,
            number: 0,
            waiting: Vec::with_capacity(CHUNK),
        })
    }

    /// Whether so many more bytes are taken without writing any.
    pub(super) fn takes(&self, len: usize) -> bool {
        self.waiting.len().saturating_add(len) <= CHUNK
    }

    /// Takes bytes without writing any.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Takes bytes, and writes chunks that are full where more follows. Blocks while it works.
    pub(super) fn write(mut self, mut bytes: &[u8]) -> io::Result<Self> {
        while !self.takes(bytes.len()) {
            let room = CHUNK.saturating_sub(self.waiting.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.take(now);
            bytes = later;
            self.put(false)?;
        }
        self.take(bytes);
        Ok(self)
    }

    /// Writes the last chunk, and waits for the disk. Blocks while it works.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.put(true)?;
        self.file.sync_all()?;
        self.stashes.sync()
    }

    fn put(&mut self, is_last: bool) -> io::Result<()> {
        let chunk = Chunk {
            job: &self.job,
            file: &self.name,
            number: self.number,
            is_last,
        };
        let sealed = chunk.at(|place| self.stashes.master.seal(place, &self.waiting));
        self.file.write_all(&sealed.map_err(io::Error::other)?)?;
        self.number = self.number.saturating_add(1);
        self.waiting.clear();
        Ok(())
    }
}
