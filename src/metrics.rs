//! Every series of the gate, on a registry of its own.
//!
//! Label values come from enums and configuration only. A model that nothing knows is `other`, and a metric that
//! has reached its bound of series counts everything further under `other` too, so that no client can grow it.

mod jobs;
mod labels;
mod register;
mod series;
mod usd;

use std::sync::Arc;
use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::types::{AccountId, Money};
use jobs::DELIVERY_BUCKETS;
pub use labels::{CallLabels, Direction, KnownModels, ModelLabel, Outcome, SpendLabels, Stage};
use register::{OfStages, metrics};
use series::Series;
pub use series::{ConnectionCount, InFlight, SlotGauges};
pub use usd::MoneyHeld;
use usd::{UsdCounter, UsdCounterVec, UsdGauge};

/// Bounds for a call's whole time, in seconds: calls take from a millisecond to half an hour.
const DURATION_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0,
];

/// Bounds for the time to the first byte, in seconds.
const FIRST_BYTE_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Bounds for the gate's own time, in seconds: microseconds where all is well, milliseconds where it is not.
const OVERHEAD_BUCKETS: [f64; 13] = [
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.005,
    0.025,
    0.1,
];

/// Bounds for a commit of the ledger, in seconds: what a disk takes, from fast to ill.
const COMMIT_BUCKETS: [f64; 12] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0,
];

/// Bounds for how much work shares a commit of the ledger.
const BATCH_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

