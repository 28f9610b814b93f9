//! A new job: told from a second try, counted, paid for and written down in one transaction.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::contents::{New, Piece};
use super::row;
use crate::queue::{JobId, Lane, NewJob, Once, Part, PutError, PutJob, Waiting};
use crate::spend::HoldOrder;
use crate::store::sqlite::Sqlite;
use crate::store::sqlite::keys::rounded_down;
use crate::store::sqlite::ledger;
use crate::store::sqlite::writer::{Base, Fault};
use crate::types::{AccountId, ModelName};

/// How long a second try of a client is told from a second call.
pub(super) const ONCE: Duration = Duration::from_secs(24 * 60 * 60);

const EARLIER: &str = "SELECT request, at, job FROM once WHERE account = ?1 AND key = ?2";

const PUT_ONCE: &str = "
    INSERT INTO once (account, key, request, at, job) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (account, key) DO UPDATE SET request = ?3, at = ?4, job = ?5";

const UNFINISHED: &str = "SELECT jobs FROM job_accounts WHERE account = ?1";

const PUT: &str = "
    INSERT INTO jobs (id, call, at, account, key, token, model, surface, origin, state, lane, due, gap, epoch, crashes,
        failed, kept, amount, purses)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, 0, 0, 0, 1,
        (SELECT amount FROM holds WHERE call = ?2), (SELECT purses FROM holds WHERE call = ?2))";

/// A job with its contents sealed.
struct Sealed {
    job: NewJob,
    order: Option<HoldOrder>,
    contents: [New; 3],
}

pub(super) async fn put(store: &Sqlite, new: PutJob) -> Result<Waiting, PutError> {
    let PutJob { mut job, order } = new;
    let (master, stashes) = (&store.master, &store.stashes);
    stashes.check_room().await?;
    let hook = std::mem::take(&mut job.hook).into_bytes();
    let head = std::mem::take(&mut job.head);
    let body = std::mem::replace(&mut job.body, crate::queue::Content::Inline(bytes::Bytes::new()));
    let hook = New::sealed(master, &job.id, Piece::Hook, &hook)?;
    let head = New::sealed(master, &job.id, Piece::Head, &head)?;
    let body = New::of(stashes, master, &job.id, (Part::Request, body))?;
    let file: Vec<_> = body.file().map(str::to_owned).into_iter().collect();
    let contents = [hook, head, body];
    let sealed = Sealed { job, order, contents };
    let put = store.writer.run(move |base| sealed.put(base)).await;
    match &put {
        // Whether it was written is open: a sweep will tell.
        Err(PutError::Queue(_)) => {}
        Ok(waiting) if !waiting.again => {}
        Ok(_) | Err(PutError::Full { .. } | PutError::Mismatch | PutError::Hold(_)) => {
            store.stashes.remove(file).await;
        }
    }
    put
}

impl Sealed {
    fn put(&self, base: &mut Base) -> Result<Result<Waiting, PutError>, Fault> {
        let job = &self.job;
        if let Some(once) = &job.once
            && let Some(earlier) = earlier(&base.connection, &job.account, once, job.at)?
        {
            return Ok(earlier);
        }
        if unfinished(&base.connection, &job.account)? >= job.max_queued {
            let limit = job.max_queued;
            return Ok(Err(PutError::Full { limit }));
        }
        let held = match self.order.as_ref().map(|order| ledger::hold(base, order)) {
            Some(held) => match held? {
                Ok(held) => Some(held),
                Err(refused) => return Ok(Err(refused.into())),
            },
            None => None,
        };
        let seq = insert(&base.connection, job)?;
        for content in &self.contents {
            content.put(&base.connection, seq)?;
        }
        let id = job.id.clone();
        Ok(Ok(Waiting {
            id,
            held,
            again: false,
        }))
    }
}

/// What an earlier job with the same key answers, if there is one.
fn earlier(
    connection: &Connection,
    account: &AccountId,
    once: &Once,
    now: Duration,
) -> Result<Option<Result<Waiting, PutError>>, Fault> {
    let mut select = connection.prepare_cached(EARLIER)?;
    let mut rows = select.query(params![account.as_str(), once.key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    if row::time(row, "at")?.saturating_add(ONCE) <= now {
        return Ok(None);
    }
    if row::get::<[u8; 32]>(row, "request")? != once.request {
        return Ok(Some(Err(PutError::Mismatch)));
    }
    let id: String = row::get(row, "job")?;
    let id = JobId::parse(&id).ok_or_else(|| ledger::damaged("the id of a job"))?;
    Ok(Some(Ok(Waiting {
        id,
        held: None,
        again: true,
    })))
}

fn unfinished(connection: &Connection, account: &AccountId) -> Result<u64, Fault> {
    let mut select = connection.prepare_cached(UNFINISHED)?;
    let jobs: Option<i64> = select
        .query_row([account.as_str()], |row| row.get(0))
        .optional()?;
    Ok(jobs.unwrap_or(0).try_into().unwrap_or(0))
}

fn insert(connection: &Connection, job: &NewJob) -> Result<i64, Fault> {
    let lane = Lane::of_model(&job.account, job.model.as_ref());
    let (account, at) = (job.account.as_str(), rounded_down(job.at));
    let columns: [&dyn ToSql; 12] = [
        &job.id.as_str(),
        job.call.as_bytes(),
        &at,
        &account,
        &job.key.as_str(),
        &job.token.as_ref().map(ToString::to_string),
        &job.model.as_ref().map(ModelName::as_str),
        &job.surface,
        &job.origin,
        &row::QUEUED,
        &lane.as_str(),
        &rounded_down(job.due),
    ];
    let seq = connection.prepare_cached(PUT)?.insert(&columns[..])?;
    if let Some(once) = &job.once {
        let mut put = connection.prepare_cached(PUT_ONCE)?;
        put.execute(params![account, once.key, once.request, at, job.id.as_str()])?;
    }
    Ok(seq)
}
