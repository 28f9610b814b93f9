//! May this call go? Nothing goes upstream that was not let in here.

use std::collections::HashMap;

use super::reject::Rejection;
use crate::dialect::{Call, Route, Surface};
use crate::limit::{Admitted, Asked, LimitError, Limits};
use crate::metrics::ModelLabel;
use crate::token::Caller;
use crate::types::ModelName;

/// The header that asks for a call's answer to be sent elsewhere.
pub(super) const X_TIDEGATE_WEBHOOK: &str = "x-tidegate-webhook";

/// Checks what the head alone decides: whether `caller` may use `route` at all.
///
/// # Errors
/// `route_not_allowed` for a token on a route that is not for tokens; `unknown_route` for the upstream's account routes,
/// unless the account manages.
pub(super) fn route(caller: &Caller, route: &Route) -> Result<(), Rejection> {
    let surface = route.surface();
    if caller.scope.is_some() && matches!(surface, Surface::Management | Surface::ScopedJwt) {
        return Err(Rejection::route_not_allowed());
    }
    if surface == Surface::Management && !caller.management {
        return Err(Rejection::unknown_route());
    }
    Ok(())
}

/// Checks that `caller` may call every model that `call` names, in whatever key. A token must name the model asked for,
/// or the one that an alias makes serve it.
///
/// # Errors
/// `model_not_allowed`.
pub(super) fn models(
    caller: &Caller,
    call: &Call,
    aliases: &HashMap<ModelName, ModelName>,
) -> Result<(), Rejection> {
    let Some(scope) = &caller.scope else { return Ok(()) };
    let allowed = |model: &ModelName| {
        let served = aliases.get(model.base());
        scope.allows(model) || served.is_some_and(|served| scope.allows(served))
    };
    let mut named = call.models().iter().chain(call.models_besides());
    match named.find(|model| !allowed(model)) {
        Some(foreign) => Err(Rejection::model_not_allowed(foreign)),
        None => Ok(()),
    }
}

/// Lets a call in under the limits of its model, the first where it names several, or says why not. A call that names
/// no model has no limit.
///
/// Waits for a slot if the settings say so; dropping the future gives everything back.
///
/// # Errors
/// `rate_limited`, `too_many_requests` or `too_many_tokens`.
pub(super) async fn limits(
    limits: &Limits,
    caller: &Caller,
    model: Option<&ModelName>,
    label: &ModelLabel,
) -> Result<Option<Admitted>, Rejection> {
    let Some(model) = model else { return Ok(None) };
    Ok(Some(limits.admit(asked(caller, model), label).await?))
}

/// The same for a call that has waited in the queue: as long as it finds no slot its attempts do not count.
///
/// # Errors
/// Those of [`limits`].
pub(super) async fn waiting(
    limits: &Limits,
    caller: &Caller,
    model: Option<&ModelName>,
    label: &ModelLabel,
) -> Result<Option<Admitted>, Rejection> {
    let Some(model) = model else { return Ok(None) };
    Ok(Some(limits.admit_waiting(asked(caller, model), label).await?))
}

fn asked<'a>(caller: &'a Caller, model: &'a ModelName) -> Asked<'a> {
    Asked {
        account: &caller.account,
        key: &caller.key,
        model,
    }
}

impl From<LimitError> for Rejection {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::Concurrency {
                limit,
                waited,
                queue_full,
            } => {
                let ended = match (queue_full, waited.as_millis()) {
                    (true, _) => "and too many calls wait already".to_owned(),
                    (false, 0) => "none is free".to_owned(),
                    (false, waited) => format!("none came free in {waited} ms of waiting"),
                };
                Self::rate_limited(format!(
                    "Rate limited: {limit} calls at once are allowed for this account and model, all are in flight, \
                     {ended}; try again when one has ended"
                ))
            }
            LimitError::Requests { limit, wait } => Self::too_many_requests(
                format!(
                    "Rate limited: {limit} requests a minute are allowed for this account and model, none is left; \
                     try again in {} s",
                    seconds(wait)
                ),
                seconds(wait),
            ),
            LimitError::Tokens { limit, used, wait } => Self::too_many_tokens(
                format!(
                    "Rate limited: {limit} tokens a minute are allowed for this account and model, {used} were used in \
                     the last 60 s; try again in {} s",
                    seconds(wait)
                ),
                seconds(wait),
            ),
        }
    }
}

/// Whole seconds, so that waiting for them is waiting long enough.
fn seconds(wait: std::time::Duration) -> u32 {
    let rounded = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
}
