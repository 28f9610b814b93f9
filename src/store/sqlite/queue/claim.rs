//! Work that is due, one lane after the other.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use super::contents::{self, Piece, Stored};
use super::{change, row};
use crate::queue::{Claim, Death, Job, Lane, Lease, Phase, Round};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::ledger;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::{CallId, Money};

/// How often a claim looks into the index: what comes behind it waits for it.
const MAX_SEEKS: usize = 2000;

/// How many lanes of one account are looked at, and how many jobs of it are taken, before others have their turn.
const MAX_SEEKS_OF_TURN: usize = 200;
const MAX_JOBS_OF_TURN: usize = 8;

pub(super) const NEXT_LANE: &str = "
    SELECT lane, due, seq FROM jobs
    WHERE state = ?1 AND owner IS NULL AND ended IS NULL AND lane > ?2
    ORDER BY lane, due LIMIT 1";

pub(super) const FIRST_DUE: &str = "
    SELECT due FROM jobs WHERE state = ?1 AND owner IS NULL AND ended IS NULL ORDER BY due LIMIT 1";

const LEASE: &str = "
    UPDATE jobs SET state = CASE state WHEN 0 THEN 1 ELSE state END, owner = ?2, lease_until = ?3, epoch = epoch + 1
    WHERE seq = ?1
    RETURNING id, call, at, account, key, token, model, origin, failed, epoch, succeeded";

const HELD: &str = "SELECT amount FROM holds WHERE call = ?1";

const CALL: &str = "SELECT call FROM jobs WHERE seq = ?1";

/// What a claim has leased.
#[derive(Default)]
pub(super) struct Found {
    pub(super) leased: Vec<Leased>,
    pub(super) round: Round,
    pub(super) next_due: Option<Duration>,
}

/// A leased job with its contents still sealed.
pub(super) struct Leased {
    pub(super) seq: i64,
    pub(super) lease: Lease,
    pub(super) lane: Lane,
    pub(super) job: Job,
    pub(super) held: Option<Money>,
    pub(super) succeeded: bool,
    /// The URL or the head; the request or the result.
    pub(super) contents: [Option<Stored>; 2],
}

/// The first job of a lane.
struct First {
    lane: Lane,
    due: i64,
    seq: i64,
}

impl First {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            lane: Lane::from_stored(row.get_ref(0)?.as_str()?),
            due: row.get(1)?,
            seq: row.get(2)?,
        })
    }
}

/// A claim at work.
struct Search<'a> {
    claim: &'a Claim,
    accounts: HashMap<&'a str, usize>,
    state: i64,
    now: i64,
    seeks: usize,
    round: Round,
    /// What was taken.
    of_lanes: HashMap<Lane, usize>,
    of_accounts: HashMap<String, usize>,
    leased: Vec<Leased>,
}

/// Leases what is due.
pub(super) fn claim(base: &mut Base, claim: &Claim) -> Result<Found, Fault> {
    let mut search = Search {
        claim,
        accounts: claim
            .accounts
            .less
            .iter()
            .map(|(account, room)| (account.as_str(), *room))
            .collect(),
        state: match claim.phase {
            Phase::Run => row::QUEUED,
            Phase::Deliver => row::DELIVERING,
        },
        now: rounded_down(claim.now),
        seeks: 0,
        round: claim.round.clone(),
        of_lanes: HashMap::new(),
        of_accounts: HashMap::new(),
        leased: Vec::new(),
    };
    let is_whole = search.go_round(base)?;
    let next_due = if is_whole {
        search.round.rest()
    } else {
        Some(claim.now)
    };
    Ok(Found {
        leased: search.leased,
        round: search.round,
        next_due,
    })
}

