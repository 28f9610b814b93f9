//! The keys that are watched, and where they stand.

/// Which value was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum Name {
    Type,
    Model,
    Error,
    GeneratedText,
    Usage,
    /// The usage inside `message`, with which Anthropic's streams begin.
    StartUsage,
    UsageMetadata,
    Timings,
    InferenceStatus,
    Details,
    Meta,
    EstimatedCost,
    NumTokens,
    NumInputTokens,
    InputTokens,
    OutTokens,
    PromptEvalCount,
    EvalCount,
    Done,
    Duration,
}

impl Name {
    /// How much of a value is kept, in bytes; of a longer one only its beginning is seen.
    pub(super) fn bound(self) -> usize {
        match self {
            Self::Error | Self::GeneratedText => 8,
            Self::Usage
            | Self::StartUsage
            | Self::UsageMetadata
            | Self::Timings
            | Self::InferenceStatus
            | Self::Details
            | Self::Meta => 64 * 1024,
            Self::EstimatedCost => 2048,
            Self::Type
            | Self::Model
            | Self::NumTokens
            | Self::NumInputTokens
            | Self::InputTokens
            | Self::OutTokens
            | Self::PromptEvalCount
            | Self::EvalCount
            | Self::Done
            | Self::Duration => 512,
        }
    }
}

/// An object at the top whose members are watched too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Response,
    Message,
    XGroq,
}

/// What a key in its place announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Value(Name),
    Container(Container),
}

impl Key {
    pub(super) fn at_the_top(key: &[u8]) -> Option<Self> {
        Some(Self::Value(match key {
            b"type" => Name::Type,
            b"model" | b"modelVersion" => Name::Model,
            b"error" | b"error_type" => Name::Error,
            b"generated_text" => Name::GeneratedText,
            b"usage" => Name::Usage,
            b"usageMetadata" => Name::UsageMetadata,
            b"timings" => Name::Timings,
            b"inference_status" => Name::InferenceStatus,
            b"details" => Name::Details,
            b"meta" => Name::Meta,
            b"estimated_cost" => Name::EstimatedCost,
            b"num_tokens" => Name::NumTokens,
            b"num_input_tokens" => Name::NumInputTokens,
            b"input_tokens" => Name::InputTokens,
            b"out_tokens" => Name::OutTokens,
            b"prompt_eval_count" => Name::PromptEvalCount,
            b"eval_count" => Name::EvalCount,
            b"done" => Name::Done,
            b"duration" => Name::Duration,
            b"response" => return Some(Self::Container(Container::Response)),
            b"message" => return Some(Self::Container(Container::Message)),
            b"x_groq" => return Some(Self::Container(Container::XGroq)),
            _ => return None,
        }))
    }

    pub(super) fn inside(container: Container, key: &[u8]) -> Option<Self> {
        let name = match (container, key) {
            (Container::Response | Container::XGroq, b"usage") => Name::Usage,
            (Container::Message, b"usage") => Name::StartUsage,
            (Container::Response | Container::Message, b"model") => Name::Model,
            (Container::XGroq, b"error") => Name::Error,
            _ => return None,
        };
        Some(Self::Value(name))
    }
}
