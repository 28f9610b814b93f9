//! One metric's series: found by typed labels, bounded in number.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;

use prometheus::IntGauge;
use prometheus::core::{MetricVec, MetricVecBuilder};

use super::labels::{CallLabels, Direction, ModelLabel, Outcome, SpendLabels};
use crate::types::{AccountId, KeyName};

/// The most series of one metric.
const MAX_SERIES: usize = 2_000;

/// How many of them are kept for `other`, under which all the rest is counted: more than the values of the enums make.
const KEPT_FOR_OTHER: usize = 100;

/// Labels of a series, typed.
pub(super) trait Labels: Clone + Eq + Hash {
    /// The label values, in the order of the metric's label names.
    fn values(&self) -> Vec<String>;
    /// The same labels with everything unbounded folded into `other`.
    fn folded(&self) -> Self;
}

/// A metric with a bounded number of series, each looked up once and then shared. The hash may be a weak one, since what
/// is looked up comes from settings and enums.
pub(super) struct Series<L, V: Vecs> {
    metric: V,
    known: RwLock<HashMap<L, V::One, RandomState>>,
}

impl<L: Labels, V: Vecs> Series<L, V> {
    pub(super) fn new(metric: V) -> Self {
        Self {
            metric,
            known: RwLock::default(),
        }
    }

    /// The series with these labels, made when it is new.
    pub(super) fn with(&self, labels: &L) -> V::One {
        if let Some(one) = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(labels)
        {
            return one.clone();
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let labels = if known.len() < MAX_SERIES - KEPT_FOR_OTHER {
            labels.clone()
        } else {
            labels.folded()
        };
        known
            .entry(labels)
            .or_insert_with_key(|labels| self.metric.one(&labels.values()))
            .clone()
    }
}

/// A metric of the library that has labels.
pub(super) trait Vecs {
    type One: Clone;
    fn one(&self, values: &[String]) -> Self::One;
}

impl<B: MetricVecBuilder> Vecs for MetricVec<B>
where
    B::M: Clone,
{
    type One = B::M;

    fn one(&self, values: &[String]) -> B::M {
        self.with_label_values(values)
    }
}

impl Labels for ModelLabel {
    fn values(&self) -> Vec<String> {
        vec![self.as_str().to_owned()]
    }

    fn folded(&self) -> Self {
        Self::other()
    }
}

impl Labels for CallLabels {
    fn values(&self) -> Vec<String> {
        vec![self.surface.to_owned(), self.model.as_str().to_owned()]
    }

    fn folded(&self) -> Self {
        Self::new(self.surface, ModelLabel::other())
    }
}

impl Labels for (CallLabels, Outcome, u16) {
    fn values(&self) -> Vec<String> {
        let (call, outcome, status) = self;
        let mut values = call.values();
        values.extend([outcome.as_str().to_owned(), status_value(*status)]);
        values
    }

    fn folded(&self) -> Self {
        (self.0.folded(), self.1, ANY_STATUS)
    }
}

impl Labels for (Arc<str>, u16) {
    fn values(&self) -> Vec<String> {
        vec![self.0.to_string(), status_value(self.1)]
    }

    fn folded(&self) -> Self {
        ("other".into(), ANY_STATUS)
    }
}

/// All statuses that are not told apart.
const ANY_STATUS: u16 = u16::MAX;

fn status_value(status: u16) -> String {
    match status {
        ANY_STATUS => "other".to_owned(),
        status => status.to_string(),
    }
}

impl Labels for (AccountId, ModelLabel) {
    fn values(&self) -> Vec<String> {
        vec![self.0.as_str().to_owned(), self.1.as_str().to_owned()]
    }

    fn folded(&self) -> Self {
        (AccountId::other(), ModelLabel::other())
    }
}

impl Labels for AccountId {
    fn values(&self) -> Vec<String> {
        vec![self.as_str().to_owned()]
    }

    fn folded(&self) -> Self {
        Self::other()
    }
}

impl Labels for SpendLabels {
    fn values(&self) -> Vec<String> {
        let Self { account, key, model } = self;
        vec![
            account.as_str().to_owned(),
            key.as_str().to_owned(),
            model.as_str().to_owned(),
        ]
    }

    fn folded(&self) -> Self {
        Self::new(AccountId::other(), KeyName::other(), ModelLabel::other())
    }
}

impl Labels for (ModelLabel, Direction) {
    fn values(&self) -> Vec<String> {
        vec![self.0.as_str().to_owned(), self.1.as_str().to_owned()]
    }

    fn folded(&self) -> Self {
        (ModelLabel::other(), self.1)
    }
}

/// The gauges of one account's slots for one model.
#[derive(Debug, Clone)]
pub struct SlotGauges {
    in_use: IntGauge,
    /// Absent where the series stands for several limits.
    limit: Option<IntGauge>,
}

impl SlotGauges {
    pub(super) fn new(in_use: IntGauge, limit: Option<IntGauge>) -> Self {
        Self { in_use, limit }
    }

    /// A slot is taken until the guard falls.
    pub fn take(&self) -> InFlight {
        InFlight::raise(self.in_use.clone())
    }

    /// Says how many slots there are.
    pub fn set_limit(&self, limit: usize) {
        if let Some(gauge) = &self.limit {
            gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
    }
}

impl Labels for (Arc<str>, &'static str) {
    fn values(&self) -> Vec<String> {
        vec![self.0.to_string(), self.1.to_owned()]
    }

    fn folded(&self) -> Self {
        ("other".into(), self.1)
    }
}

/// The connections to one upstream, counted by state.
#[derive(Debug, Clone)]
pub struct ConnectionCount {
    pub(super) connecting: IntGauge,
    pub(super) open: IntGauge,
}

impl ConnectionCount {
    /// A connection is being made until the guard falls.
    pub fn connecting(&self) -> InFlight {
        InFlight::raise(self.connecting.clone())
    }

    /// A connection is open until the guard falls.
    pub fn open(&self) -> InFlight {
        InFlight::raise(self.open.clone())
    }
}

/// Counts in a gauge for as long as it lives.
#[must_use = "it counts only while this lives"]
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl InFlight {
    pub(super) fn raise(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
