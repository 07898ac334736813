//! Puts the agent in front of a crontab's command and removes it again, byte for byte.
//!
//! A program with its path is not quoted: `AGENT exec APP/COMPONENT -- /the/program ARGUMENTS #innkeeper`. Any other
//! command is passed to the shell that cron would use: `AGENT exec APP/COMPONENT -- /bin/sh -c '…' #innkeeper`.
//! Within single quotes only the quote itself has a meaning. A `%` and its escape stay unchanged, because cron
//! interprets them before the shell. The input after the first unescaped `%` stays at the end of the line, outside of
//! the quotes. The comment at the end marks the change. It is a comment of the shell: cron has no comments after a
//! command.

use std::ffi::OsStr;
use std::path::Path;

use super::command;

/// Comment at the end of each command that `discover` has changed.
pub const MARK: &str = " #innkeeper";
/// Longest command that every cron accepts, in bytes. Debian's cron ignores the whole crontab if a command is longer.
const LONGEST: usize = 998;
/// Longest command that cronie accepts, in bytes.
const LONGEST_OF_CRONIE: usize = 131_071;
/// Shells in which single quotes and comments have the same meaning as in `sh`.
const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "zsh", "yash"];

/// The parameters for wrapping a command.
#[derive(Debug, Clone)]
pub struct Wrapping<'a> {
    /// Absolute path of the agent.
    pub agent: &'a Path,
    /// The app of the reservation.
    pub app: &'a str,
    /// The component of the reservation.
    pub component: &'a str,
    /// Options of `exec`, each followed by its value.
    pub flags: &'a [String],
    /// The shell that cron would use.
    pub shell: &'a str,
    /// The meaning of `%`.
    pub percent: Percent,
}

/// The meaning of `%` in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Percent {
    /// It begins the command's input, as in crontabs.
    Input,
    /// It has no special meaning, as in anacron's table.
    Itself,
    /// Unknown.
    Unknown,
}

/// A command from which the agent was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwrapped {
    /// The original command.
    pub command: Vec<u8>,
    /// Path of the agent.
    pub agent: String,
    /// Options of `exec` and their values.
    pub flags: Vec<String>,
    /// The app of the reservation.
    pub app: String,
    /// The component of the reservation.
    pub component: String,
}

impl Wrapping<'_> {
    /// The command with the agent in front of it. `before` is the number of leading blanks that cron counts as well.
    ///
    /// # Errors
    /// Why the command cannot be wrapped safely.
    pub fn wrap(&self, command: &[u8], before: usize, is_cronie: bool) -> Result<Vec<u8>, String> {
        let at = match self.percent {
            Percent::Input => command::input_at(command),
            Percent::Itself => command.len(),
            Percent::Unknown if command.contains(&b'%') => {
                return Err("it has a %, and it is not known how this cron interprets that".to_owned());
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
                "its SHELL is {}; a command can only be quoted safely for {known}",
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
                "the agent is at {}; its path must be absolute, without blanks and special characters, and \
                 end in /innkeeper-agent",
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
                "the line would have a command of {} bytes, and cron accepts {longest}; put the \
                 command into a script",
                before + wrapped.len()
            ));
        }
        Ok(wrapped)
    }
}

/// Puts a text in single quotes, in a form that all known shells read alike.
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

/// Removes the quotes of [`quoted`] from the beginning of `text`. Returns the quoted text and the rest.
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

/// Removes the agent from a command that [`Wrapping::wrap`] has made; none for other commands.
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

/// The first word, in single quotes or without blanks, and the rest.
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
