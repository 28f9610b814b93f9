//! `tidegate dev`: everything on this machine with no configuration, and the commands to try it.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::args::DevArgs;
use super::banner::Banner;
use super::credentials::Credentials;
use super::serve::keep_memory_secret;
use crate::app::{App, Signals, Source};
use crate::config::{
    Account, AccountKey, Admin, Budget, Config, Env, FileOrText, Limits, Models, Network, Prices, ProcessEnv,
    ScopedJwt, Server, Store, Upstream, Webhooks,
};
use crate::simulate::{Knobs, Simulator};
use crate::types::{AccountId, KeyName, SystemClock};

/// The one account.
const ACCOUNT: &str = "di:1000000000000";
/// Its key.
const KEY_NAME: &str = "auto";
/// The upstream when there is a key for it.
const DEEPINFRA: &str = "https://api.deepinfra.com";
/// The variable with that key.
const DEEPINFRA_KEY: &str = "DEEPINFRA_API_KEY";
/// This machine.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// The gateway's key of the simulated upstream; it opens nothing else.
const SIMULATED_KEY: &str = "simulated";

/// Runs the gateway, and a simulated upstream where there is no key for the real one, until asked to stop.
///
/// # Errors
/// The credentials can't be kept, an address can't be listened on, or something failed while running.
pub(super) async fn run(arguments: DevArgs) -> Result<(), Failure> {
    keep_memory_secret();
    let signals = Signals::install().map_err(Failure::Signals)?;
    let credentials = Credentials::open(&arguments.data)?;
    if let Some(key) = upstream_key(&ProcessEnv)? {
        let mut upstream = Upstream::at(Uri::from_static(DEEPINFRA));
        upstream.api_key = Some(key);
        return gate(&arguments, &credentials, upstream, DEEPINFRA, signals).await;
    }
    let (listener, upstream) = simulated().await.map_err(Failure::Simulator)?;
    let words = format!("simulated, inside this process; set {DEEPINFRA_KEY} for the real one");
    let stop = CancellationToken::new();
    let simulator = simulator().serve(listener, stop.cancelled());
    let gate = async {
        let _stops_the_simulator = stop.clone().drop_guard();
        gate(&arguments, &credentials, upstream, &words, signals).await
    };
    let (gate, simulator) = tokio::join!(gate, simulator);
    gate.and(simulator.map_err(Failure::Simulator))
}

/// The key of the real upstream; `None` when it is not set or empty.
fn upstream_key(env: &dyn Env) -> Result<Option<SecretString>, Failure> {
    let key = env.var(DEEPINFRA_KEY).unwrap_or_default();
    match key.trim() {
        "" => Ok(None),
        key if key.bytes().all(|b| b.is_ascii_graphic()) => Ok(Some(SecretString::from(key))),
        _ => Err(Failure::UpstreamKey(DEEPINFRA_KEY)),
    }
}

/// Starts the gateway, says how to use it, and runs it to its end.
async fn gate(
    arguments: &DevArgs,
    credentials: &Credentials,
    upstream: Upstream,
    upstream_words: &str,
    signals: Signals,
) -> Result<(), Failure> {
    let source = Source::fixed(config(arguments, credentials, upstream));
    let app = App::start(source, Arc::new(SystemClock)).await?;
    let banner = Banner {
        data: app.data_addr(),
        admin: app.admin_addr(),
        key: credentials.key.expose_secret(),
        key_name: KEY_NAME,
        admin_token: credentials.admin_token.expose_secret(),
        upstream: upstream_words,
    };
    let text = if arguments.print_env {
        banner.exports()
    } else {
        banner.text()
    };
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Failure::Output)?;
    drop(stdout);
    app.run(signals).await;
    Ok(())
}

