//! Contents that are too large for the database: each in a sealed file of its own.
//!
//! A file is a row of chunks of 64 KiB in the clear, the last one shorter, each sealed for its place: the job, the file,
//! the chunk's number and whether it is the last. So none can be left out, moved or taken from another file. A file is
//! never written twice; the one that replaces it has another name.

mod reader;
mod writer;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::reader::Reader;
use self::writer::Writer;
use super::folder;
use super::reserve;
use super::seal::{MasterKeys, OVERHEAD, Place};
use crate::body::Body;
use crate::queue::{JobId, Part, QueueError, Stash};

/// The length of a chunk in the clear, in bytes.
const CHUNK: usize = 64 * 1024;

/// The longest wait for one operation of the disk; a healthy one takes milliseconds.
const DISK: Duration = Duration::from_secs(30);

/// The folder of the files, beside the database.
#[derive(Debug, Clone)]
pub(super) struct Stashes {
    folder: Arc<Path>,
    master: Arc<MasterKeys>,
    in_use: Arc<InUse>,
}

/// Names of files that no job has yet, and how many say so: a sweep spares them.
#[derive(Debug, Default)]
struct InUse(Mutex<HashMap<Arc<str>, usize>>);

/// Spares a file as long as it lives.
#[derive(Debug)]
pub(super) struct Spared {
    in_use: Arc<InUse>,
    name: Arc<str>,
}

/// Where a chunk belongs.
struct Chunk<'a> {
    job: &'a JobId,
    file: &'a str,
    number: u64,
    is_last: bool,
}

impl Chunk<'_> {
    /// Calls `with` with the place.
    fn at<T>(&self, with: impl FnOnce(Place<'_>) -> T) -> T {
        with(Place {
            table: "job files",
            account: self.job.as_str(),
            name: &format!("{}\n{}", self.file, self.number),
            slot: u8::from(self.is_last),
        })
    }
}

impl Stashes {
    /// The files in `folder`, which is made where it is missing. Blocks while it works.
    pub(super) fn open(folder: PathBuf, master: Arc<MasterKeys>) -> io::Result<Self> {
        folder::make(&folder)?;
        Ok(Self {
            folder: folder.into(),
            master,
            in_use: Arc::default(),
        })
    }

    /// Checks that the disk has room for one more job.
    pub(super) async fn check_room(&self) -> Result<(), QueueError> {
        let stashes = self.clone();
        blocking(move || stashes.check(Part::Request, 0)).await
    }

    /// Writes a content of at most `limit` bytes into a file that is gone when the answer is dropped.
    pub(super) async fn write(
        &self,
        job: &JobId,
        part: Part,
        mut content: Body,
        limit: u64,
    ) -> Result<Stash, QueueError> {
        let name = fresh_name(job, part).map_err(unavailable)?;
        let mut stash = self.stash(&name);
        let (stashes, job) = (self.clone(), job.clone());
        let create = move || {
            stashes.check(part, limit)?;
            Writer::create(&stashes, job, name)
        };
        let mut writer = blocking(create).await?;
        let mut len: u64 = 0;
        while let Some(frame) = content.frame().await {
            let frame = frame.map_err(|error| QueueError::Unavailable {
                why: error.to_string(),
            })?;
            let Ok(data) = frame.into_data() else { continue };
            len = len.saturating_add(length(&data));
            if len > limit {
                return Err(QueueError::TooLong { limit });
            }
            if writer.takes(data.len()) {
                writer.take(&data);
            } else {
                let stashes = self.clone();
                let write = move || {
                    // Others may have taken the room meanwhile.
                    stashes.check(part, length(&data))?;
                    writer.write(&data)
                };
                writer = blocking(write).await?;
            }
        }
        blocking(move || writer.finish()).await?;
        stash.len = len;
        Ok(stash)
    }

    /// Checks that so many more bytes leave the reserve of the disk. Results may take that too: their calls have been made.
    fn check(&self, part: Part, len: u64) -> io::Result<()> {
        match part {
            Part::Request => reserve::check(folder::parent(&self.folder), len),
            Part::Result => Ok(()),
        }
    }

    /// A file that is to be, or that falls.
    fn stash(&self, name: &Arc<str>) -> Stash {
        let spared = self.spare(name);
        let (path, runtime) = (self.path_of(name), Handle::current());
        Stash::named(Arc::clone(name), 0, move || {
            drop(runtime.spawn_blocking(move || {
                remove(&path);
                drop(spared);
            }));
        })
    }

