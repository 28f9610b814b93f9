//! What a model costs: the cost of a call out of what it has used, and the most that it can cost beforehand.
//!
//! All sums are of atto-dollars in 128 bits and are rounded up to whole nano-dollars once, at the end. A sum that is
//! beyond all bounds is the most that an amount can be.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::types::{Demand, Factor, Money, Rate, Tier, Usage};

/// The most tokens of an image, a piece of sound or film, or a document: vision models make up to 16,384 of a picture, and
/// cut what is more.
pub const MEDIA_TOKENS: u64 = 16_384;

/// The most tokens of text that a call refers to where the model's context length is not known: the longest there is.
pub const UNKNOWN_CONTEXT: u64 = 1_048_576;

/// The fewest bytes of a second of sound: the lowest bit rate that speech codecs have is about 4 kbit/s.
pub const SOUND_BYTES_PER_SECOND: u64 = 500;

/// The longest sound that a call refers to without having it in its body, in seconds: six hours, beyond what services
/// take.
pub const LONGEST_SOUND: u64 = 6 * 60 * 60;

/// The longest film that is made where a call does not say, in seconds: models make 5 to 12.
pub const LONGEST_FILM: u64 = 60;

/// The most frames of a film where a call does not say: that many seconds at 30 frames a second.
pub const MOST_FRAMES: u64 = 1_800;

/// The longest work on a call where time is paid, in seconds: as long as the gate waits for an answer's head.
pub const LONGEST_WORK: u64 = 1_800;

/// The pixels of one unit of picture: a square of 1024 × 1024.
const PIXELS_PER_UNIT: u64 = 1024 * 1024;

/// Atto-dollars in a nano-dollar.
const ATTOS_PER_NANO: u128 = 1_000_000_000;

/// What calls to one model cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    list: Charge,
    /// What counts instead until then, in time since the Unix epoch; no end means always.
    discounted: Option<(Charge, Option<Duration>)>,
    /// The most tokens of a prompt and its answer.
    context: Option<u64>,
    /// The most tokens of an answer.
    max_output: Option<u64>,
}

/// What is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// Tokens, by service tier.
    Tokens(Tiers),
    /// Seconds of sound that goes in.
    SoundSeconds(Rate),
    /// Characters of text that goes in.
    Characters(Rate),
    /// Pictures that come out.
    Pictures(Pictures),
    /// Seconds of film that comes out.
    FilmSeconds(Rate),
    /// Frames of film that comes out.
    Frames(Rate),
    /// Seconds of work. How long it was no answer says, so there is a ceiling and no cost.
    WorkSeconds(Rate),
}

/// The prices of tokens in each service tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiers {
    /// As calls are served that ask for nothing else.
    pub default: TokenRates,
    /// Before others.
    pub priority: TokenRates,
    /// After others.
    pub flex: TokenRates,
}

/// The prices of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenRates {
    /// Of the prompt.
    pub input: Rate,
    /// Of the prompt, out of a cache.
    pub cached: Rate,
    /// Of the prompt, into a cache.
    pub cache_write: Rate,
    /// Of the answer.
    pub output: Rate,
}

/// How pictures are paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pictures {
    /// For a square of 1024 × 1024 pixels; for a whole picture where size does not count.
    pub unit: Rate,
    /// The pixels of a picture that nothing is said of; `None` where size does not count.
    pub pixels: Option<NonZeroU64>,
    /// The steps that the unit stands for; `None` where steps do not count.
    pub steps: Option<NonZeroU64>,
}

impl Price {
    /// A price without discount whose model's bounds are not known.
    pub const fn new(list: Charge) -> Self {
        Self {
            list,
            discounted: None,
            context: None,
            max_output: None,
        }
    }

    /// The same, with only `left` of it to pay before `until`, in time since the Unix epoch (`None`: always).
    #[must_use]
    pub fn discounted(self, left: Factor, until: Option<Duration>) -> Self {
        let discounted = Some((self.list.times(left), until));
        Self { discounted, ..self }
    }

    /// The same, of a model whose prompt and answer have at most `context` tokens, and whose answer `max_output`.
    #[must_use]
    pub fn bounded(self, context: Option<u64>, max_output: Option<u64>) -> Self {
        Self {
            context,
            max_output,
            ..self
        }
    }

    /// What a call cost that used `usage`; `None` where that does not tell and `demand` does not either.
    ///
    /// `now` is the time since the Unix epoch and decides whether a discount counts. Counts of tokens of which both are
    /// 0 tell nothing. What no answer reports (characters, pictures) is taken from `demand`, of which characters are a
    /// bound and not a count.
    pub fn cost(&self, usage: &Usage, demand: &Demand, now: Duration) -> Option<Money> {
        match self.charge(now) {
            Charge::Tokens(tiers) => {
                (usage.input > 0 || usage.output > 0).then(|| tokens_cost(tiers.of(demand.tier), usage))
            }
            Charge::SoundSeconds(rate) => usage.duration.map(|sound| for_time(*rate, sound)),
            Charge::Characters(rate) => Some(each(*rate, [demand.bytes])),
            Charge::Pictures(pictures) => Some(pictures.cost(demand, 0)),
            Charge::FilmSeconds(rate) => match (usage.duration, demand.seconds) {
                (Some(film), _) => Some(for_time(*rate, film)),
                (None, seconds) => seconds.map(|seconds| each(*rate, [seconds, demand.answers])),
            },
            Charge::Frames(rate) => demand.frames.map(|frames| each(*rate, [frames, demand.answers])),
            Charge::WorkSeconds(_) => None,
        }
    }

