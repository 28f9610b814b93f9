//! What the writer promises to whoever hands it work.

use super::batch::MAX_BATCH;
use super::*;
use futures_util::FutureExt;
use futures_util::future::join_all;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

const TABLES: &str = "
    PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;
    CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY, blob BLOB);
    CREATE TABLE IF NOT EXISTS late (number REFERENCES numbers (number) DEFERRABLE INITIALLY DEFERRED);
";

#[derive(Debug, PartialEq, Eq)]
enum TestError {
    Own,
    Sql(String),
    Fault(Fault),
}

impl From<Fault> for TestError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StartError> for TestError {
    fn from(error: StartError) -> Self {
        Self::Sql(error.to_string())
    }
}

impl From<rusqlite::Error> for TestError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error.to_string())
    }
}

type Outcome = Result<(), TestError>;

/// What work says.
type Done = Result<Outcome, Fault>;

fn connect(dir: &Path) -> Connection {
    let connection = Connection::open(dir.join("test.db")).unwrap();
    connection.execute_batch(TABLES).unwrap();
    connection
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

fn opened(dir: &Path) -> Opened {
    let dir = dir.to_owned();
    Opened {
        connection: connect(&dir),
        lock: tempfile::tempfile().unwrap(),
        reopen: Box::new(move || Ok(connect(&dir))),
    }
}

fn desk(dir: &Path) -> Desk {
    Desk::new(opened(dir), metrics())
}

fn start(dir: &Path) -> Writer {
    let dir = dir.to_owned();
    Writer::start(metrics(), move || Ok::<_, TestError>(opened(&dir))).unwrap()
}

fn put(number: i64) -> impl Fn(&mut Base) -> Done + Send + 'static {
    move |base| {
        base.connection
            .execute("INSERT INTO numbers (number) VALUES (?1)", [number])?;
        Ok(Ok(()))
    }
}

fn numbers(connection: &Connection) -> Vec<i64> {
    let mut select = connection
        .prepare("SELECT number FROM numbers ORDER BY number")
        .unwrap();
    select
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn piece(work: impl Fn(&mut Base) -> Done + Send + 'static) -> (Piece, oneshot::Receiver<Outcome>) {
    let (caller, answer) = oneshot::channel();
    let task = Task {
        work,
        outcome: None,
        caller,
    };
    (Box::new(task), answer)
}

#[test]
fn work_that_waits_shares_a_commit_with_others_up_to_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path());
    let (queue, mut waiting) = mpsc::channel(MAX_QUEUED);
    let total: usize = 2 * MAX_BATCH + 5;
    let mut answers = Vec::new();
    for number in 0..total {
        let (piece, answer) = piece(put(number.try_into().unwrap()));
        queue.try_send(piece).unwrap();
        answers.push(answer);
    }
    let (mut done, mut batches) = (0, 0);
    while let Ok(first) = waiting.try_recv() {
        let len = desk.serve_batch(first, &mut waiting);
        assert!((1..=MAX_BATCH).contains(&len), "{len}");
        for answer in &mut answers[done..done + len] {
            assert_eq!(answer.try_recv().unwrap(), Ok(()));
        }
        (done, batches) = (done + len, batches + 1);
    }
    assert_eq!((done, numbers(&connect(dir.path())).len()), (total, total));
    assert!((3..total).contains(&batches), "{batches} batches");
}

#[test]
fn work_that_fails_takes_back_its_own_and_nothing_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path());
    let (queue, mut waiting) = mpsc::channel(8);
    let (first, mut first_answer) = piece(put(1));
    let (failing, mut failing_answer) = piece(|base| {
        put(2)(base)?.unwrap();
        Ok(Err(TestError::Own))
    });
    let (refused, mut refused_answer) = piece(put(1));
    let (last, mut last_answer) = piece(put(3));
    for piece in [failing, refused, last] {
        queue.try_send(piece).unwrap();
    }
    let mut next = Some(first);
    while let Some(first) = next {
        desk.serve_batch(first, &mut waiting);
        next = waiting.try_recv().ok();
    }
    assert_eq!(first_answer.try_recv().unwrap(), Ok(()));
    assert_eq!(failing_answer.try_recv().unwrap(), Err(TestError::Own));
    assert!(matches!(
        refused_answer.try_recv().unwrap(),
        Err(TestError::Fault(Fault::Unavailable(_)))
    ));
    assert_eq!(last_answer.try_recv().unwrap(), Ok(()));
    assert_eq!(numbers(&connect(dir.path())), [1, 3]);
}

