//! Token counts, what they cost, and every way to write that down.
//!
//! Costs are whole pico-dollars (10⁻¹² USD) from price to print: no float ever rounds one.

use serde_json::{Value, json};

use super::knobs::{Cost, Knobs, UsageShape};
use super::model::Model;

/// Marks text inside a JSON string that [`print`] puts in bare: a private-use character.
const BARE: char = '\u{e000}';

/// The tokens of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// Tokens of the prompt, the cached ones among them.
    pub(super) prompt: u64,
    /// Tokens of the output that were sent.
    pub(super) completion: u64,
    /// Tokens of the prompt that came from the cache.
    pub(super) cached: u64,
    /// Tokens of the prompt that were written to the cache.
    pub(super) written: u64,
    /// Tokens of reasoning.
    pub(super) reasoning: u64,
}

impl Usage {
    /// The usage of `prompt` and `completion` tokens, in the shape that the knobs ask for.
    pub(super) fn new(prompt: u64, completion: u64, knobs: &Knobs) -> Self {
        let mut usage = Self {
            prompt,
            completion,
            ..Self::default()
        };
        match knobs.usage_shape {
            UsageShape::Cached => usage.cached = prompt / 2,
            UsageShape::CacheWrite => usage.written = prompt / 2,
            UsageShape::Reasoning => usage.reasoning = completion / 2,
            UsageShape::ReasoningBug => usage.reasoning = completion.saturating_mul(2),
            UsageShape::Full | UsageShape::Null | UsageShape::Bare | UsageShape::None => {}
        }
        usage
    }

    /// Tokens of output that are charged.
    pub(super) fn charged(&self, knobs: &Knobs) -> u64 {
        match knobs.usage_shape {
            UsageShape::ReasoningBug => self.completion.saturating_add(self.reasoning),
            UsageShape::Full
            | UsageShape::Null
            | UsageShape::Cached
            | UsageShape::CacheWrite
            | UsageShape::Reasoning
            | UsageShape::Bare
            | UsageShape::None => self.completion,
        }
    }

    /// The OpenAI usage object of chat and plain completions, or `None` where the shape leaves it out.
    pub(super) fn openai(&self, cost: u64, knobs: &Knobs) -> Option<Value> {
        let total = self.prompt.saturating_add(self.charged(knobs));
        let mut usage = json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": total,
        });
        put_cost(&mut usage, "estimated_cost", cost, knobs);
        let details = json!({ "cached_tokens": self.cached, "cache_write_tokens": self.written });
        match knobs.usage_shape {
            UsageShape::None => return None,
            UsageShape::Bare => return Some(usage),
            UsageShape::Null => put(&mut usage, "prompt_tokens_details", Value::Null),
            UsageShape::Full
            | UsageShape::Cached
            | UsageShape::CacheWrite
            | UsageShape::Reasoning
            | UsageShape::ReasoningBug => put(&mut usage, "prompt_tokens_details", details),
        }
        put(
            &mut usage,
            "completion_tokens_details",
            json!({ "reasoning_tokens": self.reasoning }),
        );
        Some(usage)
    }

    /// What the prompt costs, in pico-dollars.
    pub(super) fn prompt_cost(&self, model: &Model, percent: u64) -> u64 {
        let rates = model.rates();
        let plain = self
            .prompt
            .saturating_sub(self.cached)
            .saturating_sub(self.written);
        let weighted = plain
            .saturating_mul(100)
            .saturating_add(self.cached.saturating_mul(rates.cached_percent))
            .saturating_add(self.written.saturating_mul(rates.write_percent));
        tier(weighted.saturating_mul(rates.input) / 100, percent)
    }
}

/// `amount` at a service tier of `percent`.
pub(super) fn tier(amount: u64, percent: u64) -> u64 {
    amount.saturating_mul(percent) / 100
}

/// Puts `cost` (pico-dollars) into an object, in the notation that the knobs ask for.
pub(super) fn put_cost(object: &mut Value, key: &str, cost: u64, knobs: &Knobs) {
    let value = match knobs.cost {
        Cost::Absent => return,
        Cost::Number => bare(&float(cost)),
        Cost::Decimal => bare(&decimal(cost, 12)),
        Cost::Exponent => bare(&exponent(cost, "E")),
        Cost::String => Value::String(decimal(cost, 12)),
        Cost::Object => json!({ "currency": "USD", "total": bare(&decimal(cost, 12)) }),
        Cost::Negative => bare(&format!("-{}", decimal(cost.max(1), 12))),
        Cost::Huge => bare("1e+300"),
        Cost::Nan => json!("NaN"),
        Cost::BareNan => bare("NaN"),
    };
    put(object, key, value);
}

