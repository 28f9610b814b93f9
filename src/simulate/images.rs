//! Pictures and films: a picture is one pixel, but is priced as large as was asked.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::{Call, Content, Reply};
use super::errors::Failure;
use super::model::Pricing;
use super::native::by_time;
use super::usage::tier;

/// A PNG of one transparent pixel, in base64.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// Seconds of film, and units of it, in every film.
const FILM: u64 = 5;

/// `images/*`: pictures in base64 alone, with neither usage nor cost, as the upstream's.
pub(super) fn openai(call: &Arc<Call>) -> Result<Reply, Failure> {
    let edited = !call.files.is_empty();
    if !edited && !call.knobs.early && call.text("prompt").is_none() {
        return Err(Failure::field("prompt", "field required"));
    }
    let copies = call.copies("n");
    let size = call.text("size").and_then(|size| size.split_once('x'));
    let size = size.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let data: Vec<Value> = (0..copies).map(|_| json!({ "b64_json": PIXEL })).collect();
    Ok(Reply {
        content: Content::Json(json!({ "created": call.created, "data": data })),
        bill: call.flat(price(call, size.unwrap_or((1024, 1024)), copies)),
        id: call.request_id(),
    })
}

/// Text to image, native.
pub(super) fn native(call: &Call) -> Reply {
    let copies = call.copies("num_images");
    let side = |name: &str| call.number(name).unwrap_or(1024);
    let cost = price(call, (side("width"), side("height")), copies);
    let images: Vec<String> = (0..copies)
        .map(|_| format!("data:image/png;base64,{PIXEL}"))
        .collect();
    let safe: Vec<bool> = (0..copies).map(|_| false).collect();
    let answer = json!({
        "images": images,
        "nsfw_content_detected": safe,
        "seed": call.number("seed").unwrap_or(12345),
    });
    call.native(answer, call.flat(cost))
}

/// Text to video, native.
pub(super) fn video(call: &Call) -> Reply {
    let unit = match call.model.pricing {
        Pricing::OutputLength(unit) | Pricing::FrameUnits(unit) => unit,
        Pricing::Tokens(_)
        | Pricing::InputTokens(_)
        | Pricing::InputLength(_)
        | Pricing::InputCharacters(_)
        | Pricing::ImageUnits(..)
        | Pricing::Time(_)
        | Pricing::Uptime(_) => 0,
    };
    let answer = json!({
        "video_url": format!("/model/inference/{}.mp4", call.id("", 22)),
        "seed": "12345",
        "out_tokens": 0,
    });
    call.native(answer, call.flat(tier(unit.saturating_mul(FILM), call.tier)))
}

/// The unit's price × pixels / 1024² × steps / the model's own steps, for each picture.
fn price(call: &Call, (width, height): (u64, u64), copies: u64) -> u64 {
    let (unit, own_steps) = match call.model.pricing {
        Pricing::ImageUnits(unit, steps) => (unit, steps),
        Pricing::Time(_) | Pricing::Uptime(_) => return by_time(call).saturating_mul(copies),
        Pricing::Tokens(_)
        | Pricing::InputTokens(_)
        | Pricing::InputLength(_)
        | Pricing::InputCharacters(_)
        | Pricing::OutputLength(_)
        | Pricing::FrameUnits(_) => return 0,
    };
    let steps = call.number("num_inference_steps").unwrap_or(own_steps);
    let (steps, own_steps) = if own_steps == 0 {
        (1, 1)
    } else {
        (steps, own_steps)
    };
    let wide = |number: u64| u128::from(number);
    let whole = wide(unit)
        .saturating_mul(wide(width).saturating_mul(wide(height)))
        .saturating_mul(wide(steps))
        .saturating_mul(wide(copies));
    let each = whole / wide(own_steps).saturating_mul(1024 * 1024).max(1);
    tier(u64::try_from(each).unwrap_or(u64::MAX), call.tier)
}
