//! The lines of an event stream, as the WHATWG's server-sent events define them: LF, CRLF or CR; `data:` with or
//! without a space; comments; a byte order mark. Nothing is kept of them, so that no line is too long.

use memchr::memchr2;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data:";

/// What the bytes of a stream bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A whole `data` line that came in one piece, without its name.
    Line(&'a [u8]),
    /// Some of another, without its name.
    Data(&'a [u8]),
    /// The end of such a line. Several lines of an event are one text.
    LineEnd,
    /// An empty line.
    EventEnd,
}

/// Takes a stream apart, however its bytes are cut.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Line,
    /// The beginning of the line while it may be a name, at most as long as a byte order mark and the name.
    head: Vec<u8>,
    after_cr: bool,
    /// Whether a line has ended.
    begun: bool,
}

/// What the current line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Line {
    /// Its name is not whole yet.
    #[default]
    Head,
    Data,
    Other,
}

impl Lines {
    /// Shows the next bytes; `see` is told what they bring.
    pub(super) fn feed(&mut self, mut bytes: &[u8], see: &mut impl FnMut(Part<'_>)) {
        if bytes.is_empty() {
            return;
        }
        if std::mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = bytes.split_at(end);
            match line.strip_prefix(DATA).filter(|_| self.is_new()) {
                Some(data) => {
                    see(Part::Line(data));
                    self.begun = true;
                }
                None => {
                    self.go_on(line, see);
                    self.end(see);
                }
            }
            bytes = match rest {
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => rest,
            };
            self.after_cr = rest == b"\r";
        }
        self.go_on(bytes, see);
    }

    fn go_on(&mut self, mut part: &[u8], see: &mut impl FnMut(Part<'_>)) {
        while self.line == Line::Head
            && let Some((byte, rest)) = part.split_first()
        {
            self.head.push(*byte);
            part = rest;
            let name = self.name();
            if name == DATA {
                self.line = Line::Data;
            } else if !DATA.starts_with(name) && (self.begun || !BYTE_ORDER_MARK.starts_with(name)) {
                self.line = Line::Other;
            }
        }
        if self.line == Line::Data && !part.is_empty() {
            see(Part::Data(part));
        }
    }

    fn end(&mut self, see: &mut impl FnMut(Part<'_>)) {
        match self.line {
            Line::Data => see(Part::LineEnd),
            Line::Head if self.name().is_empty() => see(Part::EventEnd),
            Line::Head | Line::Other => {}
        }
        self.head.clear();
        self.line = Line::Head;
        self.begun = true;
    }

    /// Whether nothing has come of the line.
    fn is_new(&self) -> bool {
        self.line == Line::Head && self.head.is_empty()
    }

    /// The line's beginning, without the mark that may stand before the first one.
    fn name(&self) -> &[u8] {
        if self.begun {
            return &self.head;
        }
        self.head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.head)
    }
}
