//! What one unit costs, and the multipliers of such prices: exact, never through floating point.

use super::decimal::{Number, Round};
use super::money::MoneyError;

/// How many decimals of a dollar a rate has.
const RATE_DECIMALS: i64 = 18;

/// How many decimals a multiplier has.
const FACTOR_DECIMALS: i64 = 9;

/// Dollars for one unit (a token, a character, a second, a picture) in atto-dollars (10⁻¹⁸ USD): real prices of a token
/// have up to eleven decimals, and a multiplier adds some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rate(u128);

impl Rate {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many atto-dollars.
    pub const fn from_attos(attos: u128) -> Self {
        Self(attos)
    }

    /// The rate in atto-dollars.
    pub const fn as_attos(self) -> u128 {
        self.0
    }

    /// Reads dollars in decimal notation with or without an exponent, as JSON writes numbers: `1.5e-07`. What lies beyond
    /// the eighteenth decimal is rounded up.
    ///
    /// # Errors
    /// See [`MoneyError`].
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        Self::read(text, RATE_DECIMALS)
    }

    /// Reads cents, as [`parse`](Self::parse) reads dollars.
    ///
    /// # Errors
    /// See [`MoneyError`].
    pub fn parse_cents(text: &str) -> Result<Self, MoneyError> {
        Self::read(text, RATE_DECIMALS - 2)
    }

    fn read(text: &str, decimals: i64) -> Result<Self, MoneyError> {
        let attos = Number::read(text)?.shifted(decimals, Round::Up);
        attos.map(Self).ok_or(MoneyError::TooMuch)
    }

    /// The rate so many times; less than an atto-dollar is rounded up, and the most there is stands for more.
    #[must_use]
    pub fn times(self, factor: Factor) -> Self {
        let wide = self.0.checked_mul(u128::from(factor.0));
        Self(wide.map_or(u128::MAX, |wide| wide.div_ceil(u128::from(Factor::ONE.0))))
    }
}

/// A multiplier in billionths, such as a discount's or that of a service tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Factor(u64);

impl Factor {
    /// Leaves everything as it is.
    pub const ONE: Self = Self(1_000_000_000);

    /// So many billionths.
    pub const fn from_billionths(billionths: u64) -> Self {
        Self(billionths)
    }

    /// The multiplier in billionths.
    pub const fn billionths(self) -> u64 {
        self.0
    }

    /// Reads decimal notation as [`Rate::parse`] does; what lies beyond the ninth decimal is rounded up.
    ///
    /// # Errors
    /// See [`MoneyError`].
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        Self::read(text, Round::Up)
    }

    /// The multiplier that is left by a reduction of so much, such as `0.2`; `None` if that is no part of one. Never less
    /// than the reduction leaves.
    pub fn left_by(reduction: &str) -> Option<Self> {
        let reduction = Self::read(reduction, Round::Down).ok()?;
        Self::ONE.0.checked_sub(reduction.0).map(Self)
    }

    fn read(text: &str, round: Round) -> Result<Self, MoneyError> {
        let billionths = Number::read(text)?.shifted(FACTOR_DECIMALS, round);
        let billionths = billionths.and_then(|billionths| u64::try_from(billionths).ok());
        billionths.map(Self).ok_or(MoneyError::TooMuch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_exactly_in_dollars_and_in_cents() {
        for (text, attos) in [
            ("1.5e-07", 150_000_000_000),
            ("0.00000015", 150_000_000_000),
            ("2.6499999999999997e-06", 2_650_000_000_000),
            ("0.1", 100_000_000_000_000_000),
            ("1e-19", 1),
            ("-0", 0),
        ] {
            assert_eq!(Rate::parse(text), Ok(Rate(attos)), "{text}");
        }
        assert_eq!(
            Rate::parse_cents("0.000015"),
            Ok(Rate::parse("0.00000015").unwrap())
        );
        assert_eq!(Rate::parse("-1e-9"), Err(MoneyError::Negative));
        assert_eq!(Rate::parse("free"), Err(MoneyError::NotANumber));
        assert_eq!(Rate::parse("1e30"), Err(MoneyError::TooMuch));
    }

    #[test]
    fn a_multiplier_is_exact_and_a_part_of_an_atto_dollar_counts_whole() {
        let rate = Rate::parse("3e-8").unwrap();
        assert_eq!(
            rate.times(Factor::parse("0.2").unwrap()),
            Rate::parse("6e-9").unwrap()
        );
        assert_eq!(rate.times(Factor::ONE), rate);
        assert_eq!(Rate(1).times(Factor::parse("0.1").unwrap()), Rate(1));
        assert_eq!(Rate(u128::MAX).times(Factor::ONE), Rate(u128::MAX));
    }

    #[test]
    fn a_reduction_leaves_the_rest_of_one() {
        assert_eq!(Factor::left_by("0.25"), Some(Factor(750_000_000)));
        assert_eq!(Factor::left_by("0"), Some(Factor::ONE));
        assert_eq!(Factor::left_by("1"), Some(Factor(0)));
        for none in ["1.1", "-0.5", "half"] {
            assert_eq!(Factor::left_by(none), None, "{none}");
        }
    }
}
