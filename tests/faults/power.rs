//! The power is cut: what was acknowledged is there afterwards. Plain SQL shows that the disk of these tests tells a
//! database that syncs from one that does not.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tidegate::metrics::Metrics;
use tidegate::spend::{
    By, Entry, HoldOrder, Ledger, Metered, Purse, Report, Settlement, Share, Span, UsageRow,
};
use tidegate::store::{MasterKeys, Sqlite};
use tidegate::types::{AccountId, CallId, Clock, KeyName, Money, RequestId, SystemClock, Usage};

use crate::books;
use crate::disk::Disk;
use crate::gate::{Gate, MASTER_KEY, database, mint};
use crate::kept::Cut;
use crate::killed::{assert_charged, assert_has_rows};
use crate::load::{Call, Load};
use crate::upstream::Upstream;
use crate::{Dice, rounds};

/// Where the child finds its folder; without it the children's halves of the tests do nothing.
const FOLDER: &str = "TIDEGATE_TEST_POWER_FOLDER";

/// What the child that speaks plain SQL is to set.
const SYNCHRONOUS: &str = "TIDEGATE_TEST_POWER_SYNCHRONOUS";

/// What each call holds; it costs half.
const AMOUNT: i64 = 10;

const WORKERS: usize = 8;

/// Every other cut leaves some sectors of what was not synced.
pub fn cut(round: usize) -> Cut {
    if round.is_multiple_of(2) {
        Cut::Forget
    } else {
        Cut::Tear(round)
    }
}

fn start(test: &str, folder: &Path, synchronous: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, folder)
        .env(SYNCHRONOUS, synchronous)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

/// Lets a child run until it has said so many lines that begin with `word`; then the power is cut. Gives what is on the
/// disk, and how many such lines there were in all.
fn run_and_cut(
    round: usize,
    test: &str,
    synchronous: &str,
    words: [&str; 2],
) -> Option<(TempDir, [usize; 2])> {
    let disk = Disk::mount()?;
    let answers = 1 + usize::try_from(Dice::new(round).below(400)).unwrap();
    let (mut child, mut lines) = start(test, disk.path(), synchronous);
    let (mut heard, mut line, mut rest) = ([0, 0], String::new(), None);
    while lines.read_line(&mut line).unwrap() > 0 {
        for (count, word) in heard.iter_mut().zip(words) {
            *count += usize::from(line.strip_suffix('\n') == Some(word));
        }
        if heard[0] >= answers && rest.is_none() {
            rest = Some(disk.cut(cut(round)));
            child.kill().unwrap();
        }
        line.clear();
    }
    assert!(!child.wait().unwrap().success(), "the child ended by itself");
    Some((rest.expect("the child says too little"), heard))
}

#[test]
fn what_the_ledger_acknowledged_outlasts_a_power_cut() {
    for round in 0..rounds(6) {
        let words = ["held", "closed"];
        let Some((rest, [held, closed])) = run_and_cut(round, "power::the_ledger_that_is_cut", "", words)
        else {
            return;
        };
        let (calls, cost) = reopen(rest.path());
        let (held, closed) = (i64::try_from(held).unwrap(), i64::try_from(closed).unwrap());
        assert!(calls >= held, "round {round}: {held} held, {calls} in the books");
        // What was not heard of any more costs half of its hold or, recovered, all of it.
        let unheard = calls - closed;
        assert!(
            cost >= calls * AMOUNT / 2 && cost <= closed * AMOUNT / 2 + unheard * AMOUNT,
            "round {round}: {closed} of {calls} closed, {cost} charged"
        );
        assert!(
            unheard <= 2 * i64::try_from(WORKERS).unwrap(),
            "{unheard} unheard"
        );
        assert_eq!(books::read(rest.path()).holds, (0, 0));
    }
}

/// Opens the ledger anew and closes what was left: how many calls there are, and what they cost.
#[tokio::main(flavor = "current_thread")]
async fn reopen(folder: &Path) -> (i64, i64) {
    let ledger = open(folder);
    ledger
        .recover(CallId::from_bytes([0; 16]), Duration::ZERO)
        .await
        .unwrap();
    let report = Report {
        by: By::Account,
        from: Duration::ZERO,
        to: Duration::MAX,
        account: None,
        limit: u32::MAX,
    };
    let rows = ledger.report(report).await.unwrap();
    let sums = rows
        .iter()
        .map(|row| (i64::try_from(row.calls).unwrap(), row.cost.as_nanos()));
    let sum = sums.fold((0, 0), |all, row| (all.0 + row.0, all.1 + row.1));
    let balance = ledger.balance(purse()).await.unwrap();
    assert_eq!((balance.spent.as_nanos(), balance.held), (sum.1, Money::ZERO));
    ledger.close().unwrap();
    sum
}