#[test]
fn a_commit_that_fails_is_an_error_for_all_whose_work_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path());
    let (_queue, mut waiting) = mpsc::channel(8);
    let (orphan, mut answer) = piece(|base| {
        put(1)(base)?.unwrap();
        base.connection
            .execute("INSERT INTO late (number) VALUES (2)", [])?;
        Ok(Ok(()))
    });
    desk.serve_batch(orphan, &mut waiting);
    assert!(matches!(
        answer.try_recv().unwrap(),
        Err(TestError::Fault(Fault::Unavailable(_)))
    ));
    assert_eq!(numbers(&connect(dir.path())), [0; 0]);
    let (next, mut answer) = piece(put(3));
    desk.serve_batch(next, &mut waiting);
    assert_eq!(answer.try_recv().unwrap(), Ok(()));
}

#[test]
fn a_file_that_somebody_else_holds_is_waited_for_once_for_all_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path());
    let base = desk.base.as_ref().unwrap();
    base.connection.busy_timeout(Duration::ZERO).unwrap();
    let other = connect(dir.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (queue, mut waiting) = mpsc::channel(8);
    let (first, first_answer) = piece(put(1));
    let (second, second_answer) = piece(put(2));
    queue.try_send(second).unwrap();
    assert_eq!(desk.serve_batch(first, &mut waiting), 2);
    for mut answer in [first_answer, second_answer] {
        let Err(TestError::Fault(Fault::Unavailable(why))) = answer.try_recv().unwrap() else {
            panic!("nothing can have been written");
        };
        assert!(why.contains("locked"), "{why}");
    }
}

#[test]
fn after_an_error_that_leaves_the_connection_in_doubt_it_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path());
    let (_queue, mut waiting) = mpsc::channel(8);
    let (torn, mut answer) = piece(|base| {
        put(1)(base)?.unwrap();
        base.connection.execute_batch("ROLLBACK")?;
        Ok(Ok(()))
    });
    desk.serve_batch(torn, &mut waiting);
    let outcome = answer.try_recv().unwrap();
    assert!(matches!(outcome, Err(TestError::Fault(_))), "{outcome:?}");
    assert!(desk.base.is_none());
    let (next, mut answer) = piece(put(2));
    desk.serve_batch(next, &mut waiting);
    assert_eq!(answer.try_recv().unwrap(), Ok(()));
    assert_eq!(numbers(&connect(dir.path())), [2]);
}

#[test]
fn a_fault_of_the_disk_in_one_piece_is_told_to_all_and_the_connection_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path());
    let (queue, mut waiting) = mpsc::channel(8);
    let fault = || Fault::InDoubt("disk I/O error".to_owned());
    let (whole, mut whole_answer) = piece(put(1));
    let (faulty, mut faulty_answer) = piece(move |base| {
        put(2)(base)?.unwrap();
        Err(fault())
    });
    queue.try_send(faulty).unwrap();
    let mut first = Some(whole);
    while let Some(piece) = first {
        desk.serve_batch(piece, &mut waiting);
        first = waiting.try_recv().ok();
    }
    assert!(desk.base.is_none());
    assert_eq!(faulty_answer.try_recv().unwrap(), Err(TestError::Fault(fault())));
    // The other piece was in the same batch, or in one before.
    let mut kept = numbers(&connect(dir.path()));
    match whole_answer.try_recv().unwrap() {
        Ok(()) => assert_eq!(kept, [1]),
        Err(error) => assert_eq!((error, kept.len()), (TestError::Fault(fault()), 0)),
    }
    let (next, mut answer) = piece(put(3));
    desk.serve_batch(next, &mut waiting);
    assert_eq!(answer.try_recv().unwrap(), Ok(()));
    kept.push(3);
    assert_eq!(numbers(&connect(dir.path())), kept);
}

