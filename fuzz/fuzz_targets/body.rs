//! A JSON body that the gate takes has one reading, and an edit changes nothing else.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::dialect::JsonObject;

fuzz_target!(|body: &[u8]| {
    let Ok(mut object) = JsonObject::parse(Bytes::copy_from_slice(body)) else {
        return;
    };
    assert_eq!(object.clone().into_bytes(), body);
    // Numbers beyond a double, lone surrogates and the deepest nesting are JSON too, but `Value` does not take them.
    let Ok(Value::Object(mut document)) = serde_json::from_slice(body) else {
        return;
    };
    if let Ok(model) = object.string("model") {
        assert_eq!(model.as_deref(), document.get("model").and_then(Value::as_str));
    }
    if let Ok(number) = object.integer("n") {
        assert_eq!(number, document.get("n").and_then(Value::as_u64));
    }
    if let Ok(models) = object.strings("models") {
        let want = document.get("models").and_then(Value::as_array).cloned();
        assert_eq!(
            models.map(|list| list.into_iter().map(Value::from).collect()),
            want
        );
    }
    let stream = object.boolean("stream");
    object.set_string("model", "a\"b");
    document.insert("model".into(), "a\"b".into());
    assert_eq!(object.boolean("stream"), stream);
    let edited: Value = serde_json::from_slice(&object.into_bytes()).unwrap();
    assert_eq!(edited, Value::Object(document));
});
