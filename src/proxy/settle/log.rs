//! The line of the access log that every call leaves when it has ended. Bodies and credentials never stand in it.

use std::time::Duration;

use super::Entry;
use crate::dialect::Surface;
use crate::metrics::Outcome;
use crate::spend::{Charge, Metered};
use crate::types::{ModelName, Money, TokenId};

/// What is known of a call at its end only.
pub(super) struct Summary {
    pub(super) outcome: Outcome,
    pub(super) status: u16,
    pub(super) took: Duration,
    pub(super) charge: Option<Charge>,
    pub(super) unmetered: bool,
}

impl Entry {
    /// Writes the line.
    pub(super) fn log(&self, of: &Summary) {
        let usage = self.seen.usage;
        let is_known = |charge: &Charge| !matches!(charge.metered, Metered::Held | Metered::Free);
        let charge = of
            .charge
            .as_ref()
            .filter(|charge| is_known(charge) || charge.cost > Money::ZERO);
        let cost = charge
            .map(|charge| charge.cost)
            .or(usage.and_then(|usage| usage.cost));
        tracing::info!(
            target: "tidegate::access",
            request_id = self.request_id.as_str(),
            peer = %self.peer.addr.ip(),
            account = self.caller.as_ref().map(|caller| caller.account.as_str()),
            key = self.caller.as_ref().map(|caller| caller.key.as_str()),
            token = self.token().map(tracing::field::display),
            method = self.method.as_str(),
            surface = self.surface.map(Surface::as_str),
            model = self.model.as_ref().map(ModelName::as_str),
            upstream = self.upstream.as_deref(),
            status = of.status,
            outcome = of.outcome.as_str(),
            code = self.code,
            duration_ms = of.took.as_secs_f64() * 1e3,
            first_byte_ms = self.first_byte.map(|took| took.as_secs_f64() * 1e3),
            sent_bytes = self.sent,
            input_tokens = usage.map(|usage| usage.input),
            output_tokens = usage.map(|usage| usage.output),
            cost = cost.map(tracing::field::display),
            metered = charge.map(|charge| charge.metered.as_str()),
            cost_refused = self.seen.cost_refused.then_some(true),
            unmetered = of.unmetered.then_some(true),
            "call"
        );
    }

    /// The identity of the token that was shown, which is not the token.
    fn token(&self) -> Option<&TokenId> {
        let scope = self.caller.as_ref()?.scope.as_ref()?;
        Some(&scope.id)
    }
}
