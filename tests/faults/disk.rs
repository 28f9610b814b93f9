//! A disk whose power can be cut, which keeps only what was synced, and whose syncs can be slow.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tempfile::TempDir;

use crate::Dice;

/// Nobody but the kernel changes anything here.
const FOR_GOOD: Duration = Duration::from_secs(3600);

/// The piece that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A file system of one folder in memory, which knows what of it would outlast a power cut.
pub struct Disk {
    folder: TempDir,
    state: Arc<Mutex<State>>,
    session: Option<BackgroundSession>,
}

/// What becomes of writes that were not synced when the power is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// None of them is there.
    Forget,
    /// Some of their sectors are there, whichever.
    Tear(usize),
}

/// The file system's half that the kernel talks to.
struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<u64, File>,
    names: BTreeMap<OsString, u64>,
    /// The names as the last sync of the folder left them.
    kept_names: BTreeMap<OsString, u64>,
    last: u64,
    is_cut: bool,
    stall: Duration,
}

#[derive(Default)]
struct File {
    data: Vec<u8>,
    /// As the last sync left it.
    kept: Vec<u8>,
    /// What came after it.
    since: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl Disk {
    /// None where the system has no FUSE for us.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("faults".to_owned())];
        config.n_threads = Some(2);
        match fuser::spawn_mount(Shared(Arc::clone(&state)), folder.path(), &config) {
            Ok(session) => Some(Self {
                folder,
                state,
                session: Some(session),
            }),
            Err(error) => {
                crate::skipped(&format!(
                    "a disk of our own, since FUSE can't be used here: {error}"
                ));
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// From now on a sync takes so long.
    pub fn stall(&self, time: Duration) {
        lock(&self.state).stall = time;
    }

    /// Cuts the power: at once everything fails. Gives a folder with what is on the disk.
    pub fn cut(&self, cut: Cut) -> TempDir {
        let mut state = lock(&self.state);
        state.is_cut = true;
        let rest = tempfile::tempdir().unwrap();
        let kept_names = state.kept_names.clone();
        for (name, number) in kept_names {
            let Some(file) = state.files.get_mut(&number) else {
                continue;
            };
            file.settle(cut);
            fs::write(rest.path().join(name), &file.kept).unwrap();
        }
        rest
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status()
            .ok();
        drop(self.session.take());
    }
}

impl File {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.data, |_| true);
        self.since.push(change);
    }

    fn sync(&mut self) {
        for change in self.since.drain(..) {
            change.apply(&mut self.kept, |_| true);
        }
    }

    /// Lets chance decide about what was not synced.
    fn settle(&mut self, cut: Cut) {
        let Cut::Tear(seed) = cut else {
            return;
        };
        let mut dice = Dice::new(seed);
        for change in self.since.drain(..) {
            change.apply(&mut self.kept, |_| dice.below(2) == 0);
        }
    }
}

impl Change {
    /// Makes the change, as far as each sector `is_kept`.
    fn apply(&self, data: &mut Vec<u8>, mut is_kept: impl FnMut(usize) -> bool) {
        match self {
            Self::Write(offset, bytes) => {
                for (sector, piece) in bytes.chunks(SECTOR).enumerate() {
                    if is_kept(sector) {
                        let begin = offset + sector * SECTOR;
                        let end = begin + piece.len();
                        if data.len() < end {
                            data.resize(end, 0);
                        }
                        data[begin..end].copy_from_slice(piece);
                    }
                }
            }
            Self::Resize(len) => {
                if is_kept(0) {
                    data.resize(*len, 0);
                }
            }
        }
    }
}

impl State {
    fn attr(&self, number: u64) -> Option<FileAttr> {
        let (size, kind, perm) = if number == INodeNo::ROOT.0 {
            (0, FileType::Directory, 0o700)
        } else {
            let file = self.files.get(&number)?;
            (file.data.len() as u64, FileType::RegularFile, 0o600)
        };
        Some(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Shared {
    /// The state, unless the power is gone.
    fn live(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let state = lock(&self.0);
        if state.is_cut { Err(Errno::EIO) } else { Ok(state) }
    }

    /// Waits as long as a sync takes, then lets `sync` do it if there is still power.
    fn sync(&self, reply: ReplyEmpty, sync: impl FnOnce(&mut State)) {
        let stall = lock(&self.0).stall;
        std::thread::sleep(stall);
        match self.live() {
            Ok(mut state) => {
                sync(&mut state);
                drop(state);
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl Filesystem for Shared {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.live() {
            Ok(state) => match state.names.get(name).and_then(|number| state.attr(*number)) {
                Some(attr) => reply.entry(&FOR_GOOD, &attr, Generation(0)),
                None => reply.error(Errno::ENOENT),
            },
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match lock(&self.0).attr(number.0) {
            Some(attr) => reply.attr(&FOR_GOOD, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = match self.live() {
            Ok(state) => state,
            Err(error) => return reply.error(error),
        };
        if let (Some(size), Some(file)) = (size, state.files.get_mut(&number.0)) {
            file.change(Change::Resize(at(size)));
        }
        match state.attr(number.0) {
            Some(attr) => reply.attr(&FOR_GOOD, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let mut state = match self.live() {
            Ok(state) => state,
            Err(error) => return reply.error(error),
        };
        state.last += 1;
        let number = INodeNo::ROOT.0 + state.last;
        state.files.insert(number, File::default());
        state.names.insert(name.to_owned(), number);
        let attr = state.attr(number).unwrap();
        reply.created(
            &FOR_GOOD,
            &attr,
            Generation(0),
            FileHandle(0),
            FopenFlags::FOPEN_KEEP_CACHE,
        );
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.live().map(|mut state| state.names.remove(name)) {
            Ok(Some(_)) => reply.ok(),
            Ok(None) => reply.error(Errno::ENOENT),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.live() {
            Ok(state) => {
                let data = state.files.get(&number.0).map_or(&[][..], |file| &file.data);
                let rest = data.get(at(offset)..).unwrap_or_default();
                let size = usize::try_from(size).unwrap().min(rest.len());
                reply.data(&rest[..size]);
            }
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = match self.live() {
            Ok(state) => state,
            Err(error) => return reply.error(error),
        };
        match state.files.get_mut(&number.0) {
            Some(file) => {
                file.change(Change::Write(at(offset), data.to_vec()));
                reply.written(u32::try_from(data.len()).unwrap());
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(reply, |state| {
            if let Some(file) = state.files.get_mut(&number.0) {
                file.sync();
            }
        });
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(reply, |state| state.kept_names = state.names.clone());
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = lock(&self.0);
        let names = state.names.iter().zip(1..).skip(at(offset));
        for ((name, number), next) in names {
            if reply.add(INodeNo(*number), next, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}
