//! What the simulated upstream was sent: counters, the last requests, and a guard for every call that is open.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use serde_json::{Value, json};

use super::usage::{count, put};

/// The most requests that are kept, whatever is asked for; with [`MAX_BODY`] it bounds the memory to 64 MiB.
const MAX_KEPT: u64 = 1000;
/// How much of a request's body is kept, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// The most different paths and models that are counted by name; the rest counts as `other`.
const MAX_NAMES: usize = 1000;
/// The most request ids whose cost can be asked for.
const MAX_COSTS: usize = 10_000;

/// What one call is charged.
#[derive(Debug, Clone, Default)]
pub(super) struct Bill {
    /// Tokens read.
    pub(super) input: u64,
    /// Tokens that went out so far.
    pub(super) output: u64,
    /// Tokens of output that nobody sees, such as those of hidden reasoning.
    pub(super) unseen: u64,
    /// What does not depend on the output, in pico-dollars.
    pub(super) fixed: u64,
    /// The price of a token of output, in pico-dollars.
    pub(super) per_output: u64,
}

impl Bill {
    /// The cost so far, in pico-dollars.
    pub(super) fn cost(&self) -> u64 {
        self.per_output
            .saturating_mul(self.output.saturating_add(self.unseen))
            .saturating_add(self.fixed)
    }
}

/// The counters and the last requests, shared by all connections.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    total: u64,
    open: u64,
    vanished: u64,
    input: u64,
    output: u64,
    nano_usd: u64,
    by_path: BTreeMap<String, u64>,
    by_model: BTreeMap<String, u64>,
    kept: VecDeque<Entry>,
    costs: VecDeque<(String, u64)>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    head: Value,
    body: Option<Received>,
}

/// A request body as it came, or as much of it as came.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Bytes that came.
    pub(super) length: u64,
    /// SHA-256 of them, in hex.
    pub(super) sha256: String,
    /// The first of them, see [`Received::keep`].
    pub(super) start: BytesMut,
    /// Whether the end came.
    pub(super) complete: bool,
    /// Trailers that came.
    pub(super) trailers: Option<HeaderMap>,
}

impl Received {
    /// Takes `data` into account, all but the digest.
    pub(super) fn keep(&mut self, data: &Bytes) {
        self.length = self.length.saturating_add(count(data.len()));
        let room = MAX_BODY.saturating_sub(self.start.len());
        self.start.extend_from_slice(data.get(..room).unwrap_or(data));
    }
}

impl Journal {
    /// Opens a call: counts it and, while `keep` is above zero, writes its head down.
    pub(super) fn open<B>(self: &Arc<Self>, request: &Request<B>, keep: u64) -> Open {
        let mut pages = self.pages();
        pages.total = pages.total.saturating_add(1);
        pages.open = pages.open.saturating_add(1);
        bump(&mut pages.by_path, request.uri().path());
        let number = pages.total;
        if keep > 0 {
            pages.kept.push_back(Entry {
                number,
                head: head(request),
                body: None,
            });
            while count(pages.kept.len()) > keep.min(MAX_KEPT) {
                pages.kept.pop_front();
            }
        }
        Open {
            journal: Arc::clone(self),
            number,
            bill: None,
            id: String::new(),
            settled: false,
        }
    }

    /// Everything, as JSON.
    pub(super) fn report(&self) -> Value {
        let pages = self.pages();
        json!({
            "total": pages.total,
            "by_path": pages.by_path,
            "by_model": pages.by_model,
            "tokens": { "input": pages.input, "output": pages.output },
            "cost_nano_usd": pages.nano_usd,
            "open": pages.open,
            "vanished": pages.vanished,
            "requests": pages.kept.iter().map(Entry::report).collect::<Vec<_>>(),
        })
    }

    /// Forgets everything but the calls that are open.
    pub(super) fn reset(&self) {
        let mut pages = self.pages();
        *pages = Pages {
            open: pages.open,
            ..Pages::default()
        };
    }