impl Search<'_> {
    /// Gives one account after the other its turn. Returns whether nothing more is to be found.
    fn go_round(&mut self, base: &mut Base) -> Result<bool, Fault> {
        if self.is_nothing_due(&base.connection)? {
            return Ok(true);
        }
        while self.may_go_on() {
            let at = self.round.at().to_owned();
            let Some(first) = self.seek(&base.connection, &at)? else {
                if self.round.turns_over() {
                    return Ok(true);
                }
                continue;
            };
            if self.turn(base, first)? && self.is_nothing_due(&base.connection)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes one job each of some lanes of an account. Returns whether there was one.
    fn turn(&mut self, base: &mut Base, first: First) -> Result<bool, Fault> {
        let account = first.lane.account().to_owned();
        let room = self.room_of(&account).min(MAX_JOBS_OF_TURN);
        if room == 0 {
            self.round.pass(&first.lane);
            return Ok(false);
        }
        let (mut taken, before) = (0, self.seeks);
        let mut next = match self.round.begin(&first.lane) {
            Some(after) => self.next_of(base, &after)?,
            None => Some(first),
        };
        let mut left = None;
        while let Some(first) = next {
            if self.room_in(&first) > 0 && self.take(base, &first)? {
                taken += 1;
            }
            next = self.next_of(base, &first.lane)?;
            left = next.is_some().then_some(first.lane);
            let looked = self.seeks.saturating_sub(before);
            if taken >= room || looked >= MAX_SEEKS_OF_TURN || !self.may_go_on() {
                break;
            }
        }
        self.round.end(&account, left);
        if taken > 0 {
            self.round.found();
            let of_account = self.of_accounts.entry(account).or_default();
            *of_account = of_account.saturating_add(taken);
        }
        Ok(taken > 0)
    }

    /// How much may still be taken of an account.
    fn room_of(&self, account: &str) -> usize {
        let room = self.accounts.get(account).copied();
        let taken = self.of_accounts.get(account).copied().unwrap_or_default();
        room.unwrap_or(self.claim.accounts.usual).saturating_sub(taken)
    }

    /// How much may still be taken of a lane. What this claim leaves in one that had room is due at its time.
    fn room_in(&mut self, first: &First) -> usize {
        let taken = self.of_lanes.get(&first.lane).copied().unwrap_or_default();
        let room = self.claim.lanes.of(&first.lane).saturating_sub(taken);
        if room == 0 && taken > 0 {
            self.leave(first.due);
        }
        room
    }

    fn may_go_on(&self) -> bool {
        self.leased.len() < self.claim.most && self.seeks < MAX_SEEKS
    }

    /// Whether nothing at all is due. Then nobody looks for it.
    fn is_nothing_due(&mut self, connection: &Connection) -> Result<bool, Fault> {
        self.seeks = self.seeks.saturating_add(1);
        let mut first = connection.prepare_cached(FIRST_DUE)?;
        let due: Option<i64> = first.query_row([self.state], |row| row.get(0)).optional()?;
        if due.is_some_and(|due| due <= self.now) {
            return Ok(false);
        }
        self.round.rest();
        if let Some(due) = due {
            self.leave(due);
        }
        Ok(true)
    }

    /// The first job of the next lane.
    fn seek(&mut self, connection: &Connection, after: &str) -> Result<Option<First>, Fault> {
        self.seeks = self.seeks.saturating_add(1);
        let mut seek = connection.prepare_cached(NEXT_LANE)?;
        Ok(seek
            .query_row(params![self.state, after], First::read)
            .optional()?)
    }

    /// The first job of the next lane of the same account.
    fn next_of(&mut self, base: &Base, lane: &Lane) -> Result<Option<First>, Fault> {
        let next = self.seek(&base.connection, lane.as_str())?;
        Ok(next.filter(|next| next.lane.account() == lane.account()))
    }

    /// Notes when what is left is due.
    fn leave(&mut self, due: i64) {
        self.round
            .met(Duration::from_millis(due.try_into().unwrap_or_default()));
    }

    /// Leases a job if it is due. Returns whether it was.
    fn take(&mut self, base: &mut Base, first: &First) -> Result<bool, Fault> {
        if first.due > self.now {
            self.leave(first.due);
            return Ok(false);
        }
        match self.lease(base, first) {
            Ok(leased) => {
                let of_lane = self.of_lanes.entry(first.lane.clone()).or_default();
                *of_lane = of_lane.saturating_add(1);
                self.leased.push(leased);
            }
            // It would be met again and again.
            Err(Fault::Damaged(what)) => {
                tracing::error!(what, "a job is damaged and ends");
                let call: [u8; 16] = base.connection.query_row(CALL, [first.seq], |row| row.get(0))?;
                let job = (first.seq, CallId::from_bytes(call));
                change::die(base, job, Death::Damaged, self.claim.now)?;
            }
            Err(fault) => return Err(fault),
        }
        Ok(true)
    }

    fn lease(&self, base: &Base, first: &First) -> Result<Leased, Fault> {
        let mut lease = base.connection.prepare_cached(LEASE)?;
        let (owner, until) = (self.claim.owner.as_bytes(), rounded_down(self.claim.until));
        let mut rows = lease.query(params![first.seq, owner, until])?;
        let read = read(&mut rows);
        // Stepped to its end: a statement that stops at its first row is rolled back when it is used again.
        while rows.next()?.is_some() {}
        let (job, epoch, succeeded) = read?;
        let connection = &base.connection;
        let mut held = connection.prepare_cached(HELD)?;
        let held: Option<i64> = held
            .query_row([job.call.as_bytes()], |row| row.get(0))
            .optional()?;
        let pieces = match self.claim.phase {
            Phase::Run => [Piece::Head, Piece::Request],
            Phase::Deliver => [Piece::Hook, Piece::Result],
        };
        let [first_piece, second_piece] = pieces;
        let contents = [
            contents::read(connection, first.seq, first_piece)?,
            contents::read(connection, first.seq, second_piece)?,
        ];
        Ok(Leased {
            seq: first.seq,
            lease: Lease {
                job: job.id.clone(),
                epoch,
            },
            lane: first.lane.clone(),
            held: held.map(ledger::money).transpose()?,
            succeeded: succeeded.unwrap_or_default(),
            contents,
            job,
        })
    }
}

fn read(rows: &mut Rows<'_>) -> Result<(Job, i64, Option<bool>), Fault> {
    let Some(row) = rows.next()? else {
        return Err(ledger::damaged("a job that is gone"));
    };
    Ok((
        row::job(row)?,
        row::get(row, "epoch")?,
        row::get(row, "succeeded")?,
    ))
}
