//! `/api/v1/accounts`: the customers.

use std::sync::Arc;

use http::Response;
use serde_json::{Value, json};

use super::fields::Fields;
use super::page::Page;
use super::{Api, Call, created, no_content, ok};
use crate::admin::problem::Problem;
use crate::body::Body;
use crate::token::{AccountEdit, AccountEntry, KeptAccount};
use crate::types::AccountId;

/// The longest name for people, in bytes.
const MAX_NAME: usize = 256;

impl Api {
    pub(super) fn accounts(&self, call: Call) -> Result<Response<Body>, Problem> {
        let page = Page::read(call.query)?;
        let accounts = self.keys.accounts();
        Ok(ok(&page.cut(&accounts, |entry| entry.account.id.as_str(), shown)))
    }

    pub(super) fn account(&self, id: &AccountId) -> Result<Response<Body>, Problem> {
        Ok(ok(&shown(&self.entry_of(id)?)))
    }

    pub(super) async fn add_account(&self, call: Call) -> Result<Response<Body>, Problem> {
        let mut fields = Fields::read(&call.body)?;
        let account = KeptAccount {
            id: fields.parsed("id", AccountId::parse)?,
            name: name(&mut fields)?.flatten(),
            management: fields.boolean("management")?.unwrap_or(false),
        };
        fields.finish()?;
        let entry = call.entry("account.add", &account.id);
        let (keys, added) = (Arc::clone(&self.keys), account.clone());
        self.change(entry, async move { keys.add_account(added).await })
            .await?;
        Ok(created(&shown(&AccountEntry {
            account,
            configured: false,
        })))
    }

    pub(super) async fn change_account(&self, call: Call, id: AccountId) -> Result<Response<Body>, Problem> {
        let mut fields = Fields::read(&call.body)?;
        let edit = AccountEdit {
            name: name(&mut fields)?,
            management: fields.boolean("management")?,
        };
        fields.finish()?;
        let entry = call.entry("account.change", &id);
        let (keys, changed) = (Arc::clone(&self.keys), id.clone());
        self.change(entry, async move { keys.change_account(changed, edit).await })
            .await?;
        self.account(&id)
    }

    pub(super) async fn remove_account(&self, call: Call, id: AccountId) -> Result<Response<Body>, Problem> {
        let entry = call.entry("account.remove", &id);
        let keys = Arc::clone(&self.keys);
        self.change(entry, async move { keys.remove_account(id).await })
            .await?;
        Ok(no_content())
    }

    pub(super) fn entry_of(&self, id: &AccountId) -> Result<AccountEntry, Problem> {
        let mut accounts = self.keys.accounts().into_iter();
        accounts
            .find(|entry| entry.account.id == *id)
            .ok_or_else(|| Problem::not_found("account"))
    }
}

/// The member `name`: null says that there is none.
fn name(fields: &mut Fields) -> Result<Option<Option<String>>, Problem> {
    match fields.take("name") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text))
            if (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control) =>
        {
            Ok(Some(Some(text)))
        }
        Some(_) => Err(Problem::field(
            "name",
            "expected null or a string of 1 to 256 bytes without control characters",
        )),
    }
}

fn shown(entry: &AccountEntry) -> Value {
    let KeptAccount { id, name, management } = &entry.account;
    let mut value = json!({"id": id.as_str(), "name": name, "management": management});
    if let (true, Some(members)) = (entry.configured, value.as_object_mut()) {
        members.insert("configured".to_owned(), true.into());
    }
    value
}
