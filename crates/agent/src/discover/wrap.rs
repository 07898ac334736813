//! Puts the agent before a crontab's command, and takes it away again, byte for byte.
//!
//! A program by its path stays as it is: `AGENT exec APP/COMPONENT -- /the/program ARGUMENTS #innkeeper`.
//! Anything else goes to the shell that cron would have given it to: `AGENT exec APP/COMPONENT -- /bin/sh -c
//! '…' #innkeeper`, in single quotes, in which nothing but the quote itself means anything. A `%` and what
//! escapes it stay as they are, since cron reads them before any shell; the input behind the first bare one
//! stays at the line's end, outside the quotes. The shell's comment at the end is the mark by which the
//! change is known again: cron would not take one.

use std::ffi::OsStr;
use std::path::Path;

use super::command;

/// Ends each command that discover has changed.
pub const MARK: &str = " #innkeeper";
/// The longest command that every cron takes; Debian's refuses the whole crontab for a longer one.
const LONGEST: usize = 998;
/// The longest that cronie takes.
const LONGEST_OF_CRONIE: usize = 131_071;
/// Shells in which single quotes and comments are what they are in `sh`.
const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "zsh", "yash"];

/// How a command is wrapped.
#[derive(Debug, Clone)]
pub struct Wrapping<'a> {
    /// The agent's absolute path.
    pub agent: &'a Path,
    /// The reservation.
    pub app: &'a str,
    /// The reservation.
    pub component: &'a str,
    /// Options of `exec` and their values, one after the other.
    pub flags: &'a [String],
    /// The shell to which cron gives the command.
    pub shell: &'a str,
    /// Whether `%` begins the command's input.
    pub percent: Percent,
}

/// What `%` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Percent {
    /// The command's input begins, as in crontabs.
    Input,
    /// Itself, as in anacron's table.
    Itself,
    /// Nobody knows.
    Unknown,
}

/// A change that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwrapped {
    /// What stood there before.
    pub command: Vec<u8>,
    /// The agent's path.
    pub agent: String,
    /// Options of `exec` and their values.
    pub flags: Vec<String>,
    /// The reservation.
    pub app: String,
    /// The reservation.
    pub component: String,
}

impl Wrapping<'_> {
    /// The command with the agent before it; `before` bytes stand between the fields and it.
    ///
    /// # Errors
    /// Why it cannot be wrapped safely.
    pub fn wrap(&self, command: &[u8], before: usize, is_cronie: bool) -> Result<Vec<u8>, String> {
        let at = match self.percent {
            Percent::Input => command::input_at(command),
            Percent::Itself => command.len(),
            Percent::Unknown if command.contains(&b'%') => {
                return Err("it has a %, and what this cron makes of it is not known".to_owned());
            }
            Percent::Unknown => command.len(),
        };
        let (text, input) = command.split_at(at);
        if text.trim_ascii().is_empty() {
            return Err("it has no command".to_owned());
        }
        if command.contains(&0) {
            return Err("it has a NUL character".to_owned());
        }
        let shell = Path::new(self.shell);
        if !shell.file_name().and_then(OsStr::to_str).is_some_and(|name| SHELLS.contains(&name)) {
            let known = SHELLS.join(", ");
            return Err(format!(
                "its SHELL is {}; only for {known} a command can be quoted safely",
                self.shell
            ));
        }
        if !command::is_plain(self.shell.as_bytes()) || self.shell.contains(' ') {
            return Err(format!("its SHELL is {:?}, which is no plain absolute path", self.shell));
        }
        let agent =
            self.agent.to_str().filter(|path| command::is_plain(path.as_bytes()) && !path.contains(' '));
        let Some(agent) = agent.filter(|path| path.ends_with("/innkeeper-agent")) else {
            return Err(format!(
                "the agent lies at {}; it must be an absolute path without blanks and odd characters that \
                 ends in /innkeeper-agent",
                self.agent.display()
            ));
        };
        let name = format!("{}/{}", self.app, self.component);
        let mut wrapped = format!("{agent} exec {}", quoted_if_needed(&name)).into_bytes();
        for flag in self.flags {
            wrapped.extend_from_slice(format!(" {}", quoted_if_needed(flag)).as_bytes());
        }
        if wrapped.contains(&b'%') || wrapped.contains(&b'\\') {
            return Err(format!("cron would change the name or the schedule of {name}"));
        }
        wrapped.extend_from_slice(b" -- ");
        if command::is_plain(text) {
            wrapped.extend_from_slice(text);
        } else {
            wrapped.extend_from_slice(format!("{} -c ", self.shell).as_bytes());
            wrapped.extend_from_slice(&quoted(text));
        }
        wrapped.extend_from_slice(MARK.as_bytes());
        wrapped.extend_from_slice(input);
        let longest = if is_cronie && command.len() > LONGEST { LONGEST_OF_CRONIE } else { LONGEST };
        if before + wrapped.len() > longest {
            return Err(format!(
                "the line would have a command of {} bytes, and cron takes {longest}; put the \
                 command into a script",
                before + wrapped.len()
            ));
        }
        Ok(wrapped)
    }
}

