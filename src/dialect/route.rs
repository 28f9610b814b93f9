//! The route table: what there is, and nothing else.
//!
//! A path becomes a [`Route`] or an error; what goes upstream is built from the route, never from the raw path. All
//! that the table does not name is one of the upstream's account routes, unless it shadows an inference route: then
//! it is nothing, so that no variant of an inference route can pass without its policy.

use http::{Method, Uri};

use super::path;
use super::surface::Surface;
use crate::types::ModelName;

/// The OpenAI routes, without their prefix. All are POST.
pub(super) const OPENAI: [(&str, Surface); 10] = [
    ("chat/completions", Surface::ChatCompletions),
    ("completions", Surface::Completions),
    ("embeddings", Surface::Embeddings),
    ("images/generations", Surface::ImagesGenerations),
    ("images/edits", Surface::ImagesEdits),
    ("images/variations", Surface::ImagesVariations),
    ("audio/speech", Surface::Speech),
    ("audio/transcriptions", Surface::Transcriptions),
    ("audio/translations", Surface::Translations),
    ("responses", Surface::Responses),
];

/// Whatever lies under these, with or without `/openai` after `/v1`, is a route of the table or nothing.
const GUARDED: [&str; 9] = [
    "anthropic",
    "v1/inference",
    "v1/text-to-speech",
    "v1/chat",
    "v1/completions",
    "v1/embeddings",
    "v1/images",
    "v1/audio",
    "v1/responses",
];

/// The gate's own routes: nothing under them ever goes upstream.
const OWN: [&str; 2] = ["v1/scoped-jwt", "v1/jobs"];

/// There is no such route, or not with this method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The table has no such path.
    #[error("there is no such route")]
    Unknown,
    /// The path is there, the method is not.
    #[error("the route takes {allow} only")]
    Method {
        /// The methods that the route takes, as `Allow` lists them.
        allow: &'static str,
    },
}

/// A route of the table, with what its path and query say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    surface: Surface,
    path: Place,
    query: Option<String>,
    model: Option<ModelName>,
}

/// Where a route is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Under the OpenAI prefix that the client used.
    OpenAi {
        prefix: &'static str,
        rest: &'static str,
    },
    /// At this path.
    At(String),
}

