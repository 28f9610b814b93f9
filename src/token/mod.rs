//! Who may call: API keys and scoped tokens, and the callers that they prove.

mod claims;
mod flaw;
mod jwt;
mod keys;
mod members;
mod mint;
mod signing_key;
mod store;
#[cfg(test)]
mod tests;

pub use claims::Claims;
pub use flaw::{Flaw, Part};
pub use jwt::{Lifetimes, MAX_TOKEN, PREFIX, Scope, Shown, Unverified};
pub use keys::{Caller, KeyRing};
pub use mint::{Mint, MintError};
pub use signing_key::{SigningKey, SigningKeyError};
pub use store::{Change, Kept, KeptAccount, KeptKey, KeptSecret, KeyStore, KeyStoreError, Revoked};
