//! How a line of an event stream begins, and whether it is the last one.

/// What ends the streams of OpenAI's older surfaces.
const DONE: &[u8] = b"[DONE]";

/// The first bytes of an event's data that are no white space, one more than the longest that carries no content.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    bytes: [u8; DONE.len() + 1],
    len: usize,
}

impl Beginning {
    pub(super) fn feed(&mut self, data: &[u8]) {
        for byte in data.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            let Some(next) = self.bytes.get_mut(self.len) else {
                return;
            };
            *next = *byte;
            self.len = self.len.saturating_add(1);
        }
    }

    pub(super) fn is_content(&self) -> bool {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        !(bytes.is_empty() || DONE.starts_with(bytes) || b"null".starts_with(bytes))
    }
}

/// How far the current line is `[DONE]`.
#[derive(Debug, Default)]
pub(super) struct Done {
    matched: usize,
    other: bool,
}

impl Done {
    pub(super) fn feed(&mut self, data: &[u8]) {
        for byte in data {
            if self.other {
                return;
            }
            let space = byte.is_ascii_whitespace() && (self.matched == 0 || self.matched == DONE.len());
            if DONE.get(self.matched) == Some(byte) {
                self.matched = self.matched.saturating_add(1);
            } else {
                self.other = !space;
            }
        }
    }

    /// The line ends; whether it was that.
    pub(super) fn end(&mut self) -> bool {
        let line = std::mem::take(self);
        !line.other && line.matched == DONE.len()
    }
}
