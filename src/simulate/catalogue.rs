//! The models that the simulated upstream has.

use super::model::{Model, Pricing, Rates, Task};

const fn tokens(input: u64, output: u64) -> Pricing {
    Pricing::Tokens(Rates {
        input,
        output,
        cached_percent: 20,
        write_percent: 125,
    })
}

/// All models. Prices are of the order of the real ones: 150,000 pico-dollars a token are $0.15 a million.
const MODELS: &[(&str, Task, Pricing)] = &[
    (
        "meta-llama/Meta-Llama-3.1-8B-Instruct",
        Task::TextGeneration,
        tokens(30_000, 50_000),
    ),
    (
        "meta-llama/Meta-Llama-3-8B-Instruct",
        Task::TextGeneration,
        tokens(30_000, 60_000),
    ),
    (
        "meta-llama/Meta-Llama-3-70B-Instruct",
        Task::TextGeneration,
        tokens(300_000, 400_000),
    ),
    (
        "meta-llama/Meta-Llama-3.1-70B-Instruct",
        Task::TextGeneration,
        tokens(230_000, 400_000),
    ),
    (
        "meta-llama/Llama-3.3-70B-Instruct",
        Task::TextGeneration,
        tokens(230_000, 400_000),
    ),
    (
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        Task::TextGeneration,
        tokens(120_000, 300_000),
    ),
    (
        "meta-llama/Llama-3.2-11B-Vision-Instruct",
        Task::TextGeneration,
        tokens(55_000, 55_000),
    ),
    (
        "meta-llama/Llama-2-70b-chat-hf",
        Task::TextGeneration,
        tokens(640_000, 800_000),
    ),
    (
        "meta-llama/Llama-2-7b-chat-hf",
        Task::TextGeneration,
        tokens(70_000, 70_000),
    ),
    (
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        Task::TextGeneration,
        tokens(240_000, 240_000),
    ),
    (
        "mistralai/Mixtral-8x22B-Instruct-v0.1",
        Task::TextGeneration,
        tokens(650_000, 650_000),
    ),
    (
        "Qwen/Qwen2.5-72B-Instruct",
        Task::TextGeneration,
        tokens(130_000, 400_000),
    ),
    (
        "deepseek-ai/DeepSeek-V3",
        Task::TextGeneration,
        tokens(490_000, 890_000),
    ),
    (
        "deepseek-ai/DeepSeek-R1",
        Task::TextGeneration,
        tokens(550_000, 2_190_000),
    ),
    (
        "google/gemma-3-27b-it",
        Task::TextGeneration,
        tokens(100_000, 200_000),
    ),
    (
        "anthropic/claude-4-sonnet",
        Task::TextGeneration,
        tokens(3_300_000, 16_500_000),
    ),
    (
        "BAAI/bge-large-en-v1.5",
        Task::Embeddings,
        Pricing::InputTokens(10_000),
    ),
    (
        "BAAI/bge-base-en-v1.5",
        Task::Embeddings,
        Pricing::InputTokens(5_000),
    ),
    ("BAAI/bge-m3", Task::Embeddings, Pricing::InputTokens(10_000)),
    (
        "sentence-transformers/clip-ViT-B-32",
        Task::Embeddings,
        Pricing::InputTokens(5_000),
    ),
    (
        "thenlper/gte-large",
        Task::Embeddings,
        Pricing::InputTokens(10_000),
    ),
    (
        "Qwen/Qwen3-Reranker-0.6B",
        Task::Reranker,
        Pricing::InputTokens(10_000),
    ),
    (
        "black-forest-labs/FLUX-1-schnell",
        Task::TextToImage,
        Pricing::ImageUnits(500_000_000, 1),
    ),
    (
        "black-forest-labs/FLUX-1-dev",
        Task::TextToImage,
        Pricing::ImageUnits(9_000_000_000, 25),
    ),
    (
        "stabilityai/sdxl-turbo",
        Task::TextToImage,
        Pricing::ImageUnits(200_000_000, 0),
    ),
    (
        "stabilityai/stable-diffusion-2-1",
        Task::TextToImage,
        Pricing::Time(500_000_000),
    ),
    (
        "openai/whisper-large-v3",
        Task::SpeechRecognition,
        Pricing::InputLength(7_500_000),
    ),
    (
        "openai/whisper-large",
        Task::SpeechRecognition,
        Pricing::InputLength(7_500_000),
    ),
    (
        "openai/whisper-tiny",
        Task::SpeechRecognition,
        Pricing::InputLength(1_000_000),
    ),
    (
        "hexgrad/Kokoro-82M",
        Task::TextToSpeech,
        Pricing::InputCharacters(620_000),
    ),
    (
        "deepinfra/tts",
        Task::TextToSpeech,
        Pricing::InputCharacters(5_000_000),
    ),
    (
        "google/vit-base-patch16-224",
        Task::ImageClassification,
        Pricing::Time(500_000_000),
    ),
    (
        "openai/clip-vit-base-patch32",
        Task::ZeroShot,
        Pricing::Time(500_000_000),
    ),
    (
        "hustvl/yolos-small",
        Task::ObjectDetection,
        Pricing::Time(500_000_000),
    ),
    (
        "ProsusAI/finbert",
        Task::TextClassification,
        Pricing::Time(500_000_000),
    ),
    (
        "Davlan/bert-base-multilingual-cased-ner-hrl",
        Task::TokenClassification,
        Pricing::Time(500_000_000),
    ),
    ("bert-base-cased", Task::FillMask, Pricing::Time(500_000_000)),
    (
        "deepset/roberta-base-squad2",
        Task::QuestionAnswering,
        Pricing::Time(500_000_000),
    ),
    (
        "Wan-AI/Wan2.1-T2V-1.3B",
        Task::TextToVideo,
        Pricing::OutputLength(20_000_000_000),
    ),
    (
        "genmo/mochi-1-preview",
        Task::TextToVideo,
        Pricing::FrameUnits(300_000_000),
    ),
    ("stability-ai/sdxl", Task::Custom, Pricing::Time(500_000_000)),
    ("acme/dedicated", Task::Custom, Pricing::Uptime(700_000_000)),
];