#[test]
fn while_it_can_not_be_opened_anew_all_that_waits_is_an_error_and_later_work_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = desk(dir.path());
    desk.base = None;
    let whole = std::mem::replace(
        &mut desk.reopen,
        Box::new(|| Err(Fault::Unavailable("gone".to_owned()))),
    );
    let (queue, mut waiting) = mpsc::channel(8);
    let (first, mut first_answer) = piece(put(1));
    let (second, mut second_answer) = piece(put(2));
    queue.try_send(second).unwrap();
    assert_eq!(desk.serve_batch(first, &mut waiting), 2);
    for answer in [&mut first_answer, &mut second_answer] {
        let gone = Fault::Unavailable("gone".to_owned());
        assert_eq!(answer.try_recv().unwrap(), Err(TestError::Fault(gone)));
    }
    desk.reopen = whole;
    let (next, mut answer) = piece(put(3));
    desk.serve_batch(next, &mut waiting);
    assert_eq!(answer.try_recv().unwrap(), Ok(()));
    let text = desk.metrics.render().unwrap();
    assert!(text.contains("tidegate_ledger_batch_size_count 1\n"), "{text}");
    assert!(
        text.contains("tidegate_ledger_commit_seconds_count 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_leaves_the_rest_whole() {
    let dir = tempfile::tempdir().unwrap();
    // A connection that is opened anew finds the disk as full as the one before.
    let pages = Arc::new(AtomicU32::new(u32::MAX));
    let limited = {
        let (dir, pages) = (dir.path().to_owned(), Arc::clone(&pages));
        move || {
            let connection = connect(&dir);
            let pages = pages.load(Ordering::SeqCst);
            connection.pragma_update(None, "max_page_count", pages).unwrap();
            Ok(connection)
        }
    };
    let opened = opened(dir.path());
    let opening = move || {
        Ok::<_, TestError>(Opened {
            reopen: Box::new(limited),
            ..opened
        })
    };
    let writer = Writer::start(metrics(), opening).unwrap();
    writer.run(put(1)).await.unwrap();
    let limit = |count: u32| {
        pages.store(count, Ordering::SeqCst);
        move |base: &mut Base| -> Done {
            base.connection.pragma_update(None, "max_page_count", count)?;
            Ok(Ok(()))
        }
    };
    writer.run(limit(5)).await.unwrap();
    let big = |number: i64| {
        move |base: &mut Base| -> Done {
            put(number)(base)?.unwrap();
            let fill = "UPDATE numbers SET blob = zeroblob(1000000) WHERE number = ?1";
            base.connection.execute(fill, [number])?;
            Ok(Ok(()))
        }
    };
    let outcomes = join_all((2..20).map(|number| writer.run(big(number)))).await;
    for outcome in outcomes {
        let shown = format!("{:?}", outcome.unwrap_err());
        assert!(shown.contains("disk is full"), "{shown}");
    }
    writer.run(limit(100_000)).await.unwrap();
    writer.run(put(30)).await.unwrap();
    drop(writer);
    assert_eq!(numbers(&connect(dir.path())), [1, 30]);
}

#[tokio::test]
async fn more_work_than_the_queue_holds_waits_and_is_all_done() {
    let dir = tempfile::tempdir().unwrap();
    let writer = start(dir.path());
    let (open, gate) = channel::<()>();
    let held = writer.run(move |_| -> Done {
        gate.recv().unwrap();
        Ok(Ok(()))
    });
    let many = join_all((0..2000).map(|number| writer.run(put(number))));
    let opener = async move {
        tokio::task::yield_now().await;
        open.send(()).unwrap();
    };
    let (held, many, ()) = futures_util::future::join3(held, many, opener).await;
    assert_eq!(held, Ok(()));
    assert!(many.iter().all(Result::is_ok));
    drop(writer);
    assert_eq!(numbers(&connect(dir.path())).len(), 2000);
}

#[tokio::test]
async fn work_that_was_handed_over_is_done_though_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = start(dir.path());
    for number in 0..100 {
        assert!(
            writer
                .run(put(number))
                .now_or_never()
                .is_none_or(|done| done.is_ok())
        );
    }
    writer.stop().unwrap();
    assert_eq!(numbers(&connect(dir.path())).len(), 100);
    let refused = writer.run(put(1)).await;
    assert!(matches!(refused, Err(TestError::Fault(Fault::Unavailable(_)))));
}

#[tokio::test]
async fn a_panic_in_work_is_an_error_for_whoever_waits_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = start(dir.path());
    let broken = writer.run(|base| -> Done {
        put(1)(base)?.unwrap();
        panic!("as the test wants it")
    });
    assert!(matches!(
        broken.await,
        Err(TestError::Fault(Fault::Unavailable(_)))
    ));
    let later = writer.run(put(2)).await;
    assert!(matches!(later, Err(TestError::Fault(Fault::Unavailable(_)))));
    assert!(writer.stop().is_err());
    assert_eq!(numbers(&connect(dir.path())), [0; 0]);
}

#[test]
fn a_connection_that_does_not_open_is_told_and_leaves_no_thread() {
    let refused = Writer::start(metrics(), || -> Result<Opened, TestError> { Err(TestError::Own) });
    assert_eq!(refused.unwrap_err(), TestError::Own);
    let broken = Writer::start(metrics(), || -> Result<Opened, TestError> {
        panic!("as the test wants it")
    });
    assert!(matches!(broken.unwrap_err(), TestError::Sql(_)));
}
