//! Sums over usage rows, and the end of rows that are too old.

use std::env;
use std::time::Instant;

use tidegate::spend::{By, Group, Report};

use super::*;

/// How many usage rows, where it is not to be as few as a quick test needs; the figures are printed.
const ROWS: &str = "TIDEGATE_TEST_USAGE";

const MODELS: [&str; 2] = ["acme/m", "acme/n"];

/// A row of an account's key, a token, a day and a model, all told apart by a number.
fn row(number: u32, cost: i64) -> Settlement {
    let small = number % 4;
    let mut entry = entry(CallId::from_bytes(u128::from(number).to_be_bytes()), None);
    entry.account = if small == 3 { other_account() } else { account() };
    entry.key = key(["auto", "other"][usize::from(small > 1)]);
    entry.token = (small > 0).then(|| token(&format!("t{small}")));
    entry.model = (small != 2).then(|| ModelName::parse(MODELS[usize::from(small == 1)]).unwrap());
    entry.at = NOW + DAY * (number % 3);
    charge(entry, cost)
}

fn report(by: By) -> Report {
    Report {
        by,
        from: Duration::ZERO,
        to: Duration::MAX,
        account: None,
        limit: 1000,
    }
}

/// Name, calls, cost.
async fn rows(ledger: &Sqlite, report: Report) -> Vec<(String, u64, i64)> {
    let rows = ledger.report(report).await.unwrap();
    let rows = rows.into_iter().map(|row| {
        assert_eq!(row.input, 10 * row.calls);
        assert_eq!(row.output, 20 * row.calls);
        assert_eq!(row.cached, 5 * row.calls);
        let name = match row.group {
            Group::Account(account) => account.to_string(),
            Group::Key(account, key) => format!("{account} {key}"),
            Group::Token(account, token) => format!("{account} {token}"),
            Group::Model(model) => model.map_or("none".to_owned(), |model| model.as_str().to_owned()),
            Group::Day(at) => (at.as_secs() / DAY.as_secs() - NOW.as_secs() / DAY.as_secs()).to_string(),
        };
        (name, row.calls, row.cost.as_nanos())
    });
    rows.collect()
}

#[tokio::test]
async fn reports_sum_up_calls_by_what_is_asked_for() {
    let home = Home::new();
    let ledger = home.open();
    assert_eq!(rows(&ledger, report(By::Account)).await, []);
    // Costs 1 + number: 1 to 12, three of each kind.
    let settlements = (0..12).map(|number| row(number, i64::from(number) + 1)).collect();
    close_all(&ledger, settlements).await;
    let owned = |rows: &[(&str, u64, i64)]| -> Vec<_> {
        rows.iter()
            .map(|(name, calls, cost)| (name.to_string(), *calls, *cost))
            .collect()
    };
    for (by, expected) in [
        (By::Account, &[("di:1", 9, 54), ("di:2", 3, 24)][..]),
        (
            By::Key,
            &[("di:1 auto", 6, 33), ("di:2 other", 3, 24), ("di:1 other", 3, 21)],
        ),
        (
            By::Token,
            &[
                ("di:2 jti:t3", 3, 24),
                ("di:1 jti:t2", 3, 21),
                ("di:1 jti:t1", 3, 18),
            ],
        ),
        (
            By::Model,
            &[("acme/m", 6, 39), ("none", 3, 21), ("acme/n", 3, 18)],
        ),
        (By::Day, &[("0", 4, 22), ("1", 4, 26), ("2", 4, 30)]),
    ] {
        assert_eq!(rows(&ledger, report(by)).await, owned(expected), "{by:?}");
    }
    let one_account = Report {
        account: Some(other_account()),
        ..report(By::Key)
    };
    assert_eq!(rows(&ledger, one_account).await, owned(&[("di:2 other", 3, 24)]));
    let one_day = Report {
        from: NOW + DAY,
        to: NOW + 2 * DAY,
        ..report(By::Day)
    };
    assert_eq!(rows(&ledger, one_day).await, owned(&[("1", 4, 26)]));
    let first = Report {
        limit: 1,
        ..report(By::Model)
    };
    assert_eq!(rows(&ledger, first).await, owned(&[("acme/m", 6, 39)]));
}

#[tokio::test]
async fn sums_that_are_larger_than_can_be_stay_the_largest() {
    let home = Home::new();
    let ledger = home.open();
    close_all(&ledger, (0..9).map(|number| row(number, i64::MAX)).collect()).await;
    for (_, _, cost) in rows(&ledger, report(By::Account)).await {
        assert_eq!(cost, i64::MAX);
    }
}

