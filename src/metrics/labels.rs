//! Label values: enums, and the model names that configuration or an upstream's catalogue vouches for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use crate::types::{AccountId, KeyName, ModelName};

/// The most model names that are kept, whatever a catalogue claims to have.
const MAX_MODELS: usize = 10_000;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The answer was passed on whole.
    Completed,
    /// The client left before the end.
    ClientGone,
    /// The upstream could not be reached, broke off or reported an error in its stream.
    UpstreamFailed,
    /// The upstream was silent for too long.
    TimedOut,
    /// The gate itself said no.
    Rejected,
}

impl Outcome {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientGone => "client_gone",
            Self::UpstreamFailed => "upstream_failed",
            Self::TimedOut => "timed_out",
            Self::Rejected => "rejected",
        }
    }
}

/// Which way tokens went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the model.
    Input,
    /// From the model.
    Output,
}

impl Direction {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// A part of the gate's own work on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From the request's head to a known caller.
    Identify,
    /// From there to a call that was read and let in, without the wait for its body and for a slot.
    Admit,
    /// Building the upstream's request, and the client's head out of the upstream's.
    ForwardHead,
    /// The end of a call.
    Settle,
}

impl Stage {
    /// Every stage, in the order of a call.
    pub const ALL: [Self; 4] = [Self::Identify, Self::Admit, Self::ForwardHead, Self::Settle];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Admit => "admit",
            Self::ForwardHead => "forward_head",
            Self::Settle => "settle",
        }
    }
}

/// A model as a label value: a known name without its version, or `other`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelLabel(Arc<str>);

impl ModelLabel {
    /// Every model that nothing vouches for.
    pub fn other() -> Self {
        Self("other".into())
    }

    /// Whether it stands for models that are not told apart.
    pub fn is_other(&self) -> bool {
        &*self.0 == "other"
    }

    /// No model at all: a call that names none.
    pub fn none() -> Self {
        Self("".into())
    }

    /// The label value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The two labels that most series of a call share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallLabels {
    /// The surface that was called.
    pub surface: &'static str,
    /// The model that was asked for.
    pub model: ModelLabel,
}

impl CallLabels {
    /// Both labels.
    pub fn new(surface: &'static str, model: ModelLabel) -> Self {
        Self { surface, model }
    }
}

/// Whose money a call has cost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpendLabels {
    pub(super) account: AccountId,
    pub(super) key: KeyName,
    pub(super) model: ModelLabel,
}

impl SpendLabels {
    /// All three labels.
    pub fn new(account: AccountId, key: KeyName, model: ModelLabel) -> Self {
        Self { account, key, model }
    }

    /// The model.
    pub fn model(&self) -> &ModelLabel {
        &self.model
    }
}

/// The model names that may be label values, each vouched for by some source.
#[derive(Debug, Default)]
pub struct KnownModels {
    sources: Mutex<HashMap<Arc<str>, HashSet<Arc<str>>>>,
    all: ArcSwap<HashMap<Arc<str>, ModelLabel, RandomState>>,
}

impl KnownModels {
    /// Replaces what `source` vouches for, which may be nothing any more; other sources' names stay.
    pub fn learn(&self, source: &str, names: impl IntoIterator<Item = Arc<str>>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let names: HashSet<_> = names.into_iter().take(MAX_MODELS).collect();
        if names.is_empty() {
            sources.remove(source);
        } else {
            sources.insert(source.into(), names);
        }
        let all = sources
            .values()
            .flatten()
            .map(|name| (Arc::clone(name), ModelLabel(Arc::clone(name))));
        self.all.store(Arc::new(all.collect()));
    }

    /// The label of `model`.
    pub fn label(&self, model: &ModelName) -> ModelLabel {
        self.all
            .load()
            .get(model.base())
            .cloned()
            .unwrap_or_else(ModelLabel::other)
    }
}
