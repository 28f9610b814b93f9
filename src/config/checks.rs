//! What has to hold between keys, after each has been read.

use std::net::SocketAddr;

use http::Uri;

use super::reading::Reading;
use super::settings::{Config, Protocol, Server};

/// Notes every mistake that takes more than one key to see.
pub(super) fn check(config: &Config, reading: &Reading<'_>) {
    check_listeners(config, reading);
    check_upstream(config, reading);
    check_aliases(config, reading);
}

fn check_listeners(config: &Config, reading: &Reading<'_>) {
    if clash(&config.server) {
        let message = "is the same address as `server.listen`; expected one of its own";
        reading.mistake("server.admin_listen", message);
    }
    let open = !config.server.admin_listen.ip().is_loopback();
    if open && config.admin.token.is_none() && !reading.is_mistaken("admin.token") {
        let message = "is missing; expected a token, since `server.admin_listen` is no loopback address";
        reading.mistake("admin.token", message);
    }
}

/// Whether the two listeners can't both be bound. Port 0 asks for any free one.
fn clash(server: &Server) -> bool {
    let (data, admin) = (server.listen, server.admin_listen);
    let any = |addr: SocketAddr| addr.ip().is_unspecified();
    data.port() != 0 && data.port() == admin.port() && (data.ip() == admin.ip() || any(data) || any(admin))
}

fn check_upstream(config: &Config, reading: &Reading<'_>) {
    if config.upstream.protocol != Protocol::H2c || reading.is_mistaken("upstream.base_url") {
        return;
    }
    let all_plain = |base_url: &Uri| base_url.scheme_str() == Some("http");
    let routes = &config.upstream.routes;
    if !all_plain(&config.upstream.base_url) || !routes.iter().all(|route| all_plain(&route.base_url)) {
        let message = "`h2c` has no TLS; expected every `base_url` to begin with `http://`";
        reading.mistake("upstream.protocol", message);
    }
}

fn check_aliases(config: &Config, reading: &Reading<'_>) {
    let alias = &config.models.alias;
    for (asked, served) in alias {
        let key = format!("models.alias.\"{asked}\"");
        if asked == served {
            reading.mistake(key, "is an alias of itself");
        } else if alias.contains_key(served) {
            let message = format!("leads to `{served}`, which is an alias too; name the model that serves");
            reading.mistake(key, message);
        }
    }
}
