//! `show`, `snooze`, `resume` and `checkout`: commands for one reservation.

use std::thread;
use std::time::{Duration, Instant};

use innkeeper_core::duration;
use serde_json::{Value, json};
use structopt::StructOpt;
use ureq::http::Method;

use super::{CommandContext, Failure, PATIENCE, exit, say, say_json, table};
use crate::api::{ApiTrouble, Call};
use crate::report::Names;

/// How often `show --wait` polls the job's state.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// States in which somebody has to act.
const DOWN: [&str; 2] = ["down", "overdue"];

// See `exec::options::Options`.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct NameOptions {
    /// The reservation: APP/COMPONENT
    #[structopt(value_name = "APP/COMPONENT")]
    name: String,
}

#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct ShowOptions {
    /// The reservation: APP/COMPONENT
    #[structopt(value_name = "APP/COMPONENT")]
    name: String,

    /// Wait until it is no longer down
    #[structopt(long)]
    wait: bool,

    /// The longest to wait [default: for ever]
    #[structopt(long, value_name = "DURATION", requires = "wait")]
    timeout: Option<String>,

    /// Write JSON, as the API returns it
    #[structopt(long)]
    json: bool,
}

#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct SnoozeOptions {
    /// The reservation: APP/COMPONENT
    #[structopt(value_name = "APP/COMPONENT")]
    name: String,

    /// For how long: 2h, 1d
    #[structopt(value_name = "DURATION")]
    duration: String,

    /// Expect no check-ins until it ends, instead of reporting at its end what is still down
    #[structopt(long)]
    skip: bool,
}

pub(super) fn show(desk: &CommandContext, options: ShowOptions) -> Result<u8, Failure> {
    let names = Names::parse(&options.name)?;
    let until = match &options.timeout {
        None => None,
        Some(text) => {
            let span = duration::parse("--timeout", text).map_err(|invalid| invalid.to_string())?;
            Some(Instant::now() + span.to_std().map_err(|_| "--timeout is out of bounds".to_owned())?)
        }
    };
    let one = loop {
        let one = desk.find(&names)?;
        let is_over = until.is_some_and(|until| Instant::now() >= until);
        if !options.wait || !is_down(&one) || is_over {
            break one;
        }
        let left = until.map_or(LOOK_EVERY, |until| until.saturating_duration_since(Instant::now()));
        thread::sleep(left.min(LOOK_EVERY));
    };
    let status = if is_down(&one) { exit::NO } else { 0 };
    match options.json {
        true => say_json(&one),
        false => say(&described(&one, &Measured::of(desk, &one))),
    }
    Ok(status)
}

/// The figures of a reservation, formatted for people.
#[derive(Debug, Default)]
struct Measured {
    /// The last value of each figure.
    last: String,
    /// The state of each clause of `expect`, one per line.
    expects: String,
}

impl Measured {
    /// Asks the server for the figures. An error leaves them out, because the rest of the output does not need them.
    fn of(desk: &CommandContext, one: &Value) -> Self {
        let clauses = Self { last: String::new(), expects: table::text(&one["expect"]) };
        let Some(id) = one["id"].as_i64() else { return clauses };
        let path = format!("/api/v1/reservations/{id}/figures");
        match desk.api.call_json(Call::new(Method::GET, &path), PATIENCE) {
            Ok(answer) if answer["figures"].is_object() => {
                let expects = each_clause(&answer["expect"]);
                Self { last: last_values(&answer["figures"]), expects }
            }
            Err(ApiTrouble::Unreachable { .. } | ApiTrouble::TimedOut { .. } | ApiTrouble::Busy { .. }) => {
                clauses
            }
            // An older server, or a role without this route.
            Ok(_) | Err(_) => Self { last: of_history(desk, id), ..clauses },
        }
    }
}

