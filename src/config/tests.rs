//! The reading of whole files: each kind of mistake, all at once, and the files that are shipped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

mod shipped;

const ACCOUNT: &str = r#"
[[account]]
id = "di:1"
[[account.key]]
name = "auto"
secret = "0123456789abcdef"
"#;

fn env<const N: usize>(vars: [(&str, &str); N]) -> BTreeMap<String, String> {
    vars.iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn parse(text: &str) -> Result<Config, Mistakes> {
    Config::parse(text, Path::new("."), &env([]))
}

fn mistakes(text: &str, env: &BTreeMap<String, String>) -> Vec<String> {
    match Config::parse(text, Path::new("."), env) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

/// A file whose last line is `line`, in `section`, with an account that is right before it.
fn mistakes_of(section: &str, line: &str) -> Vec<String> {
    mistakes(&format!("{ACCOUNT}\n{section}\n{line}\n"), &env([]))
}

#[test]
fn a_file_that_says_nothing_but_an_account_has_the_defaults() {
    let config = parse(ACCOUNT).unwrap();
    assert_eq!(format!("{:?}", config.server), format!("{:?}", Server::default()));
    assert_eq!(config.upstream.base_url, "https://api.deepinfra.com/");
    assert_eq!(config.accounts.len(), 1);
    assert_eq!(
        config.accounts[0].keys[0].secret.expose_secret(),
        "0123456789abcdef"
    );
}

#[test]
fn every_built_key_reaches_its_setting() {
    let config = parse(
        r#"
        [server]
        listen = "127.0.0.1:1"
        admin_listen = "[::1]:2"
        header_timeout = "1s"
        max_head = "9KiB"
        max_headers = 3
        max_json_body = "4B"
        max_multipart_body = "5MiB"
        max_connections = 6
        max_connections_per_ip = 7
        body_idle_timeout = "8ms"
        keepalive_timeout = "9m"
        drain_delay = "10h"
        drain_timeout = "0s"
        [server.cors]
        origins = ["https://app.example.com", "http://localhost:3000"]
        [admin]
        token = "an-admin-token"
        [upstream]
        base_url = "http://127.0.0.1:3/prefix/"
        api_key = "upstream-key"
        connect_timeout = "12s"
        head_timeout = "13s"
        idle_timeout = "14s"
        max_idle_per_host = 0
        protocol = "h2c"
        usage_by_default = false
        continuous_usage = true
        [[upstream.route]]
        models = ["acme/*", "other/model"]
        base_url = "http://10.0.0.7:8000"
        openai_prefix = "/v1"
        api_key = "route-key"
        [[upstream.route]]
        models = ["*"]
        base_url = "http://10.0.0.8"
        [limits]
        concurrency_per_model = 15
        max_wait = "16s"
        requests_per_minute = 17
        tokens_per_minute = 18
        [[limits.override]]
        account = "di:1"
        key = "auto"
        model = "acme/*"
        concurrency = 19
        requests_per_minute = 0
        tokens_per_minute = 20
        [[limits.override]]
        model = "acme/model"
        tokens_per_minute = 0
        [budget]
        unpriced_hold = 0.0000000211
        unpriced = "deny"
        clamp_output = false
        [[budget.limit]]
        account = "di:1"
        key = "auto"
        usd = 22
        window = "total"
        [[budget.limit]]
        account = "di:1"
        usd = 0.30000000000000004
        window = "day"
        [[budget.limit]]
        key = "auto"
        usd = 2.4e1
        window = "month"
        [prices]
        source = "none"
        refresh = "25s"
        max_divergence = 2.6
        [models]
        max_output_tokens = 27
        [models.alias]
        "old/model" = "new/model"
        [webhooks]
        workers = 28
        timeout = "29s"
        schedule = ["30s", "31m"]
        allow_http = true
        allow_networks = ["10.0.0.0/8", "fd00::/8"]
        max_queued_per_account = 32
        result_retention = "33h"
        [[account]]
        id = "di:1"
        name = "Acme"
        management = true
        [[account.key]]
        name = "auto"
        secret = "0123456789abcdef"
        [[account.key]]
        name = "two words"
        secret = "fedcba9876543210"
        "#,
    );
    insta::assert_debug_snapshot!(config.unwrap());
}

#[test]
fn each_mistake_is_named_with_its_key_and_line() {
    let shown = include_str!("wrong.txt").split("\n\n").skip(1).map(|block| {
        let block = block.trim_end();
        let found = mistakes(&format!("{ACCOUNT}{block}\n"), &env([]));
        assert!(!found.is_empty(), "{block}");
        format!("{block}\n    {}\n", found.join("\n    "))
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_a_later_version_has_is_checked_before_it_is_refused() {
    for (section, line, wrong) in [
        (
            "[limits.shared]",
            "on_outage = \"panic\"",
            "limits.shared.on_outage",
        ),
        ("[store]", "master_key = 1", "store.master_key"),
        ("[console]", "odic = 1", "console.odic"),
    ] {
        let found = mistakes_of(section, line);
        let own = found.iter().any(|shown| {
            shown.starts_with(&format!("{wrong} (line 9): ")) && !shown.contains("not in this version")
        });
        assert!(own, "{section} {line}: {found:#?}");
    }
}

#[test]
fn of_webhooks_only_the_workers_take_a_restart() {
    let of = |lines: &str| parse(&format!("{ACCOUNT}[webhooks]\n{lines}\n")).unwrap();
    let old = of("");
    let new = of("timeout = \"1s\"\nschedule = []\nallow_http = true\nallow_networks = [\"::1/128\"]");
    assert!(old.check_change(&new).is_ok());
    let refused = old.check_change(&of("workers = 65")).unwrap_err();
    assert!(refused.to_string().starts_with("webhooks.workers: "), "{refused}");
}

#[test]
fn all_mistakes_are_shown_at_once_in_the_order_of_the_file() {
    let text = r#"[server]
header_timeout = "soon"
lsten = "x"
[admin]
token = "env:NO_SUCH"
[budget]
unpriced = "maybe"
[[account]]
id = ""
[[account.key]]
name = "auto"
secret = "short"
"#;
    let env = env([("TIDEGATE__SERVER__MAX_HEADERS", "many")]);
    insta::assert_snapshot!(mistakes(text, &env).join("\n"));
}

#[test]
fn a_file_that_is_no_toml_is_one_mistake_with_its_line() {
    let found = mistakes("[server]\nlisten = \n", &env([]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("the file (line 2): is no TOML: "),
        "{found:?}"
    );
    let twice = mistakes("[server]\nmax_headers = 1\nmax_headers = 2\n", &env([]));
    assert!(
        twice[0].starts_with("the file (line 3): is no TOML: "),
        "{twice:?}"
    );
}

#[test]
fn a_variable_overrides_a_key_whatever_its_case() {
    let env = env([
        ("TIDEGATE__SERVER__LISTEN", "127.0.0.1:7"),
        ("tidegate__Server__Max_Headers", "5"),
        ("TIDEGATE__SERVER__DRAIN_DELAY", "2s"),
        ("TIDEGATE__SERVER__CORS__ORIGINS", "[\"https://a.example\"]"),
        ("TIDEGATE__ADMIN__TOKEN", "12345678"),
        ("TIDEGATE__UPSTREAM__API_KEY", "env:ELSEWHERE"),
        ("ELSEWHERE", "upstream-key"),
        ("TIDEGATE_ADMIN_TOKEN", "no override"),
    ]);
    let text = format!("{ACCOUNT}\n[server]\nlisten = \"0.0.0.0:1\"\n");
    let config = Config::parse(&text, Path::new("."), &env).unwrap();
    assert_eq!(config.server.listen, SocketAddr::from(([127, 0, 0, 1], 7)));
    assert_eq!(config.server.max_headers, 5);
    assert_eq!(config.server.drain_delay, Duration::from_secs(2));
    assert_eq!(config.server.cors.origins, ["https://a.example"]);
    assert_eq!(config.admin.token.unwrap().expose_secret(), "12345678");
    assert_eq!(config.upstream.api_key.unwrap().expose_secret(), "upstream-key");
}

#[test]
fn an_override_that_can_not_be_is_named_with_its_variable() {
    for (name, value, shown) in [
        (
            "TIDEGATE__SERVER__LISEN",
            "x",
            "server.lisen (from TIDEGATE__SERVER__LISEN): unknown key; did you mean `listen`?",
        ),
        (
            "TIDEGATE__NOWHERE__X",
            "x",
            "nowhere (from TIDEGATE__NOWHERE__X): unknown key",
        ),
        ("TIDEGATE__SERVER", "x", "server (from TIDEGATE__SERVER): "),
        (
            "TIDEGATE__SERVER__LISTEN__X",
            "x",
            "server.listen.x (from TIDEGATE__SERVER__LISTEN__X): unknown key",
        ),
        (
            "TIDEGATE__SERVER__MAX_HEADERS",
            "x",
            "server.max_headers (from TIDEGATE__SERVER__MAX_HEADERS): expected a whole number",
        ),
        (
            "TIDEGATE__ACCOUNT",
            "[]",
            "account (from TIDEGATE__ACCOUNT): can't be overridden",
        ),
        (
            "TIDEGATE__ACCOUNT__0__NAME",
            "x",
            "account.0.name (from TIDEGATE__ACCOUNT__0__NAME): can't be overridden",
        ),
        (
            "TIDEGATE__UPSTREAM__ROUTE__0__X",
            "x",
            "upstream.route (from TIDEGATE__UPSTREAM__ROUTE__0__X): can't be overridden",
        ),
        (
            "TIDEGATE__UPSTREAM__ROUTE",
            "[]",
            "upstream.route (from TIDEGATE__UPSTREAM__ROUTE): can't be overridden",
        ),
        (
            "TIDEGATE__MODELS__ALIAS__A",
            "b",
            "models.alias.\"a\" (from TIDEGATE__MODELS__ALIAS__A): can't be overridden",
        ),
        (
            "TIDEGATE__TELEMETRY__OTLP_ENDPOINT",
            "http://a",
            "telemetry.otlp_endpoint (from TIDEGATE__TELEMETRY__OTLP_ENDPOINT): traces are not in this version",
        ),
        ("TIDEGATE__", "x", "the file (from TIDEGATE__): names no key"),
    ] {
        let text = format!("[server]\nlisten = \"127.0.0.1:1\"\n{ACCOUNT}");
        let found = mistakes(&text, &env([(name, value)]));
        assert_eq!(found.len(), 1, "{name}: {found:#?}");
        assert!(found[0].starts_with(shown), "{name}: {found:#?}");
    }
}

#[test]
fn a_file_reference_is_relative_to_the_configuration_and_loses_its_newline() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "0123456789abcdef\r\n").unwrap();
    std::fs::write(
        dir.path().join("gate.toml"),
        "[[account]]\nid = \"env:ID\"\n[[account.key]]\nname = \"auto\"\nsecret = \"file:key\"\n",
    )
    .unwrap();
    let config = Config::load(&dir.path().join("gate.toml"), &env([("ID", "di:7")]))
        .outcome
        .unwrap();
    assert_eq!(config.accounts[0].id.as_str(), "di:7");
    assert_eq!(
        config.accounts[0].keys[0].secret.expose_secret(),
        "0123456789abcdef"
    );
    std::fs::write(dir.path().join("key"), vec![b'a'; 1024 * 1024 + 1]).unwrap();
    let refused = Config::load(&dir.path().join("gate.toml"), &env([("ID", "di:7")]))
        .outcome
        .unwrap_err();
    assert!(refused.to_string().contains("is longer than 1 MiB"), "{refused}");
    let missing = Config::load(&dir.path().join("none.toml"), &env([]))
        .outcome
        .unwrap_err();
    assert!(
        missing.to_string().contains("none.toml` can't be read"),
        "{missing}"
    );
}

#[test]
fn a_price_table_is_a_plain_path_whose_contents_are_read_and_watched() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, table) = (dir.path().join("gate.toml"), dir.path().join("prices.json"));
    std::fs::write(&gate, format!("{ACCOUNT}[prices]\nfile = \"prices.json\"\n")).unwrap();
    let missing = Config::load(&gate, &env([]));
    let shown = missing.outcome.unwrap_err().to_string();
    assert!(shown.starts_with("prices.file (line 8): the file `"), "{shown}");

    std::fs::write(&table, " ".repeat(2 * 1024 * 1024)).unwrap();
    assert_ne!(missing.files.look(), missing.files, "it has come");
    let loaded = Config::load(&gate, &env([]));
    let file = loaded.outcome.unwrap().prices.file.unwrap();
    assert_eq!((file.path, file.text.len()), (table.clone(), 2 * 1024 * 1024));
    std::fs::write(&table, "{}").unwrap();
    assert_ne!(loaded.files.look(), loaded.files, "it has changed");
}

#[test]
fn no_secret_is_in_what_is_printed() {
    let secret = "s3cr3t-s3cr3t-s3cr3t";
    let right = format!(
        "[admin]\ntoken = \"{secret}a\"\n[upstream]\napi_key = \"{secret}b\"\n\
         [[upstream.route]]\nmodels = [\"*\"]\nbase_url = \"http://a\"\napi_key = \"{secret}c\"\n\
         [[account]]\nid = \"di:1\"\n[[account.key]]\nname = \"a\"\nsecret = \"{secret}d\"\n"
    );
    let debug = format!("{:?}", parse(&right).unwrap());
    assert!(!debug.contains("s3cr3t"), "{debug}");
    let wrong = format!(
        "[server]\nlisten = \"{secret}\"\nheader_timeout = \"env:S\"\nmax_head = \"{secret}\"\nmax_headers = \"{secret}\"\n\
         [server.cors]\norigins = [\"{secret}\"]\n[server.tls]\ncert = \"{secret}\"\nkey = \"{secret}\"\n\
         [admin]\ntoken = \" {secret}\"\n[upstream]\nbase_url = \"http://u:{secret}@a\"\nprotocol = \"{secret}\"\n\
         [budget]\nunpriced = \"{secret}\"\n\
         [[account]]\nid = \"{secret} \"\n[[account.key]]\nname = \"a\"\nsecret = \"jwt:{secret}\"\n\
         [[account.key]]\nname = \"b\"\nsecret = \"jwt:{secret}\"\n"
    );
    let refused = Config::parse(&wrong, Path::new("."), &env([("S", secret)])).unwrap_err();
    let shown = format!("{refused}\n{refused:?}");
    assert!(refused.iter().count() >= 12, "{shown}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
}
