//! `[limits]`: how much at once and how fast, and for whom it differs.

use super::reader::Section;
use super::settings::{LimitOverride, Limits};
use crate::types::{AccountId, KeyName, ModelPattern};

/// The highest limit that can be set; more than any machine carries, so that a slip of the finger shows.
const HIGHEST: usize = 1_000_000_000;

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Limits {
    let or = Limits::default();
    let s = &mut section;
    let limits = Limits {
        concurrency_per_model: concurrency(s, "concurrency_per_model").unwrap_or(or.concurrency_per_model),
        max_wait: s.duration("max_wait").unwrap_or(or.max_wait),
        requests_per_minute: requests(s).unwrap_or(or.requests_per_minute),
        tokens_per_minute: tokens(s).unwrap_or(or.tokens_per_minute),
        overrides: s.sections("override").into_iter().map(one_override).collect(),
    };
    section.finish();
    limits
}

fn one_override(mut section: Section<'_>) -> LimitOverride {
    let s = &mut section;
    let read = LimitOverride {
        account: s.parsed("account", "an account id, such as `di:1000000000000`", |text| {
            AccountId::parse(text).ok()
        }),
        key: s.parsed("key", "the name of a key, such as `auto`", |text| {
            KeyName::parse(text).ok()
        }),
        model: s.parsed("model", "a model name, or the beginning of one and `*`", |text| {
            ModelPattern::parse(text).ok()
        }),
        concurrency: concurrency(s, "concurrency"),
        requests_per_minute: requests(s),
        tokens_per_minute: tokens(s),
    };
    let given = |names: &[&str]| names.iter().any(|name| section.was_given(name));
    if !given(&["concurrency", "requests_per_minute", "tokens_per_minute"]) {
        section.mistake(
            "",
            "changes nothing; expected `concurrency`, `requests_per_minute` or `tokens_per_minute`",
        );
    }
    section.finish();
    read
}

fn concurrency(section: &mut Section<'_>, name: &str) -> Option<usize> {
    section.integer(name, 1..=HIGHEST)
}

fn requests(section: &mut Section<'_>) -> Option<u32> {
    section
        .integer("requests_per_minute", 0..=HIGHEST)
        .and_then(|number| u32::try_from(number).ok())
}

fn tokens(section: &mut Section<'_>) -> Option<u64> {
    section
        .integer("tokens_per_minute", 0..=HIGHEST)
        .and_then(|number| u64::try_from(number).ok())
}
