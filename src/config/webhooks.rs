//! `[webhooks]`: how results of jobs are delivered, and to whom.

use std::time::Duration;

use super::format;
use super::network::Network;
use super::reader::Section;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most deliveries at once: each takes a connection, and may hold a result in memory.
const MOST_WORKERS: usize = 4096;

/// The limits on an attempt: long enough for a receiver next door, short enough that a dead one takes no place for hours.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5 * 60));

/// The most gaps of a schedule, and the longest of them: results lie there for all of that time.
const MOST_GAPS: usize = 50;
const LONGEST_GAP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The most jobs of an account that may be let wait; more than a disk carries, so that a slip of the finger shows.
const MOST_QUEUED: usize = 1_000_000_000;

/// The longest time for which a dead result is kept: as long as what is known of its job.
const LONGEST_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `[webhooks]`: how results of jobs are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhooks {
    /// Deliveries at once.
    pub workers: usize,
    /// The longest time of a whole attempt.
    pub timeout: Duration,
    /// The gaps after failed attempts: one attempt more than there are gaps.
    pub schedule: Vec<Duration>,
    /// Whether receivers may be reached without TLS.
    pub allow_http: bool,
    /// Networks that are let through, though addresses there are not public.
    pub allow_networks: Vec<Network>,
    /// The most jobs of one account that wait.
    pub max_queued_per_account: u64,
    /// How long the result of a dead job is kept.
    pub result_retention: Duration,
}

/// The schedule of Standard Webhooks, three days in all; public receivers with TLS.
impl Default for Webhooks {
    fn default() -> Self {
        Self {
            workers: 64,
            timeout: Duration::from_secs(15),
            schedule: vec![
                Duration::from_secs(5),
                Duration::from_secs(5 * 60),
                HOUR / 2,
                2 * HOUR,
                5 * HOUR,
                10 * HOUR,
                14 * HOUR,
                20 * HOUR,
                DAY,
            ],
            allow_http: false,
            allow_networks: Vec::new(),
            max_queued_per_account: 100_000,
            result_retention: DAY,
        }
    }
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Webhooks {
    let or = Webhooks::default();
    let s = &mut section;
    let webhooks = Webhooks {
        workers: s.integer("workers", 1..=MOST_WORKERS).unwrap_or(or.workers),
        timeout: timeout(s).unwrap_or(or.timeout),
        schedule: schedule(s).unwrap_or(or.schedule),
        allow_http: s.boolean("allow_http").unwrap_or(or.allow_http),
        allow_networks: networks(s).unwrap_or(or.allow_networks),
        max_queued_per_account: s
            .integer("max_queued_per_account", 1..=MOST_QUEUED)
            .and_then(|most| u64::try_from(most).ok())
            .unwrap_or(or.max_queued_per_account),
        result_retention: retention(s).unwrap_or(or.result_retention),
    };
    section.finish();
    webhooks
}

fn timeout(section: &mut Section<'_>) -> Option<Duration> {
    let timeout = section.duration("timeout")?;
    let (least, most) = TIMEOUTS;
    if (least..=most).contains(&timeout) {
        return Some(timeout);
    }
    section.mistake("timeout", "expected a time from 10ms to 5m");
    None
}

fn schedule(section: &mut Section<'_>) -> Option<Vec<Duration>> {
    let texts = section.texts("schedule")?;
    if texts.len() > MOST_GAPS {
        section.mistake("schedule", format!("expected at most {MOST_GAPS} gaps"));
    }
    let gap = |(key, text): (String, String)| {
        let gap = format::duration(&text).filter(|gap| *gap <= LONGEST_GAP);
        if gap.is_none() {
            let expected = "expected a duration of at most 7d, such as `5m`";
            section.reading.mistake(key, expected);
        }
        gap
    };
    Some(texts.into_iter().filter_map(gap).collect())
}

fn networks(section: &mut Section<'_>) -> Option<Vec<Network>> {
    let network = |(key, text): (String, String)| {
        let network = Network::parse(&text);
        if network.is_none() {
            let expected = "expected a network, such as `10.0.0.0/8`, with no bit set beyond its length";
            section.reading.mistake(key, expected);
        }
        network
    };
    let texts = section.texts("allow_networks")?;
    Some(texts.into_iter().filter_map(network).collect())
}

fn retention(section: &mut Section<'_>) -> Option<Duration> {
    let retention = section.duration("result_retention")?;
    if retention <= LONGEST_RETENTION {
        return Some(retention);
    }
    section.mistake("result_retention", "expected at most 30d");
    None
}
