//! What routes are for, and what kind of body each takes.

/// What a route is for; also a label of metrics and a field of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named after its path in the table below")]
pub enum Surface {
    ChatCompletions,
    Completions,
    Embeddings,
    ImagesGenerations,
    ImagesEdits,
    ImagesVariations,
    Speech,
    Transcriptions,
    Translations,
    Responses,
    Native,
    Messages,
    CountTokens,
    TextToSpeech,
    Catalogue,
    RateLimit,
    ScopedJwt,
    Jobs,
    Management,
}

impl Surface {
    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::ImagesGenerations => "images_generations",
            Self::ImagesEdits => "images_edits",
            Self::ImagesVariations => "images_variations",
            Self::Speech => "speech",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::Responses => "responses",
            Self::Native => "native",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::TextToSpeech => "text_to_speech",
            Self::Catalogue => "catalogue",
            Self::RateLimit => "rate_limit",
            Self::ScopedJwt => "scoped_jwt",
            Self::Jobs => "jobs",
            Self::Management => "management",
        }
    }

    /// Whether a call is work for a model, which somebody pays for.
    pub fn is_inference(self) -> bool {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::ImagesGenerations
            | Self::ImagesEdits
            | Self::ImagesVariations
            | Self::Speech
            | Self::Transcriptions
            | Self::Translations
            | Self::Responses
            | Self::Native
            | Self::Messages
            | Self::TextToSpeech => true,
            Self::CountTokens
            | Self::Catalogue
            | Self::RateLimit
            | Self::ScopedJwt
            | Self::Jobs
            | Self::Management => false,
        }
    }

    /// Whether the gate itself answers.
    pub fn is_own(self) -> bool {
        matches!(self, Self::RateLimit | Self::ScopedJwt | Self::Jobs)
    }

    /// What kind of body the route takes.
    pub(super) fn payload(self) -> PayloadKind {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::ImagesGenerations
            | Self::Speech
            | Self::Responses
            | Self::Messages
            | Self::CountTokens
            | Self::TextToSpeech => PayloadKind::Json,
            Self::ImagesEdits | Self::ImagesVariations | Self::Transcriptions | Self::Translations => {
                PayloadKind::Form
            }
            Self::Native => PayloadKind::JsonOrForm,
            Self::Management => PayloadKind::Opaque,
            Self::Catalogue | Self::RateLimit | Self::ScopedJwt | Self::Jobs => PayloadKind::None,
        }
    }
}

/// What kind of body a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadKind {
    /// A JSON object.
    Json,
    /// A multipart form.
    Form,
    /// Either, as the content type says.
    JsonOrForm,
    /// Whatever it is, it passes unread.
    Opaque,
    /// None: what comes is ignored.
    None,
}
