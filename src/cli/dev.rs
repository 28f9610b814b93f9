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
use crate::app::{App, Signals};
use crate::config::{Account, AccountKey, Admin, Config, Env, Models, ProcessEnv, Server, Upstream};
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

/// The simulated upstream wants a key and takes any.
const SIMULATED_KEY: &str = "simulated";

/// Runs the gateway, and a simulated upstream where there is no key for the real one, until asked to stop.
///
/// # Errors
/// The credentials can't be kept, an address can't be listened on, or something failed while running.
pub(super) async fn run(arguments: DevArgs) -> Result<(), Failure> {
    let signals = Signals::install().map_err(Failure::Signals)?;
    let credentials = Credentials::open(&arguments.data)?;
    let deepinfra_key = ProcessEnv.var(DEEPINFRA_KEY).filter(|key| !key.trim().is_empty());
    if let Some(key) = deepinfra_key {
        let mut upstream = Upstream::at(Uri::from_static(DEEPINFRA));
        upstream.api_key = Some(SecretString::from(key.trim()));
        return gate(&arguments, &credentials, upstream, DEEPINFRA, signals).await;
    }
    let (listener, base_url) = loopback().await.map_err(Failure::Simulator)?;
    let words = format!("simulated, inside this process; set {DEEPINFRA_KEY} for the real one");
    let stop = CancellationToken::new();
    let simulator = Simulator::new(Knobs::default()).serve(listener, stop.cancelled());
    let gate = async {
        let _stops_the_simulator = stop.clone().drop_guard();
        let mut upstream = Upstream::at(base_url);
        upstream.api_key = Some(SecretString::from(SIMULATED_KEY));
        gate(&arguments, &credentials, upstream, &words, signals).await
    };
    let (gate, simulator) = tokio::join!(gate, simulator);
    gate.and(simulator.map_err(Failure::Simulator))
}

/// Starts the gateway, says how to use it, and runs it to its end.
async fn gate(
    arguments: &DevArgs,
    credentials: &Credentials,
    upstream: Upstream,
    upstream_words: &str,
    signals: Signals,
) -> Result<(), Failure> {
    let app = App::start(config(arguments, credentials, upstream), Arc::new(SystemClock))?;
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
        models: Models::default(),
        accounts: account.into_iter().collect(),
    }
}

/// A listener for the simulated upstream, and its URL.
async fn loopback() -> io::Result<(TcpListener, Uri)> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let base_url = base_url.parse().map_err(io::Error::other)?;
    Ok((listener, base_url))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
