//! Who may call: API keys and scoped tokens, and the callers that they prove.

mod claims;
mod flaw;
mod jwt;
mod keys;
mod manage;
mod members;
mod mint;
mod request;
mod ring;
mod signing_key;
mod store;
#[cfg(test)]
pub(crate) mod tests;

pub use claims::Claims;
pub use flaw::{Flaw, Part};
pub use jwt::{Lifetimes, MAX_TOKEN, PREFIX, Scope, Shown, Unverified};
pub use keys::{Keys, Refused};
pub use manage::{AccountEdit, AccountEntry, ChangeError, KeyEntry, SECRET_PREFIX};
pub use mint::{Mint, MintError};
pub use request::{FieldError, MintRequest, RequestError};
pub use ring::Caller;
pub use signing_key::{SigningKey, SigningKeyError};
pub use store::{Change, Kept, KeptAccount, KeptKey, KeptSecret, KeyStore, KeyStoreError, Revoked};
