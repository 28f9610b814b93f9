//! Multipart forms.

#![expect(clippy::too_many_lines, reason = "tables are as long as they are")]

use super::{BAD, Changed, FOREIGN, Passed, Refused, Row, TWICE, Want};

const ROUTES: [&str; 8] = [
    "/v1/openai/audio/transcriptions",
    "/v1/audio/transcriptions",
    "/v1/openai/audio/translations",
    "/v1/audio/translations",
    "/v1/openai/images/edits",
    "/v1/images/edits",
    "/v1/openai/images/variations",
    "/v1/images/variations",
];

const FORM: &str = "content-type: multipart/form-data; boundary=b\r\n";
const FILE: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
                    Content-Type: audio/wav\r\n\r\nRIFF\r\n";
const END: &str = "--b--\r\n";

fn part(parameters: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {parameters}\r\n\r\n{value}\r\n")
}

fn model(value: &str) -> String {
    part("name=\"model\"", value)
}

fn bodies() -> Vec<(&'static str, String, Want)> {
    const MISSING: Want = Refused(400, "missing_model");
    let (own, other) = (model("acme/model"), model("acme/other"));
    let named = |parameters: &str| format!("{own}{}{FILE}{END}", part(parameters, "acme/other"));
    vec![
        ("before the file", format!("{own}{FILE}{END}"), Passed),
        ("behind the file", format!("{FILE}{own}{END}"), Passed),
        ("foreign before the file", format!("{other}{FILE}{END}"), FOREIGN),
        ("foreign behind the file", format!("{FILE}{other}{END}"), FOREIGN),
        ("own, then foreign", format!("{own}{other}{FILE}{END}"), TWICE),
        ("foreign, then own", format!("{other}{FILE}{own}{END}"), TWICE),
        ("own, file, foreign", format!("{own}{FILE}{other}{END}"), TWICE),
        ("none", format!("{FILE}{END}"), MISSING),
        ("a list", named("name=\"models\""), BAD),
        ("upper case", named("name=\"Model\""), BAD),
        ("fullwidth", named("name=\"ｍodel\""), BAD),
        ("without quotes", named("name=model"), TWICE),
        ("an escape", named("name=\"mo\\del\""), BAD),
        ("a name in UTF-8", named("name=\"x\"; name*=UTF-8''model"), BAD),
        (
            "a name in pieces",
            named("name=\"x\"; name*0=\"mo\"; name*1=\"del\""),
            BAD,
        ),
        ("two names", named("name=\"x\"; name=\"model\""), BAD),
        (
            "a file",
            format!(
                "{}{FILE}{END}",
                part("name=\"model\"; filename=\"a\"", "acme/model")
            ),
            BAD,
        ),
        (
            "a file in UTF-8",
            format!(
                "{}{FILE}{END}",
                part("name=\"model\"; filename*=UTF-8''a", "acme/model")
            ),
            BAD,
        ),
        (
            "a quoted value",
            format!("{}{FILE}{END}", model("\"acme/model\"")),
            BAD,
        ),
        (
            "a value of two lines",
            format!("{}{FILE}{END}", model("acme/model\r\nacme/other")),
            BAD,
        ),
        (
            "other case",
            format!("{}{FILE}{END}", model("acme/Model")),
            FOREIGN,
        ),
        (
            "a version",
            format!("{}{FILE}{END}", model("acme/model:v1")),
            Passed,
        ),
        (
            "a foreign version",
            format!("{}{FILE}{END}", model("acme/other:v1")),
            FOREIGN,
        ),
        (
            "an alias of a foreign model",
            format!("{FILE}{}{END}", model("acme/old")),
            FOREIGN,
        ),
        ("a second form", format!("{own}{FILE}{END}{other}{END}"), BAD),
        (
            "a preamble",
            format!("{}{own}{FILE}{END}", other.replace("--b", "--c")),
            BAD,
        ),
        (
            "another boundary inside",
            format!(
                "{own}{}{FILE}{END}",
                part("name=\"x\"", &other.replace("--b", "--c"))
            ),
            Passed,
        ),
        (
            "base64",
            format!(
                "--b\r\nContent-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: base64\r\n\r\nYWNtZS9tb2RlbA==\r\n{FILE}{END}"
            ),
            BAD,
        ),
    ]
}

pub fn rows() -> Vec<Row> {
    let row = |target: &str, headers: &str, name: &str, body: &[u8], want| Row {
        name: name.into(),
        method: "POST",
        target: target.into(),
        headers: headers.into(),
        body: body.into(),
        want,
    };
    let mut rows = Vec::new();
    for target in ROUTES {
        for (name, body, want) in bodies() {
            rows.push(row(target, FORM, name, body.as_bytes(), want));
        }
        for (body, name) in [
            (r#"{"model":"acme/other"}"#, "JSON"),
            ("model=acme/other", "a query"),
        ] {
            let headers = if name == "JSON" {
                super::bodies::JSON
            } else {
                "content-type: application/x-www-form-urlencoded\r\n"
            };
            rows.push(row(target, headers, name, body.as_bytes(), BAD));
        }
    }
    let native = "/v1/inference/acme/model";
    let with = |part: &str| format!("{part}{FILE}{END}");
    let list = part("name=\"models\"", "acme/other");
    rows.extend([
        row(native, FORM, "native", with("").as_bytes(), Passed),
        row(
            native,
            FORM,
            "native, own",
            with(&model("acme/model")).as_bytes(),
            Passed,
        ),
        row(
            native,
            FORM,
            "native, foreign",
            with(&model("acme/other")).as_bytes(),
            BAD,
        ),
        row(native, FORM, "native, a list", with(&list).as_bytes(), BAD),
        row(
            "/v1/inference/acme/other",
            FORM,
            "native, own in the form",
            with(&model("acme/model")).as_bytes(),
            BAD,
        ),
        row(
            "/v1/inference/acme/other",
            FORM,
            "native, foreign path",
            with("").as_bytes(),
            FOREIGN,
        ),
        row(
            "/v1/inference/acme/renamed",
            FORM,
            "native, an alias",
            with("").as_bytes(),
            Changed("/v1/inference/acme/elsewhere"),
        ),
    ]);
    rows
}
