//! Where a form's delimiters stand, found without a parser.
//!
//! A delimiter is `CRLF--boundary` (RFC 2046, section 5.1.1), and the first one may stand at the very beginning. If
//! there are exactly as many as a parser saw parts, and one more that ends the form, and `--boundary` stands nowhere
//! else, then no other parser can see other parts, however it takes line breaks. For the same reason the head of a part
//! has no line break but CRLF.

use memchr::memmem::{self, Finder};

/// The most parts of a form.
pub(super) const MAX_PARTS: usize = 256;

/// The longest head of a part, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What may stand behind the last delimiter, in bytes: `--` and some white space.
const MAX_TAIL: usize = 64;

const CRLF: &[u8] = b"\r\n";

/// What ends the head of a part.
const EMPTY_LINE: &[u8] = b"\r\n\r\n";

/// Finds delimiters in a stream, however it is cut.
#[derive(Debug)]
pub(super) struct Delimiters {
    /// Finds `--boundary`.
    finder: Finder<'static>,
    /// The stream's last bytes, one too few for a delimiter, in which one may have begun.
    carry: Vec<u8>,
    /// Where `carry` begins, counted from a line break before the body.
    at: u64,
    /// Where delimiters begin, counted likewise.
    starts: Vec<u64>,
    /// What came behind the last delimiter: the head of a part, or the end of the form.
    behind: Vec<u8>,
    /// Whether a part's head has begun and not yet ended.
    in_head: bool,
    wrong: Option<&'static str>,
}

impl Delimiters {
    pub(super) fn new(boundary: &str) -> Self {
        Self {
            finder: Finder::new(&format!("--{boundary}")).into_owned(),
            // As if a line break stood before the body, so that the first delimiter looks like the others.
            carry: CRLF.to_vec(),
            at: 0,
            starts: Vec::new(),
            behind: Vec::new(),
            in_head: false,
            wrong: None,
        }
    }

    /// Looks at the next piece of the body.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        if self.wrong.is_some() {
            return;
        }
        let needle = self.finder.needle().len();
        let mut window = std::mem::take(&mut self.carry);
        let mut seen = window.len();
        window.extend_from_slice(piece);
        // A needle that ends in the carry was found with the piece before.
        let mut from = (seen + 1).saturating_sub(needle);
        while let Some(found) = window.get(from..).and_then(|rest| self.finder.find(rest)) {
            let start = from + found;
            self.keep(window.get(seen..start).unwrap_or_default());
            self.begin(window.get(..start).unwrap_or_default());
            if self.wrong.is_some() {
                return;
            }
            seen = start + needle;
            from = start + 1;
        }
        self.keep(window.get(seen..).unwrap_or_default());
        let settled = window.len().saturating_sub(needle + 1);
        self.at = self.at.saturating_add(offset(settled));
        self.carry = window.split_off(settled);
    }

    /// A `--boundary` stands behind `before`.
    fn begin(&mut self, before: &[u8]) {
        let Some(before) = before.strip_suffix(CRLF) else {
            self.refuse("the form's boundary stands inside a part");
            return;
        };
        if self.in_head {
            self.refuse("a part's head has no end");
        } else if self.starts.len() > MAX_PARTS {
            self.refuse("the form has too many parts");
        }
        self.starts.push(self.at.saturating_add(offset(before.len())));
        self.behind.clear();
        self.in_head = true;
    }

    /// Keeps what stands behind a delimiter until the part's head has ended, and looks at the head then.
    fn keep(&mut self, bytes: &[u8]) {
        if !self.in_head {
            return;
        }
        // An empty line may have begun with the bytes before.
        let known = self.behind.len().saturating_sub(EMPTY_LINE.len() - 1);
        let room = MAX_HEAD.saturating_sub(self.behind.len());
        self.behind.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if self.behind.starts_with(b"--") {
            return;
        }
        let end = self
            .behind
            .get(known..)
            .and_then(|rest| memmem::find(rest, EMPTY_LINE));
        if let Some(end) = end {
            self.behind.truncate(known + end + EMPTY_LINE.len());
            self.in_head = false;
            if !self.behind.starts_with(CRLF) || has_bare_break(&self.behind) {
                self.refuse("a line of a part's head must end with CRLF");
            } else if repeats_a_name(&self.behind) {
                self.refuse("a header stands twice in a part's head");
            }
        } else if self.behind.len() == MAX_HEAD {
            self.refuse("a part's head is too long");
        }
    }

    /// The first reason stands.
    fn refuse(&mut self, why: &'static str) {
        self.wrong.get_or_insert(why);
    }

    /// Where each delimiter begins in the body, of a form in which a parser saw `parts` parts.
    ///
    /// # Errors
    /// The form begins with something else, has more or fewer delimiters, or goes on behind the last; a part's head
    /// is too long or has odd line breaks.
    pub(super) fn finish(self, parts: usize) -> Result<Vec<u64>, &'static str> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.starts.first() != Some(&0) {
            return Err("the form must begin with its boundary");
        }
        let closed = self
            .behind
            .strip_prefix(b"--")
            .is_some_and(|rest| rest.iter().all(u8::is_ascii_whitespace));
        if self.starts.len() != parts + 1 || !closed || self.behind.len() > MAX_TAIL {
            return Err("the form must end with its boundary and nothing behind it");
        }
        Ok(self
            .starts
            .into_iter()
            .map(|start| start.saturating_sub(offset(CRLF.len())))
            .collect())
    }
}

