//! Names that identify something: app, component, owner, tags, alerters. Their constructors check them.

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// The longest name, in characters.
pub const LONGEST_NAME: usize = 150;
/// The longest link, in characters.
const LONGEST_LINK: usize = 2000;
/// The longest free text of a reservation (`alert_msg`, `description`), in characters.
pub const LONGEST_TEXT: usize = 4000;
/// The most tags that a reservation has.
pub const MOST_TAGS: usize = 20;
/// The most alerters that a reservation can name.
pub const MOST_ALERTERS: usize = 50;
/// The most entries of a list as it is written, including repeats. A longer list is refused before it is read.
pub const MOST_ENTRIES: usize = 200;

/// Checks a one-line text: at most `longest` characters, none of them a control character.
pub fn one_line(field: &'static str, text: &str, longest: usize) -> Result<(), Invalid> {
    if let Some(c) = text.chars().find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(Invalid::new(
            field,
            format!("has the control character U+{:04X}; use printable text", c as u32),
        ));
    }
    no_longer(field, text, longest)
}

/// Checks a text of several lines: line breaks and tabs are allowed, other control characters are not.
pub fn many_lines(field: &'static str, text: &str, longest: usize) -> Result<(), Invalid> {
    if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Invalid::new(
            field,
            format!("has the control character U+{:04X}; use printable text", c as u32),
        ));
    }
    no_longer(field, text, longest)
}

/// Checks a web link; the empty text means no link and is allowed.
pub fn web_link(field: &'static str, link: &str) -> Result<(), Invalid> {
    if link.is_empty() {
        return Ok(());
    }
    let host = ["https://", "http://"].iter().find_map(|scheme| link.strip_prefix(scheme));
    let is_broken = link.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"`{}|\\^".contains(c));
    if is_broken || host.is_none_or(|host| host.is_empty() || host.starts_with(['/', '?', '#', ':', '@'])) {
        return Err(Invalid::new(
            field,
            format!("{link:?} is not a link of the web; write https://wiki.example.org/page"),
        ));
    }
    no_longer(field, link, LONGEST_LINK)
}

fn no_longer(field: &'static str, text: &str, longest: usize) -> Result<(), Invalid> {
    let length = text.chars().count();
    if length > longest {
        return Err(Invalid::new(field, format!("has {length} characters; at most {longest}")));
    }
    Ok(())
}

