//! Where the answer of a call is to be sent, if not back: found, and taken out of what goes upstream.

use super::{Call, CallError, Payload, is_native};
use crate::dialect::digest::Digest;
use crate::dialect::json::JsonObject;
use crate::dialect::multipart::Form;
use crate::dialect::route::Route;

/// The policy key.
const WEBHOOK: &str = "webhook";

impl Call {
    /// The URL in the body to which the answer is to be sent; it is no URL yet.
    pub fn webhook(&self) -> Option<&str> {
        self.webhook.as_deref()
    }

    /// Takes the webhook out: the call is answered like any other then, and in one piece.
    pub fn take_webhook_out(&mut self) {
        match &mut self.payload {
            Payload::Json(object) => {
                // On other routes the key has no meaning, and passes.
                if is_native(&self.route) {
                    object.remove(WEBHOOK);
                }
                if self.stream {
                    object.set_boolean("stream", false);
                    object.remove("stream_options");
                }
            }
            Payload::Form(form) => {
                if is_native(&self.route) {
                    form.remove(WEBHOOK);
                }
                form.remove("stream");
            }
            Payload::None | Payload::Opaque(_) => {}
        }
        self.webhook = None;
        self.stream = false;
    }

    /// What tells this call, whose answer goes to `webhook`, from every other: a digest of what is asked and of where the
    /// answer goes. A form that is sent again with another boundary has the same, if its digest was asked for when it was
    /// read.
    pub fn fingerprint(&self, webhook: &str) -> [u8; 32] {
        let mut digest = Digest::default();
        digest.begin(self.method.as_str().as_bytes());
        digest.begin(self.route.upstream_path(None).as_bytes());
        digest.begin(webhook.as_bytes());
        match &self.payload {
            Payload::Json(object) => digest.begin(object.as_bytes()),
            Payload::Form(form) => digest.begin(&form.digest().unwrap_or_default()),
            Payload::None | Payload::Opaque(_) => {}
        }
        digest.finish()
    }
}

/// On native routes `webhook` asks for the answer to be sent elsewhere; on all others it means nothing.
pub(super) fn json_webhook(route: &Route, object: &JsonObject) -> Result<Option<String>, CallError> {
    if !is_native(route) {
        return Ok(None);
    }
    if object.has_null(WEBHOOK) {
        return Err(CallError::Webhook);
    }
    let text = object.string(WEBHOOK).map_err(|_| CallError::Webhook)?;
    Ok(text.map(Into::into))
}

/// The same of a form: SDKs write the field as it is or as JSON.
pub(super) fn form_webhook(route: &Route, form: &Form) -> Result<Option<String>, CallError> {
    let Some(text) = form.value(WEBHOOK).filter(|_| is_native(route)) else {
        return Ok(None);
    };
    if !text.starts_with('"') {
        return Ok(Some(text.to_owned()));
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(|_| CallError::Webhook)
}
