//! However a stream is cut, the same is left of it without its usage, and nothing of one that has none is lost.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate::dialect::Strip;

fuzz_target!(|input: &[u8]| {
    let Some((cut, stream)) = input.split_first() else {
        return;
    };
    let left = |cut: usize| {
        let mut strip = Strip::default();
        let mut left = Vec::new();
        for piece in stream.chunks(cut) {
            left.extend_from_slice(&strip.feed(Bytes::copy_from_slice(piece)));
        }
        left.extend_from_slice(&strip.end());
        assert!(strip.is_empty());
        left
    };
    let whole = left(usize::MAX);
    assert_eq!(whole, left(usize::from(*cut) + 1));
    assert!(whole.len() <= stream.len());
    if !stream.windows(5).any(|word| word == b"usage") {
        assert_eq!(whole, stream);
    }
});
