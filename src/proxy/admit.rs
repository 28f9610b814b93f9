//! May this call go? Nothing goes upstream that was not let in here.

use super::reject::Rejection;
use crate::dialect::{Call, Route, Surface};
use crate::token::Caller;

/// The header that asks for a call's answer to be sent elsewhere.
const X_TIDEGATE_WEBHOOK: &str = "x-tidegate-webhook";

/// Checks that `caller` may use `route` at all.
///
/// # Errors
/// `unknown_route` for the upstream's account routes, unless the account manages.
pub(super) fn route(caller: &Caller, route: &Route) -> Result<(), Rejection> {
    if route.surface() == Surface::Management && !caller.management {
        return Err(Rejection::unknown_route());
    }
    Ok(())
}

/// Checks that this version can do what `call` asks for.
///
/// # Errors
/// `not_in_this_version` for a call whose answer is to be sent elsewhere.
pub(super) fn call(call: &Call) -> Result<(), Rejection> {
    if call.webhook() || call.headers().contains_key(X_TIDEGATE_WEBHOOK) {
        return Err(Rejection::not_in_this_version("webhooks are"));
    }
    Ok(())
}
