//! Where a form's delimiters stand, found without a parser.
//!
//! A delimiter is `CRLF--boundary` (RFC 2046, section 5.1.1), and the first one stands at the very beginning. Some
//! parsers take a lone CR or LF for the break, so `--boundary` counts wherever it stands. If there are exactly as many
//! as a parser saw parts, and one more that ends the form, then no other parser can see other parts.
//!
//! The heads of the parts are looked at too: of a header that stands twice some parsers keep the first, others the
//! last.

use memchr::memmem::{self, Finder};

/// The most parts of a form.
pub(super) const MAX_PARTS: usize = 256;

/// The longest head of a part, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What may stand behind the last delimiter, in bytes: `--` and some white space.
const MAX_TAIL: usize = 64;

/// The length of the line break before a delimiter.
const LINE_BREAK: u64 = 2;

/// Finds delimiters in a stream, however it is cut.
#[derive(Debug)]
pub(super) struct Delimiters {
    finder: Finder<'static>,
    /// The stream's last bytes, one too few for a delimiter, in which one may have begun.
    carry: Vec<u8>,
    /// Where `carry` begins.
    at: u64,
    /// Where delimiters begin.
    starts: Vec<u64>,
    /// What came behind the last delimiter, as far as it is looked at.
    behind: Vec<u8>,
    odd_head: bool,
}

impl Delimiters {
    pub(super) fn new(boundary: &str) -> Self {
        let needle = format!("--{boundary}");
        Self {
            finder: Finder::new(&needle).into_owned(),
            carry: Vec::new(),
            at: 0,
            starts: Vec::new(),
            behind: Vec::new(),
            odd_head: false,
        }
    }

    /// Looks at the next piece of the body.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let needle = self.finder.needle().len();
        let mut window = std::mem::take(&mut self.carry);
        let (mut seen, mut done) = (window.len(), 0);
        window.extend_from_slice(piece);
        let found: Vec<usize> = self.finder.find_iter(&window).take(MAX_PARTS + 2).collect();
        for start in found {
            self.keep(window.get(seen..start).unwrap_or_default());
            self.odd_head |= !self.starts.is_empty() && is_odd(&self.behind);
            self.behind.clear();
            self.starts.push(self.at.saturating_add(offset(start)));
            done = start + needle;
            seen = done;
        }
        self.keep(window.get(seen..).unwrap_or_default());
        self.starts.truncate(MAX_PARTS + 2);
        // What belongs to a delimiter that was found can't begin another.
        let settled = (window.len() + 1).saturating_sub(needle);
        let settled = settled.max(done);
        self.at = self.at.saturating_add(offset(settled));
        self.carry = window.split_off(settled);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_HEAD.saturating_sub(self.behind.len());
        self.behind.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// Where each delimiter begins in the body, its line break included, of a form in which a parser saw `parts`
    /// parts.
    ///
    /// # Errors
    /// The form begins with something else, has more or fewer delimiters, goes on behind the last, or a part's head
    /// is odd.
    pub(super) fn finish(self, parts: usize) -> Result<Vec<u64>, &'static str> {
        if self.starts.first() != Some(&0) {
            return Err("the form must begin with its boundary");
        }
        if self.odd_head {
            return Err("a part's head is too long or has a header twice");
        }
        let closed = self
            .behind
            .strip_prefix(b"--")
            .is_some_and(|rest| rest.iter().all(u8::is_ascii_whitespace));
        if self.starts.len() != parts + 1 || !closed || self.behind.len() > MAX_TAIL {
            return Err("the form must end with its boundary, which must not stand inside a part");
        }
        let starts = self.starts.into_iter();
        Ok(starts.map(|start| start.saturating_sub(LINE_BREAK)).collect())
    }
}

/// Whether a head, which begins behind its delimiter, has a header twice, or no end.
fn is_odd(head: &[u8]) -> bool {
    let Some(end) = memmem::find(head, b"\r\n\r\n") else {
        return true;
    };
    let lines = head.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
    let mut names: Vec<_> = lines
        .skip(1)
        .map(|line| line.split(|byte| *byte == b':').next())
        .map(|name| name.unwrap_or_default().to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair.first() == pair.last())
}

fn offset(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(body: &str, parts: usize, cut: usize) -> Result<Vec<u64>, &'static str> {
        starts_of("b", body, parts, cut)
    }

    fn starts_of(boundary: &str, body: &str, parts: usize, cut: usize) -> Result<Vec<u64>, &'static str> {
        let mut delimiters = Delimiters::new(boundary);
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
            assert_eq!(
                starts("--b\r\nA: 1\r\na: 2\r\n\r\nx\r\n--b--", 1, cut),
                Err("a part's head is too long or has a header twice"),
                "{cut}"
            );
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

    #[test]
    fn a_boundary_that_overlaps_itself_is_found_however_the_body_is_cut() {
        for cut in 1..40 {
            let body = "---\r\n\r\nx\r\n---\r\n\r\ny\r\n-----";
            assert_eq!(starts_of("-", body, 2, cut).unwrap(), [0, 8, 18], "{cut}");
            assert!(starts_of("-", "------", 0, cut).is_err(), "{cut}");
        }
    }
}
