//! When a failed attempt is followed by the next.

use std::time::Duration;

use time::PrimitiveDateTime;
use time::macros::format_description;

/// How far a wait differs from its gap, as a part of it: what failed together does not come back together.
const JITTER: f64 = 0.2;

/// The first gap between two tries of a call; each further one is twice as long.
const FIRST_RUN_GAP: Duration = Duration::from_secs(1);

/// The longest of these gaps, and the longest time that an upstream can ask for.
const LONGEST_RUN_GAP: Duration = Duration::from_secs(5 * 60);

/// How often a call is tried: 18 minutes in all, which outlasts a restart and most outages that anybody would wait for.
const RUN_ATTEMPTS: u32 = 12;

/// The longest `Retry-After` that is read: longer ones are none.
const MAX_RETRY_AFTER: usize = 64;

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another one.
    At {
        /// How long the schedule waits.
        gap: Duration,
        /// How long to wait now.
        wait: Duration,
    },
    /// None: it was the last.
    Exhausted,
}

/// What follows when `failed` attempts at a delivery, at least one, have failed: the gaps of `schedule` in turn.
///
/// A wait is its gap give or take a fifth, as `random` says (0 to 1); or what `retry_after` asks for, a header's value,
/// within the gap and twice the gap, so that no receiver parks a job. `now` is wall time, for a value that is a date.
pub fn next_delivery(
    schedule: &[Duration],
    failed: u32,
    random: f64,
    retry_after: Option<&str>,
    now: Duration,
) -> Next {
    let gap = usize::try_from(failed.saturating_sub(1))
        .ok()
        .and_then(|past| schedule.get(past));
    let Some(gap) = gap.copied() else {
        return Next::Exhausted;
    };
    let asked = retry_after.and_then(|text| asked_wait(text, now));
    let wait = match asked {
        Some(asked) => asked.clamp(gap, gap.saturating_mul(2)),
        None => jittered(gap, random),
    };
    Next::At { gap, wait }
}

/// What follows when `failed` attempts at a call, at least one, have failed with 429 or 5xx: up to 12 in all, with gaps of
/// 1 s, 2 s, 4 s and so on up to 5 min, give or take a fifth.
///
/// An upstream's `retry_after` is kept to where it asks for more than the gap, up to 5 min: it is the gate's own
/// supplier and knows when its limits have room.
pub fn next_run(failed: u32, random: f64, retry_after: Option<&str>, now: Duration) -> Next {
    if failed >= RUN_ATTEMPTS {
        return Next::Exhausted;
    }
    let factor = 2_u32.saturating_pow(failed.saturating_sub(1));
    let gap = FIRST_RUN_GAP.saturating_mul(factor).min(LONGEST_RUN_GAP);
    let wait = match retry_after.and_then(|text| asked_wait(text, now)) {
        Some(asked) => asked.clamp(gap, LONGEST_RUN_GAP),
        None => jittered(gap, random),
    };
    Next::At { gap, wait }
}

fn jittered(gap: Duration, random: f64) -> Duration {
    let random = if random.is_finite() {
        random.clamp(0.0, 1.0)
    } else {
        0.5
    };
    let factor = (2.0 * random - 1.0).mul_add(JITTER, 1.0);
    Duration::try_from_secs_f64(gap.as_secs_f64() * factor).unwrap_or(gap)
}

/// The wait that a `Retry-After` asks for: whole seconds, or a date in the one form that HTTP still writes; nothing where
/// the date is past, `None` for anything else.
fn asked_wait(text: &str, now: Duration) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() || text.len() > MAX_RETRY_AFTER {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        // More than fits is a wait like any other that is too long.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let form = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = PrimitiveDateTime::parse(text, form).ok()?.assume_utc();
    let date = u64::try_from(date.unix_timestamp()).unwrap_or(0);
    Some(Duration::from_secs(date).saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000); // Tue, 14 Nov 2023 22:13:20 GMT

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn wait(next: Next) -> Duration {
        match next {
            Next::At { wait, .. } => wait,
            Next::Exhausted => panic!("exhausted"),
        }
    }

    #[test]
    fn the_gaps_come_in_turn_and_then_nothing() {
        let schedule = [secs(5), secs(300)];
        let next = |failed| next_delivery(&schedule, failed, 0.5, None, NOW);
        for (failed, gap) in [(0, 5), (1, 5), (2, 300)] {
            let (gap, wait) = (secs(gap), secs(gap));
            assert_eq!(next(failed), Next::At { gap, wait });
        }
        for failed in [3, u32::MAX] {
            assert_eq!(next(failed), Next::Exhausted);
        }
        assert_eq!(next_delivery(&[], 1, 0.5, None, NOW), Next::Exhausted);
    }

    #[test]
    fn a_receivers_wish_counts_within_the_gap_and_twice_the_gap() {
        let wait = |text| wait(next_delivery(&[secs(20)], 1, 0.0, Some(text), NOW));
        let long = "9".repeat(65);
        for (text, seconds) in [
            ("30", 30),
            ("0", 20),
            ("19", 20),
            ("41", 40),
            ("1000000000", 40),
            ("99999999999999999999999", 40),
            (" 30\t", 30),
            ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
            ("Tue, 14 Nov 2023 22:13:00 GMT", 20),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 20),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 40),
            // Not understood: the gap less a fifth.
            ("1e9", 16),
            ("-5", 16),
            ("+30", 16),
            ("3.5", 16),
            ("NaN", 16),
            ("", 16),
            ("30, 30", 16),
            ("tomorrow", 16),
            ("Tue, 14 Nov 2023 22:13:50", 16),
            (&long, 16),
        ] {
            assert_eq!(wait(text), secs(seconds), "{text:?}");
        }
    }

    #[test]
    fn a_call_is_tried_twelve_times_ever_further_apart() {
        let gaps = (1..).map_while(|failed| match next_run(failed, 0.5, None, NOW) {
            Next::At { gap, .. } => Some(gap.as_secs()),
            Next::Exhausted => None,
        });
        assert_eq!(
            gaps.collect::<Vec<_>>(),
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
        );
        assert_eq!(wait(next_run(1, 0.0, Some("30"), NOW)), secs(30));
        assert_eq!(wait(next_run(1, 0.0, Some("3000"), NOW)), secs(300));
        assert_eq!(wait(next_run(9, 0.0, Some("3"), NOW)), secs(256));
    }

    proptest! {
        #[test]
        fn no_wait_is_far_from_its_gap(
            gap in any::<Duration>(),
            random in any::<f64>(),
            header in proptest::option::of("[ -~]{0,40}|[0-9]{1,30}"),
            now in any::<Duration>(),
        ) {
            let next = next_delivery(&[gap], 1, random, header.as_deref(), now);
            let Next::At { gap: said, wait } = next else { panic!("{next:?}") };
            prop_assert_eq!(said, gap);
            let least = gap.mul_f64(0.8 - 1e-9).saturating_sub(Duration::from_nanos(1));
            prop_assert!(wait >= least, "{wait:?}");
            prop_assert!(wait <= gap.saturating_mul(2), "{wait:?}");
        }

        #[test]
        fn no_try_of_a_call_waits_for_longer_than_six_minutes(
            failed in any::<u32>(),
            random in 0.0..1.0,
            header in proptest::option::of("[0-9]{1,30}"),
        ) {
            match next_run(failed, random, header.as_deref(), NOW) {
                Next::At { wait, .. } => prop_assert!(wait <= secs(360) && !wait.is_zero()),
                Next::Exhausted => prop_assert!(failed >= 12),
            }
        }
    }
}
