//! A trap on a disk: exactly one operation fails, or stands still until its process has been killed.

use std::ffi::OsStr;
use std::fmt;

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Make,
    Write,
    Resize,
    Sync,
    Remove,
}

/// Which file of the store it is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Database,
    /// What a change of the database needs that does not go by the log.
    Journal,
    /// The write-ahead log.
    Log,
    /// The index of the log that processes share.
    Shared,
    Lock,
    /// A large content of a job.
    Stash,
    Folder,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    pub op: Op,
    pub part: Part,
    /// Whether it begins at the first byte of the file.
    pub at_begin: bool,
}

/// What becomes of the operation that is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catch {
    /// It is not carried out; its process is told of an I/O error.
    Fail,
    /// It is not carried out, and its process hears nothing of it.
    StopBefore,
    /// It is carried out, and its process hears nothing of it.
    StopAfter,
}

/// Catches the `nth` operation from now on that is one of those meant, the first being 1.
#[derive(Debug, Clone, Copy)]
pub struct Trap {
    pub meant: fn(Touch) -> bool,
    pub nth: usize,
    pub catch: Catch,
}

impl Trap {
    /// Whether this operation is the one.
    pub fn springs(&mut self, touch: Touch) -> bool {
        if self.nth > 0 && (self.meant)(touch) {
            self.nth -= 1;
            return self.nth == 0;
        }
        false
    }
}

impl Touch {
    pub fn of(op: Op, part: Part) -> Self {
        let at_begin = false;
        Self { op, part, at_begin }
    }

    pub fn is(self, op: Op, part: Part) -> bool {
        (self.op, self.part) == (op, part)
    }
}

impl Part {
    pub fn of(name: &OsStr) -> Self {
        match name.to_string_lossy().rsplit_once(".db") {
            Some((_, "-journal")) => Self::Journal,
            Some((_, "-wal")) => Self::Log,
            Some((_, "-shm")) => Self::Shared,
            Some((_, ".lock")) => Self::Lock,
            Some(_) => Self::Database,
            None => Self::Stash,
        }
    }
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = if self.at_begin && self.op == Op::Write {
            " (begin)"
        } else {
            ""
        };
        write!(f, "{:?} {:?}{begin}", self.op, self.part)
    }
}
