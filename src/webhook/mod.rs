//! A job, from the answer `queued` until its receiver has taken the result.
//!
//! `proxy/` takes calls in that carry a webhook and stores them in the [`queue`](crate::queue). A [`Worker`] claims what
//! is due ([`work`]): a call is made under the same limits as a live one and its result is kept ([`run`]); a result is
//! delivered until its receiver has taken it or the schedule has ended ([`delivery`]). A delivery is one signed request
//! ([`sign`]) to an address that was judged when it was connected to ([`connect`]).
//!
//! What is promised: a job that was answered with `queued` ends delivered or dead, whatever is killed meanwhile. Its call is
//! made once unless a process dies while it runs; its result is kept before the first delivery; a receiver gets it at
//! least once, under one id. No order is promised.

mod connect;
mod deliver;
mod delivery;
mod leases;
mod persist;
mod receivers;
mod result;
mod run;
mod shares;
mod sign;
mod upkeep;
mod work;

pub use connect::{Connector, LookUp, Resolve, SystemResolver};
pub use deliver::{Deliverer, Delivery, Outcome, Verdict};
pub use receivers::{Place, Receivers};
pub use sign::{BadSecret, NoRandomness, SigningSecret, fresh_secret};
pub use work::Worker;