    /// Opens the file `name` of a job. Blocks while it works.
    pub(super) fn read(&self, job: &JobId, name: &str, len: u64) -> io::Result<Body> {
        let reader = Reader::open(self, job.clone(), name, len)?;
        Ok(reader.into_body())
    }

    /// Seals the file `name` of a job anew, under another name. Blocks while it works.
    pub(super) fn copy(&self, job: &JobId, name: &str, len: u64) -> io::Result<Spared> {
        let part = if name.contains(Part::Request.as_str()) {
            Part::Request
        } else {
            Part::Result
        };
        let anew = fresh_name(job, part)?;
        let spared = self.spare(&anew);
        let copied = Reader::open(self, job.clone(), name, len)
            .and_then(|reader| reader.copy(Writer::create(self, job.clone(), Arc::clone(&anew))?));
        if copied.is_err() {
            remove(&self.path_of(&anew));
        }
        copied.map(|()| spared)
    }

    /// Keeps a file from being swept until the answer is dropped.
    pub(super) fn spare(&self, name: &Arc<str>) -> Spared {
        *self.in_use.lock().entry(Arc::clone(name)).or_default() += 1;
        Spared {
            in_use: Arc::clone(&self.in_use),
            name: Arc::clone(name),
        }
    }

    /// Removes files that no job has any more. One that can't be removed now is found by the next sweep.
    pub(super) async fn remove(&self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let paths: Vec<_> = names.iter().map(|name| self.path_of(name)).collect();
        let removing = spawn_blocking(move || paths.iter().for_each(|path| remove(path)));
        if let Err(error) = removing.await {
            tracing::warn!(%error, "files of jobs that are done were not removed");
        }
    }

    /// Removes such a file. Blocks while it works.
    pub(super) fn remove_now(&self, name: &str) {
        remove(&self.path_of(name));
    }

    /// The names of all files that are not spared. Blocks while it works.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            entries => entries?,
        };
        for entry in entries {
            if let Ok(name) = entry?.file_name().into_string()
                && is_name(&name)
            {
                names.push(name);
            }
        }
        // Only now: what is spared no more by now had a job before.
        let in_use = self.in_use.lock();
        names.retain(|name| !in_use.contains_key(&**name));
        Ok(names)
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the names of files that were just made outlast a crash.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl InUse {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spared {
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl Drop for Spared {
    fn drop(&mut self) {
        let mut names = self.in_use.lock();
        if let Some(count) = names.get_mut(&self.name) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                names.remove(&self.name);
            }
        }
    }
}

/// `<job>.<part>-<random>`: two who work on one job after the other write two files.
fn fresh_name(job: &JobId, part: Part) -> io::Result<Arc<str>> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{job}.{}-{:016x}", part.as_str(), u64::from_be_bytes(random)).into())
}

/// Whether a file is one of ours.
fn is_name(name: &str) -> bool {
    let parts = name.split_once('.').zip(name.rsplit_once('-'));
    parts.is_some_and(|((job, _), (_, random))| JobId::parse(job).is_some() && random.len() == 16)
}

/// The length of a file whose content is `len` bytes long.
fn sealed_len(len: u64) -> u64 {
    len.saturating_add(chunks(len).saturating_mul(u64::try_from(OVERHEAD).unwrap_or(u64::MAX)))
}

/// How many chunks a content has.
fn chunks(len: u64) -> u64 {
    len.div_ceil(u64::try_from(CHUNK).unwrap_or(u64::MAX)).max(1)
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len().try_into().unwrap_or(u64::MAX)
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "a file of a job that is done was not removed");
        }
        _ => {}
    }
}

fn damaged(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

fn unavailable(error: io::Error) -> QueueError {
    QueueError::Unavailable {
        why: error.to_string(),
    }
}

/// Does what blocks on a thread for that, within the time that a disk may take for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, QueueError> {
    let done = timeout(DISK, spawn_blocking(work)).await;
    let done = done
        .map_err(io::Error::from)
        .map(|done| done.map_err(io::Error::other));
    done.flatten().flatten().map_err(unavailable)
}

#[cfg(test)]
mod tests;
