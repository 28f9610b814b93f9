//! What the kernel asks of a disk.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::disk::{Shared, State};
use crate::kept::{Change, File};
use crate::trap::{Op, Part, Touch};

/// Nobody but the kernel changes anything here.
const FOR_GOOD: Duration = Duration::from_secs(3600);

/// What the kernel talks to.
pub struct Server(pub Arc<Shared>);

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

fn answer(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn enter(found: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match found {
        Ok(attr) => reply.entry(&FOR_GOOD, &attr, Generation(0)),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.0.live().and_then(|state| {
            let number = state.names.get(&(folder, name.to_owned()));
            number.and_then(|number| state.attr(*number)).ok_or(Errno::ENOENT)
        });
        enter(found, reply);
    }

    fn mkdir(&self, _: &Request, folder: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let made = self.0.carry_out(Touch::of(Op::Make, Part::Folder), |state| {
            let number = state.add_folder(folder, name);
            state.attr(number).ok_or(Errno::ENOENT)
        });
        enter(made, reply);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.lock().attr(number.0) {
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
        let resized = match size {
            Some(size) => self
                .0
                .carry_out(Touch::of(Op::Resize, self.0.part(number)), |state| {
                    state.file(number.0)?.change(Change::Resize(at(size)));
                    Ok(())
                }),
            None => Ok(()),
        };
        let attr = resized.and_then(|()| self.0.live()?.attr(number.0).ok_or(Errno::ENOENT));
        match attr {
            Ok(attr) => reply.attr(&FOR_GOOD, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn create(&self, _: &Request, folder: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let made = self.0.carry_out(Touch::of(Op::Make, Part::of(name)), |state| {
            let number = state.add(folder, name, File::default());
            state.attr(number).ok_or(Errno::ENOENT)
        });
        let keep = FopenFlags::FOPEN_KEEP_CACHE;
        match made {
            Ok(attr) => reply.created(&FOR_GOOD, &attr, Generation(0), FileHandle(0), keep),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.0.carry_out(Touch::of(Op::Remove, Part::of(name)), |state| {
            let name = (folder, name.to_owned());
            state.names.remove(&name).map(drop).ok_or(Errno::ENOENT)
        });
        answer(removed, reply);
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
        match self.0.live() {
            Ok(mut state) => {
                let data = state.file(number.0).map_or(&[][..], |file| &file.data);
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
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = |state: &mut State| {
            let change = Change::Write(at(offset), data.to_vec());
            state.file(number.0).map(|file| file.change(change))
        };
        // What the kernel writes by itself is of memory that processes share: it tells nobody whether that went well.
        let written = if flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            write(&mut self.0.lock())
        } else {
            let touch = Touch {
                op: Op::Write,
                part: self.0.part(number),
                at_begin: offset == 0,
            };
            self.0.carry_out(touch, write)
        };
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let part = self.0.part(number);
        let synced = self.0.sync(part, |state| state.file(number.0).map(File::sync));
        if synced.is_err()
            && let Ok(mut state) = self.0.live()
        {
            state.file(number.0).map(File::fail_sync).unwrap_or_default();
        }
        answer(synced, reply);
    }

    fn fsyncdir(&self, _: &Request, folder: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.0.sync(Part::Folder, |state| {
            state.sync_folder(folder);
            Ok(())
        });
        answer(synced, reply);
    }

    fn readdir(&self, _: &Request, folder: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.0.lock();
        let names = state.names.iter().filter(|((above, _), _)| *above == folder);
        for (((_, name), number), next) in names.zip(1..).skip(at(offset)) {
            let kind = state
                .attr(*number)
                .map_or(FileType::RegularFile, |attr| attr.kind);
            if reply.add(INodeNo(*number), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
