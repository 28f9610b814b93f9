//! One digest of several things, none of which can pass for a part of its neighbour.

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderMap;
use http::header::CONTENT_DISPOSITION;

/// A SHA-256 that grows.
pub(super) struct Digest {
    all: Context,
    one: Option<Context>,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            all: Context::new(&SHA256),
            one: None,
        }
    }
}

impl Digest {
    /// The next thing begins with these bytes.
    pub(super) fn begin(&mut self, bytes: &[u8]) {
        self.end();
        let mut one = Context::new(&SHA256);
        one.update(bytes);
        self.one = Some(one);
    }

    /// A form's next part: its name and its file name, then its content.
    pub(super) fn begin_part(&mut self, headers: &HeaderMap) {
        let disposition = headers.get(CONTENT_DISPOSITION);
        self.begin(disposition.map(|value| value.as_bytes()).unwrap_or_default());
        self.begin(&[]);
    }

    /// More of the thing that began last.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(one) = &mut self.one {
            one.update(bytes);
        }
    }

    /// The digest of the digests of all.
    pub(super) fn finish(mut self) -> [u8; 32] {
        self.end();
        let mut digest = [0; 32];
        digest.copy_from_slice(self.all.finish().as_ref());
        digest
    }

    fn end(&mut self) {
        if let Some(one) = self.one.take() {
            self.all.update(one.finish().as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(things: &[&[&str]]) -> [u8; 32] {
        let mut digest = Digest::default();
        for thing in things {
            digest.begin(&[]);
            for piece in *thing {
                digest.push(piece.as_bytes());
            }
        }
        digest.finish()
    }

    #[test]
    fn it_goes_by_the_things_and_not_by_how_they_come() {
        assert_eq!(of(&[&["ab"], &["c"]]), of(&[&["a", "b"], &["c"]]));
        assert_ne!(of(&[&["ab"], &["c"]]), of(&[&["a"], &["bc"]]));
        assert_ne!(of(&[&["ab"], &[]]), of(&[&["ab"]]));
    }
}
