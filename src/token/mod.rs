//! Who may call: API keys, and the callers that they prove.

mod keys;

pub use keys::{Caller, KeyRing};
