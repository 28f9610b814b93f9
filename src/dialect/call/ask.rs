//! Usage is asked for where the upstream would not send it, and then kept from the client.

use super::{Call, Payload};
use crate::dialect::Surface;

/// What usage the gate asked for in its own name, which the client must not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// None: the client gets of usage what the upstream sends.
    No,
    /// All of it.
    Yes,
    /// The running usage; what comes last is the client's.
    Running {
        /// Whether a chunk without usage says `"usage":null`; else it says nothing of it.
        null: bool,
    },
}

impl Call {
    /// Makes a stream of OpenAI's chunks bring its usage, and on each of them where `continuous`: that is for calls
    /// whose cost must be known wherever they are cut, at upstreams that offer it. `by_default` says whether the
    /// upstream sends usage unasked.
    ///
    /// The body changes only where the client refused usage, where it gave other options, or where nobody else asks for
    /// it; no byte but those of the deciding keys of `stream_options` does.
    ///
    /// What the client would see without the gate is taken to be: no usage where it is not asked for, be it running or
    /// not; else usage at the end, and before that `"usage":null` of an upstream that sends usage unasked, nothing of
    /// one that must be asked.
    pub fn ask_for_usage(&mut self, by_default: bool, continuous: bool) -> Asked {
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
        let included = object.stream_option("include_usage");
        let runs = object.stream_option("continuous_usage_stats") == Some(true);
        let makes_run = continuous && !runs;
        // What an upstream does unasked it need not do beside other options, so it is told to.
        let is_told = included == Some(true)
            || (included.is_none() && by_default && !object.has("stream_options") && !makes_run);
        if makes_run {
            object.choose_stream_option("continuous_usage_stats");
        }
        if !is_told {
            object.choose_stream_option("include_usage");
        }
        match included.unwrap_or(by_default) {
            false => Asked::Yes,
            true if makes_run => Asked::Running { null: by_default },
            true => Asked::No,
        }
    }
}
