//! A call, from the request's head to the last byte of the answer.
//!
//! [`Gate::handle`] is the whole story: who calls ([`identify`]), what is asked ([`Call::read`]), may it go
//! ([`admit`]: what it holds from then on is in its [`Record`]), send it ([`forward`]), pass the answer on and watch it ([`meter`]), and when it has ended, whichever
//! way, write it down ([`settle`]). A no of the gate itself is a [`Rejection`] ([`reject`]).
//!
//! The future of a call is dropped when its client goes, at whichever `.await` it stands, and so is the body of its
//! answer. What must happen then hangs on values that fall with them.

mod admit;
mod budget;
mod catalogue;
mod forward;
mod head;
mod identify;
mod intake;
mod jobs;
mod linger;
mod meter;
mod own_time;
mod perform;
mod rate_limit;
mod reject;
mod scoped_jwt;
mod settle;
mod trace;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::Body;
use crate::config::{Config, Server};
use crate::dialect::{Call, Family, ReadLimits, Route, Surface};
use crate::limit::{Admitted, Limits};
use crate::metrics::{Metrics, Outcome, Stage};
use crate::queue::{Backlog, Policy, Receiver};
use crate::spend::{self, Reservation, Spend, Unsent};
use crate::token::{Caller, Keys, Scope};
use crate::types::{Clock, ModelName, Peer};
use crate::upstream::Upstreams;

pub use linger::{Leavers, Lingering, lingering};
pub use perform::{Performed, Unreadable, Work};
pub use reject::{Code, Rejection, X_TIDEGATE_ERROR};
use settle::Record;
use trace::Trace;

/// The gate: what lasts, and the settings in force.
#[derive(Debug)]
pub struct Gate {
    live: ArcSwap<Live>,
    keys: Arc<Keys>,
    limits: Limits,
    spend: Arc<Spend>,
    leavers: Leavers,
    backlog: Arc<Backlog>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// The settings in force. A call takes them once, when it begins, and keeps to them whatever is reloaded meanwhile.
#[derive(Debug)]
struct Live {
    settings: Server,
    aliases: HashMap<ModelName, ModelName>,
    upstreams: Arc<Upstreams>,
    /// Which receivers webhooks may name.
    receivers: Policy,
    /// How many jobs of an account may wait.
    max_queued: u64,
}

impl Live {
    fn new(config: &Config, upstreams: Arc<Upstreams>) -> Self {
        Self {
            settings: config.server.clone(),
            aliases: config.models.alias.clone(),
            upstreams,
            receivers: Policy::from(&config.webhooks),
            max_queued: config.webhooks.max_queued_per_account,
        }
    }

    fn read_limits(&self) -> ReadLimits {
        ReadLimits {
            max_json: self.settings.max_json_body,
            max_multipart: self.settings.max_multipart_body,
            idle: self.settings.body_idle_timeout,
        }
    }
}

impl Gate {
    /// Puts the gate together.
    pub fn new(
        config: &Config,
        upstreams: Arc<Upstreams>,
        keys: Arc<Keys>,
        (spend, leavers, backlog): (Arc<Spend>, Leavers, Arc<Backlog>),
        (metrics, clock): (Arc<Metrics>, Arc<dyn Clock>),
    ) -> Self {
        Self {
            live: ArcSwap::from_pointee(Live::new(config, upstreams)),
            keys,
            limits: Limits::new(&config.limits, &metrics),
            spend,
            leavers,
            backlog,
            metrics,
            clock,
        }
    }

    /// Puts other settings in force for the calls that begin from now on; what is in use of the limits stays counted.
    pub fn reload(&self, config: &Config, upstreams: Arc<Upstreams>) {
        self.live.store(Arc::new(Live::new(config, upstreams)));
        self.keys.reload(config);
        self.limits.change(&config.limits);
        self.spend.change(config);
    }

    /// Answers a request; never fails and never panics.
    ///
    /// Dropping the future, or the answer's body, ends the call and what runs upstream for it.
    pub async fn handle(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let live = self.live.load_full();
        self.guarded(peer, request, async |request, trace, record| {
            let visit = Visit {
                live: &live,
                peer,
                trace,
                record,
            };
            self.run(request, visit).await
        })
        .await
    }

