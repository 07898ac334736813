//! Parses the output of monitoring plugins: a first line, further lines, and performance data after `
//! `.
//!
//! Many plugins do not follow the format exactly. Data that cannot be parsed is dropped and never changes the status.

use super::outcome::{MOST_FIGURES, ProbeFigure};

/// Longest name of a figure, in characters.
const LONGEST_LABEL: usize = 100;

/// The parts of a plugin's output.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PluginOutput {
    pub first_line: String,
    pub long_text: String,
    pub figures: Vec<(String, ProbeFigure)>,
}

/// Splits a plugin's output into its parts.
pub(crate) fn parse(output: &str) -> PluginOutput {
    let mut parsed = PluginOutput::default();
    let mut lines = output.lines().map(|line| line.trim_end_matches('\r'));
    // Some plugins begin with an empty line.
    let first = lines.by_ref().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let (text, data) = first.split_once('|').unwrap_or((first, ""));
    parsed.first_line = text.trim().to_owned();
    let mut data = vec![data];
    let mut is_data = false;
    for line in lines {
        if is_data {
            data.push(line);
        } else if let Some((text, rest)) = line.split_once('|') {
            is_data = true;
            data.push(rest);
            if !text.trim().is_empty() {
                parsed.long_text.push_str(text.trim_end());
                parsed.long_text.push('\n');
            }
        } else {
            parsed.long_text.push_str(line);
            parsed.long_text.push('\n');
        }
    }
    parsed.figures = data.into_iter().flat_map(metrics).take(MOST_FIGURES).collect();
    parsed
}

/// All metrics of a line that can be parsed.
fn metrics(line: &str) -> Vec<(String, ProbeFigure)> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (label, after) = match label(rest) {
            Some(parts) => parts,
            None => {
                // Not a metric: continue after the next blank.
                rest = rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest).trim_start();
                continue;
            }
        };
        let (value, after) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
        rest = after.trim_start();
        if let Some(figure) = figure(value.split(';').next().unwrap_or_default()) {
            found.push((label, figure));
        }
    }
    found
}

/// A label and the text after its `=`.
fn label(text: &str) -> Option<(String, &str)> {
    let (label, after) = match text.strip_prefix('\'') {
        None => {
            let end = text.find(|c: char| c == '=' || c.is_whitespace())?;
            (text[..end].to_owned(), &text[end..])
        }
        Some(quoted) => {
            let (mut label, mut rest) = (String::new(), quoted);
            loop {
                let end = rest.find('\'')?;
                label.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix('\'') {
                    // Two quotes stand for one that belongs to the label.
                    Some(more) => {
                        label.push('\'');
                        rest = more;
                    }
                    None => break (label, rest),
                }
            }
        }
    };
    let after = after.strip_prefix('=')?;
    let is_name = !label.trim().is_empty()
        && !label.contains('"')
        && label.chars().count() <= LONGEST_LABEL
        && !label.chars().any(char::is_control);
    // A metric with an invalid label is skipped together with its value.
    Some((if is_name { label.trim().to_owned() } else { String::new() }, after))
        .filter(|(label, _)| !label.is_empty())
}