impl Route {
    /// Finds the route of a request.
    ///
    /// # Errors
    /// The path is odd or not in the table, or the method is another.
    pub fn of(method: &Method, uri: &Uri) -> Result<Self, RouteError> {
        let mut route = match Self::spelt_out(uri.path()) {
            Some(route) => route,
            None => Self::decoded(uri.path())?,
        };
        let allow = route.methods();
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Err(RouteError::Method { allow });
        }
        route.query = uri.query().map(str::to_owned);
        Ok(route)
    }

    /// The route of a path that stands in the table letter for letter, as nearly all calls' does.
    fn spelt_out(path: &str) -> Option<Self> {
        let (prefix, rest) = match path.strip_prefix("/v1/openai/") {
            Some(rest) => ("/v1/openai", rest),
            None => ("/v1", path.strip_prefix("/v1/")?),
        };
        Self::openai(prefix, rest)
    }

    /// The route of a path that has to be decoded first.
    fn decoded(path: &str) -> Result<Self, RouteError> {
        // Some account routes end in a slash upstream; no other route does.
        let plain = path.strip_suffix('/').unwrap_or(path);
        let segments = path::segments(plain).map_err(|path::OddPath| RouteError::Unknown)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let mut route = Self::find(&segments)?;
        if plain != path {
            match &mut route.path {
                Place::At(path) if route.surface == Surface::Management => path.push('/'),
                Place::At(_) | Place::OpenAi { .. } => return Err(RouteError::Unknown),
            }
        }
        Ok(route)
    }

    fn find(segments: &[&str]) -> Result<Self, RouteError> {
        if let ["v1", "inference", rest @ ..] = segments {
            return Self::native(rest);
        }
        if segments.iter().any(|segment| segment.contains('/')) {
            return Err(RouteError::Unknown);
        }
        let found = match segments {
            ["v1", "openai", rest @ ..] => Self::openai("/v1/openai", &rest.join("/")),
            ["v1", rest @ ..] => Self::openai("/v1", &rest.join("/")),
            _ => None,
        };
        if let Some(route) = found {
            return Ok(route);
        }
        let surface = match segments {
            ["anthropic", "v1", "messages"] => Surface::Messages,
            ["anthropic", "v1", "messages", "count_tokens"] => Surface::CountTokens,
            ["v1", "text-to-speech", _] | ["v1", "text-to-speech", _, "stream"] => Surface::TextToSpeech,
            ["models", "list"] => Surface::Catalogue,
            ["v1", "me", "rate_limit"] => Surface::RateLimit,
            ["v1", "scoped-jwt"] => Surface::ScopedJwt,
            ["v1", "jobs", _] => Surface::Jobs,
            other if shadows(other) => return Err(RouteError::Unknown),
            _ => Surface::Management,
        };
        Ok(Self::at(surface, segments))
    }

    fn at(surface: Surface, segments: &[&str]) -> Self {
        Self {
            surface,
            path: Place::At(format!("/{}", segments.join("/"))),
            query: None,
            model: None,
        }
    }

    fn openai(prefix: &'static str, rest: &str) -> Option<Self> {
        let place = |rest, surface| Self {
            surface,
            path: Place::OpenAi { prefix, rest },
            query: None,
            model: None,
        };
        if rest == "models" {
            return Some(place("models", Surface::Catalogue));
        }
        OPENAI
            .iter()
            .find(|(known, _)| *known == rest)
            .map(|(known, surface)| place(known, *surface))
    }

    /// The model's slash may come plain or escaped; upstream it goes plain, as every client sends it.
    fn native(rest: &[&str]) -> Result<Self, RouteError> {
        let model = match rest {
            [] => return Err(RouteError::Unknown),
            ["deploy", id] => ModelName::deployment(id),
            // No organisation is called `deploy`, to a server that ignores case neither.
            [first, ..] if is_deploy(first) => return Err(RouteError::Unknown),
            // A deployment has one path, the one above.
            [first, ..] if first.starts_with("deploy_id:") => return Err(RouteError::Unknown),
            name => ModelName::parse(&name.join("/")),
        };
        let mut route = Self::at(Surface::Native, &["v1", "inference", &rest.join("/")]);
        route.model = Some(model.map_err(|_| RouteError::Unknown)?);
        Ok(route)
    }

    fn methods(&self) -> &'static str {
        match self.surface {
            Surface::Catalogue | Surface::RateLimit | Surface::Jobs => "GET",
            Surface::ScopedJwt => "POST, GET, DELETE",
            Surface::Management => "GET, HEAD, POST, PUT, PATCH, DELETE",
            Surface::ChatCompletions
            | Surface::Completions
            | Surface::Embeddings
            | Surface::ImagesGenerations
            | Surface::ImagesEdits
            | Surface::ImagesVariations
            | Surface::Speech
            | Surface::Transcriptions
            | Surface::Translations
            | Surface::Responses
            | Surface::Native
            | Surface::Messages
            | Surface::CountTokens
            | Surface::TextToSpeech => "POST",
        }
    }

    /// What the route is for.
    pub fn surface(&self) -> Surface {
        self.surface
    }

    /// The model that stands in the path.
    pub fn model(&self) -> Option<&ModelName> {
        self.model.as_ref()
    }

    /// Puts another model in the place of the one that the path names. A version in the query goes with the model that it
    /// is one of.
    pub(super) fn replace_model(&mut self, model: &ModelName) {
        if self.model.is_none() {
            return;
        }
        let name = match model.deployment_id() {
            Some(id) => format!("deploy/{id}"),
            None => model.to_string(),
        };
        self.path = Place::At(format!("/v1/inference/{name}"));
        self.query = self.query.as_deref().and_then(without_version);
        self.model = Some(model.clone());
    }

    /// The path and query for the upstream, where `openai_prefix` stands for `/v1/openai` and `/v1` alike.
    pub fn upstream_path(&self, openai_prefix: Option<&str>) -> String {
        let mut path = match &self.path {
            Place::OpenAi { prefix, rest } => [openai_prefix.unwrap_or(prefix), "/", rest].concat(),
            Place::At(path) => path.clone(),
        };
        if let Some(query) = &self.query {
            path.push('?');
            path.push_str(query);
        }
        path
    }
}

/// Whether the first segment of a native path is the word that says that a deployment's id follows.
fn is_deploy(segment: &str) -> bool {
    segment
        .split('/')
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("deploy"))
}

/// A query without its `version`; `None` when nothing else stands in it.
fn without_version(query: &str) -> Option<String> {
    let rest: Vec<&str> = query
        .split('&')
        .filter(|pair| pair.split('=').next() != Some("version"))
        .collect();
    (!rest.is_empty()).then(|| rest.join("&"))
}

/// Whether a path lies where an inference route or one of the gate's own might be, to a server that reads loosely.
fn shadows(segments: &[&str]) -> bool {
    let lower: Vec<String> = segments
        .iter()
        .map(|segment| segment.to_ascii_lowercase())
        .collect();
    let lower: Vec<&str> = match lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["v1", "openai", rest @ ..] => ["v1"].iter().chain(rest).copied().collect(),
        other => other.to_vec(),
    };
    let under = |guarded: &str| {
        let guarded: Vec<&str> = guarded.split('/').collect();
        lower.starts_with(&guarded)
    };
    GUARDED.iter().chain(&OWN).any(|guarded| under(guarded))
}

#[cfg(test)]
mod tests;