    /// Answers a request with `draining`.
    pub async fn refuse(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        self.guarded(peer, request, async |_, _, _| Err(Rejection::draining()))
            .await
    }

    /// Forgets what no call needs any more. To be called now and then, for memory's sake only.
    pub fn tidy(&self) {
        self.limits.forget_idle();
    }

    /// Closes connections to upstreams that no call will use. To be called every second or so.
    pub fn hang_up(&self) {
        self.live.load().upstreams.tidy();
    }

    /// Runs `answer` between the first and the last word on a call: its ids, its record, and what becomes of a no.
    async fn guarded<B, F>(&self, peer: Peer, mut request: Request<B>, answer: F) -> Response<Body>
    where
        F: AsyncFnOnce(Request<B>, &Trace, &mut Record) -> Result<Response<Body>, Rejection>,
    {
        let trace = Trace::take(request.headers_mut(), &*self.clock);
        let family = Family::of_path(request.uri().path());
        let mut record = Record::begin(
            &self.metrics,
            peer,
            trace.request_id.clone(),
            request.method().clone(),
        );
        // Boxed: every layer around it would copy all of it once more.
        let answering = Box::pin(answer(request, &trace, &mut record));
        let answered = AssertUnwindSafe(answering).catch_unwind().await;
        let answered = answered.unwrap_or_else(|_| Err(Rejection::internal("a call panicked")));
        let mut response = answered.unwrap_or_else(|rejection| rejected(rejection, family, &mut record));
        trace.set(response.headers_mut());
        response
    }

    async fn run(
        &self,
        request: Request<Incoming>,
        mut visit: Visit<'_>,
    ) -> Result<Response<Body>, Rejection> {
        let Visit { live, record, .. } = &mut visit;
        let (mut parts, body) = request.into_parts();
        head::check(&parts, &live.settings)?;
        head::name_host(&mut parts);
        let caller = identify::identify(&parts.headers, &self.keys)
            .inspect_err(|rejection| self.metrics.auth_failed(rejection.code().as_str()))?;
        record.identified(&caller);
        let route = Route::of(&parts.method, &parts.uri)?;
        record.surface(route.surface());
        admit::route(&caller, &route)?;
        if route.surface().is_own() {
            // Boxed, so that other calls do not carry what it takes.
            let idle = live.settings.body_idle_timeout;
            let answer = Box::pin(self.own(&route, (parts, body), &caller, idle)).await?;
            record.status(answer.status().as_u16());
            record.settle(Outcome::Completed);
            return Ok(answer);
        }
        let looking = caller
            .scope
            .as_ref()
            .filter(|_| route.surface() == Surface::Catalogue);
        if let Some(scope) = looking {
            catalogue::ask_whole(scope, &mut parts.headers);
        }
        let admitting = async {
            let mut call = Call::read(route, parts, body, live.read_limits()).await?;
            if let Some(model) = call.models().first() {
                record.model(model);
            }
            admit::models(&caller, &call, &live.aliases)?;
            call.serve_aliases(&live.aliases);
            if let Some(receiver) = intake::webhook(&call, live)? {
                return Ok(Admission::Waits(call, receiver));
            }
            let model = call.models().first();
            let admitted = admit::limits(&self.limits, &caller, model, &record.label()).await?;
            let reservation = self.paid(&mut call, &caller, live, record).await?;
            Ok::<_, Rejection>(Admission::Goes(Ready {
                call,
                admitted,
                reservation,
            }))
        };
        let admission = own_time::counted(&self.metrics, Stage::Admit, pin!(admitting)).await?;
        match admission {
            Admission::Goes(ready) => self.answer(ready, looking, visit).await,
            // Boxed, so that other calls do not carry what it takes.
            Admission::Waits(call, receiver) => Box::pin(self.take_in(call, receiver, &caller, visit)).await,
        }
    }

