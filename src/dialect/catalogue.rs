//! Lists of models: OpenAI's `{"object":"list","data":[{"id":…}]}` and the native `[{"model_name":…}]`.

use serde_json::value::RawValue;

use super::json::{self, Members, span};
use crate::types::ModelName;

/// The members that name an entry's model, in the order in which they are looked for.
const NAMES: [&str; 3] = ["id", "model_name", "name"];

/// The catalogue `text` with the models that are `allowed`; `None` if it is no catalogue. Every byte of what stays is as
/// it was. An entry without a name that a model can have goes.
pub fn listed(text: &str, allowed: impl Fn(&ModelName) -> bool) -> Option<String> {
    let list = match Members::all(text) {
        Some(object) => {
            let mut lists = object.into_iter().filter(|(key, _)| key == "data");
            match (lists.next(), lists.next()) {
                (Some((_, list)), None) => list,
                _ => return None,
            }
        }
        None => text.trim(),
    };
    let entries: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let kept: Vec<&str> = entries
        .into_iter()
        .map(RawValue::get)
        .filter(|entry| name(entry).is_some_and(|model| allowed(&model)))
        .collect();
    let place = span(text, list);
    let (before, after) = (text.get(..place.start)?, text.get(place.end..)?);
    Some(format!("{before}[{}]{after}", kept.join(",")))
}

/// The model of an entry; none if it has no name, or two that differ.
fn name(entry: &str) -> Option<ModelName> {
    let members = Members::all(entry)?;
    let key = NAMES
        .into_iter()
        .find(|name| members.iter().any(|(key, _)| key == name))?;
    let mut values = members
        .iter()
        .filter(|(known, _)| known == key)
        .map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (Some(value), None) => ModelName::parse(&json::text(value)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_list_only_what_is_allowed_stays_and_that_byte_for_byte() {
        let allowed = |model: &ModelName| model.base() == "a/b";
        for (text, want) in [
            (
                r#"{"object": "list", "data": [{"id": "a/b", "x":1.0}, {"id":"c/d"}] , "more":null}"#,
                Some(r#"{"object": "list", "data": [{"id": "a/b", "x":1.0}] , "more":null}"#),
            ),
            (
                r#" [{"model_name":"c/d"},{"model_name":"a\/b","id_":1},{"model_name":"a/b:v1"}] "#,
                Some(r#" [{"model_name":"a\/b","id_":1},{"model_name":"a/b:v1"}] "#),
            ),
            (
                r#"[{"model_name":5},{},7,{"id":"a/b","id":"c/d"},{"id":"c/d","name":"a/b"}]"#,
                Some("[]"),
            ),
            ("[]", Some("[]")),
            (r#"{"data":[],"data":[{"id":"c/d"}]}"#, None),
            (r#"{"data":{}}"#, None),
            (r#"{"models":[]}"#, None),
            (r#""a/b""#, None),
            ("", None),
        ] {
            assert_eq!(listed(text, allowed).as_deref(), want, "{text}");
        }
    }
}
