//! What the end of a call does: it is counted, and one line of the access log is written.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::rate_limit::Fields;
use crate::dialect::Surface;
use crate::limit::Admitted;
use crate::metrics::{CallLabels, Direction, InFlight, Metrics, ModelLabel, Outcome, Stage};
use crate::token::Caller;
use crate::types::{ModelName, Peer, RequestId, TokenId, Usage};

/// The status that stands for "the client left before there was one" (nginx's number).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// One call's entry: filled in as the call goes on, settled once when it ends.
///
/// If it is dropped before anybody said how the call ended, the client has gone: hyper drops a handler and a body
/// as soon as the connection closes or the stream is reset.
#[must_use = "dropping the record says that the client has gone"]
#[derive(Debug)]
pub(super) struct Record(Option<Box<Entry>>);

#[derive(Debug)]
struct Entry {
    metrics: Arc<Metrics>,
    started: Instant,
    peer: Peer,
    request_id: RequestId,
    method: http::Method,
    surface: Option<Surface>,
    caller: Option<Arc<Caller>>,
    model: Option<ModelName>,
    label: ModelLabel,
    upstream: Option<Arc<str>>,
    in_flight: Option<InFlight>,
    admitted: Option<Admitted>,
    status: Option<u16>,
    code: Option<&'static str>,
    first_byte: Option<Duration>,
    sent: u64,
    usage: Option<Usage>,
    cost_refused: bool,
}

impl Record {
    pub(super) fn begin(
        metrics: &Arc<Metrics>,
        peer: Peer,
        request_id: RequestId,
        method: http::Method,
    ) -> Self {
        Self(Some(Box::new(Entry {
            metrics: Arc::clone(metrics),
            started: Instant::now(),
            peer,
            request_id,
            method,
            surface: None,
            caller: None,
            model: None,
            label: ModelLabel::none(),
            upstream: None,
            in_flight: None,
            admitted: None,
            status: None,
            code: None,
            first_byte: None,
            sent: 0,
            usage: None,
            cost_refused: false,
        })))
    }

    /// Hands the entry on; what stays behind says nothing when it is dropped.
    pub(super) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    pub(super) fn surface(&mut self, surface: Surface) {
        self.note(|entry| entry.surface = Some(surface));
    }

    pub(super) fn model(&mut self, model: &ModelName) {
        self.note(|entry| {
            entry.label = entry.metrics.models().label(model);
            entry.model = Some(model.clone());
        });
    }

    /// Whether the call is work for a model. Of others' answers the gate knows neither use nor end.
    pub(super) fn is_inference(&self) -> bool {
        let surface = self.0.as_ref().and_then(|entry| entry.surface);
        surface.is_some_and(Surface::is_inference)
    }

    /// The call was let in: it counts as in flight, and keeps what it holds, until it is settled.
    pub(super) fn admitted(&mut self, admitted: Option<Admitted>) {
        self.note(|entry| {
            entry.in_flight = Some(entry.metrics.call_began(&entry.label));
            entry.admitted = admitted;
        });
    }

    /// What the client is told of the limit that let the call in.
    pub(super) fn rate_limit(&self) -> Option<Fields> {
        let admitted = self.0.as_ref().and_then(|entry| entry.admitted.as_ref());
        admitted.map(Fields::of)
    }

    /// The model as a label value; none before it is known.
    pub(super) fn label(&self) -> ModelLabel {
        let label = self.0.as_ref().map(|entry| entry.label.clone());
        label.unwrap_or_else(ModelLabel::none)
    }

    /// The caller is known, as of now.
    pub(super) fn identified(&mut self, caller: &Arc<Caller>) {
        self.note(|entry| {
            entry.caller = Some(Arc::clone(caller));
            entry.metrics.worked(Stage::Identify, entry.started.elapsed());
        });
    }

    pub(super) fn upstream(&mut self, name: &Arc<str>) {
        self.note(|entry| entry.upstream = Some(Arc::clone(name)));
    }

    /// The head of the answer goes out.
    pub(super) fn status(&mut self, status: u16) {
        self.note(|entry| entry.status = Some(status));
    }

