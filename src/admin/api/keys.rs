//! `/api/v1/accounts/{id}/keys`: the keys of a customer. A secret is in the answer that makes it, and in none
//! other.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::audit::Entry;
use super::fields::Fields;
use super::page::Page;
use super::{Api, Call, created, no_content, ok};
use crate::admin::problem::Problem;
use crate::body::Body;
use crate::config;
use crate::token::KeyEntry;
use crate::types::{AccountId, KeyName};

impl Api {
    pub(super) fn keys(&self, call: Call, account: &AccountId) -> Result<Response<Body>, Problem> {
        let page = Page::read(call.query)?;
        let keys = self
            .keys
            .keys(account)
            .ok_or_else(|| Problem::not_found("account"))?;
        Ok(ok(&page.cut(&keys, |entry| entry.name.as_str(), shown)))
    }

    pub(super) async fn make_key(&self, call: Call, account: AccountId) -> Result<Response<Body>, Problem> {
        let mut fields = Fields::read(&call.body)?;
        let name = fields.parsed("name", KeyName::parse)?;
        fields.finish()?;
        let entry = entry(&call, "key.make", &account, &name);
        let (keys, made) = (Arc::clone(&self.keys), name.clone());
        let secret = self
            .change(entry, async move { keys.make_key(account, made).await })
            .await?;
        Ok(created(&with_secret(&name, &secret)))
    }

    pub(super) async fn rotate_key(
        &self,
        call: Call,
        account: AccountId,
        name: KeyName,
    ) -> Result<Response<Body>, Problem> {
        let mut fields = Fields::read_or_none(&call.body)?;
        let grace = grace(&mut fields)?.unwrap_or_default();
        fields.finish()?;
        let entry = entry(&call, "key.rotate", &account, &name);
        let (keys, rotated) = (Arc::clone(&self.keys), name.clone());
        let secret = self
            .change(
                entry,
                async move { keys.rotate_key(account, rotated, grace).await },
            )
            .await?;
        Ok(ok(&with_secret(&name, &secret)))
    }

    pub(super) async fn set_disabled(
        &self,
        call: Call,
        account: AccountId,
        name: KeyName,
        disabled: bool,
    ) -> Result<Response<Body>, Problem> {
        Fields::read_or_none(&call.body)?.finish()?;
        let action = if disabled { "key.disable" } else { "key.enable" };
        let entry = entry(&call, action, &account, &name);
        let keys = Arc::clone(&self.keys);
        self.change(
            entry,
            async move { keys.set_disabled(account, name, disabled).await },
        )
        .await?;
        Ok(no_content())
    }

    pub(super) async fn remove_key(
        &self,
        call: Call,
        account: AccountId,
        name: KeyName,
    ) -> Result<Response<Body>, Problem> {
        let entry = entry(&call, "key.remove", &account, &name);
        let keys = Arc::clone(&self.keys);
        self.change(entry, async move { keys.remove_key(account, name).await })
            .await?;
        Ok(no_content())
    }
}

fn entry(call: &Call, action: &'static str, account: &AccountId, name: &KeyName) -> Entry {
    Entry {
        key: Some(name.clone()),
        ..call.entry(action, account)
    }
}

/// How long the secret holds that is replaced, if that is said.
pub(super) fn grace(fields: &mut Fields) -> Result<Option<Duration>, Problem> {
    let Some(text) = fields.text("grace")? else {
        return Ok(None);
    };
    config::duration(&text).map(Some).ok_or_else(|| {
        Problem::field(
            "grace",
            "expected a whole number and a unit of `ms`, `s`, `m`, `h` or `d`, such as `24h`",
        )
    })
}

fn with_secret(name: &KeyName, secret: &SecretString) -> Value {
    json!({"name": name.as_str(), "secret": secret.expose_secret()})
}

fn shown(entry: &KeyEntry) -> Value {
    json!({
        "name": entry.name.as_str(),
        "disabled": entry.disabled,
        "secrets": entry.secrets,
        "configured": entry.configured,
    })
}
