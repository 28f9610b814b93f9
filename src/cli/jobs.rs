//! `tidegate jobs`: what waits in a running gateway, and what is done about it.

use std::io::{self, Write};

use form_urlencoded::Serializer;
use http::Method;
use serde::Deserialize;

use super::Failure;
use super::args::{AdminArgs, JobsArgs, JobsCommand};
use super::operator::{self, OperatorError};

#[derive(Deserialize)]
struct Jobs {
    items: Vec<Job>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Job {
    request_id: String,
    account: String,
    model: Option<String>,
    receiver: String,
    status: String,
    reason: Option<String>,
    at: String,
    next_attempt_at: Option<String>,
    #[serde(default)]
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
struct Attempt {
    phase: String,
    at: String,
    status: Option<u16>,
    error: Option<String>,
    said: Option<String>,
}

/// Lists jobs, shows one, or has one delivered again or ended.
///
/// # Errors
/// The gateway can't be asked or refuses; stdout is gone.
pub(super) async fn run(arguments: JobsArgs) -> Result<(), Failure> {
    let admin = &arguments.admin;
    let text = match &arguments.command {
        JobsCommand::List {
            state,
            account,
            limit,
            cursor,
        } => {
            let mut query = Serializer::new(String::new());
            for (name, value) in [
                ("state", state),
                ("account", account),
                ("limit", limit),
                ("cursor", cursor),
            ] {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
            let answer = operator::get(admin, &format!("/api/v1/jobs?{}", query.finish())).await?;
            if !admin.json {
                io::stderr()
                    .write_all(shown(admin, &answer, more)?.as_bytes())
                    .map_err(Failure::Output)?;
            }
            shown(admin, &answer, list)?
        }
        JobsCommand::Show { id } => one(admin, Method::GET, id, "").await?,
        JobsCommand::Redeliver { id } => one(admin, Method::POST, id, "/redeliver").await?,
        JobsCommand::Cancel { id } => one(admin, Method::POST, id, "/cancel").await?,
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
}

async fn one(admin: &AdminArgs, method: Method, id: &str, action: &str) -> Result<String, Failure> {
    // Whatever else is in it must not lead to another route.
    let id = form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>();
    let answer = operator::ask_for(admin, method, &format!("/api/v1/jobs/{id}{action}")).await?;
    shown(admin, &answer, single)
}

fn shown<'a, T: Deserialize<'a>>(
    admin: &AdminArgs,
    answer: &'a [u8],
    show: fn(&T) -> String,
) -> Result<String, Failure> {
    if admin.json {
        return Ok(format!("{}\n", String::from_utf8_lossy(answer)));
    }
    let read = serde_json::from_slice(answer).map_err(|error| OperatorError::Broken(error.to_string()))?;
    Ok(show(&read))
}

/// What leads to those that are older, if there are any.
fn more(jobs: &Jobs) -> String {
    let next = jobs.next.as_ref();
    next.map_or_else(String::new, |cursor| {
        format!("there are more: add `--cursor {cursor}`\n")
    })
}

/// A line for each, the newest first.
fn list(jobs: &Jobs) -> String {
    let head = ["job", "state", "accepted", "account", "model", "receiver"].map(str::to_owned);
    let rows = jobs.items.iter().map(|job| {
        let state = match &job.reason {
            Some(reason) => format!("{} ({reason})", job.status),
            None => job.status.clone(),
        };
        [
            job.request_id.clone(),
            state,
            job.at.clone(),
            job.account.clone(),
            job.model.clone().unwrap_or_default(),
            job.receiver.clone(),
        ]
    });
    let lines: Vec<_> = std::iter::once(head).chain(rows).collect();
    let mut widths = [0; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = lines.iter().map(|line| {
        let cells = line.iter().zip(widths);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    });
    lines.collect()
}

/// Everything of one, with its attempts.
fn single(job: &Job) -> String {
    let mut text = format!("{}\n", job.request_id);
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<13}{value}\n"));
    line("state", &job.status);
    if let Some(reason) = &job.reason {
        line("reason", reason);
    }
    line("accepted", &job.at);
    line("account", &job.account);
    if let Some(model) = &job.model {
        line("model", model);
    }
    line("receiver", &job.receiver);
    if let Some(next) = &job.next_attempt_at {
        line("next attempt", next);
    }
    for attempt in &job.attempts {
        let status = attempt
            .status
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let error = attempt.error.as_deref().unwrap_or("ok");
        line(
            "attempt",
            &format!("{} {} {status}: {error}", attempt.at, attempt.phase),
        );
        if let Some(said) = &attempt.said {
            line("", said);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"{"request_id":"R1","account":"di:1","key":"auto","token":null,"model":"a/m",
        "receiver":"https://example.com","status":"dead","reason":"gone","at":"2026-11-21T10:00:00.000Z",
        "next_attempt_at":null,"attempts":[
        {"phase":"deliver","at":"2026-11-21T10:00:01.000Z","status":410,"error":"the receiver answered 410"},
        {"phase":"deliver","at":"2026-11-21T10:00:02.000Z","status":null,"error":"refused"}]}"#;

    #[test]
    fn a_list_is_in_columns() {
        let jobs = format!(r#"{{"items":[{JOB}],"next":"abc"}}"#);
        let jobs = serde_json::from_str(&jobs).unwrap();
        assert_eq!(
            list(&jobs),
            "job  state        accepted                  account  model  receiver\n\
             R1   dead (gone)  2026-11-21T10:00:00.000Z  di:1     a/m    https://example.com\n"
        );
        assert_eq!(more(&jobs), "there are more: add `--cursor abc`\n");
        assert_eq!(
            more(&serde_json::from_str(r#"{"items":[],"next":null}"#).unwrap()),
            ""
        );
    }

    #[test]
    fn one_job_is_shown_with_its_attempts() {
        insta::assert_snapshot!(single(&serde_json::from_str(JOB).unwrap()));
    }
}
