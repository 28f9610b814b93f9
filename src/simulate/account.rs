//! The lists of models and the account routes, these in a small but true shape: nothing is kept from call to call.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::catalogue;
use super::errors::Failure;
use super::record::Journal;

/// The time at which everything on these routes was made, in Unix seconds.
const MADE: u64 = 1_790_000_000;
/// The account behind every key.
const ACCOUNT: &str = "di:1000000000000";

/// Whether a path needs no credential.
pub(super) fn public(path: &str) -> bool {
    matches!(path, "/v1/models" | "/v1/openai/models") || path.starts_with("/models/")
}

/// Answers a list or an account route.
///
/// # Errors
/// 404 for a path that is none of them or names nothing that is there, 405 for another method.
pub(super) fn answer(
    method: &Method,
    path: &str,
    body: &Value,
    journal: &Journal,
) -> Result<(StatusCode, Value), Failure> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path == "/v1/request-costs" {
        return expect(method, "POST").map(|()| (StatusCode::OK, costs(body, journal)));
    }
    if let Some(id) = path.strip_prefix("/v1/responses/").filter(|id| !id.is_empty()) {
        let message = format!("Response with id '{id}' not found.");
        return Err(Failure::new(StatusCode::NOT_FOUND, message));
    }
    if let Some(value) = list(path) {
        return expect(method, "GET").map(|()| (StatusCode::OK, value));
    }
    if let Some(name) = path.strip_prefix("/models/") {
        expect(method, "GET")?;
        let model = catalogue::find(name).ok_or_else(|| Failure::status(StatusCode::NOT_FOUND))?;
        return Ok((StatusCode::OK, model.listed()));
    }
    let path = path.replacen("/v1/openai/", "/v1/", 1);
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    kept(method, &parts, body).map(|value| (StatusCode::OK, value))
}

fn expect(method: &Method, name: &str) -> Result<(), Failure> {
    let fits = method.as_str() == name;
    fits.then_some(())
        .ok_or_else(|| Failure::unrouted(StatusCode::METHOD_NOT_ALLOWED))
}

/// Lists and the account's own settings.
fn list(path: &str) -> Option<Value> {
    Some(match path {
        "/v1/models" | "/v1/openai/models" => {
            let models: Vec<Value> = catalogue::all().map(|model| model.openai()).collect();
            json!({ "object": "list", "data": models })
        }
        "/models/list" | "/models/featured" => catalogue::all().map(|model| model.listed()).collect(),
        "/models/private/list" | "/models/deployment/list" | "/models/lora/list" => json!([]),
        "/v1/me" => json!({
            "uid": ACCOUNT,
            "email": "someone@example.com",
            "email_verified": true,
            "require_email_verified": false,
            "display_name": "Someone",
            "provider": "simulated",
            "is_admin": false,
        }),
        "/v1/me/rate_limit" => json!({ "rate_limit": 200, "tpm_rate_limit": 1_100_000 }),
        "/deploy/list" => json!([deployment()]),
        "/payment/usage" => json!({ "months": [], "initial_month": "2026.01" }),
        _ => return None,
    })
}

/// Things that can be made, listed and looked at.
fn kept(method: &Method, parts: &[&str], body: &Value) -> Result<Value, Failure> {
    let model = body.get("model").and_then(Value::as_str);
    match (method.as_str(), parts) {
        ("GET", ["v1", "files"]) => Ok(json!({ "object": "list", "data": [file()], "has_more": false })),
        ("POST", ["v1", "files"]) | ("GET", ["v1", "files", _]) => Ok(file()),
        ("GET", ["v1", "files", _, "content"]) => Ok(json!({
            "id": "batch_req_1",
            "custom_id": "1",
            "response": { "status_code": 200, "body": {} },
            "error": null,
        })),
        ("GET", ["v1", "batches"]) => Ok(json!({ "object": "list", "data": [], "has_more": false })),
        ("POST", ["v1", "batches"]) => Ok(batch("validating")),
        ("GET", ["v1", "batches", _]) => Ok(batch("completed")),
        ("POST", ["v1", "batches", _, "cancel"]) => Ok(batch("cancelling")),
        ("POST", ["v1", "videos"]) => Ok(video("queued", model)),
        ("GET", ["v1", "videos", _]) => Ok(video("succeeded", model)),
        ("GET", ["v1", "api-tokens"]) => Ok(json!([api_token()])),
        ("POST", ["v1", "api-tokens"]) | ("GET", ["v1", "api-tokens", _]) => Ok(api_token()),
        ("DELETE", ["v1", "api-tokens", _]) => Ok(json!({})),
        ("POST", ["deploy", "llm"] | ["v1", "deploy"]) => Ok(json!({ "deploy_id": "D1a2b3c4" })),
        ("GET", ["deploy", _]) => Ok(deployment()),
        ("DELETE", ["deploy", _]) => Ok(json!({})),
        ("GET", ["v1", "containers"]) => Ok(json!([])),
        ("GET", ["v1", "voices"]) => Ok(json!({ "voices": [{ "voice_id": "af_bella", "name": "Bella" }] })),
        (
            _,
            [
                "v1",
                "files" | "batches" | "videos" | "api-tokens" | "containers" | "voices",
            ]
            | ["deploy", "llm"],
        ) => Err(Failure::unrouted(StatusCode::METHOD_NOT_ALLOWED)),
        _ => Err(Failure::unrouted(StatusCode::NOT_FOUND)),
    }
}

fn costs(body: &Value, journal: &Journal) -> Value {
    let ids = body.get("requestIds").and_then(Value::as_array);
    let found: Vec<Value> = ids
        .into_iter()
        .flatten()
        .filter_map(|id| {
            let id = id.as_str()?;
            Some(json!({ "requestId": id, "costNanoUsd": journal.cost_of(id)? }))
        })
        .collect();
    json!({ "requests": found })
}

fn file() -> Value {
    json!({
        "id": "file-1a2b3c4d",
        "object": "file",
        "bytes": 120,
        "created_at": MADE,
        "filename": "batch.jsonl",
        "purpose": "batch",
    })
}

fn batch(status: &str) -> Value {
    json!({
        "id": "batch_1a2b3c4d",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "errors": null,
        "input_file_id": "file-1a2b3c4d",
        "completion_window": "24h",
        "status": status,
        "output_file_id": null,
        "created_at": MADE,
        "request_counts": { "total": 1, "completed": 0, "failed": 0 },
    })
}

fn video(status: &str, model: Option<&str>) -> Value {
    json!({
        "id": "video_1a2b3c4d",
        "object": "video.generation.job",
        "created_at": MADE,
        "status": status,
        "model": model.unwrap_or("Wan-AI/Wan2.1-T2V-1.3B"),
        "data": null,
        "error": null,
    })
}

fn api_token() -> Value {
    json!({ "token": "simulated-key", "name": "auto", "created_at": MADE, "token_id": "1", "allowed_ips": [] })
}

fn deployment() -> Value {
    json!({
        "deploy_id": "D1a2b3c4",
        "type": "llm",
        "model_name": "acme/dedicated",
        "task": "text-generation",
        "status": "running",
        "fail_reason": "",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "instances": { "running": 1, "pending": 0 },
    })
}
