//! The id that follows a call through the gate, the upstream and both logs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::{NoContext, Timestamp, Uuid};

use super::JobId;

/// The longest id that is taken over from a client, in bytes.
const MAX_LEN: usize = 128;

/// A call's id: the client's own where it is usable, else a fresh UUIDv7.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Makes a fresh one, a UUIDv7 for the wall time `now` since the Unix epoch.
    pub fn new(now: Duration) -> Self {
        let at = Timestamp::from_unix(NoContext, now.as_secs(), now.subsec_nanos());
        let mut text = Uuid::encode_buffer();
        Self((&*Uuid::new_v7(at).hyphenated().encode_lower(&mut text)).into())
    }

    /// Takes over a client's id: 1 to 128 visible ASCII characters, else `None`.
    pub fn from_client(value: &[u8]) -> Option<Self> {
        let usable = (1..=MAX_LEN).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        if !usable {
            return None;
        }
        std::str::from_utf8(value).ok().map(|text| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The calls that are made for a job have its name.
impl From<&JobId> for RequestId {
    fn from(job: &JobId) -> Self {
        Self(job.as_str().into())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_is_taken_when_it_is_visible_ascii_of_1_to_128_bytes() {
        for good in ["a", "req-1_2.3:4/~!", &"x".repeat(128)] {
            assert_eq!(RequestId::from_client(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\tb", "caf\u{e9}", &"x".repeat(129)] {
            assert!(RequestId::from_client(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn fresh_ids_differ_and_sort_by_time() {
        let (early, late) = (
            RequestId::new(Duration::from_secs(1)),
            RequestId::new(Duration::from_secs(2)),
        );
        assert!(early.as_str() < late.as_str());
        assert_eq!(early.as_str().len(), 36);
    }
}