    /// `len` bytes of an upstream's body go out.
    pub(super) fn sent(&mut self, len: usize) {
        self.note(|entry| {
            if entry.first_byte.is_none() {
                let took = entry.started.elapsed();
                entry.first_byte = Some(took);
                entry.metrics.first_byte(&entry.labels(), took);
            }
            entry.sent = entry.sent.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        });
    }

    /// What the answer says that the call used. It counts only if the call succeeded.
    pub(super) fn usage(&mut self, usage: Option<Usage>) {
        self.note(|entry| entry.usage = usage.filter(|_| entry.succeeded()));
    }

    /// Whether the answer reported a cost that can't be one.
    pub(super) fn cost_refused(&mut self, refused: bool) {
        self.note(|entry| entry.cost_refused = refused);
    }

    /// The gate itself answered, with `code`.
    pub(super) fn rejected(&mut self, code: &'static str, status: u16) {
        self.note(|entry| {
            entry.code = Some(code);
            entry.status = Some(status);
            entry.metrics.rejected(code);
        });
    }

    /// The call ended; whatever is said later is not heard.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        if let Some(entry) = self.0.take() {
            entry.settle(outcome);
        }
    }

    pub(super) fn request_id(&self) -> Option<&str> {
        self.0.as_ref().map(|entry| entry.request_id.as_str())
    }

    fn note(&mut self, note: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.0 {
            note(entry);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.settle(Outcome::ClientGone);
    }
}

impl Entry {
    fn labels(&self) -> CallLabels {
        CallLabels::new(self.surface.map_or("none", Surface::as_str), self.label.clone())
    }

    fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether it was work for a model, done to the end, of which nobody said what it used.
    fn is_unmetered(&self, outcome: Outcome) -> bool {
        outcome == Outcome::Completed
            && self.succeeded()
            && self.surface.is_some_and(Surface::is_inference)
            && self.usage.is_none()
    }

    /// Counts the tokens, for the metrics and for the limit on tokens a minute.
    fn count_usage(&self, outcome: Outcome) {
        if let Some(usage) = self.usage {
            for (direction, count) in [(Direction::Input, usage.input), (Direction::Output, usage.output)] {
                self.metrics.tokens_used(&self.label, direction, count);
            }
            if let Some(admitted) = &self.admitted {
                admitted.used(usage.input.saturating_add(usage.output));
            }
        }
        if let Some(surface) = self.surface.filter(|_| self.is_unmetered(outcome)) {
            self.metrics.unmetered(surface.as_str());
        }
    }

    /// The identity of the token that was shown, which is not the token.
    fn token(&self) -> Option<&TokenId> {
        let scope = self.caller.as_ref()?.scope.as_ref()?;
        Some(&scope.id)
    }

    fn settle(self, outcome: Outcome) {
        let ended = Instant::now();
        let took = ended - self.started;
        let status = self.status.unwrap_or(CLIENT_CLOSED_REQUEST);
        self.metrics.call_ended(&self.labels(), outcome, status, took);
        self.count_usage(outcome);
        tracing::info!(
            target: "tidegate::access",
            request_id = self.request_id.as_str(),
            peer = %self.peer.addr.ip(),
            account = self.caller.as_ref().map(|caller| caller.account.as_str()),
            key = self.caller.as_ref().map(|caller| caller.key.as_str()),
            token = self.token().map(tracing::field::display),
            method = self.method.as_str(),
            surface = self.surface.map(Surface::as_str),
            model = self.model.as_ref().map(ModelName::as_str),
            upstream = self.upstream.as_deref(),
            status,
            outcome = outcome.as_str(),
            code = self.code,
            duration_ms = took.as_secs_f64() * 1e3,
            first_byte_ms = self.first_byte.map(|took| took.as_secs_f64() * 1e3),
            sent_bytes = self.sent,
            input_tokens = self.usage.map(|usage| usage.input),
            output_tokens = self.usage.map(|usage| usage.output),
            cost = self.usage.and_then(|usage| usage.cost).map(|cost| cost.to_string()),
            cost_refused = self.cost_refused.then_some(true),
            unmetered = self.is_unmetered(outcome).then_some(true),
            "call"
        );
        self.metrics.worked(Stage::Settle, ended.elapsed());
    }
}
