//! What a call asks for, read once: its models, whether it streams, and the body that will go upstream.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use http::request::Parts;
use http_body::Body as HttpBody;

use super::json::{JsonError, JsonObject};
use super::multipart::{Form, FormError};
use super::parameters::Parameters;
use super::route::Route;
use super::surface::{PayloadKind, Surface};
use super::unhurried::Unhurried;
use crate::body::{self, Body, BoxError, ReadError};
use crate::types::ModelName;

mod alias;
mod ask;
mod demand;
mod webhook;

pub use ask::Asked;

/// The model of a speech call that names none.
const DEFAULT_SPEECH_MODEL: &str = "hexgrad/Kokoro-82M";

/// The header that tells a client's second try from a second call (draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Policy keys whose value is a whole number.
const INTEGERS: [&str; 8] = [
    "max_tokens",
    "max_completion_tokens",
    "max_new_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "num_responses",
    "num_images",
];

/// How much of a body is read, and how long is waited for it.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// The longest JSON body, in bytes.
    pub max_json: u64,
    /// The longest multipart body, in bytes.
    pub max_multipart: u64,
    /// The longest wait between two pieces.
    pub idle: Duration,
}

/// Why a call can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The body is compressed: its model could not be seen.
    #[error("the body must not be compressed: send it without `Content-Encoding`")]
    Encoding,
    /// The content type is none that the route takes.
    #[error("the content type must be {0}")]
    ContentType(&'static str),
    /// The body is no JSON that every parser reads alike.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The body is no form that every parser reads alike.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The body could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No model is named.
    #[error("the call must name its model")]
    MissingModel,
    /// What is named is no model name.
    #[error("`{0}` is not the name of a model")]
    ModelName(&'static str),
    /// The answer would be made after the call has ended, where nothing counts it.
    #[error(
        "`background` must be false here: a call that has ended can't be counted; leave it out and read the answer"
    )]
    Background,
    /// What should be a URL is no string.
    #[error("`webhook` must be a URL in a string")]
    Webhook,
    /// The body names another model than the path.
    #[error("`{0}` must be the path's model, or be left out")]
    OtherModel(&'static str),
}

/// A call, read.
#[derive(Debug)]
pub struct Call {
    route: Route,
    method: Method,
    headers: HeaderMap,
    named: Named,
    stream: bool,
    webhook: Option<String>,
    payload: Payload,
}

/// The models that a call names.
#[derive(Debug, Default)]
struct Named {
    /// Those that may serve it.
    models: Vec<ModelName>,
    /// Those in keys that the route does not go by.
    besides: Vec<ModelName>,
}

#[derive(Debug)]
enum Payload {
    None,
    Json(JsonObject),
    Form(Form),
    Opaque(Body),
}

impl Call {
    /// Reads the body as far as the route asks for. Boxed, since a call is handed on many times.
    ///
    /// Dropping the future drops what was read.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn read<B>(
        route: Route,
        parts: Parts,
        body: B,
        limits: ReadLimits,
    ) -> Result<Box<Self>, CallError>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let payload = read_payload(route.surface(), &parts.headers, body, limits).await?;
        let (named, stream, webhook) = match &payload {
            Payload::Json(object) => (
                json_models(&route, object)?,
                json_stream(&route, object)?,
                webhook::json_webhook(&route, object)?,
            ),
            Payload::Form(form) => (
                form_models(&route, form)?,
                false,
                webhook::form_webhook(&route, form)?,
            ),
            Payload::None | Payload::Opaque(_) => (Named::default(), false, None),
        };
        Ok(Box::new(Self {
            route,
            method: parts.method,
            headers: parts.headers,
            named,
            stream,
            webhook,
            payload,
        }))
    }

    /// The route.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The client's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Every model that the call may be served by: the one asked for, or the fallback list in its order.
    pub fn models(&self) -> &[ModelName] {
        &self.named.models
    }

    /// The models that stand in keys which the route does not go by: `model` and `models` of speech, `model_id` of all
    /// else. Upstreams ignore them; one that does not must not serve what the caller may not have.
    pub fn models_besides(&self) -> &[ModelName] {
        &self.named.besides
    }

    /// Whether the answer is asked for as an event stream.
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// The client's headers and the body that goes upstream, of known length but on account routes.
    ///
    /// # Errors
    /// A spooled form can't be read.
    pub async fn into_parts(self: Box<Self>) -> std::io::Result<(HeaderMap, Body)> {
        let body = match self.payload {
            Payload::None => Body::empty(),
            Payload::Json(object) => Body::full(object.into_bytes()),
            Payload::Form(form) => Box::pin(form.into_body()).await?,
            Payload::Opaque(body) => body,
        };
        Ok((self.headers, body))
    }
}

async fn read_payload<B>(
    surface: Surface,
    headers: &HeaderMap,
    mut body: B,
    limits: ReadLimits,
) -> Result<Payload, CallError>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let kind = surface.payload();
    match kind {
        PayloadKind::None => return Ok(Payload::None),
        PayloadKind::Opaque => return Ok(Payload::Opaque(Body::stream(Unhurried::new(body, limits.idle)))),
        PayloadKind::Json | PayloadKind::Form | PayloadKind::JsonOrForm => {}
    }
    if is_encoded(headers) {
        return Err(CallError::Encoding);
    }
    let form = form_type(headers, kind)?;
    if let Some(content_type) = form {
        // Boxed, so that calls without a form do not carry what it takes to read one.
        let digested = headers.contains_key(IDEMPOTENCY_KEY);
        let bounds = (limits.max_multipart, limits.idle);
        let form = Box::pin(Form::read(body, content_type, bounds, digested)).await?;
        return Ok(Payload::Form(form));
    }
    let bytes = body::read(&mut body, limits.max_json, limits.idle).await?;
    Ok(Payload::Json(JsonObject::parse(bytes)?))
}

