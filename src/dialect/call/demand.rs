//! What a call may use at the most, and how its output is bounded where it must be.
//!
//! What is not known is bounded from above: a bound of the output that the surface may not know bounds nothing, names
//! count in any case, and of two values that an upstream may take the greater counts.

use super::{Call, Payload};
use crate::dialect::json::JsonObject;
use crate::dialect::multipart::{Form, Other};
use crate::dialect::surface::Surface;
use crate::types::{Demand, Tier};
use roles::Role;
use walk::Found;

mod pieces;
mod roles;
mod walk;

/// Every name that bounds the output somewhere.
const OUTPUT: [&str; 4] = [
    "max_tokens",
    "max_completion_tokens",
    "max_new_tokens",
    "max_output_tokens",
];

/// The largest bound that is written into a body: the largest integer that every parser reads exactly, 2^53.
const MAX_OUTPUT: u64 = 1 << 53;

/// The header that asks for a service tier where the body does not.
const TIER_HEADER: &str = "x-deepinfra-service-tier";

impl Call {
    /// What the call may use at the most, as far as its own words bound it.
    ///
    /// It walks over the whole body once, from string to string.
    pub fn demand(&self) -> Demand {
        let demand = match &self.payload {
            Payload::Json(object) => self.demand_of_json(object),
            Payload::Form(form) => demand_of_form(form),
            Payload::None | Payload::Opaque(_) => Demand::default(),
        };
        Demand {
            tier: self.tier(),
            ..demand
        }
    }

    /// The same without a walk: of JSON its length and the service tier alone.
    pub fn outline(&self) -> Demand {
        let Payload::Json(object) = &self.payload else {
            return self.demand();
        };
        Demand {
            bytes: length(object.as_bytes().len()),
            tier: self.tier(),
            ..Demand::default()
        }
    }

    /// Whether [`Call::clamp_output`] can bound the output: the surface has a bound, and the body is JSON.
    ///
    /// True of all native calls in JSON, though of those only text generation has one.
    pub fn output_can_be_clamped(&self) -> bool {
        matches!(self.payload, Payload::Json(_)) && !own_bounds(self.route.surface()).is_empty()
    }

    /// Makes one answer have at most `tokens` tokens, and at least 1: lowers every bound in the body that is greater,
    /// 0 or null, and puts the surface's own in front where there is none. Every other byte stays.
    ///
    /// Afterwards [`Call::demand`] has an `output` of at most that. Does nothing where the output can't be clamped.
    pub fn clamp_output(&mut self, tokens: u64) {
        if !self.output_can_be_clamped() {
            return;
        }
        let own = own_bounds(self.route.surface());
        let tokens = tokens.clamp(1, MAX_OUTPUT);
        let Payload::Json(object) = &mut self.payload else {
            return;
        };
        for key in OUTPUT {
            let is_there = object.has(key) || object.has_null(key);
            if is_there && bound(object, key).is_none_or(|bound| bound > tokens) {
                object.set_integer(key, tokens);
            }
        }
        if let Some(first) = own.first()
            && !own.iter().any(|key| object.has(key))
        {
            object.set_integer(first, tokens);
        }
    }

    fn demand_of_json(&self, object: &JsonObject) -> Demand {
        let body = object.as_bytes();
        let surface = self.route.surface();
        let found = Found::of(body, makes_pictures(surface));
        let bounds = OUTPUT.iter().filter_map(|key| bound(object, key));
        let is_bound = own_bounds(surface).iter().any(|key| bound(object, key).is_some());
        let most = |keys: [&'static str; 2]| {
            let numbers = keys
                .into_iter()
                .filter_map(|key| object.integer(key).ok().flatten());
            numbers.max()
        };
        // The best of several is made beside the others, so the greater of the two counts, not their product.
        let choices = most(["n", "best_of"]);
        let pictures = most(["num_responses", "num_images"]).max(found.copies);
        Demand {
            bytes: length(body.len()),
            media: found.media,
            elsewhere: found.elsewhere,
            output: bounds.max().filter(|_| is_bound),
            answers: answers([choices, pictures, Some(found.prompts)]),
            ..measured(&found)
        }
    }

