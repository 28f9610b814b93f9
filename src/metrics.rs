//! Every series of the gate, on a registry of its own.
//!
//! Label values come from enums and configuration only. A model that nothing knows is `other`, and a metric that
//! has reached its bound of series counts everything further under `other` too, so that no client can grow it.

mod labels;
mod series;

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use labels::{CallLabels, KnownModels, ModelLabel, Outcome};
pub use series::InFlight;
use series::Series;

/// Bounds for a call's whole time, in seconds: calls take from a millisecond to half an hour.
const DURATION_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0,
];

/// Bounds for the time to the first byte, in seconds.
const FIRST_BYTE_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// All series of the gate. Cheap to share, never locked for longer than a look-up.
pub struct Metrics {
    registry: Registry,
    models: KnownModels,
    requests: Series<(CallLabels, Outcome, u16), IntCounterVec>,
    durations: Series<CallLabels, HistogramVec>,
    first_bytes: Series<CallLabels, HistogramVec>,
    in_flight: Series<ModelLabel, IntGaugeVec>,
    rejections: IntCounterVec,
    auth_failures: IntCounterVec,
    upstream_requests: Series<(Arc<str>, u16), IntCounterVec>,
}

impl Metrics {
    /// Registers every series.
    ///
    /// # Errors
    /// A name or label is malformed or taken twice, which is a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        build_info(&registry)?;
        Ok(Self {
            models: KnownModels::default(),
            requests: Series::new(counter(
                &registry,
                "tidegate_requests_total",
                "Calls that ended, by how.",
                &["surface", "model", "outcome", "status"],
            )?),
            durations: Series::new(histogram(
                &registry,
                "tidegate_request_duration_seconds",
                "Time from the request head to the end of the answer's body.",
                (&["surface", "model"], &DURATION_BUCKETS),
            )?),
            first_bytes: Series::new(histogram(
                &registry,
                "tidegate_time_to_first_byte_seconds",
                "Time from the request head to the first byte of the upstream's answer.",
                (&["surface", "model"], &FIRST_BYTE_BUCKETS),
            )?),
            in_flight: Series::new(registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "tidegate_in_flight_calls",
                        "Calls that were let in and have not ended.",
                    ),
                    &["model"],
                )?,
            )?),
            rejections: counter(
                &registry,
                "tidegate_rejections_total",
                "Answers that the gate itself made, by code.",
                &["code"],
            )?,
            auth_failures: counter(
                &registry,
                "tidegate_auth_failures_total",
                "Credentials that were refused, by code.",
                &["code"],
            )?,
            upstream_requests: Series::new(counter(
                &registry,
                "tidegate_upstream_requests_total",
                "Requests to an upstream, by its answer's status (0: it gave none).",
                &["upstream", "status"],
            )?),
            registry,
        })
    }

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

    /// The gate itself answered with `code`.
    pub fn rejected(&self, code: &'static str) {
        self.rejections.with_label_values(&[code]).inc();
    }

    /// A credential was refused with `code`.
    pub fn auth_failed(&self, code: &'static str) {
        self.auth_failures.with_label_values(&[code]).inc();
    }

    /// An upstream answered with `status`, or gave no answer (0).
    pub fn upstream_answered(&self, upstream: &Arc<str>, status: u16) {
        self.upstream_requests.with(&(Arc::clone(upstream), status)).inc();
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

fn build_info(registry: &Registry) -> prometheus::Result<()> {
    let opts = Opts::new("tidegate_build_info", "The running version; always 1.")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("revision", option_env!("TIDEGATE_REVISION").unwrap_or("unknown"));
    registered(registry, Gauge::with_opts(opts)?)?.set(1.0);
    Ok(())
}

fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    (labels, buckets): (&[&str], &[f64]),
) -> prometheus::Result<HistogramVec> {
    registered(
        registry,
        HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?,
    )
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ModelName;

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
            .learn("config", (0..3000).map(|n| Arc::from(format!("acme/m{n}"))));
        for n in 0..3000 {
            let call = labels(&metrics, &format!("acme/m{n}"));
            metrics.call_ended(&call, Outcome::Completed, 200, Duration::ZERO);
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
        assert!(series.count() <= 2001);
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
    fn the_process_and_the_build_are_shown_from_the_start() {
        let text = Metrics::new().unwrap().render().unwrap();
        assert!(text.contains("tidegate_build_info{"));
        assert!(text.contains("process_resident_memory_bytes"));
    }
}
