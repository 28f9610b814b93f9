//! What upstreams speak, and no policy: which routes there are, what a call asks for, how its body is read and
//! edited, and what an answer says of its own use.

mod answer;
mod call;
mod catalogue;
mod counts;
mod decode;
mod delimiters;
mod depth;
mod digest;
mod family;
mod find;
mod fold;
mod json;
mod multipart;
mod parameters;
mod path;
mod route;
mod skim;
mod spool;
mod sse;
mod strip;
mod surface;
mod tap;
mod unhurried;
mod usage;

pub use answer::named;
pub use call::{Asked, Call, CallError, IDEMPOTENCY_KEY, ReadLimits};
pub use catalogue::listed;
pub use family::Family;
pub use json::{JsonError, JsonObject};
pub use multipart::{Form, FormError};
pub use route::{Route, RouteError};
pub use strip::Strip;
pub use surface::Surface;
pub use tap::Tap;
