//! A walk over a whole body for what bounds its cost: parts with more tokens than bytes, text that stands elsewhere,
//! sizes and counts.

use std::borrow::Cow;

use super::pieces::{Piece, Pieces};
use super::roles::{self, Role};

/// The longest string under a name such as `file` that is a plain word if it has no colon either, in bytes.
const PLAIN: usize = 256;

/// The length of `data:` where each letter is escaped, in bytes.
const HIDDEN: usize = 30;

/// How deep bodies usually are.
const USUAL_DEPTH: usize = 16;

/// What was found. Of what stands more than once the most counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) media: u64,
    pub(super) elsewhere: bool,
    /// The texts of a prompt that is a list.
    pub(super) prompts: u64,
    pub(super) copies: Option<u64>,
    pub(super) width: Option<u64>,
    pub(super) height: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) steps: Option<u64>,
    pub(super) frames: Option<u64>,
    pub(super) seconds: Option<u64>,
}

impl Found {
    /// What stands in a body that is known to be one JSON object. `pictures` says whether the surface makes them.
    pub(super) fn of(body: &[u8], pictures: bool) -> Self {
        let mut walk = Walk {
            pictures,
            open: Vec::with_capacity(USUAL_DEPTH),
            found: Self::default(),
        };
        for piece in Pieces::of(body) {
            walk.see(piece);
        }
        walk.found
    }

    /// The pixels of one picture.
    pub(super) fn pixels(&self) -> Option<u64> {
        self.size.max(roles::area(self.width, self.height))
    }

    /// Takes in a number or a string that stands under a key of this role.
    pub(super) fn measure(&mut self, role: Role, value: &[u8]) {
        let read = if role == Role::Size {
            roles::pixels
        } else {
            roles::whole
        };
        if role.is_measure() {
            self.at_least(role, read(value));
        }
    }

    /// Takes in a number that stands under a key of this role.
    pub(super) fn at_least(&mut self, role: Role, number: Option<u64>) {
        let place = match role {
            Role::Size => &mut self.size,
            Role::Width => &mut self.width,
            Role::Height => &mut self.height,
            Role::Steps => &mut self.steps,
            Role::Frames => &mut self.frames,
            Role::Seconds => &mut self.seconds,
            Role::Copies => &mut self.copies,
            Role::Other
            | Role::Type
            | Role::Media
            | Role::LongMedia
            | Role::File
            | Role::FileIds
            | Role::Elsewhere
            | Role::Prompt
            | Role::Tools
            | Role::Quiet => return,
        };
        *place = (*place).max(number);
    }
}

struct Walk {
    pictures: bool,
    open: Vec<Frame>,
    found: Found,
}

/// An object or a list that is open.
#[derive(Debug, Clone, Copy)]
struct Frame {
    list: bool,
    /// The role of the member that comes, or of the key under which the list stands.
    role: Role,
    /// Whether it says that it is media.
    typed: bool,
    /// Whether it was counted as such, by the key under which it stands or by one of its own.
    counted: bool,
    /// Whether the key under which it stands was counted, and none of its own yet: the first is the same part.
    credit: bool,
    /// Whether names mean nothing in it.
    quiet: bool,
}

/// A value, as far as it matters.
#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a [u8]),
    Word(&'a [u8]),
    Object,
    List,
}

