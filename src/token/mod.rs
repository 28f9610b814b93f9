//! Who may call: API keys, and the callers that they prove.

mod keys;
mod store;

pub use keys::{Caller, KeyRing};
pub use store::{Change, Kept, KeptAccount, KeptKey, KeptSecret, KeyStore, KeyStoreError, Revoked};
