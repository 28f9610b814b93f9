//! Which forms have one reading, however they are cut, and that all others are refused.

use std::convert::Infallible;

use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::*;

const TYPE: &str = "multipart/form-data; boundary=b";
const LIMIT: u64 = 1024 * 1024;
const IDLE: Duration = Duration::from_secs(30);

/// Three ways to cut a body.
const CUTS: [usize; 3] = [1, 7, usize::MAX];

async fn read(content_type: &str, form: &[u8], cut: usize) -> Result<Form, FormError> {
    let pieces: Vec<_> = form
        .chunks(cut)
        .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    Form::read(
        StreamBody::new(stream::iter(pieces)),
        content_type,
        (LIMIT, IDLE),
        false,
    )
    .await
}

fn part(disposition: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: {disposition}\r\n\r\n{value}\r\n")
}

fn field(name: &str, value: &str) -> String {
    part(&format!("form-data; name=\"{name}\""), value)
}

fn file() -> String {
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
     Content-Type: audio/wav\r\n\r\nRIFF\0\r\n--\r\n-b\r\n\r\n"
        .to_owned()
}

fn form(parts: &[&str]) -> String {
    format!("{}--b--\r\n", parts.concat())
}

#[tokio::test]
async fn a_model_is_found_wherever_it_stands_and_the_bytes_go_on_as_they_came() {
    let model = field("model", "acme/m");
    for (name, form, want) in [
        ("first", form(&[&model, &file()]), Some("acme/m")),
        ("last", form(&[&file(), &model]), Some("acme/m")),
        ("between", form(&[&file(), &model, &file()]), Some("acme/m")),
        ("absent", form(&[&file()]), None),
        ("no parts", form(&[]), None),
        ("no break at the end", format!("{model}--b--"), Some("acme/m")),
        ("space at the end", format!("{model}--b-- \r\n\r\n"), Some("acme/m")),
        ("empty", form(&[&field("model", "")]), Some("")),
        ("break inside", form(&[&field("model", "a\r\nb")]), Some("a\r\nb")),
        ("token", form(&[&part("form-data; name=model", "m")]), Some("m")),
        (
            "any case",
            form(&[&part("Form-Data; NAME=\"model\"", "m")]),
            Some("m"),
        ),
        (
            "a typed field",
            "--b\r\ncontent-type: text/plain; charset=UTF-8\r\ncontent-disposition: form-data; name=\"model\"\r\n\
             Content-Length: 1\r\n\r\nm\r\n--b--\r\n"
                .into(),
            Some("m"),
        ),
        (
            "names in values",
            form(&[&field("prompt", "name=\"model\"\r\n\r\nx"), &model]),
            Some("acme/m"),
        ),
        (
            "an encoded file name",
            form(&[&part("form-data; name=\"file\"; filename*=UTF-8''%e2%82%ac", "x"), &model]),
            Some("acme/m"),
        ),
    ] {
        for cut in CUTS {
            let read = read(TYPE, form.as_bytes(), cut).await;
            let read = read.unwrap_or_else(|wrong| panic!("{name}, {cut}: {wrong}"));
            assert_eq!(read.value("model"), want, "{name}, {cut}");
            let sent = read.into_body().await.unwrap();
            assert_eq!(sent.size_hint().exact(), Some(form.len().try_into().unwrap()));
            assert_eq!(sent.collect().await.unwrap().to_bytes(), form, "{name}, {cut}");
        }
    }
}

