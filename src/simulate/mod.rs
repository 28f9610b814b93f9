//! The simulated upstream: every route of the real one in its true shape, with knobs for every odd behaviour.
//!
//! It serves development without a key, tests and benchmarks. Each answer follows from the request alone but for
//! ids and times; token counts, prices and stream chunks agree with each other. What it was sent stands at
//! `GET /_sim/requests`; `DELETE` forgets it.

mod account;
mod anthropic;
mod audio;
mod call;
mod catalogue;
mod errors;
mod generate;
mod images;
mod intake;
mod knobs;
mod model;
mod native;
mod openai;
mod record;
mod responses;
mod route;
mod serve;
mod setting;
mod stream;
mod usage;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, TRAILER};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::body::{self, Body};
use crate::types::{Clock, SystemClock};

use call::{Call, Content, Reply};
use errors::{Failure, Family};
use intake::Payload;
use record::{Journal, Open};
use route::Route;
use stream::{Frames, Playback, Steps};

pub use knobs::{
    Abort, BadKnob, Cost, ErrorFrame, HEADER_PREFIX, Knob, Knobs, LineEnd, NativeFinal, Presence, Running,
    Text, Unauthorized, UsageChunk, UsageShape,
};

/// Where the counters stand.
const JOURNAL: &str = "/_sim/requests";
/// The time at which everything was made while `fixed` is on, in Unix seconds.
const FIXED_TIME: u64 = 1_790_000_000;

/// A simulated upstream: its knobs and what it was sent.
#[derive(Debug)]
pub struct Simulator {
    knobs: Arc<Knobs>,
    journal: Arc<Journal>,
}

/// What a request became before a surface answers it.
enum Prepared {
    /// A call with a model.
    Call(Route, Box<Call>),
    /// An account route's answer.
    Plain(StatusCode, Value),
}

impl Simulator {
    /// Makes one; `x-sim-*` headers turn these knobs for one request.
    pub fn new(knobs: Knobs) -> Arc<Self> {
        Arc::new(Self {
            knobs: Arc::new(knobs),
            journal: Arc::default(),
        })
    }

    /// What `GET /_sim/requests` shows: `total`, `by_path`, `by_model`, `tokens.input`, `tokens.output`,
    /// `cost_nano_usd`, `open`, `vanished` (calls whose client went before the end) and the last `requests`.
    pub fn requests(&self) -> Value {
        self.journal.report()
    }

