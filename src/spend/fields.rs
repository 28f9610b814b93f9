//! The members of a JSON object in a price list. Numbers are taken as their text, never through floating point.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::types::{Factor, Money, MoneyError, Rate};

/// The members of an object, by name; of a name that is given twice the last.
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

/// What is wrong with an entry of a price list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A member is not what it has to be.
    #[error("`{name}` is wrong")]
    Number {
        /// The member.
        name: String,
        /// Why.
        #[source]
        source: MoneyError,
    },
    /// A member is missing without which there is no price.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// It is no JSON object.
    #[error("is no object")]
    NoObject,
}

impl<'a> Fields<'a> {
    /// The members of the object that `raw` is.
    pub(super) fn of(raw: &'a RawValue) -> Result<Self, EntryError> {
        let members = serde_json::from_str(raw.get());
        members.map(Self).map_err(|_| EntryError::NoObject)
    }

    /// The names that are given.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A member as it stands; `null` is not there.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|raw| raw.get() != "null")
    }

    /// A string.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }

    /// Dollars for a unit.
    pub(super) fn dollars(&self, name: &str) -> Result<Option<Rate>, EntryError> {
        self.number(name, Rate::parse)
    }

    /// Cents for a unit.
    pub(super) fn cents(&self, name: &str) -> Result<Option<Rate>, EntryError> {
        self.number(name, Rate::parse_cents)
    }

    /// Cents for a unit, without which there is no price.
    pub(super) fn needed_cents(&self, name: &'static str) -> Result<Rate, EntryError> {
        self.cents(name)?.ok_or(EntryError::Missing(name))
    }

    /// A multiplier.
    pub(super) fn factor(&self, name: &str) -> Result<Option<Factor>, EntryError> {
        self.number(name, Factor::parse)
    }

    /// A whole number; 0 says nothing.
    pub(super) fn count(&self, name: &str) -> Result<Option<u64>, EntryError> {
        const UNIT: i64 = 1_000_000_000;
        let whole = |text: &str| {
            let count = Money::parse_down(text)?.as_nanos() / UNIT;
            Ok(u64::try_from(count).unwrap_or_default())
        };
        Ok(self.number(name, whole)?.filter(|count| *count > 0))
    }

    /// The text of a number, or of a string that is one.
    fn number<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, MoneyError>,
    ) -> Result<Option<T>, EntryError> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let text = self.text(name);
        let number = read(text.as_deref().unwrap_or(raw.get()));
        number.map(Some).map_err(|source| EntryError::Number {
            name: name.to_owned(),
            source,
        })
    }
}
