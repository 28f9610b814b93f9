//! The sections that this version has, read key by key into the settings.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use http::Uri;
use secrecy::SecretString;

use super::accounts;
use super::format;
use super::limits;
use super::money;
use super::node::Value;
use super::pem;
use super::reader::Section;
use super::settings::{
    Admin, Config, Cors, FileOrText, Models, Protocol, Server, Tls, Upstream, UpstreamRoute,
};
use super::store;
use super::webhooks;
use crate::types::{ModelName, ModelPattern};

/// The upstream where none is named.
const DEFAULT_UPSTREAM: &str = "https://api.deepinfra.com";

/// The limits on a request head that can be kept: hyper needs 8 KiB to read at all, and HTTP/2 counts in 32 bits.
const HEAD_SIZES: RangeInclusive<u64> = 8 * 1024..=16 * 1024 * 1024;

/// The limits on a request body that can be kept: it is held in memory where it has to be looked at.
const BODY_SIZES: RangeInclusive<u64> = 1..=64 * 1024 * 1024 * 1024;

/// The most headers that may be allowed; the header map itself ends at 24,576.
const MOST_HEADERS: usize = 10_000;

/// The most connections that may be allowed: beyond what a process can open, so that a slip of the finger shows.
const MOST_CONNECTIONS: usize = 10_000_000;

/// The most tokens that an answer may be taken to have: the most that the upstream lets a call ask for.
const MOST_OUTPUT: usize = 10_000_000;

/// What an address looks like.
const ADDRESS: &str = "an IP address and a port, such as `127.0.0.1:8080` or `[::]:8080`";

/// Reads everything. Where a value is wrong the mistake is noted and the default stands in.
pub(super) fn read(mut root: Section<'_>) -> Config {
    let server = root.section("server").map(server).unwrap_or_default();
    let admin = root.section("admin").map(admin).unwrap_or_default();
    let default = || Upstream::at(Uri::from_static(DEFAULT_UPSTREAM));
    let upstream = root.section("upstream").map(upstream).unwrap_or_else(default);
    let limits = root.section("limits").map(limits::read).unwrap_or_default();
    let budget = root.section("budget").map(money::budget).unwrap_or_default();
    let prices = root.section("prices").map(money::prices).unwrap_or_default();
    let models = root.section("models").map(models).unwrap_or_default();
    let scoped_jwt = root
        .section("scoped_jwt")
        .map(store::scoped_jwt)
        .unwrap_or_default();
    let store = root.section("store").map(store::read);
    let store = store.unwrap_or_else(|| store::default(&root));
    let webhooks = root.section("webhooks").map(webhooks::read).unwrap_or_default();
    let accounts = accounts::read(root.sections("account"));
    root.finish();
    Config {
        server,
        admin,
        upstream,
        limits,
        budget,
        prices,
        models,
        scoped_jwt,
        store,
        webhooks,
        accounts,
    }
}

fn server(mut section: Section<'_>) -> Server {
    let or = Server::default();
    let s = &mut section;
    let server = Server {
        listen: s
            .parsed("listen", ADDRESS, |text| text.parse().ok())
            .unwrap_or(or.listen),
        admin_listen: s
            .parsed("admin_listen", ADDRESS, |text| text.parse().ok())
            .unwrap_or(or.admin_listen),
        header_timeout: s.timeout("header_timeout").unwrap_or(or.header_timeout),
        max_head: s
            .size("max_head", HEAD_SIZES, "a size from 8KiB to 16MiB")
            .unwrap_or(or.max_head),
        max_headers: s
            .integer("max_headers", 1..=MOST_HEADERS)
            .unwrap_or(or.max_headers),
        max_json_body: body_size(s, "max_json_body").unwrap_or(or.max_json_body),
        max_multipart_body: body_size(s, "max_multipart_body").unwrap_or(or.max_multipart_body),
        max_connections: s
            .integer("max_connections", 1..=MOST_CONNECTIONS)
            .unwrap_or(or.max_connections),
        max_connections_per_ip: s
            .integer("max_connections_per_ip", 1..=MOST_CONNECTIONS)
            .unwrap_or(or.max_connections_per_ip),
        body_idle_timeout: s.timeout("body_idle_timeout").unwrap_or(or.body_idle_timeout),
        keepalive_timeout: s.timeout("keepalive_timeout").unwrap_or(or.keepalive_timeout),
        drain_delay: s.duration("drain_delay").unwrap_or(or.drain_delay),
        drain_timeout: s.duration("drain_timeout").unwrap_or(or.drain_timeout),
        cors: s.section("cors").map(cors).unwrap_or_default(),
        tls: s.section("tls").and_then(tls),
    };
    section.finish();
    server
}

fn body_size(section: &mut Section<'_>, name: &str) -> Option<u64> {
    section.size(name, BODY_SIZES, "a size from 1B to 64GiB")
}

fn cors(mut section: Section<'_>) -> Cors {
    let mut origins = Vec::new();
    for (key, text) in section.texts("origins").unwrap_or_default() {
        match format::origin(&text) {
            Ok(()) => origins.push(text),
            Err(wrong) => section.reading.mistake(key, wrong),
        }
    }
    section.finish();
    Cors { origins }
}

