//! `/api/v1/usage`: what was called, and what it has cost.

use std::time::Duration;

use http::{Response, StatusCode};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::query::Query;
use super::{Api, Call};
use crate::admin::problem::Problem;
use crate::body::{self, Body};
use crate::spend::{By, Group, Report, ReportRow};
use crate::types::{AccountId, Money};

/// The rows of a report unless something else is asked for, and the most of them.
const USUAL_ROWS: u32 = 1_000;
const MOST_ROWS: u32 = 100_000;

/// What a report is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

/// A row as it is shown; what it does not stand for is left out.
#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    calls: u64,
    input_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
    usd: Money,
}

#[derive(Serialize)]
struct Rows {
    items: Vec<Row>,
    next: Option<String>,
}

impl Api {
    pub(super) async fn usage(&self, mut call: Call) -> Result<Response<Body>, Problem> {
        let query = &mut call.query;
        let format = match query.take("format")?.as_deref() {
            None | Some("json") => Format::Json,
            Some("csv") => Format::Csv,
            Some(_) => return Err(Problem::field("format", "expected `json` or `csv`")),
        };
        let report = report(query)?;
        std::mem::take(query).finish()?;
        let by = report.by;
        let rows = self.spend.report(report).await.map_err(|error| {
            tracing::error!(%error, "a report can't be made");
            Problem::unavailable("the ledger can't be read now; try again")
        })?;
        let rows: Vec<Row> = rows.into_iter().map(Row::of).collect();
        let (media, text) = match format {
            Format::Json => ("application/json", json(rows)?),
            Format::Csv => ("text/csv; charset=utf-8; header=present", csv(by, rows)),
        };
        Ok(body::with_type(StatusCode::OK, media, text))
    }
}

fn report(query: &mut Query) -> Result<Report, Problem> {
    let by = match query.take("by")?.as_deref() {
        Some("account") => By::Account,
        Some("key") => By::Key,
        Some("token") => By::Token,
        Some("model") => By::Model,
        None | Some("day") => By::Day,
        Some(_) => {
            return Err(Problem::field(
                "by",
                "expected `account`, `key`, `token`, `model` or `day`",
            ));
        }
    };
    let account = query.take("account")?.map(|text| AccountId::parse(&text));
    let account = account
        .transpose()
        .map_err(|error| Problem::field("account", error.to_string()))?;
    let limit = query.take("limit")?.map(|text| {
        let limit = text.parse().ok();
        limit
            .filter(|limit| (1..=MOST_ROWS).contains(limit))
            .ok_or_else(|| Problem::field("limit", "expected a whole number from 1 to 100000"))
    });
    Ok(Report {
        by,
        from: instant(query, "from")?.unwrap_or_default(),
        to: instant(query, "to")?.unwrap_or(Duration::MAX),
        account,
        limit: limit.transpose()?.unwrap_or(USUAL_ROWS),
    })
}

/// A day (UTC), which stands for its beginning, or an instant.
fn instant(query: &mut Query, name: &'static str) -> Result<Option<Duration>, Problem> {
    let Some(text) = query.take(name)? else {
        return Ok(None);
    };
    let day = Date::parse(&text, format_description!("[year]-[month]-[day]"));
    let at = day
        .map(|day| day.midnight().assume_utc())
        .or_else(|_| OffsetDateTime::parse(&text, &Rfc3339))
        .ok()
        .map(OffsetDateTime::unix_timestamp_nanos)
        .and_then(|nanos| u64::try_from(nanos).ok())
        .map(Duration::from_nanos);
    at.map(Some).ok_or_else(|| {
        Problem::field(
            name,
            "expected a day, such as `2026-11-21`, or an instant, such as `2026-11-21T09:00:00Z`",
        )
    })
}

impl Row {
    fn of(row: ReportRow) -> Self {
        let mut shown = Self {
            account: None,
            key: None,
            token: None,
            model: None,
            day: None,
            calls: row.calls,
            input_tokens: row.input,
            cached_tokens: row.cached,
            output_tokens: row.output,
            usd: row.cost,
        };
        match row.group {
            Group::Account(account) => shown.account = Some(account.to_string()),
            Group::Key(account, key) => {
                shown.account = Some(account.to_string());
                shown.key = Some(key.to_string());
            }
            Group::Token(account, token) => {
                shown.account = Some(account.to_string());
                shown.token = Some(token.to_string());
            }
            Group::Model(model) => {
                shown.model = Some(model.map_or_else(String::new, |model| model.to_string()))
            }
            Group::Day(day) => shown.day = Some(date(day)),
        }
        shown
    }
}

fn date(day: Duration) -> String {
    let seconds = i64::try_from(day.as_secs()).unwrap_or(i64::MAX);
    let day = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    day.date().to_string()
}

/// Not by way of `Value`, which would make floating-point numbers of the money.
fn json(items: Vec<Row>) -> Result<String, Problem> {
    serde_json::to_string(&Rows { items, next: None })
        .map_err(|_| Problem::internal("the report can't be written"))
}

fn csv(by: By, rows: Vec<Row>) -> String {
    let names: &[&str] = match by {
        By::Account => &["account"],
        By::Key => &["account", "key"],
        By::Token => &["account", "token"],
        By::Model => &["model"],
        By::Day => &["day"],
    };
    let counts = ["calls", "input_tokens", "cached_tokens", "output_tokens", "usd"];
    let mut text = [names, &counts].concat().join(",");
    text.push_str("\r\n");
    for row in rows {
        let names = [row.account, row.key, row.token, row.model, row.day];
        let names = names.into_iter().flatten().map(|name| field(&name));
        let counts = [row.calls, row.input_tokens, row.cached_tokens, row.output_tokens];
        let counts = counts.iter().map(ToString::to_string);
        let fields: Vec<String> = names.chain(counts).chain([row.usd.to_string()]).collect();
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

/// A field after RFC 4180. One that a spreadsheet would take for a formula gets an apostrophe in front.
fn field(text: &str) -> String {
    let guarded = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if guarded.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be_and_never_formulas() {
        for (text, want) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "'=1+1"),
            ("@a,b", "\"'@a,b\""),
        ] {
            assert_eq!(field(text), want);
        }
    }

    #[test]
    fn a_day_or_an_instant_is_taken() {
        let of = |text: &str| {
            let uri = format!("/?from={text}").parse().unwrap();
            instant(&mut Query::of(&uri), "from").ok().flatten()
        };
        assert_eq!(of("2026-11-21"), Some(Duration::from_secs(1_795_219_200)));
        assert_eq!(
            of("2026-11-21T00:00:01Z"),
            Some(Duration::from_secs(1_795_219_201))
        );
        assert_eq!(
            of("2026-11-21T01:00:01%2B01:00"),
            Some(Duration::from_secs(1_795_219_201))
        );
        for none in ["", "now", "2026-13-01", "1969-01-01"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(date(Duration::from_secs(1_795_219_200)), "2026-11-21");
    }
}
