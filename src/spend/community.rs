//! The community's `model_prices_and_context_window.json`: one object, a member for each model, prices in dollars.
//!
//! A name may begin with its provider (`deepinfra/org/model`) and then stands for `org/model` as well.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use serde_json::value::RawValue;

use super::fields::{EntryError, Fields};
use super::listed::PRIORITY;
use super::price::{Charge, Pictures, Price, Tiers, TokenRates};
use crate::types::{Factor, ModelName, Rate};

/// The member that shows the format and is no model.
const SAMPLE: &str = "sample_spec";

/// Whose entry counts where several providers have the same model.
const FIRST_PROVIDER: &str = "deepinfra";

/// How well an entry names a model: less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Distance {
    versioned: bool,
    provider: Option<bool>,
}

/// Why a table can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is no JSON object.
    #[error("the price table is no JSON object")]
    Json(#[from] serde_json::Error),
    /// An entry is wrong.
    #[error("the entry `{model}` of the price table")]
    Entry {
        /// Its name.
        model: String,
        /// What is wrong with it.
        #[source]
        source: EntryError,
    },
}

/// Reads a table: the price of each model by its name without version. Entries of whose prices none is known are left out.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<(ModelName, Price)>, Vec<TableError>> {
    let entries: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|error| vec![error.into()])?;
    let mut best: BTreeMap<ModelName, (Distance, Price)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (model, raw) in entries.into_iter().filter(|(model, _)| model != SAMPLE) {
        let read = Fields::of(raw).and_then(|fields| Ok((price(&fields)?, fields)));
        let (price, fields) = match read {
            Ok((Some(price), fields)) => (price, fields),
            Ok((None, _)) => continue,
            Err(source) => {
                wrong.push(TableError::Entry { model, source });
                continue;
            }
        };
        for (name, distance) in names(&model, &fields) {
            let is_better = |(other, _): &(Distance, Price)| distance < *other;
            if best.get(&name).is_none_or(is_better) {
                best.insert(name, (distance, price.clone()));
            }
        }
    }
    if wrong.is_empty() {
        Ok(best.into_iter().map(|(name, (_, price))| (name, price)).collect())
    } else {
        Err(wrong)
    }
}

/// The models that an entry stands for. What no caller can ask for is none.
fn names(model: &str, fields: &Fields<'_>) -> Vec<(ModelName, Distance)> {
    let provider = fields.text("litellm_provider").unwrap_or_default();
    let prefixes = [provider.as_str(), FIRST_PROVIDER];
    let rest = prefixes
        .into_iter()
        .find_map(|prefix| Some((prefix, model.strip_prefix(prefix)?.strip_prefix('/')?)));
    let whole = (model, None);
    let rest = rest.map(|(prefix, rest)| (rest, Some(prefix != FIRST_PROVIDER)));
    let all = std::iter::once(whole).chain(rest);
    all.filter_map(|(text, provider)| {
        let name = ModelName::parse(text).ok()?;
        let versioned = name.version().is_some();
        let distance = Distance { versioned, provider };
        Some((name.without_version(), distance))
    })
    .collect()
}

fn price(fields: &Fields<'_>) -> Result<Option<Price>, EntryError> {
    let (input, output) = (
        fields.count("max_input_tokens")?,
        fields.count("max_output_tokens")?,
    );
    let legacy = fields.count("max_tokens")?;
    let context = match input {
        Some(_) => input.max(output),
        None => legacy.max(output),
    };
    let charge = charge(fields)?;
    Ok(charge.map(|charge| Price::new(charge).bounded(context, output)))
}

