//! `process`: checks that a process with a given name runs, or the process whose id a file contains.

use std::fs;
use std::path::Path;

use innkeeper_settings::Section;

use super::{ProbeCheck, Subject};
use crate::probe::aside::aside;
use crate::probe::attempt::{ProbeAttempt, plain_error};
use crate::probe::outcome::{Failure, ProbeOutcome, ProbeStatus};

/// Number of bytes that the kernel keeps of a process's name.
const COMM: usize = 15;
/// Largest file with a process id, in bytes.
const LONGEST_PID_FILE: u64 = 1024;

/// Counts processes.
#[derive(Debug)]
pub(crate) struct ProcessProbe {
    min: usize,
    max: Option<usize>,
    /// Text that the command line must contain.
    arguments: Option<String>,
}

/// A process, as `/proc` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    pid: u32,
    /// The kernel's name of the process, at most 15 bytes.
    comm: String,
    /// The command line; empty for a kernel thread.
    words: Vec<String>,
    is_zombie: bool,
}

impl ProcessProbe {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let min = section.number("min", 1, 0..=1_000_000);
        let max_origin = section.origin("max");
        let max = Some(section.number("max", usize::MAX, 0..=1_000_000)).filter(|max| *max != usize::MAX);
        if max.is_some_and(|max| max < min) {
            section.refuse("max", max_origin, format!("is less than min, {min}"));
        }
        Self { min, max, arguments: crate::probe::read::maybe_text(section, "arguments") }
    }

    fn count(&self, name: &str, all: &[Found]) -> ProbeOutcome {
        let fits = |process: &&Found| {
            process.is_called(name)
                && self.arguments.as_ref().is_none_or(|text| process.words.join(" ").contains(text))
        };
        let (dead, alive): (Vec<&Found>, Vec<&Found>) =
            all.iter().filter(fits).partition(|found| found.is_zombie);
        let count = alive.len();
        let with = self.arguments.as_ref().map(|text| format!(" with {text:?}")).unwrap_or_default();
        let mut said = match count {
            0 => format!("no process {name}{with} runs"),
            1 => format!("{name}{with} runs (pid {})", alive[0].pid),
            _ => format!("{count} processes {name}{with} run"),
        };
        if !dead.is_empty() {
            said.push_str(&format!("; {} dead and not reaped", dead.len()));
        }
        let status = match () {
            () if count < self.min => {
                if self.min > 1 {
                    said.push_str(&format!(", at least {} should", self.min));
                }
                ProbeStatus::Critical
            }
            () if self.max.is_some_and(|max| count > max) => {
                said.push_str(&format!(", at most {} should", self.max.unwrap_or_default()));
                ProbeStatus::Critical
            }
            () => ProbeStatus::Ok,
        };
        ProbeOutcome::new(status, said).figure("processes", count as f64, "")
    }
}

impl Found {
    /// Whether the process has this name: its kernel name, its program's file name or, for an interpreter, its
    /// script's file name.
    fn is_called(&self, name: &str) -> bool {
        let base = |path: &String| path.rsplit('/').next().unwrap_or(path) == name;
        // Servers overwrite their first word: "nginx: master process", "postgres: writer".
        let title = self
            .words
            .first()
            .is_some_and(|word| word.split_once(": ").is_some_and(|(first, _)| first == name));
        let script = self.words.get(1).filter(|word| word.contains('/')).is_some_and(base);
        // The kernel cuts a longer name, so that name is compared with the command line, if there is one.
        let comm = if name.len() <= COMM || self.words.is_empty() { self.comm == cut(name) } else { false };
        comm || self.words.first().is_some_and(base) || title || script
    }
}