#[tokio::test]
async fn rows_that_are_too_old_are_forgotten_and_stay_spent() {
    let home = Home::new();
    let ledger = home.open();
    for numbers in [0..1500, 1500..3000] {
        close_all(&ledger, numbers.map(|number| row(number, 1)).collect()).await;
    }
    let (day, cap) = (everybody(Span::Day(NOW - DAY / 2)), everybody(Span::Total));
    let held = everybody(Span::Month(NOW - DAY / 2));
    let call = call();
    hold(&ledger, call, (day.clone(), 5000), 1).await.unwrap();
    hold(&ledger, self::call(), (held.clone(), 5000), 1)
        .await
        .unwrap();
    close(&ledger, Settlement::Release(call)).await;
    assert_eq!(ledger.forget(NOW).await.unwrap(), 0);
    assert_eq!(ledger.forget(NOW + DAY).await.unwrap(), 1000);
    let left = rows(&ledger, report(By::Day)).await;
    assert_eq!(left.iter().map(|row| row.1).collect::<Vec<_>>(), [1000, 1000]);
    assert_eq!(ledger.forget(NOW + 40 * DAY).await.unwrap(), 2001);
    assert_eq!(rows(&ledger, report(By::Day)).await, []);
    assert_eq!(balance(&ledger, day).await, (750, 0));
    assert_eq!(balance(&ledger, cap).await, (2250, 0));
    assert_eq!(balance(&ledger, held).await, (2250, 1));
    assert_eq!(balance(&ledger, of_token("t1")).await, (750, 0));
}

#[tokio::test]
async fn a_report_does_not_hold_up_what_is_written_meanwhile() {
    let home = Home::new();
    let ledger = home.open();
    close_all(&ledger, (0..2000).map(|number| row(number, 1)).collect()).await;
    let reports = futures_util::future::join_all((0..8).map(|_| ledger.report(report(By::Token))));
    let writes = async {
        for number in 2000..2100 {
            close(&ledger, row(number, 1)).await;
        }
    };
    let (reports, ()) = futures_util::future::join(reports, writes).await;
    for rows in reports {
        assert!(rows.unwrap().iter().map(|row| row.calls).sum::<u64>() >= 1500);
    }
}

#[tokio::test]
async fn many_rows_and_purses_are_opened_held_from_and_summed_up() {
    let count: u32 = env::var(ROWS).map_or(3_000, |count| count.parse().unwrap());
    let (home, bare) = (Home::new(), Home::new());
    let ledger = home.open();
    for first in (0..count).step_by(1000) {
        let some = (first..count.min(first + 1000)).map(|number| {
            let Settlement::Charge(mut row) = row(number, 1000) else {
                unreachable!()
            };
            Arc::make_mut(&mut row).entry.token = Some(token(&format!("token-{}", number % 100_000)));
            Settlement::Charge(row)
        });
        close_all(&ledger, some.collect()).await;
    }
    ledger.close().unwrap();
    let began = Instant::now();
    let ledger = home.open();
    println!("{count} rows: opened in {:?}", began.elapsed());
    let [full, empty] = time_holds([&ledger, &bare.open()]).await;
    println!("a hold takes {full:?}, of an empty ledger {empty:?}");
    for by in [By::Account, By::Key, By::Token, By::Model, By::Day] {
        let began = Instant::now();
        let rows = ledger.report(report(by)).await.unwrap();
        println!("{by:?}: {} rows in {:?}", rows.len(), began.elapsed());
        assert!(!rows.is_empty());
    }
    let began = Instant::now();
    let forgotten = ledger.forget(NOW + DAY).await.unwrap();
    println!("forgot {forgotten} in {:?}", began.elapsed());
}

/// The times of one hold of many at once: of each ledger the median of many batches, which take turns.
async fn time_holds(ledgers: [&Sqlite; 2]) -> [Duration; 2] {
    const AT_ONCE: u32 = 100;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        for (ledger, times) in ledgers.iter().zip(&mut times) {
            let began = Instant::now();
            let holds = (0..AT_ONCE).map(|_| hold(ledger, call(), (of_token("new"), i64::MAX), 1));
            let held = futures_util::future::join_all(holds).await;
            assert!(held.iter().all(Result::is_ok));
            times.push(began.elapsed() / AT_ONCE);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}