/// What is paid for, by the mode where several prices are given: the first that is not free.
fn charge(fields: &Fields<'_>) -> Result<Option<Charge>, EntryError> {
    let dearest = |names: &[&str]| dearest_of(fields, names);
    let tokens = tokens(fields)?;
    let picture = dearest(&["output_cost_per_image", "input_cost_per_image"])?.map(flat);
    let pixel = dearest(&["output_cost_per_pixel", "input_cost_per_pixel"])?.map(by_pixel);
    let seconds = dearest(&["input_cost_per_second", "output_cost_per_second"])?;
    let film = dearest(&["output_cost_per_second", "output_cost_per_video_per_second"])?;
    let film = film.map(Charge::FilmSeconds);
    let characters = dearest(&["input_cost_per_character", "output_cost_per_character"])?;
    let characters = characters.map(Charge::Characters);
    let candidates = match fields.text("mode").as_deref() {
        Some("image_generation" | "image_edit") => vec![picture, pixel, tokens],
        Some("audio_transcription") => vec![seconds.map(Charge::SoundSeconds), tokens],
        Some("audio_speech") => vec![characters, tokens],
        Some("video_generation") => vec![film, tokens],
        _ => vec![
            tokens,
            characters,
            seconds.map(Charge::WorkSeconds),
            picture,
            pixel,
        ],
    };
    let paid = candidates.iter().flatten().find(|charge| !charge.is_free());
    let free = || candidates.iter().flatten().find(|_| !has_other_cost(fields));
    Ok(paid.or_else(free).copied())
}

/// Whether anything at all costs something: then what is known to be free is not all there is to pay.
fn has_other_cost(fields: &Fields<'_>) -> bool {
    let costs = fields.names().filter(|name| name.contains("cost"));
    let mut costs = costs.filter_map(|name| fields.dollars(name).ok().flatten());
    costs.any(|cost| cost > Rate::ZERO)
}

fn flat(unit: Rate) -> Charge {
    Charge::Pictures(Pictures {
        unit,
        pixels: None,
        steps: None,
    })
}

fn by_pixel(each: Rate) -> Charge {
    const PIXELS: u64 = 1024 * 1024;
    let unit = each.as_attos().saturating_mul(u128::from(PIXELS));
    Charge::Pictures(Pictures {
        unit: Rate::from_attos(unit),
        pixels: NonZeroU64::new(PIXELS),
        steps: None,
    })
}

fn tokens(fields: &Fields<'_>) -> Result<Option<Charge>, EntryError> {
    let given = |name| fields.raw(name).is_some();
    if !given("input_cost_per_token") && !given("output_cost_per_token") {
        return Ok(None);
    }
    let input = tier_rate(fields, "input_cost_per_token", "")?.unwrap_or_default();
    let plain = TokenRates {
        input,
        cached: input,
        cache_write: input,
        output: Rate::ZERO,
    };
    let mut default = rates(fields, "", plain)?;
    let reasoning = fields.dollars("output_cost_per_reasoning_token")?;
    default.output = default.output.max(reasoning.unwrap_or_default());
    Ok(Some(Charge::Tokens(Tiers {
        default,
        priority: rates(fields, "_priority", default.times(PRIORITY))?,
        // Without a price of its own it is not believed to be cheaper: any caller can ask for it.
        flex: rates(fields, "_flex", default.times(Factor::ONE))?,
    })))
}

/// The prices of the tier whose keys end in `suffix`; where one is missing that of `or` counts.
fn rates(fields: &Fields<'_>, suffix: &str, or: TokenRates) -> Result<TokenRates, EntryError> {
    let rate = |name, or| Ok(tier_rate(fields, name, suffix)?.unwrap_or(or));
    Ok(TokenRates {
        input: rate("input_cost_per_token", or.input)?,
        cached: rate("cache_read_input_token_cost", or.cached)?,
        cache_write: rate("cache_creation_input_token_cost", or.cache_write)?,
        output: rate("output_cost_per_token", or.output)?,
    })
}

/// A tier's price and those of long prompts and long-kept caches (`…_above_200k_tokens`), the dearest of them: usage
/// does not tell them apart.
fn tier_rate(fields: &Fields<'_>, name: &str, suffix: &str) -> Result<Option<Rate>, EntryError> {
    const TIERS: [&str; 3] = ["_priority", "_flex", "_batches"];
    let above = |key: &str| {
        let rest = key
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix("_above_"));
        let of_tier = match suffix {
            "" => !TIERS.iter().any(|tier| key.ends_with(tier)),
            suffix => key.ends_with(suffix),
        };
        rest.is_some() && of_tier
    };
    let plain = format!("{name}{suffix}");
    let keys: Vec<&str> = fields
        .names()
        .filter(|key| **key == plain || above(key))
        .collect();
    dearest_of(fields, &keys)
}

fn dearest_of(fields: &Fields<'_>, names: &[&str]) -> Result<Option<Rate>, EntryError> {
    names.iter().try_fold(None, |dearest: Option<Rate>, name| {
        Ok(dearest.max(fields.dollars(name)?))
    })
}