fn cut(name: &str) -> &str {
    let end = (0..=COMM.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or_default();
    &name[..end]
}

/// Reads one process; none if it has ended meanwhile.
fn look(pid: u32) -> Option<Found> {
    let directory = Path::new("/proc").join(pid.to_string());
    let stat = fs::read(directory.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name is in parentheses and may itself contain parentheses.
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    let comm = stat.get(start + 1..end)?.to_owned();
    let state = stat.get(end + 1..)?.trim_start().chars().next()?;
    let words = fs::read(directory.join("cmdline")).unwrap_or_default();
    let words = words.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let words = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    Some(Found { pid, comm, words, is_zombie: matches!(state, 'Z' | 'X' | 'x') })
}

fn all() -> Result<Vec<Found>, Failure> {
    let entries = fs::read_dir("/proc")
        .map_err(|error| Failure::unknown(format!("cannot read /proc: {}", plain_error(&error))))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // The agent itself is excluded, because its own arguments may contain the name.
    Ok(pids.filter(|pid| *pid != std::process::id()).filter_map(look).collect())
}

fn by_pid_file(path: &str) -> Result<ProbeOutcome, Failure> {
    let content = crate::probe::read::file(path, LONGEST_PID_FILE).map_err(Failure::critical)?;
    let text = String::from_utf8_lossy(&content);
    let first = text.split_whitespace().next().unwrap_or_default();
    let Some(pid) = first.parse::<u32>().ok().filter(|pid| *pid > 0) else {
        return Err(Failure::critical(format!("{path} does not contain a process id")));
    };
    match look(pid) {
        Some(found) if !found.is_zombie => {
            Ok(ProbeOutcome::ok(format!("{} runs (pid {pid} of {path})", found.comm)))
        }
        Some(_) => Err(Failure::critical(format!("process {pid} of {path} is dead and not reaped"))),
        None => Err(Failure::critical(format!("there is no process {pid}, which {path} names"))),
    }
}

impl ProbeCheck for ProcessProbe {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        if target.is_empty() || target.chars().any(char::is_control) {
            return Err(format!("{target:?} is neither a process's name nor the path of a pid file"));
        }
        Ok(Subject { label: target.to_owned(), host: String::new() })
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let (key, bound) = (attempt.key.clone(), attempt.whole());
        if target.starts_with('/') {
            let path = target.to_owned();
            return aside(&key, &bound, move || by_pid_file(&path));
        }
        // Runs aside, because reading the command line of a process that waits for a disk blocks.
        Ok(self.count(target, &aside(&key, &bound, all)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(comm: &str, words: &[&str]) -> Found {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Found { pid: 7, comm: comm.to_owned(), words, is_zombie: false }
    }

    #[test]
    fn names_that_processes_have() {
        for (process, name) in [
            (found("sshd", &["/usr/sbin/sshd", "-D"]), "sshd"),
            (found("nginx", &["nginx: master process /usr/sbin/nginx"]), "nginx"),
            (found("a-very-long-nam", &["/opt/a-very-long-name"]), "a-very-long-name"),
            (found("python3", &["python3", "/opt/app/serve.py"]), "serve.py"),
            (found("python3", &["python3", "/opt/app/serve.py"]), "python3"),
            (found("kworker/0:1", &[]), "kworker/0:1"),
        ] {
            assert!(process.is_called(name), "{name}");
        }
        assert!(!found("a-very-long-nam", &["/opt/a-very-long-name-b"]).is_called("a-very-long-name-a"));
        assert!(!found("bash", &["bash", "-c", "grep nginx"]).is_called("nginx"));
        assert!(!found("sshd-agent", &["sshd-agent"]).is_called("sshd"));
    }

    #[test]
    fn counts_and_the_dead() {
        let limits = |min, max| ProcessProbe { min, max, arguments: None };
        let dead = Found { is_zombie: true, ..found("a", &["a"]) };
        let outcome = limits(1, None).count("a", &[dead]);
        assert_eq!(
            (outcome.status, outcome.summary.as_str()),
            (ProbeStatus::Critical, "no process a runs; 1 dead and not reaped")
        );
        let two = [found("a", &["a", "--port", "1"]), found("a", &["a", "--port", "2"])];
        assert_eq!(limits(2, None).count("a", &two).status, ProbeStatus::Ok);
        assert_eq!(limits(3, None).count("a", &two).status, ProbeStatus::Critical);
        assert_eq!(limits(0, Some(1)).count("a", &two).summary, "2 processes a run, at most 1 should");
        assert_eq!(limits(0, Some(0)).count("b", &two).status, ProbeStatus::Ok, "none may be what is wanted");
        let narrow = ProcessProbe { min: 1, max: Some(1), arguments: Some("--port 2".into()) };
        assert_eq!(narrow.count("a", &two).status, ProbeStatus::Ok);
    }
}
