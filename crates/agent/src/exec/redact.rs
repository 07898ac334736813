//! Masks secrets in the reported output, by patterns and by the values of variables.

use regex_lite::Regex;

/// Replaces each secret.
const MASK: &str = "[redacted]";

/// The patterns and values to mask.
#[derive(Debug, Default)]
pub struct OutputRedactor {
    patterns: Vec<Regex>,
    values: Vec<String>,
}

impl OutputRedactor {
    /// Masks whatever matches one of the `patterns` or equals one of the `values`.
    ///
    /// # Errors
    /// The invalid pattern, and why it is invalid.
    pub fn new(patterns: &[String], values: Vec<String>) -> Result<Self, String> {
        let read = |pattern: &String| {
            let problem = |error| format!("--redact: {pattern:?} is not a regular expression: {error}");
            Regex::new(pattern).map_err(problem)
        };
        let patterns = patterns.iter().map(read).collect::<Result<_, String>>()?;
        Ok(Self { patterns, values: values.into_iter().filter(|value| !value.is_empty()).collect() })
    }

    /// Whether this single line contains a secret. Each line of a secret with several lines counts as one.
    pub fn masks(&self, line: &str) -> bool {
        let line = line.trim_end_matches('\r');
        let is_part = |value: &String| {
            let mut lines = value.lines().map(str::trim).filter(|part| !part.is_empty());
            lines.any(|part| line.contains(part))
        };
        self.patterns.iter().any(|pattern| pattern.find_iter(line).any(|found| !found.is_empty()))
            || self.values.iter().any(is_part)
    }

    /// The text from the byte `from` on. A secret that spans `from` is included as its mask.
    pub fn redact(&self, text: &str, from: usize) -> String {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for pattern in &self.patterns {
            found.extend(pattern.find_iter(text).map(|found| (found.start(), found.end())));
        }
        for value in &self.values {
            found.extend(text.match_indices(value.as_str()).map(|(at, value)| (at, at + value.len())));
        }
        // An empty match would mask nothing.
        found.retain(|(start, end)| end > start && *end > from);
        found.sort_unstable();
        let mut redacted = String::new();
        let mut at = from;
        for (start, end) in found {
            if end <= at {
                continue;
            }
            if start >= at {
                redacted.push_str(&text[at..start]);
                redacted.push_str(MASK);
            } else if at == from {
                redacted.push_str(MASK);
            }
            at = end;
        }
        redacted.push_str(&text[at..]);
        redacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_secrets_are_masked_once() {
        let redactor =
            OutputRedactor::new(&["b+".to_owned(), "bbc".to_owned(), "x*".to_owned()], vec!["cd".to_owned()]);
        let redactor = redactor.unwrap();
        assert_eq!(redactor.redact("a bbcd e", 0), "a [redacted] e");
        assert_eq!(redactor.redact("a bbcd e", 3), "[redacted] e");
        assert_eq!(redactor.redact("nothing", 0), "nothing");
    }

    #[test]
    fn a_wrong_pattern_is_told() {
        let problem = OutputRedactor::new(&["a(".to_owned()], Vec::new()).unwrap_err();
        assert!(problem.contains("--redact: \"a(\""), "{problem}");
    }

    #[test]
    fn an_empty_value_masks_nothing() {
        let redactor = OutputRedactor::new(&[], vec![String::new()]).unwrap();
        assert_eq!(redactor.redact("abc", 0), "abc");
    }
}