impl Walk {
    fn see(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Key(key) => self.key(key),
            Piece::Text(text) => self.value(Value::Text(text)),
            Piece::Word(word) => self.value(Value::Word(word)),
            Piece::Object => self.begin(Value::Object),
            Piece::List => self.begin(Value::List),
            Piece::End => {
                let closed = self.open.pop();
                if closed.is_some_and(|frame| frame.typed && !frame.counted && !frame.quiet) {
                    self.count();
                }
            }
        }
    }

    fn key(&mut self, key: &[u8]) {
        let top = self.open.len() == 1;
        let pictures = self.pictures;
        let key = decoded(key);
        if let Some(frame) = self.open.last_mut() {
            frame.role = if top {
                Role::at_the_top(&key, pictures)
            } else {
                Role::within(&key, pictures)
            };
        }
    }

    fn begin(&mut self, value: Value<'_>) {
        let list = matches!(value, Value::List);
        let parent = self.open.last().copied();
        if parent.is_some() {
            self.value(value);
        }
        let role = parent.map_or(Role::Other, |parent| parent.role);
        let is_media = matches!(role, Role::Media | Role::LongMedia | Role::File | Role::FileIds);
        self.open.push(Frame {
            list,
            role: if list { role } else { Role::Other },
            typed: false,
            counted: is_media && !list,
            credit: is_media && !list,
            quiet: parent.is_some_and(|parent| parent.quiet) || matches!(role, Role::Quiet | Role::Tools),
        });
    }

    fn value(&mut self, value: Value<'_>) {
        let Some(frame) = self.open.last().copied() else {
            return;
        };
        match (frame.role, value) {
            (Role::Type, Value::Text(kind)) => self.kind(&decoded(kind)),
            // Its entries count, each for itself.
            (Role::Media | Role::LongMedia | Role::File | Role::FileIds, Value::List) => {}
            (Role::LongMedia, Value::Text(_) | Value::Object) => {
                self.found.elsewhere = true;
                self.part();
            }
            (Role::Media, Value::Text(text)) if !text.is_empty() => self.part(),
            (Role::File, Value::Text(text)) if self.pictures || !is_plain(text) => self.part(),
            (Role::Media | Role::File, Value::Object) => self.part(),
            (Role::FileIds, Value::Text(id)) if !id.is_empty() => {
                self.found.elsewhere = true;
                self.part();
            }
            (Role::Elsewhere, Value::Text(_) | Value::Object) | (Role::Prompt, Value::Object)
                if !frame.list || frame.role == Role::Elsewhere =>
            {
                self.found.elsewhere = true;
            }
            (Role::Prompt, Value::Text(_) | Value::List | Value::Object)
                if frame.list && self.open.len() == 2 =>
            {
                self.found.prompts = self.found.prompts.saturating_add(1);
            }
            (Role::Other | Role::Prompt, Value::Text(text)) => {
                if !frame.counted && (is_data(text) || (self.pictures && hides(text))) {
                    self.part();
                }
            }
            (role, Value::Text(text)) if role.is_measure() => self.found.measure(role, &decoded(text)),
            (role, Value::Word(word)) => self.found.measure(role, word),
            (_, Value::Text(_) | Value::Object | Value::List) => {}
        }
    }

    /// An object says what it is.
    fn kind(&mut self, kind: &[u8]) {
        let is_tool = self.open.len() == 3 && self.open.get(1).is_some_and(|frame| frame.role == Role::Tools);
        // A source that is fetched may be a document of any length.
        self.found.elsewhere |= roles::is_reference(kind);
        self.found.elsewhere |= is_tool && !roles::is_plain_tool(kind);
        if let Some(frame) = self.open.last_mut() {
            frame.typed |= roles::is_media_type(kind);
        }
    }

    /// A value is media.
    fn part(&mut self) {
        let Some(frame) = self.open.last_mut().filter(|frame| !frame.quiet) else {
            return;
        };
        if !frame.list {
            frame.counted = true;
            if std::mem::take(&mut frame.credit) {
                return;
            }
        }
        self.count();
    }

    fn count(&mut self) {
        self.found.media = self.found.media.saturating_add(1);
    }
}

/// A string as it reads; as it is written where it has no escapes or can't be read.
fn decoded(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let quoted = [b"\"", raw, b"\""].concat();
    let decoded = serde_json::from_slice::<String>(&quoted);
    decoded.map_or(Cow::Borrowed(raw), |text| Cow::Owned(text.into_bytes()))
}

/// Whether a string is a word, not a file and not where one is.
fn is_plain(text: &[u8]) -> bool {
    text.len() <= PLAIN && !text.iter().any(|byte| matches!(byte, b':' | b'\\'))
}

/// Whether the beginning of a string is written so that it reads otherwise.
fn hides(text: &[u8]) -> bool {
    let start = text.get(..HIDDEN).unwrap_or(text);
    start.windows(2).any(|pair| pair == b"\\u")
}

/// Whether a string has a file in it.
fn is_data(text: &[u8]) -> bool {
    text.get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"data:"))
}
