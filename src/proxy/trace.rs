//! The ids that tie a call's logs together: `x-request-id` and `traceparent`.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::types::{Clock, RequestId};

/// The header of the request id.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header of W3C Trace Context, level 1.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The companion of [`TRACEPARENT`]; it means nothing without it.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A call's ids, taken from the client where they are usable, else made.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    pub(super) request_id: RequestId,
    /// The request id as a header; visible ASCII always can be one.
    id: Option<HeaderValue>,
    traceparent: HeaderValue,
}

impl Trace {
    /// Takes the ids out of a request's headers; a `tracestate` whose `traceparent` is not usable is removed.
    pub(super) fn take(headers: &mut HeaderMap, clock: &dyn Clock) -> Self {
        let request_id =
            only(headers, &X_REQUEST_ID).and_then(|value| RequestId::from_client(value.as_bytes()));
        let traceparent = only(headers, &TRACEPARENT)
            .filter(|value| is_traceparent(value.as_bytes()))
            .cloned();
        if traceparent.is_none() {
            headers.remove(TRACESTATE);
        }
        let request_id = request_id.unwrap_or_else(|| RequestId::new(clock.now()));
        Self {
            id: HeaderValue::from_str(request_id.as_str()).ok(),
            request_id,
            traceparent: traceparent.unwrap_or_else(new_traceparent),
        }
    }

    /// Sets both headers, in place of whatever stands there.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        if let Some(id) = &self.id {
            headers.insert(X_REQUEST_ID, id.clone());
        }
        headers.insert(TRACEPARENT, self.traceparent.clone());
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// `version-traceid-parentid-flags` in lower-case hex; neither id may be all zeros, and `ff` is no version.
fn is_traceparent(value: &[u8]) -> bool {
    let parts: Vec<&[u8]> = value.split(|byte| *byte == b'-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else {
        return false;
    };
    let hex = |part: &[u8], len: usize| {
        part.len() == len && part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let nonzero = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    hex(version, 2)
        && *version != b"ff"
        && hex(trace, 32)
        && nonzero(trace)
        && hex(parent, 16)
        && nonzero(parent)
        && hex(flags, 2)
}

/// Random ids; a random UUID is never all zeros, and neither half of it is.
fn new_traceparent() -> HeaderValue {
    let mut trace = Uuid::encode_buffer();
    let mut parent = Uuid::encode_buffer();
    let trace = Uuid::new_v4().simple().encode_lower(&mut trace);
    let parent = Uuid::new_v4().simple().encode_lower(&mut parent);
    let (parent, _) = parent.split_at(16);
    let value = ["00-", trace, "-", parent, "-01"].concat();
    HeaderValue::try_from(value).unwrap_or_else(|_| {
        HeaderValue::from_static("00-00000000000000000000000000000001-0000000000000001-00")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SystemClock;

    #[test]
    fn a_clients_ids_are_kept_when_they_are_sound_and_replaced_when_not() {
        let sound = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (value, kept) in [
            (sound, true),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false),
            ("nonsense", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", value.parse().unwrap());
            headers.insert("tracestate", "a=b".parse().unwrap());
            let trace = Trace::take(&mut headers, &SystemClock);
            assert_eq!(trace.traceparent == value, kept, "{value}");
            assert_eq!(headers.contains_key("tracestate"), kept);
            assert!(is_traceparent(trace.traceparent.as_bytes()));
        }
    }

    #[test]
    fn two_request_ids_are_none() {
        let mut headers = HeaderMap::new();
        headers.append("x-request-id", "one".parse().unwrap());
        assert_eq!(Trace::take(&mut headers, &SystemClock).request_id.as_str(), "one");
        headers.append("x-request-id", "two".parse().unwrap());
        assert_eq!(
            Trace::take(&mut headers, &SystemClock).request_id.as_str().len(),
            36
        );
    }
}