/// The settings that a file would have: the defaults, one account and its key.
fn config(arguments: &DevArgs, credentials: &Credentials, upstream: Upstream) -> Config {
    let account = AccountId::parse(ACCOUNT).ok().zip(KeyName::parse(KEY_NAME).ok());
    let account = account.map(|(id, name)| Account {
        id,
        name: Some("Development".to_owned()),
        management: false,
        keys: vec![AccountKey {
            name,
            secret: credentials.key.clone(),
        }],
    });
    Config {
        server: Server {
            listen: arguments.listen,
            admin_listen: arguments.admin_listen,
            ..Server::default()
        },
        admin: Admin {
            token: Some(credentials.admin_token.clone()),
        },
        upstream,
        budget: Budget::default(),
        prices: Prices::default(),
        limits: Limits::default(),
        models: Models::default(),
        scoped_jwt: ScopedJwt::default(),
        store: Store {
            path: arguments.data.join("tidegate.db"),
            master_keys: vec![FileOrText::File(arguments.data.join("master.key"))],
        },
        // Receivers on this machine are what one tries a webhook with.
        webhooks: Webhooks {
            allow_http: true,
            allow_networks: LOOPBACK.into_iter().filter_map(Network::parse).collect(),
            ..Webhooks::default()
        },
        accounts: account.into_iter().collect(),
    }
}

/// A listener for the simulated upstream, and how the gateway reaches it.
async fn simulated() -> io::Result<(TcpListener, Upstream)> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let mut upstream = Upstream::at(base_url.parse().map_err(io::Error::other)?);
    upstream.api_key = Some(SecretString::from(SIMULATED_KEY));
    // It plays DeepInfra at an address that does not say so.
    upstream.usage_by_default = Some(true);
    upstream.continuous_usage = Some(true);
    Ok((listener, upstream))
}

/// An upstream that takes the gateway's own key and no other, as the real one does.
fn simulator() -> Arc<Simulator> {
    Simulator::new(Knobs {
        key: Some(SIMULATED_KEY.to_owned()),
        ..Knobs::default()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn the_real_upstream_is_used_when_there_is_a_key_for_it() {
        let key = |value: &str| upstream_key(&BTreeMap::from([(DEEPINFRA_KEY.to_owned(), value.to_owned())]));
        assert!(upstream_key(&BTreeMap::new()).unwrap().is_none());
        assert!(key(" ").unwrap().is_none());
        assert_eq!(key("abc\n").unwrap().unwrap().expose_secret(), "abc");
        assert!(key("a\nb").is_err());
    }

    #[tokio::test]
    async fn the_simulated_upstream_takes_the_key_that_the_gateway_has_for_it() {
        let (listener, upstream) = simulated().await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let key = upstream.api_key.unwrap();
        let body = r#"{"model":"a/b","messages":[{"role":"user","content":"x"}]}"#;
        let request = format!(
            "POST /v1/openai/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            key.expose_secret(),
            body.len()
        );
        let asked = async {
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::select! {
            answer = asked => assert!(answer.starts_with("HTTP/1.1 200"), "{answer}"),
            ended = simulator().serve(listener, std::future::pending()) => panic!("{ended:?}"),
        }
    }

    #[test]
    fn one_account_has_the_key_that_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials::open(dir.path()).unwrap();
        let arguments = DevArgs {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin_listen: "127.0.0.1:0".parse().unwrap(),
            data: dir.path().to_owned(),
            print_env: false,
        };
        let config = config(
            &arguments,
            &credentials,
            Upstream::at(Uri::from_static(DEEPINFRA)),
        );
        assert_eq!(config.accounts.len(), 1);
        assert_eq!(config.accounts[0].id.as_str(), ACCOUNT);
        assert_eq!(
            config.accounts[0].keys[0].secret.expose_secret(),
            credentials.key.expose_secret()
        );
        assert_eq!(config.server.listen, arguments.listen);
        let webhooks = config.webhooks;
        assert!(webhooks.allow_http);
        for address in ["127.0.0.1", "::1"] {
            let address = address.parse().unwrap();
            assert!(webhooks.allow_networks.iter().any(|network| network.has(address)));
        }
    }
}
