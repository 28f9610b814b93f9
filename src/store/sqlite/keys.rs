//! Accounts, keys and revocations in their tables.

use std::time::Duration;

use rusqlite::{Connection, Row, ToSql, ffi};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::writer::Fault;
use crate::store::seal::{Header, MasterKeys, Place};
use crate::token::{Change, Kept, KeptAccount, KeptKey, KeptSecret, KeyStoreError, Revoked};
use crate::types::{AccountId, KeyName, TokenId};

/// A row of `keys` with its secrets still sealed.
pub(super) struct SealedKey {
    pub(super) account: String,
    pub(super) name: String,
    pub(super) first: Vec<u8>,
    pub(super) second: Option<Vec<u8>>,
}

impl SealedKey {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            account: row.get("account")?,
            name: row.get("name")?,
            first: row.get("secret_1")?,
            second: row.get("secret_2")?,
        })
    }

    /// Where the secret in `slot` belongs; the slots are 1 and 2, as in the names of the columns.
    pub(super) fn place(&self, slot: u8) -> Place<'_> {
        place(&self.account, &self.name, slot)
    }

    /// Opens the secret in `slot`, or says what is wrong with it.
    pub(super) fn open(
        &self,
        slot: u8,
        sealed: &[u8],
        master: &MasterKeys,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let Self { account, name, .. } = self;
        let opened = master.open(self.place(slot), sealed);
        opened.map_err(|error| format!("secret {slot} of the key `{name}` of account `{account}`: {error}"))
    }
}

const PUT_ACCOUNT: &str = "
    INSERT INTO accounts (id, name, management) VALUES (?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET name = ?2, management = ?3";

const PUT_KEY: &str = "
    INSERT INTO keys (account, name, disabled, secret_1, until_1, secret_2, until_2)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (account, name) DO UPDATE
    SET disabled = ?3, secret_1 = ?4, until_1 = ?5, secret_2 = ?6, until_2 = ?7";

// max() of a NULL is NULL: a revocation for good stays one.
const REVOKE: &str = "
    INSERT INTO revoked (account, token, until) VALUES (?1, ?2, ?3)
    ON CONFLICT (account, token) DO UPDATE SET until = max(until, ?3)";

/// Makes a change.
pub(super) fn apply(
    connection: &Connection,
    master: &MasterKeys,
    change: &Change,
) -> Result<(), KeyStoreError> {
    let write = |sql, params: &[&dyn ToSql]| -> Result<(), KeyStoreError> {
        connection.prepare_cached(sql)?.execute(params)?;
        Ok(())
    };
    match change {
        Change::PutAccount { id, name, management } => write(PUT_ACCOUNT, &[&id.as_str(), name, management]),
        Change::RemoveAccount(id) => write("DELETE FROM accounts WHERE id = ?1", &[&id.as_str()]),
        Change::PutKey {
            account,
            name,
            secrets,
            disabled,
        } => {
            let [first, second] = sealed_secrets(account, name, secrets, master)?;
            let [account, name] = [account.as_str(), name.as_str()];
            let params: [&dyn ToSql; 7] = [
                &account, &name, disabled, &first.0, &first.1, &second.0, &second.1,
            ];
            write(PUT_KEY, &params)
        }
        Change::RemoveKey { account, name } => write(
            "DELETE FROM keys WHERE account = ?1 AND name = ?2",
            &[&account.as_str(), &name.as_str()],
        ),
        Change::Revoke {
            account,
            token,
            until,
        } => write(
            REVOKE,
            &[&account.as_str(), &token.to_string(), &until.map(rounded_up)],
        ),
        Change::Forget { before } => write("DELETE FROM revoked WHERE until < ?1", &[&rounded_down(*before)]),
    }
}

/// A slot of a row: a sealed secret and its end.
type Slot = (Option<Vec<u8>>, Option<i64>);

fn sealed_secrets(
    account: &AccountId,
    name: &KeyName,
    secrets: &[KeptSecret],
    master: &MasterKeys,
) -> Result<[Slot; 2], KeyStoreError> {
    let seal = |slot, kept: &KeptSecret| -> Result<Slot, KeyStoreError> {
        let place = place(account.as_str(), name.as_str(), slot);
        let sealed = master.seal(place, kept.secret.expose_secret().as_bytes());
        let sealed = sealed.map_err(|error| KeyStoreError::Unavailable {
            why: error.to_string(),
        })?;
        Ok((Some(sealed), kept.until.map(rounded_down)))
    };
    match secrets {
        [first] => Ok([seal(1, first)?, (None, None)]),
        [first, second] => Ok([seal(1, first)?, seal(2, second)?]),
        _ => Err(KeyStoreError::SecretCount),
    }
}

/// Reads all that is kept.
pub(super) fn load(connection: &Connection, master: &MasterKeys) -> Result<Kept, KeyStoreError> {
    let mut kept = Kept::default();
    let mut accounts = connection.prepare_cached("SELECT id, name, management FROM accounts")?;
    let mut rows = accounts.query([])?;
    while let Some(row) = rows.next()? {
        kept.accounts.push(KeptAccount {
            id: account_in(row, "id")?,
            name: row.get("name")?,
            management: row.get("management")?,
        });
    }
    let mut keys = connection.prepare_cached("SELECT * FROM keys")?;
    let mut rows = keys.query([])?;
    while let Some(row) = rows.next()? {
        kept.keys.push(key_in(row, master)?);
    }
    let mut revoked = connection.prepare_cached("SELECT account, token, until FROM revoked")?;
    let mut rows = revoked.query([])?;
    while let Some(row) = rows.next()? {
        let token = TokenId::parse(row.get_ref("token")?.as_str().map_err(rusqlite::Error::from)?);
        kept.revoked.push(Revoked {
            account: account_in(row, "account")?,
            token: token.map_err(|_invalid| damaged("the name of a revoked token"))?,
            until: until_in(row, "until")?,
        });
    }
    Ok(kept)
}

/// Whether there are keys.
pub(super) fn any(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM keys)", [], |row| row.get(0))
}

