//! An encoded answer, unpacked beside its way to the client, within bounds.

use std::io::{self, Write};

use flate2::write::{GzDecoder, ZlibDecoder};

/// The most that one answer is unpacked to, in bytes.
const MAX_UNPACKED: u64 = 64 * 1024 * 1024;

/// The most that a byte may unpack to. Text is far below; only a bomb is above.
const MAX_RATIO: u64 = 100;

/// What may be unpacked beyond the ratio, in bytes: a short answer may well repeat itself.
const FREE: u64 = 256 * 1024;

/// Unpacks one answer, piece by piece. Once its coding is broken or a bound is passed it does nothing any more.
#[derive(Debug)]
pub(super) struct Decoder {
    coding: Coding,
    packed: u64,
    unpacked: u64,
    /// Whether something was unpacked to its end: what follows may be padding.
    whole: bool,
    state: State,
}

#[derive(Debug)]
enum Coding {
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Deflate(Box<ZlibDecoder<Vec<u8>>>),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Running,
    Ended,
    GaveUp,
}

impl Decoder {
    /// For `gzip`, of one part or several.
    pub(super) fn gzip() -> Self {
        Self::new(Coding::Gzip(Box::new(GzDecoder::new(Vec::new()))))
    }

    /// For `deflate`, which is zlib's format in HTTP (RFC 9110, section 8.4.1.2).
    pub(super) fn deflate() -> Self {
        Self::new(Coding::Deflate(Box::new(ZlibDecoder::new(Vec::new()))))
    }

    fn new(coding: Coding) -> Self {
        Self {
            coding,
            packed: 0,
            unpacked: 0,
            whole: false,
            state: State::Running,
        }
    }

    /// Takes the next bytes; `see` gets what they unpack to, sooner or later.
    pub(super) fn feed(&mut self, mut bytes: &[u8], see: &mut impl FnMut(&[u8])) {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.packed = self.packed.saturating_add(len);
        while self.state == State::Running && !bytes.is_empty() {
            let written = self.coding.write(bytes);
            self.give(see);
            match written {
                Ok(0) => self.part_ended(),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(_) => self.stop(),
            }
        }
    }

    /// Gives what is left; nothing follows.
    pub(super) fn end(&mut self, see: &mut impl FnMut(&[u8])) {
        if self.state == State::Running {
            // What was cut can't end well; what it unpacked to counts all the same.
            self.coding.finish().ok();
            self.give(see);
        }
    }

    /// Whether it can't see the answer to its end.
    pub(super) fn gave_up(&self) -> bool {
        self.state == State::GaveUp
    }

    /// Several parts of gzip may follow each other as one.
    fn part_ended(&mut self) {
        self.whole = true;
        match &mut self.coding {
            Coding::Gzip(decoder) => **decoder = GzDecoder::new(Vec::new()),
            Coding::Deflate(_) => self.state = State::Ended,
        }
    }

    fn stop(&mut self) {
        self.state = if self.whole { State::Ended } else { State::GaveUp };
    }

    fn give(&mut self, see: &mut impl FnMut(&[u8])) {
        let output = self.coding.output();
        let len = u64::try_from(output.len()).unwrap_or(u64::MAX);
        self.unpacked = self.unpacked.saturating_add(len);
        let allowed = FREE
            .saturating_add(self.packed.saturating_mul(MAX_RATIO))
            .min(MAX_UNPACKED);
        if self.unpacked > allowed {
            self.state = State::GaveUp;
        } else {
            see(output);
        }
        output.clear();
    }
}

impl Coding {
    /// Takes some of the bytes; none at the end of what was packed.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Gzip(decoder) => decoder.write(bytes)?,
            Self::Deflate(decoder) => decoder.write(bytes)?,
        };
        if written == 0 {
            self.finish()?;
        }
        Ok(written)
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Deflate(decoder) => decoder.try_finish(),
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// What comes out, and whether it gave up.
    fn decoded(mut decoder: Decoder, packed: &[u8], cut: usize) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        for piece in packed.chunks(cut) {
            decoder.feed(piece, &mut |bytes| out.extend_from_slice(bytes));
        }
        decoder.end(&mut |bytes| out.extend_from_slice(bytes));
        (out, decoder.gave_up())
    }

    #[test]
    fn what_was_packed_comes_out_however_it_is_cut() {
        let text = "data: {\"usage\":{\"prompt_tokens\":1}}\n\n".repeat(100);
        let want = (text.clone().into_bytes(), false);
        for cut in [1, 7, usize::MAX] {
            assert_eq!(decoded(Decoder::gzip(), &gzip(text.as_bytes()), cut), want);
            assert_eq!(decoded(Decoder::deflate(), &zlib(text.as_bytes()), cut), want);
        }
    }

    #[test]
    fn parts_of_gzip_follow_each_other_and_padding_is_no_harm() {
        let packed = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
        for cut in [1, 5, usize::MAX] {
            assert_eq!(
                decoded(Decoder::gzip(), &packed, cut),
                (b"one two".to_vec(), false)
            );
        }
        let padded = [gzip(b"one"), vec![0; 32]].concat();
        assert_eq!(decoded(Decoder::gzip(), &padded, 3), (b"one".to_vec(), false));
        let padded = [zlib(b"one"), vec![0; 32]].concat();
        assert_eq!(decoded(Decoder::deflate(), &padded, 3), (b"one".to_vec(), false));
    }

    #[test]
    fn a_cut_answer_gives_what_it_has() {
        let text: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_be_bytes())
            .collect();
        let packed = gzip(&text);
        let (out, gave_up) = decoded(Decoder::gzip(), &packed[..packed.len() / 2], 1000);
        assert!(
            !gave_up && out.len() > 30_000 && text.starts_with(&out),
            "{}",
            out.len()
        );
    }

    #[test]
    fn what_is_not_packed_so_or_unpacks_to_too_much_is_given_up() {
        assert_eq!(decoded(Decoder::gzip(), b"{\"usage\":1}", 4), (Vec::new(), true));
        assert_eq!(
            decoded(Decoder::deflate(), b"{\"usage\":1}", 4),
            (Vec::new(), true)
        );
        let bomb = gzip(&vec![b'x'; 8 * 1024 * 1024]);
        let (out, gave_up) = decoded(Decoder::gzip(), &bomb, 100);
        assert!(gave_up && out.len() < 2 * 1024 * 1024);
    }
}
