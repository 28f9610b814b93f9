//! `tidegate usage`: what was called and what it has cost, summed up by a running gateway.

use std::io::{self, Write};

use form_urlencoded::Serializer;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Failure;
use super::args::{UsageArgs, UsageFormat};
use super::operator;

/// The report as the admin API gives it.
#[derive(Deserialize)]
struct Rows<'a> {
    #[serde(borrow)]
    items: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    account: Option<String>,
    key: Option<String>,
    token: Option<String>,
    model: Option<String>,
    day: Option<String>,
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// As it is written: no floating-point number comes between.
    #[serde(borrow)]
    usd: &'a RawValue,
}

/// Prints a report.
///
/// # Errors
/// The gateway can't be asked or refuses; stdout is gone.
pub(super) async fn run(arguments: UsageArgs) -> Result<(), Failure> {
    let format = if arguments.admin.json {
        UsageFormat::Json
    } else {
        arguments.format
    };
    let answer = operator::get(&arguments.admin, &path(&arguments, format)).await?;
    let text = match format {
        UsageFormat::Table => table(&answer)?,
        UsageFormat::Json => format!("{}\n", String::from_utf8_lossy(&answer)),
        UsageFormat::Csv => String::from_utf8_lossy(&answer).into_owned(),
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
}

fn path(arguments: &UsageArgs, format: UsageFormat) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("by", &arguments.by);
    let optional = [
        ("from", &arguments.from),
        ("to", &arguments.to),
        ("account", &arguments.account),
        ("limit", &arguments.limit),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if format == UsageFormat::Csv {
        query.append_pair("format", "csv");
    }
    format!("/api/v1/usage?{}", query.finish())
}

/// Columns for people: names to the left, numbers to the right.
fn table(answer: &[u8]) -> Result<String, Failure> {
    let rows: Rows<'_> =
        serde_json::from_slice(answer).map_err(|error| operator::OperatorError::Broken(error.to_string()))?;
    let mut lines = vec![["", "calls", "input tokens", "output tokens", "USD"].map(str::to_owned)];
    lines.extend(rows.items.into_iter().map(|row| {
        let names = [row.account, row.key, row.token, row.model, row.day];
        let name = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
        [
            if name.is_empty() { "-".to_owned() } else { name },
            row.calls.to_string(),
            row.input_tokens.to_string(),
            row.output_tokens.to_string(),
            row.usd.get().to_owned(),
        ]
    }));
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            let parts: [&str; 3] = if column == 0 {
                [cell, &gap, ""]
            } else {
                ["  ", &gap, cell]
            };
            text.extend(parts);
        }
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_row_and_money_as_it_is_written() {
        let answer = br#"{"items":[
            {"model":"acme/m","calls":12,"input_tokens":3400,"cached_tokens":0,"output_tokens":5,"usd":0.000000001},
            {"account":"di:1","key":"auto","calls":1,"input_tokens":0,"cached_tokens":0,"output_tokens":0,"usd":20}
        ],"next":null}"#;
        let want = "           calls  input tokens  output tokens          USD\n\
                    acme/m        12          3400              5  0.000000001\n\
                    di:1 auto      1             0              0           20\n";
        assert_eq!(table(answer).unwrap(), want);
    }
}
