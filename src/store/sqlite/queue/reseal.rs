//! Another master key: what an older one sealed is sealed anew, step by step, while the work goes on.

use std::io;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::task::spawn_blocking;

use super::contents::{self, Piece, Stored};
use super::secrets;
use crate::queue::{JobId, QueueError};
use crate::store::seal::{MasterKeys, SealError};
use crate::store::sqlite::Sqlite;
use crate::store::sqlite::ledger::damaged;
use crate::store::sqlite::writer::Fault;
use crate::store::stash::{Spared, Stashes};

/// How many contents a step seals anew: at most some MiB in memory.
const AT_ONCE: i64 = 32;

// Two ranges of the index: one on either side of the key.
pub(super) const SEALED_OTHERWISE: &str = "
    SELECT id, master FROM contents WHERE master < ?1 UNION ALL
    SELECT id, master FROM contents WHERE master > ?1 LIMIT ?2";

pub(super) const NEXT_MASTER: &str = "SELECT master FROM contents WHERE master > ?1 ORDER BY master LIMIT 1";

const ID: &str = "SELECT id FROM jobs WHERE seq = ?1";

const REPLACE: &str = "
    UPDATE contents SET master = ?3, sealed = ?4, file = ?5 WHERE id = ?1 AND master = ?2";

const SECRETS: &str = "
    SELECT first FROM webhook_secrets UNION ALL SELECT before FROM webhook_secrets WHERE before IS NOT NULL";

type Header = [u8; 9];

/// A content that an older key sealed.
struct Old {
    id: i64,
    master: Header,
    job: JobId,
    stored: Stored,
}

/// What takes its place.
struct Renewed {
    old: Old,
    anew: Anew,
}

enum Anew {
    Sealed(Vec<u8>),
    File(Spared),
    /// No key opens it: it stays as it is.
    Broken,
}

pub(super) async fn reseal(store: &Sqlite) -> Result<u64, QueueError> {
    let header = *store.master.header();
    let old = store.change(move |base| find(&base.connection, &header)).await?;
    if old.is_empty() {
        let master = Arc::clone(&store.master);
        let secrets = store.change(move |base| secrets::reseal(&base.connection, &master, AT_ONCE));
        return Ok(secrets.await?.try_into().unwrap_or(u64::MAX));
    }
    let (master, stashes) = (Arc::clone(&store.master), store.stashes.clone());
    let sealing = spawn_blocking(move || {
        let renew = |old| renew(&master, &stashes, old);
        old.into_iter().map(renew).collect::<io::Result<Vec<_>>>()
    });
    let sealed = sealing.await.map_err(io::Error::other).flatten();
    let renewed = sealed.map_err(|error| QueueError::Unavailable {
        why: error.to_string(),
    })?;
    let count = renewed.len();
    let replaced = store.change(move |base| replace(&base.connection, &header, &renewed));
    store.stashes.remove(replaced.await?).await;
    Ok(count.try_into().unwrap_or(u64::MAX))
}

fn find(connection: &Connection, header: &Header) -> Result<Vec<Old>, Fault> {
    let mut select = connection.prepare_cached(SEALED_OTHERWISE)?;
    let rows = select.query_map(params![header, AT_ONCE], |row| row.try_into())?;
    let rows = rows.collect::<Result<Vec<(i64, Header)>, _>>()?;
    let mut id_of = connection.prepare_cached(ID)?;
    let mut all = Vec::with_capacity(rows.len());
    for (id, master) in rows {
        let (seq, piece) = Piece::of_id(id);
        let job: Option<String> = id_of.query_row([seq], |row| row.get(0)).optional()?;
        let job = job.and_then(|id| JobId::parse(&id));
        let stored = match piece {
            Some(piece) => contents::read(connection, seq, piece)?,
            None => None,
        };
        let (Some(job), Some(stored)) = (job, stored) else {
            return Err(damaged("a content of no job"));
        };
        all.push(Old {
            id,
            master,
            job,
            stored,
        });
    }
    Ok(all)
}

fn renew(master: &MasterKeys, stashes: &Stashes, old: Old) -> io::Result<Renewed> {
    let (job, stored) = (&old.job, &old.stored);
    let anew = match &stored.file {
        Some(name) => match stashes.copy(job, name, stored.len) {
            Ok(spared) => Anew::File(spared),
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound) => {
                Anew::Broken
            }
            Err(error) => return Err(error),
        },
        None => match contents::open(master, job, stored) {
            Ok(opened) => {
                let sealed = contents::seal(master, job, stored.piece, &opened);
                Anew::Sealed(sealed.map_err(io::Error::other)?)
            }
            Err(SealError::UnknownKey | SealError::Broken) => Anew::Broken,
            Err(SealError::Cipher) => return Err(io::Error::other(SealError::Cipher)),
        },
    };
    if matches!(anew, Anew::Broken) {
        tracing::warn!(%job, "a content of a job is damaged and can't be sealed anew");
    }
    Ok(Renewed { old, anew })
}

/// Puts them where nobody has changed or deleted the old ones. Returns files that are to be removed.
fn replace(connection: &Connection, header: &Header, renewed: &[Renewed]) -> Result<Vec<String>, Fault> {
    let mut replace = connection.prepare_cached(REPLACE)?;
    let mut files = Vec::new();
    for Renewed { old, anew } in renewed {
        let (sealed, file) = match anew {
            Anew::Sealed(sealed) => (Some(sealed), None),
            Anew::File(spared) => (None, Some(&**spared.name())),
            Anew::Broken if old.stored.file.is_some() => (None, old.stored.file.as_deref()),
            Anew::Broken => (Some(&old.stored.sealed), None),
        };
        let replaced = replace.execute(params![old.id, old.master, header, sealed, file])?;
        match (anew, &old.stored.file) {
            (Anew::File(_), Some(before)) if replaced == 1 => files.push(before.clone()),
            (Anew::File(anew), _) => files.push(anew.name().to_string()),
            _ => {}
        }
    }
    Ok(files)
}

/// Whether everything that is sealed here was sealed with one of the keys.
pub(in crate::store::sqlite) fn all_known(
    connection: &Connection,
    master: &MasterKeys,
) -> rusqlite::Result<bool> {
    let mut next = connection.prepare_cached(NEXT_MASTER)?;
    let mut last = Vec::new();
    loop {
        let header: Option<Vec<u8>> = next.query_row([&last], |row| row.get(0)).optional()?;
        match header {
            Some(header) if !master.knows(&header) => return Ok(false),
            Some(header) => last = header,
            None => break,
        }
    }
    let mut secrets = connection.prepare_cached(SECRETS)?;
    let mut rows = secrets.query([])?;
    while let Some(row) = rows.next()? {
        let sealed = row.get_ref(0)?.as_blob()?;
        if sealed.get(..9).is_some_and(|header| !master.knows(header)) {
            return Ok(false);
        }
    }
    Ok(true)
}
