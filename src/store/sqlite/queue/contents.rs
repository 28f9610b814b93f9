//! What is sealed of jobs: in the table, or in files that the table names.

use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, params};

use crate::queue::{Content, JobId, Part, QueueError};
use crate::store::seal::{MasterKeys, Place, SealError};
use crate::store::sqlite::writer::Fault;
use crate::store::stash::{Spared, Stashes};

const PUT: &str = "INSERT INTO contents (id, master, len, file, sealed) VALUES (?1, ?2, ?3, ?4, ?5)";

const READ: &str = "SELECT len, file, sealed FROM contents WHERE id = ?1";

const REMOVE: &str = "DELETE FROM contents WHERE id BETWEEN ?1 AND ?2 RETURNING file";

/// One of the things that are sealed of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Hook,
    Head,
    Request,
    Result,
}

impl Piece {
    const ALL: [Self; 4] = [Self::Hook, Self::Head, Self::Request, Self::Result];

    /// Its number among those of its job.
    const fn number(self) -> i64 {
        match self {
            Self::Hook => 0,
            Self::Head => 1,
            Self::Request => 2,
            Self::Result => 3,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Head => "head",
            Self::Request => "request",
            Self::Result => "result",
        }
    }

    /// Its row.
    pub(super) const fn id(self, job: i64) -> i64 {
        job.saturating_mul(4).saturating_add(self.number())
    }

    /// The job and the piece of a row.
    pub(super) fn of_id(id: i64) -> (i64, Option<Self>) {
        let number = id.rem_euclid(4);
        let piece = Self::ALL.into_iter().find(|piece| piece.number() == number);
        (id.div_euclid(4), piece)
    }

    /// The rows of all of a job.
    const fn all_of(job: i64) -> RangeInclusive<i64> {
        Self::Hook.id(job)..=Self::Result.id(job)
    }

    fn place(self, job: &str) -> Place<'_> {
        Place {
            table: "contents",
            account: job,
            name: self.as_str(),
            slot: 0,
        }
    }
}

impl From<Part> for Piece {
    fn from(part: Part) -> Self {
        match part {
            Part::Request => Self::Request,
            Part::Result => Self::Result,
        }
    }
}

/// A content to be written into the table.
pub(super) struct New {
    piece: Piece,
    master: [u8; 9],
    len: i64,
    form: Form,
}

enum Form {
    Sealed(Vec<u8>),
    File(Spared),
}

impl New {
    /// Seals what lies in memory.
    pub(super) fn sealed(
        master: &MasterKeys,
        job: &JobId,
        piece: Piece,
        bytes: &[u8],
    ) -> Result<Self, QueueError> {
        let sealed = seal(master, job, piece, bytes).map_err(|error| QueueError::Unavailable {
            why: error.to_string(),
        })?;
        Ok(Self {
            piece,
            master: *master.header(),
            len: bytes.len().try_into().unwrap_or(i64::MAX),
            form: Form::Sealed(sealed),
        })
    }

    /// Seals a content, or takes over its file, which no one else removes then.
    pub(super) fn of(
        stashes: &Stashes,
        master: &MasterKeys,
        job: &JobId,
        (part, content): (Part, Content),
    ) -> Result<Self, QueueError> {
        match content {
            Content::Inline(bytes) => Self::sealed(master, job, part.into(), &bytes),
            Content::Stashed(stash) => {
                let (len, spared) = (stash.len, stashes.spare(stash.name()));
                stash.keep();
                Ok(Self {
                    piece: part.into(),
                    master: *master.header(),
                    len: len.try_into().unwrap_or(i64::MAX),
                    form: Form::File(spared),
                })
            }
        }
    }

    /// The file, if it is in one.
    pub(super) fn file(&self) -> Option<&str> {
        match &self.form {
            Form::Sealed(_) => None,
            Form::File(spared) => Some(spared.name()),
        }
    }

    /// Writes it down.
    pub(super) fn put(&self, connection: &Connection, job: i64) -> Result<(), Fault> {
        let sealed = match &self.form {
            Form::Sealed(sealed) => Some(sealed),
            Form::File(_) => None,
        };
        let mut put = connection.prepare_cached(PUT)?;
        let id = self.piece.id(job);
        put.execute(params![id, self.master, self.len, self.file(), sealed])?;
        Ok(())
    }
}

/// A content as it is in the table.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) piece: Piece,
    pub(super) len: u64,
    pub(super) file: Option<String>,
    pub(super) sealed: Vec<u8>,
}

/// Reads a content as it is.
pub(super) fn read(connection: &Connection, job: i64, piece: Piece) -> Result<Option<Stored>, Fault> {
    let mut read = connection.prepare_cached(READ)?;
    let stored = read.query_row([piece.id(job)], |row| {
        let (len, sealed): (i64, Option<Vec<u8>>) = (row.get(0)?, row.get(2)?);
        Ok(Stored {
            piece,
            len: len.try_into().unwrap_or(0),
            file: row.get(1)?,
            sealed: sealed.unwrap_or_default(),
        })
    });
    Ok(stored.optional()?)
}

/// Deletes the contents of a job. Returns the files that are to be removed once that is committed.
pub(super) fn remove_all(connection: &Connection, job: i64) -> Result<Vec<String>, Fault> {
    remove(connection, Piece::all_of(job))
}

/// Deletes one content of a job. Returns its file, to be removed once that is committed.
pub(super) fn remove_one(connection: &Connection, job: i64, piece: Piece) -> Result<Vec<String>, Fault> {
    remove(connection, piece.id(job)..=piece.id(job))
}

fn remove(connection: &Connection, ids: RangeInclusive<i64>) -> Result<Vec<String>, Fault> {
    let mut remove = connection.prepare_cached(REMOVE)?;
    let mut rows = remove.query([ids.start(), ids.end()])?;
    let mut files = Vec::new();
    while let Some(row) = rows.next()? {
        files.extend(row.get::<_, Option<String>>(0)?);
    }
    Ok(files)
}

pub(super) fn seal(
    master: &MasterKeys,
    job: &JobId,
    piece: Piece,
    bytes: &[u8],
) -> Result<Vec<u8>, SealError> {
    master.seal(piece.place(job.as_str()), bytes)
}

/// Opens what is in the table.
pub(super) fn open(master: &MasterKeys, job: &JobId, stored: &Stored) -> Result<Vec<u8>, SealError> {
    let mut opened = master.open(stored.piece.place(job.as_str()), &stored.sealed)?;
    Ok(std::mem::take(&mut *opened))
}