metrics! {
    /// Calls that ended, by how.
    requests: Series<(CallLabels, Outcome, u16), IntCounterVec> =
        "tidegate_requests_total", ["surface", "model", "outcome", "status"];
    /// Time from the request head to the end of the answer's body.
    durations: Series<CallLabels, HistogramVec> =
        "tidegate_request_duration_seconds", ["surface", "model"], DURATION_BUCKETS;
    /// Time from the request head to the first byte of the upstream's answer.
    first_bytes: Series<CallLabels, HistogramVec> =
        "tidegate_time_to_first_byte_seconds", ["surface", "model"], FIRST_BYTE_BUCKETS;
    /// The gate's own time on a call, by part of the work.
    overhead: OfStages<HistogramVec> =
        "tidegate_overhead_seconds", ["stage"], OVERHEAD_BUCKETS;
    /// Calls that were let in and have not ended.
    in_flight: Series<ModelLabel, IntGaugeVec> =
        "tidegate_in_flight_calls", ["model"];
    /// Slots that calls hold.
    slots_in_use: Series<(AccountId, ModelLabel), IntGaugeVec> =
        "tidegate_concurrency_in_use", ["account", "model"];
    /// Slots that there are, as they were when one was last asked for.
    slot_limits: Series<(AccountId, ModelLabel), IntGaugeVec> =
        "tidegate_concurrency_limit", ["account", "model"];
    /// Tokens, as the answers of upstreams report them.
    tokens: Series<(ModelLabel, Direction), IntCounterVec> =
        "tidegate_tokens_total", ["model", "direction"];
    /// Calls that went well and whose answer reported no usage.
    unmetered: IntCounterVec =
        "tidegate_unmetered_calls_total", ["surface"];
    /// What calls have cost, in USD.
    spend: Series<SpendLabels, UsdCounterVec> =
        "tidegate_spend_usd_total", ["account", "key", "model"];
    /// What is set aside for calls in flight, in USD.
    holds: UsdGauge =
        "tidegate_holds_usd", [];
    /// Calls in flight for which money is set aside.
    open_holds: IntGauge =
        "tidegate_open_holds", [];
    /// What calls have cost beyond the limits of those who pay, in USD.
    overspend: UsdCounter =
        "tidegate_overspend_usd_total", [];
    /// Costs that an upstream reported and that can't be, or lie too far above the price list.
    divergences: Series<ModelLabel, IntCounterVec> =
        "tidegate_cost_divergence_total", ["model"];
    /// Answers that the gate itself made, by code.
    rejections: IntCounterVec =
        "tidegate_rejections_total", ["code"];
    /// Scoped tokens that were made here, by the account that pays for them.
    tokens_minted: Series<AccountId, IntCounterVec> =
        "tidegate_tokens_minted_total", ["account"];
    /// Credentials that were refused, by code.
    auth_failures: IntCounterVec =
        "tidegate_auth_failures_total", ["code"];
    /// Requests to an upstream, by its answer's status (0: it gave none).
    upstream_requests: Series<(Arc<str>, u16), IntCounterVec> =
        "tidegate_upstream_requests_total", ["upstream", "status"];
    /// Connections to an upstream, by state: connecting or open.
    upstream_connections: Series<(Arc<str>, &'static str), IntGaugeVec> =
        "tidegate_upstream_connections", ["upstream", "state"];
    /// New settings that were read while running, by what became of them.
    config_reloads: IntCounterVec =
        "tidegate_config_reloads_total", ["result"];
    /// Time of a commit of the ledger, from its first piece of work until it is on the disk.
    ledger_commits: Histogram =
        "tidegate_ledger_commit_seconds", [], COMMIT_BUCKETS;
    /// How many pieces of work share a commit of the ledger.
    ledger_batches: Histogram =
        "tidegate_ledger_batch_size", [], BATCH_BUCKETS;
    /// What was asked of the ledger and failed, since it could not be used.
    ledger_errors: IntCounter =
        "tidegate_ledger_errors_total", [];
    /// Jobs, by state.
    jobs: IntGaugeVec =
        "tidegate_jobs", ["state"];
    /// The age of the oldest job in a state.
    job_ages: IntGaugeVec =
        "tidegate_job_oldest_age_seconds", ["state"];
    /// Attempts at calls of jobs (run) and at deliveries of their results (deliver), by what came of them.
    job_attempts: IntCounterVec =
        "tidegate_job_attempts_total", ["phase", "outcome"];
    /// Time of an attempt at a delivery.
    deliveries: Histogram =
        "tidegate_webhook_delivery_seconds", [], DELIVERY_BUCKETS;
    /// Attempts that sent nothing, since an address of the receiver is not allowed, by what the address is.
    webhooks_blocked: IntCounterVec =
        "tidegate_webhook_blocked_total", ["reason"];
}

impl Metrics {
    /// The models that may be label values.
    pub fn models(&self) -> &KnownModels {
        &self.models
    }

    /// A call ended: counts it and its time.
    pub fn call_ended(&self, call: &CallLabels, outcome: Outcome, status: u16, took: Duration) {
        self.requests.with(&(call.clone(), outcome, status)).inc();
        self.durations.with(call).observe(took.as_secs_f64());
    }

    /// The first byte of an upstream's answer came after `took`.
    pub fn first_byte(&self, call: &CallLabels, took: Duration) {
        self.first_bytes.with(call).observe(took.as_secs_f64());
    }

    /// A call was let in: it counts as in flight until the guard falls.
    pub fn call_began(&self, model: &ModelLabel) -> InFlight {
        InFlight::raise(self.in_flight.with(model))
    }

    /// The gauges of an account's slots for a model. Models that are not told apart have no limit in common.
    pub fn slots(&self, account: &AccountId, model: &ModelLabel) -> SlotGauges {
        let labels = (account.clone(), model.clone());
        let limit = (!model.is_other()).then(|| self.slot_limits.with(&labels));
        SlotGauges::new(self.slots_in_use.with(&labels), limit)
    }

    /// A call has used so many tokens.
    pub fn tokens_used(&self, model: &ModelLabel, direction: Direction, count: u64) {
        self.tokens.with(&(model.clone(), direction)).inc_by(count);
    }

    /// A call on `surface` went well and reported no usage.
    pub fn unmetered(&self, surface: &'static str) {
        self.unmetered.with_label_values(&[surface]).inc();
    }

    /// Money is set aside for a call until the guard falls.
    pub fn money_held(&self, amount: Money) -> MoneyHeld {
        MoneyHeld::take(amount, self.holds.clone(), self.open_holds.clone())
    }

    /// A call has cost so much.
    pub fn spent(&self, labels: &SpendLabels, cost: Money) {
        self.spend.with(labels).inc_by(cost.into());
    }

    /// A purse is so much further beyond its limit.
    pub fn overspent(&self, amount: Money) {
        self.overspend.inc_by(amount.into());
    }

    /// An upstream reported a cost that can't be, or one too far above the price list.
    pub fn cost_diverged(&self, model: &ModelLabel) {
        self.divergences.with(model).inc();
    }

    /// New settings were `applied` (or refused).
    pub fn config_reloaded(&self, applied: bool) {
        let result = if applied { "applied" } else { "refused" };
        self.config_reloads.with_label_values(&[result]).inc();
    }

    /// The ledger has committed `pieces` of work, which took so long.
    pub fn ledger_committed(&self, pieces: usize, took: Duration) {
        self.ledger_commits.observe(took.as_secs_f64());
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        self.ledger_batches.observe(pieces.into());
    }

    /// The ledger could not do what it was asked.
    pub fn ledger_failed(&self) {
        self.ledger_errors.inc();
    }

    /// The gate itself worked on a call for `took`.
    pub fn worked(&self, stage: Stage, took: Duration) {
        self.overhead.of(stage).observe(took.as_secs_f64());
    }

    /// The gate itself answered with `code`.
    pub fn rejected(&self, code: &'static str) {
        self.rejections.with_label_values(&[code]).inc();
    }

    /// A credential was refused with `code`.
    pub fn auth_failed(&self, code: &'static str) {
        self.auth_failures.with_label_values(&[code]).inc();
    }

    /// A token was made in the name of an account.
    pub fn token_minted(&self, account: &AccountId) {
        self.tokens_minted.with(account).inc();
    }

    /// An upstream answered with `status`, or gave no answer (0).
    pub fn upstream_answered(&self, upstream: &Arc<str>, status: u16) {
        self.upstream_requests.with(&(Arc::clone(upstream), status)).inc();
    }

    /// The connections to `upstream`; both states are shown from now on.
    pub fn upstream_connections(&self, upstream: &Arc<str>) -> ConnectionCount {
        let of = |state| self.upstream_connections.with(&(Arc::clone(upstream), state));
        ConnectionCount {
            connecting: of("connecting"),
            open: of("open"),
        }
    }

    /// Everything in the Prometheus text format.
    ///
    /// # Errors
    /// A series can't be written, which is a mistake in this file.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A registry with what every process shows.
fn registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;

    let opts = Opts::new("tidegate_build_info", "The running version; always 1.")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("revision", option_env!("TIDEGATE_REVISION").unwrap_or("unknown"));
    let running = Gauge::with_opts(opts)?;
    running.set(1.0);
    registry.register(Box::new(running))?;
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{KeyName, ModelName};

    fn labels(metrics: &Metrics, model: &str) -> CallLabels {
        CallLabels::new(
            "native",
            metrics.models().label(&ModelName::parse(model).unwrap()),
        )
    }

    #[test]
    fn a_call_that_ended_is_counted_under_its_labels() {
        let metrics = Metrics::new().unwrap();
        metrics.models().learn("config", ["acme/m".into()]);
        let call = labels(&metrics, "acme/m:v2");
        metrics.call_ended(&call, Outcome::Completed, 200, Duration::from_millis(20));
        let text = metrics.render().unwrap();
        assert!(text.contains(
            r#"tidegate_requests_total{model="acme/m",outcome="completed",status="200",surface="native"} 1"#
        ));
        assert!(text.contains(
            r#"tidegate_request_duration_seconds_bucket{model="acme/m",surface="native",le="0.025"} 1"#
        ));
    }

    #[test]
    fn a_model_that_nothing_knows_is_other() {
        let metrics = Metrics::new().unwrap();
        assert_eq!(
            metrics
                .models()
                .label(&ModelName::parse("made/up").unwrap())
                .as_str(),
            "other"
        );
    }

    #[test]
    fn a_metric_stops_growing_at_its_bound_and_still_counts() {
        let metrics = Metrics::new().unwrap();
        metrics
            .models()
            .learn("config", (0..3000_u16).map(|n| Arc::from(format!("acme/m{n}"))));
        for n in 0..3000_u16 {
            let call = labels(&metrics, &format!("acme/m{n}"));
            metrics.call_ended(&call, Outcome::Completed, 200 + n % 400, Duration::ZERO);
        }
        let text = metrics.render().unwrap();
        let series = text
            .lines()
            .filter(|line| line.starts_with("tidegate_requests_total{"));
        let total: u64 = series
            .clone()
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(total, 3000);
        assert!(series.count() <= 2000);
    }

    #[test]
    fn a_call_is_in_flight_until_its_guard_falls() {
        let metrics = Metrics::new().unwrap();
        let line = |metrics: &Metrics| {
            let text = metrics.render().unwrap();
            text.lines()
                .find(|line| line.starts_with("tidegate_in_flight_calls{"))
                .unwrap()
                .to_owned()
        };
        let guard = metrics.call_began(&ModelLabel::other());
        assert_eq!(line(&metrics), r#"tidegate_in_flight_calls{model="other"} 1"#);
        drop(guard);
        assert_eq!(line(&metrics), r#"tidegate_in_flight_calls{model="other"} 0"#);
    }

    #[test]
    fn money_is_added_up_exactly_and_shown_in_dollars() {
        let metrics = Metrics::new().unwrap();
        let shows = |line: &str| metrics.render().unwrap().lines().any(|shown| shown == line);
        for line in [
            "tidegate_holds_usd 0",
            "tidegate_open_holds 0",
            "tidegate_overspend_usd_total 0",
        ] {
            assert!(shows(line), "{line}");
        }
        let usd = |text: &str| Money::parse(text).unwrap();
        let holds = [metrics.money_held(usd("0.1")), metrics.money_held(usd("0.2"))];
        assert!(shows("tidegate_holds_usd 0.3") && shows("tidegate_open_holds 2"));
        drop(holds);
        assert!(shows("tidegate_holds_usd 0") && shows("tidegate_open_holds 0"));

        let (account, key) = (AccountId::parse("di:1").unwrap(), KeyName::parse("auto").unwrap());
        let labels = SpendLabels::new(account, key, ModelLabel::other());
        for _ in 0..10 {
            metrics.spent(&labels, usd("0.1"));
            metrics.overspent(usd("0.000000001"));
        }
        metrics.cost_diverged(&ModelLabel::other());
        assert!(shows(
            r#"tidegate_spend_usd_total{account="di:1",key="auto",model="other"} 1"#
        ));
        assert!(shows("tidegate_overspend_usd_total 0.00000001"));
        assert!(shows(r#"tidegate_cost_divergence_total{model="other"} 1"#));
    }

    #[test]
    fn the_process_and_the_build_are_shown_from_the_start() {
        let text = Metrics::new().unwrap().render().unwrap();
        assert!(text.contains("tidegate_build_info{"));
        assert!(text.contains("process_resident_memory_bytes"));
        assert!(text.contains("\ntidegate_ledger_errors_total 0\n"));
    }
}
