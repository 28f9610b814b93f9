//! The gate's own name of one call: unlike a request id no client can choose it.

use std::fmt;
use std::time::Duration;

use uuid::{NoContext, Timestamp, Uuid};

/// Names one call, one hold and one usage row: a UUIDv7, so that those of later calls are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(Uuid);

impl CallId {
    /// Makes a fresh one for the wall time `now` since the Unix epoch.
    pub fn new(now: Duration) -> Self {
        let at = Timestamp::from_unix(NoContext, now.as_secs(), now.subsec_nanos());
        Self(Uuid::new_v7(at))
    }

    /// Takes one back out of its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its bytes, which sort as the ids do.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
