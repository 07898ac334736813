//! The lines of an output that name figures: `::figure rows=1200`.

use super::{Figures, Flaw, LINE_BEGINS, LONGEST_LINE, parse};
use crate::Invalid;

/// The figure that a line of output gives. `None` if the line does not begin with [`LINE_BEGINS`],
/// or is too long.
pub fn of_line(line: &str) -> Option<Result<(&str, f64), Flaw>> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.len() > LONGEST_LINE {
        return None;
    }
    let begun = &line[lead(line.as_bytes())..];
    let rest = begun.strip_prefix(LINE_BEGINS).filter(|rest| rest.starts_with([' ', '\t']))?;
    // A colour that began before the figure may end after it.
    Some(parse(rest.split('\u{1b}').next().unwrap_or(rest).trim()))
}

/// The number of bytes before the text of a line: blanks, colours (control sequences of ECMA-48,
/// `ESC [ … letter`), and the byte order mark (U+FEFF) with which some programs begin a text. An
/// incomplete sequence counts as text.
fn lead(line: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = &line[at..];
        let taken = match rest {
            [b' ' | b'\t', ..] => 1,
            [0xef, 0xbb, 0xbf, ..] => 3,
            [0x1b, b'[', more @ ..] => match more.iter().position(|byte| (0x40..=0x7e).contains(byte)) {
                Some(end) => end + 3,
                None => return at,
            },
            _ => return at,
        };
        at += taken;
    }
}

/// Finds the lines of an output that may give figures. The output may come in pieces of any size
/// and be of any length; the memory used is bounded.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// The beginning of the current line, as long as the line may give a figure.
    line: Vec<u8>,
    /// Whether the current line is known to give no figure.
    is_other: bool,
}

impl Lines {
    /// Takes the next piece, and passes each line that may give a figure to `found`.
    pub fn push(&mut self, piece: &[u8], found: &mut impl FnMut(&str)) {
        // A carriage return ends a line too: progress bars overwrite their line with it.
        let mut parts = piece.split(|byte| matches!(byte, b'\n' | b'\r'));
        if let Some(first) = parts.next() {
            self.add(first);
        }
        for part in parts {
            self.finish(found);
            self.add(part);
        }
    }

    /// Ends the current line. Call this at the end of the output.
    pub fn finish(&mut self, found: &mut impl FnMut(&str)) {
        if !self.is_other && !self.line.is_empty() {
            found(&String::from_utf8_lossy(&self.line));
        }
        self.line.clear();
        self.is_other = false;
    }

    fn add(&mut self, part: &[u8]) {
        if self.is_other {
            return;
        }
        // Most lines are dropped here.
        let is_plain = self.line.is_empty() && !may_begin(part);
        // The limit excludes the line end, and a carriage return may be part of that.
        if is_plain || self.line.len() + part.len() > LONGEST_LINE + 1 {
            self.is_other = true;
        } else {
            self.line.extend_from_slice(part);
            self.is_other = !may_begin(&self.line);
        }
        if self.is_other {
            self.line.clear();
        }
    }
}

/// Whether a line with this beginning may give a figure.
fn may_begin(line: &[u8]) -> bool {
    let begun = &line[lead(line)..];
    let is_begun = |whole: &[u8]| begun.len() < whole.len() && whole.starts_with(begun);
    let is_colour = begun.starts_with(b"\x1b[") || is_begun(b"\x1b[") || is_begun(&[0xef, 0xbb, 0xbf]);
    let known = begun.len().min(LINE_BEGINS.len());
    is_colour || begun[..known] == LINE_BEGINS.as_bytes()[..known]
}

/// Collects the figures that the lines of an output give.
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    lines: Lines,
    found: Found,
}

/// The figures found so far, and the first problem.
#[derive(Debug, Clone, Default)]
struct Found {
    figures: Figures,
    problem: Option<Invalid>,
}

impl Found {
    fn take(&mut self, line: &str) {
        let set = of_line(line).map(|figure| figure.and_then(|(name, value)| self.figures.set(name, value)));
        if let (Some(Err(flaw)), None) = (set, &self.problem) {
            let text = line.trim().strip_prefix(LINE_BEGINS).unwrap_or(line);
            self.problem = Some(flaw.of(text.trim()));
        }
    }
}

