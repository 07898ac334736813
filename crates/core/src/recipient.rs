//! Recipients of alerts: mail addresses and names of configured alerters.

use std::str::FromStr;

use email_address::EmailAddress;
use serde::{Deserialize, Serialize};

use crate::Invalid;
use crate::names::{AlerterName, MOST_ENTRIES, at_most, one_line};

/// The most recipients of one reservation.
pub const MOST_RECIPIENTS: usize = 50;

/// A valid mail address: one address, one line, no display name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MailAddress(String);

impl MailAddress {
    /// Checks an address of RFC 5321, without quotes or comments; `field` names its source in the error.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        one_line(field, text, 254)?;
        let wrong = || Invalid::new(field, format!("{text:?} is not a mail address; write name@example.org"));
        let address = EmailAddress::from_str(text).map_err(|_| wrong())?;
        // Quoted local parts and address literals are legal but rare, and could smuggle separators into headers.
        let plain = |c: char| {
            !c.is_whitespace()
                && !matches!(c, '"' | '<' | '>' | '(' | ')' | ',' | ';' | ':' | '\\' | '[' | ']')
        };
        if !text.chars().all(plain) || address.display_part() != "" {
            return Err(wrong());
        }
        // The domain is case-insensitive; the part before it need not be.
        let (name, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
        Ok(Self(format!("{name}@{}", domain.to_lowercase())))
    }

    /// The address, its domain in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One entry of `notify` or `operator`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recipient {
    /// A person, reached by mail.
    Mail(MailAddress),
    /// A configured alerter: a channel, a service, a program.
    Alerter(AlerterName),
}

impl Recipient {
    /// Reads a mail address (it contains an `@`) or the name of an alerter.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        if text.contains('@') {
            MailAddress::parse(field, text).map(Self::Mail)
        } else {
            AlerterName::parse(field, text).map(Self::Alerter)
        }
    }

    /// The entry as it was written, except that the domain of an address is in lower case.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Mail(address) => address.as_str(),
            Self::Alerter(name) => name.as_str(),
        }
    }
}

