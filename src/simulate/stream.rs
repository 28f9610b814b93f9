//! How an answer's body goes out: framed, padded, split, delayed or broken off, and never held whole.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde_json::Value;
use tokio::time::{Sleep, sleep};

use crate::body::BoxError;

use super::call::{Event, Events};
use super::errors::{self, Family};
use super::knobs::{Knobs, LineEnd};
use super::record::Open;
use super::usage::{count, print};

/// How long a stalled stream is kept: longer than any test or client waits.
const STALL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the bytes before a break get to reach the client.
const FLUSH: Duration = Duration::from_millis(5);
/// The size of a piece of padding, in bytes.
static PADDING: [u8; 64 * 1024] = [b'a'; 64 * 1024];

/// One thing that a body does next.
#[derive(Debug)]
pub(super) enum Step {
    /// Sends these bytes, which carry so many tokens.
    Send(Bytes, u64),
    /// Waits.
    Wait(Duration),
    /// Lets everything so far go out by itself.
    Flush,
    /// Breaks off.
    Break,
    /// Sends trailers.
    Trailers(HeaderMap),
}

/// What a body does, made as it is done.
pub(super) type Steps = Box<dyn Iterator<Item = Step> + Send>;

/// The frames of a stream of server-sent events.
pub(super) struct Frames {
    events: Events,
    done: bool,
    family: Family,
    knobs: Arc<Knobs>,
    ready: VecDeque<Step>,
    tokens: u64,
    number: u64,
    over: bool,
}

impl Frames {
    /// Frames these events; `done` ends them with `[DONE]`.
    pub(super) fn new(events: Events, done: bool, family: Family, knobs: Arc<Knobs>) -> Self {
        Self {
            events,
            done: done && knobs.done,
            family,
            knobs,
            ready: VecDeque::new(),
            tokens: 0,
            number: 0,
            over: false,
        }
    }

    fn fill(&mut self) {
        let reached = |limit: Option<u64>| limit.is_some_and(|limit| self.tokens >= limit);
        if reached(self.knobs.abort_after) {
            self.ready.extend([Step::Wait(FLUSH), Step::Break]);
        } else if reached(self.knobs.stall_after) {
            self.ready.push_back(Step::Wait(STALL));
        } else if reached(self.knobs.error_after) {
            let name = (self.family == Family::Anthropic).then_some("error");
            self.send(name, &print(&errors::frame(self.family, &self.knobs), false), 0);
        } else if let Some(event) = self.events.next() {
            self.event(&event);
            return;
        } else if self.done {
            self.send(None, "[DONE]", 0);
        }
        self.over = true;
    }

    fn event(&mut self, event: &Event) {
        self.number = self.number.saturating_add(1);
        let due = |every: u64| self.number.checked_rem(every) == Some(0);
        let (comment, null) = (due(self.knobs.comment_every), due(self.knobs.null_every));
        if comment {
            let end = self.line_end();
            let text = format!(": keep-alive{end}{end}");
            self.ready.push_back(Step::Send(text.into(), 0));
        }
        if null {
            self.send(None, &Value::Null.to_string(), 0);
        }
        if event.tokens > 0 && self.knobs.token_ms > 0 {
            self.ready
                .push_back(Step::Wait(Duration::from_millis(self.knobs.token_ms)));
        }
        self.tokens = self.tokens.saturating_add(event.tokens);
        self.send(
            event.name,
            &print(&event.data, self.knobs.multi_line),
            event.tokens,
        );
    }

    fn send(&mut self, name: Option<&str>, data: &str, tokens: u64) {
        let (end, space) = (self.line_end(), if self.knobs.no_space { "" } else { " " });
        let mut text = String::with_capacity(data.len().saturating_add(32));
        if let Some(name) = name {
            text.extend(["event:", space, name, end]);
        }
        for line in data.lines() {
            text.extend(["data:", space, line, end]);
        }
        text.push_str(end);
        self.ready.push_back(Step::Send(text.into(), tokens));
    }

    fn line_end(&self) -> &'static str {
        match self.knobs.line_end {
            LineEnd::Lf => "\n",
            LineEnd::Crlf => "\r\n",
            LineEnd::Cr => "\r",
        }
    }
}

impl Iterator for Frames {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            if self.over {
                return None;
            }
            self.fill();
        }
    }
}

