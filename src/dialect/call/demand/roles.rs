//! What the keys of a body mean to what a call may cost, and how their values are read.
//!
//! Keys count in any case of their letters: some upstreams match them so, and whoever hides a picture must not pay
//! less.

/// The longest key that is looked at, in bytes.
const MAX_KEY: usize = 128;

/// The pixels of a side that is not given beside one that is.
const USUAL_SIDE: u64 = 1024;

/// What a key announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Other,
    /// What a part is.
    Type,
    /// An image, sound, a video or a document.
    Media,
    /// Where sound, a video or a document lies, which may be of any length.
    LongMedia,
    /// The same, if it is more than a plain word: tools have arguments of such names.
    File,
    /// Files that the upstream keeps.
    FileIds,
    /// Text that is not in the body.
    Elsewhere,
    Prompt,
    Tools,
    /// Schemas and the like, in which names mean nothing.
    Quiet,
    Size,
    Width,
    Height,
    Steps,
    Frames,
    Seconds,
    /// How many answers or pictures.
    Copies,
}

impl Role {
    /// The role of a key at the top of a body.
    pub(super) fn at_the_top(key: &[u8], pictures: bool) -> Self {
        let is = |names: &[&str]| is_one_of(key, names);
        if is(&["prompt"]) {
            Self::Prompt
        } else if is(&["tools"]) {
            Self::Tools
        } else if is(&[
            "previous_response_id",
            "conversation",
            "container",
            "mcp_servers",
            "web_search_options",
            "plugins",
        ]) {
            Self::Elsewhere
        } else if !pictures
            && is(&[
                "response_format",
                "text",
                "functions",
                "output_format",
                "output_config",
                "metadata",
                "guided_json",
                "structured_outputs",
                "tool_choice",
            ])
        {
            Self::Quiet
        } else if is(&["num_outputs", "num_return_sequences"]) {
            Self::Copies
        } else {
            let role = Self::within(key, pictures);
            // At the top these are policy keys, which are read as such.
            if role == Self::Copies { Self::Other } else { role }
        }
    }

    /// Whether it is that of a number.
    pub(super) fn is_measure(self) -> bool {
        match self {
            Self::Size
            | Self::Width
            | Self::Height
            | Self::Steps
            | Self::Frames
            | Self::Seconds
            | Self::Copies => true,
            Self::Other
            | Self::Type
            | Self::Media
            | Self::LongMedia
            | Self::File
            | Self::FileIds
            | Self::Elsewhere
            | Self::Prompt
            | Self::Tools
            | Self::Quiet => false,
        }
    }

    /// The role of a key further down. Where `pictures` are made, sizes and counts stand there too.
    pub(super) fn within(key: &[u8], pictures: bool) -> Self {
        let is = |names: &[&str]| is_one_of(key, names);
        if key.len() > MAX_KEY || is(&["role", "content", "text"]) {
            Self::Other
        } else if is(&["type"]) {
            Self::Type
        } else if is(&["file_id", "file_ids", "vector_store_ids"]) {
            Self::FileIds
        } else if is(&["file", "files", "source", "media", "pdf"]) {
            Self::File
        } else if pictures && let Some(role) = Self::measure(key) {
            role
        } else if is(&["audio_url", "video_url", "file_url", "document_url"]) {
            Self::LongMedia
        } else if is(&["file_data", "input_file", "inline_data", "inlinedata"]) || names_media(key) {
            Self::Media
        } else {
            Self::Other
        }
    }

    fn measure(key: &[u8]) -> Option<Self> {
        let is = |names: &[&str]| is_one_of(key, names);
        Some(if is(&["size", "image_size", "video_size", "resolution"]) {
            Self::Size
        } else if is(&["width"]) {
            Self::Width
        } else if is(&["height"]) {
            Self::Height
        } else if is(&["num_inference_steps", "steps", "num_steps", "inference_steps"]) {
            Self::Steps
        } else if is(&["num_frames", "frames", "video_frames"]) {
            Self::Frames
        } else if is(&[
            "seconds",
            "duration",
            "num_seconds",
            "duration_seconds",
            "video_length",
        ]) {
            Self::Seconds
        } else if is(&[
            "n",
            "best_of",
            "num_images",
            "num_responses",
            "num_outputs",
            "num_return_sequences",
        ]) {
            Self::Copies
        } else {
            return None;
        })
    }
}

