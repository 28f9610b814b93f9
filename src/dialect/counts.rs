//! Counts of one report, each there or not, and how they are read out of an object of which nothing is sure.

use std::borrow::Cow;
use std::time::Duration;

use super::json::{self, Lengths, Member, Members};
use crate::types::{Money, MoneyError, Usage};

/// The largest count that is believed, 2^53.
const MAX_COUNT: u64 = 1 << 53;

/// The highest cost of one call that is believed, in nano-dollars: a million dollars.
const MAX_COST: i64 = 1_000_000 * 1_000_000_000;

/// The longest audio that is believed, in seconds: a year.
const MAX_SECONDS: f64 = 366.0 * 24.0 * 3600.0;

/// As many members as a report usually has.
const USUAL_FIELDS: usize = 8;

/// What one report says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) cached: Option<u64>,
    pub(super) cache_write: Option<u64>,
    /// Tokens from the cache that `input` is without.
    pub(super) beside_read: Option<u64>,
    /// Tokens to the cache that `input` is without.
    pub(super) beside_written: Option<u64>,
    pub(super) reasoning: Option<u64>,
    pub(super) seconds: Option<Duration>,
    pub(super) cost: Option<Money>,
    /// A cost was there that can't be one.
    pub(super) cost_refused: bool,
}

impl Counts {
    /// Whether it counts any token.
    pub(super) fn has_tokens(&self) -> bool {
        [
            self.input,
            self.output,
            self.total,
            self.beside_read,
            self.beside_written,
        ]
        .iter()
        .any(|count| count.is_some_and(|count| count > 0))
    }

    /// Whether it says anything, if only that nothing was used.
    pub(super) fn says_something(&self) -> bool {
        let counts = self.input.or(self.output).or(self.total);
        counts.is_some() || self.seconds.is_some() || self.cost.is_some()
    }

    /// Its own counts but where they are absent or 0, and `other`'s there.
    pub(super) fn filled_from(self, other: Self) -> Self {
        let fill = |own: Option<u64>, other: Option<u64>| own.filter(|own| *own > 0).or(other).or(own);
        Self {
            input: fill(self.input, other.input),
            output: fill(self.output, other.output),
            seconds: self.seconds.or(other.seconds),
            ..self
        }
    }

    /// Its own where they are there, else those that were reported before.
    pub(super) fn over(self, before: Self) -> Self {
        Self {
            input: self.input.or(before.input),
            output: self.output.or(before.output),
            total: self.total.or(before.total),
            cached: self.cached.or(before.cached),
            cache_write: self.cache_write.or(before.cache_write),
            beside_read: self.beside_read.or(before.beside_read),
            beside_written: self.beside_written.or(before.beside_written),
            reasoning: self.reasoning.or(before.reasoning),
            seconds: self.seconds.or(before.seconds),
            cost: self.cost.or(before.cost),
            cost_refused: self.cost_refused || before.cost_refused,
        }
    }

    /// What it comes to; `None` if it says nothing.
    pub(super) fn usage(self) -> Option<Usage> {
        if !self.says_something() {
            return None;
        }
        let output = self.output.unwrap_or(0);
        let total = self.total.unwrap_or(0);
        let input = self.input.unwrap_or_else(|| total.saturating_sub(output));
        let beside = [self.beside_read, self.beside_written];
        let input = beside.into_iter().flatten().fold(input, u64::saturating_add);
        // Some upstreams leave reasoning out of the answer's tokens, but not out of the total.
        let output = output.max(total.saturating_sub(input));
        Some(Usage {
            input,
            output,
            cached: self.cached.unwrap_or(0).min(input),
            cache_write: self.cache_write.unwrap_or(0).min(input),
            reasoning: self.reasoning.unwrap_or(0).min(output),
            duration: self.seconds,
            cost: self.cost,
        })
    }
}

/// The members of an object, none of which has to be of any type. Of a key that stands twice the last counts.
pub(super) struct Fields<'a> {
    members: Vec<Member<'a>>,
    lengths: Lengths,
}

impl Fields<'_> {
    /// Reads an object out of its text; `None` if it is no object. `NaN` and infinities, which JSON does not have but
    /// some upstreams write, are numbers that can't be read, and spoil no other.
    pub(super) fn read<T>(text: &str, of: impl FnOnce(&Fields<'_>) -> T) -> Option<T> {
        match Fields::of(text) {
            Some(fields) => Some(of(&fields)),
            None => Fields::of(&mended(text)).map(|fields| of(&fields)),
        }
    }

    fn of(text: &str) -> Option<Fields<'_>> {
        let mut fields = Fields {
            members: Vec::with_capacity(USUAL_FIELDS),
            lengths: Lengths::default(),
        };
        for member in Members::of(text) {
            let (key, value) = member.ok()?;
            fields.lengths.add(&key);
            fields.members.push((key, value));
        }
        Some(fields)
    }

    /// A number of tokens.
    #[inline]
    pub(super) fn count(&self, key: &str) -> Option<u64> {
        count(self.text(key)?)
    }

    /// A length of time.
    pub(super) fn seconds(&self, key: &str) -> Option<Duration> {
        seconds(self.text(key)?)
    }

    /// What is read out of the object under this key.
    #[inline]
    pub(super) fn object<T>(&self, key: &str, of: impl FnOnce(&Fields<'_>) -> T) -> Option<T> {
        Fields::read(self.text(key)?, of)
    }

    /// The first cost that is one, and whether one was there that can't be.
    pub(super) fn first_cost(&self, keys: [&str; 2]) -> (Option<Money>, bool) {
        let mut refused = false;
        for key in keys {
            match self.cost(key) {
                Ok(None) => {}
                Ok(cost) => return (cost, refused),
                Err(_) => refused = true,
            }
        }
        (None, refused)
    }

    /// A cost: a number, a number in a string, or an object that has one as its total.
    fn cost(&self, key: &str) -> Result<Option<Money>, MoneyError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let total = |key: &str| self.object_text(text, key);
        if !text.starts_with('{') {
            return money(text);
        }
        total("total")
            .or_else(|| total("total_cost"))
            .map_or(Ok(None), |text| money(&text))
    }

    fn object_text(&self, object: &str, key: &str) -> Option<String> {
        Fields::read(object, |fields| fields.text(key).map(str::to_owned)).flatten()
    }

    #[inline]
    fn text(&self, key: &str) -> Option<&str> {
        if self.lengths.may_have(key) {
            self.find(key)
        } else {
            None
        }
    }

    fn find(&self, key: &str) -> Option<&str> {
        let field = self.members.iter().rev().find(|(name, _)| name == key);
        field.map(|(_, text)| *text).filter(|text| *text != "null")
    }
}