/// In single quotes, as all known shells read them.
pub fn quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in text {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            _ => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn quoted_if_needed(text: &str) -> String {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@,+-".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_safe) {
        true => text.to_owned(),
        false => String::from_utf8_lossy(&quoted(text.as_bytes())).into_owned(),
    }
}

/// Takes [`quoted`]'s quotes off the beginning of `text`: what was quoted, and what follows.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut inner = Vec::new();
    let mut rest = text.strip_prefix(b"'")?;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\'')?;
        inner.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"\\''") {
            Some(more) => {
                inner.push(b'\'');
                rest = more;
            }
            None => return Some((inner, rest)),
        }
    }
}

/// Takes the agent away from a command that [`Wrapping::wrap`] has made; none where it is no such.
pub fn unwrap(command: &[u8], percent: Percent) -> Option<Unwrapped> {
    let at = if percent == Percent::Itself { command.len() } else { command::input_at(command) };
    let (text, input) = command.split_at(at);
    let text = text.strip_suffix(MARK.as_bytes())?;
    let program = text.iter().position(|byte| *byte == b' ')?;
    if text.first() != Some(&b'/') || !text[..program].ends_with(b"/innkeeper-agent") {
        return None;
    }
    let mut rest = text[program..].strip_prefix(b" exec ")?;
    let (name, after) = word(rest)?;
    let (app, component) = name.split_once('/')?;
    rest = after;
    let mut flags = Vec::new();
    while !rest.starts_with(b" -- ") {
        let (flag, after) = word(rest.strip_prefix(b" ")?)?;
        flags.push(flag);
        rest = after;
    }
    let body = &rest[4..];
    let mut command = match shell_script(body) {
        Some(script) => script,
        None if command::is_plain(body) => body.to_vec(),
        None => return None,
    };
    command.extend_from_slice(input);
    let agent = String::from_utf8_lossy(&text[..program]).into_owned();
    Some(Unwrapped { command, agent, flags, app: app.to_owned(), component: component.to_owned() })
}

fn shell_script(body: &[u8]) -> Option<Vec<u8>> {
    let at = body.windows(4).position(|four| four == b" -c ")?;
    if body[..at].contains(&b' ') {
        return None;
    }
    let (script, rest) = unquoted(&body[at + 4..])?;
    rest.is_empty().then_some(script)
}

/// A word in single quotes or without blanks, and what follows.
fn word(text: &[u8]) -> Option<(String, &[u8])> {
    if text.first() == Some(&b'\'') {
        let (inner, rest) = unquoted(text)?;
        return Some((String::from_utf8(inner).ok()?, rest));
    }
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    (end > 0).then(|| Some((String::from_utf8(text[..end].to_vec()).ok()?, &text[end..])))?
}

#[cfg(test)]
mod tests;
