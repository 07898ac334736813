//! One line per log record, and nothing that came from outside can make it two.

use std::fmt::Write as _;
use std::io::Write as _;

use chrono::SecondsFormat;
use env_logger::Env;
use innkeeper_core::{Clock as _, SystemClock};

/// The variable that sets what is logged: `info`, `debug`, `warn,innkeeper_sweeper=debug`, …
pub const VARIABLE: &str = "INNKEEPER_LOG";

/// Actix tells at `info` of each worker that it starts, and at `error` of each request that is no HTTP, which any stranger can
/// send; neither is anything to an operator.
const DEFAULT: &str = "info,actix_server=warn,actix_http=off";

/// Starts logging to standard error. A second call does nothing.
pub fn init() {
    let mut builder = env_logger::Builder::from_env(Env::new().filter_or(VARIABLE, DEFAULT));
    builder.format(|out, record| {
        if innkeeper_alerter::tells_secrets(record.metadata()) {
            return Ok(());
        }
        let at = SystemClock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let level = record.level();
        let style = out.default_level_style(level);
        let target = short_target(record.target());
        let message = escape(&record.args().to_string());
        writeln!(out, "{at} {style}{level:<5}{style:#} {target}: {message}")
    });
    // Only a logger that stands already makes this fail.
    let _ = builder.try_init();
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