    /// Serves HTTP/1.1 and HTTP/2 with prior knowledge until `stop` resolves; then every connection ends at once.
    /// Dropping the future stops it too.
    ///
    /// # Errors
    /// The listener can't be used.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        serve::serve(self, listener, stop).await
    }

    /// Answers a request. Sets `reset` where the connection is to be reset when the answer's body breaks off.
    async fn answer(&self, request: Request<Incoming>, reset: &AtomicBool) -> Response<Body> {
        if request.uri().path() == JOURNAL {
            return self.show(request.method());
        }
        let open = self.journal.open(&request, self.knobs.record);
        let family = route::family(request.uri().path());
        let knobs = match self.knobs.with_headers(request.headers()) {
            Ok(knobs) => Arc::new(knobs),
            Err(bad) => {
                let failure = Failure::new(StatusCode::BAD_REQUEST, bad.to_string());
                return refuse(&failure, family, &self.knobs, open);
            }
        };
        if knobs.abort_with == Abort::Reset {
            reset.store(true, Ordering::Relaxed);
        }
        let prepared = self.prepare(request, &knobs, &open).await;
        if knobs.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(knobs.latency_ms)).await;
        }
        let replied = prepared.and_then(|prepared| match prepared {
            Prepared::Call(route, call) => surface(&route, &Arc::new(*call)).map(Ok),
            Prepared::Plain(status, value) => Ok(Err((status, value))),
        });
        match replied {
            Ok(Ok(reply)) => play(reply, family, &knobs, open),
            Ok(Err((status, value))) => plain(status, value, &knobs, open),
            Err(failure) => refuse(&failure, family, &knobs, open),
        }
    }

    fn show(&self, method: &Method) -> Response<Body> {
        if method == Method::DELETE {
            self.journal.reset();
            return body::with_type(StatusCode::NO_CONTENT, "application/json", "");
        }
        body::json(StatusCode::OK, &self.journal.report())
    }

    /// Everything up to the surface: credentials, body, forced errors, model.
    async fn prepare(
        &self,
        request: Request<Incoming>,
        knobs: &Arc<Knobs>,
        open: &Open,
    ) -> Result<Prepared, Failure> {
        let (head, incoming) = request.into_parts();
        let (payload, seed) = if knobs.early {
            drop(incoming);
            (Ok(Payload::default()), 0)
        } else {
            intake::read(&head.headers, incoming, open).await
        };
        let route = route::find(&head.method, head.uri.path())?;
        if let Some(status) = knobs.status.filter(|status| !(200..300).contains(status)) {
            return Err(forced(status, knobs));
        }
        if !authorized(&head.headers, knobs) && !account::public(head.uri.path()) {
            return Err(Failure::new(unauthorized(knobs), "Not authenticated"));
        }
        if route == Route::Account {
            let fields = payload.map(|payload| payload.fields).unwrap_or_default();
            let (status, value) = account::answer(&head.method, head.uri.path(), &fields, &self.journal)?;
            return Ok(Prepared::Plain(status, value));
        }
        let payload = payload?;
        let tier = head.headers.get("x-deepinfra-service-tier");
        let mut call = build(&route, payload, knobs, seed)?;
        call.tier = percent(call.text("service_tier").or_else(|| tier?.to_str().ok()));
        open.served(&call.model.name);
        Ok(Prepared::Call(route, Box::new(call)))
    }
}

/// Makes the call out of its body.
fn build(route: &Route, payload: Payload, knobs: &Arc<Knobs>, seed: u128) -> Result<Call, Failure> {
    let Payload { fields, files } = payload;
    if !fields.is_object() && !knobs.early {
        return Err(Failure::field("body", "value is not a valid dict"));
    }
    let task = if matches!(route, Route::Inference(_)) {
        native::guess(&fields, &files)
    } else {
        route.task()
    };
    let asked = asked(route, &fields, knobs)?;
    let (seed, created) = if knobs.fixed {
        (seed, FIXED_TIME)
    } else {
        (uuid::Uuid::new_v4().as_u128(), SystemClock.now().as_secs())
    };
    Ok(Call {
        knobs: Arc::clone(knobs),
        model: call::choose(&asked, task, knobs)?,
        body: fields,
        files,
        seed,
        created,
        tier: 100,
    })
}

/// The models that a request names, the first one first.
fn asked(route: &Route, fields: &Value, knobs: &Knobs) -> Result<Vec<String>, Failure> {
    if let Route::Inference(model) = route {
        return Ok(vec![model.clone()]);
    }
    let key = if *route == Route::Voice {
        "model_id"
    } else {
        "model"
    };
    let list = fields.get("models").and_then(Value::as_array);
    let list: Vec<String> = list
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    if !list.is_empty() {
        return Ok(list);
    }
    let early = knobs.early.then_some("meta-llama/Meta-Llama-3.1-8B-Instruct");
    fields
        .get(key)
        .and_then(Value::as_str)
        .or_else(|| route.default_model().or(early))
        .map(|name| vec![name.to_owned()])
        .ok_or_else(|| Failure::field("model", "field required"))
}

