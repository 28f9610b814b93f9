//! What the end of a call does: it is counted, and one line of the access log is written.

mod log;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use log::Summary;

use super::budget;
use super::meter::Sight;
use super::rate_limit::Fields;
use super::reject::Code;
use crate::dialect::Surface;
use crate::limit::{Admitted, TokenCount};
use crate::metrics::{CallLabels, Direction, InFlight, Metrics, ModelLabel, Outcome, Stage};
use crate::spend::{Charge, Ending, InFlight as Sent, Metered, Reservation, Seen, Unsent};
use crate::token::Caller;
use crate::types::{ModelName, Peer, RequestId};

/// A call whose client has gone while its answer is read on. It has no slot any more.
#[derive(Debug)]
struct Gone {
    tokens: Option<TokenCount>,
    /// Events that the upstream has sent, or will have, before it hears that the call has ended.
    under_way: u64,
}

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
    /// What is left of that when the client has gone and the answer is read on.
    gone: Option<Gone>,
    reservation: Option<Reservation<Sent>>,
    /// Whether the answer comes in events.
    streams: bool,
    status: Option<u16>,
    code: Option<&'static str>,
    /// Whether the answer only says that the call waits.
    queued: bool,
    /// Whether the upstream may have worked on a call that has no answer of its own.
    may_have_cost: bool,
    first_byte: Option<Duration>,
    sent: u64,
    seen: Sight,
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
            gone: None,
            reservation: None,
            streams: false,
            status: None,
            code: None,
            queued: false,
            may_have_cost: false,
            first_byte: None,
            sent: 0,
            seen: Sight::default(),
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

    /// The call waits: this answer is none of a model.
    pub(super) fn queued(&mut self) {
        self.note(|entry| entry.queued = true);
    }

    /// Whether the answer comes in events.
    pub(super) fn streams(&mut self, streams: bool) {
        self.note(|entry| entry.streams = streams);
    }

    /// `len` bytes of an upstream's body go out.
    pub(super) fn sent(&mut self, len: usize) {
        self.note(|entry| {
            if entry.gone.is_some() {
                return;
            }
            if entry.first_byte.is_none() {
                let took = entry.started.elapsed();
                entry.first_byte = Some(took);
                entry.metrics.first_byte(&entry.labels(), took);
            }
            entry.sent = entry.sent.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        });
    }

    /// What the answer says of what the call used. It counts only if the call succeeded.
    pub(super) fn seen(&mut self, seen: Sight) {
        self.note(|entry| {
            if entry.succeeded() {
                entry.seen = seen;
            }
        });
    }

    /// The call goes upstream: from now on it may cost something.
    pub(super) fn sent_upstream(&mut self, reservation: Option<Reservation<Unsent>>) {
        self.note(|entry| entry.reservation = reservation.map(Reservation::sent));
    }

    /// The client has gone; what comes of the answer from now on only tells what it has cost.
    pub(super) fn client_gone(&mut self) {
        self.note(|entry| {
            let tokens = entry.admitted.take().and_then(Admitted::into_count);
            entry.gone = Some(Gone { tokens, under_way: 0 });
        });
    }

    /// So many events are under way when the answer is ended before its end.
    pub(super) fn under_way(&mut self, events: u64) {
        self.note(|entry| {
            if let Some(gone) = &mut entry.gone {
                gone.under_way = events;
            }
        });
    }

    /// Whether the answer is an event stream of a caller with a limit: its cost must be known wherever it is cut.
    pub(super) fn must_be_known(&self) -> bool {
        let entry = self.0.as_ref();
        entry.is_some_and(|entry| {
            entry.streams && entry.reservation.as_ref().is_some_and(Reservation::is_capped)
        })
    }

    /// What the client is told of its budget.
    pub(super) fn budget(&self) -> budget::Fields {
        let reservation = self.0.as_ref().and_then(|entry| entry.reservation.as_ref());
        reservation.map(budget::Fields::of).unwrap_or_default()
    }

    /// The gate itself answered, with `code`.
    pub(super) fn rejected(&mut self, code: Code) {
        self.note(|entry| {
            entry.code = Some(code.as_str());
            entry.status = Some(code.status().as_u16());
            entry.may_have_cost = code.may_have_cost();
            entry.metrics.rejected(code.as_str());
        });
    }

    /// There was no call: nothing is said of it.
    pub(super) fn forget(&mut self) {
        drop(self.0.take());
    }

    /// The call ended; whatever is said later is not heard.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        if let Some(entry) = self.0.take() {
            entry.settle(outcome);
        }
    }

    pub(super) fn request_id(&self) -> Option<&str> {
        self.id().map(RequestId::as_str)
    }

    pub(super) fn id(&self) -> Option<&RequestId> {
        self.0.as_ref().map(|entry| &entry.request_id)
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

    /// How the call ended, as far as money is concerned.
    fn ending(&self, outcome: Outcome) -> Ending {
        if self.may_have_cost {
            return Ending::Unseen;
        }
        if self.code.is_some() || self.status.is_some() && !self.succeeded() {
            return Ending::Failed;
        }
        match outcome {
            Outcome::Completed => Ending::Whole,
            Outcome::Rejected => Ending::Failed,
            // Of an answer that had not begun nothing is known.
            Outcome::ClientGone | Outcome::UpstreamFailed | Outcome::TimedOut => {
                if self.streams && self.status.is_some() {
                    Ending::Cut {
                        events: self.seen.events,
                        under_way: self.gone.as_ref().map_or(0, |gone| gone.under_way),
                    }
                } else {
                    Ending::Unseen
                }
            }
        }
    }

    /// Closes the call in the ledger.
    fn charge(&mut self, ending: Ending, outcome: Outcome, status: u16, took: Duration) -> Option<Charge> {
        let reservation = self.reservation.take()?;
        reservation.settle(&Seen {
            ending,
            usage: self.seen.usage.as_ref(),
            model: self.seen.model.take(),
            status,
            outcome: outcome.as_str(),
            took,
        })
    }

    /// Whether it was work for a model, done to the end, of which nobody said what it used.
    fn is_unmetered(&self, outcome: Outcome, charge: Option<&Charge>) -> bool {
        outcome == Outcome::Completed
            && self.succeeded()
            && self.surface.is_some_and(Surface::is_inference)
            && !self.queued
            && self.seen.usage.is_none()
            && charge.is_none_or(|charge| charge.metered == Metered::Held)
    }

    /// Counts the tokens, for the metrics and for the limit on tokens a minute.
    fn count_usage(&self, charge: Option<&Charge>) {
        if let Some(usage) = self.seen.usage {
            for (direction, count) in [(Direction::Input, usage.input), (Direction::Output, usage.output)] {
                self.metrics.tokens_used(&self.label, direction, count);
            }
        }
        let used = charge.map(|charge| charge.usage).or(self.seen.usage);
        let used = used.map(|used| used.input.saturating_add(used.output));
        match (used, &self.admitted, &self.gone) {
            (Some(used), Some(admitted), _) => admitted.used(used),
            (
                Some(used),
                None,
                Some(Gone {
                    tokens: Some(count), ..
                }),
            ) => count.used(used),
            _ => {}
        }
        if self.seen.cost_refused {
            self.metrics.cost_diverged(&self.label);
        }
    }

    fn settle(mut self, outcome: Outcome) {
        let ended = Instant::now();
        let took = ended - self.started;
        let charge_as = self.ending(outcome);
        let outcome = if self.gone.is_some() {
            Outcome::ClientGone
        } else {
            outcome
        };
        let status = self.status.unwrap_or(CLIENT_CLOSED_REQUEST);
        self.metrics.call_ended(&self.labels(), outcome, status, took);
        let charge = self.charge(charge_as, outcome, status, took);
        self.count_usage(charge.as_ref());
        let unmetered = self.is_unmetered(outcome, charge.as_ref());
        if let Some(surface) = self.surface.filter(|_| unmetered) {
            self.metrics.unmetered(surface.as_str());
        }
        self.log(&Summary {
            outcome,
            status,
            took,
            charge,
            unmetered,
        });
        self.metrics.worked(Stage::Settle, ended.elapsed());
    }
}
