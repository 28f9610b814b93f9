//! Sound: speech out of text, text out of speech.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};

use super::call::{Call, Content, Reply};
use super::errors::Failure;
use super::model::Pricing;
use super::native::by_time;
use super::usage::{count, tier};

/// What every recording says.
const SAID: &str = "The tide comes in and the gate opens.";
/// Samples a second of what is spoken, 16 bits each, one channel.
const RATE: u32 = 8000;
/// Samples a character: 50 ms.
const SAMPLES: u64 = 400;
/// The longest piece of speech, in samples: ten minutes.
const MAX_SAMPLES: u64 = 600 * 8000;

/// `audio/speech` and `/v1/text-to-speech/{voice}`: the sound alone.
pub(super) fn speech(call: &Arc<Call>) -> Result<Reply, Failure> {
    let text = call.text("input").or_else(|| call.text("text"));
    if text.is_none() && !call.knobs.early {
        return Err(Failure::field("input", "field required"));
    }
    let characters = count(text.unwrap_or_default().chars().count());
    let format = call
        .text("response_format")
        .or_else(|| call.text("output_format"))
        .unwrap_or("wav");
    let (content_type, bytes) = sound(format, characters);
    Ok(Reply {
        content: Content::Bytes(content_type, bytes),
        bill: call.flat(spoken_cost(call, characters)),
        id: call.request_id(),
    })
}

/// Text to speech, native: the sound in a `data:` URL, or alone where a stream is asked for.
pub(super) fn native_speech(call: &Call) -> Reply {
    let characters = count(call.text("text").unwrap_or_default().chars().count());
    let format = call
        .text("output_format")
        .or_else(|| call.text("tts_response_format"))
        .unwrap_or("wav");
    let (content_type, bytes) = sound(format, characters);
    let bill = call.flat(spoken_cost(call, characters));
    if call.stream() {
        return Reply {
            content: Content::Bytes(content_type, bytes),
            bill,
            id: call.request_id(),
        };
    }
    let base64 = if call.knobs.base64_padding {
        STANDARD.encode(bytes)
    } else {
        STANDARD_NO_PAD.encode(bytes)
    };
    let answer = json!({
        "audio": format!("data:{content_type};base64,{base64}"),
        "input_character_length": characters,
        "output_format": format,
        "words": [],
    });
    call.native(answer, bill)
}

/// `audio/transcriptions` and `audio/translations`, in the format that is asked for.
pub(super) fn transcription(call: &Arc<Call>, translated: bool) -> Result<Reply, Failure> {
    let Some(length) = call.file("file").or(call.knobs.early.then_some(0)) else {
        return Err(Failure::field("file", "field required"));
    };
    let millis = duration(length);
    let (start, end) = (stamp(0, '.'), stamp(millis, '.'));
    let text = |content_type, text: String| Content::Bytes(content_type, text.into_bytes());
    let content = match call.text("response_format").unwrap_or("json") {
        "text" => text("text/plain; charset=utf-8", format!("{SAID}\n")),
        "vtt" => text(
            "text/vtt; charset=utf-8",
            format!("WEBVTT\n\n{start} --> {end}\n{SAID}\n\n"),
        ),
        "srt" => {
            let (start, end) = (stamp(0, ','), stamp(millis, ','));
            text(
                "application/x-subrip; charset=utf-8",
                format!("1\n{start} --> {end}\n{SAID}\n\n"),
            )
        }
        "verbose_json" => Content::Json(json!({
            "task": if translated { "translate" } else { "transcribe" },
            "language": call.text("language").unwrap_or("en"),
            "duration": seconds(millis),
            "text": SAID,
            "segments": segments(millis),
            "words": words(millis),
        })),
        _ => Content::Json(json!({ "text": SAID })),
    };
    Ok(Reply {
        content,
        bill: call.flat(heard_cost(call, millis)),
        id: call.request_id(),
    })
}