    fn tier(&self) -> Tier {
        let asked = match &self.payload {
            Payload::Json(object) => object.string("service_tier").ok().flatten(),
            Payload::Form(form) => form.value("service_tier").map(Into::into),
            Payload::None | Payload::Opaque(_) => None,
        };
        if let Some(asked) = asked {
            return tier(&asked);
        }
        let tiers = self.headers.get_all(TIER_HEADER).iter();
        let mut tiers = tiers.filter_map(|value| Some(tier(value.to_str().ok()?)));
        // Of several an upstream may take any: the dearest counts.
        let first = tiers.next().unwrap_or_default();
        tiers.fold(first, |one, other| match (one, other) {
            (Tier::Priority, _) | (_, Tier::Priority) => Tier::Priority,
            (Tier::Flex, Tier::Flex) => Tier::Flex,
            _ => Tier::Default,
        })
    }
}

/// The names by which a surface knows the bound of its output, the one that is put in first.
fn own_bounds(surface: Surface) -> &'static [&'static str] {
    match surface {
        Surface::ChatCompletions => &["max_tokens", "max_completion_tokens"],
        Surface::Completions | Surface::Messages => &["max_tokens"],
        Surface::Responses => &["max_output_tokens"],
        Surface::Native => &["max_new_tokens"],
        Surface::Embeddings
        | Surface::ImagesGenerations
        | Surface::ImagesEdits
        | Surface::ImagesVariations
        | Surface::Speech
        | Surface::Transcriptions
        | Surface::Translations
        | Surface::CountTokens
        | Surface::TextToSpeech
        | Surface::Catalogue
        | Surface::RateLimit
        | Surface::ScopedJwt
        | Surface::Jobs
        | Surface::Management => &[],
    }
}

fn makes_pictures(surface: Surface) -> bool {
    matches!(
        surface,
        Surface::ImagesGenerations | Surface::ImagesEdits | Surface::ImagesVariations | Surface::Native
    )
}

/// What a body bounds the output by; upstreams take 0 for no bound.
fn bound(object: &JsonObject, key: &'static str) -> Option<u64> {
    object.integer(key).ok().flatten().filter(|bound| *bound > 0)
}

fn demand_of_form(form: &Form) -> Demand {
    let mut found = Found::default();
    for other in form.others() {
        let Other::Field(name, value) = other else {
            found.media = found.media.saturating_add(1);
            continue;
        };
        // Some clients give lists under names such as `image[]`.
        let name = name.trim_end_matches("[]").as_bytes();
        let role = Role::within(name, true);
        let is_empty = value.as_ref().is_some_and(String::is_empty);
        match (role, value) {
            (Role::Media | Role::File, _) if !is_empty => found.media = found.media.saturating_add(1),
            (Role::LongMedia | Role::FileIds, _) if !is_empty => {
                found.media = found.media.saturating_add(1);
                found.elsewhere = true;
            }
            (role, Some(value)) => found.measure(role, value.as_bytes()),
            (role, None) => found.at_least(role, Some(u64::MAX)),
        }
    }
    let most = |keys: [&str; 2]| {
        let values = keys.into_iter().filter_map(|key| form.value(key));
        values.filter_map(|value| roles::whole(value.as_bytes())).max()
    };
    let choices = most(["n", "best_of"]);
    let pictures = most(["num_responses", "num_images"]).max(found.copies);
    Demand {
        bytes: form.size(),
        media: found.media,
        elsewhere: found.elsewhere,
        answers: answers([choices, pictures, None]),
        ..measured(&found)
    }
}

fn measured(found: &Found) -> Demand {
    Demand {
        pixels: found.pixels(),
        steps: found.steps,
        frames: found.frames,
        seconds: found.seconds,
        ..Demand::default()
    }
}

fn answers(factors: [Option<u64>; 3]) -> u64 {
    let factors = factors.into_iter().flatten().map(|factor| factor.max(1));
    factors.fold(1, u64::saturating_mul)
}

fn tier(name: &str) -> Tier {
    let is = |known: &str| name.trim_matches(['"', ' ']).eq_ignore_ascii_case(known);
    if is("priority") || is("auto") {
        Tier::Priority
    } else if is("flex") {
        Tier::Flex
    } else {
        Tier::Default
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