/// The last value of each figure. `values` maps each name to its values, oldest first.
fn last_values(values: &Value) -> String {
    let all = values.as_object().into_iter().flatten();
    let last = all.filter_map(|(name, values)| Some((name, &values.as_array()?.last()?["value"])));
    last.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// The clauses with the state of each.
fn each_clause(clauses: &Value) -> String {
    let said = |one: &Value| {
        let (clause, says) = (table::text(&one["clause"]), table::text(&one["says"]));
        match one["state"].as_str() {
            // The text names the clause already.
            Some("broken") => format!("broken: {says}"),
            _ => format!("{clause}: {says}"),
        }
    };
    clauses.as_array().into_iter().flatten().map(said).collect::<Vec<_>>().join("\n")
}

/// The figures of the latest check-in that carried any.
fn of_history(desk: &CommandContext, id: i64) -> String {
    let path = format!("/api/v1/reservations/{id}/check-ins");
    let call = Call { query: vec![("limit", "20")], ..Call::new(Method::GET, &path) };
    let history = desk.api.call_json(call, PATIENCE).unwrap_or_default();
    let figures = |entry: &Value| {
        let all = entry["figures"].as_object().into_iter().flatten();
        all.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
    };
    let newest_first = history["checkins"].as_array().into_iter().flatten();
    newest_first.map(figures).find(|text| !text.is_empty()).unwrap_or_default()
}

fn is_down(one: &Value) -> bool {
    one["state"].as_str().is_some_and(|state| DOWN.contains(&state))
}

fn described(one: &Value, measured: &Measured) -> String {
    let rows = [
        ("job", format!("{}/{}", table::text(&one["app"]), table::text(&one["component"]))),
        ("state", table::text(&one["state"])),
        ("why", table::text(&one["reason"])),
        ("schedule", table::text(&one["schedule"])),
        ("grace", table::text(&one["grace"])),
        ("last check-in", table::instant(&one["last_checkin_at"])),
        ("last figures", measured.last.clone()),
        ("expects", measured.expects.clone()),
        ("next expected", table::instant(&one["expected_at"])),
        ("deadline", table::instant(&one["deadline"])),
        ("snoozed until", table::instant(&one["snoozed_until"])),
        ("tells", table::text(&one["notify"])),
        ("owner", table::text(&one["owner"])),
        ("description", table::text(&one["description"])),
        ("tags", table::text(&one["tags"])),
        ("ping address", table::text(&one["ping_url"])),
        ("warnings", table::text(&one["warnings"])),
    ];
    let said: Vec<String> = rows
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| {
            let lines: Vec<String> = match name {
                "expects" => value.lines().map(table::printable).collect(),
                _ => vec![table::printable(&value)],
            };
            format!("{name:<15}{}", lines.join(&format!("\n{:15}", "")))
        })
        .collect();
    said.join("\n")
}

pub(super) fn snooze(desk: &CommandContext, options: SnoozeOptions) -> Result<u8, Failure> {
    let names = Names::parse(&options.name)?;
    duration::parse("DURATION", &options.duration).map_err(|invalid| invalid.to_string())?;
    let mode = if options.skip { "skip" } else { "quiet" };
    let body = json!({ "duration": options.duration, "mode": mode });
    let path = path_of(desk, &names, "/snooze")?;
    desk.api.call_json(Call::json(Method::POST, &path, &body), PATIENCE)?;
    let until = table::instant(&desk.find(&names)?["snoozed_until"]);
    say(&format!("{names} is snoozed until {until}"));
    Ok(0)
}

pub(super) fn resume(desk: &CommandContext, options: NameOptions) -> Result<u8, Failure> {
    let names = Names::parse(&options.name)?;
    let path = path_of(desk, &names, "/resume")?;
    desk.api.call_json(Call::new(Method::POST, &path), PATIENCE)?;
    say(&format!("{names} is not snoozed"));
    Ok(0)
}

pub(super) fn check_out(desk: &CommandContext, options: NameOptions) -> Result<u8, Failure> {
    let names = Names::parse(&options.name)?;
    let path = path_of(desk, &names, "")?;
    desk.api.call(Call::new(Method::DELETE, &path), PATIENCE)?;
    say(&format!("{names} is checked out; for a day, this can be undone"));
    Ok(0)
}

fn path_of(desk: &CommandContext, names: &Names, part: &str) -> Result<String, Failure> {
    let one = desk.find(names)?;
    let id = one["id"].as_i64().ok_or_else(|| "the answer has no id".to_owned())?;
    Ok(format!("/api/v1/reservations/{id}{part}"))
}
