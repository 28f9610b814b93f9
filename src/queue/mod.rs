//! What waits: calls whose answers go to a webhook.
//!
//! A *job* is a call that was accepted and is answered later. It is `queued` until a worker runs it (`running`), then
//! `delivering` until its receiver has taken the result: `delivered`, or `failed` where the result is that the call
//! failed; or until nobody will try any more: `dead`. Whoever works on a job has it on a *lease*; a lease that was taken
//! over can't change the job any more.

mod backlog;
mod job;
mod receiver;
mod room;
mod round;
mod schedule;
mod store;

pub use backlog::Backlog;
pub use job::{
    Attempt, Content, Death, Job, JobId, JobState, Lane, Lease, MAX_INLINE, NewJob, Once, Part, Phase, Stash,
    View,
};
pub use receiver::{BadReceiver, Blocked, Host, Policy, Receiver};
pub use room::Room;
pub use round::Round;
pub use schedule::{Next, next_delivery, next_run};
pub use store::{
    Again, Census, Claim, Claimed, Claims, Denied, Filter, PutError, PutJob, Queue, QueueError, Ran, Secrets,
    Settled, StateCount, Task, Waiting,
};
