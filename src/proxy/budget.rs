//! What a call may cost: money is set aside for it before it goes, and the client is told what is left.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::reject::Rejection;
use crate::dialect::Call;
use crate::spend::{
    Denial, Held, HoldError, Payer, Reservation, ReserveError, Route, Share, Span, Spend, Spending, Stage,
    Unsent,
};
use crate::token::Caller;
use crate::types::{Demand, ModelName, Money};

/// What the caller's token has left after all holds, in USD.
const X_TIDEGATE_BUDGET_REMAINING: HeaderName = HeaderName::from_static("x-tidegate-budget-remaining");

/// To how many tokens each answer was bounded, because the rest pays for no more.
const X_TIDEGATE_OUTPUT_CLAMPED: HeaderName = HeaderName::from_static("x-tidegate-output-clamped");

/// Sets money aside for a call where a limit holds for its caller, and bounds its output where the rest pays for less.
///
/// Dropping the future gives everything back.
///
/// # Errors
/// `spending_limit_reached`, `budget_held`, `model_unpriced` or `ledger_unavailable`.
pub(super) async fn reserve(
    spend: &Arc<Spend>,
    route: Route<'_>,
    call: &mut Call,
) -> Result<Reservation<Unsent>, Rejection> {
    Ok(spend.reserve(route, call).await?)
}

/// Who pays for a caller's calls.
pub(super) fn payer(caller: &Caller) -> Payer<'_> {
    let scope = caller.scope.as_ref();
    Payer {
        account: &caller.account,
        key: &caller.key,
        token: scope.map(|scope| &scope.id),
        limit: scope.and_then(|scope| scope.spending_limit),
    }
}

impl Spending for Call {
    fn models(&self) -> &[ModelName] {
        self.models()
    }

    fn demand(&self) -> Demand {
        self.demand()
    }

    fn outline(&self) -> Demand {
        self.outline()
    }

    fn output_can_be_clamped(&self) -> bool {
        self.output_can_be_clamped()
    }

    fn clamp_output(&mut self, tokens: u64) {
        self.clamp_output(tokens);
    }
}

/// What a client is told of its budget.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields {
    left: Option<Money>,
    clamped: Option<u64>,
}

impl Fields {
    /// As it was when the call was let in.
    pub(super) fn of<S: Stage>(reservation: &Reservation<S>) -> Self {
        Self {
            left: reservation.left(),
            clamped: reservation.clamped(),
        }
    }

    /// As it is when money is held for a call that waits, if its token has a limit.
    pub(super) fn waiting(held: Option<Held>) -> Self {
        Self {
            left: held.map(|held| held.left),
            clamped: None,
        }
    }

    /// Sets what there is to tell.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        if let Some(left) = self.left
            && let Ok(value) = HeaderValue::try_from(left.to_string())
        {
            headers.insert(X_TIDEGATE_BUDGET_REMAINING, value);
        }
        if let Some(clamped) = self.clamped {
            headers.insert(X_TIDEGATE_OUTPUT_CLAMPED, HeaderValue::from(clamped));
        }
    }
}

impl From<ReserveError> for Rejection {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::Unpriced(model) => Self::model_unpriced(&model),
            ReserveError::Hold(HoldError::Spent(denial)) => Self::spending_limit_reached(format!(
                "{}; the rest does not pay for this call, and trying again can't help",
                told(&denial)
            )),
            ReserveError::Hold(HoldError::Held(denial)) => Self::budget_held(format!(
                "{}; the rest is held by calls in flight, try again when they have ended",
                told(&denial)
            )),
            ReserveError::Hold(HoldError::Ledger(error)) => Self::ledger_unavailable(error),
            ReserveError::Outgrown { .. } => Self::spending_limit_reached(error.to_string()),
            ReserveError::Slow => Self::ledger_unavailable(error),
        }
    }
}

/// A purse without room, in words and numbers.
fn told(denial: &Denial) -> String {
    let Denial {
        purse,
        limit,
        balance,
    } = denial;
    let (whose, span) = match &purse.share {
        Share::Token(_) => ("this token".to_owned(), Span::Total),
        Share::Key(key, span) => (format!("the key `{key}`"), *span),
        Share::Account(span) => ("this account".to_owned(), *span),
    };
    let span = match span {
        Span::Total => "",
        Span::Day(_) => " today (UTC)",
        Span::Month(_) => " this month (UTC)",
    };
    let left = limit.saturating_sub(balance.spent).saturating_sub(balance.held);
    format!(
        "Spending limit: {whose} may spend {limit} USD{span}, {} USD is spent, {} USD is held for calls in flight, \
         {left} USD is left",
        balance.spent, balance.held
    )
}
