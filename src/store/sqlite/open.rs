//! Opening the file: alone, as we need it, with the tables of this version, by the right master key.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use refinery_core::error::Kind;
use refinery_core::{Migration, Runner};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::writer::{Fault, Opened, StartError, is_damage};
use super::{queue, rotation};
use crate::store::folder;
use crate::store::seal::MasterKeys;
use crate::store::stash::Stashes;

/// The tables, one file for each version. One that was ever released does not change any more.
const MIGRATIONS: [(&str, &str); 3] = [
    ("V1__keys", include_str!("V1__keys.sql")),
    ("V2__ledger", include_str!("V2__ledger.sql")),
    ("V3__jobs", include_str!("V3__jobs.sql")),
];

/// The oldest SQLite that does not damage a WAL file that two connections reset at once: 3.51.3.
const MIN_SQLITE: i32 = 3_051_003;

/// Marks a file as ours: "TIDE".
const APPLICATION_ID: i32 = 0x5449_4445;

/// How long to wait for another program that holds the file, such as a back-up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection is told, besides WAL. A commit is on the disk when it returns, and nothing that was deleted or
/// replaced can be read from the file. The log goes into the database from 4 MiB on; what a long reader made it grow to is
/// given back down to 64 MiB. The cache takes 8 MiB at most; what else is often read is in the system's.
const SETTINGS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA secure_delete = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -8192;
    PRAGMA temp_store = MEMORY;
";

/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS: usize = 128;

/// Why the store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder can't be made, opened or locked.
    #[error("`{}` can't be used", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("`{}` is in use by another process; only one may have it open", .path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The SQLite that the program was built with has a fault that damages files.
    #[error("SQLite {found} can damage its files; 3.51.3 or newer is needed")]
    OldSqlite {
        /// Its version.
        found: &'static str,
    },
    /// The file is a database, and none of ours.
    #[error("`{}` is a database of another program", .path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A newer version of the program wrote the file.
    #[error("the database has version {found} and this program knows {known} at most; run a newer program")]
    Newer {
        /// The version of the tables.
        found: i64,
        /// The newest version that this program has.
        known: i64,
    },
    /// The tables can't be brought up to this version.
    #[error("the tables of the database can't be brought up to this version")]
    Migration(#[source] Box<refinery_core::Error>),
    /// None of the master keys sealed what is in the file.
    #[error(
        "the database was sealed with another master key; give that one, or both while one follows the other, \
         the new one first"
    )]
    WrongMasterKey,
    /// What the file holds is not what was put there.
    #[error("the database is damaged: {what}")]
    Damaged {
        /// The piece that can't be understood.
        what: String,
    },
    /// The file system has no WAL, as network file systems have none.
    #[error("the file system of the database does not support a write-ahead log")]
    NoWal,
    /// SQLite refuses.
    #[error("the database can't be opened")]
    Refused(#[source] rusqlite::Error),
    /// The cipher or the source of random bytes failed.
    #[error("the cipher library refuses to seal")]
    Cipher,
    /// The writer's thread can't be started.
    #[error("the thread of the store can't be started")]
    Thread(#[source] io::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            let what = error.to_string();
            Self::Damaged { what }
        } else {
            Self::Refused(error)
        }
    }
}

impl From<StartError> for OpenError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Thread(source) => Self::Thread(source),
            // The migration library panics where it can't read its own notes.
            StartError::Panicked => Self::Damaged {
                what: "the history of its tables".to_owned(),
            },
        }
    }
}

impl From<refinery_core::Error> for OpenError {
    fn from(error: refinery_core::Error) -> Self {
        let known = MIGRATIONS.len().try_into().unwrap_or(i64::MAX);
        if let Kind::MissingVersion(migration) = error.kind() {
            let found = i64::from(migration.version());
            if found > known {
                return Self::Newer { found, known };
            }
        }
        Self::Migration(Box::new(error))
    }
}

/// Opens the file at `path`, or makes it; and the folder of the files beside it, in which none is left that is of no job.
pub(super) fn open(path: &Path, master: &Arc<MasterKeys>) -> Result<(Opened, Stashes), OpenError> {
    if rusqlite::version_number() < MIN_SQLITE {
        let found = rusqlite::version();
        return Err(OpenError::OldSqlite { found });
    }
    let unusable = |source| OpenError::File {
        path: path.to_owned(),
        source,
    };
    folder::make(folder::parent(path)).map_err(unusable)?;
    drop(folder::open_or_make(path).map_err(unusable)?);
    folder::sync_parent(path).map_err(unusable)?;
    // Two names of one file must meet in one lock.
    let path = path.canonicalize().map_err(unusable)?;
    let lock = lock(&path)?;
    let mut connection = connect(&path)?;
    // Before any setting: some of them are written into the file.
    claim(&connection, &path)?;
    settle(&connection)?;
    migrate(&mut connection)?;
    rotation::unlock(&mut connection, master)?;
    let jobs = folder::parent(&path).join("jobs");
    let stashes = Stashes::open(jobs.clone(), Arc::clone(master));
    let listed = stashes.and_then(|stashes| Ok((stashes.names()?, stashes)));
    let (names, stashes) = listed.map_err(|source| OpenError::File { path: jobs, source })?;
    for name in queue::of_no_job(&connection, &names)? {
        stashes.remove_now(&name);
    }
    let reopen = move || {
        let connection = connect(&path)?;
        settle(&connection)?;
        Ok::<_, OpenError>(connection)
    };
    let opened = Opened {
        connection,
        lock,
        reopen: Box::new(move || reopen().map_err(|error| Fault::Unavailable(error.to_string()))),
    };
    Ok((opened, stashes))
}

/// Keeps other processes out. The system lifts the lock when this one ends, however it ends.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.to_owned().into_os_string();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let unusable = |source| OpenError::File {
        path: lock_path.clone(),
        source,
    };
    let lock = folder::open_or_make(&lock_path).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    // One thread has the connection, and the path is a path, never a URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    keep_plans(&connection)?;
    Ok(connection)
}

/// Keeps statements from being compiled anew because what they are asked for might make another plan better: that takes
/// longer than they do.
pub(super) fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Marks an empty file as ours, and refuses one of another program.
fn claim(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id == APPLICATION_ID {
        return Ok(());
    }
    let used: bool = connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| {
        row.get(0)
    })?;
    if id != 0 || used {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    Ok(connection.pragma_update(None, "application_id", APPLICATION_ID)?)
}

fn settle(connection: &Connection) -> Result<(), OpenError> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(OpenError::NoWal);
    }
    Ok(connection.execute_batch(SETTINGS)?)
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let migrations: Result<Vec<_>, _> = MIGRATIONS
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect();
    // Grouped is one transaction; otherwise a migration and the note that it was made would be two.
    Runner::new(&migrations?).set_grouped(true).run(connection)?;
    Ok(())
}
