//! Money in metrics: counted in whole nano-dollars, so that the sums are exact, and shown in dollars.

use std::ops::{AddAssign, SubAssign};
use std::time::Duration;

use prometheus::IntGauge;
use prometheus::core::{Atomic, AtomicI64, GenericCounter, GenericCounterVec, GenericGauge, Number};

use super::series::InFlight;
use crate::types::Money;

/// Dollars that only grow.
pub(super) type UsdCounter = GenericCounter<AtomicUsd>;

/// The same, with labels.
pub(super) type UsdCounterVec = GenericCounterVec<AtomicUsd>;

/// Dollars that come and go.
pub(super) type UsdGauge = GenericGauge<AtomicUsd>;

/// An amount in nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(i64);

impl From<Money> for Usd {
    fn from(money: Money) -> Self {
        Self(money.as_nanos())
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl SubAssign for Usd {
    fn sub_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_sub(other.0);
    }
}

impl Number for Usd {
    fn from_i64(dollars: i64) -> Self {
        Self(dollars.saturating_mul(1_000_000_000))
    }

    fn into_f64(self) -> f64 {
        let dollars = Duration::from_nanos(self.0.unsigned_abs()).as_secs_f64();
        if self.0 < 0 { -dollars } else { dollars }
    }
}

/// An amount that many threads add to.
#[derive(Debug)]
pub struct AtomicUsd(AtomicI64);

impl Atomic for AtomicUsd {
    type T = Usd;

    fn new(usd: Usd) -> Self {
        Self(AtomicI64::new(usd.0))
    }

    fn set(&self, usd: Usd) {
        self.0.set(usd.0);
    }

    fn get(&self) -> Usd {
        Usd(self.0.get())
    }

    fn inc_by(&self, usd: Usd) {
        self.0.inc_by(usd.0);
    }

    fn dec_by(&self, usd: Usd) {
        self.0.dec_by(usd.0);
    }
}

/// Money that is set aside, shown for as long as this lives.
#[must_use = "it is shown only while this lives"]
#[derive(Debug)]
pub struct MoneyHeld {
    amount: Money,
    all: UsdGauge,
    _open: InFlight,
}

impl MoneyHeld {
    pub(super) fn take(amount: Money, all: UsdGauge, open: IntGauge) -> Self {
        all.add(amount.into());
        Self {
            amount,
            all,
            _open: InFlight::raise(open),
        }
    }

    /// How much it is.
    pub fn amount(&self) -> Money {
        self.amount
    }
}

impl Drop for MoneyHeld {
    fn drop(&mut self) {
        self.all.sub(self.amount.into());
    }
}