/// Speech recognition, native.
pub(super) fn native_recognition(call: &Call) -> Reply {
    let millis = duration(call.file("audio").unwrap_or_default());
    let answer = json!({
        "text": SAID,
        "segments": segments(millis),
        "language": call.text("language").unwrap_or("en"),
        "input_length_ms": millis,
        "words": words(millis),
        "duration": seconds(millis),
    });
    call.native(answer, call.flat(heard_cost(call, millis)))
}

/// How long a file sounds, in milliseconds: as if it had 16,000 samples of 16 bits a second, and at least a second.
fn duration(length: u64) -> u64 {
    (length / 32).max(1000)
}

fn seconds(millis: u64) -> Value {
    let text = super::usage::decimal(millis, 3);
    super::usage::bare(&text)
}

fn segments(millis: u64) -> Value {
    json!([{ "id": 0, "start": 0.0, "end": seconds(millis), "text": SAID }])
}

fn words(millis: u64) -> Value {
    let all: Vec<&str> = SAID.split(' ').collect();
    let each = millis.checked_div(count(all.len())).unwrap_or_default();
    all.iter()
        .zip(0_u64..)
        .map(|(word, index)| {
            let start = each.saturating_mul(index);
            json!({ "start": seconds(start), "end": seconds(start.saturating_add(each)), "text": word })
        })
        .collect()
}

/// `00:00:01.500`, with `mark` before the milliseconds.
fn stamp(millis: u64, mark: char) -> String {
    let (whole, rest) = (millis / 1000, millis % 1000);
    format!(
        "{:02}:{:02}:{:02}{mark}{rest:03}",
        whole / 3600,
        whole / 60 % 60,
        whole % 60
    )
}

fn spoken_cost(call: &Call, characters: u64) -> u64 {
    let cost = match call.model.pricing {
        Pricing::InputCharacters(each) => each.saturating_mul(characters),
        Pricing::Time(_) | Pricing::Uptime(_) => return by_time(call),
        Pricing::Tokens(_)
        | Pricing::InputTokens(_)
        | Pricing::InputLength(_)
        | Pricing::ImageUnits(..)
        | Pricing::OutputLength(_)
        | Pricing::FrameUnits(_) => 0,
    };
    tier(cost, call.tier)
}

fn heard_cost(call: &Call, millis: u64) -> u64 {
    let cost = match call.model.pricing {
        Pricing::InputLength(second) => second.saturating_mul(millis) / 1000,
        Pricing::Time(_) | Pricing::Uptime(_) => return by_time(call),
        Pricing::Tokens(_)
        | Pricing::InputTokens(_)
        | Pricing::InputCharacters(_)
        | Pricing::ImageUnits(..)
        | Pricing::OutputLength(_)
        | Pricing::FrameUnits(_) => 0,
    };
    tier(cost, call.tier)
}

/// Silence: a whole WAV or PCM; of the other formats the first bytes by which they are known, and nothing to play.
fn sound(format: &str, characters: u64) -> (&'static str, Vec<u8>) {
    let samples = characters.saturating_mul(SAMPLES).min(MAX_SAMPLES);
    let silence = vec![0; usize::try_from(samples.saturating_mul(2)).unwrap_or_default()];
    match format {
        "pcm" => ("audio/pcm", silence),
        "mp3" => (
            "audio/mpeg",
            [b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\0".as_slice(), &silence].concat(),
        ),
        "opus" => ("audio/opus", [b"OggS".as_slice(), &silence].concat()),
        "flac" => ("audio/flac", [b"fLaC".as_slice(), &silence].concat()),
        _ => ("audio/wav", wav(&silence)),
    }
}

/// A RIFF file of 16-bit samples in one channel.
fn wav(samples: &[u8]) -> Vec<u8> {
    let length = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(samples.len().saturating_add(44));
    file.extend(b"RIFF");
    file.extend(length.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend([1, 0, 1, 0]);
    file.extend(RATE.to_le_bytes());
    file.extend(RATE.saturating_mul(2).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(samples);
    file
}
