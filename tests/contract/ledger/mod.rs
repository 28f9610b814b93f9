//! What every ledger promises: no purse is passed, nothing is charged twice, nothing that was answered is lost.

mod closing;
mod faulty;
mod full;
mod holding;
mod killed;
mod lasting;
mod model;
mod reports;

use std::sync::Arc;
use std::time::Duration;

use tidegate::spend::{
    Balance, Closed, Entry, Held, HoldError, HoldOrder, Ledger, Metered, Purse, Settlement, Share, Span,
    UsageRow,
};
use tidegate::store::Sqlite;
use tidegate::types::{AccountId, CallId, KeyName, ModelName, Money, RequestId, TokenId, Usage};

use super::home::Home;
use super::{account, open};

const DAY: Duration = Duration::from_secs(86_400);

/// 2026-10-01, a Thursday, at noon.
const NOW: Duration = Duration::from_secs(1_790_856_000);

fn nanos(nanos: i64) -> Money {
    Money::from_nanos(nanos).unwrap()
}

fn token(jti: &str) -> TokenId {
    TokenId::of_jti(jti).unwrap()
}

fn key(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

fn purse(share: Share) -> Purse {
    Purse {
        account: account(),
        share,
    }
}

fn of_token(jti: &str) -> Purse {
    purse(Share::Token(token(jti)))
}

fn call() -> CallId {
    CallId::new(NOW)
}

/// A call of the key `auto` at noon.
fn entry(call: CallId, jti: Option<&str>) -> Entry {
    Entry {
        call,
        at: NOW,
        account: account(),
        key: key("auto"),
        token: jti.map(token),
        model: Some(ModelName::parse("acme/m").unwrap()),
        route: "chat_completions",
        request_id: RequestId::new(NOW),
    }
}

fn owner() -> CallId {
    CallId::from_bytes([1; 16])
}

fn order(entry: Entry, purses: &[(Purse, i64)], wanted: i64, least: i64) -> HoldOrder {
    let purses = purses.iter().cloned();
    HoldOrder {
        owner: owner(),
        entry,
        purses: purses.map(|(purse, limit)| (purse, nanos(limit))).collect(),
        wanted: nanos(wanted),
        least: nanos(least),
    }
}

/// Holds exactly `amount` of one purse for a call without a token.
async fn hold(ledger: &Sqlite, call: CallId, of: (Purse, i64), amount: i64) -> Result<Held, HoldError> {
    ledger.hold(order(entry(call, None), &[of], amount, amount)).await
}

fn charge(entry: Entry, cost: i64) -> Settlement {
    Settlement::Charge(Arc::new(UsageRow {
        entry,
        usage: Usage {
            input: 10,
            output: 20,
            cached: 5,
            ..Usage::default()
        },
        cost: nanos(cost),
        metered: Metered::Reported,
        status: 200,
        outcome: "completed",
        took: Duration::from_millis(1500),
        may_hold: true,
    }))
}

async fn close_all(ledger: &Sqlite, settlements: Vec<Settlement>) -> Vec<Closed> {
    Ledger::close(ledger, settlements).await.unwrap()
}

async fn close(ledger: &Sqlite, settlement: Settlement) -> Closed {
    let closed = close_all(ledger, vec![settlement]).await;
    assert_eq!(closed.len(), 1);
    closed[0]
}

fn closed(held: Option<i64>, charged: i64, overspent: i64) -> Closed {
    Closed {
        held: held.map(nanos),
        charged: nanos(charged),
        overspent: nanos(overspent),
    }
}

/// What is spent and held.
async fn balance(ledger: &Sqlite, purse: Purse) -> (i64, i64) {
    let Balance { spent, held } = ledger.balance(purse).await.unwrap();
    (spent.as_nanos(), held.as_nanos())
}

fn everybody(span: Span) -> Purse {
    purse(Share::Account(span))
}

fn of_key(name: &str, span: Span) -> Purse {
    purse(Share::Key(key(name), span))
}

fn other_account() -> AccountId {
    AccountId::parse("di:2").unwrap()
}
