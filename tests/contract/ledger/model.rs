//! Random lives of calls against a model in memory: the ledger and the model always tell the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate::spend::{By, Group, Report};

use super::*;

const LIMIT: i64 = 100;

/// What happens next; calls, tokens and owners are told apart by small numbers.
#[derive(Debug, Clone)]
enum Step {
    Hold {
        call: u8,
        wanted: i64,
        least: i64,
        capped: bool,
    },
    Charge {
        call: u8,
        cost: i64,
    },
    Release {
        call: u8,
    },
    Reopen,
    /// What another process than `owner` held, or anybody before a time.
    Recover {
        owner: u8,
        expired: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let call = 0..24_u8;
    prop_oneof![
        5 => (call.clone(), 0..60_i64, 0..60_i64, any::<bool>()).prop_map(|(call, one, two, capped)| {
            Step::Hold { call, wanted: one.max(two), least: one.min(two), capped }
        }),
        4 => (call.clone(), 0..60_i64).prop_map(|(call, cost)| Step::Charge { call, cost }),
        2 => call.prop_map(|call| Step::Release { call }),
        1 => Just(Step::Reopen),
        1 => (0..3_u8, 0..24_u64).prop_map(|(owner, expired)| Step::Recover { owner, expired }),
    ]
}

/// A purse of the model: spent and held.
type Purses = BTreeMap<String, (i64, i64)>;

#[derive(Debug, Default)]
struct Model {
    purses: Purses,
    /// Amount and names of purses by call.
    holds: BTreeMap<u8, (i64, Vec<String>)>,
    /// Costs by call.
    rows: BTreeMap<u8, i64>,
}

fn jti_of(call: u8) -> String {
    format!("t{}", call % 3)
}

fn entry_of(call: u8) -> Entry {
    let mut entry = entry(CallId::from_bytes([call; 16]), Some(&jti_of(call)));
    entry.at = NOW + Duration::from_secs(call.into());
    entry
}

fn owner_of(call: u8) -> u8 {
    call % 2
}

impl Model {
    /// The amount, or whether what is spent is why not.
    fn hold(&mut self, call: u8, wanted: i64, least: i64, capped: bool) -> Result<i64, bool> {
        let mut names = vec![jti_of(call)];
        names.extend(capped.then(|| "cap".to_owned()));
        let spent = self.rows.values().sum();
        // The cap begins with what was spent before.
        if capped {
            self.purses.entry("cap".to_owned()).or_insert((spent, 0));
        }
        let of = |name: &String| self.purses.get(name).copied().unwrap_or_default();
        let limit = |name: &String| if name == "cap" { 2 * LIMIT } else { LIMIT };
        let unspent = |name: &String| (limit(name) - of(name).0).max(0);
        let room = |name: &String| (unspent(name) - of(name).1).max(0);
        if names
            .iter()
            .any(|name| unspent(name) < least || unspent(name) == 0)
        {
            return Err(true);
        }
        if names.iter().any(|name| room(name) < least) {
            return Err(false);
        }
        let amount = names.iter().map(room).fold(wanted, i64::min);
        for name in &names {
            self.purses.entry(name.clone()).or_default().1 += amount;
        }
        self.holds.insert(call, (amount, names));
        Ok(amount)
    }

    /// Calls without the cap can bring it there.
    fn beyond_cap(&self) -> i64 {
        self.purses
            .get("cap")
            .map_or(0, |(spent, _)| (spent - 2 * LIMIT).max(0))
    }

    fn release(&mut self, call: u8) -> Option<i64> {
        let (amount, names) = self.holds.remove(&call)?;
        for name in names {
            self.purses.get_mut(&name).unwrap().1 -= amount;
        }
        Some(amount)
    }