/// Checks that a list has at most `most` entries; `things` is their name in the error.
pub(crate) fn at_most(field: &'static str, things: &str, count: usize, most: usize) -> Result<(), Invalid> {
    if count > most {
        return Err(Invalid::new(field, format!("has {count} {things}; at most {most}")));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Checks a name: 1 to 150 characters, no control characters, no blanks at its ends.
            pub fn parse(text: impl Into<String>) -> Result<Self, Invalid> {
                let text = text.into();
                if text.trim().is_empty() {
                    return Err(Invalid::new($field, "is empty; give a name of 1 to 150 characters"));
                }
                if text.trim() != text {
                    return Err(Invalid::new($field, "begins or ends with a blank; leave it out"));
                }
                one_line($field, &text, LONGEST_NAME)?;
                Ok(Self(text))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Wraps a name from the database, which was checked before it was stored.
            pub fn trusted(text: String) -> Self {
                Self(text)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The first of the two names that identify a reservation.
    AppName,
    "app"
);
name!(
    /// The second of the two names that identify a reservation.
    ComponentName,
    "component"
);

/// The name of a configured alerter: 1 to 50 of `a–z`, `0–9`, `-`, `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlerterName(String);

impl AlerterName {
    /// Checks a name; `field` names its source in the error.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let fits = (1..=50).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
        if !fits {
            return Err(Invalid::new(
                field,
                format!(
                    "{text:?} is neither a mail address nor the name of an alerter (1 to 50 of a–z, 0–9, - and _)"
                ),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Checks a list of names, each of which must be one of `known`: at most 50, repeats dropped. `field` names its
    /// source in the error.
    pub fn list<S: AsRef<str>>(
        field: &'static str,
        texts: &[S],
        known: &[Self],
    ) -> Result<Vec<Self>, Invalid> {
        let names = Self::any_list(field, texts)?;
        names.iter().try_for_each(|name| name.check_known(field, known))?;
        Ok(names)
    }

    /// Like [`Self::list`], with any names.
    pub fn any_list<S: AsRef<str>>(field: &'static str, texts: &[S]) -> Result<Vec<Self>, Invalid> {
        at_most(field, "alerters", texts.len(), MOST_ENTRIES)?;
        let mut names = Vec::new();
        for text in texts {
            let name = Self::parse(field, text.as_ref())?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        at_most(field, "alerters", names.len(), MOST_ALERTERS)?;
        Ok(names)
    }

    /// Checks that it is one of `known`; `field` names its source in the error.
    pub fn check_known(&self, field: &'static str, known: &[Self]) -> Result<(), Invalid> {
        if known.contains(self) {
            return Ok(());
        }
        let known: Vec<&str> = known.iter().map(Self::as_str).collect();
        let problem = format!("there is no alerter {:?}; configured: {}", self.0, known.join(", "));
        Err(Invalid::new(field, problem))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for AlerterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a list of tags: at most 20, each one line of 1 to 50 characters without commas, repeats dropped.
pub fn tags<S: AsRef<str>>(texts: &[S]) -> Result<Vec<String>, Invalid> {
    at_most("tags", "tags", texts.len(), MOST_ENTRIES)?;
    let mut tags: Vec<String> = Vec::new();
    for text in texts {
        let tag = text.as_ref().trim();
        if tag.is_empty() || tag.contains(',') {
            return Err(Invalid::new(
                "tags",
                format!("{tag:?} is not a tag; give 1 to 50 characters without a comma"),
            ));
        }
        one_line("tags", tag, 50)?;
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    at_most("tags", "tags", tags.len(), MOST_TAGS)?;
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_nothing_else_is_assumed_of_them() {
        for good in ["nightly backup", "<b>bold</b>", "日本", "🦀", "a/b?c=d", "\u{202e}rtl"] {
            assert_eq!(AppName::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn bad_names_are_refused_by_field() {
        let long = "x".repeat(151);
        for bad in ["", "   ", " a", "a\n", "a\u{0}b", "a\u{85}b", "a\r\nBcc: x", long.as_str()] {
            assert_eq!(AppName::parse(bad).unwrap_err().field, "app", "{bad:?}");
            assert_eq!(ComponentName::parse(bad).unwrap_err().field, "component", "{bad:?}");
        }
        assert!(AppName::parse("é".repeat(150)).is_ok(), "characters are counted, not bytes");
    }

    #[test]
    fn tags_are_kept_once_and_bounded() {
        assert_eq!(tags(&["db", "db", " eu "]).unwrap(), ["db", "eu"]);
        assert_eq!(tags(&["a,b"]).unwrap_err().field, "tags");
        let many: Vec<String> = (0..21).map(|n| n.to_string()).collect();
        assert!(tags(&many).unwrap_err().problem.contains("at most 20"));
        let unread = vec!["a,b"; 100_000];
        assert_eq!(tags(&unread).unwrap_err().problem, "has 100000 tags; at most 200");
    }

    #[test]
    fn alerters_are_known_and_bounded() {
        let known: Vec<AlerterName> =
            (0..60).map(|n| AlerterName::parse("alerter", &format!("a{n}")).unwrap()).collect();
        let texts: Vec<&str> = known.iter().map(AlerterName::as_str).collect();
        let read = |texts: &[&str]| AlerterName::list("alerters", texts, &known);
        assert_eq!(read(&["a1", "a0", "a1"]).unwrap(), [known[1].clone(), known[0].clone()]);
        assert_eq!(read(&["b"]).unwrap_err().field, "alerters");
        assert_eq!(read(&texts).unwrap_err().problem, "has 60 alerters; at most 50");
        assert_eq!(read(&vec!["?"; 100_000]).unwrap_err().problem, "has 100000 alerters; at most 200");
    }
}
