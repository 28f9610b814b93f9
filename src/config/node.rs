//! The file as a tree of values that know where they stand, and the overrides of the environment laid over it.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::env::Env;
use super::mistake::{Mistake, Mistakes, Place};

/// What a variable that overrides a key begins with: `TIDEGATE__SERVER__LISTEN` is `server.listen`.
const OVERRIDE_PREFIX: &str = "TIDEGATE__";

/// The keys of one section.
pub(super) type Table = BTreeMap<String, Node>;

/// One value and where it stands.
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A value before its type is known to be right.
pub(super) enum Value {
    Text(String),
    Integer(i64),
    /// A number that is not whole, as its text.
    Number(String),
    Bool(bool),
    /// What no key takes: a date, or an integer beyond 64 bits.
    Other,
    List(Vec<Node>),
    Table(Table),
    /// The text of an environment variable: a string, or TOML where the key takes something else.
    Raw(String),
}

impl Value {
    /// The text of a variable, or the value back.
    pub(super) fn into_raw(self) -> Result<String, Self> {
        if let Self::Raw(text) = self {
            Ok(text)
        } else {
            Err(self)
        }
    }

    /// Whether it is a section, or a list of them.
    fn is_section(&self) -> bool {
        matches!(self, Self::Table(_))
            || matches!(self, Self::List(items) if items.iter().any(|item| item.value.is_section()))
    }
}

/// Reads TOML.
///
/// # Errors
/// One mistake, with its line, if it is no TOML.
pub(super) fn parse(text: &str) -> Result<Table, Mistakes> {
    match DeTable::parse(text) {
        Ok(table) => Ok(table_of(table.into_inner(), &Lines(text))),
        Err(error) => {
            let place = error.span().map(|span| Lines(text).at(span.start));
            Err(Mistakes::of_file(
                place,
                format!("is no TOML: {}", error.message()),
            ))
        }
    }
}

/// Lays the variables `TIDEGATE__…` over the file's table; gives what can't be laid.
pub(super) fn override_from(env: &dyn Env, root: &mut Table) -> Vec<Mistake> {
    env.vars()
        .into_iter()
        .filter_map(|(name, value)| {
            let path = name
                .get(..OVERRIDE_PREFIX.len())
                .filter(|start| start.eq_ignore_ascii_case(OVERRIDE_PREFIX))
                .and_then(|_| name.get(OVERRIDE_PREFIX.len()..))?
                .to_ascii_lowercase();
            let message = lay(root, &path, &name, value).err()?;
            Some(Mistake {
                key: path.replace("__", "."),
                place: Some(Place::Variable(name)),
                message,
            })
        })
        .collect()
}

/// Reads one value of TOML, as it may stand in a variable.
pub(super) fn parse_value(text: &str, place: &Place) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    let mut node = node_of(value.into_inner(), place.clone(), &Lines(text));
    relocate(&mut node, place);
    Some(node.value)
}

fn relocate(node: &mut Node, place: &Place) {
    node.place = place.clone();
    if let Value::List(items) = &mut node.value {
        items.iter_mut().for_each(|item| relocate(item, place));
    }
}

fn lay(root: &mut Table, path: &str, variable: &str, value: String) -> Result<(), String> {
    let place = Place::Variable(variable.to_owned());
    if path.split("__").any(str::is_empty) {
        return Err("names no key; expected such as `TIDEGATE__SERVER__LISTEN`".to_owned());
    }
    let mut table = root;
    let mut rest = path;
    while let Some((section, after)) = rest.split_once("__") {
        let node = table.entry(section.to_owned()).or_insert_with(|| Node {
            value: Value::Table(Table::new()),
            place: place.clone(),
        });
        if node.value.is_section() && !matches!(node.value, Value::Table(_)) {
            return Err(NOT_OVERRIDABLE.to_owned());
        }
        let Value::Table(inner) = &mut node.value else {
            return Err(format!("unknown key: `{section}` is no section"));
        };
        table = inner;
        rest = after;
    }
    if let Some(there) = table.get(rest) {
        if there.value.is_section() {
            return Err(NOT_OVERRIDABLE.to_owned());
        }
        if matches!(there.place, Place::Variable(_)) {
            return Err("is overridden twice, by names that differ only in case".to_owned());
        }
    }
    let value = Value::Raw(value);
    table.insert(rest.to_owned(), Node { value, place });
    Ok(())
}

/// Why a variable can't stand for a section or for a list of them.
pub(super) const NOT_OVERRIDABLE: &str =
    "can't be overridden by a variable: it is a section, or stands in a list of them; set it in the file";

fn table_of(table: DeTable<'_>, lines: &Lines<'_>) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let place = lines.at(key.span().start);
            let node = node_of(value.into_inner(), place, lines);
            (key.into_inner().into_owned(), node)
        })
        .collect()
}

fn node_of(value: DeValue<'_>, place: Place, lines: &Lines<'_>) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).map_or(Value::Other, Value::Integer)
        }
        DeValue::Float(float) => Value::Number(float.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(_) => Value::Other,
        DeValue::Array(array) => Value::List(
            array
                .into_iter()
                .map(|item| {
                    let place = lines.at(item.span().start);
                    node_of(item.into_inner(), place, lines)
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(table_of(table, lines)),
    };
    Node { value, place }
}

/// The text, to count lines in.
struct Lines<'a>(&'a str);

impl Lines<'_> {
    fn at(&self, offset: usize) -> Place {
        let before = self.0.as_bytes().get(..offset).unwrap_or_default();
        Place::Line(1 + memchr::memchr_iter(b'\n', before).count())
    }
}
