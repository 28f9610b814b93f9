//! However a stream of events is cut, the verdict on its end is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::dialect::SseTap;

fuzz_target!(|input: &[u8]| {
    let Some((&cut, stream)) = input.split_first() else {
        return;
    };
    let verdict = |cut: usize| {
        let mut tap = SseTap::default();
        stream.chunks(cut).for_each(|piece| tap.feed(piece));
        (tap.finished(), tap.failed())
    };
    assert_eq!(verdict(usize::MAX), verdict(usize::from(cut) + 1));
});
