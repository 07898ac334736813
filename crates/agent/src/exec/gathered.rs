//! Collects the figures of a run, from the command line and from the job's output.

use std::sync::Arc;

use innkeeper_core::figures::{Figures, Flaw, MOST_FIGURES, of_line};

use super::redact::OutputRedactor;

/// The figures so far, and notes about those that were left out.
#[derive(Debug)]
pub struct GatheredOutput {
    figures: Figures,
    redactor: Arc<OutputRedactor>,
    /// The name of the first figure beyond the maximum number.
    beyond: Option<String>,
    /// The first invalid figure line's flaw. `wrong_lines` counts all such lines.
    wrong: Option<Flaw>,
    wrong_lines: u64,
    is_masked: bool,
}

impl GatheredOutput {
    /// Starts with the figures in `given`. Lines that `redactor` would change are left out.
    pub fn new(given: Figures, redactor: Arc<OutputRedactor>) -> Self {
        Self { figures: given, redactor, beyond: None, wrong: None, wrong_lines: 0, is_masked: false }
    }

    /// Parses one line of the output, which may name a figure.
    pub fn take(&mut self, line: &str) {
        let Some(figure) = of_line(line) else { return };
        if self.redactor.masks(line) {
            // The line has a secret: neither the figure nor its name is reported.
            self.is_masked = true;
            return;
        }
        let set = figure.and_then(|(name, value)| match self.figures.set(name, value) {
            Err(Flaw::Beyond) => {
                self.beyond.get_or_insert_with(|| name.to_owned());
                Ok(())
            }
            set => set,
        });
        if let Err(flaw) = set {
            // Only the flaw is kept and not the line, because the output may be confidential.
            self.wrong.get_or_insert(flaw);
            self.wrong_lines += 1;
        }
    }

    /// The figures so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What was left out, and why, for people.
    pub fn notes(&self) -> Vec<String> {
        let beyond = self.beyond.as_ref().map(|name| {
            format!(
                "a check-in can have {MOST_FIGURES} figures; the others are left out, the first of them is {name}"
            )
        });
        let wrong = self.wrong.map(|flaw| match self.wrong_lines {
            1 => format!("a line of its output that begins with ::figure {flaw}"),
            n => {
                format!("{n} lines of its output that begin with ::figure are no figures; the first {flaw}")
            }
        });
        let masked = self.is_masked.then(|| "a figure that --redact masks is left out".to_owned());
        [beyond, wrong, masked].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(redactor: OutputRedactor, lines: &[&str]) -> GatheredOutput {
        let mut gathered = GatheredOutput::new(Figures::default(), Arc::new(redactor));
        lines.iter().for_each(|line| gathered.take(line));
        gathered
    }

    #[test]
    fn what_is_left_out_is_told_once() {
        let mut lines: Vec<String> = (0..23).map(|n| format!("::figure f{n}={n}")).collect();
        lines.extend(["::figure f0=7", "::figure x", "::figure f1=many", "::figures"].map(str::to_owned));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let gathered = gathered(OutputRedactor::default(), &lines);
        assert_eq!(gathered.figures().json()["f0"], 7);
        let notes = gathered.notes();
        assert!(notes[0].ends_with("first of them is f20") && notes.len() == 2, "{notes:?}");
        assert!(notes[1].starts_with("2 lines of its output"), "{notes:?}");
    }

    #[test]
    fn what_is_masked_in_the_output_is_no_figure() {
        let redactor =
            |values: Vec<String>| OutputRedactor::new(&["secret[a-z]+".to_owned()], values).unwrap();
        for (line, value) in [
            ("::figure secretname=1", "-"),
            ("::figure pin=4711", "4711"),
            ("::figure pin=x4711", "4711"),
            // A secret may have several lines.
            ("::figure key=5", "-----\n::figure key=5\n-----"),
        ] {
            let gathered = gathered(redactor(vec![value.to_owned()]), &[line]);
            assert!(gathered.figures().is_empty(), "{line}");
            assert_eq!(gathered.notes(), ["a figure that --redact masks is left out"], "{line}");
        }
        let plain = gathered(redactor(vec!["a\n\nb".to_owned()]), &["::figure pin=4711\r"]);
        assert!(!plain.figures().is_empty());
    }
}