/// The entries of a `notify`: at most 50, without repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// Reads a comma-separated list. Empty entries are ignored, so `"a@x.org, "` is one recipient.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let parts =
            text.split(',').map(|part| part.trim_matches([' ', '\t'])).filter(|part| !part.is_empty());
        // Checked first, because repeats are found by comparing each entry with every other.
        at_most(field, "recipients", parts.clone().count(), MOST_ENTRIES)?;
        let mut list = Vec::new();
        for part in parts {
            let recipient = Recipient::parse(field, part)?;
            if !list.contains(&recipient) {
                list.push(recipient);
            }
        }
        at_most(field, "recipients", list.len(), MOST_RECIPIENTS)?;
        Ok(Self(list))
    }

    /// Reads a list of single entries; each alerter must be one of `known`.
    pub fn of_entries<S: AsRef<str>>(
        field: &'static str,
        entries: &[S],
        known: &[AlerterName],
    ) -> Result<Self, Invalid> {
        let recipients = Self::of_any_entries(field, entries)?;
        recipients.check_known(field, known)?;
        Ok(recipients)
    }

    /// Like [`Self::of_entries`], with any alerters.
    pub fn of_any_entries<S: AsRef<str>>(field: &'static str, entries: &[S]) -> Result<Self, Invalid> {
        at_most(field, "recipients", entries.len(), MOST_ENTRIES)?;
        let entries: Vec<&str> = entries.iter().map(AsRef::as_ref).collect();
        if let Some(comma) = entries.iter().find(|entry| entry.contains(',')) {
            return Err(Invalid::new(
                field,
                format!("{comma:?} has a comma; give each recipient its own entry"),
            ));
        }
        Self::parse(field, &entries.join(","))
    }

    /// The valid recipients among these entries; also returns the entries that are invalid or too many.
    pub fn among<S: AsRef<str>>(field: &'static str, entries: &[S]) -> (Self, Vec<String>) {
        let (mut list, mut others) = (Vec::new(), Vec::new());
        for entry in entries.iter().map(AsRef::as_ref).take(MOST_ENTRIES) {
            match Recipient::parse(field, entry) {
                Ok(recipient) if list.contains(&recipient) => {}
                Ok(recipient) if list.len() < MOST_RECIPIENTS => list.push(recipient),
                _ => others.push(entry.to_owned()),
            }
        }
        (Self(list), others)
    }

    /// Checks that each alerter among them is one of `known`; `field` names their source in the error.
    pub fn check_known(&self, field: &'static str, known: &[AlerterName]) -> Result<(), Invalid> {
        self.alerters().try_for_each(|name| name.check_known(field, known))
    }

    /// The alerters among them.
    pub fn alerters(&self) -> impl Iterator<Item = &AlerterName> {
        self.iter().filter_map(|recipient| match recipient {
            Recipient::Alerter(name) => Some(name),
            Recipient::Mail(_) => None,
        })
    }

    /// The entries in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Recipient> {
        self.0.iter()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Recipients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries: Vec<&str> = self.0.iter().map(Recipient::as_str).collect();
        f.write_str(&entries.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_back() {
        let list = Recipients::parse("notify", "a@example.org, ops ,a@example.org,").unwrap();
        assert_eq!(list.to_string(), "a@example.org,ops");
        assert!(Recipients::parse("notify", "").unwrap().is_empty());
    }

    #[test]
    fn an_address_is_the_same_whatever_the_case_of_its_domain() {
        let list =
            Recipients::parse("notify", "Ada@Example.ORG,Ada@example.org,ada@EXAMPLE.org,x@BÜRO.example")
                .unwrap();
        assert_eq!(list.to_string(), "Ada@example.org,ada@example.org,x@büro.example");
    }

    #[test]
    fn a_long_list_is_refused_before_any_of_it_is_read() {
        let long = vec!["not an address"; 100_000];
        let refused = Recipients::of_entries("notify", &long, &[]).unwrap_err();
        assert_eq!(refused.problem, "has 100000 recipients; at most 200");
        assert_eq!(Recipients::parse("notify", &long.join(",")).unwrap_err(), refused);
        let fifty_one: Vec<String> = (0..51).map(|n| format!("a{n}@example.org")).collect();
        let refused = Recipients::of_entries("notify", &fifty_one, &[]).unwrap_err();
        assert_eq!(refused.problem, "has 51 recipients; at most 50");
        let twice = [&fifty_one[..50], &fifty_one[..50]].concat();
        assert!(Recipients::of_entries("notify", &twice, &[]).is_ok(), "a repeat is none too many");
    }

    #[test]
    fn of_any_text_the_recipients_are_taken() {
        let (list, others) =
            Recipients::among("email", &["Ops Team", "a@example.org", "log", "a@Example.org", "a\nb"]);
        assert_eq!(
            (list.to_string().as_str(), others),
            ("a@example.org,log", vec!["Ops Team".to_owned(), "a\nb".to_owned()])
        );
        let many: Vec<String> = (0..60).map(|n| format!("a{n}@example.org")).collect();
        let (list, others) = Recipients::among("email", &many);
        assert_eq!((list.iter().count(), others.len()), (50, 10));
        assert!(Recipients::among("email", &vec!["?"; 100_000]).1.len() <= 200);
    }

    #[test]
    fn nothing_can_be_injected_through_an_address() {
        for bad in [
            "a@example.org\r\nBcc: x@example.org",
            "a@example.org\n",
            "<a@example.org>",
            "A <a@example.org>",
            "\"a b\"@example.org",
            "a@",
            "@b.org",
            "a@b@c.org",
            "a@[127.0.0.1]",
            "a b@example.org",
            "Ops",
        ] {
            assert_eq!(Recipients::parse("notify", bad).unwrap_err().field, "notify", "{bad:?}");
        }
    }
}