/// The content type of a form; `None` means JSON.
///
/// JSON may come without a content type: its strict reading makes sure that it is JSON.
fn form_type(headers: &HeaderMap, kind: PayloadKind) -> Result<Option<&str>, CallError> {
    const JSON: CallError = CallError::ContentType("`application/json`");
    const FORM: CallError = CallError::ContentType("`multipart/form-data`");
    const EITHER: CallError = CallError::ContentType("`application/json` or `multipart/form-data`");
    let wrong = || match kind {
        PayloadKind::Form => FORM,
        PayloadKind::JsonOrForm => EITHER,
        PayloadKind::Json | PayloadKind::Opaque | PayloadKind::None => JSON,
    };
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (types.next(), types.next());
    if second.is_some() {
        return Err(wrong());
    }
    let Some(value) = first else {
        return if kind == PayloadKind::Form {
            Err(wrong())
        } else {
            Ok(None)
        };
    };
    // As nearly every call has it.
    if value == "application/json" && kind != PayloadKind::Form {
        return Ok(None);
    }
    let value = value.to_str().map_err(|_| wrong())?;
    let parsed = Parameters::parse(value).ok_or_else(wrong)?;
    if !is_utf8(parsed.get("charset")) {
        return Err(wrong());
    }
    let takes = |other| kind == other || kind == PayloadKind::JsonOrForm;
    if parsed.is("application/json") && takes(PayloadKind::Json) {
        Ok(None)
    } else if parsed.is("multipart/form-data") && takes(PayloadKind::Form) {
        Ok(Some(value))
    } else {
        Err(wrong())
    }
}

/// Whether a charset is the one in which the gate reads. In another, such as UTF-7, servers read other names and values
/// out of the same form.
fn is_utf8(charset: Option<&str>) -> bool {
    charset.is_none_or(|name| name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8"))
}

/// Whether the body has any coding but `identity`, which is none.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(only), None) => !only.as_bytes().eq_ignore_ascii_case(b"identity"),
        (Some(_), Some(_)) => true,
    }
}

fn json_models(route: &Route, object: &JsonObject) -> Result<Named, CallError> {
    if object.has_null("model") {
        return Err(JsonError::Type {
            key: "model",
            expected: "a string",
        }
        .into());
    }
    let name_of = |key| -> Result<_, CallError> {
        let text = object.string(key)?;
        text.map(|text| model_name(&text, key)).transpose()
    };
    let (model, model_id) = (name_of("model")?, name_of("model_id")?);
    let list = object.strings("models")?.unwrap_or_default();
    let list = list
        .iter()
        .map(|text| model_name(text, "models"))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = route.model() {
        if model.is_some_and(|model| model != *path) {
            return Err(CallError::OtherModel("model"));
        }
        if list.iter().any(|entry| entry != path) {
            return Err(CallError::OtherModel("models"));
        }
        return Ok(Named {
            models: vec![path.clone()],
            besides: Vec::from_iter(model_id),
        });
    }
    // The list is served in its order; `model` beside it is not, but must be allowed all the same.
    let mut models = list;
    if let Some(model) = model.filter(|model| !models.contains(model)) {
        models.push(model);
    }
    if route.surface() == Surface::TextToSpeech {
        let served = model_id.map_or_else(|| model_name(DEFAULT_SPEECH_MODEL, "model_id"), Ok)?;
        return Ok(Named {
            models: vec![served],
            besides: models,
        });
    }
    if models.is_empty() {
        return Err(CallError::MissingModel);
    }
    Ok(Named {
        models,
        besides: Vec::from_iter(model_id),
    })
}

fn form_models(route: &Route, form: &Form) -> Result<Named, CallError> {
    let name_of = |key| form.value(key).map(|text| model_name(text, key)).transpose();
    let (model, model_id) = (name_of("model")?, name_of("model_id")?);
    if form.value("models").is_some() {
        return Err(CallError::OtherModel("models"));
    }
    let served = match (route.model(), model) {
        (Some(path), Some(model)) if model != *path => return Err(CallError::OtherModel("model")),
        (Some(path), _) => path.clone(),
        (None, Some(model)) => model,
        (None, None) => return Err(CallError::MissingModel),
    };
    Ok(Named {
        models: vec![served],
        besides: Vec::from_iter(model_id),
    })
}

fn model_name(text: &str, key: &'static str) -> Result<ModelName, CallError> {
    ModelName::parse(text).map_err(|_| CallError::ModelName(key))
}

/// Whether a stream is asked for; checks the types of all other policy keys by the way.
fn json_stream(route: &Route, object: &JsonObject) -> Result<bool, CallError> {
    for key in INTEGERS {
        object.integer(key)?;
    }
    object.string("service_tier")?;
    object.check_stream_options()?;
    if route.surface() == Surface::Responses && object.boolean("background")? == Some(true) {
        return Err(CallError::Background);
    }
    Ok(object.boolean("stream")?.unwrap_or(false))
}

fn is_native(route: &Route) -> bool {
    route.surface() == Surface::Native
}

#[cfg(test)]
mod tests;
