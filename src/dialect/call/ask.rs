//! Usage is asked for where the upstream would not send it, and then kept from the client.

use super::{Call, Payload};
use crate::dialect::Surface;

/// Whether the gate asked for the usage of a stream in its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The body is as it was: the client gets of usage what the upstream sends.
    No,
    /// The gate asked: the client must not see the usage.
    Yes,
}

impl Call {
    /// Makes a stream of OpenAI's chunks bring its usage. `by_default` says whether the upstream sends it unasked.
    ///
    /// The body changes only where the client refused usage, where it gave other options, or where nobody else asks for
    /// it; no byte but those of `stream_options.include_usage` does.
    pub fn ask_for_usage(&mut self, by_default: bool) -> Asked {
        let takes_options = matches!(
            self.route.surface(),
            Surface::ChatCompletions | Surface::Completions
        );
        let Payload::Json(object) = &mut self.payload else {
            return Asked::No;
        };
        if !takes_options || !self.stream {
            return Asked::No;
        }
        match object.asks_for_usage() {
            Some(true) => return Asked::No,
            // What an upstream does unasked it need not do beside other options, so it is told to.
            None if by_default => {
                if object.has("stream_options") {
                    object.include_usage();
                }
                return Asked::No;
            }
            Some(false) | None => {}
        }
        object.include_usage();
        Asked::Yes
    }
}
