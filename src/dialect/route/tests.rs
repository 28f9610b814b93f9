//! Which paths are which routes, and what goes upstream for each.

use super::*;
use crate::dialect::Family;

/// The upstream's published paths with the class of each, one a line.
const UPSTREAM: &str = include_str!("../../../tests/fixtures/upstream-paths.txt");

fn of(method: &str, target: &str) -> Result<Route, RouteError> {
    Route::of(
        &Method::from_bytes(method.as_bytes()).unwrap(),
        &target.parse().unwrap(),
    )
}

fn surface(method: &str, target: &str) -> &'static str {
    match of(method, target) {
        Ok(route) => route.surface().as_str(),
        Err(RouteError::Unknown) => "unknown",
        Err(RouteError::Method { .. }) => "method",
    }
}

/// A path of the fixture with something plain in the place of each parameter.
fn filled(template: &str) -> String {
    let mut path = template.replace("{model_name}", "acme/model");
    while let (Some(start), Some(end)) = (path.find('{'), path.find('}')) {
        path.replace_range(start..=end, "x1");
    }
    path
}

#[test]
fn every_path_of_the_upstream_has_its_class() {
    let mut seen = 0;
    for line in UPSTREAM.lines().filter(|line| !line.starts_with('#')) {
        let [methods, template, class] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        for method in methods.split(',') {
            assert_eq!(surface(method, &filled(template)), class, "{method} {template}");
            seen += 1;
        }
    }
    assert_eq!(seen, 124);
}

#[test]
fn both_prefixes_are_one_route_and_each_stays_unless_the_upstream_has_its_own() {
    for (rest, known) in OPENAI {
        for prefix in ["/v1", "/v1/openai"] {
            let route = of("POST", &format!("{prefix}/{rest}?a=%2F&b")).unwrap();
            assert_eq!(route.surface(), known);
            assert_eq!(route.upstream_path(None), format!("{prefix}/{rest}?a=%2F&b"));
            assert_eq!(
                route.upstream_path(Some("/api/v3")),
                format!("/api/v3/{rest}?a=%2F&b")
            );
            assert_eq!(
                Family::of_path(&format!("{prefix}/{rest}")),
                Family::OpenAi,
                "{prefix}/{rest}"
            );
        }
    }
    for prefix in ["/v1", "/v1/openai"] {
        let route = of("GET", &format!("{prefix}/models")).unwrap();
        assert_eq!(route.upstream_path(Some("/v2")), "/v2/models");
    }
    let elsewhere = of("POST", "/anthropic/v1/messages").unwrap();
    assert_eq!(elsewhere.upstream_path(Some("/v2")), "/anthropic/v1/messages");
}

#[test]
fn a_native_path_names_its_model_however_its_slash_is_written() {
    for (path, model, sent) in [
        ("acme/m", "acme/m", "acme/m"),
        ("acme%2Fm", "acme/m", "acme/m"),
        ("acme%2fm?version=v%2F1", "acme/m", "acme/m?version=v%2F1"),
        ("acme/m%2D1", "acme/m-1", "acme/m-1"),
        ("acme/m:v1", "acme/m:v1", "acme/m:v1"),
        ("acme/m%3Av1", "acme/m:v1", "acme/m:v1"),
        ("solo", "solo", "solo"),
        ("deploy/Xy1", "deploy_id:Xy1", "deploy/Xy1"),
    ] {
        let route = of("POST", &format!("/v1/inference/{path}")).unwrap();
        assert_eq!(route.surface(), Surface::Native);
        assert_eq!(route.model().unwrap().as_str(), model, "{path}");
        assert_eq!(route.upstream_path(Some("/v9")), format!("/v1/inference/{sent}"));
    }
}

#[test]
fn a_served_model_takes_the_place_of_the_one_asked_for_in_the_path() {
    let served = |path: &str, model: &str| {
        let mut route = of("POST", path).unwrap();
        route.replace_model(&ModelName::parse(model).unwrap());
        (route.upstream_path(None), route.model().unwrap().to_string())
    };
    assert_eq!(
        served("/v1/inference/old%2Fm?version=1", "new/m"),
        ("/v1/inference/new/m".into(), "new/m".into())
    );
    assert_eq!(
        served("/v1/inference/old/m?x=1&version=2&y", "new/m:v"),
        ("/v1/inference/new/m:v?x=1&y".into(), "new/m:v".into())
    );
    assert_eq!(
        served("/v1/inference/old/m", "deploy_id:Xy1"),
        ("/v1/inference/deploy/Xy1".into(), "deploy_id:Xy1".into())
    );
    assert_eq!(
        served("/v1/inference/deploy/Xy1", "new/m"),
        ("/v1/inference/new/m".into(), "new/m".into())
    );
}

#[test]
fn no_variant_of_an_inference_path_is_an_account_route() {
    for path in [
        "/v1/chat",
        "/v1/Chat/completions",
        "/V1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat%2Fcompletions",
        "/v1/openai/chat/Completions",
        "/v1/OpenAI/chat/completions",
        "/v1/chat/completions/x",
        "/v1/completions/x",
        "/v1/embeddings/x",
        "/v1/images/other",
        "/v1/audio/other",
        "/v1/responses/r1",
        "/v1/openai/responses/r1",
        "/v1/inference",
        "/v1/inference/",
        "/V1/inference/acme/m",
        "/v1/Inference/acme/m",
        "/v1/openai/inference/acme/m",
        "/v1/inference/deploy",
        "/v1/inference/deploy/",
        "/v1/inference/deploy/a/b",
        "/v1/inference/deploy%2Fa",
        "/v1/inference/Deploy/a",
        "/v1/inference/DEPLOY%2Fa",
        "/v1/inference/acme%2F",
        "/v1/inference/acme/m%20",
        "/v1/inference/acme/m:",
        "/anthropic",
        "/Anthropic/v1/messages",
        "/anthropic/v1/Messages",
        "/anthropic/v1/complete",
        "/v1/text-to-speech",
        "/v1/text-to-speech/v/stream/x",
        "/v1/text-to-speech/v/with-timestamps",
        "/v1/Text-To-Speech/v",
        "/v1/text-to-speech/a%2Fstream",
        "/v1/scoped-jwt/x",
        "/v1/Scoped-JWT",
        "/v1/jobs",
        "/v1/openai/jobs/R1",
        "/v1/openai/scoped-jwt",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(surface(method, path), "unknown", "{method} {path}");
        }
    }
    for (path, family) in [
        ("/v1/openai/x", Family::OpenAi),
        ("/v1/models", Family::OpenAi),
        ("/anthropic/x", Family::Anthropic),
        ("/v1/inference/x", Family::Native),
        ("/x", Family::Native),
    ] {
        assert_eq!(Family::of_path(path), family, "{path}");
    }
}

#[test]
fn a_known_route_says_which_methods_it_takes() {
    for (method, path, allow) in [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/openai/embeddings", "POST"),
        ("GET", "/v1/inference/usage", "POST"),
        ("PUT", "/anthropic/v1/messages", "POST"),
        ("GET", "/v1/text-to-speech/v", "POST"),
        ("POST", "/v1/models", "GET"),
        ("HEAD", "/models/list", "GET"),
        ("PUT", "/v1/scoped-jwt", "POST, GET, DELETE"),
        ("POST", "/v1/jobs/R1", "GET"),
        ("POST", "/v1/me/rate_limit", "GET"),
        ("OPTIONS", "/v1/files", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("post", "/v1/chat/completions", "POST"),
    ] {
        assert_eq!(
            of(method, path),
            Err(RouteError::Method { allow }),
            "{method} {path}"
        );
    }
}