fn tls(mut section: Section<'_>) -> Option<Tls> {
    let (cert, cert_chain) = pem_of(&mut section, "cert", pem::certificates).unzip();
    let (key, private_key) = pem_of(&mut section, "key", pem::private_key).unzip();
    let client_ca = authorities(&mut section, "client_ca");
    for name in ["cert", "key"] {
        section.require(
            name,
            "expected `file:PATH` of a PEM file: TLS needs both `cert` and `key`",
        );
    }
    if let (Some(chain), Some(private_key)) = (cert_chain, private_key)
        && let Err(wrong) = pem::belong_together(chain, private_key)
    {
        section.mistake("key", wrong);
    }
    section.finish();
    Some(Tls {
        cert: cert?,
        key: key?,
        client_ca,
    })
}

fn authorities(section: &mut Section<'_>, name: &str) -> Option<FileOrText> {
    pem_of(section, name, pem::authorities).map(|(pem, ())| pem)
}

/// Reads PEM and what is in it; a file stays a file, so that it can be read again when it changes.
fn pem_of<T>(
    section: &mut Section<'_>,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Option<(FileOrText, T)> {
    let sourced = section.sourced(name)?;
    match parse(&sourced.text) {
        Ok(parsed) => {
            let text = sourced.text;
            let pem = sourced
                .file
                .map_or_else(|| FileOrText::Text(SecretString::from(text)), FileOrText::File);
            Some((pem, parsed))
        }
        Err(wrong) => {
            section.mistake(name, wrong);
            None
        }
    }
}

fn admin(mut section: Section<'_>) -> Admin {
    let token = section.secret("token");
    section.finish();
    Admin { token }
}

fn upstream(mut section: Section<'_>) -> Upstream {
    let s = &mut section;
    let base_url = s
        .checked("base_url", format::base_url)
        .unwrap_or_else(|| Uri::from_static(DEFAULT_UPSTREAM));
    let or = Upstream::at(base_url);
    let upstream = Upstream {
        api_key: s.secret("api_key"),
        ca: authorities(s, "ca"),
        connect_timeout: s.timeout("connect_timeout").unwrap_or(or.connect_timeout),
        head_timeout: s.timeout("head_timeout").unwrap_or(or.head_timeout),
        idle_timeout: s.timeout("idle_timeout").unwrap_or(or.idle_timeout),
        max_idle_per_host: s
            .integer("max_idle_per_host", 0..=MOST_CONNECTIONS)
            .unwrap_or(or.max_idle_per_host),
        protocol: s
            .parsed("protocol", "one of `auto`, `http1`, `h2c`", protocol)
            .unwrap_or(or.protocol),
        usage_by_default: auto_or_boolean(s, "usage_by_default"),
        continuous_usage: auto_or_boolean(s, "continuous_usage"),
        routes: s.sections("route").into_iter().filter_map(route).collect(),
        base_url: or.base_url,
    };
    section.finish();
    upstream
}

/// `auto`, which is `None`, or what is set.
fn auto_or_boolean(section: &mut Section<'_>, name: &str) -> Option<bool> {
    let auto = section.is_text(name, "auto");
    match section.plain(name) {
        Some(Value::Bool(set)) => Some(set),
        None => None,
        Some(_) if auto => None,
        Some(_) => {
            section.mistake(name, "expected `auto`, true or false");
            None
        }
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "auto" => Some(Protocol::Auto),
        "http1" => Some(Protocol::Http1),
        "h2c" => Some(Protocol::H2c),
        _ => None,
    }
}

fn route(mut section: Section<'_>) -> Option<UpstreamRoute> {
    let models = section.texts("models").map(|texts| patterns(&section, texts));
    if models.as_ref().is_some_and(Vec::is_empty) && !section.is_mistaken("models") {
        section.mistake("models", "expected at least one model, such as `acme/*`");
    }
    let base_url = section.checked("base_url", format::base_url);
    let openai_prefix = section.parsed(
        "openai_prefix",
        "the beginning of a path, such as `/v1`",
        format::path_prefix,
    );
    let api_key = section.secret("api_key");
    section.require(
        "models",
        "expected the models that go there, such as `[\"acme/*\"]`",
    );
    section.require(
        "base_url",
        "expected where they go, such as `http://10.0.0.7:8000`",
    );
    section.finish();
    Some(UpstreamRoute {
        models: models?,
        base_url: base_url?,
        openai_prefix,
        api_key,
    })
}

fn patterns(section: &Section<'_>, texts: Vec<(String, String)>) -> Vec<ModelPattern> {
    let mut patterns = Vec::new();
    for (key, text) in texts {
        let versioned = ModelName::parse(&text).is_ok_and(|name| name.version().is_some());
        match ModelPattern::parse(&text) {
            Ok(pattern) if !versioned => patterns.push(pattern),
            Ok(_) => section
                .reading
                .mistake(key, "routes go by the model's name without its version"),
            Err(_) => section
                .reading
                .mistake(key, "expected a model name, or the beginning of one and `*`"),
        }
    }
    patterns
}

fn models(mut section: Section<'_>) -> Models {
    let max_output_tokens = section
        .integer("max_output_tokens", 1..=MOST_OUTPUT)
        .and_then(|tokens| u64::try_from(tokens).ok())
        .unwrap_or(Models::default().max_output_tokens);
    let mut alias = HashMap::new();
    let key = section.key("alias");
    for (asked, served) in section.entries("alias") {
        match (ModelName::parse(&asked), ModelName::parse(&served)) {
            (Ok(asked), Ok(served)) => drop(alias.insert(asked, served)),
            (Err(wrong), _) | (_, Err(wrong)) => section.reading.mistake(format!("{key}.\"{asked}\""), wrong),
        }
    }
    section.finish();
    Models {
        alias,
        max_output_tokens,
    }
}
