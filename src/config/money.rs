//! `[budget]` and `[prices]`: how much money, and what calls cost.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::reader::Section;
use crate::types::{AccountId, Factor, KeyName, Money};

/// The longest price table, in bytes: the community's whole one has about 2 MiB.
const MAX_TABLE: u64 = 16 * 1024 * 1024;

/// The shortest time between two readings of an upstream's prices, so that a slip of the finger floods nobody.
const SHORTEST_REFRESH: Duration = Duration::from_secs(1);

/// `[budget]`: how much money calls may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// What is held for a call whose price is not known.
    pub unpriced_hold: Money,
    /// What becomes of such a call.
    pub unpriced: Unpriced,
    /// Whether the output of a call is bounded so that the rest can pay.
    pub clamp_output: bool,
    /// Caps beside the one in a token; all that match must have room.
    pub limits: Vec<BudgetLimit>,
}

/// Five cents are held; output is bounded.
impl Default for Budget {
    fn default() -> Self {
        Self {
            unpriced_hold: Money::from_nanos(50_000_000).unwrap_or_default(),
            unpriced: Unpriced::Hold,
            clamp_output: true,
            limits: Vec::new(),
        }
    }
}

/// What becomes of a capped caller's call whose price is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpriced {
    /// A fixed amount is held for it.
    Hold,
    /// It is refused.
    Deny,
}

/// `[[budget.limit]]`: the most that some calls may cost together. It names an account, a key or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetLimit {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only those with a key of this name.
    pub key: Option<KeyName>,
    /// The most that they may cost, above zero.
    pub usd: Money,
    /// In which time.
    pub window: Window,
}

/// The time in which costs are added up; days and months are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// All of it.
    Total,
    /// A day.
    Day,
    /// A calendar month.
    Month,
}

/// `[prices]`: what calls cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// Where prices come from.
    pub source: PriceSource,
    /// How often they are read there.
    pub refresh: Duration,
    /// A table that wins over the source.
    pub file: Option<PriceFile>,
    /// How many times the table's cost a reported cost may be before it is charged at that bound; at least one.
    pub max_divergence: Factor,
}

/// The upstream's, read each hour; three times.
impl Default for Prices {
    fn default() -> Self {
        Self {
            source: PriceSource::Upstream,
            refresh: Duration::from_secs(60 * 60),
            file: None,
            max_divergence: Factor::from_billionths(3_000_000_000),
        }
    }
}

impl Prices {
    /// How often the upstreams' lists are fetched, if they are.
    pub fn fetched_every(&self) -> Option<Duration> {
        match self.source {
            PriceSource::Upstream => Some(self.refresh),
            PriceSource::None => None,
        }
    }
}

/// Where prices come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceSource {
    /// The list that each upstream publishes.
    Upstream,
    /// Nowhere but the file.
    None,
}

/// A table of prices as it stands in its file.
#[derive(Clone, PartialEq, Eq)]
pub struct PriceFile {
    /// The file.
    pub path: PathBuf,
    /// What stands in it; nothing of it has been checked.
    pub text: Arc<str>,
}

impl fmt::Debug for PriceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PriceFile")
            .field("path", &self.path)
            .field("bytes", &self.text.len())
            .finish()
    }
}

/// Reads `[budget]`.
pub(super) fn budget(mut section: Section<'_>) -> Budget {
    let or = Budget::default();
    let s = &mut section;
    let budget = Budget {
        unpriced_hold: s
            .decimal("unpriced_hold", "USD as a number of at least 0", |text| {
                Money::parse(text).ok()
            })
            .unwrap_or(or.unpriced_hold),
        unpriced: s
            .parsed("unpriced", "one of `hold`, `deny`", unpriced)
            .unwrap_or(or.unpriced),
        clamp_output: s.boolean("clamp_output").unwrap_or(or.clamp_output),
        limits: s.sections("limit").into_iter().filter_map(limit).collect(),
    };
    section.finish();
    budget
}

fn unpriced(text: &str) -> Option<Unpriced> {
    match text {
        "hold" => Some(Unpriced::Hold),
        "deny" => Some(Unpriced::Deny),
        _ => None,
    }
}

fn limit(mut section: Section<'_>) -> Option<BudgetLimit> {
    let s = &mut section;
    let account = s.parsed("account", "an account id, such as `di:1000000000000`", |text| {
        AccountId::parse(text).ok()
    });
    let key = s.parsed("key", "the name of a key, such as `auto`", |text| {
        KeyName::parse(text).ok()
    });
    let usd = s.decimal("usd", "USD as a number above 0", |text| {
        Money::parse_down(text).ok().filter(|usd| *usd > Money::ZERO)
    });
    let window = s.parsed("window", "one of `total`, `day`, `month`", window);
    section.require("usd", "expected USD as a number above 0");
    section.require("window", "expected one of `total`, `day`, `month`");
    if !section.was_given("account") && !section.was_given("key") {
        section.mistake("", "is nobody's; expected `account`, `key` or both");
    }
    section.finish();
    Some(BudgetLimit {
        account,
        key,
        usd: usd?,
        window: window?,
    })
}

fn window(text: &str) -> Option<Window> {
    match text {
        "total" => Some(Window::Total),
        "day" => Some(Window::Day),
        "month" => Some(Window::Month),
        _ => None,
    }
}

/// Reads `[prices]`.
pub(super) fn prices(mut section: Section<'_>) -> Prices {
    let or = Prices::default();
    let s = &mut section;
    let refresh = s.duration("refresh").filter(|refresh| {
        let is_kept = *refresh >= SHORTEST_REFRESH;
        if !is_kept {
            s.mistake("refresh", "expected at least `1s`");
        }
        is_kept
    });
    let prices = Prices {
        source: s
            .parsed("source", "one of `upstream`, `none`", source)
            .unwrap_or(or.source),
        refresh: refresh.unwrap_or(or.refresh),
        file: file(s),
        max_divergence: s
            .decimal("max_divergence", "a number of at least 1", |text| {
                Factor::parse(text).ok().filter(|factor| *factor >= Factor::ONE)
            })
            .unwrap_or(or.max_divergence),
    };
    section.finish();
    prices
}

fn source(text: &str) -> Option<PriceSource> {
    match text {
        "upstream" => Some(PriceSource::Upstream),
        "none" => Some(PriceSource::None),
        _ => None,
    }
}

fn file(section: &mut Section<'_>) -> Option<PriceFile> {
    let path = section.text("file")?;
    let path = section.path(&path);
    let text = section
        .reading
        .read_file(&section.key("file"), &path, MAX_TABLE)?;
    Some(PriceFile {
        path,
        text: text.into(),
    })
}
