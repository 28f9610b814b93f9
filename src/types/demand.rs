//! What a call may use at the most, as far as its own words bound it.

/// The bounds of one call, read out of its body before it goes upstream.
///
/// Whatever the call leaves open is `None`; what it costs then is bounded by the model's price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The length of the body in bytes. No text in it has more tokens or characters, and no file more bytes.
    pub bytes: u64,
    /// Parts that may have more tokens than bytes: images, audio, video, documents.
    pub media: u64,
    /// Whether it refers to text that is not in the body, such as an answer that the upstream keeps.
    pub elsewhere: bool,
    /// The most tokens of one answer.
    pub output: Option<u64>,
    /// How many answers or pictures are asked for, at least 1: lists of prompts times choices.
    pub answers: u64,
    /// The pixels of one picture.
    pub pixels: Option<u64>,
    /// The steps in which a picture is made.
    pub steps: Option<u64>,
    /// The frames of a video.
    pub frames: Option<u64>,
    /// The seconds of a video.
    pub seconds: Option<u64>,
    /// The service tier.
    pub tier: Tier,
}

/// Asks for one answer of unknown length and nothing else.
impl Default for Demand {
    fn default() -> Self {
        Self {
            bytes: 0,
            media: 0,
            elsewhere: false,
            output: None,
            answers: 1,
            pixels: None,
            steps: None,
            frames: None,
            seconds: None,
            tier: Tier::Default,
        }
    }
}

/// How urgently a call is served, which decides its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Tier {
    /// As calls are that ask for nothing else.
    #[default]
    Default,
    /// Before others, for more.
    Priority,
    /// After others, for less.
    Flex,
}
