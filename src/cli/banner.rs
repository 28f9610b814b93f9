//! What `tidegate dev` prints once it accepts connections: text for people to paste from, or lines for a shell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

/// The model of the commands to paste; the upstream and its simulation both have it.
const MODEL: &str = "meta-llama/Llama-3.3-70B-Instruct-Turbo";

/// What the banner tells.
pub(super) struct Banner<'a> {
    /// Where the data listener is.
    pub(super) data: SocketAddr,
    /// Where the admin listener is.
    pub(super) admin: SocketAddr,
    /// The API key.
    pub(super) key: &'a str,
    /// The name of that key.
    pub(super) key_name: &'a str,
    /// The admin token.
    pub(super) admin_token: &'a str,
    /// What stands behind the gate, in words.
    pub(super) upstream: &'a str,
}

impl Banner<'_> {
    /// The addresses, the credentials and four commands: chat, stream, mint, webhook.
    pub(super) fn text(&self) -> String {
        let (data, admin) = (url(self.data), url(self.admin));
        let messages = json!([{"role": "user", "content": "Hello"}]);
        let chat = json!({"model": MODEL, "messages": messages});
        let stream = json!({"model": MODEL, "messages": messages, "stream": true});
        let mint = json!({
            "api_key_name": self.key_name,
            "models": [MODEL],
            "expires_delta": 3600,
            "spending_limit": 1.0,
        });
        let webhook = json!({"input": "Hello", "webhook": "http://127.0.0.1:9099/"});
        let native = format!("/v1/inference/{MODEL}");
        format!(
            "Tidegate is ready.\n\
             \n\
             \x20 OpenAI base URL   {data}/v1/openai\n\
             \x20 native base URL   {data}/v1/inference\n\
             \x20 Anthropic         {data}/anthropic\n\
             \x20 API key           {key}\n\
             \x20 admin API         {admin}/api/v1\n\
             \x20 admin token       {admin_token}\n\
             \x20 console           {admin}/\n\
             \x20 upstream          {upstream}\n\
             \n\
             Chat:\n{chat}\n\
             \n\
             Stream:\n{stream}\n\
             \n\
             Mint a token for one model and one dollar:\n{mint}\n\
             \n\
             Have the answer sent to a webhook:\n{webhook}\n",
            key = self.key,
            admin_token = self.admin_token,
            upstream = self.upstream,
            chat = self.curl("", "/v1/openai/chat/completions", &chat),
            stream = self.curl(" -N", "/v1/openai/chat/completions", &stream),
            mint = self.curl("", "/v1/scoped-jwt", &mint),
            webhook = self.curl("", &native, &webhook),
        )
    }

    /// Lines for `eval`: the origins, the key and the admin token.
    pub(super) fn exports(&self) -> String {
        [
            ("TIDEGATE_URL", url(self.data).as_str()),
            ("TIDEGATE_ADMIN_URL", &url(self.admin)),
            ("TIDEGATE_API_KEY", self.key),
            ("TIDEGATE_ADMIN_TOKEN", self.admin_token),
        ]
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
        .concat()
    }

    fn curl(&self, options: &str, path: &str, body: &Value) -> String {
        format!(
            "  curl -sS{options} {} \\\n    -H {} \\\n    -H 'Content-Type: application/json' \\\n    -d {}",
            quoted(&format!("{}{path}", url(self.data))),
            quoted(&format!("Authorization: Bearer {}", self.key)),
            quoted(&body.to_string()),
        )
    }
}

/// The origin that a client on this machine uses; a listener on all addresses is reached over loopback.
fn url(mut address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    format!("http://{address}")
}

/// The text as one word of a POSIX shell; plain text stays as it is.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner() -> Banner<'static> {
        Banner {
            data: "0.0.0.0:8080".parse().unwrap(),
            admin: "[::1]:9090".parse().unwrap(),
            key: "tgk_key",
            key_name: "auto",
            admin_token: "tga_token",
            upstream: "https://api.deepinfra.com",
        }
    }

    #[test]
    fn the_banner_has_addresses_credentials_and_four_commands() {
        insta::assert_snapshot!(banner().text());
    }

    #[test]
    fn the_exports_are_four_lines_for_a_shell() {
        insta::assert_snapshot!(banner().exports());
    }

    #[test]
    fn whatever_a_key_holds_is_one_word_of_the_shell() {
        for (text, word) in [
            ("tgk_A-b_9", "tgk_A-b_9"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(x)`y`", "'$(x)`y`'"),
            ("it's", r"'it'\''s'"),
            ("a\\b", r"'a\b'"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
