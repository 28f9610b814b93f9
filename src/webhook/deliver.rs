//! One attempt to hand a result to its receiver.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout_at};

use super::connect::{ConnectError, Connector, LookUp};
use super::sign::{BadSecret, SigningSecret, signatures};
use crate::config::Webhooks;
use crate::metrics::Metrics;
use crate::queue::{BadReceiver, Blocked, Policy, Receiver, Secrets};
use crate::types::{AccountId, JobId};

/// The longest head of an answer, in bytes, and the most headers in it.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;

/// How much of an answer's body is read, and for how long: its end lets both sides close in peace, and nothing more.
const MAX_READ: usize = 64 * 1024;
const READ_TIME: Duration = Duration::from_secs(2);

/// The longest text about a failure, in bytes.
const MAX_ERROR: usize = 1024;

/// The longest `Retry-After` that is looked at.
const MAX_RETRY_AFTER: usize = 64;

const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// Hands results to receivers.
#[derive(Debug)]
pub struct Deliverer {
    connector: Connector,
    terms: ArcSwap<Terms>,
    metrics: Arc<Metrics>,
}

/// What the settings say of an attempt.
#[derive(Debug)]
struct Terms {
    policy: Policy,
    timeout: Duration,
}

impl From<&Webhooks> for Terms {
    fn from(settings: &Webhooks) -> Self {
        Self {
            policy: Policy::from(settings),
            timeout: settings.timeout,
        }
    }
}

/// What is delivered, and to whom.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Whose job it is.
    pub account: &'a AccountId,
    /// The job; its name is that of the delivery, at every attempt.
    pub id: &'a JobId,
    /// When the attempt begins, wall time.
    pub at: Duration,
    /// The receiver's URL.
    pub hook: &'a SecretString,
    /// The secrets that sign.
    pub secrets: &'a Secrets,
    /// The same bytes at every attempt.
    pub body: Bytes,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What follows from it.
    pub verdict: Verdict,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What went wrong, in the gate's words.
    pub error: Option<String>,
    /// The beginning of what the receiver has said to that, in at most 1 KiB without control characters.
    pub said: Option<String>,
    /// What the answer said of when to come again, not yet understood.
    pub retry_after: Option<String>,
    /// Why nothing was sent, if no address was allowed.
    pub blocked: Option<Blocked>,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has the result.
    Delivered,
    /// The receiver wants nothing any more.
    Gone,
    /// The attempt failed: there may be another.
    Failed,
}

impl Outcome {
    /// Whether the receiver answers and is not overloaded, so that further attempts harm nobody.
    pub fn is_well(&self) -> bool {
        self.status.is_some_and(|status| status < 500 && status != 429)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Url(#[from] BadReceiver),
    #[error(transparent)]
    Secret(#[from] BadSecret),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the URL can't stand in a request")]
    Request(#[from] http::Error),
    #[error("the receiver gave no proper answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the receiver gave no answer within {0:?}")]
    TimedOut(Duration),
}

/// The head of an answer, and the beginning of its body.
struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    beginning: Vec<u8>,
}

impl Deliverer {
    /// A deliverer that connects with `connector`.
    pub fn new(settings: &Webhooks, connector: Connector, metrics: Arc<Metrics>) -> Self {
        Self {
            connector,
            terms: ArcSwap::from_pointee(Terms::from(settings)),
            metrics,
        }
    }

    /// Other settings hold for attempts that begin from now on.
    pub fn change(&self, settings: &Webhooks) {
        self.terms.store(Arc::new(Terms::from(settings)));
    }

    /// Makes one attempt, within the time that the settings give it; none where the gate itself has no room for it now.
    /// Dropping the future ends the connection; the receiver may have the result then.
    pub async fn attempt(&self, delivery: Delivery<'_>) -> Option<Outcome> {
        let place = self.connector.look_up(delivery.account).await?;
        let began = Instant::now();
        let terms = self.terms.load_full();
        let deadline = began + terms.timeout;
        let attempt = self.exchange(&delivery, &terms, (place, deadline)).await;
        let outcome = attempt.map_or_else(|failure| failed(&failure), |answer| answered(&answer));
        self.metrics.webhook_attempted(began.elapsed());
        if let Some(blocked) = outcome.blocked {
            self.metrics.webhook_blocked(blocked.as_str());
        }
        Some(outcome)
    }

    async fn exchange(
        &self,
        delivery: &Delivery<'_>,
        terms: &Terms,
        (place, deadline): (LookUp, Instant),
    ) -> Result<Answer, Failure> {
        // Judged anew each time: the settings may have changed since the job was taken.
        let receiver = Receiver::parse(delivery.hook.expose_secret(), &terms.policy)?;
        let request = request(&receiver, delivery)?;
        let late = || Failure::TimedOut(terms.timeout);
        let connecting = self.connector.connect(&receiver, &terms.policy, place);
        let stream = timeout_at(deadline, connecting).await.map_err(|_| late())??;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await?;
        let exchange = pin!(async {
            let head = timeout_at(deadline, sender.send_request(request)).await;
            let answer = head.map_err(|_| late())??;
            let retry_after = retry_after(answer.headers());
            Ok(Answer {
                status: answer.status(),
                retry_after,
                beginning: beginning(answer.into_body(), deadline).await,
            })
        });
        // The connection lives as long as this: no task is left to itself.
        match select(exchange, pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, exchange)) => exchange.await,
        }
    }
}

fn request(receiver: &Receiver, delivery: &Delivery<'_>) -> Result<Request<Full<Bytes>>, Failure> {
    let secrets = [Some(&delivery.secrets.first), delivery.secrets.before.as_ref()];
    let secrets = secrets.into_iter().flatten().map(SigningSecret::parse);
    let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
    let timestamp = delivery.at.as_secs();
    let request = Request::builder()
        .method(Method::POST)
        .uri(receiver.target().as_str())
        .header(HOST, receiver.host_header())
        .header(USER_AGENT, AGENT)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .header("webhook-id", delivery.id.as_str())
        .header("webhook-timestamp", timestamp)
        .header(
            "webhook-signature",
            signatures(&secrets, delivery.id, timestamp, &delivery.body),
        );
    Ok(request.body(Full::new(delivery.body.clone()))?)
}

/// The one `Retry-After`, if it is text of a sensible length.
fn retry_after(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(RETRY_AFTER).iter();
    let only = values.next()?;
    let text = only.to_str().ok().filter(|_| values.next().is_none())?;
    (text.len() <= MAX_RETRY_AFTER).then(|| text.to_owned())
}

/// Reads a body on for a while and gives the first of it.
async fn beginning(mut body: Incoming, deadline: Instant) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut read = 0_usize;
    let deadline = deadline.min(Instant::now() + READ_TIME);
    while read < MAX_READ
        && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
    {
        if let Ok(data) = frame.into_data() {
            read = read.saturating_add(data.len());
            let room = MAX_ERROR.saturating_sub(kept.len());
            kept.extend(data.iter().take(room));
        }
    }
    kept
}

