//! Work that is due, one lane after the other.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Rows, params};

use super::contents::{self, Piece, Stored};
use super::{change, row};
use crate::queue::{Claim, Death, Job, Lane, Lease, Phase};
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::ledger;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::{CallId, Money};

/// How often a claim looks into the index: what comes behind it waits for it.
const MAX_SEEKS: usize = 2000;

pub(super) const NEXT_LANE: &str = "
    SELECT lane, due, seq FROM jobs
    WHERE state = ?1 AND owner IS NULL AND ended IS NULL AND lane > ?2
    ORDER BY lane, due LIMIT 1";

pub(super) const FIRST_OF_LANE: &str = "
    SELECT lane, due, seq FROM jobs
    WHERE state = ?1 AND owner IS NULL AND ended IS NULL AND lane = ?2
    ORDER BY due LIMIT 1";

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
    pub(super) last: Option<Lane>,
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
    lane: String,
    due: i64,
    seq: i64,
}

impl First {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            lane: row.get(0)?,
            due: row.get(1)?,
            seq: row.get(2)?,
        })
    }
}

/// A claim at work.
struct Search<'a> {
    claim: &'a Claim,
    busy_accounts: HashSet<&'a str>,
    state: i64,
    now: i64,
    seeks: usize,
    next_due: Option<i64>,
    /// Whether everything was looked at.
    is_whole: bool,
    found: Found,
}

/// Leases what is due.
pub(super) fn claim(base: &mut Base, claim: &Claim) -> Result<Found, Fault> {
    let mut search = Search {
        claim,
        busy_accounts: claim
            .busy_accounts
            .iter()
            .map(|account| account.as_str())
            .collect(),
        state: match claim.phase {
            Phase::Run => row::QUEUED,
            Phase::Deliver => row::DELIVERING,
        },
        now: rounded_down(claim.now),
        seeks: 0,
        next_due: None,
        is_whole: true,
        found: Found::default(),
    };
    let lanes = search.go_round(base)?;
    search.go_on(base, lanes)?;
    let next_due = match search.next_due {
        _ if !search.is_whole => Some(claim.now),
        due => due.map(|due| Duration::from_millis(due.try_into().unwrap_or(0))),
    };
    Ok(Found {
        next_due,
        ..search.found
    })
}

impl Search<'_> {
    /// Looks at every lane once, and takes one job of each. Returns the lanes that gave one.
    fn go_round(&mut self, base: &mut Base) -> Result<Vec<String>, Fault> {
        let start = self.claim.after.as_ref().map_or("", Lane::as_str);
        let (mut cursor, mut has_wrapped) = (start.to_owned(), start.is_empty());
        let mut gave = Vec::new();
        while self.may_go_on() {
            let next = self.seek(&base.connection, NEXT_LANE, &cursor)?;
            let Some(first) = next.filter(|first| !has_wrapped || start.is_empty() || *first.lane <= *start)
            else {
                if has_wrapped {
                    return Ok(gave);
                }
                (cursor, has_wrapped) = (String::new(), true);
                continue;
            };
            let lane = Lane::from_stored(&first.lane);
            let (is_busy, is_account_busy) = (
                self.claim.busy.contains(&lane),
                self.busy_accounts.contains(lane.account()),
            );
            cursor = if is_account_busy {
                after_account(&lane)
            } else {
                first.lane.clone()
            };
            self.found.last = Some(lane);
            if !is_busy && !is_account_busy && self.take(base, &first)? {
                gave.push(first.lane);
            }
        }
        self.is_whole = false;
        Ok(gave)
    }

    /// Takes further jobs of lanes, one of each a round.
    fn go_on(&mut self, base: &mut Base, mut lanes: Vec<String>) -> Result<(), Fault> {
        for round in 1..=self.claim.most_of_lane.max(1) {
            if lanes.is_empty() {
                break;
            }
            let mut gave = Vec::new();
            for lane in lanes {
                if !self.may_go_on() {
                    self.is_whole = false;
                    return Ok(());
                }
                let Some(first) = self.seek(&base.connection, FIRST_OF_LANE, &lane)? else {
                    continue;
                };
                if round >= self.claim.most_of_lane {
                    self.leave(first.due);
                } else if self.take(base, &first)? {
                    self.found.last = Some(Lane::from_stored(&lane));
                    gave.push(lane);
                }
            }
            lanes = gave;
        }
        Ok(())
    }

    fn may_go_on(&self) -> bool {
        self.found.leased.len() < self.claim.most && self.seeks < MAX_SEEKS
    }

    fn seek(&mut self, connection: &Connection, sql: &str, lane: &str) -> Result<Option<First>, Fault> {
        self.seeks = self.seeks.saturating_add(1);
        let mut seek = connection.prepare_cached(sql)?;
        let first = seek.query_row(params![self.state, lane], First::read);
        Ok(first.optional()?)
    }

    /// Notes when what is left in a lane is due.
    fn leave(&mut self, due: i64) {
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    /// Leases a job if it is due. Returns whether its lane may have another one.
    fn take(&mut self, base: &mut Base, first: &First) -> Result<bool, Fault> {
        if first.due > self.now {
            self.leave(first.due);
            return Ok(false);
        }
        match self.lease(base, first) {
            Ok(leased) => self.found.leased.push(leased),
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
            lane: Lane::from_stored(&first.lane),
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

/// A text behind all lanes of the same account and before those of the next.
fn after_account(lane: &Lane) -> String {
    format!("{}\u{b}", lane.account())
}
