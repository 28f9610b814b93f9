//! How a metric comes onto the registry: a table of fields whose doc comment is the help text.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::labels::Stage;
use super::series::{Labels, Series, Vecs};
use super::usd::{UsdCounter, UsdCounterVec, UsdGauge};

/// Declares [`Metrics`](super::Metrics): one field a metric, as `field: type = name, labels, buckets;`.
macro_rules! metrics {
    ($( #[doc = $help:literal] $field:ident: $kind:ty = $name:literal, $labels:expr $(, $buckets:expr)?; )*) => {
        /// All series of the gate. Cheap to share, never locked for longer than a look-up.
        pub struct Metrics {
            registry: Registry,
            models: KnownModels,
            $( #[doc = $help] $field: $kind, )*
        }

        impl Metrics {
            /// Registers every series.
            ///
            /// # Errors
            /// A name or label is malformed or taken twice, which is a mistake in this file.
            pub fn new() -> prometheus::Result<Self> {
                let registry = registry()?;
                Ok(Self {
                    models: KnownModels::default(),
                    $( $field: register::Registered::register(&registry, register::Described {
                        name: $name,
                        help: $help.trim_ascii(),
                        labels: &$labels,
                        buckets: &[$(&$buckets)?],
                    })?, )*
                    registry,
                })
            }
        }
    };
}
pub(super) use metrics;

/// What a metric says of itself.
#[derive(Clone, Copy)]
pub(super) struct Described<'a> {
    pub(super) name: &'a str,
    pub(super) help: &'a str,
    pub(super) labels: &'a [&'a str],
    /// The upper bounds of a histogram's buckets; only a histogram has them.
    pub(super) buckets: &'a [&'a [f64]],
}

/// A metric that can be put onto a registry.
pub(super) trait Registered: Sized {
    fn register(registry: &Registry, described: Described<'_>) -> prometheus::Result<Self>;
}

impl Registered for IntCounter {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        registered(registry, Self::with_opts(Opts::new(of.name, of.help))?)
    }
}

impl Registered for Histogram {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        let opts = HistogramOpts::new(of.name, of.help).buckets(of.buckets.concat());
        registered(registry, Self::with_opts(opts)?)
    }
}

impl Registered for IntCounterVec {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        registered(registry, Self::new(Opts::new(of.name, of.help), of.labels)?)
    }
}

impl Registered for IntGaugeVec {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        registered(registry, Self::new(Opts::new(of.name, of.help), of.labels)?)
    }
}

impl Registered for UsdCounterVec {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        registered(registry, Self::new(Opts::new(of.name, of.help), of.labels)?)
    }
}

impl Registered for UsdCounter {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        registered(registry, Self::new(of.name, of.help)?)
    }
}

impl Registered for UsdGauge {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        registered(registry, Self::new(of.name, of.help)?)
    }
}

impl Registered for IntGauge {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        registered(registry, Self::new(of.name, of.help)?)
    }
}

impl Registered for HistogramVec {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        let opts = HistogramOpts::new(of.name, of.help).buckets(of.buckets.concat());
        registered(registry, Self::new(opts, of.labels)?)
    }
}

impl<L: Labels, V: Vecs + Registered> Registered for Series<L, V> {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        V::register(registry, of).map(Self::new)
    }
}

/// One series for each stage of a call, there from the start.
pub(super) struct OfStages<V: Vecs>([V::One; Stage::ALL.len()]);

impl<V: Vecs> OfStages<V> {
    pub(super) fn of(&self, stage: Stage) -> &V::One {
        let [identify, admit, forward_head, settle] = &self.0;
        match stage {
            Stage::Identify => identify,
            Stage::Admit => admit,
            Stage::ForwardHead => forward_head,
            Stage::Settle => settle,
        }
    }
}

impl<V: Vecs + Registered> Registered for OfStages<V> {
    fn register(registry: &Registry, of: Described<'_>) -> prometheus::Result<Self> {
        let metric = V::register(registry, of)?;
        Ok(Self(
            Stage::ALL.map(|stage| metric.one(&[stage.as_str().to_owned()])),
        ))
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
