//! Scripts in `/etc/cron.daily` and similar directories, which `run-parts` runs one after the other.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::files::{names_in, read_bounded};
use super::machine::SearchedMachine;
use super::source::SearchProblem;
use super::taken::{Reader, passed_over};
use super::{DiscoveredJob, Inventory, Origin, SourceKind, command, naming};

/// A script, the name that it suggests, and the names that it has.
type Script = (DiscoveredJob, String, Option<(String, String)>);

/// The scripts that a line runs through `run-parts`.
pub(super) fn of_line(
    machine: &SearchedMachine,
    by: &DiscoveredJob,
    problems: &mut Vec<SearchProblem>,
) -> Vec<Script> {
    let mut scripts = Vec::new();
    let words = command::simple_commands(&by.command);
    let run = words.iter().find(|words| words.iter().any(|word| word.ends_with("run-parts")));
    let Some(directory) = run.and_then(|words| words.iter().rev().find(|word| word.starts_with("/etc/")))
    else {
        return scripts;
    };
    for name in names_in(&machine.path(directory)).unwrap_or_default() {
        let place = format!("{}/{name}", directory.trim_end_matches('/'));
        let path = machine.path(&place);
        let is_executable = fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
        let why = passed_over(&name, machine.cron, Reader::RunParts);
        if let Some(why) = why.or_else(|| (!is_executable).then(|| "it is not executable".to_owned())) {
            problems.push(SearchProblem {
                place,
                line: None,
                problem: format!("run-parts ignores this file: {why}"),
            });
            continue;
        }
        let text = read_bounded(&path).unwrap_or_default();
        let (watched, has) = command::watched(&String::from_utf8_lossy(&text));
        let entry = DiscoveredJob {
            kind: SourceKind::Script,
            command: place.clone(),
            user: by.user.clone(),
            place,
            line: None,
            app: String::new(),
            component: String::new(),
            schedule: by.schedule.clone(),
            grace: by.grace,
            next: by.next,
            watched,
            notes: Vec::new(),
            refusal: Some(format!(
                "run-parts runs it together with the other scripts of its directory; only {} as a whole can be watched",
                by.place()
            )),
            origin: Origin::Nothing,
        };
        let suggested = naming::slug(&format!("{}-{name}", directory.rsplit('/').next().unwrap_or_default()));
        scripts.push((entry, suggested, has));
    }
    scripts
}

/// Reports directories with scripts that no line runs.
pub(super) fn unrun(machine: &SearchedMachine, found: &Inventory) -> Vec<SearchProblem> {
    let all = ["hourly", "daily", "weekly", "monthly", "yearly"].map(|name| format!("/etc/cron.{name}"));
    let is_unrun = |directory: &&String| {
        let names = names_in(&machine.path(directory)).unwrap_or_default();
        let has_scripts =
            names.iter().any(|name| passed_over(name, machine.cron, Reader::RunParts).is_none());
        has_scripts && !found.entries.iter().any(|entry| entry.command.contains(directory.as_str()))
    };
    let problem = |directory: &String| SearchProblem {
        place: directory.clone(),
        line: None,
        problem: "nothing runs the scripts of this directory".to_owned(),
    };
    all.iter().filter(is_unrun).map(problem).collect()
}
