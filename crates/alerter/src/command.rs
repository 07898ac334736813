//! A program of the user, which gets the notice as JSON on its standard input.
//!
//! Other tools plug in this way. The program and its arguments are a list, and no shell interprets them. The exit
//! status is the answer:
//!
//! | status | meaning |
//! |---|---|
//! | 0 | delivered |
//! | 75 (`EX_TEMPFAIL`) | nothing was delivered, try again later |
//! | 64, 65, 78 (`EX_USAGE`, `EX_DATAERR`, `EX_CONFIG`), 126, 127 | do not try again |
//! | any other, or a signal | try again later |
//!
//! The program has Innkeeper's environment without Innkeeper's own settings, which contain secrets, and with
//! `INNKEEPER_EVENT`, `INNKEEPER_APP`, `INNKEEPER_COMPONENT` and `INNKEEPER_IDEMPOTENCY_KEY`.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use innkeeper_core::backoff::Backoff;
use innkeeper_core::ways::AlerterKind;
use innkeeper_core::{Invalid, duration, notice::Notice};
use innkeeper_settings::Section;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::message::{KeyedNotice, one_by_one};
use crate::{Alerter, Message, Sent, keys, words};

/// The time limit of the program if `timeout` is not set.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The number of bytes at the end of the program's standard error that a problem repeats.
const TAIL: usize = 500;
/// How long children of a program that has ended may keep its standard error open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The most words of a command: the program and its arguments.
const MOST_WORDS: usize = 1000;

/// `kind = "command"`.
#[derive(Debug, Clone)]
pub(crate) struct CommandConfig {
    command: Vec<String>,
    timeout: Option<Duration>,
}

impl CommandConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        if !section.has("command") {
            let what = "write a program and its arguments: [\"/path/prog\", \"arg\"]";
            section.refuse_whole(format!("the key command is missing; {what}"));
        }
        let command = section.program("command", MOST_WORDS);
        if command.iter().any(|word| word.contains('\0')) {
            let what = "has a NUL character; use printable text";
            section.refuse("command", section.origin("command"), what);
        }
        Self { command, timeout: keys::timeout(section) }
    }

    pub(crate) fn build(&self) -> Result<Box<dyn Alerter>, Invalid> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Invalid::new("command", "is empty"));
        };
        if Path::new(program).is_absolute() && !Path::new(program).exists() {
            // This is no error, since the program may be on a disk that is not mounted yet.
            log::warn!(
                "alerter of kind command: there is no {program:?} now; alerts to it fail until there is"
            );
        }
        Ok(Box::new(Runner {
            program: program.clone(),
            arguments: arguments.to_vec(),
            timeout: self.timeout.unwrap_or(TIMEOUT),
        }))
    }
}

struct Runner {
    program: String,
    arguments: Vec<String>,
    timeout: Duration,
}

impl Alerter for Runner {
    fn send(&self, message: &Message<'_>) -> Sent {
        one_by_one(message, |notice, key| match KeyedNotice::json(notice, key) {
            Ok(json) => self.run(notice, key, json),
            Err(failed) => failed,
        })
    }

    fn takes_digests(&self) -> bool {
        false
    }

    fn kind(&self) -> AlerterKind {
        AlerterKind::Command
    }

    fn longest(&self) -> Duration {
        self.timeout + Duration::from_secs(2)
    }
}

impl Runner {
    fn run(&self, notice: &Notice, key: &str, json: Vec<u8>) -> Sent {
        let mut child = match self.command(notice, key).spawn() {
            Ok(child) => child,
            Err(error) => {
                let problem = format!("{} cannot be run: {error}", self.program);
                let never = matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::InvalidInput
                ) || error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error());
                return if never { Sent::never(problem) } else { Sent::not_yet(problem) };
            }
        };
        if let Some(mut stdin) = child.stdin.take() {
            // A thread writes, because the program may never read its input. The thread ends with the program, or with
            // the last child that holds the pipe. A program that does not read all of its input may still succeed.
            let giving = thread::Builder::new().spawn(move || stdin.write_all(&json));
            if let Err(error) = giving {
                // Kills the program at once, as if its time were over.
                drop(wait(&mut child, Duration::ZERO));
                return Sent::not_yet(format!(
                    "{} is given nothing, no thread to be had: {error}",
                    self.program
                ));
            }
        }
        let last_words = StderrTail::listen(&mut child);
        match wait(&mut child, self.timeout) {
            Ok(Some(status)) if status.success() => Sent::Delivered,
            Ok(Some(status)) => failed(&self.program, status, &last_words.take()),
            Ok(None) => {
                let timeout = duration::short(TimeDelta::from_std(self.timeout).unwrap_or_default());
                Sent::unknown(format!(
                    "{} was killed because it ran longer than {timeout}{}",
                    self.program,
                    last_words.take()
                ))
            }
            Err(error) => Sent::unknown(format!("{} cannot be waited for: {error}", self.program)),
        }
    }

    fn command(&self, notice: &Notice, key: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("INNKEEPER_") {
                command.env_remove(name);
            }
        }
        let alert = notice.alert.as_ref();
        command
            .env("INNKEEPER_EVENT", notice.event.as_str())
            .env("INNKEEPER_APP", without_nul(alert.map_or("", |alert| &alert.app)))
            .env("INNKEEPER_COMPONENT", without_nul(alert.map_or("", |alert| &alert.component)))
            .env("INNKEEPER_IDEMPOTENCY_KEY", without_nul(key))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // The program gets a process group of its own, so that its children end with it at the timeout.
            .process_group(0);
        command
    }
}

/// The exit status; none if the program had to be killed.
fn wait(child: &mut Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let begin = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(50));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let Some(left) = timeout.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) else { break };
        thread::sleep(backoff.next_pause().min(left));
    }
    // The child has not been waited for, so its process id cannot belong to another process yet.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn failed(program: &str, status: ExitStatus, last_words: &str) -> Sent {
    match (status.code(), status.signal()) {
        (Some(code), _) => {
            let problem = format!("{program} ended with exit status {code}{last_words}");
            match code {
                64 | 65 | 78 | 126 | 127 => Sent::never(problem),
                75 => Sent::not_yet(problem),
                _ => Sent::unknown(problem),
            }
        }
        (None, signal) => {
            let signal = signal.map_or(String::new(), |signal| format!(" {signal}"));
            Sent::unknown(format!("{program} was ended by signal{signal}{last_words}"))
        }
    }
}

/// The end of the program's standard error.
struct StderrTail {
    tail: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl StderrTail {
    fn listen(child: &mut Child) -> Self {
        let tail = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = mpsc::channel();
        if let Some(mut stderr) = child.stderr.take() {
            let tail = Arc::clone(&tail);
            let listening = thread::Builder::new().spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                    let mut tail = tail.lock();
                    tail.extend_from_slice(&buffer[..n]);
                    let surplus = tail.len().saturating_sub(TAIL);
                    tail.drain(..surplus);
                }
                let _ = end.send(());
            });
            if let Err(error) = listening {
                log::debug!("nobody hears what the command says: {error}");
            }
        }
        Self { tail, ended }
    }

    /// The tail as the end of a sentence, for example ": cannot connect"; empty if there is none.
    fn take(&self) -> String {
        let _ = self.ended.recv_timeout(LAST_WORDS);
        let tail = self.tail.lock();
        let text = words::one_line(String::from_utf8_lossy(&tail).trim());
        if text.is_empty() { text } else { format!(": {text}") }
    }
}

/// Removes NUL characters, which an environment variable cannot hold.
fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}
