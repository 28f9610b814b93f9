//! Another model serves a call than the one asked for.

use std::collections::HashMap;

use super::{Call, Payload};
use crate::dialect::{JsonObject, Surface};
use crate::types::ModelName;

impl Call {
    /// Puts the serving model in the place of every model that `aliases` (asked = served) knows by its name without
    /// version: in the path, in the body, in a form. Every other byte stays.
    pub fn serve_aliases(&mut self, aliases: &HashMap<ModelName, ModelName>) {
        let served = |model: &ModelName| aliases.get(model.base()).cloned();
        if !self
            .named
            .models
            .iter()
            .any(|model| aliases.contains_key(model.base()))
        {
            return;
        }
        match &mut self.payload {
            Payload::Json(object) if self.route.surface() == Surface::TextToSpeech => {
                serve_speech(object, self.named.models.first().and_then(&served));
            }
            Payload::Json(object) => serve_json(object, &served),
            Payload::Form(form) => form.replace("model", |name| served(&ModelName::parse(name).ok()?)),
            Payload::None | Payload::Opaque(_) => {}
        }
        if let Some(model) = self.route.model().and_then(&served) {
            self.route.replace_model(&model);
        }
        for model in &mut self.named.models {
            if let Some(served) = served(model) {
                *model = served;
            }
        }
    }
}

/// A call that names no model gets one here, or the upstream would serve its own default.
fn serve_speech(object: &mut JsonObject, served: Option<ModelName>) {
    if let Some(model) = served {
        object.set_string("model_id", model.as_str());
    }
}

fn serve_json(object: &mut JsonObject, served: &impl Fn(&ModelName) -> Option<ModelName>) {
    let name = |text: &str| served(&ModelName::parse(text).ok()?).map(|model| model.to_string());
    let replaced = object.string("model").ok().flatten().and_then(|text| name(&text));
    if let Some(model) = replaced {
        object.set_string("model", &model);
    }
    let replaced: Option<Vec<_>> = object
        .strings("models")
        .ok()
        .flatten()
        .map(|entries| entries.iter().map(|text| name(text)).collect());
    if let Some(entries) = replaced {
        object.replace_strings("models", &entries);
    }
}
