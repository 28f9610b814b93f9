//! What an answer says of its own use, in the words of whichever upstream: read out of the values that were skimmed.
//!
//! Of several reports the last counts, never a sum. Whatever can't be read is passed over by itself, and the rest is
//! read all the same.

use super::counts::{Counts, Fields, count, money, seconds};
use super::skim::Name;
use crate::types::{Money, Usage};

/// Everything that was said, each kind of report as it was last.
#[derive(Debug, Default)]
pub(super) struct Reports {
    usage: Option<Vec<u8>>,
    /// An estimated cost at the top.
    estimated: Option<Money>,
    estimate_refused: bool,
    /// Apart, because most answers have none of it.
    others: Option<Box<Others>>,
}

/// What only some upstreams say.
#[derive(Debug, Default)]
struct Others {
    /// What Anthropic's reports come to, field by field, once a stream has begun with one.
    merged: Option<Counts>,
    usage_metadata: Option<Vec<u8>>,
    timings: Option<Vec<u8>>,
    inference_status: Option<Vec<u8>>,
    details: Option<Vec<u8>>,
    meta: Option<Vec<u8>>,
    /// The counts and the duration that stand at the top of native answers.
    top: Counts,
    /// The same, of answers in Ollama's own words.
    evaluated: Counts,
}

impl Reports {
    /// Takes in a value's own bytes. What says nothing changes nothing.
    pub(super) fn take(&mut self, name: Name, raw: &[u8]) {
        let Ok(text) = std::str::from_utf8(raw) else {
            return;
        };
        if name == Name::EstimatedCost {
            return self.estimate(text);
        }
        if name != Name::Usage {
            return self.others.get_or_insert_default().take(name, text);
        }
        match &mut self.others {
            Some(others) if others.merged.is_some() => others.merge(text),
            _ => replace(&mut self.usage, raw),
        }
    }

    /// What it comes to, `None` when nothing was said of tokens, time or cost; and whether a cost was reported that no
    /// cost can be: not a number, negative, or beyond belief.
    pub(super) fn usage(&self) -> (Option<Usage>, bool) {
        let usage = match &self.others {
            Some(others) if others.merged.is_some() => others.merged,
            _ => read(&self.usage, of_usage),
        };
        let usage = usage.unwrap_or_default();
        let mut counts = match &self.others {
            None => usage,
            Some(others) => others.beside(usage),
        };
        counts.cost = counts.cost.or(self.estimated);
        (counts.usage(), self.estimate_refused || counts.cost_refused)
    }

    fn estimate(&mut self, text: &str) {
        match money(text) {
            Ok(cost) => self.estimated = cost.or(self.estimated),
            Err(_) => self.estimate_refused = true,
        }
    }
}

impl Others {
    fn take(&mut self, name: Name, text: &str) {
        match name {
            Name::StartUsage => self.merge(text),
            Name::UsageMetadata => replace(&mut self.usage_metadata, text.as_bytes()),
            Name::Timings => replace(&mut self.timings, text.as_bytes()),
            Name::InferenceStatus => replace(&mut self.inference_status, text.as_bytes()),
            Name::Details => replace(&mut self.details, text.as_bytes()),
            Name::Meta => replace(&mut self.meta, text.as_bytes()),
            Name::NumInputTokens => self.top.input = count(text).or(self.top.input),
            Name::InputTokens => self.top.input = self.top.input.or(count(text)),
            Name::NumTokens => self.top.output = count(text).or(self.top.output),
            Name::OutTokens => self.top.output = self.top.output.or(count(text)),
            Name::Duration => self.top.seconds = seconds(text).or(self.top.seconds),
            Name::PromptEvalCount => self.evaluated.input = count(text).or(self.evaluated.input),
            Name::EvalCount => self.evaluated.output = count(text).or(self.evaluated.output),
            Name::Usage
            | Name::EstimatedCost
            | Name::Type
            | Name::Model
            | Name::Error
            | Name::GeneratedText
            | Name::Done => {}
        }
    }

    /// What counts of all that was said, the `usage` among it.
    fn beside(&self, usage: Counts) -> Counts {
        let status = read(&self.inference_status, of_inference_status).unwrap_or_default();
        let details = read(&self.details, of_details).unwrap_or_default();
        let native = status.filled_from(self.top).filled_from(details);
        let others = [
            read(&self.usage_metadata, of_usage_metadata),
            read(&self.meta, of_meta),
            Some(self.evaluated),
            read(&self.timings, of_timings),
        ];
        let all = [usage, native].into_iter().chain(others.into_iter().flatten());
        let mut counts = all
            .clone()
            .find(Counts::has_tokens)
            .or_else(|| all.clone().find(Counts::says_something))
            .unwrap_or_default();
        counts.seconds = usage.seconds.or(native.seconds);
        counts.cost = status.cost.or(usage.cost);
        counts.cost_refused = status.cost_refused || usage.cost_refused;
        counts
    }

