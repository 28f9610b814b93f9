//! What the simulated models say: text of so many tokens, JSON to a schema, calls of tools.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::knobs::{Knobs, Text};
use super::usage::count;

/// One token each, in plain ASCII.
const WORDS: [&str; 8] = [
    "The", " tide", " comes", " in", " and", " the", " gate", " opens. ",
];
/// One token each, with characters of two, three and four bytes.
const MULTIBYTE: [&str; 8] = [
    "Flut",
    " und",
    " Ebbe\u{a0}",
    "\u{6f6e}",
    "\u{306e}\u{6d41}",
    " \u{e9}t\u{e9}",
    "\u{1f30a}",
    " \u{448}\u{43b}\u{44e}\u{437}",
];
/// The most tokens of an answer, so that the text of one fits into memory.
const MAX_TOKENS: u64 = 1_000_000;
/// How deep a schema is followed.
const MAX_DEPTH: u8 = 8;

/// One answer of a model, token by token. Long texts are not held: each token is made when it is asked for.
#[derive(Debug, Clone)]
pub(super) struct Output {
    source: Source,
    /// How many tokens.
    pub(super) tokens: u64,
    /// Why it ends: `stop`, `length` or `tool_calls`.
    pub(super) finish: &'static str,
    /// The name of the tool that is called with the text as arguments.
    pub(super) tool: Option<String>,
}

#[derive(Debug, Clone)]
enum Source {
    Words(&'static [&'static str; 8]),
    Pieces(Arc<[String]>),
}

impl Output {
    /// What a model answers to this body: a tool's call, JSON, or text.
    pub(super) fn new(body: &Value, knobs: &Knobs) -> Self {
        let limit = limit(body);
        if let Some((name, schema)) = tool(body) {
            let arguments = example(schema, MAX_DEPTH).to_string();
            let mut call = Self::pieces(&arguments, limit);
            call.tool = Some(name.to_owned());
            if call.finish == "stop" {
                call.finish = "tool_calls";
            }
            return call;
        }
        if let Some(json) = json_mode(body) {
            return Self::pieces(&json.to_string(), limit);
        }
        let wanted = knobs.tokens.min(MAX_TOKENS);
        Self {
            source: Source::Words(match knobs.text {
                Text::Words => &WORDS,
                Text::Multibyte => &MULTIBYTE,
            }),
            tokens: wanted.min(limit),
            finish: if wanted > limit { "length" } else { "stop" },
            tool: None,
        }
    }

    /// The token at `index`.
    pub(super) fn token(&self, index: u64) -> Cow<'_, str> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match &self.source {
            Source::Words(words) => {
                Cow::Borrowed(words.get(index % words.len()).copied().unwrap_or_default())
            }
            Source::Pieces(pieces) => Cow::Borrowed(pieces.get(index).map_or("", String::as_str)),
        }
    }

    /// All tokens.
    pub(super) fn text(&self) -> String {
        (0..self.tokens).map(|index| self.token(index)).collect()
    }

    /// The same for every 4 characters of a text at hand.
    fn pieces(text: &str, limit: u64) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let pieces: Arc<[String]> = characters.chunks(4).map(String::from_iter).collect();
        let tokens = count(pieces.len());
        Self {
            source: Source::Pieces(pieces),
            tokens: tokens.min(limit),
            finish: if tokens > limit { "length" } else { "stop" },
            tool: None,
        }
    }
}

/// The request's own limit of output tokens.
fn limit(body: &Value) -> u64 {
    const NAMES: [&str; 4] = [
        "max_completion_tokens",
        "max_tokens",
        "max_new_tokens",
        "max_output_tokens",
    ];
    NAMES
        .iter()
        .find_map(|name| body.get(name)?.as_u64())
        .unwrap_or(u64::MAX)
}

/// The tool that is to be called and the schema of its arguments; none after a tool has answered.
fn tool(body: &Value) -> Option<(&str, &Value)> {
    let choice = body.get("tool_choice");
    let named = |name: &str| choice.and_then(Value::as_str) == Some(name);
    if named("none") || answered(body) {
        return None;
    }
    let wanted = choice.and_then(|choice| {
        choice
            .pointer("/function/name")
            .or_else(|| choice.get("name"))
            .and_then(Value::as_str)
    });
    let tools = body.get("tools")?.as_array()?;
    tools.iter().find_map(|tool| {
        let function = tool.get("function").unwrap_or(tool);
        let name = function.get("name")?.as_str()?;
        let schema = function
            .get("parameters")
            .or_else(|| function.get("input_schema"))
            .unwrap_or(&Value::Null);
        wanted
            .is_none_or(|wanted| wanted == name)
            .then_some((name, schema))
    })
}