    /// What the call with this request id cost, in nano-dollars.
    pub(super) fn cost_of(&self, id: &str) -> Option<u64> {
        let pages = self.pages();
        pages
            .costs
            .iter()
            .find(|(known, _)| known == id)
            .map(|(_, cost)| *cost)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is open. It lives in the answer's body; dropped before [`Open::settle`], its client has vanished.
#[derive(Debug)]
#[must_use]
pub(super) struct Open {
    journal: Arc<Journal>,
    number: u64,
    bill: Option<Bill>,
    id: String,
    settled: bool,
}

impl Open {
    /// Writes down the body that came with the call.
    pub(super) fn received(&self, body: Received) {
        let mut pages = self.journal.pages();
        if let Some(entry) = pages.kept.iter_mut().rfind(|entry| entry.number == self.number) {
            entry.body = Some(body);
        }
    }

    /// Counts the call for a model.
    pub(super) fn served(&self, model: &str) {
        bump(&mut self.journal.pages().by_model, model);
    }

    /// Says what the call will be charged, and under which request id.
    pub(super) fn charge(&mut self, id: String, bill: Bill) {
        self.id = id;
        self.bill = Some(bill);
    }

    /// Counts tokens that go out now.
    pub(super) fn deliver(&mut self, tokens: u64) {
        if let Some(bill) = &mut self.bill {
            bill.output = bill.output.saturating_add(tokens);
        }
    }

    /// Ends the call in order, once.
    pub(super) fn settle(&mut self) {
        self.close(false);
    }

    fn close(&mut self, vanished: bool) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let mut pages = self.journal.pages();
        pages.open = pages.open.saturating_sub(1);
        pages.vanished = pages.vanished.saturating_add(u64::from(vanished));
        if let Some(bill) = self.bill.take() {
            let cost = bill.cost().div_ceil(1000);
            pages.input = pages.input.saturating_add(bill.input);
            pages.output = pages
                .output
                .saturating_add(bill.output)
                .saturating_add(bill.unseen);
            pages.nano_usd = pages.nano_usd.saturating_add(cost);
            pages.costs.push_back((std::mem::take(&mut self.id), cost));
            if pages.costs.len() > MAX_COSTS {
                pages.costs.pop_front();
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close(true);
    }
}

impl Entry {
    fn report(&self) -> Value {
        let mut report = self.head.clone();
        let body = self.body.as_ref();
        put(
            &mut report,
            "body_complete",
            json!(body.is_some_and(|body| body.complete)),
        );
        if let Some(body) = body {
            put(&mut report, "body_length", json!(body.length));
            put(&mut report, "body_sha256", json!(body.sha256));
            if count(body.start.len()) == body.length {
                match std::str::from_utf8(&body.start) {
                    Ok(text) => put(&mut report, "body", json!(text)),
                    Err(_) => put(&mut report, "body_base64", json!(STANDARD.encode(&body.start))),
                }
            }
            if let Some(trailers) = &body.trailers {
                put(&mut report, "trailers", pairs(trailers));
            }
        }
        report
    }
}

fn head<B>(request: &Request<B>) -> Value {
    json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": request.uri().query(),
        "version": format!("{:?}", request.version()),
        "authority": request.uri().authority().map(|authority| authority.as_str()),
        "headers": pairs(request.headers()),
    })
}

fn pairs(headers: &HeaderMap) -> Value {
    headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect()
}

fn bump(counts: &mut BTreeMap<String, u64>, name: &str) {
    let known = counts.len() < MAX_NAMES || counts.contains_key(name);
    let counter = counts
        .entry(if known { name } else { "other" }.to_owned())
        .or_default();
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (Arc<Journal>, Request<()>) {
        (Arc::default(), Request::post("/v1/x?a=1").body(()).unwrap())
    }

    #[test]
    fn a_call_is_open_until_it_is_settled_and_vanished_when_it_is_dropped() {
        let (journal, request) = journal();
        let mut first = journal.open(&request, 10);
        let second = journal.open(&request, 10);
        assert_eq!(journal.report()["open"], 2);
        first.settle();
        drop(first);
        drop(second);
        let report = journal.report();
        assert_eq!((&report["open"], &report["vanished"]), (&json!(0), &json!(1)));
        assert_eq!(report["by_path"]["/v1/x"], 2);
    }

    #[test]
    fn a_call_is_charged_for_what_went_out() {
        let (journal, request) = journal();
        let mut call = journal.open(&request, 0);
        call.charge(
            "R1".to_owned(),
            Bill {
                input: 3,
                fixed: 2500,
                per_output: 1000,
                ..Bill::default()
            },
        );
        call.deliver(2);
        drop(call);
        assert_eq!(journal.report()["tokens"]["output"], 2);
        assert_eq!(journal.cost_of("R1"), Some(5));
        assert_eq!(journal.cost_of("R2"), None);
    }

    #[test]
    fn only_the_last_requests_are_kept() {
        let (journal, request) = journal();
        for _ in 0..5 {
            journal.open(&request, 2).settle();
        }
        let report = journal.report();
        assert_eq!(report["total"], 5);
        assert_eq!(report["requests"].as_array().unwrap().len(), 2);
        journal.reset();
        assert_eq!(journal.report()["total"], 0);
    }
}