/// Whether what a part says that it is has more tokens than bytes.
pub(super) fn is_media_type(kind: &[u8]) -> bool {
    is_one_of(
        kind,
        &["file", "input_file", "document", "input_document", "media", "pdf"],
    ) || names_media(kind)
}

/// Whether a kind says that what is meant lies somewhere else.
pub(super) fn is_reference(kind: &[u8]) -> bool {
    is_one_of(kind, &["item_reference", "url"])
}

/// Whether a tool is nothing but its description: what it gives comes back in another call.
pub(super) fn is_plain_tool(kind: &[u8]) -> bool {
    is_one_of(kind, &["function", "custom"])
}

/// Whether a name has an image, sound or a video in it.
fn names_media(name: &[u8]) -> bool {
    name.windows(5)
        .any(|part| is_one_of(part, &["image", "audio", "video"]))
        || name
            .windows(10)
            .any(|part| part.eq_ignore_ascii_case(b"screenshot"))
}

fn is_one_of(text: &[u8], names: &[&str]) -> bool {
    names
        .iter()
        .any(|name| name.as_bytes().eq_ignore_ascii_case(text))
}

/// A whole number out of a JSON number or the text of a string, a broken one rounded up. 0 and what is below count as
/// absent, so does a word; digits that can't be read are beyond any bound.
pub(super) fn whole(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).unwrap_or("?0");
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '"');
    let number = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().unwrap_or(u64::MAX)
    } else if let Ok(number) = text.trim_end_matches(['s', 'S']).parse::<f64>() {
        if number.is_nan() || number <= 0.0 {
            return None;
        }
        format!("{:.0}", number.ceil()).parse().unwrap_or(u64::MAX)
    } else if text.contains(char::is_numeric) {
        u64::MAX
    } else {
        return None;
    };
    Some(number).filter(|number| *number > 0)
}

/// The pixels of a size: `WxH`, a side of a square, `2K`, `720p`; `None` for a word.
pub(super) fn pixels(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text)
        .unwrap_or("?0")
        .trim_matches(|c: char| c.is_whitespace() || c == '"');
    if let Some((width, height)) = text.split_once(['x', 'X', '*', '\u{d7}', ':']) {
        return Some(whole(width.as_bytes())?.saturating_mul(whole(height.as_bytes())?));
    }
    let (side, wider) = if let Some(thousands) = text.strip_suffix(['k', 'K']) {
        (whole(thousands.as_bytes())?.saturating_mul(1024), 1)
    } else if let Some(lines) = text.strip_suffix(['p', 'P']) {
        (whole(lines.as_bytes())?, 2)
    } else {
        (whole(text.as_bytes())?, 1)
    };
    Some(side.saturating_mul(side).saturating_mul(wider))
}

/// The pixels of two sides; of one alone the other may be as long, and is not shorter than is usual.
pub(super) fn area(width: Option<u64>, height: Option<u64>) -> Option<u64> {
    match (width, height) {
        (Some(width), Some(height)) => Some(width.saturating_mul(height)),
        (None, None) => None,
        (Some(side), None) | (None, Some(side)) => Some(side.saturating_mul(side.max(USUAL_SIDE))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_out_of_anything_that_an_upstream_could_take_for_one() {
        for (text, want) in [
            ("5", Some(5)),
            ("\" 0512\"", Some(512)),
            ("1024.0", Some(1024)),
            ("1.2", Some(2)),
            ("1e3", Some(1000)),
            ("8s", Some(8)),
            ("1e300", Some(u64::MAX)),
            ("99999999999999999999", Some(u64::MAX)),
            ("1_024", Some(u64::MAX)),
            ("\u{0661}", Some(u64::MAX)),
            ("0", None),
            ("-5", None),
            ("null", None),
            ("auto", None),
            ("", None),
        ] {
            assert_eq!(whole(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn a_size_has_two_sides_or_one_or_none() {
        for (text, want) in [
            ("1024x768", Some(1024 * 768)),
            ("1024 X 768", Some(1024 * 768)),
            ("512", Some(512 * 512)),
            ("2K", Some(2048 * 2048)),
            ("720p", Some(720 * 720 * 2)),
            ("auto", None),
            ("", None),
        ] {
            assert_eq!(pixels(text.as_bytes()), want, "{text}");
        }
        assert_eq!(area(Some(512), None), Some(512 * 1024));
        assert_eq!(area(None, Some(4096)), Some(4096 * 4096));
        assert_eq!(area(None, None), None);
    }
}
