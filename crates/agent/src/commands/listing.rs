//! `list`: the reservations, the worst first.

use serde_json::Value;
use structopt::StructOpt;

use super::{CommandContext, Failure, say, say_json, table};

// See `exec::options::Options`.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct Options {
    /// Only reservations with this text in their names
    #[structopt(value_name = "TEXT")]
    text: Option<String>,

    /// Only reservations of this app
    #[structopt(long, value_name = "APP")]
    app: Option<String>,

    /// Only reservations in this state: down, overdue, held, unobserved, late, running, new, snoozed, up
    #[structopt(long, value_name = "STATE")]
    state: Option<String>,

    /// Only reservations with this tag
    #[structopt(long, value_name = "TAG")]
    tag: Option<String>,

    /// Only reservations of this owner
    #[structopt(long, value_name = "OWNER")]
    owner: Option<String>,

    /// Write JSON, as the API returns it
    #[structopt(long)]
    json: bool,
}

pub(super) fn run(desk: &CommandContext, options: Options) -> Result<u8, Failure> {
    // The first column of the table shows `APP/COMPONENT`, so that form is accepted here, too.
    let (app, text) = match options.text.as_deref().and_then(|text| text.split_once('/')) {
        Some((app, text)) if options.app.is_none() => (Some(app.to_owned()), Some(text.to_owned())),
        _ => (options.app, options.text),
    };
    let given = [
        ("q", &text),
        ("app", &app),
        ("state", &options.state),
        ("tag", &options.tag),
        ("owner", &options.owner),
    ];
    let query = given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let mut found = Vec::new();
    desk.pages(query, |one| {
        found.push(one);
        true
    })?;
    if options.json {
        say_json(&Value::Array(found));
        return Ok(0);
    }
    let row = |one: &Value| {
        vec![
            format!("{}/{}", table::text(&one["app"]), table::text(&one["component"])),
            table::text(&one["state"]),
            table::text(&one["schedule"]),
            table::instant(&one["last_checkin_at"]),
            table::instant(&one["expected_at"]),
            table::text(&one["reason"]),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    say(&table::of(&["JOB", "STATE", "SCHEDULE", "LAST CHECK-IN", "NEXT EXPECTED", "WHY"], &rows));
    Ok(0)
}