/// A value with its unit: `0.012888s`, `1e-05`, `+3%`. None for `U`, which means unknown.
fn figure(text: &str) -> Option<ProbeFigure> {
    let text = text.trim();
    let number = number_length(text)?;
    let (value, unit) = text.split_at(number);
    // A comma may be a decimal or a thousands separator, so the value is rejected.
    if unit.contains([',', '"', '\''])
        || unit.chars().count() > 20
        || unit.starts_with(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let value: f64 = value.parse().ok()?;
    value.is_finite().then(|| ProbeFigure { value, unit: unit.to_owned() })
}

/// Number of bytes of `text` that form its number.
fn number_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(at);
    at += whole;
    let mut part = 0;
    if bytes.get(at) == Some(&b'.') {
        part = digits(at + 1);
        at += 1 + part;
    }
    if whole + part == 0 {
        return None;
    }
    // `e` begins an exponent only if digits follow; otherwise it belongs to the unit.
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = if at + 1 + sign <= bytes.len() { digits(at + 1 + sign) } else { 0 };
        if exponent > 0 {
            at += 1 + sign + exponent;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn figures(data: &str) -> Vec<(String, f64, String)> {
        let parsed = parse(&format!("OK |{data}"));
        parsed.figures.into_iter().map(|(label, figure)| (label, figure.value, figure.unit)).collect()
    }

    fn one(data: &str) -> Option<(String, f64, String)> {
        let mut all = figures(data);
        assert!(all.len() < 2, "{all:?}");
        all.pop()
    }

    #[test]
    fn the_guidelines_own_example() {
        let output = "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\n\
            / 15272 MB (77%);\n\
            /boot 68 MB (69%);\n\
            /var/log 819 MB (84%); | /boot=68MB;88;93;0;98\n\
            /home=69357MB;253404;253409;0;253414\n\
            /var/log=818MB;970;975;0;980\n";
        let parsed = parse(output);
        assert_eq!(parsed.first_line, "DISK OK - free space: / 3326 MB (56%);");
        assert_eq!(parsed.long_text, "/ 15272 MB (77%);\n/boot 68 MB (69%);\n/var/log 819 MB (84%);\n");
        let labels: Vec<&str> = parsed.figures.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, ["/", "/boot", "/home", "/var/log"]);
        assert_eq!(parsed.figures[0].1, ProbeFigure { value: 2643.0, unit: "MB".into() });
    }

    #[test]
    fn forms_that_occur() {
        let is = |value: f64, unit: &str| Some(("a".to_owned(), value, unit.to_owned()));
        for (data, read) in [
            ("a=1", is(1.0, "")),
            (" a=1;2;3;4;5;", is(1.0, "")),
            ("a=1;;;;", is(1.0, "")),
            ("a=1.5s;@10:20;~:10", is(1.5, "s")),
            ("a=-3%", is(-3.0, "%")),
            ("a=+3%", is(3.0, "%")),
            ("a=1e-05", is(1e-5, "")),
            ("a=1e-05s", is(1e-5, "s")),
            ("a=2e", is(2.0, "e")),
            ("a=.5", is(0.5, "")),
            ("a=5.", is(5.0, "")),
            ("a=12GB", is(12.0, "GB")),
            ("a=3b/s;1;2", is(3.0, "b/s")),
            ("a=5\r", is(5.0, "")),
            ("a=5\t", is(5.0, "")),
            ("'a'=7c", is(7.0, "c")),
            ("a=U;1;2", None),
            ("a=", None),
            ("a=;1;2", None),
            ("a=0,012888s", None),
            ("a=1,234", None),
            ("a=\"5\"", None),
            ("\"a\"=5", None),
            ("\"a b\"=5", None),
            ("=5", None),
            ("''=5", None),
            ("'a", None),
            ("a", None),
            ("a b c", None),
            ("a=nan", None),
            ("a=inf", None),
            ("a=1e999", None),
            ("a=on", None),
            ("a = 5", None),
        ] {
            assert_eq!(one(data), read, "{data:?}");
        }
    }

    #[test]
    fn labels_of_every_form_and_several_a_line() {
        let labels = |data| figures(data).into_iter().map(|(label, ..)| label).collect::<Vec<_>>();
        assert_eq!(labels("'a b'=1  'it''s'=2\t/=3   c::d=4"), ["a b", "it's", "/", "c::d"]);
        assert_eq!(labels("a=1 b=,5 c=3"), ["a", "c"]);
        assert_eq!(labels("a=1 \"x y\"=2 c=3"), ["a", "c"], "one odd metric does not take the next with it");
        assert_eq!(labels(&format!("{}=1 b=2", "x".repeat(101))), ["b"]);
    }

    #[test]
    fn figures_are_bounded() {
        let many: String = (0..500).map(|n| format!("a{n}=1 ")).collect();
        assert_eq!(figures(&many).len(), MOST_FIGURES);
    }

    #[test]
    fn texts_without_data_and_none_at_all() {
        assert_eq!(parse(""), PluginOutput::default());
        assert_eq!(parse("\n\nOK\r\n").first_line, "OK");
        let parsed = parse("OK\nmore\r\n\nlast");
        assert_eq!((parsed.first_line.as_str(), parsed.long_text.as_str()), ("OK", "more\n\nlast\n"));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_stumble(output in "[a-c'\"=|;,.0-9eU\\- \n\r\té]{0,80}") {
            let parsed = parse(&output);
            let is_sound = |(label, figure): &(String, ProbeFigure)| !label.is_empty() && figure.value.is_finite();
            prop_assert!(parsed.figures.iter().all(is_sound));
        }
    }
}
