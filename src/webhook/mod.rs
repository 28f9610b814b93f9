//! A job, from the answer `queued` until its receiver has taken the result.

mod connect;
mod deliver;
mod receivers;
mod sign;

pub use connect::{Connector, Resolve, SystemResolver};
pub use deliver::{Deliverer, Delivery, Outcome, Verdict};
pub use receivers::{Busy, Place, Receivers};
pub use sign::{BadSecret, NoRandomness, SigningSecret, fresh_secret};
