//! The one response-body type, its builders, and reading a body with a limit.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};

/// An error of a body, whichever one: it ends the stream and closes the connection or resets the HTTP/2 stream.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every answer: bytes at hand, or a stream. A dropped body drops its stream at once.
pub struct Body(Inner);

enum Inner {
    Full(Full<Bytes>),
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Full(Full::new(bytes.into())))
    }

    /// A stream, boxed once.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Inner::Stream(Box::pin(body.map_err(Into::into))))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Full(_) => "Body::Full",
            Inner::Stream(_) => "Body::Stream",
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Full(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Inner::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Full(full) => full.is_end_stream(),
            Inner::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(full) => full.size_hint(),
            Inner::Stream(stream) => stream.size_hint(),
        }
    }
}

/// An answer with a JSON body.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    with_type(status, "application/json", value.to_string())
}

/// An answer with a plain-text body.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text)
}

/// An answer whose body has the media type `content_type`.
pub fn with_type(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Why a body could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is longer than the limit.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Nothing came for this long.
    #[error("no byte of the body came for {idle:?}")]
    Idle {
        /// The time that was waited for the next piece.
        idle: Duration,
    },
    /// The peer broke off or framed it wrongly.
    #[error("the body broke off")]
    Broken(#[source] BoxError),
}

/// Gives the next piece of data of `body`, or `None` at its end. Trailers are passed over.
///
/// # Errors
/// [`ReadError::Idle`] when no frame came within `idle`, [`ReadError::Broken`] when the body failed.
pub async fn next_data<B>(body: &mut B, idle: Duration) -> Result<Option<Bytes>, ReadError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    loop {
        let frame = tokio::time::timeout(idle, body.frame())
            .await
            .map_err(|_| ReadError::Idle { idle })?;
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|error| ReadError::Broken(error.into()))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// Reads a body whole into memory.
///
/// A length that is declared above `limit` is refused before the first byte is read. Dropping the future drops
/// what was read.
///
/// # Errors
/// [`ReadError::TooLarge`] above `limit` bytes, and those of [`next_data`].
pub async fn read<B>(body: &mut B, limit: u64, idle: Duration) -> Result<Bytes, ReadError>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    if body.size_hint().lower() > limit {
        return Err(ReadError::TooLarge { limit });
    }
    let Some(first) = next_data(body, idle).await? else {
        return Ok(Bytes::new());
    };
    if body.is_end_stream() && within(first.len(), limit) {
        return Ok(first);
    }
    // The length that was declared, if there was one: it is within the limit, and what comes can't be more.
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut whole = BytesMut::with_capacity(first.len().saturating_add(declared));
    whole.extend_from_slice(&first);
    while within(whole.len(), limit) {
        match next_data(body, idle).await? {
            Some(data) => whole.extend_from_slice(&data),
            None => return Ok(whole.freeze()),
        }
    }
    Err(ReadError::TooLarge { limit })
}

fn within(len: usize, limit: u64) -> bool {
    u64::try_from(len).is_ok_and(|len| len <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_not_a_byte_further() {
        let mut exact = Body::full("12345");
        assert_eq!(read(&mut exact, 5, IDLE).await.unwrap(), "12345");
        let mut long = Body::full("123456");
        assert!(matches!(
            read(&mut long, 5, IDLE).await,
            Err(ReadError::TooLarge { limit: 5 })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_ends_after_the_idle_time() {
        let mut silent = Body::stream(http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, BoxError>,
        >()));
        assert!(matches!(
            read(&mut silent, 5, IDLE).await,
            Err(ReadError::Idle { .. })
        ));
    }
}
