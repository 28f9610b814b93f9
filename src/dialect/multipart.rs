//! A multipart form, spooled whole while its parts are looked at as they come.
//!
//! The bytes go upstream as they came, so the form must have one reading: a preamble, an epilogue, a second `model`
//! or a boundary inside a part is refused. `multer` parses; the delimiters are counted beside it, so that nothing can
//! hide where two parsers see different parts.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body::Body as HttpBody;
use tokio::sync::mpsc;

use super::delimiters::{Delimiters, MAX_PARTS};
use super::digest::Digest;
use super::fold::{Likeness, POLICY_KEYS, likeness};
use super::parameters::Parameters;
use super::spool::Spool;
use crate::body::{self, Body, BoxError, ReadError};

/// The longest value of a part that the gate reads, in bytes.
const MAX_VALUE: usize = 4 * 1024;

/// The longest value and the longest name of any other field that is kept, in bytes.
const MAX_PLAIN: usize = 64;

/// How much may come without a part's head or data coming out of it, in bytes: the bound of the parser's buffer.
const MAX_UNPARSED: usize = 1024 * 1024;

/// The longest boundary (RFC 2046, section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The beginning of a part's content type that some parsers take for more parts.
const NESTED: &[u8] = b"multipart/";

/// The length of CRLF.
const LINE_BREAK: u64 = 2;

/// The field that tells some servers the charset of all others (RFC 7578, section 4.6).
const CHARSET_FIELD: &str = "_charset_";

/// Why a form is refused.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// The content type names no boundary, or an odd one.
    #[error("the content type must name one boundary of 1 to {MAX_BOUNDARY} characters")]
    Boundary,
    /// It is no form that every parser reads alike.
    #[error("{0}")]
    Malformed(&'static str),
    /// A policy field stands twice.
    #[error("`{0}` stands twice")]
    Duplicate(&'static str),
    /// A field's name resembles a policy field's.
    #[error("a field's name resembles `{0}` but is not the same")]
    Lookalike(&'static str),
    /// It could not be read from the client.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be spooled.
    #[error("the form could not be spooled")]
    Spool(#[source] std::io::Error),
}

/// A form as it came, with the policy fields that stand in it.
#[derive(Debug)]
pub struct Form {
    spool: Spool,
    fields: Vec<Field>,
    others: Vec<Other>,
    /// Of every part's name and content, where that was asked for: two forms with other boundaries have the same.
    digest: Option<Box<[u8; 32]>>,
    /// What is replaced or taken out.
    edits: Vec<(Range<u64>, Bytes)>,
}

/// A policy field.
#[derive(Debug)]
struct Field {
    name: &'static str,
    value: String,
    place: Range<u64>,
    /// What is taken out where the field is not to be there.
    part: Range<u64>,
}

/// Any other part.
#[derive(Debug)]
pub(super) enum Other {
    File,
    /// A field, and its value where it is short.
    Field(String, Option<String>),
}

impl Form {
    /// Reads a form whole, up to `limit` bytes, waiting at most `idle` for each piece; `digested` asks for a digest.
    ///
    /// Dropping the future drops what was spooled.
    ///
    /// # Errors
    /// See [`FormError`].
    pub async fn read<B>(
        mut body: B,
        content_type: &str,
        (limit, idle): (u64, Duration),
        digested: bool,
    ) -> Result<Self, FormError>
    where
        B: HttpBody<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let boundary = boundary(content_type).ok_or(FormError::Boundary)?;
        if body.size_hint().lower() > limit {
            return Err(ReadError::TooLarge { limit }.into());
        }
        // One piece may wait: reading, spooling and parsing go on side by side at the pace of the slowest.
        let (pieces, parsing) = mpsc::channel(1);
        let mut spool = Spool::default();
        let mut delimiters = Delimiters::new(boundary);
        let reading = async {
            while let Some(piece) = body::next_data(&mut body, idle).await? {
                spool.push(&piece).await.map_err(FormError::Spool)?;
                if spool.size() > limit {
                    return Err(ReadError::TooLarge { limit }.into());
                }
                delimiters.feed(&piece);
                // After the last delimiter the parser does not listen any more; the delimiters still do.
                pieces.send(piece).await.ok();
            }
            drop(pieces);
            Ok(())
        };
        let ((), parts) = tokio::try_join!(reading, parse(parsing, boundary, digested))?;
        let starts = delimiters.finish(parts.count).map_err(FormError::Malformed)?;
        let fields = parts.fields.into_iter().map(|(index, name, value)| {
            let start = starts.get(index).copied().unwrap_or_default();
            let end = starts.get(index + 1).copied().unwrap_or_default();
            let len = u64::try_from(value.len()).unwrap_or_default();
            Field {
                name,
                value,
                place: end.saturating_sub(len)..end,
                part: start..end,
            }
        });
        Ok(Self {
            fields: fields.collect(),
            others: parts.others,
            digest: parts.digest.map(|digest| Box::new(digest.finish())),
            spool,
            edits: Vec::new(),
        })
    }

    /// The value of a policy field.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .map(|field| field.value.as_str())
    }

    /// The parts that are no policy fields.
    pub(super) fn others(&self) -> &[Other] {
        &self.others
    }

    /// The digest of its parts, if one was asked for.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        self.digest.as_deref().copied()
    }

    /// Its length in bytes.
    pub(super) fn size(&self) -> u64 {
        self.spool.size()
    }

    /// Asks for another value of a policy field; `other` gives it out of the present one.
    pub fn replace<T: ToString>(&mut self, name: &str, other: impl FnOnce(&str) -> Option<T>) {
        let Some(field) = self.fields.iter().find(|field| field.name == name) else {
            return;
        };
        if let Some(value) = other(&field.value) {
            let place = field.place.clone();
            self.edits.retain(|(edited, _)| *edited != place);
            self.edits.push((place, Bytes::from(value.to_string())));
        }
    }

    /// Takes a policy field out.
    pub fn remove(&mut self, name: &str) {
        let field = self.fields.iter().position(|field| field.name == name);
        if let Some(at) = field {
            let field = self.fields.swap_remove(at);
            self.edits.retain(|(edited, _)| *edited != field.place);
            self.edits.push((field.part, Bytes::new()));
        }
    }

    /// The form for the upstream: as it came, but for what was replaced or taken out.
    ///
    /// # Errors
    /// The spooled file can't be read.
    pub async fn into_body(mut self) -> std::io::Result<Body> {
        self.edits.sort_by_key(|(place, _)| place.start);
        let gone = self.edits.iter().filter(|(_, put)| put.is_empty());
        let begins = gone.fold(
            0,
            |begins, (place, _)| {
                if place.start == begins { place.end } else { begins }
            },
        );
        if begins > 0 {
            // A form begins with its boundary: what was the line break before it goes with the first parts.
            self.edits
                .push((begins..begins.saturating_add(LINE_BREAK), Bytes::new()));
        }
        self.spool.into_body(self.edits).await
    }
}