impl Scanner {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.lines.push(piece, &mut |line| self.found.take(line));
    }

    /// The figures of a complete output, and the problem of the first line that begins like a
    /// figure but is not a valid one.
    pub fn finish(mut self) -> (Figures, Option<Invalid>) {
        self.lines.finish(&mut |line| self.found.take(line));
        self.finish_cut_off()
    }

    /// Like [`Self::finish`], for an output that was cut off: its last line is ignored, because it
    /// may be incomplete.
    pub fn finish_cut_off(self) -> (Figures, Option<Invalid>) {
        (self.found.figures, self.found.problem)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures(list: &[(&str, f64)]) -> Figures {
        list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn lines_of_figures_and_others() {
        for line in ["::figure rows=5", "::figure\trows=5 \r", "\t  ::figure rows=5", "::figure  rows = 5 "] {
            assert_eq!(of_line(line), Some(Ok(("rows", 5.0))), "{line}");
        }
        for line in ["::figures rows=5", "::figure", "::figure\r", "figure rows=5", "x ::figure rows=5", ""] {
            assert_eq!(of_line(line), None, "{line}");
        }
        for (line, flaw) in [
            ("::figure ", Flaw::Form),
            ("::figure rows", Flaw::Form),
            ("::figure rows=many", Flaw::Number),
            ("::figure a=1 b=2", Flaw::Number),
            ("::figure a\u{fffd}=1", Flaw::Name),
        ] {
            assert_eq!(of_line(line), Some(Err(flaw)), "{line}");
        }
    }

    #[test]
    fn colours_and_what_is_written_over_hide_no_figure() {
        let output = "\u{feff}::figure mark=1\n\u{1b}[1;32m::figure green=2\u{1b}[0m\n 10 %\r 99 %\r::figure bar=3\n\u{1b}]0;title\u{7}\n\u{1b}[0m \u{1b}[1m";
        for size in [1, 2, 5, 1000] {
            let mut scanner = Scanner::default();
            output.as_bytes().chunks(size).for_each(|piece| scanner.push(piece));
            let expected = figures(&[("mark", 1.0), ("green", 2.0), ("bar", 3.0)]);
            assert_eq!(scanner.finish(), (expected, None), "{size}");
        }
    }

    #[test]
    fn a_line_is_as_long_as_it_may_be_whatever_ends_it() {
        for end in ["\n", "\r\n", "\r", ""] {
            for (length, is_figure) in [(LONGEST_LINE, true), (LONGEST_LINE + 1, false)] {
                let mut scanner = Scanner::default();
                scanner.push(format!("{:<length$}{end}", "::figure x=1").as_bytes());
                let (found, problem) = scanner.finish();
                assert_eq!((!found.is_empty(), problem), (is_figure, None), "{length} {end:?}");
            }
        }
    }

    #[test]
    fn lines_are_found_however_the_output_is_cut() {
        let long = format!(" ::figure x=1{}\n", " ".repeat(LONGEST_LINE));
        let output = format!(
            "a\n\n::figure rows=1\r\n{long} \t::figure b=2\n::fig\n{}::figure c=3",
            "z".repeat(9000) + "\n"
        );
        for size in [1, 2, 3, 7, 64, 100_000] {
            let mut scanner = Scanner::default();
            output.as_bytes().chunks(size).for_each(|piece| scanner.push(piece));
            let expected = figures(&[("rows", 1.0), ("b", 2.0), ("c", 3.0)]);
            assert_eq!(scanner.clone().finish(), (expected, None), "{size}");
            assert_eq!(scanner.finish_cut_off().0, figures(&[("rows", 1.0), ("b", 2.0)]));
        }
    }

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut scanner, mut found) = (Lines::default(), Vec::new());
        let mut keep = |line: &str| found.push(line.to_owned());
        pieces.iter().for_each(|piece| scanner.push(piece, &mut keep));
        scanner.finish(&mut keep);
        assert!(scanner.line.capacity() <= 4 * LONGEST_LINE);
        found
    }

    #[test]
    fn a_long_line_is_no_figure_and_the_next_is() {
        let long = format!("::figure a={}\n::figure b=2", "1".repeat(5000));
        assert_eq!(lines(&[long.as_bytes()]), ["::figure b=2"]);
        assert_eq!(
            lines(&[b":", b":fig", b"ure a=1\r", b"\n::", b"x ::figure c=1\n::figure"]),
            ["::figure a=1", "::figure"]
        );
        assert_eq!(lines(&[b"::figure a\xff=1\n"]), ["::figure a\u{fffd}=1"]);
    }

    proptest! {
        /// The same lines are found however the output is cut into pieces: those that begin with
        /// the mark, and no others.
        #[test]
        fn reads_may_cut_anywhere(
            text in "( ?::figure [a-b]=[0-9]\r?\n|[:figure]{0,12}|\n| |x){0,30}",
            size in 1_usize..20,
        ) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let is_it = |line: &&String| line.trim_start().starts_with("::figure");
            let wanted: Vec<String> = text.split(['\n', '\r']).map(str::to_owned).collect();
            let wanted: Vec<&String> = wanted.iter().filter(is_it).collect();
            let found = lines(&pieces);
            prop_assert_eq!(found.iter().filter(is_it).collect::<Vec<_>>(), wanted);
        }
    }
}