/// Sets a member of a JSON object.
pub(super) fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}

/// A number exactly as written, which [`print`] puts into the JSON without quotes.
pub(super) fn bare(text: &str) -> Value {
    Value::String(format!("{BARE}{text}{BARE}"))
}

/// Prints JSON, over several lines if `pretty`, with every [`bare`] text as it is.
pub(super) fn print(value: &Value, pretty: bool) -> String {
    let text = if pretty {
        format!("{value:#}")
    } else {
        value.to_string()
    };
    if !text.contains(BARE) {
        return text;
    }
    text.replace(&format!("\"{BARE}"), "")
        .replace(&format!("{BARE}\""), "")
}

/// `amount` × 10^-`scale` in plain decimal notation, without trailing zeros.
pub(super) fn decimal(amount: u64, scale: usize) -> String {
    let digits = format!("{amount:0>width$}", width = scale.saturating_add(1));
    let (whole, rest) = digits.split_at(digits.len().saturating_sub(scale));
    match rest.trim_end_matches('0') {
        "" => format!("{whole}.0"),
        rest => format!("{whole}.{rest}"),
    }
}

/// A length as a count.
pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The tokens of a text or of all texts in a piece of JSON: one for every four bytes, begun ones whole. An inlined
/// file counts 256.
pub(super) fn tokens_in(value: &Value) -> u64 {
    if let Some(text) = value.as_str() {
        return if text.starts_with("data:") {
            256
        } else {
            count(text.len()).div_ceil(4)
        };
    }
    if let Some(items) = value.as_array() {
        return items.iter().map(tokens_in).fold(0, u64::saturating_add);
    }
    let members = value.as_object().into_iter().flatten();
    members
        .map(|(_, member)| tokens_in(member))
        .fold(0, u64::saturating_add)
}

/// As Python prints the float of this many pico-dollars.
fn float(cost: u64) -> String {
    if cost == 0 || cost >= 100_000_000 {
        decimal(cost, 12)
    } else {
        exponent(cost, "e")
    }
}

/// `d.ddde-NN`; Python's two digits of exponent with a small `e`, as few as need be with a capital one.
fn exponent(cost: u64, letter: &str) -> String {
    let digits = cost.to_string();
    let (first, rest) = digits.split_at(1);
    let power = count(digits.len()).saturating_sub(1);
    let (sign, size) = if power < 12 {
        ("-", 12_u64.saturating_sub(power))
    } else {
        ("+", power.saturating_sub(12))
    };
    let point = match rest.trim_end_matches('0') {
        "" => String::new(),
        rest => format!(".{rest}"),
    };
    let width = if letter == "e" { 2 } else { 1 };
    format!("{first}{point}{letter}{sign}{size:0width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_written_in_every_notation_without_losing_a_digit() {
        for (word, expected) in [
            ("number", r#"{"cost":2.68e-05}"#),
            ("decimal", r#"{"cost":0.0000268}"#),
            ("exponent", r#"{"cost":2.68E-5}"#),
            ("string", r#"{"cost":"0.0000268"}"#),
            ("object", r#"{"cost":{"currency":"USD","total":0.0000268}}"#),
            ("absent", "{}"),
            ("negative", r#"{"cost":-0.0000268}"#),
            ("huge", r#"{"cost":1e+300}"#),
            ("nan", r#"{"cost":"NaN"}"#),
            ("bare-nan", r#"{"cost":NaN}"#),
        ] {
            let mut knobs = Knobs::default();
            knobs.set("cost", word).unwrap();
            let mut object = json!({});
            put_cost(&mut object, "cost", 26_800_000, &knobs);
            assert_eq!(print(&object, false), expected, "{word}");
        }
    }

    #[test]
    fn plain_decimals_and_floats_are_as_python_prints_them() {
        assert_eq!(
            (decimal(0, 12).as_str(), decimal(1_500_000_000_000, 12).as_str()),
            ("0.0", "1.5")
        );
        assert_eq!(
            (float(0).as_str(), float(1).as_str(), float(100_000_000).as_str()),
            ("0.0", "1e-12", "0.0001")
        );
        assert_eq!(exponent(1_500_000_000_000, "E"), "1.5E+0");
    }

    #[test]
    fn text_counts_one_token_for_four_bytes_wherever_it_stands() {
        assert_eq!(tokens_in(&json!("12345")), 2);
        assert_eq!(
            tokens_in(&json!([{ "content": "1234" }, { "content": ["12", 7] }])),
            2
        );
        assert_eq!(tokens_in(&json!("data:image/png;base64,AAAA")), 256);
    }
}
