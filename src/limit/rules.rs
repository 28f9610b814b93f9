//! Which limit holds for a call: the most specific rule that sets it.
//!
//! A rule that names more of account, key and model is more specific; between two that name as many, the key comes
//! before the account and the account before the model, a whole model name before the beginning of one, and a longer
//! beginning before a shorter. What is still equal is decided by the order in the file: the first wins.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::{self, LimitOverride};
use crate::types::{AccountId, KeyName, ModelName, ModelPattern};

/// All rules, ready to be looked up.
#[derive(Debug)]
pub(super) struct Rules {
    defaults: Found,
    of_accounts: HashMap<AccountId, Vec<Rule>>,
    of_all: Vec<Rule>,
}

/// The limits of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) concurrency: Bound<usize>,
    pub(super) requests: Bound<u32>,
    pub(super) tokens: Bound<u64>,
    pub(super) max_wait: Duration,
}

/// One limit, and whether its rule names the key, so that the key's calls count apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound<T> {
    pub(super) value: T,
    pub(super) own: bool,
}

/// How specific a rule is; greater wins.
type Rank = (usize, bool, bool, bool, usize);

#[derive(Debug)]
struct Rule {
    rank: Rank,
    set: LimitOverride,
}

impl Rules {
    pub(super) fn new(settings: &config::Limits) -> Self {
        let mut rules = Self {
            defaults: Found {
                concurrency: bound(settings.concurrency_per_model),
                requests: bound(settings.requests_per_minute),
                tokens: bound(settings.tokens_per_minute),
                max_wait: settings.max_wait,
            },
            of_accounts: HashMap::new(),
            of_all: Vec::new(),
        };
        for set in &settings.overrides {
            let rule = Rule {
                rank: rank(set),
                set: set.clone(),
            };
            match &set.account {
                Some(account) => rules.of_accounts.entry(account.clone()).or_default().push(rule),
                None => rules.of_all.push(rule),
            }
        }
        rules
    }

    /// The limits of the calls with this key for this model; without a model, those that hold for every model.
    pub(super) fn of(&self, account: &AccountId, key: Option<&KeyName>, model: Option<&ModelName>) -> Found {
        let none = Rank::default();
        let mut found = self.defaults;
        let mut ranks = (none, none, none);
        let of_account = self.of_accounts.get(account).into_iter().flatten();
        for rule in of_account
            .chain(&self.of_all)
            .filter(|rule| rule.holds(key, model))
        {
            let own = rule.set.key.is_some();
            wins(
                rule.rank,
                rule.set.concurrency,
                own,
                (&mut ranks.0, &mut found.concurrency),
            );
            wins(
                rule.rank,
                rule.set.requests_per_minute,
                own,
                (&mut ranks.1, &mut found.requests),
            );
            wins(
                rule.rank,
                rule.set.tokens_per_minute,
                own,
                (&mut ranks.2, &mut found.tokens),
            );
        }
        found
    }
}

impl Rule {
    fn holds(&self, key: Option<&KeyName>, model: Option<&ModelName>) -> bool {
        let is_key = self.set.key.is_none() || self.set.key.as_ref() == key;
        let is_model = match (&self.set.model, model) {
            (None, _) => true,
            (Some(pattern), Some(model)) => pattern.matches(model),
            (Some(_), None) => false,
        };
        is_key && is_model
    }
}

fn bound<T>(value: T) -> Bound<T> {
    Bound { value, own: false }
}

/// Takes over `value` if its rule is more specific than the one before.
fn wins<T>(rank: Rank, value: Option<T>, own: bool, (best, bound): (&mut Rank, &mut Bound<T>)) {
    if let Some(value) = value
        && rank > *best
    {
        *best = rank;
        *bound = Bound { value, own };
    }
}

fn rank(set: &LimitOverride) -> Rank {
    let (exact, length) = match &set.model {
        None => (false, 0),
        Some(ModelPattern::Exact(name)) => (true, name.len()),
        Some(ModelPattern::Prefix(prefix)) => (false, prefix.len()),
    };
    let named = [set.account.is_some(), set.key.is_some(), set.model.is_some()];
    let count = named.iter().filter(|named| **named).count();
    // One more, so that a rule that names nothing still stands before the defaults.
    (count + 1, set.key.is_some(), set.account.is_some(), exact, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(account: &str, key: &str, model: &str, concurrency: usize) -> LimitOverride {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        LimitOverride {
            account: given(account).map(|text| AccountId::parse(&text).unwrap()),
            key: given(key).map(|text| KeyName::parse(&text).unwrap()),
            model: given(model).map(|text| ModelPattern::parse(&text).unwrap()),
            concurrency: Some(concurrency),
            ..LimitOverride::default()
        }
    }

    fn found(overrides: &[LimitOverride], call: (&str, &str, &str)) -> Found {
        let rules = Rules::new(&config::Limits {
            overrides: overrides.to_vec(),
            ..config::Limits::default()
        });
        rules.of(
            &AccountId::parse(call.0).unwrap(),
            Some(&KeyName::parse(call.1).unwrap()),
            Some(&ModelName::parse(call.2).unwrap()),
        )
    }

    #[test]
    fn the_most_specific_rule_wins_in_any_order() {
        // Each row beats all rows above it for the call (a, k, org/model).
        let mut rules = vec![
            rule("", "", "", 1),
            rule("", "", "*", 2),
            rule("", "", "org/*", 3),
            rule("", "", "org/model", 4),
            rule("a", "", "", 5),
            rule("", "k", "", 6),
            rule("a", "", "org/*", 7),
            rule("a", "", "org/model", 8),
            rule("", "k", "org/model", 9),
            rule("a", "k", "", 10),
            rule("a", "k", "org/*", 11),
            rule("a", "k", "org/model", 12),
        ];
        while let Some(best) = rules.last().and_then(|rule| rule.concurrency) {
            let mut turned = rules.clone();
            for _ in 0..rules.len() {
                turned.rotate_left(1);
                assert_eq!(found(&turned, ("a", "k", "org/model")).concurrency.value, best);
            }
            rules.pop();
        }
        assert_eq!(found(&[], ("a", "k", "org/model")).concurrency.value, 200);
    }

    #[test]
    fn a_rule_for_others_does_not_hold() {
        let rules = [
            rule("b", "", "", 1),
            rule("", "x", "", 2),
            rule("", "", "other/*", 3),
        ];
        assert_eq!(found(&rules, ("a", "k", "org/model")).concurrency.value, 200);
    }

    #[test]
    fn each_limit_has_its_own_most_specific_rule() {
        let mut of_key = rule("a", "k", "", 5);
        of_key.tokens_per_minute = Some(70);
        let mut of_account = rule("a", "", "", 6);
        of_account.requests_per_minute = Some(60);
        let found = found(&[of_key, of_account], ("a", "k", "org/model"));
        assert_eq!(found.concurrency, Bound { value: 5, own: true });
        assert_eq!(
            found.requests,
            Bound {
                value: 60,
                own: false
            }
        );
        assert_eq!(found.tokens, Bound { value: 70, own: true });
    }
}
