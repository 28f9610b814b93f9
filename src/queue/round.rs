//! How far claims have come on their way through the lanes: account after account, and of each account so many lanes in
//! its turn, so that nobody waits until somebody else's thousands of lanes have been looked at.

use std::collections::HashMap;
use std::time::Duration;

use super::job::Lane;

/// How far claims in a row have come. The first claim begins with the default one, each further one with what the one before
/// it gave.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// The text after which the next account is looked for.
    at: String,
    /// Whether accounts before it may have something that nobody has looked at.
    is_partial: bool,
    /// Accounts that one turn was not enough for.
    turns: HashMap<String, Turn>,
    next_due: Option<Duration>,
}

/// How far an account's lanes have been looked at.
#[derive(Debug, Clone, Default)]
struct Turn {
    /// The last lane of its last turn, if there are more.
    after: Option<Lane>,
    /// Whether lanes before that may have something.
    is_partial: bool,
    /// Whether all of them have been looked at.
    is_done: bool,
}

impl Round {
    /// The text after which the next lane is looked for.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// An account's turn begins, after the lane that is given.
    pub fn begin(&mut self, lane: &Lane) -> Option<Lane> {
        self.at = lane.after_account();
        self.turns.get(lane.account()).and_then(|turn| turn.after.clone())
    }

    /// An account has no turn. What it has is not waited for.
    pub fn pass(&mut self, lane: &Lane) {
        self.at = lane.after_account();
    }

    /// An account's turn ends: at `left` if there are more lanes, else all that come after its beginning were looked at.
    pub fn end(&mut self, account: &str, left: Option<Lane>) {
        let known = self.turns.remove(account);
        let is_first = known.is_none();
        let mut turn = known.unwrap_or_default();
        if left.is_none() {
            turn.is_done |= !turn.is_partial;
            turn.is_partial = false;
        }
        self.is_partial |= !turn.is_done;
        turn.after = left;
        if turn.after.is_some() || (turn.is_done && !is_first) {
            self.turns.insert(account.to_owned(), turn);
        }
    }

    /// All accounts have had a turn, and it begins again with the first one. Returns whether all lanes have been looked at
    /// since the beginning or since the last one gave something.
    pub fn turns_over(&mut self) -> bool {
        self.at.clear();
        !std::mem::take(&mut self.is_partial)
    }

    /// Something was found: what was looked at may have more.
    pub fn found(&mut self) {
        self.is_partial = true;
        self.turns.retain(|_, turn| turn.after.is_some());
        for turn in self.turns.values_mut() {
            (turn.is_partial, turn.is_done) = (true, false);
        }
    }

    /// Something was met that is due later.
    pub fn met(&mut self, due: Duration) {
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }

    /// Nothing more is to be found now. It goes on where it is, and whatever is there is new. Gives when the first of what was
    /// met is due.
    pub fn rest(&mut self) -> Option<Duration> {
        self.found();
        self.is_partial = !self.at.is_empty();
        self.next_due.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(text: &str) -> Lane {
        Lane::from_stored(text)
    }

    #[test]
    fn it_is_over_when_everybody_was_looked_at_and_nothing_was_found() {
        let mut round = Round::default();
        for account in ["a", "b"] {
            assert_eq!(round.begin(&lane(&format!("{account}\nm"))), None);
            assert!(round.at() > format!("{account}\nz").as_str() && round.at() < "c");
            round.end(account, None);
        }
        assert!(round.turns_over() && round.at().is_empty());
        round.begin(&lane("a\nm"));
        round.found();
        round.end("a", None);
        assert!(!round.turns_over());
        round.begin(&lane("a\nm"));
        round.end("a", None);
        assert!(round.turns_over() && round.turns.is_empty());
    }

    #[test]
    fn an_account_with_many_lanes_goes_on_in_its_next_turn_while_others_have_theirs() {
        let mut round = Round::default();
        for step in ["a\n3", "a\n6"] {
            round.begin(&lane("a\n1"));
            round.end("a", Some(lane(step)));
            round.begin(&lane("b\n1"));
            round.end("b", None);
            assert!(!round.turns_over());
        }
        assert_eq!(round.begin(&lane("a\n1")), Some(lane("a\n6")));
        round.end("a", None);
        // Its next turn begins again: nothing is missed by then.
        assert!(round.turns_over());
        assert_eq!(round.begin(&lane("a\n1")), None);
        round.end("a", Some(lane("a\n3")));
        assert!(round.turns_over());
        round.met(Duration::from_secs(2));
        round.met(Duration::from_secs(3));
        assert_eq!(round.rest(), Some(Duration::from_secs(2)));
        assert_eq!(round.begin(&lane("a\n1")), Some(lane("a\n3")));
        round.end("a", None);
        assert!(!round.turns_over(), "the first lanes were not looked at");
        assert_eq!(round.begin(&lane("a\n1")), None);
        round.end("a", None);
        assert!(round.turns_over());
    }
}
