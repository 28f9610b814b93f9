//! Which path is what.

use http::{Method, StatusCode};

use super::errors::{Failure, Family};
use super::model::Task;

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Chat completions.
    Chat,
    /// Plain completions.
    Completions,
    /// Vectors.
    Embeddings,
    /// The Responses API.
    Responses,
    /// Pictures, from a text or from a picture.
    Images,
    /// Sound from text.
    Speech,
    /// Text from sound; `true`: translated.
    Transcriptions(bool),
    /// A native call of a model.
    Inference(String),
    /// Anthropic's messages.
    Messages,
    /// Anthropic's count of tokens.
    CountTokens,
    /// Sound from text, by voice.
    Voice,
    /// A list or an account route, which [`super::account`] answers.
    Account,
}

impl Route {
    /// The task of a model that the catalogue does not know.
    pub(super) fn task(&self) -> Task {
        match self {
            Self::Chat
            | Self::Completions
            | Self::Responses
            | Self::Messages
            | Self::CountTokens
            | Self::Inference(_)
            | Self::Account => Task::TextGeneration,
            Self::Embeddings => Task::Embeddings,
            Self::Images => Task::TextToImage,
            Self::Speech | Self::Voice => Task::TextToSpeech,
            Self::Transcriptions(_) => Task::SpeechRecognition,
        }
    }

    /// The model where none is named.
    pub(super) fn default_model(&self) -> Option<&'static str> {
        match self {
            Self::Images => Some("black-forest-labs/FLUX-1-schnell"),
            Self::Voice => Some("hexgrad/Kokoro-82M"),
            Self::Chat
            | Self::Completions
            | Self::Embeddings
            | Self::Responses
            | Self::Speech
            | Self::Transcriptions(_)
            | Self::Inference(_)
            | Self::Messages
            | Self::CountTokens
            | Self::Account => None,
        }
    }
}

/// The family of a path's error bodies.
pub(super) fn family(path: &str) -> Family {
    if path.starts_with("/anthropic/") {
        Family::Anthropic
    } else if path.starts_with("/v1/openai/") || openai(path).is_some() {
        Family::OpenAi
    } else {
        Family::Native
    }
}

/// Finds the route of a request.
///
/// # Errors
/// 405 for another method than a route's own. Every path that is no inference is left to the account routes.
pub(super) fn find(method: &Method, path: &str) -> Result<Route, Failure> {
    let route = match path {
        "/anthropic/v1/messages" => Some(Route::Messages),
        "/anthropic/v1/messages/count_tokens" => Some(Route::CountTokens),
        _ => openai(path).or_else(|| native(path)),
    };
    match route {
        None => Ok(Route::Account),
        Some(route) if method == Method::POST => Ok(route),
        Some(_) => Err(Failure::unrouted(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn openai(path: &str) -> Option<Route> {
    let rest = path
        .strip_prefix("/v1/openai/")
        .or_else(|| path.strip_prefix("/v1/"))?;
    match rest {
        "chat/completions" => Some(Route::Chat),
        "completions" => Some(Route::Completions),
        "embeddings" => Some(Route::Embeddings),
        "responses" => Some(Route::Responses),
        "images/generations" | "images/edits" | "images/variations" => Some(Route::Images),
        "audio/speech" => Some(Route::Speech),
        "audio/transcriptions" => Some(Route::Transcriptions(false)),
        "audio/translations" => Some(Route::Transcriptions(true)),
        _ => None,
    }
}

fn native(path: &str) -> Option<Route> {
    if let Some(model) = path.strip_prefix("/v1/inference/") {
        let model = model
            .replace("%2F", "/")
            .replace("%2f", "/")
            .replace("%3A", ":")
            .replace("%3a", ":");
        let model = match model.strip_prefix("deploy/") {
            Some(id) => format!("deploy_id:{id}"),
            None => model,
        };
        return Some(Route::Inference(model));
    }
    let voice = path.strip_prefix("/v1/text-to-speech/")?;
    let voice = voice.strip_suffix("/stream").unwrap_or(voice);
    (!voice.is_empty() && !voice.contains('/')).then_some(Route::Voice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_prefixes_and_raw_slashes_are_understood() {
        for (path, route) in [
            ("/v1/openai/chat/completions", Route::Chat),
            ("/v1/chat/completions", Route::Chat),
            ("/v1/inference/org/name", Route::Inference("org/name".to_owned())),
            (
                "/v1/inference/org%2Fname",
                Route::Inference("org/name".to_owned()),
            ),
            (
                "/v1/inference/deploy/X1",
                Route::Inference("deploy_id:X1".to_owned()),
            ),
            ("/v1/text-to-speech/af_bella/stream", Route::Voice),
            ("/v1/files", Route::Account),
        ] {
            assert_eq!(find(&Method::POST, path).unwrap(), route, "{path}");
        }
        let error = find(&Method::GET, "/v1/inference/org/name").unwrap_err();
        assert_eq!(error.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(family("/v1/embeddings"), Family::OpenAi);
        assert_eq!(family("/v1/me"), Family::Native);
    }
}