/// Forms with a part whose name some parser reads otherwise.
fn odd_names() -> Vec<(&'static str, String)> {
    let model = field("model", "cheap");
    let names = [
        ("name*", "name*=utf-8''model"),
        ("name and name*", "name=\"x\"; name*=utf-8''model"),
        ("name in pieces", "name=\"x\"; name*0=\"mo\"; name*1=\"del\""),
        ("two names", "name=\"x\"; name=\"model\""),
        ("a name with a space", "name=\"x\"; name =\"model\""),
        (
            "a name behind an escape",
            "name=\"x\"; z=\"a\\\"b\"; name=\"model\"; y=\"",
        ),
        (
            "a name behind a quote",
            "name=\"x\"; z=a\"b; name=\"model\"; y=\"",
        ),
        ("an escaped name", "name=\"mod\\el\""),
        ("an open quote", "name=\"x"),
        ("no name", "filename=\"x\""),
        ("an empty name", "name=\"\""),
        ("a look-alike", "name=\"Model\""),
        ("a wide look-alike", "name=\"ｍodel\""),
        ("a long s", "name=\"\u{17f}tream\""),
    ];
    let mut odd: Vec<_> = names
        .into_iter()
        .map(|(why, name)| (why, form(&[&model, &part(&format!("form-data; {name}"), "dear")])))
        .collect();
    for (why, disposition) in [
        ("no form data", "attachment; name=\"model\""),
        ("a model in a file", "form-data; name=\"model\"; filename=\"x\""),
        (
            "a model in an encoded file",
            "form-data; name=\"model\"; filename*=utf-8''x",
        ),
    ] {
        odd.push((why, form(&[&part(disposition, "dear")])));
    }
    odd
}

/// Forms with a part whose head some parser reads otherwise.
fn odd_heads() -> Vec<(&'static str, String)> {
    const PLAIN: &str = "Content-Disposition: form-data; name=\"x\"";
    const MODEL: &str = "Content-Disposition: form-data; name=\"model\"";
    let heads = [
        ("no disposition", "X-A: 1".to_owned()),
        ("two dispositions", format!("{PLAIN}\r\n{MODEL}")),
        ("a disposition behind LF", format!("X: 1\n{MODEL}")),
        ("a disposition behind CR", format!("X: 1\r{MODEL}")),
        ("a head that ends with LF LF", format!("{PLAIN}\n\n{MODEL}")),
        ("a folded head", PLAIN.replace("; ", ";\r\n ")),
        ("a head with NUL", format!("{PLAIN}\r\nX: \0")),
        ("a space before the colon", PLAIN.replace(':', " :")),
        (
            "a transfer encoding",
            format!("{PLAIN}\r\nContent-Transfer-Encoding: base64"),
        ),
        (
            "a nested form",
            format!("{PLAIN}\r\nContent-Type: Multipart/mixed; boundary=c"),
        ),
        ("a long head", format!("{PLAIN}\r\nX: {}", "y".repeat(20_000))),
    ];
    let model = field("model", "cheap");
    let with = |head| form(&[&model, &format!("--b\r\n{head}\r\n\r\ndear\r\n")]);
    heads.into_iter().map(|(why, head)| (why, with(head))).collect()
}

/// Forms whose parts some parser sees otherwise, or that hide what decides.
fn odd_shapes() -> Vec<(&'static str, String)> {
    let model = field("model", "cheap");
    let behind_lf = format!("\n{}", field("model", "dear"));
    let padded = form(&[&model]).replacen("--b", "--b ", 1);
    let two = form(&[&model]) + &form(&[&field("model", "dear")]);
    vec![
        (
            "a second model at the end",
            form(&[&model, &file(), &field("model", "dear")]),
        ),
        ("the same model twice", form(&[&model, &model])),
        (
            "a long model",
            form(&[&field("model", &"m".repeat(MAX_VALUE + 1))]),
        ),
        ("too many parts", form(&[&field("x", "").repeat(MAX_PARTS + 1)])),
        ("no final boundary", format!("{model}--b")),
        ("no boundary at the end", model.clone()),
        ("a part cut short", model[..model.len() - 3].to_owned()),
        ("a preamble", format!("x\r\n{model}--b--")),
        ("an empty first line", format!("\r\n{model}--b--")),
        ("an epilogue", format!("{model}--b--\r\nx")),
        ("a form behind the form", two),
        ("a long tail", format!("{model}--b--{}", " ".repeat(100))),
        ("LF only", form(&[&model]).replace("\r\n", "\n")),
        ("a boundary behind LF", form(&[&field("x", &behind_lf), &model])),
        ("a boundary in a value", form(&[&field("x", "a--b"), &model])),
        (
            "a boundary that goes on",
            form(&[&field("x", "\r\n--bc"), &model]),
        ),
        ("a padded boundary", padded),
        ("a model in base64", typed_model("text/plain; charset=base64")),
        ("a model in UTF-7", typed_model("text/plain; charset=utf-7")),
        (
            "a model of two types",
            typed_model("text/plain; charset=utf-8; charset=base64"),
        ),
        ("nothing", String::new()),
        ("JSON", "{\"model\":\"m\"}".to_owned()),
    ]
}

