//! Where a form's delimiters stand, found without a parser.
//!
//! A delimiter is `CRLF--boundary` (RFC 2046, section 5.1.1), and the first one may stand at the very beginning. If
//! there are exactly as many as a parser saw parts, and one more that ends the form, then no other parser can see
//! other parts.

use memchr::memmem::Finder;

/// The most parts of a form.
pub(super) const MAX_PARTS: usize = 256;

/// What may stand behind the last delimiter, in bytes: `--` and some white space.
const MAX_TAIL: usize = 64;

/// As if a line break stood before the body, so that the first delimiter looks like the others.
const LINE_BREAK: &[u8] = b"\r\n";

/// Finds delimiters in a stream, however it is cut.
#[derive(Debug)]
pub(super) struct Delimiters {
    finder: Finder<'static>,
    /// The stream's last bytes, one too few for a delimiter, in which one may have begun.
    carry: Vec<u8>,
    /// Where `carry` begins, counted from the line break before the body.
    at: u64,
    /// Where delimiters begin, counted likewise.
    starts: Vec<u64>,
    /// What came behind the last delimiter, as far as it is looked at.
    tail: Vec<u8>,
}

impl Delimiters {
    pub(super) fn new(boundary: &str) -> Self {
        let needle = format!("\r\n--{boundary}");
        Self {
            finder: Finder::new(&needle).into_owned(),
            carry: LINE_BREAK.to_vec(),
            at: 0,
            starts: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// Looks at the next piece of the body.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let needle = self.finder.needle().len();
        let mut window = std::mem::take(&mut self.carry);
        window.extend_from_slice(piece);
        let mut behind = None;
        for found in self.finder.find_iter(&window).take(MAX_PARTS + 2) {
            self.starts.push(self.at.saturating_add(offset(found)));
            behind = window.get(found + needle..);
        }
        if behind.is_some() {
            self.tail.clear();
        }
        let behind = behind.unwrap_or(piece);
        let room = (MAX_TAIL + 1).saturating_sub(self.tail.len());
        self.tail.extend_from_slice(behind.get(..room).unwrap_or(behind));
        self.starts.truncate(MAX_PARTS + 2);
        let settled = (window.len() + 1).saturating_sub(needle);
        self.at = self.at.saturating_add(offset(settled));
        self.carry = window.split_off(settled);
    }

    /// Where each delimiter begins in the body, of a form in which a parser saw `parts` parts.
    ///
    /// # Errors
    /// The form begins with something else, has more or fewer delimiters, or goes on behind the last.
    pub(super) fn finish(self, parts: usize) -> Result<Vec<u64>, &'static str> {
        if self.starts.first() != Some(&0) {
            return Err("the form must begin with its boundary");
        }
        let closed = self
            .tail
            .strip_prefix(b"--")
            .is_some_and(|rest| rest.iter().all(u8::is_ascii_whitespace));
        if self.starts.len() != parts + 1 || !closed || self.tail.len() > MAX_TAIL {
            return Err("the form must end with its boundary, which must not stand inside a part");
        }
        Ok(self
            .starts
            .into_iter()
            .map(|start| start.saturating_sub(offset(LINE_BREAK.len())))
            .collect())
    }
}

fn offset(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(body: &str, parts: usize, cut: usize) -> Result<Vec<u64>, &'static str> {
        let mut delimiters = Delimiters::new("b");
        body.as_bytes()
            .chunks(cut)
            .for_each(|piece| delimiters.feed(piece));
        delimiters.finish(parts)
    }

    #[test]
    fn delimiters_are_found_however_the_body_is_cut() {
        for cut in 1..40 {
            assert_eq!(
                starts("--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--\r\n", 2, cut).unwrap(),
                [0, 8, 18],
                "{cut}"
            );
            assert_eq!(starts("--b--", 0, cut).unwrap(), [0], "{cut}");
            for bad in [
                "",
                "x--b--",
                "\r\n--b--",
                "--b\r\n\r\nx",
                "--b--x",
                "--b--\r\n--b--",
                "--b- -",
            ] {
                assert!(starts(bad, 0, cut).is_err(), "{bad:?} {cut}");
            }
            assert!(
                starts("--b\r\n\r\nx\r\n--bc\r\n--b--", 1, cut).is_err(),
                "a boundary inside a part, {cut}"
            );
            assert!(
                starts(&format!("--b--{}", " ".repeat(100)), 0, cut).is_err(),
                "a long tail, {cut}"
            );
        }
    }
}
