//! Numbers in decimal notation, read digit by digit: never through floating point.

/// The longest number that is read, in bytes: more than a 64-bit float has in full.
pub(super) const MAX_LEN: usize = 1100;

/// What becomes of the decimals beyond the last that is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    Up,
    Down,
}

/// Why a text is no number of at least zero.
pub(super) enum Unreadable {
    NotANumber,
    Negative,
}

/// The parts of a decimal number.
pub(super) struct Number<'a> {
    negative: bool,
    whole: &'a str,
    decimals: &'a str,
    exponent: i64,
}

impl<'a> Number<'a> {
    /// A number of at least zero; what [`parse`](Self::parse) takes.
    pub(super) fn read(text: &'a str) -> Result<Self, Unreadable> {
        let number = Self::parse(text).ok_or(Unreadable::NotANumber)?;
        if number.negative && !number.is_zero() {
            return Err(Unreadable::Negative);
        }
        Ok(number)
    }

    /// Takes what JSON takes, and a sign or zeros in front.
    fn parse(text: &'a str) -> Option<Self> {
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if text.len() > MAX_LEN {
            return None;
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, power(exponent)?),
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (whole, decimals) = match unsigned.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        (!whole.is_empty() && all_digits(whole) && all_digits(decimals)).then_some(Self {
            negative: mantissa.starts_with('-'),
            whole,
            decimals,
            exponent,
        })
    }

    fn is_zero(&self) -> bool {
        self.whole.bytes().chain(self.decimals.bytes()).all(|b| b == b'0')
    }

    /// The number without its sign, times ten to the power of `places`, rounded to a whole number; `None` if that is
    /// too large.
    pub(super) fn shifted(&self, places: i64, round: Round) -> Option<u128> {
        let point = i64::try_from(self.whole.len()).ok()?;
        let end = point.checked_add(self.exponent)?.checked_add(places)?;
        let digits = self.whole.bytes().chain(self.decimals.bytes());
        let mut shifted: u128 = 0;
        let mut rest = false;
        let mut read: i64 = 0;
        for digit in digits.map(|b| u128::from(b.saturating_sub(b'0'))) {
            if read < end {
                shifted = shifted.checked_mul(10)?.checked_add(digit)?;
            } else {
                rest |= digit != 0;
            }
            read = read.checked_add(1)?;
        }
        while shifted != 0 && read < end {
            shifted = shifted.checked_mul(10)?;
            read = read.checked_add(1)?;
        }
        shifted.checked_add(u128::from(rest && round == Round::Up))
    }
}

/// An exponent; one beyond all bounds stays beyond all bounds.
fn power(text: &str) -> Option<i64> {
    const BEYOND: i64 = 1_000_000_000;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let power = digits.parse().unwrap_or(BEYOND).min(BEYOND);
    Some(if text.starts_with('-') { -power } else { power })
}