    /// The most that a call can cost; `unnamed_output` is how many tokens an answer may have where the call does not
    /// say.
    ///
    /// It leaves a discount out, which may end meanwhile, and takes every token of the prompt for the dearest kind.
    pub fn ceiling(&self, demand: &Demand, unnamed_output: u64) -> Money {
        match &self.list {
            Charge::Tokens(tiers) => {
                let rates = tiers.of(demand.tier);
                let output = demand.output.unwrap_or(unnamed_output).min(self.most_output());
                money(self.tokens_ceiling(rates, demand, output), 1)
            }
            Charge::SoundSeconds(rate) => each(*rate, [sound_bound(demand)]),
            Charge::Characters(rate) => each(*rate, [demand.bytes]),
            Charge::Pictures(pictures) => pictures.cost(demand, PIXELS_PER_UNIT),
            Charge::FilmSeconds(rate) => {
                each(*rate, [demand.seconds.unwrap_or(LONGEST_FILM), demand.answers])
            }
            Charge::Frames(rate) => each(*rate, [demand.frames.unwrap_or(MOST_FRAMES), demand.answers]),
            Charge::WorkSeconds(rate) => each(*rate, [LONGEST_WORK]),
        }
    }

    /// Whether a bound on its answer's tokens makes a call cheaper.
    pub fn has_output(&self) -> bool {
        match &self.list {
            Charge::Tokens(tiers) => tiers.all().any(|rates| rates.output > Rate::ZERO),
            Charge::SoundSeconds(_)
            | Charge::Characters(_)
            | Charge::Pictures(_)
            | Charge::FilmSeconds(_)
            | Charge::Frames(_)
            | Charge::WorkSeconds(_) => false,
        }
    }

    /// Whether its cost goes by what a call asks for, and not by what its answer reports.
    pub fn goes_by_demand(&self) -> bool {
        match &self.list {
            Charge::Tokens(_) | Charge::SoundSeconds(_) | Charge::WorkSeconds(_) => false,
            Charge::Characters(_) | Charge::Pictures(_) | Charge::FilmSeconds(_) | Charge::Frames(_) => true,
        }
    }

    /// The most tokens that each answer may have so that the call's ceiling is within `money`: 0 if it never is, and at
    /// most what the model can write (`u64::MAX` where that is not known, or where output does not count).
    pub fn output_within(&self, demand: &Demand, money: Money) -> u64 {
        let most = self.most_output();
        let asking = |output| Demand {
            output: Some(output),
            ..*demand
        };
        if self.ceiling(&asking(most), most) <= money {
            return most;
        }
        let Charge::Tokens(tiers) = &self.list else {
            return 0;
        };
        let rates = tiers.of(demand.tier);
        let each = u128::from(demand.answers).saturating_mul(rates.output.as_attos());
        let paid = u128::from(money.as_nanos().unsigned_abs()).saturating_mul(ATTOS_PER_NANO);
        let left = self
            .tokens_ceiling(rates, demand, 0)
            .and_then(|input| paid.checked_sub(input));
        let output = left.and_then(|left| left.checked_div(each)).unwrap_or(0);
        u64::try_from(output).unwrap_or(u64::MAX).min(most)
    }

    /// The most tokens of an answer that the model can write.
    fn most_output(&self) -> u64 {
        let bounds = [self.max_output, self.context];
        bounds.into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    fn charge(&self, now: Duration) -> &Charge {
        match &self.discounted {
            Some((charge, until)) if until.is_none_or(|until| now < until) => charge,
            _ => &self.list,
        }
    }

    /// Atto-dollars for the longest prompt and answers of `output` tokens each; `None` beyond all bounds.
    fn tokens_ceiling(&self, rates: &TokenRates, demand: &Demand, output: u64) -> Option<u128> {
        let input = product(rates.dearest_input(), [self.input_bound(rates, demand)])?;
        input.checked_add(product(rates.output, [output, demand.answers])?)
    }

    /// The most tokens of a call's prompts.
    fn input_bound(&self, rates: &TokenRates, demand: &Demand) -> u64 {
        let media = demand.media.saturating_mul(MEDIA_TOKENS);
        let body = demand.bytes.saturating_add(media);
        let body = match demand.elsewhere {
            false => body,
            true => body.saturating_add(self.context.unwrap_or(UNKNOWN_CONTEXT)),
        };
        // Models that only read take many texts at once, each as long as the context.
        match self.context.filter(|_| rates.output > Rate::ZERO) {
            Some(context) => body.min(context.saturating_mul(demand.answers)),
            None => body,
        }
    }
}

impl Charge {
    /// Whether nothing of it costs anything.
    pub fn is_free(&self) -> bool {
        match self {
            Self::Tokens(tiers) => tiers.all().all(|rates| *rates == TokenRates::default()),
            Self::Pictures(pictures) => pictures.unit == Rate::ZERO,
            Self::SoundSeconds(rate)
            | Self::Characters(rate)
            | Self::FilmSeconds(rate)
            | Self::Frames(rate)
            | Self::WorkSeconds(rate) => *rate == Rate::ZERO,
        }
    }