    /// What was held, and what is charged.
    fn charge(&mut self, call: u8, cost: i64) -> (Option<i64>, i64) {
        let held = self.release(call);
        if self.rows.contains_key(&call) {
            return (held, 0);
        }
        self.rows.insert(call, cost);
        self.purses.entry(jti_of(call)).or_default().0 += cost;
        if let Some(cap) = self.purses.get_mut("cap") {
            cap.0 += cost;
        }
        (held, cost)
    }
}

/// The ledger and the model do a step and must agree on its outcome.
async fn take(ledger: &Sqlite, model: &mut Model, step: &Step) {
    match *step {
        Step::Hold {
            call,
            wanted,
            least,
            capped,
        } => {
            if model.holds.contains_key(&call) {
                return;
            }
            let mut purses = vec![(of_token(&jti_of(call)), LIMIT)];
            purses.extend(capped.then(|| (everybody(Span::Total), 2 * LIMIT)));
            let mut order = order(entry_of(call), &purses, wanted, least);
            order.owner = CallId::from_bytes([owner_of(call); 16]);
            let outcome = match ledger.hold(order).await {
                Ok(held) => Ok(held.amount.as_nanos()),
                Err(HoldError::Spent(_)) => Err(true),
                Err(HoldError::Held(_)) => Err(false),
                Err(HoldError::Ledger(error)) => panic!("{error}"),
            };
            assert_eq!(outcome, model.hold(call, wanted, least, capped));
        }
        Step::Charge { call, cost } => {
            // Where something is held, a call costs that at most.
            let cost = model.holds.get(&call).map_or(0, |(amount, _)| cost.min(*amount));
            let pays_cap = model.holds.get(&call).is_some_and(|(_, names)| names.len() > 1);
            let before = model.beyond_cap();
            let (held, charged) = model.charge(call, cost);
            let overspent = if pays_cap { model.beyond_cap() - before } else { 0 };
            let done = close(ledger, charge(entry_of(call), cost)).await;
            assert_eq!(done, closed(held, charged, overspent));
        }
        Step::Release { call } => {
            let done = close(ledger, Settlement::Release(CallId::from_bytes([call; 16]))).await;
            assert_eq!(done, closed(model.release(call), 0, 0));
        }
        Step::Reopen => {}
        Step::Recover { owner, expired } => {
            let at = NOW + Duration::from_secs(expired);
            let recovered = ledger.recover(CallId::from_bytes([owner; 16]), at).await.unwrap();
            let calls: Vec<_> = model.holds.iter().map(|(call, hold)| (*call, hold.0)).collect();
            let mut count = 0;
            for (call, amount) in calls {
                if owner_of(call) != owner || u64::from(call) < expired {
                    count += usize::from(!model.rows.contains_key(&call));
                    model.charge(call, amount);
                }
            }
            assert_eq!(recovered.len(), count);
        }
    }
}

async fn assert_same(ledger: &Sqlite, model: &Model) {
    let mut names: Vec<_> = (0..3).map(|number| (format!("t{number}"), LIMIT)).collect();
    if model.purses.contains_key("cap") {
        names.push(("cap".to_owned(), 2 * LIMIT));
    }
    for (name, limit) in names {
        let purse = if name == "cap" {
            everybody(Span::Total)
        } else {
            of_token(&name)
        };
        let (spent, held) = balance(ledger, purse).await;
        assert_eq!(
            (spent, held),
            model.purses.get(&name).copied().unwrap_or_default(),
            "{name}"
        );
        // Calls without the cap may have cost more than it before it was met.
        assert!(
            name == "cap" || spent + held <= limit,
            "{name}: {spent} and {held}"
        );
    }
    let report = Report {
        by: By::Token,
        from: Duration::ZERO,
        to: Duration::MAX,
        account: None,
        limit: 100,
    };
    let mut total = 0;
    for row in ledger.report(report).await.unwrap() {
        let Group::Token(_, token) = row.group else {
            panic!("{row:?}");
        };
        let purse = purse(Share::Token(token));
        assert_eq!(balance(ledger, purse).await.0, row.cost.as_nanos());
        total += row.calls;
    }
    assert_eq!(total, u64::try_from(model.rows.len()).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_limit_is_passed_and_nothing_is_lost_or_charged_twice(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let home = Home::new();
            let (mut ledger, mut model) = (home.open(), Model::default());
            for step in &steps {
                if matches!(step, Step::Reopen) {
                    drop(ledger);
                    ledger = home.open();
                    assert_same(&ledger, &model).await;
                }
                take(&ledger, &mut model, step).await;
            }
            assert_same(&ledger, &model).await;
            // Nobody is left: everything is charged and nothing is held.
            take(&ledger, &mut model, &Step::Recover { owner: 9, expired: 0 }).await;
            assert_same(&ledger, &model).await;
            assert!(model.purses.values().all(|(_, held)| *held == 0));
        });
    }
}
