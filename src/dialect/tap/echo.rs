//! Lines of an event stream that are the one before but for a piece of text, as most lines are that bring a token.
//!
//! Where the texts of a line are that nobody asks for is known once it is skimmed. If nothing else differs in the next
//! line, and its text has neither a quote nor a backslash, then what the skimmer would see in it is what it saw before:
//! the line need not be skimmed.

use std::ops::Range;

use crate::dialect::find::plain;

/// The longest line that is kept, in bytes.
const MAX_LINE: usize = 2048;

/// The most texts of a line that are known.
const MAX_TEXTS: usize = 16;

/// The last line that told nothing but what the one before had told.
#[derive(Debug, Default)]
pub(super) struct Echo {
    line: Vec<u8>,
    /// Where its texts are, in their order; none if there is no such line.
    texts: Vec<Range<usize>>,
}

impl Echo {
    /// Whether `line` is the one that was learned, but for one of its texts.
    pub(super) fn is(&self, line: &[u8]) -> bool {
        // The last one up to which both are the same: where they differ is in it, or they are no echo.
        let same = |text: &&Range<usize>| {
            let before = self.line.get(..text.start);
            before.is_some_and(|before| line.starts_with(before))
        };
        let Some(text) = self.texts.iter().rev().find(same) else {
            return false;
        };
        let rest = line.get(text.start..).unwrap_or_default();
        let after = self.line.get(text.end..).unwrap_or_default();
        rest.strip_suffix(after)
            .is_some_and(|new| plain(new).len == new.len())
    }

    /// Begins to learn a line.
    pub(super) fn begin(&mut self, line: &[u8]) {
        self.forget();
        if line.len() <= MAX_LINE {
            self.line.extend_from_slice(line);
        }
    }

    /// The line has `text` in it, a string that nobody asks for. It must lie in `line`.
    pub(super) fn learn(&mut self, line: &[u8], text: &[u8]) {
        let start = text.as_ptr().addr().saturating_sub(line.as_ptr().addr());
        if self.texts.len() < MAX_TEXTS && !self.line.is_empty() {
            self.texts.push(start..start.saturating_add(text.len()));
        }
    }

    /// Lines are echoes of nothing from now on.
    pub(super) fn forget(&mut self) {
        self.line.clear();
        self.texts.clear();
    }
}
