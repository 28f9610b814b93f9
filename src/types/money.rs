//! Money: whole nano-dollars, read from decimal text exactly, never through floating point.

use std::fmt;

use serde::ser::{Error, Serialize, Serializer};
use serde_json::value::RawValue;

use super::decimal::{Number, Round, Unreadable};

/// How many decimals a dollar has here.
const DECIMALS: i64 = 9;

/// Nano-dollars in a dollar.
const NANOS: i64 = 1_000_000_000;

/// An amount in nano-dollars (10⁻⁹ USD), from zero to about 9.2 billion dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i64);

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// It is no decimal number: empty, `NaN`, `Infinity` or other words.
    #[error("not a decimal number")]
    NotANumber,
    /// It is below zero.
    #[error("an amount is not negative")]
    Negative,
    /// It is more than an amount can be.
    #[error("more than an amount can be")]
    TooMuch,
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many nano-dollars; `None` below zero.
    pub const fn from_nanos(nanos: i64) -> Option<Self> {
        if nanos < 0 { None } else { Some(Self(nanos)) }
    }

    /// The amount in nano-dollars.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The most that an amount can be.
    pub const MAX: Self = Self(i64::MAX);

    /// The sum; the most that an amount can be where it is more.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left after `other` is taken away; nothing where that is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        if other.0 >= self.0 {
            Self::ZERO
        } else {
            Self(self.0.saturating_sub(other.0))
        }
    }

    /// Reads dollars in decimal notation with or without an exponent, as JSON writes numbers: `0.5`, `4.36e-05`. What
    /// lies beyond the ninth decimal is rounded up.
    ///
    /// # Errors
    /// See [`MoneyError`].
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        Self::read(text, Round::Up)
    }

    /// Reads dollars as [`parse`](Self::parse) does, but drops what lies beyond the ninth decimal: for a bound, which
    /// must not grow.
    ///
    /// # Errors
    /// See [`MoneyError`].
    pub fn parse_down(text: &str) -> Result<Self, MoneyError> {
        Self::read(text, Round::Down)
    }

    fn read(text: &str, round: Round) -> Result<Self, MoneyError> {
        let nanos = Number::read(text)?.shifted(DECIMALS, round);
        let nanos = nanos.and_then(|nanos| i64::try_from(nanos).ok());
        nanos.map(Self).ok_or(MoneyError::TooMuch)
    }
}

impl From<Unreadable> for MoneyError {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::NotANumber => Self::NotANumber,
            Unreadable::Negative => Self::Negative,
        }
    }
}

/// Dollars in plain decimal notation, without zeros at the end: `0.0000436`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, rest) = (self.0 / NANOS, self.0 % NANOS);
        if rest == 0 {
            return write!(f, "{dollars}");
        }
        let decimals = format!("{rest:09}");
        write!(f, "{dollars}.{}", decimals.trim_end_matches('0'))
    }
}

/// As a JSON number in plain decimal notation; only for JSON.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string())
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::decimal::MAX_LEN;

    #[test]
    fn decimal_text_is_read_exactly_and_rounded_up() {
        for (text, nanos) in [
            ("0", 0),
            ("-0.0", 0),
            ("0e99999999999999999999", 0),
            ("1", 1_000_000_000),
            ("1.5", 1_500_000_000),
            ("4.36e-05", 43_600),
            ("4.36E-5", 43_600),
            ("2.68e-05", 26_800),
            ("7e-08", 70),
            ("0.0001140000022132881", 114_001),
            ("0.000000001", 1),
            ("0.0000000001", 1),
            ("1e-400", 1),
            ("1e-99999999999999999999", 1),
            ("0.1e1", 1_000_000_000),
            ("12e+2", 1_200_000_000_000),
            ("000.25", 250_000_000),
            ("9223372036.854775807", i64::MAX),
        ] {
            assert_eq!(Money::parse(text), Ok(Money(nanos)), "{text}");
        }
    }

    #[test]
    fn a_bound_is_rounded_down() {
        for (text, nanos) in [
            ("0.30000000000000004", 300_000_000),
            ("0.0000000019", 1),
            ("1e-10", 0),
            ("-0", 0),
            ("9223372036.8547758079", i64::MAX),
        ] {
            assert_eq!(Money::parse_down(text), Ok(Money(nanos)), "{text}");
        }
        assert_eq!(Money::parse_down("-1e-30"), Err(MoneyError::Negative));
        assert_eq!(
            Money::parse_down("9223372036.854775808"),
            Err(MoneyError::TooMuch)
        );
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        use MoneyError::{Negative, NotANumber, TooMuch};
        for (text, error) in [
            ("", NotANumber),
            ("NaN", NotANumber),
            ("Infinity", NotANumber),
            ("-", NotANumber),
            (".5", NotANumber),
            ("1.", NotANumber),
            ("1e", NotANumber),
            ("1e+", NotANumber),
            ("1 ", NotANumber),
            ("0x10", NotANumber),
            ("1_000", NotANumber),
            ("1,5", NotANumber),
            ("--1", NotANumber),
            ("-1", Negative),
            ("-1e-30", Negative),
            ("9223372036.854775808", TooMuch),
            ("9223372036.8547758071", TooMuch),
            ("1e10", TooMuch),
            ("1e99999999999999999999", TooMuch),
        ] {
            assert_eq!(Money::parse(text), Err(error), "{text}");
        }
        assert_eq!(Money::parse(&"1".repeat(MAX_LEN + 1)), Err(NotANumber));
        assert_eq!(Money::from_nanos(-1), None);
    }

    #[test]
    fn an_amount_is_shown_in_plain_decimals() {
        for (nanos, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (43_600, "0.0000436"),
            (1_500_000_000, "1.5"),
            (20_000_000_000, "20"),
            (i64::MAX, "9223372036.854775807"),
        ] {
            assert_eq!(Money(nanos).to_string(), text);
            assert_eq!(serde_json::to_string(&Money(nanos)).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(nanos in 0..=i64::MAX) {
            prop_assert_eq!(Money::parse(&Money(nanos).to_string()), Ok(Money(nanos)));
        }

        #[test]
        fn every_float_is_read_within_one_nano_dollar(dollars in 0.0..1e6_f64) {
            for text in [format!("{dollars}"), format!("{dollars:e}")] {
                let nanos = Money::parse(&text).unwrap().as_nanos();
                prop_assert!((nanos as f64 - dollars * 1e9).abs() < 1.5, "{}", text);
            }
        }
    }
}
