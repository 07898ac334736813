//! One line per log record, and nothing that came from outside can make it two.
//!
//! Logging never blocks: `queue.rs` is the way to standard error. What is logged can be changed while the process runs ([`set_levels`]).

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use chrono::SecondsFormat;
use env_filter::Filter;
use env_logger::{Target, WriteStyle};
use innkeeper_core::{Clock as _, SystemClock};
use log::{LevelFilter, Log, Metadata, Record};

use queue::Lines;

/// What is logged unless the configuration (`log`) says otherwise. Actix tells at `info` of each worker that it starts, and at
/// `error` of each request that is no HTTP, which any stranger can send; neither is anything to an operator.
pub const DEFAULT: &str = "info,actix_server=warn,actix_http=off";
/// How long a panic waits for its message to be written.
const PANIC_PATIENCE: Duration = Duration::from_millis(500);

/// The process's logger; none before [`init`].
static LOGGER: OnceLock<Logger> = OnceLock::new();

/// What decides which records are logged, what makes a line of one, and where lines go.
struct Logger {
    levels: RwLock<Filter>,
    form: env_logger::Logger,
    lines: Lines,
}

/// Starts logging to standard error. A second call does nothing.
pub fn init() {
    let Ok(lines) = Lines::to_stderr() else { return };
    let Ok(levels) = levels(DEFAULT) else { return };
    let mut form = env_logger::Builder::new();
    form.filter_level(LevelFilter::Trace)
        .target(Target::Pipe(Box::new(lines.clone())))
        .write_style(if is_coloured() { WriteStyle::Always } else { WriteStyle::Never })
        .format(|out, record| {
            let level = record.level();
            let style = out.default_level_style(level);
            let target = short_target(record.target());
            let message = escape(&record.args().to_string());
            writeln!(out, "{} {style}{level:<5}{style:#} {target}: {message}", now())
        });
    let max = levels.filter();
    let logger = Logger { levels: RwLock::new(levels), form: form.build(), lines };
    // Only a logger that stands already makes these fail.
    if LOGGER.set(logger).is_ok()
        && let Some(logger) = LOGGER.get()
        && log::set_logger(logger).is_ok()
    {
        log::set_max_level(max);
        // The hook that there is writes to standard error itself, and waits for its reader.
        std::panic::set_hook(Box::new(|panic| {
            let trace = Backtrace::capture();
            match trace.status() {
                BacktraceStatus::Captured => log::error!("{panic}\n{trace}"),
                _ => log::error!("{panic}"),
            }
            flush(PANIC_PATIENCE);
        }));
    }
}

/// Checks what `log` says: `info`, `debug`, `warn,innkeeper_sweeper=debug`, …
///
/// # Errors
/// What cannot be understood.
pub fn check_levels(text: &str) -> Result<(), String> {
    levels(text).map(drop)
}

/// Logs what `text` says from now on.
///
/// # Errors
/// What cannot be understood.
pub fn set_levels(text: &str) -> Result<(), String> {
    let levels = levels(text)?;
    if let Some(logger) = LOGGER.get() {
        log::set_max_level(levels.filter());
        *logger.levels.write().unwrap_or_else(PoisonError::into_inner) = levels;
    }
    Ok(())
}

/// Waits until everything logged so far is written, at most `patience`: before the process ends.
pub fn flush(patience: Duration) {
    if let Some(logger) = LOGGER.get() {
        logger.lines.flush(patience);
    }
}

/// Writes `text` to standard error in its place among the log's lines, and waits for that no longer than `patience`.
pub(crate) fn say(text: &str, patience: Duration) {
    match LOGGER.get() {
        Some(logger) => {
            logger.lines.put(text.as_bytes());
            logger.lines.flush(patience);
        }
        // Nothing can be done about a standard error that is closed.
        None => drop(std::io::stderr().lock().write_all(text.as_bytes())),
    }
}

fn levels(text: &str) -> Result<Filter, String> {
    let mut builder = env_filter::Builder::new();
    builder.try_parse(text).map_err(|error| {
        format!("{error}; write off, error, warn, info, debug or trace, or a list as in warn,innkeeper_sweeper=debug")
    })?;
    Ok(builder.build())
}

fn is_coloured() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal()
        && !is_set("NO_COLOR")
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// The time as it stands at the beginning of a line.
fn now() -> String {
    SystemClock.now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.read().unwrap_or_else(PoisonError::into_inner).enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let is_wanted = self.levels.read().unwrap_or_else(PoisonError::into_inner).matches(record);
        if is_wanted && !innkeeper_alerter::tells_secrets(record.metadata()) {
            self.form.log(record);
        }
    }

    fn flush(&self) {}
}

/// `innkeeper_ingest::writer` as `ingest::writer`; a stranger's target as its crate.
fn short_target(target: &str) -> &str {
    match target.strip_prefix("innkeeper_") {
        Some(own) => own,
        None => target.split("::").next().unwrap_or(target),
    }
}

/// `text` with everything that could break, recolour or reorder a line of the log written as an escape.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if c.is_control() || moves_text(c) => {
                // Writing to a String does not fail.
                let _ = write!(safe, "\\u{{{:x}}}", c as u32);
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Line and paragraph separators, and the marks that make a terminal show text in another order.
fn moves_text(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_or_forges_a_line() {
        for (text, safe) in [
            ("plain “text” 日本 🦀", "plain “text” 日本 🦀"),
            ("a\n2026-01-01T00:00:00.000Z ERROR x", "a\\n2026-01-01T00:00:00.000Z ERROR x"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("\u{9b}31m\u{85}\u{0}", "\\u{9b}31m\\u{85}\\u{0}"),
            ("\u{2028}\u{202e}txt", "\\u{2028}\\u{202e}txt"),
        ] {
            assert_eq!(escape(text), safe);
        }
    }

    #[test]
    fn what_is_logged_is_said_in_levels_and_crates() {
        for text in ["info", "off", "warn,innkeeper_sweeper=debug", DEFAULT] {
            assert_eq!(check_levels(text), Ok(()), "{text}");
        }
        for text in ["loud=very=much", "innkeeper_node=noisy"] {
            let problem = check_levels(text).unwrap_err();
            assert!(problem.contains("write off, error"), "{problem}");
        }
    }

    #[test]
    fn targets_are_short() {
        for (target, short) in [
            ("innkeeper_ingest::writer", "ingest::writer"),
            ("innkeeper_node", "node"),
            ("lettre::transport::smtp", "lettre"),
        ] {
            assert_eq!(short_target(target), short);
        }
    }
}