/// Models that another one serves now: asked for, and who answers.
const DEPRECATED: &[(&str, &str)] = &[(
    "meta-llama/Llama-2-7b-chat-hf",
    "meta-llama/Meta-Llama-3.1-8B-Instruct",
)];

/// Who answers for a deprecated model.
pub(super) fn replacement(name: &str) -> Option<&'static str> {
    let found = DEPRECATED.iter().find(|(old, _)| *old == name);
    found.map(|(_, new)| *new)
}

/// The model of this name, without a version.
pub(super) fn find(name: &str) -> Option<Model> {
    MODELS.iter().find(|(known, ..)| *known == name).map(row)
}

/// Every model, in the order of the table.
pub(super) fn all() -> impl Iterator<Item = Model> {
    MODELS.iter().map(row)
}

/// A model that the catalogue does not know, as it is served all the same.
pub(super) fn stranger(name: &str, task: Task) -> Model {
    let pricing = match task {
        Task::TextGeneration => tokens(100_000, 300_000),
        Task::Embeddings | Task::Reranker => Pricing::InputTokens(10_000),
        Task::TextToImage => Pricing::ImageUnits(500_000_000, 0),
        Task::SpeechRecognition => Pricing::InputLength(7_500_000),
        Task::TextToSpeech => Pricing::InputCharacters(620_000),
        Task::TextToVideo => Pricing::OutputLength(20_000_000_000),
        Task::ImageClassification
        | Task::ZeroShot
        | Task::ObjectDetection
        | Task::TextClassification
        | Task::TokenClassification
        | Task::FillMask
        | Task::QuestionAnswering
        | Task::Custom => Pricing::Time(500_000_000),
    };
    Model {
        name: name.to_owned(),
        task,
        pricing,
        replaced_by: None,
    }
}

fn row((name, task, pricing): &(&str, Task, Pricing)) -> Model {
    Model {
        name: (*name).to_owned(),
        task: *task,
        pricing: *pricing,
        replaced_by: replacement(name),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_type_of_price_is_in_the_list() {
        let list: Vec<Value> = all().map(|model| model.listed()).collect();
        let types: BTreeSet<&str> = list
            .iter()
            .map(|model| model["pricing"]["type"].as_str().unwrap())
            .collect();
        let all = [
            "frame_units",
            "image_units",
            "input_character_length",
            "input_length",
            "input_tokens",
            "output_length",
            "time",
            "tokens",
            "uptime",
        ];
        assert_eq!(types, BTreeSet::from(all));
    }

    #[test]
    fn names_are_given_once() {
        let names: BTreeSet<&str> = MODELS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), MODELS.len());
    }
}
