//! `discover`: lists the jobs that are scheduled on this machine, and puts the agent in front of them.

use std::path::{Path, PathBuf};

use innkeeper_core::{Clock as _, SystemClock};
use serde_json::{Value, json};
use structopt::StructOpt;

use super::{CommandContext, Failure, PATIENCE, exit, say, say_json};
use crate::config::{self, Overrides};
use crate::discover::plan::{DiscoverPlan, LeftAlone, PlanOptions};
use crate::discover::record::DiscoverRecord;
use crate::discover::{Inventory, SearchOptions, apply, find, table, undo};
use crate::exec::terms::ExecSpec;
use crate::sender::reserve;
use crate::state::StateDirectory;

// See `exec::options::Options`.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct Options {
    /// Show what --apply would change, and change nothing
    #[structopt(long)]
    diff: bool,

    /// Make the reservations, and put the agent in front of all jobs that are not watched yet: crontab lines are
    /// changed, the services of timers get a drop-in. The diff is shown first, and a backup of each table is kept
    #[structopt(long, conflicts_with = "diff")]
    apply: bool,

    /// Undo all these changes, byte for byte
    #[structopt(long, conflicts_with_all = &["diff", "apply"])]
    undo: bool,

    /// The app of the reservations [default: this machine's name]
    #[structopt(long, value_name = "APP")]
    app: Option<String>,

    /// Write the schedule into each line, so that the line makes its reservation itself and reports a new schedule
    #[structopt(long)]
    with_schedule: bool,

    /// Include jobs that packages have installed
    #[structopt(long)]
    packaged: bool,

    /// Include @reboot lines
    #[structopt(long)]
    reboot: bool,

    /// Search the files below this directory instead of this machine
    #[structopt(long, value_name = "DIRECTORY", parse(from_os_str))]
    root: Option<PathBuf>,

    /// Only these jobs: APP/COMPONENT or COMPONENT, as shown in the table
    #[structopt(value_name = "NAME")]
    only: Vec<String>,

    /// Write JSON
    #[structopt(long)]
    json: bool,
}

pub(super) fn run(desk: &CommandContext, options: &Options, overrides: &Overrides) -> Result<u8, Failure> {
    let state = StateDirectory::open(desk.config.state.as_deref())?;
    let directory = state.within("discover")?;
    let (root, search) = searched(options, DiscoverRecord::read(&directory)?);
    let found = find(&root, &search);
    if options.undo {
        let outcomes = undo::undo(&found, &directory, &search)?;
        let status = told(options, &outcomes, "there is nothing to undo");
        if !outcomes.is_empty() && !options.json {
            say("Their reservations stay and will become overdue; innkeeper-agent checkout removes one.");
        }
        return Ok(status);
    }
    let agent =
        std::env::current_exe().map_err(|error| format!("the path of the agent is not known: {error}"))?;
    let how = PlanOptions { agent: &agent, schedule_flags: options.with_schedule, only: &options.only };
    let plan = DiscoverPlan::new(&found, how);
    if options.apply {
        if desk.config.server.is_none() || !config::files_name_server(overrides) {
            let files =
                "/etc/innkeeper/agent.toml, or in ~/.config/innkeeper/agent.toml of each user who has a job";
            return Err(Failure::Wrong(format!(
                "jobs of cron and systemd do not have this environment: set the server (server = \"http://…\") in {files}"
            )));
        }
        if !options.json {
            say(plan.diff().trim_end());
            refused(&found, &plan.refused);
        }
        if !options.with_schedule {
            make_reservations(desk, &state, &found, &plan)?;
        }
        let outcomes = apply::apply(&plan, &found, &directory, &search)?;
        return Ok(told(options, &outcomes, "there is nothing to change"));
    }
    match (options.json, options.diff) {
        (true, _) => say_json(&json!({
            "found": value(&found)?,
            "diff": plan.diff(),
            "refused": value(&plan.refused)?,
        })),
        (false, true) => {
            say(plan.diff().trim_end());
            refused(&found, &plan.refused);
        }
        (false, false) => say(table(&found).trim_end()),
    }
    Ok(0)
}

fn searched(options: &Options, record: DiscoverRecord) -> (PathBuf, SearchOptions) {
    let now = SystemClock.now();
    let (root, usual) = match &options.root {
        Some(root) => (root.clone(), SearchOptions::of_files(now)),
        None => (Path::new("/").to_owned(), SearchOptions::of_this_machine(now)),
    };
    let search = SearchOptions {
        app: options.app.clone(),
        packaged: options.packaged,
        reboot: options.reboot,
        names: record.names,
        ..usual
    };
    (root, search)
}

fn value(of: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(of).map_err(|error| Failure::Wrong(error.to_string()))
}

/// Lists the entries that are not changed, with the reason for each.
fn refused(found: &Inventory, refused: &[LeftAlone]) {
    for LeftAlone { entry, reason } in refused {
        if let Some(entry) = found.entries.get(*entry) {
            say(&format!("{} stays unchanged: {reason}", entry.place()));
        }
    }
}

/// Makes the reservations of all entries that will report, and updates schedules that have changed.
fn make_reservations(
    desk: &CommandContext,
    state: &StateDirectory,
    found: &Inventory,
    plan: &DiscoverPlan,
) -> Result<(), Failure> {
    let server = desk.config.server.as_ref().map(url::Url::as_str);
    for terms in found.reservations(plan) {
        let body = terms.body();
        let told = ExecSpec::of(state, server, &body);
        if !told.as_ref().is_some_and(ExecSpec::is_known) {
            reserve(&desk.api, None, &body, PATIENCE)?;
            told.iter().for_each(ExecSpec::note);
        }
    }
    Ok(())
}

/// Prints what was done and returns the exit status of the program.
fn told(options: &Options, outcomes: &[apply::ApplyOutcome], nothing: &str) -> u8 {
    match options.json {
        true => say_json(&json!({ "outcomes": outcomes })),
        false if outcomes.is_empty() => say(nothing),
        false => outcomes.iter().for_each(|outcome| say(&format!("{}: {}", outcome.place, outcome.says))),
    }
    if outcomes.iter().all(|outcome| outcome.done) { 0 } else { exit::NO }
}