/// What the parser saw.
#[derive(Default)]
struct Parts {
    count: usize,
    fields: Vec<(usize, &'static str, String)>,
    others: Vec<Other>,
    digest: Option<Digest>,
}

async fn parse(pieces: mpsc::Receiver<Bytes>, boundary: &str, digested: bool) -> Result<Parts, FormError> {
    let unparsed = Arc::new(AtomicUsize::new(0));
    let waiting = Arc::clone(&unparsed);
    let stream = futures_util::stream::unfold((pieces, waiting), |(mut pieces, waiting)| async move {
        let piece = pieces.recv().await?;
        let before = waiting.fetch_add(piece.len(), Ordering::Relaxed);
        let bounded = if before > MAX_UNPARSED {
            Err(Unbounded)
        } else {
            Ok(piece)
        };
        Some((bounded, (pieces, waiting)))
    });
    let mut form = multer::Multipart::new(stream, boundary);
    let mut parts = Parts {
        digest: digested.then(Digest::default),
        ..Parts::default()
    };
    while let Some(mut part) = form.next_field().await.map_err(malformed)? {
        unparsed.store(0, Ordering::Relaxed);
        let index = parts.count;
        parts.count += 1;
        if parts.count > MAX_PARTS {
            return Err(FormError::Malformed("the form has too many parts"));
        }
        let kept = policy_field(part.headers())?;
        if let Some(name) = kept
            && parts.fields.iter().any(|(_, known, _)| *known == name)
        {
            return Err(FormError::Duplicate(name));
        }
        let mut other = kept.is_none().then(|| Other::of(&part)).flatten();
        let mut value = Vec::new();
        if let Some(digest) = &mut parts.digest {
            digest.begin_part(part.headers());
        }
        while let Some(data) = part.chunk().await.map_err(malformed)? {
            unparsed.store(0, Ordering::Relaxed);
            if let Some(digest) = &mut parts.digest {
                digest.push(&data);
            }
            if kept.is_some() {
                value.extend_from_slice(&data);
            }
            if let Some(other) = &mut other {
                other.push(&data);
            }
            if value.len() > MAX_VALUE {
                return Err(FormError::Malformed("a field that decides something is too long"));
            }
        }
        if let Some(name) = kept {
            let value = String::from_utf8(value).map_err(|_| FormError::Malformed("a field is not UTF-8"))?;
            parts.fields.push((index, name, value));
        }
        parts.others.extend(other);
    }
    Ok(parts)
}

impl Other {
    /// A part of which nothing but its head is known. What is binary is a file, though no file name says so.
    fn of(part: &multer::Field<'_>) -> Option<Self> {
        let is_text = part.content_type().is_none_or(|kind| kind.type_() == "text");
        if part.file_name().is_some() || !is_text {
            return Some(Self::File);
        }
        let name = part.name().filter(|name| name.len() <= MAX_PLAIN)?;
        Some(Self::Field(name.to_owned(), Some(String::new())))
    }

