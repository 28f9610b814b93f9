//! The price list that an upstream publishes at `GET /models/list`: an array of models with their prices in cents.
//!
//! The format is DeepInfra's (`pricing.type` says what is paid for, `rate_*` are multipliers of the price of a token).

use std::num::NonZeroU64;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::value::RawValue;

use super::fields::{EntryError, Fields};
use super::price::{Charge, Pictures, Price, Tiers, TokenRates};
use crate::types::{Factor, ModelName, Rate};

/// What a token costs of a call that is served before others, unless the list says otherwise.
pub(super) const PRIORITY: Factor = Factor::from_billionths(1_500_000_000);

/// What a token costs of a call that is served after others, unless the list says otherwise.
const FLEX: Factor = Factor::from_billionths(800_000_000);

/// Reads the list. Models without a price, or with one that this version does not know or can't read, are left out; gives
/// also how many could not be read.
///
/// # Errors
/// It is no JSON array.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<(ModelName, Price)>, usize), serde_json::Error> {
    let models: Vec<&RawValue> = serde_json::from_slice(bytes)?;
    let (mut prices, mut broken) = (Vec::with_capacity(models.len()), 0_usize);
    for model in models {
        match entry(model) {
            Ok(priced) => prices.extend(priced),
            Err(_) => broken = broken.saturating_add(1),
        }
    }
    Ok((prices, broken))
}

fn entry(model: &RawValue) -> Result<Option<(ModelName, Price)>, EntryError> {
    let model = Fields::of(model)?;
    let name = model
        .text("model_name")
        .ok_or(EntryError::Missing("model_name"))?;
    let Some(pricing) = model.raw("pricing") else {
        return Ok(None);
    };
    let pricing = Fields::of(pricing)?;
    let (Ok(name), Some(charge)) = (ModelName::parse(&name), charge(&pricing)?) else {
        return Ok(None);
    };
    // A bound that can't be read is one that is not known.
    let count = |name| model.count(name).ok().flatten();
    let context = count("context_length").max(count("max_tokens"));
    let price = Price::new(charge).bounded(context, count("max_output_tokens"));
    let price = match discount(&pricing) {
        Some((left, until)) => price.discounted(left, until),
        None => price,
    };
    Ok(Some((name, price)))
}

/// What is paid for; `None` where this version does not know the type.
fn charge(pricing: &Fields<'_>) -> Result<Option<Charge>, EntryError> {
    let charge = match pricing.text("type").as_deref() {
        Some("tokens") => tokens(pricing, pricing.needed_cents("cents_per_output_token")?)?,
        Some("input_tokens") => tokens(pricing, Rate::ZERO)?,
        Some("input_length") => Charge::SoundSeconds(pricing.needed_cents("cents_per_input_sec")?),
        Some("input_character_length") => Charge::Characters(pricing.needed_cents("cents_per_input_chars")?),
        Some("image_units") => pictures(pricing)?,
        Some("output_length") => Charge::FilmSeconds(pricing.needed_cents("cents_per_output_sec")?),
        Some("frame_units") => Charge::Frames(pricing.needed_cents("cents_per_frame_unit")?),
        Some("time" | "uptime") => Charge::WorkSeconds(pricing.needed_cents("cents_per_sec")?),
        _ => return Ok(None),
    };
    Ok(Some(charge))
}

fn tokens(pricing: &Fields<'_>, output: Rate) -> Result<Charge, EntryError> {
    let input = pricing.needed_cents("cents_per_input_token")?;
    let times = |name, or| Ok(pricing.factor(name)?.unwrap_or(or));
    let cached = times("rate_per_input_token_cached", Factor::ONE)?;
    let written = times("rate_per_input_token_cache_write", Factor::ONE)?;
    let default = TokenRates {
        input,
        cached: input.times(cached),
        cache_write: input.times(written.max(explicit_write(pricing))),
        output,
    };
    Ok(Charge::Tokens(Tiers {
        default,
        priority: default.times(times("rate_per_service_tier_priority", PRIORITY)?),
        flex: default.times(times("rate_per_service_tier_flex", FLEX)?),
    }))
}

/// The dearest way to have a prompt cached by name, such as for an hour: usage does not tell the ways apart.
fn explicit_write(pricing: &Fields<'_>) -> Factor {
    let ways = pricing.raw("rate_per_explicit_cache_write_token");
    let Some(ways) = ways.and_then(|raw| Fields::of(raw).ok()) else {
        return Factor::from_billionths(0);
    };
    let factors = ways.names().filter_map(|name| ways.factor(name).ok().flatten());
    factors.max().unwrap_or(Factor::from_billionths(0))
}

fn pictures(pricing: &Fields<'_>) -> Result<Charge, EntryError> {
    let unit = match pricing.cents("cents_per_image_unit")? {
        Some(unit) => unit,
        None => pricing.needed_cents("default_price_cents")?,
    };
    let width = pricing.count("default_width")?;
    let height = pricing.count("default_height")?;
    let area = width
        .zip(height)
        .map(|(width, height)| width.saturating_mul(height));
    Ok(Charge::Pictures(Pictures {
        unit,
        pixels: area.and_then(NonZeroU64::new),
        steps: pricing.count("default_iterations")?.and_then(NonZeroU64::new),
    }))
}

/// What a discount leaves, and when it ends. One that can't be read is none: the list price is never too low.
fn discount(pricing: &Fields<'_>) -> Option<(Factor, Option<Duration>)> {
    let reduction = pricing.raw("discount")?;
    let left = Factor::left_by(reduction.get()).filter(|left| *left < Factor::ONE)?;
    let until = match pricing.raw("discount_ends_at") {
        None => None,
        Some(_) => Some(instant(pricing)?),
    };
    Some((left, until))
}

/// Time since the Unix epoch, out of seconds or of a date and time.
fn instant(pricing: &Fields<'_>) -> Option<Duration> {
    const NAME: &str = "discount_ends_at";
    if let Ok(Some(seconds)) = pricing.count(NAME) {
        return Some(Duration::from_secs(seconds));
    }
    let text = pricing.text(NAME)?;
    let text = text.strip_suffix("+00:00").unwrap_or(&text);
    let at = humantime::parse_rfc3339_weak(text).ok()?;
    at.duration_since(UNIX_EPOCH).ok()
}
