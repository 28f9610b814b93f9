//! However an answer is cut, the tap sees the same of it; of an encoded one, how much it has seen of what is broken may
//! depend on the pieces.

#![no_main]

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate::dialect::Tap;

fuzz_target!(|input: &[u8]| {
    let Some(([cut, kind], answer)) = input.split_first_chunk::<2>() else {
        return;
    };
    let content_type = match kind % 4 {
        0 | 3 => "text/event-stream",
        1 => "application/json",
        _ => "application/x-ndjson",
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if kind % 4 == 3 {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let seen = |cut: usize| {
        let Some(mut tap) = Tap::of(&headers) else {
            panic!("not watched");
        };
        answer.chunks(cut).for_each(|piece| tap.feed(piece));
        tap.end();
        (tap.finished(), tap.failed(), tap.usage(), tap.model())
    };
    let (whole, cut) = (seen(usize::MAX), seen(usize::from(*cut) + 1));
    if kind % 4 != 3 {
        assert_eq!(whole, cut);
    }
});
