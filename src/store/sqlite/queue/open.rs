//! Leased jobs with their contents in the clear.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::params;
use secrecy::SecretString;
use tokio::task::spawn_blocking;

use super::claim::{self, Leased};
use super::contents::{self, Stored};
use crate::body::Body;
use crate::queue::{Claim, Claimed, Claims, JobId, Lease, Phase, QueueError, Task};
use crate::store::seal::MasterKeys;
use crate::store::sqlite::Sqlite;
use crate::store::sqlite::keys::rounded_down;
use crate::store::stash::Stashes;

/// How long a job waits whose file could not be opened just now.
const PAUSE: Duration = Duration::from_secs(1);

const FREE: &str = "
    UPDATE jobs SET state = CASE state WHEN 1 THEN 0 ELSE state END, owner = NULL, lease_until = NULL, due = ?3, gap = 0
    WHERE id = ?1 AND epoch = ?2 AND owner IS NOT NULL";

/// A task, or why there is none yet.
enum Opened {
    Task(Task),
    /// The file has another name by now.
    Moved,
    /// The system refuses now.
    Refused(io::Error),
}

pub(super) async fn claim(store: &Sqlite, claim: Claim) -> Result<Claims, QueueError> {
    let (phase, now) = (claim.phase, claim.now);
    if phase == Phase::Run {
        // What is run has a result; deliveries make room.
        store.stashes.check_room().await?;
    }
    let found = store.change(move |base| claim::claim(base, &claim)).await?;
    let mut claims = Claims {
        claimed: Vec::with_capacity(found.leased.len()),
        round: found.round,
        next_due: found.next_due,
    };
    for (leased, opened) in open_all(store, phase, found.leased).await? {
        let again = match opened {
            Opened::Moved => open_again(store, phase, leased).await,
            opened @ (Opened::Task(_) | Opened::Refused(_)) => Ok((leased, opened)),
        };
        match again {
            Ok((leased, Opened::Task(task))) => claims.claimed.push(claimed(leased, task)),
            Ok((leased, Opened::Moved)) => claims.claimed.push(claimed(leased, Task::Damaged)),
            Ok((leased, Opened::Refused(error))) => free(store, &leased.lease, now, &error).await,
            // The others are leased: whoever claimed them gets them.
            Err((lease, error)) => free(store, &lease, now, &error).await,
        }
    }
    Ok(claims)
}

/// Opens a job whose files have other names by now.
async fn open_again(
    store: &Sqlite,
    phase: Phase,
    leased: Leased,
) -> Result<(Leased, Opened), (Lease, QueueError)> {
    let lease = leased.lease.clone();
    let again = async {
        let leased = read_again(store, leased).await?;
        let opened = open_all(store, phase, vec![leased]).await?;
        let gone = || QueueError::Damaged {
            what: "a job that is gone".to_owned(),
        };
        opened.into_iter().next().ok_or_else(gone)
    };
    again.await.map_err(|error| (lease, error))
}

fn claimed(leased: Leased, task: Task) -> Claimed {
    Claimed {
        lease: leased.lease,
        lane: leased.lane,
        job: leased.job,
        task,
    }
}

/// Reads the names of files again.
async fn read_again(store: &Sqlite, mut leased: Leased) -> Result<Leased, QueueError> {
    let seq = leased.seq;
    let pieces = leased
        .contents
        .each_ref()
        .map(|stored| stored.as_ref().map(|stored| stored.piece));
    let again = store.change(move |base| {
        let [first, second] =
            pieces.map(|piece| piece.map(|piece| contents::read(&base.connection, seq, piece)));
        Ok([first.transpose()?.flatten(), second.transpose()?.flatten()])
    });
    leased.contents = again.await?;
    Ok(leased)
}

/// Gives a lease back: nothing is wrong with the job. Where that can't be written, it runs out.
async fn free(store: &Sqlite, lease: &Lease, now: Duration, error: &impl Display) {
    tracing::warn!(%error, job = %lease.job, "what is kept of a job can't be opened now");
    let due = rounded_down(now.saturating_add(PAUSE));
    let (job, epoch) = (lease.job.clone(), lease.epoch);
    let freed = store.change(move |base| {
        let mut free = base.connection.prepare_cached(FREE)?;
        free.execute(params![job.as_str(), epoch, due])?;
        Ok(())
    });
    if let Err(error) = freed.await {
        tracing::warn!(%error, job = %lease.job, "a job waits until its lease has run out");
    }
}

async fn open_all(
    store: &Sqlite,
    phase: Phase,
    leased: Vec<Leased>,
) -> Result<Vec<(Leased, Opened)>, QueueError> {
    if leased.is_empty() {
        return Ok(Vec::new());
    }
    let (master, stashes) = (Arc::clone(&store.master), store.stashes.clone());
    let opening = spawn_blocking(move || {
        let open = |mut leased: Leased| {
            let opened = open(&master, &stashes, phase, &mut leased);
            (leased, opened)
        };
        leased.into_iter().map(open).collect()
    });
    opening.await.map_err(|error| QueueError::Unavailable {
        why: error.to_string(),
    })
}

fn open(master: &MasterKeys, stashes: &Stashes, phase: Phase, leased: &mut Leased) -> Opened {
    let job = &leased.lease.job;
    let [Some(first), Some(second)] = &leased.contents else {
        return Opened::Task(Task::Damaged);
    };
    let Ok(first) = contents::open(master, job, first) else {
        return Opened::Task(Task::Damaged);
    };
    let body = match body(master, stashes, job, second) {
        Ok(body) => body,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Opened::Moved,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Opened::Task(Task::Damaged),
        Err(error) => return Opened::Refused(error),
    };
    Opened::Task(match phase {
        Phase::Run => Task::Run {
            head: first,
            body,
            held: leased.held,
        },
        Phase::Deliver => match String::from_utf8(first) {
            Ok(hook) => Task::Deliver {
                hook: SecretString::from(hook),
                result: body,
                succeeded: leased.succeeded,
            },
            Err(_not_text) => Task::Damaged,
        },
    })
}

fn body(master: &MasterKeys, stashes: &Stashes, job: &JobId, stored: &Stored) -> io::Result<Body> {
    match &stored.file {
        Some(name) => stashes.read(job, name, stored.len),
        None => {
            let opened = contents::open(master, job, stored);
            let opened =
                opened.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            Ok(Body::full(opened))
        }
    }
}