    fn merge(&mut self, text: &str) {
        if let Some(counts) = Fields::read(text, of_usage) {
            self.merged = Some(self.merged.map_or(counts, |before| counts.over(before)));
        }
    }
}

/// Keeps an object that has members, in the room of the one before.
fn replace(kept: &mut Option<Vec<u8>>, raw: &[u8]) {
    if matches!(raw, [b'{', rest @ ..] if rest.trim_ascii_start() != b"}") {
        let kept = kept.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(raw);
    }
}

fn read(raw: &Option<Vec<u8>>, of: fn(&Fields<'_>) -> Counts) -> Option<Counts> {
    Fields::read(std::str::from_utf8(raw.as_deref()?).ok()?, of)
}

/// `usage` of OpenAI's surfaces and of all that resemble them, of Anthropic's, of Cohere's chat.
fn of_usage(usage: &Fields<'_>) -> Counts {
    let detail = |names: [&str; 3], key| {
        let details = names
            .into_iter()
            .find_map(|name| usage.object(name, |details| details.count(key)));
        details.flatten()
    };
    let of_input = |key| {
        detail(
            [
                "prompt_tokens_details",
                "input_tokens_details",
                "input_token_details",
            ],
            key,
        )
    };
    let reasoning = |key| {
        detail(
            [
                "completion_tokens_details",
                "output_tokens_details",
                "output_token_details",
            ],
            key,
        )
    };
    let prompt = usage.count("prompt_tokens");
    let (read, written) = (
        usage.count("cache_read_input_tokens"),
        usage.count("cache_creation_input_tokens"),
    );
    let hit = usage.count("prompt_cache_hit_tokens");
    let missed = usage.count("prompt_cache_miss_tokens");
    let (cost, cost_refused) = usage.first_cost(["estimated_cost", "cost"]);
    let counts = Counts {
        input: prompt
            .or(usage.count("input_tokens"))
            .or(hit.zip(missed).map(|(hit, missed)| hit.saturating_add(missed))),
        output: usage.count("completion_tokens").or(usage.count("output_tokens")),
        total: usage.count("total_tokens"),
        cached: of_input("cached_tokens")
            .or(hit)
            .or(usage.count("cached_tokens"))
            .or(read),
        cache_write: of_input("cache_write_tokens").or(written),
        // Anthropic's prompt is counted without what comes from and goes to the cache; all others' with it.
        beside_read: read.filter(|_| prompt.is_none()),
        beside_written: written.filter(|_| prompt.is_none()),
        reasoning: reasoning("reasoning_tokens").or(usage.count("reasoning_tokens")),
        seconds: usage.seconds("seconds"),
        cost,
        cost_refused,
    };
    if counts.has_tokens() {
        counts
    } else {
        counts.filled_from(of_meta(usage))
    }
}

/// `inference_status` of native answers.
fn of_inference_status(status: &Fields<'_>) -> Counts {
    let (cost, cost_refused) = status.first_cost(["cost", ""]);
    Counts {
        input: status.count("tokens_input"),
        output: status.count("tokens_generated"),
        cost,
        cost_refused,
        ..Counts::default()
    }
}

/// `details` of the last event of native streams, as TGI has them.
fn of_details(details: &Fields<'_>) -> Counts {
    Counts {
        input: details.count("input_length"),
        output: details.count("generated_tokens"),
        ..Counts::default()
    }
}

/// `usageMetadata` of Gemini. Thoughts are counted beside the answer there.
fn of_usage_metadata(usage: &Fields<'_>) -> Counts {
    let thoughts = usage.count("thoughtsTokenCount");
    let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    };
    Counts {
        input: sum(
            usage.count("promptTokenCount"),
            usage.count("toolUsePromptTokenCount"),
        ),
        output: sum(usage.count("candidatesTokenCount"), thoughts),
        total: usage.count("totalTokenCount"),
        cached: usage.count("cachedContentTokenCount"),
        reasoning: thoughts,
        ..Counts::default()
    }
}

/// `meta` of Cohere: what was used, else what is billed.
fn of_meta(meta: &Fields<'_>) -> Counts {
    let of = |name| {
        let read = |tokens: &Fields<'_>| Counts {
            input: tokens.count("input_tokens"),
            output: tokens.count("output_tokens"),
            ..Counts::default()
        };
        meta.object(name, read).filter(Counts::says_something)
    };
    of("tokens").or_else(|| of("billed_units")).unwrap_or_default()
}

/// `timings` of llama.cpp, whose prompt is counted without what was in the cache.
fn of_timings(timings: &Fields<'_>) -> Counts {
    let cached = timings.count("cache_n");
    Counts {
        input: timings.count("prompt_n"),
        output: timings.count("predicted_n"),
        cached,
        beside_read: cached,
        ..Counts::default()
    }
}