fn answered(answer: &Answer) -> Outcome {
    let verdict = match answer.status {
        status if status.is_success() => Verdict::Delivered,
        StatusCode::GONE => Verdict::Gone,
        _ => Verdict::Failed,
    };
    let status = answer.status.as_u16();
    let failed = verdict != Verdict::Delivered;
    let beginning = String::from_utf8_lossy(&answer.beginning);
    let said = Some(beginning.trim()).filter(|said| failed && !said.is_empty());
    Outcome {
        verdict,
        status: Some(status),
        error: failed.then(|| format!("the receiver answered {status}")),
        said: said.map(printable),
        retry_after: answer.retry_after.clone(),
        blocked: None,
    }
}

fn failed(failure: &Failure) -> Outcome {
    let blocked = match failure {
        Failure::Url(BadReceiver::Blocked(blocked)) | Failure::Connect(ConnectError::Blocked(blocked)) => {
            Some(*blocked)
        }
        Failure::Url(_)
        | Failure::Secret(_)
        | Failure::Connect(_)
        | Failure::Request(_)
        | Failure::Http(_)
        | Failure::TimedOut(_) => None,
    };
    Outcome {
        verdict: Verdict::Failed,
        status: None,
        error: Some(printable(&failure.to_string())),
        said: None,
        retry_after: None,
        blocked,
    }
}

/// The text with whatever can't be seen escaped, cut to what is kept.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        let before = shown.len();
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
        if shown.len() > MAX_ERROR {
            shown.truncate(before);
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_is_shown_without_its_tricks() {
        let shown = printable("a\"b'\\ \u{1b}[31m\r\n\0\u{202e}x\u{e9}\u{fffd}");
        assert_eq!(shown, "a\"b'\\ \\u{1b}[31m\\r\\n\\0\\u{202e}x\u{e9}\u{fffd}");
        for long in ["\u{1}", "\u{e9}", "a", "\u{1f30a}"] {
            let shown = printable(&long.repeat(5000));
            assert!((MAX_ERROR - 6..=MAX_ERROR).contains(&shown.len()), "{long:?}");
        }
    }

    #[test]
    fn only_one_short_retry_after_counts() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(RETRY_AFTER, value.parse().unwrap());
            }
            retry_after(&headers)
        };
        assert_eq!(of(&["30"]).as_deref(), Some("30"));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["30", "30"]), None);
        assert_eq!(of(&["\u{e9}"]), None);
        assert_eq!(of(&["1".repeat(10_000).as_str()]), None);
    }

    #[test]
    fn a_receiver_that_answers_is_well_unless_it_has_too_much_to_do() {
        for (status, well) in [
            (None, false),
            (Some(200), true),
            (Some(404), true),
            (Some(429), false),
            (Some(503), false),
        ] {
            let outcome = Outcome {
                verdict: Verdict::Failed,
                status,
                error: None,
                said: None,
                retry_after: None,
                blocked: None,
            };
            assert_eq!(outcome.is_well(), well, "{status:?}");
        }
    }
}
