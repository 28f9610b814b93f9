//! What a model is: its task, how it is paid, and how the lists show it.

use serde_json::{Value, json};

use super::usage::decimal;

/// The context length of every model, in tokens.
const CONTEXT: u64 = 131_072;

/// Since when deprecated models are, in Unix seconds.
const DEPRECATION: u64 = 1_750_000_000;

/// What a model does; the words are the upstream's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Chat, completions, messages, responses.
    TextGeneration,
    /// Vectors from texts.
    Embeddings,
    /// Scores of documents for queries.
    Reranker,
    /// Pictures from a text.
    TextToImage,
    /// Text from sound.
    SpeechRecognition,
    /// Sound from text.
    TextToSpeech,
    /// Labels for a picture.
    ImageClassification,
    /// Given labels for a picture.
    ZeroShot,
    /// Things in a picture.
    ObjectDetection,
    /// A label for a text.
    TextClassification,
    /// Labels for words.
    TokenClassification,
    /// Words for a gap.
    FillMask,
    /// An answer out of a text.
    QuestionAnswering,
    /// A film from a text.
    TextToVideo,
    /// A container with inputs and outputs of its own.
    Custom,
}

/// How a model is paid; amounts are pico-dollars (10⁻¹² USD).
#[derive(Debug, Clone, Copy)]
pub(super) enum Pricing {
    /// Per token of input and of output.
    Tokens(Rates),
    /// Per token of input.
    InputTokens(u64),
    /// Per second of sound that goes in.
    InputLength(u64),
    /// Per character of text that goes in.
    InputCharacters(u64),
    /// Per square of 1024 × 1024 pixels, at a number of steps (0: whatever the steps).
    ImageUnits(u64, u64),
    /// Per second of film that comes out.
    OutputLength(u64),
    /// Per unit of film that comes out.
    FrameUnits(u64),
    /// Per second of work.
    Time(u64),
    /// Per second that a machine is there.
    Uptime(u64),
}

/// Prices per token.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    /// Pico-dollars per token of input.
    pub(super) input: u64,
    /// Pico-dollars per token of output.
    pub(super) output: u64,
    /// What a cached token costs, in percent of the input price.
    pub(super) cached_percent: u64,
    /// What a token costs that is written to the cache, in percent of the input price.
    pub(super) write_percent: u64,
}

/// A model.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// `org/name`.
    pub(super) name: String,
    /// What it does.
    pub(super) task: Task,
    /// How it is paid.
    pub(super) pricing: Pricing,
    /// Who answers for it, if it is deprecated.
    pub(super) replaced_by: Option<&'static str>,
}

impl Model {
    /// Its prices per token; zero where it is not paid by the token.
    pub(super) fn rates(&self) -> Rates {
        match self.pricing {
            Pricing::Tokens(rates) => rates,
            Pricing::InputTokens(input) => Rates {
                input,
                cached_percent: 100,
                write_percent: 100,
                ..Rates::default()
            },
            Pricing::InputLength(_)
            | Pricing::InputCharacters(_)
            | Pricing::ImageUnits(..)
            | Pricing::OutputLength(_)
            | Pricing::FrameUnits(_)
            | Pricing::Time(_)
            | Pricing::Uptime(_) => Rates::default(),
        }
    }

    /// The item of `/models/list`.
    pub(super) fn listed(&self) -> Value {
        json!({
            "model_name": self.name,
            "type": self.task.label(),
            "reported_type": self.task.label(),
            "description": format!("A simulated model for {}.", self.task.label()),
            "cover_img_url": null,
            "tags": self.tags(),
            "pricing": self.pricing.listed(),
            "max_tokens": CONTEXT,
            "replaced_by": self.replaced_by,
            "deprecated": self.replaced_by.map(|_| DEPRECATION),
            "quantization": "fp8",
            "mmlu": null,
            "expected": null,
            "private": 0,
        })
    }

    /// The item of the OpenAI list.
    pub(super) fn openai(&self) -> Value {
        let org = self.name.split('/').next().unwrap_or_default();
        json!({
            "id": self.name,
            "object": "model",
            "created": 1_700_000_000,
            "owned_by": org,
            "root": self.name,
            "parent": null,
            "metadata": {
                "description": format!("A simulated model for {}.", self.task.label()),
                "context_length": CONTEXT,
                "max_tokens": CONTEXT,
                "pricing": self.pricing.openai(),
                "discount": null,
                "tags": self.tags(),
            },
        })
    }

    fn tags(&self) -> Vec<&'static str> {
        match self.task {
            Task::TextGeneration => vec!["chat", "tools", "json"],
            Task::Embeddings => vec!["embed"],
            Task::TextToImage => vec!["image-gen"],
            Task::SpeechRecognition => vec!["stt"],
            Task::TextToSpeech => vec!["tts"],
            Task::TextToVideo => vec!["video-gen"],
            Task::Reranker
            | Task::ImageClassification
            | Task::ZeroShot
            | Task::ObjectDetection
            | Task::TextClassification
            | Task::TokenClassification
            | Task::FillMask
            | Task::QuestionAnswering
            | Task::Custom => Vec::new(),
        }
    }
}

