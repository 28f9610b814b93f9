//! A disk whose writes and syncs fail now and then: what was answered is kept, and nothing is charged twice.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::sync::Mutex;

use super::killed::{AMOUNT, assert_kept, take};
use super::*;

/// Where the child finds its ledger; without it the child's half of the test does nothing.
const LEDGER: &str = "TIDEGATE_TEST_FAULTY_LEDGER";

const ROUND: &str = "TIDEGATE_TEST_FAULTY_ROUND";

const WORKERS: usize = 16;

const CALLS: usize = 40;

/// What fails, and how often. SQLite writes with one of the first two, and syncs with one of the others.
const FAULTS: [(&str, &str); 5] = [
    ("posix/io/rw/write", "0.002"),
    ("posix/io/rw/pwrite", "0.002"),
    ("posix/io/sync/fsync", "0.05"),
    ("posix/io/sync/fdatasync", "0.05"),
    ("posix/io/rw/*", "0.002"),
];

#[test]
fn what_was_answered_outlasts_writes_and_syncs_that_fail() {
    if Command::new("fiu-run").arg("-h").output().is_err() {
        println!("SKIPPED: a failing disk, since there is no fiu-run here (Debian's fiu-utils)");
        return;
    }
    let home = Home::new();
    let mut told: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut failed = 0;
    for (round, (name, probability)) in FAULTS.iter().enumerate() {
        let mut child = Command::new("fiu-run")
            .args(["-x", "-c"])
            .arg(format!("enable_random name={name},probability={probability}"))
            .arg(env::current_exe().unwrap())
            .args([
                "--exact",
                "ledger::faulty::the_process_on_a_failing_disk",
                "--nocapture",
            ])
            .env(LEDGER, home.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut charged = 0;
        for line in lines {
            let line = line.unwrap();
            charged += usize::from(take(&line, &mut told));
            failed += usize::from(line == "failed");
        }
        child.wait().unwrap();
        assert_eq!(charged, WORKERS * CALLS, "{name}");
        assert_kept(&home.path(), &told);
    }
    println!("{failed} answers were errors");
    assert!(failed > 0, "nothing ever failed");
}

/// Nothing by itself: the test above runs it in a process of its own, whose disk fails.
#[test]
fn the_process_on_a_failing_disk() {
    let Some(path) = env::var_os(LEDGER) else {
        return;
    };
    let round = env::var(ROUND).unwrap();
    let spending = async {
        let ledger = open_at_last(Path::new(&path)).await;
        let out = Mutex::new(File::options().write(true).open("/dev/stdout").unwrap());
        let owner = call();
        let workers =
            (0..WORKERS).map(|worker| spend(&ledger, &out, owner, format!("f{round}-{}", worker % 4)));
        futures_util::future::join_all(workers).await;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let bounded = async { tokio::time::timeout(Duration::from_secs(60), spending).await };
    runtime.unwrap().block_on(bounded).expect("an end in time");
}

async fn open_at_last(path: &Path) -> Sqlite {
    loop {
        let master = tidegate::store::MasterKeys::parse(&[super::super::MASTER_KEY.into()]).unwrap();
        match Sqlite::open(path, master, super::super::metrics()) {
            Ok(ledger) => return ledger,
            Err(_faulty) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Holds and charges one call after the other, and asks again for whatever failed.
async fn spend(ledger: &Sqlite, out: &Mutex<File>, owner: CallId, jti: String) {
    let purses = [(of_token(&jti), i64::MAX), (everybody(Span::Total), i64::MAX)];
    let mut charged = 0;
    while charged < CALLS {
        say(out, &format!("asking {jti}")).await;
        let call = call();
        let mut order = order(entry(call, Some(&jti)), &purses, AMOUNT, AMOUNT);
        order.owner = owner;
        let held = ledger.hold(order).await.is_ok();
        let settlement = match held {
            true => charge(entry(call, Some(&jti)), AMOUNT / 2),
            false => Settlement::Release(call),
        };
        if !held {
            say(out, "failed").await;
        }
        while Ledger::close(ledger, vec![settlement.clone()]).await.is_err() {
            say(out, "failed").await;
        }
        if held {
            charged += 1;
            say(out, &format!("charged {jti}")).await;
        }
    }
}

/// Says a line, in as many writes as it takes.
async fn say(out: &Mutex<File>, line: &str) {
    let line = format!("{line}\n");
    let mut out = out.lock().await;
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        rest = &rest[out.write(rest).unwrap_or(0)..];
    }
}
