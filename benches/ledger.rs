//! Holding and charging: pairs with 256 calls in flight, on a real file. Run with `cargo bench --bench ledger`; what is
//! measured a second is pairs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use tidegate::metrics::Metrics;
use tidegate::spend::{Entry, HoldOrder, Ledger, Metered, Purse, Settlement, Share, Span, UsageRow};
use tidegate::store::{MasterKeys, Sqlite};
use tidegate::types::{AccountId, CallId, KeyName, ModelName, Money, RequestId, TokenId, Usage};
use tokio::runtime::Builder;

const IN_FLIGHT: u32 = 256;

/// Pairs of one call after the other, in each of those in flight.
const ROUNDS: u32 = 8;

const NOW: Duration = Duration::from_secs(1_790_856_000);

fn open(folder: &Path, metrics: &Arc<Metrics>) -> Sqlite {
    let master = MasterKeys::generate().expect("a key");
    Sqlite::open(&folder.join("ledger.db"), master, Arc::clone(metrics)).expect("a store")
}

fn entry(number: u32) -> Entry {
    Entry {
        call: CallId::new(NOW),
        at: NOW,
        account: AccountId::parse("di:1").expect("an id"),
        key: KeyName::parse("auto").expect("a name"),
        token: Some(TokenId::of_jti(&format!("token-{number}")).expect("a token")),
        model: Some(ModelName::parse("acme/m").expect("a name")),
        route: "chat_completions",
        request_id: RequestId::new(NOW),
    }
}

fn order(entry: Entry, capped: bool) -> HoldOrder {
    let account = entry.account.clone();
    let token = entry.token.clone().expect("a token");
    let mut shares = vec![Share::Token(token)];
    if capped {
        shares.push(Share::Account(Span::Month(NOW - Duration::from_secs(43_200))));
    }
    let purses = shares.into_iter().map(|share| {
        let account = account.clone();
        (Purse { account, share }, Money::MAX)
    });
    HoldOrder {
        owner: CallId::from_bytes([1; 16]),
        entry,
        purses: purses.collect(),
        wanted: Money::from_nanos(1000).expect("an amount"),
        least: Money::from_nanos(1000).expect("an amount"),
    }
}

async fn pairs(ledger: &Sqlite, number: u32, capped: bool) {
    for _ in 0..ROUNDS {
        let entry = entry(number);
        ledger.hold(order(entry.clone(), capped)).await.expect("a hold");
        let row = UsageRow {
            entry,
            usage: Usage::default(),
            cost: Money::from_nanos(500).expect("an amount"),
            metered: Metered::Reported,
            status: 200,
            outcome: "completed",
            took: Duration::from_millis(100),
            may_hold: true,
        };
        ledger
            .close(vec![Settlement::Charge(Arc::new(row))])
            .await
            .expect("a charge");
    }
}

/// Commits and pairs so far, as the metrics count them.
fn counted(metrics: &Metrics) -> (f64, f64) {
    let text = metrics.render().expect("metrics");
    let of = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .expect("a series");
        line.rsplit(' ')
            .next()
            .expect("a value")
            .parse::<f64>()
            .expect("a number")
    };
    (
        of("tidegate_ledger_batch_size_count "),
        of("tidegate_ledger_batch_size_sum ") / 2.0,
    )
}

fn ledger(c: &mut Criterion) {
    let mut group = c.benchmark_group("ledger");
    group.sample_size(10);
    group.throughput(Throughput::Elements(u64::from(IN_FLIGHT * ROUNDS)));
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    for (name, capped) in [("token", false), ("token and cap", true)] {
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let ledger = open(folder.path(), &metrics);
        group.bench_function(name, |b| {
            b.iter(|| {
                runtime.block_on(join_all(
                    (0..IN_FLIGHT).map(|number| pairs(&ledger, number, capped)),
                ))
            });
        });
        let (commits, pairs) = counted(&metrics);
        println!(
            "{name}: {pairs} pairs in {commits} commits, {:.4} fsyncs a pair",
            commits / pairs
        );
    }
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