/// A form whose model has a content type.
fn typed_model(content_type: &str) -> String {
    let disposition = format!("form-data; name=\"model\"\r\ncontent-type: {content_type}");
    form(&[&part(&disposition, "ZGVhcmVy")])
}

/// Forms with a byte that is not UTF-8 where the gate reads.
fn not_utf8() -> Vec<(&'static str, Vec<u8>)> {
    let value = form(&[&field("model", "\u{1}")]);
    let name = form(&[&field("n\u{1}me", "x")]);
    vec![
        ("a model that is not UTF-8", swap(&value, 0xe9)),
        ("a name that is not UTF-8", swap(&name, 0xe9)),
    ]
}

/// `text` with `byte` in the place of each 0x01.
fn swap(text: &str, byte: u8) -> Vec<u8> {
    text.bytes()
        .map(|known| if known == 1 { byte } else { known })
        .collect()
}

#[tokio::test]
async fn a_form_that_has_no_one_reading_is_refused_however_it_is_cut() {
    let odd = [odd_names(), odd_heads(), odd_shapes()].concat();
    let odd = odd.into_iter().map(|(name, form)| (name, form.into_bytes()));
    for (name, form) in odd.chain(not_utf8()) {
        for cut in CUTS {
            let read = read(TYPE, &form, cut).await;
            let refused = matches!(
                read,
                Err(FormError::Malformed(_) | FormError::Duplicate(_) | FormError::Lookalike(_))
            );
            assert!(refused, "{name}, {cut}: {read:?}");
        }
    }
}

#[tokio::test]
async fn the_boundary_is_named_once_and_plainly() {
    let whole = form(&[&field("model", "m")]);
    for fine in [
        TYPE,
        "Multipart/Form-Data; charset=utf-8; Boundary=\"b\"",
        "multipart/form-data;boundary=b;",
    ] {
        assert!(read(fine, whole.as_bytes(), 9).await.is_ok(), "{fine}");
    }
    let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
    for odd in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=b; boundary=b",
        "multipart/form-data; boundary=b; BOUNDARY=c",
        "multipart/form-data; boundary=b; boundary*=c",
        "multipart/form-data; boundary=b; boundary*0=c",
        "multipart/form-data; boundary=\"b\\\"",
        "multipart/form-data; boundary=b c",
        "multipart/form-data; boundary=b\u{e9}",
        "multipart/form-data, multipart/form-data; boundary=b",
        "multipart/mixed; boundary=b",
        long.as_str(),
    ] {
        let read = read(odd, whole.as_bytes(), 9).await;
        assert!(matches!(read, Err(FormError::Boundary)), "{odd}");
    }
}

#[tokio::test]
async fn another_model_takes_its_place_and_no_other_byte_changes() {
    let upload = "x".repeat(400_000);
    for file in [file(), field("file", &upload)] {
        for (front, back) in [(file.as_str(), ""), ("", file.as_str())] {
            let with = |name: &str| form(&[front, &field("model", name), back]);
            let mut read = read(TYPE, with("old/m").as_bytes(), 10_000).await.unwrap();
            read.replace("model", |old| (old == "old/m").then_some("newer/model"));
            let sent = read.into_body().await.unwrap();
            let want = with("newer/model");
            assert_eq!(sent.size_hint().exact(), Some(want.len().try_into().unwrap()));
            assert!(sent.collect().await.unwrap().to_bytes() == want);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_form_that_is_too_long_or_stalls_is_given_up() {
    let long = form(&[&field("file", &"x".repeat(2 * 1024 * 1024))]);
    let read = read(TYPE, long.as_bytes(), 10_000).await;
    assert!(matches!(
        read,
        Err(FormError::Read(ReadError::TooLarge { limit: LIMIT }))
    ));
    let begun = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(field("model", "m"))))]);
    let silent = StreamBody::new(futures_util::StreamExt::chain(begun, stream::pending()));
    let read = Form::read(std::pin::pin!(silent), TYPE, (LIMIT, IDLE), false).await;
    assert!(matches!(read, Err(FormError::Read(ReadError::Idle { .. }))));
}
