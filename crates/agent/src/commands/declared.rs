//! `apply` and `export`: a whole set of reservations as one file.

use std::io::Read as _;

use serde_json::Value;
use structopt::StructOpt;
use ureq::http::Method;

use super::{CommandContext, Failure, PATIENCE, exit, say, say_json, table};
use crate::api::Call;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;
const TOML: &str = "application/toml";
const JSON: &str = "application/json";

// See `exec::options::Options`.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct ApplyOptions {
    /// The file, in TOML or JSON; - for standard input
    #[structopt(value_name = "FILE")]
    file: String,

    /// Check out what is not in the file
    #[structopt(long)]
    prune: bool,

    /// The app that the file is about; with --prune, reservations of other apps stay
    #[structopt(long, value_name = "APP")]
    app: Option<String>,

    /// Only show what would be done; exits with 1 if anything would change
    #[structopt(long)]
    dry_run: bool,

    /// Write JSON, as the API returns it
    #[structopt(long)]
    json: bool,
}

#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct ExportOptions {
    /// Only reservations of this app
    #[structopt(long, value_name = "APP")]
    app: Option<String>,

    /// Write JSON instead of TOML
    #[structopt(long)]
    json: bool,
}

pub(super) fn apply(desk: &CommandContext, options: ApplyOptions) -> Result<u8, Failure> {
    let text = read(&options.file)?;
    let kind = if text.trim_start().starts_with('{') { JSON } else { TOML };
    let mut query = Vec::new();
    query.extend(options.prune.then_some(("prune", "true")));
    query.extend(options.dry_run.then_some(("dry_run", "true")));
    query.extend(options.app.as_deref().map(|app| ("app", app)));
    let call = Call { query, body: Some((kind, text)), ..Call::new(Method::PUT, "/api/v1/apply") };
    let applied = desk.api.call_json(call, PATIENCE)?;
    let count = |what: &str| applied[what].as_array().map_or(0, Vec::len);
    let changes = count("created") + count("changed") + count("removed");
    match options.json {
        true => say_json(&applied),
        false => say(&described(&applied, options.dry_run)),
    }
    Ok(if options.dry_run && changes > 0 { exit::NO } else { 0 })
}

fn read(file: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().take(LARGEST).read_to_string(&mut text),
        path => std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text)),
    };
    read.map_err(|error| Failure::Wrong(format!("{file}: {error}")))?;
    Ok(text)
}

fn described(applied: &Value, is_dry_run: bool) -> String {
    let mut lines = Vec::new();
    let each = |what: &str| applied[what].as_array().cloned().unwrap_or_default();
    let name = |one: &Value| format!("{}/{}", table::text(&one["app"]), table::text(&one["component"]));
    lines.extend(each("created").iter().map(|one| format!("+ {}", name(one))));
    for one in each("changed") {
        lines.push(format!("~ {}", name(&one)));
        let difference = one["difference"].as_array().cloned().unwrap_or_default();
        lines.extend(difference.iter().map(|line| format!("    {}", table::text(line))));
    }
    lines.extend(each("removed").iter().map(|one| format!("- {}", name(one))));
    lines.extend(each("warnings").iter().map(|line| format!("warning: {}", table::text(line))));
    let count = |what: &str| each(what).len();
    let unchanged = applied["unchanged"].as_u64().unwrap_or(0);
    lines.push(format!(
        "{}{} made, {} changed, {} checked out, {unchanged} as they were",
        if is_dry_run { "would be: " } else { "" },
        count("created"),
        count("changed"),
        count("removed"),
    ));
    lines.join("\n")
}

pub(super) fn export(desk: &CommandContext, options: ExportOptions) -> Result<u8, Failure> {
    let query = options.app.as_deref().map(|app| ("app", app)).into_iter().collect();
    let accept = if options.json { JSON } else { TOML };
    let text = desk.api.call(Call { query, accept, ..Call::new(Method::GET, "/api/v1/export") }, PATIENCE)?;
    say(text.trim_end_matches('\n'));
    Ok(0)
}
