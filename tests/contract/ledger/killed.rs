//! A process that is killed while it holds and charges: what it was told counts once, and no hold stays open.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate::spend::{By, Group, Report};

use super::*;
use crate::victim::{self, Victim, say};

const WORKERS: usize = 16;

/// What each call holds; it costs half.
pub(super) const AMOUNT: i64 = 10;

#[test]
fn what_was_charged_outlasts_a_kill_and_what_was_held_is_charged_after_it() {
    let home = Home::new();
    let mut told: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (round, answers) in victim::rounds(20, 400) {
        let victim = Victim {
            test: "ledger::killed::the_process_that_is_killed",
            store: &home.path(),
            round,
        };
        victim.kill_after(answers, |line| take(line, &mut told));
        assert_kept(&home.path(), &told);
    }
}

/// Counts what an answer tells of a token: calls that were charged, and asks that may have been heard.
pub(super) fn take(line: &str, told: &mut BTreeMap<String, (i64, i64)>) -> bool {
    let Some((what, jti)) = line.split_once(' ') else {
        return false;
    };
    let (charged, asked) = match what {
        "charged" => (1, 0),
        "asking" => (0, 1),
        _ => return false,
    };
    let token = told.entry(jti.to_owned()).or_default();
    *token = (token.0 + charged, token.1 + asked);
    charged > 0
}

#[tokio::main(flavor = "current_thread")]
pub(super) async fn assert_kept(path: &Path, told: &BTreeMap<String, (i64, i64)>) {
    let ledger = open(path);
    let survivor = CallId::from_bytes([0; 16]);
    let recovered = ledger.recover(survivor, Duration::ZERO).await.unwrap();
    assert!(recovered.len() <= WORKERS, "{} holds", recovered.len());
    assert_eq!(ledger.recover(survivor, Duration::MAX).await.unwrap(), []);
    let mut rows = BTreeMap::new();
    let report = Report {
        by: By::Token,
        from: Duration::ZERO,
        to: Duration::MAX,
        account: None,
        limit: u32::MAX,
    };
    for row in ledger.report(report).await.unwrap() {
        let Group::Token(_, token) = row.group else {
            panic!("{row:?}");
        };
        rows.insert(token.to_string(), (row.calls, row.cost.as_nanos()));
    }
    let mut total = 0;
    for (jti, (charged, asked)) in told {
        let (calls, cost) = rows.get(&format!("jti:{jti}")).copied().unwrap_or_default();
        let calls = i64::try_from(calls).unwrap();
        assert!(
            (*charged..=*asked).contains(&calls),
            "{jti}: {calls} of {charged} to {asked}"
        );
        // What was not heard of costs half of its hold or, recovered, all of it.
        assert!(cost >= calls * AMOUNT / 2 && cost <= charged * AMOUNT / 2 + (calls - charged) * AMOUNT);
        assert_eq!(balance(&ledger, of_token(jti)).await, (cost, 0), "{jti}");
        total += cost;
    }
    assert_eq!(balance(&ledger, everybody(Span::Total)).await, (total, 0));
    ledger.close().unwrap();
    let check: String = rusqlite::Connection::open(path)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

/// Nothing by itself: the test above runs it in a process of its own, which spends until it is killed.
#[test]
fn the_process_that_is_killed() {
    let Some((path, round)) = victim::part() else {
        return;
    };
    victim::work(async {
        let ledger = open(&path);
        let owner = call();
        let workers = (0..WORKERS).map(|worker| spend(&ledger, owner, format!("{round}-{}", worker % 4)));
        futures_util::future::join_all(workers).await;
    });
}

/// Holds and charges one call after the other; says what it is about to ask for and what it was answered.
async fn spend(ledger: &Sqlite, owner: CallId, jti: String) {
    let purses = [(of_token(&jti), i64::MAX), (everybody(Span::Total), i64::MAX)];
    loop {
        say("asking", &jti);
        let call = call();
        let mut order = order(entry(call, Some(&jti)), &purses, AMOUNT, AMOUNT);
        order.owner = owner;
        ledger.hold(order).await.unwrap();
        close(ledger, charge(entry(call, Some(&jti)), AMOUNT / 2)).await;
        say("charged", &jti);
    }
}