fn open(folder: &Path) -> Sqlite {
    let master = MasterKeys::parse(&[MASTER_KEY.into()]).unwrap();
    Sqlite::open(&database(folder), master, Arc::new(Metrics::new().unwrap())).unwrap()
}

fn purse() -> Purse {
    Purse {
        account: AccountId::parse("di:1").unwrap(),
        share: Share::Account(Span::Total),
    }
}

/// Nothing by itself: the test above runs it in a process of its own, on a disk whose power it cuts.
#[test]
fn the_ledger_that_is_cut() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let spending = async {
        let ledger = open(Path::new(&folder));
        let owner = CallId::new(SystemClock.now());
        futures_util::future::join_all((0..WORKERS).map(|_| spend(&ledger, owner))).await;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let bounded = async { tokio::time::timeout(Duration::from_secs(60), spending).await };
    let outcome = runtime.unwrap().block_on(bounded);
    panic!("nobody killed the process: {outcome:?}");
}

/// Holds and charges one call after the other, and says what is done.
async fn spend(ledger: &Sqlite, owner: CallId) {
    loop {
        let at = SystemClock.now();
        let entry = Entry {
            call: CallId::new(at),
            at,
            account: AccountId::parse("di:1").unwrap(),
            key: KeyName::parse("auto").unwrap(),
            token: None,
            model: None,
            route: "chat_completions",
            request_id: RequestId::new(at),
        };
        let money = |nanos| Money::from_nanos(nanos).unwrap();
        let order = HoldOrder {
            owner,
            entry: entry.clone(),
            purses: vec![(purse(), Money::MAX)],
            wanted: money(AMOUNT),
            least: money(AMOUNT),
        };
        ledger.hold(order).await.unwrap();
        say("held");
        let row = UsageRow {
            entry,
            usage: Usage::default(),
            cost: money(AMOUNT / 2),
            metered: Metered::Reported,
            status: 200,
            outcome: "completed",
            took: Duration::ZERO,
            may_hold: true,
        };
        Ledger::close(ledger, vec![Settlement::Charge(Arc::new(row))])
            .await
            .unwrap();
        say("closed");
    }
}

fn say(word: &str) {
    // One write, so that a kill cuts no line in two but the last.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{word}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
fn the_disk_of_these_tests_tells_who_syncs_from_who_does_not() {
    let mut lost = 0;
    for round in 0..rounds(6) {
        for synchronous in ["FULL", "NORMAL"] {
            let words = ["done", ""];
            let test = "power::the_plain_database_that_is_cut";
            let Some((rest, [done, _])) = run_and_cut(round, test, synchronous, words) else {
                return;
            };
            let connection = Connection::open(database(rest.path())).unwrap();
            let query = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            // A table that was never synced is no table.
            let rows = query("SELECT count(*) FROM work").unwrap_or_default();
            let missing = i64::try_from(done).unwrap() - rows;
            if synchronous == "FULL" {
                assert!(missing <= 0, "round {round}: {missing} of {done} are lost");
            } else {
                lost += missing.max(0);
            }
        }
    }
    println!("without a sync at each commit {lost} pieces of work were lost");
    assert!(lost > 0, "the disk keeps what nobody has synced");
}

/// Nothing by itself: the test above runs it in a process of its own, on a disk whose power it cuts.
#[test]
fn the_plain_database_that_is_cut() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let connection = Connection::open(database(Path::new(&folder))).unwrap();
    let synchronous = env::var(SYNCHRONOUS).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; CREATE TABLE work (n INTEGER)"
        ))
        .unwrap();
    for number in 0..1_000_000 {
        connection
            .execute("INSERT INTO work VALUES (?)", [number])
            .unwrap();
        say("done");
    }
    panic!("nobody killed the process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_whose_power_is_cut_under_load_charges_all_that_was_billed() {
    let upstream = Upstream::start().await;
    for round in 0..rounds(4) {
        let Some(disk) = Disk::mount() else {
            return;
        };
        let mut gate = Gate::start(disk.path(), upstream.addr, "");
        let token = mint("1000");
        let before = upstream.billed().await;
        let load = Load::start(gate.addr, vec![token.clone(); 20], 40, round);
        tokio::time::sleep(Duration::from_millis(100 + Dice::new(round).below(400))).await;
        let rest = disk.cut(cut(round));
        gate.kill();
        let calls: Vec<Call> = load.stop().await;
        let billed = upstream.billed().await - before;
        let left = books::read(rest.path());

        let gate = Gate::start(rest.path(), upstream.addr, "");
        assert_charged(round, gate.balance(&token).await, billed, left.holds);
        gate.terminate();
        gate.ended().await;
        let heard: Vec<Call> = calls.into_iter().filter(Call::went_well).collect();
        assert_has_rows(&books::read(rest.path()), &heard);
        drop(disk);
    }
}
