//! Lists, a page at a time, in the order of names.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::query::Query;
use crate::admin::problem::Problem;

/// The most items of a page.
const MOST: usize = 1000;

/// The items of a page unless something else is asked for.
const USUAL: usize = 100;

/// Which part of a list is asked for.
#[derive(Debug)]
pub(super) struct Page {
    limit: usize,
    /// The name of the last item of the page before.
    after: Option<String>,
}

impl Page {
    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    /// One of them is not what it must be, or there are others.
    pub(super) fn read(mut query: Query) -> Result<Self, Problem> {
        let limit = match query.take("limit")? {
            None => USUAL,
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                limit.ok_or_else(|| Problem::field("limit", "expected a whole number from 1 to 1000"))?
            }
        };
        let after = query.take("cursor")?.map(|cursor| {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
            bytes
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| Problem::field("cursor", "expected what `next` of a page said"))
        });
        query.finish()?;
        Ok(Self {
            limit,
            after: after.transpose()?,
        })
    }

    /// Cuts the page out of all `items`, which are in the order of their names.
    pub(super) fn cut<T>(&self, items: &[T], name: impl Fn(&T) -> &str, show: impl Fn(&T) -> Value) -> Value {
        let after = self.after.as_deref();
        let from = items.partition_point(|item| after.is_some_and(|after| name(item) <= after));
        let rest = items.get(from..).unwrap_or_default();
        let page = rest.get(..self.limit).unwrap_or(rest);
        let next = page
            .last()
            .filter(|_| page.len() < rest.len())
            .map(|last| URL_SAFE_NO_PAD.encode(name(last)));
        json!({"items": page.iter().map(show).collect::<Vec<_>>(), "next": next})
    }
}