    fn times(self, factor: Factor) -> Self {
        match self {
            Self::Tokens(tiers) => Self::Tokens(Tiers {
                default: tiers.default.times(factor),
                priority: tiers.priority.times(factor),
                flex: tiers.flex.times(factor),
            }),
            Self::SoundSeconds(rate) => Self::SoundSeconds(rate.times(factor)),
            Self::Characters(rate) => Self::Characters(rate.times(factor)),
            Self::Pictures(pictures) => Self::Pictures(Pictures {
                unit: pictures.unit.times(factor),
                ..pictures
            }),
            Self::FilmSeconds(rate) => Self::FilmSeconds(rate.times(factor)),
            Self::Frames(rate) => Self::Frames(rate.times(factor)),
            Self::WorkSeconds(rate) => Self::WorkSeconds(rate.times(factor)),
        }
    }
}

impl Tiers {
    /// The prices of one tier.
    pub const fn of(&self, tier: Tier) -> &TokenRates {
        match tier {
            Tier::Default => &self.default,
            Tier::Priority => &self.priority,
            Tier::Flex => &self.flex,
        }
    }

    fn all(&self) -> impl Iterator<Item = &TokenRates> {
        [&self.default, &self.priority, &self.flex].into_iter()
    }
}

impl TokenRates {
    /// Each of them so many times.
    #[must_use]
    pub fn times(self, factor: Factor) -> Self {
        Self {
            input: self.input.times(factor),
            cached: self.cached.times(factor),
            cache_write: self.cache_write.times(factor),
            output: self.output.times(factor),
        }
    }

    fn dearest_input(&self) -> Rate {
        self.input.max(self.cached).max(self.cache_write)
    }
}

impl Pictures {
    /// What the pictures cost that are asked for; one whose size is not named has at least `least` pixels.
    ///
    /// By the upstream's own formula: the unit × width × height / 1024² × steps / default steps.
    fn cost(&self, demand: &Demand, least: u64) -> Money {
        let (pixels, per_pixels) = match self.pixels {
            Some(usual) => (demand.pixels.unwrap_or(usual.get().max(least)), PIXELS_PER_UNIT),
            None => (1, 1),
        };
        let (steps, per_steps) = match self.steps {
            Some(usual) => (demand.steps.unwrap_or(usual.get()), usual.get()),
            None => (1, 1),
        };
        money(
            product(self.unit, [pixels, steps, demand.answers]),
            u128::from(per_pixels).saturating_mul(u128::from(per_steps)),
        )
    }
}

fn tokens_cost(rates: &TokenRates, usage: &Usage) -> Money {
    let plain = usage
        .input
        .saturating_sub(usage.cached)
        .saturating_sub(usage.cache_write);
    let parts = [
        (rates.input, plain),
        (rates.cached, usage.cached),
        (rates.cache_write, usage.cache_write),
        (rates.output, usage.output),
    ];
    let sum = parts.into_iter().try_fold(0_u128, |sum, (rate, count)| {
        sum.checked_add(product(rate, [count])?)
    });
    money(sum, 1)
}

/// The most seconds of sound that a call can bring.
fn sound_bound(demand: &Demand) -> u64 {
    let inside = demand.bytes.div_ceil(SOUND_BYTES_PER_SECOND);
    if demand.elsewhere {
        inside.max(LONGEST_SOUND)
    } else {
        inside
    }
}

fn for_time(rate: Rate, time: Duration) -> Money {
    const NANOS: u128 = 1_000_000_000;
    money(rate.as_attos().checked_mul(time.as_nanos()), NANOS)
}

/// `rate` for the product of the counts.
fn each<const N: usize>(rate: Rate, counts: [u64; N]) -> Money {
    money(product(rate, counts), 1)
}

fn product<const N: usize>(rate: Rate, counts: [u64; N]) -> Option<u128> {
    let mut counts = counts.into_iter().map(u128::from);
    counts.try_fold(rate.as_attos(), u128::checked_mul)
}

/// Atto-dollars divided by `per`, rounded up: the only place that rounds.
fn money(attos: Option<u128>, per: u128) -> Money {
    let nanos = attos
        .zip(per.checked_mul(ATTOS_PER_NANO))
        .map(|(attos, per)| attos.div_ceil(per));
    let nanos = nanos.and_then(|nanos| i64::try_from(nanos).ok());
    nanos.and_then(Money::from_nanos).unwrap_or(Money::MAX)
}

#[cfg(test)]
mod tests;