/// The steps of a body at hand, padded to `size` bytes: JSON objects with a member `padding` in front, everything
/// else with letters at the end. Gives the length as well.
pub(super) fn whole(body: Vec<u8>, json: bool, size: Option<u64>) -> (Steps, u64) {
    const OPEN: &[u8] = br#"{"padding":""#;
    const CLOSE: &[u8] = br#"","#;
    let length = count(body.len());
    let frame = if json {
        count(OPEN.len() + CLOSE.len()).saturating_sub(1)
    } else {
        0
    };
    let missing = size.and_then(|size| size.checked_sub(length.saturating_add(frame)));
    let Some(missing) = missing.filter(|missing| *missing > 0) else {
        return (Box::new(std::iter::once(Step::Send(body.into(), 0))), length);
    };
    let send = |bytes: Bytes| Step::Send(bytes, 0);
    let total = length.saturating_add(frame).saturating_add(missing);
    if json {
        let rest = [CLOSE, body.get(1..).unwrap_or_default()].concat();
        let steps = std::iter::once(Bytes::from_static(OPEN))
            .chain(padding(missing))
            .chain(std::iter::once(rest.into()));
        (Box::new(steps.map(send)), total)
    } else {
        let steps = std::iter::once(Bytes::from(body)).chain(padding(missing));
        (Box::new(steps.map(send)), total)
    }
}

fn padding(mut missing: u64) -> impl Iterator<Item = Bytes> + Send {
    let piece = Bytes::from_static(&PADDING);
    std::iter::from_fn(move || {
        let length = usize::try_from(missing).map_or(piece.len(), |missing| missing.min(piece.len()));
        missing = missing.saturating_sub(count(length));
        (length > 0).then(|| piece.slice(..length))
    })
}

/// These steps split, cut off and ended with trailers as the knobs say.
pub(super) fn shaped(steps: Steps, knobs: &Knobs) -> Steps {
    let mut steps = steps;
    if let Some(mut left) = knobs.abort_after_bytes {
        let mut over = false;
        steps = Box::new(steps.flat_map(move |step| {
            if over {
                return Vec::new();
            }
            let Step::Send(bytes, tokens) = step else {
                return vec![step];
            };
            if count(bytes.len()) < left {
                left = left.saturating_sub(count(bytes.len()));
                return vec![Step::Send(bytes, tokens)];
            }
            over = true;
            let kept = bytes.slice(..usize::try_from(left).unwrap_or(bytes.len()).min(bytes.len()));
            vec![Step::Send(kept, 0), Step::Wait(FLUSH), Step::Break]
        }));
    }
    if let Some(size) = usize::try_from(knobs.split).ok().filter(|size| *size > 0) {
        steps = Box::new(steps.flat_map(move |step| {
            let Step::Send(bytes, tokens) = step else {
                return vec![step];
            };
            let mut rest = bytes;
            let mut pieces = Vec::new();
            while rest.len() > size {
                pieces.extend([Step::Flush, Step::Send(rest.split_to(size), 0)]);
            }
            pieces.extend([Step::Flush, Step::Send(rest, tokens)]);
            pieces
        }));
    }
    if knobs.trailer.is_empty() {
        return steps;
    }
    let trailers: HeaderMap = knobs.trailer.iter().cloned().collect();
    Box::new(steps.chain(std::iter::once(Step::Trailers(trailers))))
}

/// A body that does its steps. It holds the call open; dropped before its end, the client has vanished.
pub(super) struct Playback {
    steps: Peekable<Steps>,
    wait: Option<Pin<Box<Sleep>>>,
    length: Option<u64>,
    call: Open,
}

impl Playback {
    /// A body of these steps, of `length` bytes if that is to be said.
    pub(super) fn new(steps: Steps, length: Option<u64>, call: Open) -> Self {
        Self {
            steps: steps.peekable(),
            wait: None,
            length,
            call,
        }
    }
}

impl HttpBody for Playback {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                std::task::ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            let Some(step) = self.steps.next() else {
                self.call.settle();
                return Poll::Ready(None);
            };
            let frame = match step {
                Step::Wait(time) => {
                    self.wait = Some(Box::pin(sleep(time)));
                    continue;
                }
                Step::Flush => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Break => {
                    self.call.settle();
                    return Poll::Ready(Some(Err("broken off as asked".into())));
                }
                Step::Send(bytes, tokens) => {
                    self.call.deliver(tokens);
                    Frame::data(bytes)
                }
                Step::Trailers(trailers) => Frame::trailers(trailers),
            };
            // Settled before the client can see the end, so that whoever has read it finds the call closed.
            if self.steps.peek().is_none() {
                self.call.settle();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
