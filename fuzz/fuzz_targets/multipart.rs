//! A form that the gate takes goes on byte for byte, and however it is cut it is read alike.

#![no_main]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use libfuzzer_sys::fuzz_target;
use tidegate::dialect::Form;
use tokio::runtime::Builder;

fuzz_target!(|input: &[u8]| {
    let Some((&cut, form)) = input.split_first() else {
        return;
    };
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let whole = runtime.block_on(read(form, usize::MAX));
    let pieces = runtime.block_on(read(form, usize::from(cut) + 1));
    assert_eq!(whole, pieces);
});

/// The model that was seen, after the body was held against what came.
async fn read(form: &[u8], cut: usize) -> Option<Option<String>> {
    let pieces = form
        .chunks(cut)
        .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))));
    let body = StreamBody::new(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    let read = Form::read(
        body,
        "multipart/form-data; boundary=b",
        (1 << 20, Duration::from_secs(1)),
        false,
    );
    let read = read.await.ok()?;
    let model = read.value("model").map(str::to_owned);
    let sent = read
        .into_body()
        .await
        .unwrap()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(sent, form);
    Some(model)
}