    /// Sets money aside for a call that was let in; what is no work for a model costs nothing.
    async fn paid(
        &self,
        call: &mut Call,
        caller: &Caller,
        live: &Live,
        record: &Record,
    ) -> Result<Option<Reservation<Unsent>>, Rejection> {
        let surface = call.route().surface();
        let Some(request_id) = record.id().filter(|_| surface.is_inference()) else {
            return Ok(None);
        };
        let upstream = live.upstreams.serving(call.models());
        let route = spend::Route {
            payer: budget::payer(caller),
            surface: surface.as_str(),
            upstream: upstream.name(),
            label: &record.label(),
            request_id,
        };
        budget::reserve(&self.spend, route, call).await.map(Some)
    }

    /// Answers what the gate itself knows.
    async fn own(
        &self,
        route: &Route,
        (parts, body): (Parts, Incoming),
        caller: &Caller,
        idle: Duration,
    ) -> Result<Response<Body>, Rejection> {
        if route.surface() == Surface::RateLimit {
            return Ok(rate_limit::answer(caller, &self.limits));
        }
        if route.surface() == Surface::Jobs {
            return jobs::answer(route, caller, &self.backlog).await;
        }
        let asking = scoped_jwt::Asking {
            caller,
            keys: &self.keys,
            spend: &self.spend,
            metrics: &self.metrics,
        };
        scoped_jwt::answer(&parts.method, &parts.uri, body, idle, asking).await
    }

    /// Sends a call that was let in, and hands its answer to the meter; a catalogue as the token `looking` at it sees it.
    async fn answer(
        &self,
        ready: Ready,
        looking: Option<&Scope>,
        visit: Visit<'_>,
    ) -> Result<Response<Body>, Rejection> {
        let Visit {
            live,
            peer,
            trace,
            record,
        } = visit;
        let Ready {
            mut call,
            admitted,
            reservation,
        } = ready;
        record.admitted(admitted);
        let upstream = live.upstreams.serving(call.models());
        record.upstream(upstream.name());
        let capped = reservation.as_ref().is_some_and(Reservation::is_capped);
        let asked = call.ask_for_usage(upstream.usage_by_default(), capped && upstream.continuous_usage());
        record.sent_upstream(reservation);
        let sending = pin!(forward::send(upstream, call, peer, trace));
        let mut answer = own_time::counted(&self.metrics, Stage::ForwardHead, sending).await?;
        record.status(answer.status().as_u16());
        if let Some(fields) = record.rate_limit() {
            fields.set(answer.headers_mut());
        }
        record.budget().set(answer.headers_mut());
        let idle = upstream.idle_timeout();
        if let Some(scope) = looking {
            // Boxed, so that other calls do not carry what it takes.
            let seen = Box::pin(catalogue::seen_by(scope, answer, idle)).await?;
            return Ok(meter::watched(seen, asked, idle, (record.take(), &self.leavers)));
        }
        Ok(meter::watched(
            answer,
            asked,
            idle,
            (record.take(), &self.leavers),
        ))
    }
}

/// What becomes of a call that its caller may make.
enum Admission {
    Goes(Ready),
    /// Its answer is for a receiver.
    Waits(Box<Call>, Receiver),
}

/// A call that may go, and what it holds.
#[derive(Debug)]
struct Ready {
    call: Box<Call>,
    admitted: Option<Admitted>,
    reservation: Option<Reservation<Unsent>>,
}

/// A request on its way through the gate, and what goes with it.
struct Visit<'a> {
    live: &'a Live,
    peer: Peer,
    trace: &'a Trace,
    record: &'a mut Record,
}

/// The last word on a call that the gate refused.
fn rejected(rejection: Rejection, family: Family, record: &mut Record) -> Response<Body> {
    let code = rejection.code();
    if let Some(detail) = rejection.detail() {
        tracing::warn!(request_id = record.request_id(), code = code.as_str(), detail = %chain(&**detail), "a call failed");
    }
    let (rate_limit, budget) = (record.rate_limit(), record.budget());
    record.rejected(code);
    record.settle(code.outcome());
    let mut response = rejection.into_response(family);
    if let Some(fields) = rate_limit {
        fields.set(response.headers_mut());
    }
    budget.set(response.headers_mut());
    response
}

/// An error with all its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