    /// More of its value.
    fn push(&mut self, data: &[u8]) {
        let Self::Field(_, value) = self else { return };
        let text = std::str::from_utf8(data).ok();
        *value = match (value.take(), text) {
            (Some(value), Some(text)) if value.len().saturating_add(text.len()) <= MAX_PLAIN => {
                Some(value + text)
            }
            _ => None,
        };
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a part's head has no end")]
struct Unbounded;

fn malformed(_: multer::Error) -> FormError {
    FormError::Malformed("the body is no well-formed multipart form")
}

/// Which policy field a part is, by its one plain `name`.
fn policy_field(headers: &HeaderMap) -> Result<Option<&'static str>, FormError> {
    if headers.contains_key("content-transfer-encoding") {
        return Err(FormError::Malformed("a part has a content transfer encoding"));
    }
    let nested = |value: &HeaderValue| {
        let start = value.as_bytes().get(..NESTED.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(NESTED))
    };
    if headers.get_all(CONTENT_TYPE).iter().any(nested) {
        return Err(FormError::Malformed("a part is a form itself"));
    }
    let mut dispositions = headers.get_all(CONTENT_DISPOSITION).iter();
    let (Some(disposition), None) = (dispositions.next(), dispositions.next()) else {
        return Err(FormError::Malformed(
            "a part must have exactly one content disposition",
        ));
    };
    let disposition = std::str::from_utf8(disposition.as_bytes())
        .map_err(|_| FormError::Malformed("a content disposition is not UTF-8"))?;
    let disposition = Parameters::parse(disposition)
        .filter(|disposition| disposition.is("form-data"))
        .ok_or(FormError::Malformed("a content disposition is not plain"))?;
    let name = disposition
        .get("name")
        .filter(|name| !name.is_empty())
        .ok_or(FormError::Malformed("a part must have a name"))?;
    let is_file = disposition.get("filename").is_some() || disposition.get("filename*").is_some();
    match likeness(name, &POLICY_KEYS) {
        Likeness::Same(_) if is_file => Err(FormError::Malformed("a field that decides something is a file")),
        Likeness::Same(_) if !reads_as_ascii(headers) => Err(FormError::Malformed(
            "a field that decides something has another charset than UTF-8",
        )),
        Likeness::Same(name) => Ok(Some(name)),
        Likeness::Alike(name) => Err(FormError::Lookalike(name)),
        Likeness::Other if name == CHARSET_FIELD => {
            Err(FormError::Malformed("a field sets the charset of the others"))
        }
        Likeness::Other => Ok(None),
    }
}

/// Whether ASCII means ASCII in a part's charset: servers decode by it, and some take `base64` for one.
fn reads_as_ascii(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().all(|value| {
        let parsed = value.to_str().ok().and_then(Parameters::parse);
        parsed.is_some_and(|parsed| {
            let charset = parsed.get("charset").unwrap_or("utf-8");
            let plain = ["utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1"];
            plain.iter().any(|name| charset.eq_ignore_ascii_case(name))
        })
    })
}

/// The boundary of `multipart/form-data; boundary=…`, named once.
fn boundary(content_type: &str) -> Option<&str> {
    let boundary = Parameters::parse(content_type)
        .filter(|content_type| content_type.is("multipart/form-data"))?
        .get("boundary")?;
    // RFC 2046's `bchars`, without the space.
    let valid = boundary
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte));
    (valid && (1..=MAX_BOUNDARY).contains(&boundary.len())).then_some(boundary)
}

#[cfg(test)]
mod tests;