/// Whether a CR or a LF stands without the other; `head` begins and ends with both.
fn has_bare_break(head: &[u8]) -> bool {
    head.windows(2)
        .any(|pair| matches!(pair, [first, second] if (*first == b'\r') != (*second == b'\n')))
}

/// Whether two lines of a part's head have the same name: parsers take the first or the last of them.
fn repeats_a_name(head: &[u8]) -> bool {
    let lines = head.split(|byte| *byte == b'\n');
    let names = lines.filter_map(|line| {
        line.iter()
            .position(|byte| *byte == b':')
            .and_then(|end| line.get(..end))
    });
    let mut names: Vec<Vec<u8>> = names.map(|name| name.trim_ascii().to_ascii_lowercase()).collect();
    names.sort_unstable();
    names
        .windows(2)
        .any(|pair| matches!(pair, [first, second] if first == second))
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
    fn a_head_and_the_number_of_parts_are_bounded() {
        let form = |parts: usize, head: usize| {
            let part = format!("--b\r\nA: {}\r\n\r\nx\r\n", "y".repeat(head - 9));
            starts(&format!("{}--b--", part.repeat(parts)), parts, 100_000)
        };
        assert_eq!(form(MAX_PARTS, 100).unwrap().len(), MAX_PARTS + 1);
        assert_eq!(form(MAX_PARTS + 1, 100), Err("the form has too many parts"));
        assert!(form(1, MAX_HEAD).is_ok());
        assert_eq!(form(1, MAX_HEAD + 1), Err("a part's head is too long"));
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
            for (bad, parts) in [
                (format!("--b--{}", " ".repeat(100)), 0),
                ("--b\r\n\r\nx\n--b\r\n\r\ny\r\n--b--".to_owned(), 1),
                ("--b\r\n\r\nx--b\r\n--b--".to_owned(), 1),
                ("--b\r\nA: 1\nB: 2\r\n\r\nx\r\n--b--".to_owned(), 1),
                ("--b\r\nA: 1\rB: 2\r\n\r\nx\r\n--b--".to_owned(), 1),
                ("--b\r\nA: 1\n\nB\r\n\r\nx\r\n--b--".to_owned(), 1),
                ("--b \r\n\r\nx\r\n--b--".to_owned(), 1),
                ("--b\n\r\n\r\nx\r\n--b--".to_owned(), 1),
                ("--b\r\nA: 1\r\n--b--".to_owned(), 1),
                ("--b\r\nA: 1\r\nB: 1\r\na: 2\r\n\r\nx\r\n--b--".to_owned(), 1),
            ] {
                assert!(starts(&bad, parts, cut).is_err(), "{bad:?} {cut}");
            }
        }
    }
}
