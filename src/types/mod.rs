//! Ground types: names, ids and the clock. No I/O, no async, no HTTP.

mod account;
mod clock;
mod model;
mod peer;
mod request_id;

pub use account::{AccountId, InvalidAccountId, InvalidKeyName, KeyName};
pub use clock::{Clock, ManualClock, SystemClock};
pub use model::{InvalidModelName, ModelName, ModelPattern};
pub use peer::Peer;
pub use request_id::RequestId;
