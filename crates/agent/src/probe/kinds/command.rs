//! `command`: runs a program that follows the conventions of monitoring plugins: exit status 0 to 3, a first line,
//! further lines, and performance data.

use std::process::Command as Program;

use innkeeper_settings::Section;

use super::{ProbeCheck, Subject};
use crate::exec::signals;
use crate::probe::attempt::ProbeAttempt;
use crate::probe::outcome::{Failure, ProbeOutcome, ProbeStatus};
use crate::probe::perfdata;
use crate::probe::program::{self, FinishedProgram, ProgramEnd};
use crate::probe::read;

/// Most words of a command.
const MOST_WORDS: usize = 1000;

/// A program and its arguments. `{target}` in an argument is replaced by the target.
#[derive(Debug)]
pub(crate) struct Command {
    words: Vec<String>,
    directory: Option<String>,
    /// Most bytes of output that are kept.
    output_limit: usize,
}

impl Command {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let origin = section.origin("command");
        let shell_origin = section.origin("shell");
        let mut words: Vec<String> = section.list("command", MOST_WORDS, |word| Ok(word.to_owned()));
        let shell = read::maybe_text(section, "shell");
        match (words.first(), shell) {
            (Some(_), Some(_)) => {
                section.refuse("shell", shell_origin, "cannot be combined with command; give one of them")
            }
            (None, Some(script)) => words = vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
            (Some(program), None) if program.is_empty() => {
                section.refuse("command", origin, "begins with an empty text; give a program");
            }
            (Some(_), None) => {}
            (None, None) => {
                let what =
                    "is missing; write command = [\"/path/to/program\", \"argument\"], or shell = \"…\"";
                section.refuse("command", origin, what);
            }
        }
        let directory = section.parsed("directory", None, |text| match text.starts_with('/') {
            true => Ok(Some(text.to_owned())),
            false => Err(format!("{text:?} is not absolute; write /path")),
        });
        let output_limit = section.parsed("output_limit", 64 * 1024, |text| {
            let size = read::size(text)?;
            usize::try_from(size)
                .ok()
                .filter(|size| (1024..=1 << 20).contains(size))
                .ok_or_else(|| format!("{text:?} is out of bounds; at least 1KiB, at most 1MiB"))
        });
        Self { words, directory, output_limit }
    }
}

impl ProbeCheck for Command {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        match target.contains('\0') {
            true => Err("has a NUL character in it".to_owned()),
            false => Ok(Subject { label: target.to_owned(), host: String::new() }),
        }
    }

    fn needs_target(&self) -> bool {
        false
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let [program, arguments @ ..] = self.words.as_slice() else {
            return Err(Failure::unknown("there is no command"));
        };
        let mut command = Program::new(program);
        // A script gets the target only in its environment. Inserted into the script's text, the target would become
        // code.
        let is_script = program == "/bin/sh" && arguments.first().is_some_and(|word| word == "-c");
        let filled = |word: &String| if is_script { word.clone() } else { word.replace("{target}", target) };
        command.args(arguments.iter().map(filled)).env("TARGET", target);
        command.current_dir(self.directory.as_deref().unwrap_or("/"));
        let finished = program::run(command, program, self.output_limit, attempt)?;
        Ok(judged(&finished, attempt))
    }
}

/// The outcome of a plugin. Only its exit status decides, not the words in its output.
pub(crate) fn judged(finished: &FinishedProgram, attempt: &ProbeAttempt) -> ProbeOutcome {
    let (status, told) = match finished.ended {
        ProgramEnd::Exit(0) => (ProbeStatus::Ok, None),
        ProgramEnd::Exit(1) => (ProbeStatus::Warning, None),
        ProgramEnd::Exit(2) => (ProbeStatus::Critical, None),
        ProgramEnd::Exit(3) => (ProbeStatus::Unknown, None),
        ProgramEnd::Exit(126) => {
            (ProbeStatus::Unknown, Some("exit status 126: it cannot be executed".to_owned()))
        }
        ProgramEnd::Exit(127) => (
            ProbeStatus::Unknown,
            Some("exit status 127: it, or a program that it needs, was not found".to_owned()),
        ),
        ProgramEnd::Exit(code) => {
            (ProbeStatus::Unknown, Some(format!("exit status {code}, which is not in 0 to 3")))
        }
        ProgramEnd::Signal(signal) => {
            (ProbeStatus::Unknown, Some(format!("ended by {}", signals::name(signal))))
        }
        ProgramEnd::TimedOut => (ProbeStatus::Unknown, Some(attempt.whole().timeout().what)),
        ProgramEnd::Stuck => {
            let what = attempt.whole().timeout().what;
            (ProbeStatus::Unknown, Some(format!("{what}, and even KILL has not ended it")))
        }
    };
    let (stdout, stderr) = (finished.stdout.text(), finished.stderr.text());
    let is_silent = stdout.trim().is_empty();
    // Only stdout is parsed. If it is empty, stderr is shown instead, without figures.
    let parsed = match is_silent {
        true => perfdata::PluginOutput { figures: Vec::new(), ..perfdata::parse(&stderr.replace('|', "¦")) },
        false => perfdata::parse(&stdout),
    };
    let said = match (parsed.first_line.as_str(), told) {
        ("", Some(told)) => told,
        ("", None) => "it has no output".to_owned(),
        (line, Some(told)) => format!("{told}: {line}"),
        (line, None) => line.to_owned(),
    };
    let mut outcome = ProbeOutcome::new(status, said).with_details(&parsed.long_text);
    for (label, figure) in parsed.figures {
        outcome = outcome.figure(&label, figure.value, &figure.unit);
    }
    outcome
}