fn surface(route: &Route, call: &Arc<Call>) -> Result<Reply, Failure> {
    match route {
        Route::Chat => openai::chat(call),
        Route::Completions => openai::completions(call),
        Route::Embeddings => openai::embeddings(call),
        Route::Responses => responses::answer(call),
        Route::Images => images::openai(call),
        Route::Speech | Route::Voice => audio::speech(call),
        Route::Transcriptions(translated) => audio::transcription(call, *translated),
        Route::Messages => anthropic::messages(call),
        Route::CountTokens => Ok(anthropic::count_tokens(call)),
        Route::Inference(_) => native::answer(call),
        Route::Account => Err(Failure::unrouted(StatusCode::NOT_FOUND)),
    }
}

/// The upstream takes a key in any of three headers, and the scheme in any case.
fn authorized(headers: &HeaderMap, knobs: &Knobs) -> bool {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim());
    let named = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = bearer
        .or_else(|| named("xi-api-key"))
        .or_else(|| named("x-api-key"));
    given.is_some_and(|given| !given.is_empty() && knobs.key.as_deref().is_none_or(|key| key == given))
}

fn unauthorized(knobs: &Knobs) -> StatusCode {
    match knobs.unauthorized {
        Unauthorized::Status401 => StatusCode::UNAUTHORIZED,
        Unauthorized::Status403 => StatusCode::FORBIDDEN,
    }
}

fn forced(status: u16, knobs: &Knobs) -> Failure {
    let mut failure = Failure::status(StatusCode::from_u16(status).unwrap_or_default());
    if let Some(message) = &knobs.message {
        failure.message.clone_from(message);
    }
    failure
}

/// What a service tier makes of a price, in percent; one that is not known is the default.
fn percent(tier: Option<&str>) -> u64 {
    match tier {
        Some("priority" | "auto") => 150,
        Some("flex") => 80,
        _ => 100,
    }
}

fn refuse(failure: &Failure, family: Family, knobs: &Knobs, open: Open) -> Response<Body> {
    let mut response = plain(failure.status, failure.body(family), knobs, open);
    let retry_after = knobs
        .retry_after
        .as_deref()
        .and_then(|text| HeaderValue::from_str(text).ok());
    if let Some(value) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

fn plain(status: StatusCode, value: Value, knobs: &Knobs, open: Open) -> Response<Body> {
    let text = usage::print(&value, false);
    let (steps, length) = stream::whole(text.into_bytes(), value.is_object(), knobs.body_bytes);
    respond((status, "application/json"), (steps, Some(length)), knobs, open)
}

fn play(reply: Reply, family: Family, knobs: &Arc<Knobs>, mut open: Open) -> Response<Body> {
    open.charge(reply.id, reply.bill);
    let status = knobs
        .status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::OK);
    let (content_type, steps, length): (_, Steps, _) = match reply.content {
        Content::Json(value) => {
            let text = usage::print(&value, false);
            let (steps, length) = stream::whole(text.into_bytes(), value.is_object(), knobs.body_bytes);
            ("application/json", steps, Some(length))
        }
        Content::Bytes(content_type, bytes) => {
            let (steps, length) = stream::whole(bytes, false, knobs.body_bytes);
            (content_type, steps, Some(length))
        }
        Content::Events(events, done) => {
            let frames = Frames::new(events, done, family, Arc::clone(knobs));
            ("text/event-stream; charset=utf-8", Box::new(frames), None)
        }
    };
    respond((status, content_type), (steps, length), knobs, open)
}

fn respond(
    (status, content_type): (StatusCode, &'static str),
    (steps, length): (Steps, Option<u64>),
    knobs: &Knobs,
    open: Open,
) -> Response<Body> {
    let length = length.filter(|_| !knobs.chunked && knobs.trailer.is_empty());
    let steps = stream::shaped(steps, knobs);
    let mut response = Response::new(Body::stream(Playback::new(steps, length, open)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in &knobs.header {
        headers.append(name, value.clone());
    }
    for (name, _) in &knobs.trailer {
        headers.append(TRAILER, HeaderValue::from(name.clone()));
    }
    response
}

#[cfg(test)]
mod tests;
