//! The log: each record is exactly one line on standard error. Text from outside cannot add a line.
//!
//! `form.rs` formats a line, `context.rs` adds the request, batch or pass that it belongs to, and `seldom.rs` reduces
//! what happens thousands of times to one line a minute. Logging never blocks, because `queue.rs` passes lines to a
//! thread that writes them. The levels can be changed while the process runs ([`set_levels`]). The program calls
//! [`init`] once; all other code uses the macros of [`log`].

mod context;
mod form;
mod queue;
mod seldom;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use env_filter::Filter;
use env_logger::{Target, WriteStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::RwLock;

pub use context::{Guard, LogScope, Numbers, Within, current, run_within, within};
pub use form::Format;
pub use seldom::Seldom;

use form::Line;
use queue::Lines;

/// The default levels, unless `log` is configured. Actix logs the start of each worker at `info`, and each request
/// that is not HTTP at `error`, which any stranger can cause. Neither helps an operator.
pub const DEFAULT: &str = "info,actix_server=warn,actix_http=off";
/// Longest wait after a panic until its message is written.
const PANIC_PATIENCE: Duration = Duration::from_millis(500);

/// The logger of the process; unset before [`init`].
static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Whether lines are written as JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Filters records, formats them and passes the lines on.
struct Logger {
    levels: RwLock<Filter>,
    /// Selects records that are never logged, regardless of the levels.
    is_secret: fn(&Metadata<'_>) -> bool,
    form: env_logger::Logger,
    lines: Lines,
}

/// Starts logging to standard error. `is_secret` selects the records that are never logged. A second call has no
/// effect.
pub fn init(is_secret: fn(&Metadata<'_>) -> bool) {
    let to_journal = is_journal();
    let Ok(lines) = Lines::to_stderr(to_journal) else { return };
    let Ok(levels) = levels(DEFAULT) else { return };
    let mut form = env_logger::Builder::new();
    form.filter_level(LevelFilter::Trace)
        .target(Target::Pipe(Box::new(lines.clone())))
        .write_style(if is_coloured() && !to_journal { WriteStyle::Always } else { WriteStyle::Never })
        .format(move |out, record| {
            let style = out.default_level_style(record.level());
            let colours = (style.render(), style.render_reset());
            let format = format();
            match format {
                Format::Text => Line::of(record).write(out, format, to_journal, colours),
                Format::Json => Line::of(record).write(out, format, to_journal, ("", "")),
            }
        });
    let max = levels.filter();
    let logger = Logger { levels: RwLock::new(levels), is_secret, form: form.build(), lines };
    // These calls only fail if a logger is installed already.
    if LOGGER.set(logger).is_ok()
        && let Some(logger) = LOGGER.get()
        && log::set_logger(logger).is_ok()
    {
        log::set_max_level(max);
        // The default hook writes to standard error directly and blocks if nobody reads it.
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

/// Checks a value of `log`: `info`, `debug`, `warn,innkeeper_sweeper=debug`, …
///
/// # Errors
/// Which part is invalid.
pub fn check_levels(text: &str) -> Result<(), String> {
    levels(text).map(drop)
}

/// Sets the levels from now on.
///
/// # Errors
/// Which part is invalid.
pub fn set_levels(text: &str) -> Result<(), String> {
    let levels = levels(text)?;
    if let Some(logger) = LOGGER.get() {
        log::set_max_level(levels.filter());
        *logger.levels.write() = levels;
    }
    Ok(())
}

/// Sets the format from now on.
pub fn set_format(format: Format) {
    IS_JSON.store(format == Format::Json, Ordering::Relaxed);
}

fn format() -> Format {
    if IS_JSON.load(Ordering::Relaxed) { Format::Json } else { Format::Text }
}

/// Waits until everything logged so far is written, at most for `patience`. Called before the process ends.
pub fn flush(patience: Duration) {
    if let Some(logger) = LOGGER.get() {
        logger.lines.flush(patience);
    }
}

/// Writes `text`, the last message of a program, to standard error after the log's lines, waiting at most for
/// `patience`. For the journal and in JSON, each of its lines becomes a log line of level error.
pub fn say(text: &str, patience: Duration) {
    let mut said = Vec::new();
    let (format, to_journal) = (format(), is_journal());
    if format == Format::Text && !to_journal {
        said.extend_from_slice(text.as_bytes());
    } else {
        for line in text.lines() {
            let line = Line::plain(Level::Error, "innkeeper_node", line.to_owned());
            // Writing into memory does not fail.
            let _ = line.write(&mut said, format, to_journal, ("", ""));
        }
    }
    match LOGGER.get() {
        Some(logger) => {
            said.split_inclusive(|byte| *byte == b'\n').for_each(|line| logger.lines.put(line));
            logger.lines.flush(patience);
        }
        // Nothing can be done if standard error is closed.
        None => drop(std::io::stderr().lock().write_all(&said)),
    }
}

/// Whether standard error leads to systemd's journal. systemd passes its device and inode in `JOURNAL_STREAM`
/// (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Some((device, inode)) = stream.split_once(':') else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|own| device.parse() == Ok(own.st_dev) && inode.parse() == Ok(own.st_ino))
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

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.read().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let is_wanted = self.levels.read().matches(record);
        if is_wanted && !(self.is_secret)(record.metadata()) {
            self.form.log(record);
        }
    }

    fn flush(&self) {}
}

/// Escapes all characters of `text` that could break, recolour or reorder a line of the log.
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

/// Whether the character is a line or paragraph separator, or changes the direction in which a terminal shows text.
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
}
