//! Reading a request's body: digested as it comes, then JSON or the fields of a form.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::call::Upload;
use super::errors::Failure;
use super::record::{Open, Received};
use super::usage::count;

/// The longest JSON body and the longest text field that are held, in bytes.
const MAX_HELD: usize = 64 * 1024 * 1024;
/// How long a client may be silent within a body.
const IDLE: Duration = Duration::from_secs(120);

/// A body that was understood.
#[derive(Debug, Default)]
pub(super) struct Payload {
    /// The JSON value, or an object of the form's fields; null where there was no body.
    pub(super) fields: Value,
    /// The form's files.
    pub(super) files: Vec<Upload>,
}

/// Reads a body to its end. Gives what it means and a number that follows from its bytes. What came is written down
/// for the call, even where the future is dropped half way.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    open: &Open,
) -> (Result<Payload, Failure>, u128) {
    let (mut tap, came) = Tap::new(body);
    let noted = Noted { open, came };
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let payload = match multer::parse_boundary(content_type) {
        Ok(boundary) => form(&mut tap, boundary).await,
        Err(_) => document(&mut tap).await,
    };
    // The rest of a body that was given up, so that its length and digest are whole.
    while matches!(tokio::time::timeout(IDLE, tap.next()).await, Ok(Some(Ok(_)))) {}
    (payload, noted.came.seed())
}

async fn document(tap: &mut Tap) -> Result<Payload, Failure> {
    let mut whole = BytesMut::new();
    while let Some(data) = next(tap).await? {
        if whole.len().saturating_add(data.len()) > MAX_HELD {
            return Err(Failure::status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        whole.extend_from_slice(&data);
    }
    if whole.is_empty() {
        return Ok(Payload::default());
    }
    let fields = serde_json::from_slice(&whole).map_err(|_| Failure::field("body", "JSON decode error"))?;
    Ok(Payload {
        fields,
        files: Vec::new(),
    })
}

async fn form(tap: &mut Tap, boundary: String) -> Result<Payload, Failure> {
    let broken = |_| Failure::new(StatusCode::BAD_REQUEST, "There was an error parsing the body");
    let mut form = multer::Multipart::new(tap, boundary);
    let (mut fields, mut files) = (Map::new(), Vec::new());
    while let Some(mut part) = form.next_field().await.map_err(broken)? {
        let name = part.name().unwrap_or_default().to_owned();
        if part.file_name().is_none() {
            let text = part.text().await.map_err(broken)?;
            if text.len() > MAX_HELD {
                return Err(Failure::status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            insert(&mut fields, name, field(&text));
            continue;
        }
        let mut length: u64 = 0;
        while let Some(data) = part.chunk().await.map_err(broken)? {
            length = length.saturating_add(count(data.len()));
        }
        files.push(Upload { field: name, length });
    }
    Ok(Payload {
        fields: Value::Object(fields),
        files,
    })
}

/// A form's field: some clients send it as JSON, with quotes, others as plain text.
fn field(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// A field `name[]`, or one that comes again, is a list.
fn insert(fields: &mut Map<String, Value>, name: String, value: Value) {
    let (name, list) = match name.strip_suffix("[]") {
        Some(stem) => (stem.to_owned(), true),
        None => (name, false),
    };
    match fields.get_mut(&name) {
        None if list => drop(fields.insert(name, json!([value]))),
        None => drop(fields.insert(name, value)),
        Some(known) => match known.as_array_mut() {
            Some(items) => items.push(value),
            None => *known = json!([known.take(), value]),
        },
    }
}

async fn next(tap: &mut Tap) -> Result<Option<Bytes>, Failure> {
    let broken = || Failure::new(StatusCode::BAD_REQUEST, "the body broke off");
    let data = tokio::time::timeout(IDLE, tap.next())
        .await
        .map_err(|_| Failure::status(StatusCode::REQUEST_TIMEOUT))?;
    data.transpose().map_err(|_| broken())
}

/// The data of a body as a stream, written down as it passes.
struct Tap {
    body: Incoming,
    broken: bool,
    came: Came,
}

/// Writes down what has passed when it is dropped.
struct Noted<'a> {
    open: &'a Open,
    came: Came,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.open.received(self.came.finish());
    }
}

/// What has passed so far.
#[derive(Clone)]
struct Came(Arc<Mutex<(Received, digest::Context)>>);

impl Tap {
    fn new(body: Incoming) -> (Self, Came) {
        let came = Came(Arc::new(Mutex::new((
            Received::default(),
            digest::Context::new(&SHA256),
        ))));
        let tap = Self {
            body,
            broken: false,
            came: came.clone(),
        };
        (tap, came)
    }
}

impl Came {
    fn with<T>(&self, change: impl FnOnce(&mut Received, &mut digest::Context) -> T) -> T {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (received, context) = &mut *guard;
        change(received, context)
    }

    /// The digest's first 16 bytes.
    fn seed(&self) -> u128 {
        let digest = self.with(|_, context| context.clone().finish());
        let start = digest.as_ref().first_chunk().copied();
        u128::from_be_bytes(start.unwrap_or_default())
    }

    fn finish(&self) -> Received {
        self.with(|received, context| {
            let digest = context.clone().finish();
            received.sha256 = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            std::mem::take(received)
        })
    }
}

impl Stream for Tap {
    type Item = Result<Bytes, hyper::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.broken = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let complete = !self.broken;
                    self.came.with(|received, _| received.complete = complete);
                    return Poll::Ready(None);
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    self.came.with(|received, context| {
                        context.update(&data);
                        received.keep(&data);
                    });
                    return Poll::Ready(Some(Ok(data)));
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().ok();
                    self.came.with(|received, _| received.trailers = trailers);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_with_and_without_quotes_and_lists_grow() {
        let mut fields = Map::new();
        for (name, text) in [
            ("model", "openai/whisper-large-v3"),
            ("language", "\"en\""),
            ("timestamp_granularities[]", "word"),
            ("timestamp_granularities[]", "segment"),
        ] {
            insert(&mut fields, name.to_owned(), field(text));
        }
        assert_eq!(
            Value::Object(fields),
            json!({
                "model": "openai/whisper-large-v3",
                "language": "en",
                "timestamp_granularities": ["word", "segment"],
            })
        );
    }
}
