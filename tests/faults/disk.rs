//! A disk whose power can be cut, which keeps only what was synced, whose syncs can be slow, and which has traps.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{BackgroundSession, Config, Errno, FileAttr, FileType, INodeNo, MountOption};
use tempfile::TempDir;

use crate::PATIENCE;
use crate::kept::{Cut, File};
use crate::served::Server;
use crate::trap::{Catch, Op, Part, Touch, Trap};

/// A file system in memory, which knows what of it would outlast a power cut.
pub struct Disk {
    folder: TempDir,
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
}

/// The disk, as those see it who hold its both ends.
#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    /// Told when an operation that was caught may return.
    released: Condvar,
}

/// What the names in each folder stand for.
type Names = BTreeMap<(INodeNo, OsString), u64>;

#[derive(Default)]
pub struct State {
    files: BTreeMap<u64, File>,
    pub names: Names,
    /// The names as the last syncs of their folders left them.
    kept_names: Names,
    last: u64,
    parts: BTreeMap<u64, Part>,
    is_cut: bool,
    stall: Duration,
    trap: Option<Trap>,
    caught: Option<Touch>,
    /// Whether the operation that was caught stands still.
    is_stopped: bool,
    /// Whether nothing is carried out: those who ask are as good as killed.
    is_frozen: bool,
}

impl Disk {
    /// None where the system has no FUSE for us.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared::default());
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("faults".to_owned())];
        config.n_threads = Some(2);
        match fuser::spawn_mount(Server(Arc::clone(&shared)), folder.path(), &config) {
            Ok(session) => Some(Self {
                folder,
                shared,
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
        self.shared.lock().stall = time;
    }

    /// Puts copies of the files of a folder here.
    pub fn fill(&self, folder: &Path) {
        let mut state = self.shared.lock();
        state.fill(INodeNo::ROOT, folder);
        state.kept_names = state.names.clone();
    }

    /// How long a file is.
    pub fn len(&self, part: Part) -> usize {
        let state = self.shared.lock();
        let mut numbers = state.names.values().filter(|number| state.parts[number] == part);
        numbers.next().map_or(0, |number| state.files[number].data.len())
    }

    /// Sets a trap; one that is there goes.
    pub fn set(&self, trap: Trap) {
        let mut state = self.shared.lock();
        (state.trap, state.caught) = (Some(trap), None);
    }

    /// What the trap has caught.
    pub fn caught(&self) -> Option<Touch> {
        self.shared.lock().caught
    }

    /// How many operations that were meant passed the trap.
    pub fn passed(&self) -> usize {
        self.shared.lock().trap.map_or(0, |trap| usize::MAX - trap.nth)
    }

    /// The same, once it has caught something.
    pub async fn caught_in_time(&self) -> Touch {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(touch) = self.caught() {
                return touch;
            }
            assert!(tokio::time::Instant::now() < deadline, "the trap catches nothing");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets what was caught return, once its process can notice nothing any more.
    pub fn release(&self) {
        self.shared.lock().is_stopped = false;
        self.shared.released.notify_all();
    }

    /// Serves again, once the process is gone.
    pub fn thaw(&self) {
        let mut state = self.shared.lock();
        (state.is_frozen, state.trap) = (false, None);
    }

    /// Cuts the power: at once everything fails. Gives a folder with what is on the disk.
    pub fn cut(&self, cut: Cut) -> TempDir {
        let mut state = self.shared.lock();
        state.is_cut = true;
        let rest = tempfile::tempdir().unwrap();
        state.leave(INodeNo::ROOT, rest.path(), cut);
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

impl State {
    pub fn attr(&self, number: u64) -> Option<FileAttr> {
        let is_folder = number == INodeNo::ROOT.0 || self.parts.get(&number) == Some(&Part::Folder);
        let (size, kind, perm) = if is_folder {
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

    pub fn add(&mut self, folder: INodeNo, name: &OsStr, file: File) -> u64 {
        let number = self.add_part(folder, name, Part::of(name));
        self.files.insert(number, file);
        number
    }

    pub fn add_folder(&mut self, above: INodeNo, name: &OsStr) -> u64 {
        self.add_part(above, name, Part::Folder)
    }

    fn add_part(&mut self, folder: INodeNo, name: &OsStr, part: Part) -> u64 {
        self.last += 1;
        let number = INodeNo::ROOT.0 + self.last;
        self.names.insert((folder, name.to_owned()), number);
        self.parts.insert(number, part);
        number
    }

    fn fill(&mut self, folder: INodeNo, from: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if entry.file_type().unwrap().is_dir() {
                let number = self.add_folder(folder, &name);
                self.fill(INodeNo(number), &entry.path());
            } else {
                self.add(folder, &name, File::synced(fs::read(entry.path()).unwrap()));
            }
        }
    }

    /// Puts what is on the disk of a folder into `into`.
    fn leave(&mut self, folder: INodeNo, into: &Path, cut: Cut) {
        for ((above, name), number) in self.kept_names.clone() {
            if above != folder {
                continue;
            }
            let path = into.join(name);
            if let Some(file) = self.files.get_mut(&number) {
                file.settle(cut);
                fs::write(path, &file.kept).unwrap();
            } else {
                fs::create_dir(&path).unwrap();
                self.leave(INodeNo(number), &path, cut);
            }
        }
    }

    /// Makes the names in a folder outlast a power cut.
    pub fn sync_folder(&mut self, folder: INodeNo) {
        self.kept_names.retain(|(above, _), _| *above != folder);
        let names = self.names.iter().filter(|((above, _), _)| *above == folder);
        self.kept_names
            .extend(names.map(|(name, number)| (name.clone(), *number)));
    }

    fn springs(&mut self, touch: Touch) -> Option<Catch> {
        let trap = self.trap.as_mut()?;
        let catch = trap.springs(touch).then_some(trap.catch)?;
        self.caught = Some(touch);
        Some(catch)
    }

    pub fn file(&mut self, number: u64) -> Result<&mut File, Errno> {
        self.files.get_mut(&number).ok_or(Errno::ENOENT)
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The state, unless the power is gone.
    pub fn live(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let state = self.lock();
        if state.is_cut || state.is_frozen {
            Err(Errno::EIO)
        } else {
            Ok(state)
        }
    }

    /// Carries out an operation, unless a trap is set for it.
    pub fn carry_out<T>(
        &self,
        touch: Touch,
        act: impl FnOnce(&mut State) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut state = self.live()?;
        match state.springs(touch) {
            None => act(&mut state),
            Some(Catch::Fail) => Err(Errno::EIO),
            Some(Catch::StopBefore) => {
                self.stand_still(state);
                Err(Errno::EIO)
            }
            Some(Catch::StopAfter) => {
                let done = act(&mut state);
                self.stand_still(state);
                done
            }
        }
    }

    fn stand_still(&self, mut state: MutexGuard<'_, State>) {
        (state.is_stopped, state.is_frozen) = (true, true);
        drop(self.released.wait_while(state, |state| state.is_stopped).unwrap());
    }

    /// Waits as long as a sync takes, then lets `sync` do it if there is still power.
    pub fn sync(&self, part: Part, sync: impl FnOnce(&mut State) -> Result<(), Errno>) -> Result<(), Errno> {
        let stall = self.lock().stall;
        std::thread::sleep(stall);
        self.carry_out(Touch::of(Op::Sync, part), sync)
    }

    pub fn part(&self, number: INodeNo) -> Part {
        self.lock().parts.get(&number.0).copied().unwrap_or(Part::Folder)
    }
}