impl Task {
    /// The upstream's word.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::TextGeneration => "text-generation",
            Self::Embeddings => "embeddings",
            Self::Reranker => "reranker",
            Self::TextToImage => "text-to-image",
            Self::SpeechRecognition => "automatic-speech-recognition",
            Self::TextToSpeech => "text-to-speech",
            Self::ImageClassification => "image-classification",
            Self::ZeroShot => "zero-shot-image-classification",
            Self::ObjectDetection => "object-detection",
            Self::TextClassification => "text-classification",
            Self::TokenClassification => "token-classification",
            Self::FillMask => "fill-mask",
            Self::QuestionAnswering => "question-answering",
            Self::TextToVideo => "text-to-video",
            Self::Custom => "custom",
        }
    }
}

impl Pricing {
    /// `pricing` in `/models/list`, in cents.
    fn listed(self) -> Value {
        match self {
            Self::Tokens(rates) => json!({
                "type": "tokens",
                "cents_per_input_token": cents(rates.input),
                "cents_per_output_token": cents(rates.output),
                "rate_per_input_token_cached": hundredths(rates.cached_percent),
                "rate_per_input_token_cache_write": hundredths(rates.write_percent),
                "rate_per_service_tier_priority": 1.5,
                "rate_per_service_tier_flex": 0.8,
                "discount": null,
                "discount_ends_at": null,
            }),
            Self::InputTokens(input) => {
                json!({ "type": "input_tokens", "cents_per_input_token": cents(input) })
            }
            Self::InputLength(second) => {
                json!({ "type": "input_length", "cents_per_input_sec": cents(second) })
            }
            Self::InputCharacters(character) => {
                json!({ "type": "input_character_length", "cents_per_input_chars": cents(character) })
            }
            Self::ImageUnits(unit, steps) => json!({
                "type": "image_units",
                "cents_per_image_unit": cents(unit),
                "default_width": 1024,
                "default_height": 1024,
                "default_iterations": steps,
                "default_price_cents": cents(unit),
                "usage_from_cost": false,
            }),
            Self::OutputLength(second) => {
                json!({ "type": "output_length", "cents_per_output_sec": cents(second) })
            }
            Self::FrameUnits(unit) => {
                json!({ "type": "frame_units", "cents_per_frame_unit": cents(unit) })
            }
            Self::Time(second) => json!({ "type": "time", "cents_per_sec": cents(second) }),
            Self::Uptime(second) => json!({ "type": "uptime", "cents_per_sec": cents(second) }),
        }
    }

    /// `metadata.pricing` in the OpenAI list: dollars per million tokens or characters, per second, per unit.
    fn openai(self) -> Value {
        match self {
            Self::Tokens(rates) => json!({
                "input_tokens": number(&decimal(rates.input, 6)),
                "output_tokens": number(&decimal(rates.output, 6)),
                "cache_read_tokens": number(&decimal(rates.input.saturating_mul(rates.cached_percent), 8)),
            }),
            Self::InputTokens(input) => json!({ "input_tokens": number(&decimal(input, 6)) }),
            Self::InputLength(second) => json!({ "input_seconds": number(&decimal(second, 12)) }),
            Self::InputCharacters(character) => {
                json!({ "input_characters": number(&decimal(character, 6)) })
            }
            Self::ImageUnits(unit, _) => json!({ "per_image_unit": number(&decimal(unit, 12)) }),
            Self::OutputLength(second) => json!({ "output_seconds": number(&decimal(second, 12)) }),
            Self::FrameUnits(_) | Self::Time(_) | Self::Uptime(_) => json!({}),
        }
    }
}

/// Cents, out of pico-dollars.
fn cents(pico: u64) -> Value {
    number(&decimal(pico, 10))
}

fn hundredths(percent: u64) -> Value {
    number(&decimal(percent, 2))
}

/// A list's number: printed as the shortest text that reads as the same float.
fn number(text: &str) -> Value {
    text.parse::<f64>().map_or(Value::Null, |number| json!(number))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;

    #[test]
    fn prices_are_in_cents_a_token_and_in_dollars_a_million() {
        let model = catalogue::find("meta-llama/Meta-Llama-3.1-8B-Instruct").unwrap();
        assert_eq!(model.listed()["pricing"]["cents_per_input_token"], 0.000003);
        assert_eq!(model.openai()["metadata"]["pricing"]["input_tokens"], 0.03);
        assert_eq!(model.openai()["metadata"]["pricing"]["cache_read_tokens"], 0.006);
    }
}
