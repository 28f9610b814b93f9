//! What upstreams speak, and no policy: which routes there are, what a call asks for, how its body is read and
//! edited, and how an event stream ends.

mod call;
mod counts;
mod decode;
mod delimiters;
mod depth;
mod family;
mod fold;
mod json;
mod multipart;
mod parameters;
mod path;
mod route;
mod skim;
mod spool;
mod sse;
mod tap;
mod unhurried;
mod usage;

pub use call::{Call, CallError, ReadLimits};
pub use family::Family;
pub use json::{JsonError, JsonObject};
pub use multipart::{Form, FormError};
pub use route::{Route, RouteError, Surface};
pub use tap::Tap;
