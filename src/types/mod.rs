//! Ground types: names, ids, money and the clock. No I/O, no async, no HTTP.

mod account;
mod call_id;
mod clock;
mod decimal;
mod demand;
mod digest;
mod job_id;
mod model;
mod money;
mod peer;
mod rate;
mod request_id;
mod token_id;
mod usage;

pub use account::{AccountId, InvalidAccountId, InvalidKeyName, KeyName};
pub use call_id::CallId;
pub use clock::{Clock, ManualClock, SystemClock, rfc3339};
pub use demand::{Demand, Tier};
pub use digest::sha256;
pub use job_id::JobId;
pub use model::{InvalidModelName, ModelName, ModelPattern};
pub use money::{Money, MoneyError};
pub use peer::Peer;
pub use rate::{Factor, Rate};
pub use request_id::RequestId;
pub use token_id::{InvalidTokenId, TokenId};
pub use usage::Usage;