/// A number of tokens out of its JSON: a whole number, also one written with a point (`5.0`).
pub(super) fn count(text: &str) -> Option<u64> {
    let count = text.parse().ok().or_else(|| {
        let (whole, decimals) = text.split_once('.')?;
        whole.parse().ok().filter(|_| decimals.bytes().all(|b| b == b'0'))
    });
    count.filter(|count| *count <= MAX_COUNT)
}

/// A cost out of its JSON, a number or a number in a string; null is none.
///
/// # Errors
/// It can't be a cost.
pub(super) fn money(text: &str) -> Result<Option<Money>, MoneyError> {
    if text == "null" {
        return Ok(None);
    }
    let cost = Money::parse(&unquoted(text))?;
    if cost.as_nanos() > MAX_COST {
        return Err(MoneyError::TooMuch);
    }
    Ok(Some(cost))
}

/// Seconds out of their JSON, a number or a number in a string.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = unquoted(text).parse().ok()?;
    let believed = (0.0..=MAX_SECONDS).contains(&seconds);
    if believed {
        Duration::try_from_secs_f64(seconds).ok()
    } else {
        None
    }
}

/// What a JSON string says; anything else as it stands.
fn unquoted(text: &str) -> Cow<'_, str> {
    if text.starts_with('"') {
        json::text(text).unwrap_or_default()
    } else {
        Cow::Borrowed(text)
    }
}

/// A text in which the words that JSON does not have, but writers of floating-point numbers do, are strings.
fn mended(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    let mut word = String::new();
    for c in text.chars() {
        if !quoted && (c.is_ascii_alphabetic() || (c == '-' && word.is_empty())) {
            word.push(c);
            continue;
        }
        match word.as_str() {
            "NaN" | "Infinity" | "-Infinity" | "inf" | "-inf" | "nan" => {
                mended.extend(['"'].into_iter().chain(word.chars()).chain(['"']));
            }
            other => mended.push_str(other),
        }
        word.clear();
        mended.push(c);
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    mended.push_str(&word);
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_numbers() {
        for (text, want) in [
            ("0", Some(0)),
            ("15", Some(15)),
            ("5.0", Some(5)),
            ("5.5", None),
            ("-1", None),
            ("1e3", None),
            ("\"7\"", None),
            ("null", None),
            ("9007199254740992", Some(MAX_COUNT)),
            ("9007199254740993", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(count(text), want, "{text}");
        }
    }

    #[test]
    fn a_cost_is_a_number_or_a_string_or_a_total() {
        let of = |text: &str| Fields::read(text, |fields| fields.first_cost(["a", "b"])).unwrap();
        let cents = |cents: i64| Money::from_nanos(cents * 10_000_000);
        for (text, want) in [
            (r#"{"a":0.05}"#, (cents(5), false)),
            (r#"{"a":"0.05"}"#, (cents(5), false)),
            (r#"{"a":{"total":0.05}}"#, (cents(5), false)),
            (r#"{"a":{"input":1,"total_cost":"0.05"}}"#, (cents(5), false)),
            (r#"{"a":{"total":null,"total_cost":0.05}}"#, (cents(5), false)),
            (r#"{"a":null,"b":0.05}"#, (cents(5), false)),
            (r#"{"a":-1,"b":0.05}"#, (cents(5), true)),
            (r#"{"a":NaN,"b":0.05}"#, (cents(5), true)),
            (r#"{"a":-Infinity,"x":"NaN \" {","b":0.05}"#, (cents(5), true)),
            (r#"{"a":"NaN"}"#, (None, true)),
            (r#"{"a":true}"#, (None, true)),
            (r#"{"a":1000001}"#, (None, true)),
            (r#"{"a":{}}"#, (None, false)),
            ("{}", (None, false)),
        ] {
            assert_eq!(of(text), want, "{text}");
        }
    }

    #[test]
    fn a_duration_is_a_number_of_seconds_or_such_a_string() {
        assert_eq!(seconds("5"), Some(Duration::from_secs(5)));
        assert_eq!(seconds("\"8.5\""), Some(Duration::from_millis(8500)));
        for none in ["-1", "\"NaN\"", "1e300", "\"\"", "[]"] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

    #[test]
    fn reasoning_that_only_the_total_has_is_part_of_the_answer() {
        let counts = Counts {
            input: Some(19),
            output: Some(84),
            total: Some(1184),
            reasoning: Some(1081),
            ..Counts::default()
        };
        let usage = counts.usage().unwrap();
        assert_eq!((usage.input, usage.output, usage.reasoning), (19, 1165, 1081));
    }
}
