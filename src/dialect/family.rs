//! Whose words an answer of the gate uses.

use super::route::OPENAI;

/// Whose words an answer of the gate uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `{"detail":{"error","code"}}`
    Native,
    /// `{"error":{"message","type","param","code"}}`
    OpenAi,
    /// `{"type":"error","error":{"type","message"}}`
    Anthropic,
}

impl Family {
    /// The family that a client of this raw path expects, whether or not there is such a route.
    pub fn of_path(raw: &str) -> Self {
        let under = |prefix: &str| {
            raw.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if under("/anthropic/") {
            return Self::Anthropic;
        }
        let openai = OPENAI
            .iter()
            .any(|(rest, _)| raw.strip_prefix("/v1/").is_some_and(|raw| raw == *rest));
        if openai || under("/v1/openai/") || raw == "/v1/models" {
            Self::OpenAi
        } else {
            Self::Native
        }
    }
}