/// The rows with a secret that begins otherwise than with `header`.
pub(super) fn sealed_otherwise(connection: &Connection, header: &Header) -> rusqlite::Result<Vec<SealedKey>> {
    let mut select = connection.prepare(
        "SELECT * FROM keys WHERE substr(secret_1, 1, length(?1)) <> ?1 OR substr(secret_2, 1, length(?1)) <> ?1",
    )?;
    select.query_map([header], SealedKey::read)?.collect()
}

fn place<'a>(account: &'a str, name: &'a str, slot: u8) -> Place<'a> {
    Place {
        table: "keys",
        account,
        name,
        slot,
    }
}

fn key_in(row: &Row<'_>, master: &MasterKeys) -> Result<KeptKey, KeyStoreError> {
    let sealed = SealedKey::read(row)?;
    let secret = |slot, blob: &Vec<u8>, until| -> Result<KeptSecret, KeyStoreError> {
        let opened = sealed.open(slot, blob, master).map_err(damaged)?;
        let text = str::from_utf8(&opened).map_err(|_not_text| damaged("a secret that is no text"))?;
        Ok(KeptSecret {
            secret: SecretString::from(text),
            until: until_in(row, until)?,
        })
    };
    let mut secrets = vec![secret(1, &sealed.first, "until_1")?];
    if let Some(blob) = &sealed.second {
        secrets.push(secret(2, blob, "until_2")?);
    }
    Ok(KeptKey {
        account: account_in(row, "account")?,
        name: KeyName::parse(&sealed.name).map_err(|_invalid| damaged("the name of a key"))?,
        secrets,
        disabled: row.get("disabled")?,
    })
}

fn account_in(row: &Row<'_>, column: &str) -> Result<AccountId, KeyStoreError> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    AccountId::parse(text).map_err(|_invalid| damaged("the id of an account"))
}

fn until_in(row: &Row<'_>, column: &str) -> Result<Option<Duration>, KeyStoreError> {
    let millis: Option<i64> = row.get(column)?;
    let millis = millis.map(u64::try_from).transpose();
    let millis = millis.map_err(|_negative| damaged("a time"))?;
    Ok(millis.map(Duration::from_millis))
}

/// Whole milliseconds, and at most what a column holds.
pub(super) fn rounded_down(at: Duration) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

fn rounded_up(at: Duration) -> i64 {
    rounded_down(at.saturating_add(Duration::from_nanos(999_999)))
}

fn damaged(what: impl Into<String>) -> KeyStoreError {
    KeyStoreError::Damaged { what: what.into() }
}

impl From<rusqlite::Error> for KeyStoreError {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|error| error.extended_code);
        if code == Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) {
            Self::UnknownAccount
        } else {
            Fault::from(error).into()
        }
    }
}
