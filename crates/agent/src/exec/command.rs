//! Starts the job. Its arguments are unchanged; its environment gets one more variable.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use uuid::Uuid;

use super::nesting::RUN;
use super::streams::Ends;

/// Exit status if the program is found but cannot be executed, as in a shell.
pub const NOT_EXECUTABLE: u8 = 126;
/// Exit status if the program is not found, as in a shell.
pub const NOT_FOUND: u8 = 127;

/// The command of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobCommand {
    /// A program and its arguments.
    Direct(Vec<OsString>),
    /// A script, and its arguments. It is run by a shell with `pipefail`: a pipeline fails if any of its commands
    /// fails.
    Shell(OsString, Vec<OsString>),
}

/// Why the job could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStarted {
    /// Exit status of the agent, the same that a shell would return.
    pub status: u8,
    /// The reason, for people.
    pub problem: String,
    /// Whether the system lacks descriptors, processes or memory. The agent can then free some of its own and try
    /// again.
    pub is_for_lack: bool,
}

impl NotStarted {
    fn new(status: u8, problem: String) -> Self {
        Self { status, problem, is_for_lack: false }
    }
}

/// Starts `job` with the run id `run`, in a process group of its own if `own_group` is set.
///
/// # Errors
/// [`NotStarted`] with the exit status that the agent should return.
pub fn start(job: &JobCommand, run: Uuid, own_group: bool, ends: Option<Ends>) -> Result<Child, NotStarted> {
    let argv = match job {
        JobCommand::Direct(argv) => argv.clone(),
        JobCommand::Shell(script, arguments) => shell(script, arguments)?,
    };
    let Some((program, arguments)) = argv.split_first() else {
        return Err(NotStarted::new(NOT_FOUND, "there is no command".to_owned()));
    };
    let begin = |mut command: Command| {
        command.args(arguments).env(RUN, run.to_string());
        if own_group {
            command.process_group(0);
        }
        if let Some(Ends { out, err }) = &ends {
            command.stdout(Stdio::from(out.try_clone()?)).stderr(Stdio::from(err.try_clone()?));
        }
        command.spawn()
    };
    let begun = begin(Command::new(program)).or_else(|error| {
        let is_script = error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error());
        match found(program).filter(|_| is_script) {
            // A script without a `#!` line is run by the shell.
            Some(path) => {
                let mut shell = Command::new("/bin/sh");
                shell.arg(path);
                begin(shell)
            }
            None => Err(error),
        }
    });
    begun.map_err(|error| not_started(program, &error))
}

fn not_started(program: &OsStr, error: &io::Error) -> NotStarted {
    let name = program.to_string_lossy();
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM].map(Errno::raw_os_error);
    match error.kind() {
        io::ErrorKind::NotFound if found(program).is_some() => {
            let problem =
                format!("{name} cannot be run: the interpreter that its first line names is not found");
            NotStarted::new(NOT_FOUND, problem)
        }
        io::ErrorKind::NotFound => NotStarted::new(NOT_FOUND, format!("{name} is not found")),
        _ => NotStarted {
            is_for_lack: error.raw_os_error().is_some_and(|code| lacking.contains(&code)),
            ..NotStarted::new(NOT_EXECUTABLE, format!("{name} cannot be run: {error}"))
        },
    }
}

/// Searches for a program in the same way as the system does.
fn found(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The command line of a shell that runs `script` with `pipefail`.
fn shell(script: &OsStr, arguments: &[OsString]) -> Result<Vec<OsString>, NotStarted> {
    let known = ["bash", "/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"];
    let bash = known.iter().find_map(|name| found(OsStr::new(name)));
    let program = bash.or_else(|| {
        // Other shells that support `pipefail`: busybox, and newer versions of Debian's.
        let knows = Command::new("/bin/sh")
            .args(["-o", "pipefail", "-c", ":"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        knows.is_ok_and(|status| status.success()).then(|| PathBuf::from("/bin/sh"))
    });
    let Some(program) = program else {
        let problem = "--shell needs bash, which is not found, or a /bin/sh that knows pipefail; install bash, or write \
                       the job as a script and name it after --";
        return Err(NotStarted::new(NOT_FOUND, problem.to_owned()));
    };
    let mut argv: Vec<OsString> = vec![program.clone().into(), "-o".into(), "pipefail".into(), "-c".into()];
    argv.push(script.to_owned());
    argv.push(program.file_name().unwrap_or(program.as_os_str()).to_owned());
    argv.extend_from_slice(arguments);
    Ok(argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_it_was_not_started() {
        let start = |argv: &[&str]| {
            let job = JobCommand::Direct(argv.iter().map(OsString::from).collect());
            super::start(&job, Uuid::nil(), false, None).unwrap_err()
        };
        assert_eq!(start(&["no-such-program-here"]).status, NOT_FOUND);
        assert_eq!(start(&["/no/such/program"]).problem, "/no/such/program is not found");
        assert_eq!(start(&["/etc/passwd"]).status, NOT_EXECUTABLE);
        assert_eq!(start(&["/tmp"]).status, NOT_EXECUTABLE);
    }
}
