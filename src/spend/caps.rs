//! Which purses pay for a call: the one of its token, and the caps of the settings.

use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

use super::ledger::{Purse, Share, Span};
use crate::config::{BudgetLimit, Window};
use crate::types::{AccountId, KeyName, Money, TokenId};

/// Who pays for a call.
#[derive(Debug, Clone, Copy)]
pub struct Payer<'a> {
    /// The account.
    pub account: &'a AccountId,
    /// The key that was shown, or that signed the token.
    pub key: &'a KeyName,
    /// The token that was shown.
    pub token: Option<&'a TokenId>,
    /// What that token may spend.
    pub limit: Option<Money>,
}

/// The purses that pay for a call that begins at `now`, each with its limit; the token's comes first. None for one
/// without any limit.
pub(super) fn purses(payer: Payer<'_>, caps: &[BudgetLimit], now: Duration) -> Vec<(Purse, Money)> {
    let of_account = |share| Purse {
        account: payer.account.clone(),
        share,
    };
    let limit = payer.token.zip(payer.limit);
    let token = limit.map(|(token, limit)| (of_account(Share::Token(token.clone())), limit));
    let holds = |cap: &&BudgetLimit| {
        cap.account
            .as_ref()
            .is_none_or(|account| account == payer.account)
            && cap.key.as_ref().is_none_or(|key| key == payer.key)
    };
    let caps = caps.iter().filter(holds).map(|cap| {
        let span = span(cap.window, now);
        let share = match &cap.key {
            Some(key) => Share::Key(key.clone(), span),
            None => Share::Account(span),
        };
        (of_account(share), cap.usd)
    });
    token.into_iter().chain(caps).collect()
}

/// The span of a window that `now` lies in.
fn span(window: Window, now: Duration) -> Span {
    match window {
        Window::Total => Span::Total,
        Window::Day => Span::Day(start(now, |day| day)),
        Window::Month => Span::Month(start(now, |day| day.replace_day(1).unwrap_or(day))),
    }
}

/// The midnight with which the day begins that `first` makes of today.
fn start(now: Duration, first: impl Fn(OffsetDateTime) -> OffsetDateTime) -> Duration {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let today = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let midnight = first(today)
        .to_offset(UtcOffset::UTC)
        .replace_time(time::Time::MIDNIGHT);
    Duration::from_secs(u64::try_from(midnight.unix_timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_begins_at_midnight_utc() {
        // 2024-02-29T23:59:59Z and the second after it.
        let (last, next) = (
            Duration::from_millis(1_709_251_199_999),
            Duration::from_secs(1_709_251_200),
        );
        let day = |at: u64| Span::Day(Duration::from_secs(at));
        let month = |at: u64| Span::Month(Duration::from_secs(at));
        assert_eq!(span(Window::Day, last), day(1_709_164_800));
        assert_eq!(span(Window::Day, next), day(1_709_251_200));
        assert_eq!(span(Window::Month, last), month(1_706_745_600));
        assert_eq!(span(Window::Month, next), month(1_709_251_200));
        assert_eq!(span(Window::Total, next), Span::Total);
        assert_eq!(span(Window::Day, Duration::ZERO), day(0));
    }
}