/// Whether the last message or item is a tool's answer.
fn answered(body: &Value) -> bool {
    let items = body.get("messages").or_else(|| body.get("input"));
    let Some(last) = items.and_then(Value::as_array).and_then(|items| items.last()) else {
        return false;
    };
    let is = |value: Option<&Value>, word: &str| value.and_then(Value::as_str) == Some(word);
    is(last.get("role"), "tool")
        || is(last.get("type"), "function_call_output")
        || is(last.pointer("/content/0/type"), "tool_result")
}

/// The answer where the body asks for JSON.
fn json_mode(body: &Value) -> Option<Value> {
    let format = body
        .get("response_format")
        .or_else(|| body.pointer("/text/format"))?;
    let schema = format
        .pointer("/json_schema/schema")
        .or_else(|| format.get("schema"));
    match format.get("type")?.as_str()? {
        "json_object" => Some(json!({ "answer": "The tide comes in and the gate opens" })),
        "json_schema" | "json" => Some(example(schema.unwrap_or(&Value::Null), MAX_DEPTH)),
        _ => None,
    }
}

/// A value that fits a JSON schema, as far as types, `enum`, `const`, `properties`, `items` and local `$ref` go.
fn example(schema: &Value, depth: u8) -> Value {
    build(schema, schema, depth)
}

fn build(schema: &Value, root: &Value, depth: u8) -> Value {
    let Some(depth) = depth.checked_sub(1) else {
        return Value::Null;
    };
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(path.trim_start_matches('#'));
        return target.map_or(Value::Null, |target| build(target, root, depth));
    }
    let first = |key: &str| {
        schema
            .get(key)
            .and_then(Value::as_array)
            .and_then(|list| list.first())
    };
    if let Some(constant) = schema.get("const").or_else(|| first("enum")) {
        return constant.clone();
    }
    if let Some(option) = first("anyOf")
        .or_else(|| first("oneOf"))
        .or_else(|| first("allOf"))
    {
        return build(option, root, depth);
    }
    let kind = first("type")
        .or_else(|| schema.get("type"))
        .and_then(Value::as_str);
    match kind.unwrap_or("object") {
        "string" => json!("tide"),
        "integer" => schema
            .get("minimum")
            .filter(|least| least.is_i64())
            .cloned()
            .unwrap_or(json!(7)),
        "number" => schema.get("minimum").cloned().unwrap_or(json!(7.5)),
        "boolean" => json!(true),
        "null" => Value::Null,
        "array" => json!([build(schema.get("items").unwrap_or(&Value::Null), root, depth)]),
        _ => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let members = properties.into_iter().flatten();
            let object: Map<String, Value> = members
                .map(|(name, schema)| (name.clone(), build(schema, root, depth)))
                .collect();
            Value::Object(object)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_as_many_tokens_as_are_asked_for_and_ends_at_the_limit() {
        let mut knobs = Knobs {
            tokens: 3,
            ..Knobs::default()
        };
        let output = Output::new(&json!({}), &knobs);
        assert_eq!(
            (output.text().as_str(), output.finish),
            ("The tide comes", "stop")
        );
        let output = Output::new(&json!({ "max_tokens": 2 }), &knobs);
        assert_eq!((output.text().as_str(), output.finish), ("The tide", "length"));
        knobs.set("text", "multibyte").unwrap();
        knobs.tokens = 8;
        assert!(Output::new(&json!({}), &knobs).text().contains('\u{1f30a}'));
    }

    #[test]
    fn json_mode_gives_json_that_fits_the_schema() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string" },
                "size": { "enum": ["s", "m"] },
                "tags": { "type": "array", "items": { "$ref": "#/$defs/tag" } },
            },
            "$defs": { "tag": { "type": "integer" } },
        });
        let body =
            json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": schema } } });
        let output = Output::new(&body, &Knobs::default());
        let value: Value = serde_json::from_str(&output.text()).unwrap();
        assert_eq!(value, json!({ "name": "tide", "size": "s", "tags": [7] }));
    }

    #[test]
    fn a_tool_is_called_until_it_has_answered() {
        let tools = json!([{ "type": "function", "function": {
            "name": "weather", "parameters": { "type": "object", "properties": { "city": { "type": "string" } } }
        } }]);
        let call = Output::new(&json!({ "tools": tools }), &Knobs::default());
        assert_eq!(
            (call.tool.as_deref(), call.finish),
            (Some("weather"), "tool_calls")
        );
        assert_eq!(call.text(), r#"{"city":"tide"}"#);
        let after = json!({ "tools": tools, "messages": [{ "role": "tool", "content": "wet" }] });
        assert!(Output::new(&after, &Knobs::default()).tool.is_none());
    }
}
