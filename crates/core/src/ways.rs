//! Routing: from `notify` and `alerters` to alerters and addresses, and to the entries that reach nobody.
//!
//! [`WaysOut`] are the configured alerters. [`WaysOut::route`] is the one place where a list of recipients becomes
//! deliveries: the sweeper sends by it, and answers, pages and `check-config` warn by it, so that they cannot
//! disagree. [`kept`] tracks which alerters exist while sweepers come and go.

pub mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

use crate::names::AlerterName;
use crate::recipient::{MailAddress, Recipient};
use crate::reservation::Spec;

/// The name of the built-in alerter that writes to the log.
pub const LOG: &str = "log";
/// The name of the alerter that sends to mail addresses, if several mail servers are configured.
const MAIL: &str = "mail";
/// Recipients that are named in one sentence.
const NAMED: usize = 3;
/// The least similarity, from 0 to 1, of two names of which one may be a misspelling of the other.
const ALIKE: f64 = 0.75;

/// What kind of alerter it is: the `kind` of its configuration.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub enum AlerterKind {
    /// Mail.
    Smtp,
    /// A channel of Slack, or of a service that accepts the same messages.
    Slack,
    /// Incidents at PagerDuty.
    PagerDuty,
    /// JSON to an address.
    Webhook,
    /// A program.
    Command,
    /// The log.
    Log,
}

impl AlerterKind {
    /// All of them.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether it sends to mail addresses, so that its alerter's name alone leads nowhere.
    pub fn is_mail(self) -> bool {
        self == Self::Smtp
    }

    /// Whether it keeps an incident open until it is resolved.
    pub fn keeps_incidents(self) -> bool {
        self == Self::PagerDuty
    }

    /// The word that people add to the alerter's name; `None` if they add none.
    pub fn in_words(self) -> Option<&'static str> {
        match self {
            Self::PagerDuty => Some("PagerDuty"),
            Self::Slack => Some("Slack"),
            Self::Webhook | Self::Command => Some(self.as_str()),
            Self::Smtp | Self::Log => None,
        }
    }
}

/// The alerters that are configured: the name and the kind of each. The log is always among them.
///
/// A parked alerter (`enabled = false`) is one of them: messages are routed through it, and wait
/// until it is enabled again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaysOut {
    /// The words of their kinds: a sweeper of another version may know kinds that this one does not.
    kinds: BTreeMap<String, String>,
    /// The parked ones. Earlier versions did not store them.
    #[serde(default)]
    parked: BTreeSet<String>,
    /// The alerter that mail addresses go through.
    mail: Option<String>,
}

/// One delivery of a message: the alerter, and the address if it sends to one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Way {
    /// The alerter's name.
    pub alerter: String,
    /// The mail address; `None` if the alerter has a single recipient of its own.
    pub address: Option<MailAddress>,
}

/// An entry in a list of recipients that reaches nobody. Its text names the field and may be shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeadEnd {
    /// A mail address, while no alerter sends mail.
    NoMail {
        /// The field: `notify`, `operator`.
        field: &'static str,
        /// The address.
        address: String,
    },
    /// A name that no alerter has.
    Unknown {
        /// The field: `notify`, `alerters`, `operator`.
        field: &'static str,
        /// The name.
        name: String,
        /// A configured name that may be meant.
        near: Option<String>,
    },
    /// A text that is not a recipient.
    NoRecipient {
        /// Where it stands.
        field: &'static str,
        /// The text.
        text: String,
    },
    /// The name of an alerter that needs an address.
    NeedsAddress {
        /// Where it stands.
        field: &'static str,
        /// The alerter.
        name: String,
    },
    /// `alerters` excludes all recipients.
    NoneLeft {
        /// The recipients.
        recipients: Vec<String>,
    },
}

/// The warning for a parked alerter: its messages wait.
pub fn parked_words(name: &str) -> String {
    format!("{name} is parked (enabled = false): messages through it wait until it is enabled again")
}

/// The result of routing a list of recipients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// All deliveries, without repeats, in the order of the recipients.
    pub ways: Vec<Way>,
    /// The entries that reach nobody.
    pub dead_ends: Vec<DeadEnd>,
}

impl Way {
    /// The log.
    pub fn log() -> Self {
        Self { alerter: LOG.to_owned(), address: None }
    }

    /// The address in the outbox's form: empty without one.
    pub fn recipient(&self) -> &str {
        self.address.as_ref().map_or("", MailAddress::as_str)
    }
}

impl Route {
    /// The alerters on it that are parked: their messages wait.
    pub fn parked<'a>(&'a self, known: &'a WaysOut) -> impl Iterator<Item = &'a str> {
        let mut names: Vec<&str> = self.ways.iter().map(|way| way.alerter.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter(|name| known.is_parked(name))
    }
}

impl WaysOut {
    /// These alerters, each with its kind, and the log.
    pub fn new<'a>(alerters: impl IntoIterator<Item = (&'a AlerterName, AlerterKind)>) -> Self {
        let mut kinds: BTreeMap<String, String> =
            alerters.into_iter().map(|(name, kind)| (name.to_string(), kind.to_string())).collect();
        kinds.entry(LOG.to_owned()).or_insert_with(|| AlerterKind::Log.to_string());
        Self::of(kinds, BTreeSet::new(), None)
    }

    /// The same alerters, with those parked for which `is_parked` returns true.
    #[must_use]
    pub fn parking(self, is_parked: impl Fn(&str) -> bool) -> Self {
        let parked = self.kinds.keys().filter(|name| is_parked(name)).cloned().collect();
        Self::of(self.kinds, parked, None)
    }

    /// These alerters and those of `others`. Mail goes as it does here, if it goes here at all. An alerter is parked
    /// if all processes that have it park it: any other process sends its messages.
    #[must_use]
    pub fn and(mut self, others: &Self) -> Self {
        self.parked.retain(|name| !others.has(name) || others.is_parked(name));
        self.parked.extend(others.parked.iter().filter(|name| !self.has(name)).cloned().collect::<Vec<_>>());
        for (name, kind) in &others.kinds {
            self.kinds.entry(name.clone()).or_insert_with(|| kind.clone());
        }
        Self::of(self.kinds, self.parked, self.mail)
    }

    /// The alerters for whose names `works` returns true.
    #[must_use]
    pub fn only(&self, works: &dyn Fn(&str) -> bool) -> Self {
        let taken = self.kinds.iter().filter(|(name, _)| works(name));
        let kinds: BTreeMap<_, _> = taken.map(|(name, kind)| (name.clone(), kind.clone())).collect();
        let parked = self.parked.iter().filter(|name| works(name)).cloned().collect();
        Self::of(kinds, parked, self.mail.clone())
    }

    /// The ways with these alerters. Mail goes through `mail` if that is one of them and not
    /// parked, otherwise as [`mail`](Self::mail) says.
    fn of(kinds: BTreeMap<String, String>, parked: BTreeSet<String>, mail: Option<String>) -> Self {
        let works = |mail: &String| kinds.contains_key(mail) && !parked.contains(mail);
        let mail = mail.filter(works).or_else(|| mail_among(&kinds, &parked));
        Self { kinds, parked, mail }
    }

    /// The alerter for mail addresses: the `smtp` one called `mail`, otherwise the first `smtp` one by name. A parked
    /// one is used only if all are parked.
    pub fn mail(&self) -> Option<&str> {
        self.mail.as_deref()
    }

    /// Whether an alerter of this name exists and is parked: its messages wait.
    pub fn is_parked(&self, name: &str) -> bool {
        self.parked.contains(name)
    }

    /// Those that are parked, in the order of their names.
    pub fn parked(&self) -> impl Iterator<Item = &str> {
        self.parked.iter().map(String::as_str)
    }

    /// Whether the alerter `name` sends to addresses, so that its name alone reaches nobody.
    pub fn needs_address(&self, name: &str) -> bool {
        self.kind(name).is_some_and(AlerterKind::is_mail)
    }

    /// Whether there is an alerter of this name.
    pub fn has(&self, name: &str) -> bool {
        self.kinds.contains_key(name)
    }

    /// The kind of the alerter `name`; `None` if this version does not know it.
    pub fn kind(&self, name: &str) -> Option<AlerterKind> {
        self.kinds.get(name).and_then(|kind| kind.parse().ok())
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// The route of a reservation's messages: to the log, and to the recipients in its `notify` and `alerters`.
    pub fn of_terms(&self, spec: &Spec) -> Route {
        let mut route = self.route("notify", spec.notify.iter(), &spec.alerters);
        route.ways.retain(|way| way.alerter != LOG);
        route.ways.insert(0, Way::log());
        route
    }

    /// Warnings about the messages of a reservation: recipients that nothing reaches, and messages that wait for a
    /// parked alerter.
    pub fn warnings_of(&self, spec: &Spec) -> Vec<String> {
        let route = self.of_terms(spec);
        let parked = route.parked(self).map(|name| format!("notify: {}", parked_words(name)));
        route.dead_ends.iter().map(ToString::to_string).chain(parked).collect()
    }

    /// The route to `recipients`, which stand in `field`. Unless `only` is empty, only its alerters are used; the log
    /// always is.
    pub fn route<'a>(
        &self,
        field: &'static str,
        recipients: impl IntoIterator<Item = &'a Recipient>,
        only: &[AlerterName],
    ) -> Route {
        let is_wanted =
            |name: &str| only.is_empty() || name == LOG || only.iter().any(|wanted| wanted.as_str() == name);
        let mut route = Route::default();
        let mut left_out = Vec::new();
        let mut is_empty = true;
        for recipient in recipients {
            is_empty = false;
            let way = match (recipient, self.mail()) {
                (Recipient::Mail(address), Some(mail)) => {
                    Way { alerter: mail.to_owned(), address: Some(address.clone()) }
                }
                (Recipient::Mail(address), None) => {
                    route.dead_ends.push(DeadEnd::NoMail { field, address: address.as_str().to_owned() });
                    continue;
                }
                (Recipient::Alerter(name), _) => Way { alerter: name.to_string(), address: None },
            };
            if !is_wanted(&way.alerter) {
                left_out.push(recipient.as_str().to_owned());
                continue;
            }
            if !self.has(&way.alerter) {
                route.dead_ends.push(self.unknown(field, &way.alerter));
            } else if way.address.is_none() && self.needs_address(&way.alerter) {
                route.dead_ends.push(DeadEnd::NeedsAddress { field, name: way.alerter });
            } else if !route.ways.contains(&way) {
                route.ways.push(way);
            }
        }
        if !is_empty {
            let unknown = only.iter().filter(|name| !self.has(name.as_str()));
            route.dead_ends.extend(unknown.map(|name| self.unknown("alerters", name.as_str())));
        }
        if route.ways.is_empty() && !left_out.is_empty() {
            route.dead_ends.push(DeadEnd::NoneLeft { recipients: left_out });
        }
        route
    }

    fn unknown(&self, field: &'static str, name: &str) -> DeadEnd {
        let plain = |name: &str| name.replace(['-', '_'], "");
        let likeness = |known: &str| match plain(known) == plain(name) {
            true => 1.0,
            false => strsim::normalized_damerau_levenshtein(known, name),
        };
        let near = self
            .kinds
            .keys()
            .map(|known| (known, likeness(known)))
            .filter(|(_, likeness)| *likeness >= ALIKE)
            .max_by(|(_, one), (_, other)| one.total_cmp(other));
        DeadEnd::Unknown { field, name: name.to_owned(), near: near.map(|(known, _)| known.clone()) }
    }
}

impl DeadEnd {
    /// Whether both report the same problem, whatever suggestions they make.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unknown { field, name, .. }, Self::Unknown { field: of, name: other, .. }) => {
                (field, name) == (of, other)
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for DeadEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMail { field, address } => {
                write!(f, "{field}: {address} is a mail address and no alerter of kind smtp is configured")
            }
            Self::Unknown { field, name, near } => {
                write!(f, "{field}: {name} is no configured alerter")?;
                near.as_ref().map_or(Ok(()), |near| write!(f, "; did you mean {near}?"))
            }
            Self::NoRecipient { field, text } => {
                write!(f, "{field}: {text:?} is neither a mail address nor the name of an alerter")
            }
            Self::NeedsAddress { field, name } => {
                write!(
                    f,
                    "{field}: {name} is an alerter of kind smtp; write the mail address, not the alerter"
                )
            }
            Self::NoneLeft { recipients } => {
                let named = recipients.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
                write!(f, "alerters: leaves none of {named}")?;
                let more = recipients.len().saturating_sub(NAMED);
                if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
        }
    }
}

fn mail_among(kinds: &BTreeMap<String, String>, parked: &BTreeSet<String>) -> Option<String> {
    let is_mail = |kind: &String| kind.parse().is_ok_and(AlerterKind::is_mail);
    let mail = kinds.iter().filter(|(_, kind)| is_mail(kind)).map(|(name, _)| name);
    mail.min_by_key(|name| (parked.contains(*name), *name != MAIL)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipient::Recipients;

    fn name(text: &str) -> AlerterName {
        AlerterName::parse("alerter", text).unwrap()
    }

    fn ways(alerters: &[(&str, &str)]) -> WaysOut {
        let names: Vec<AlerterName> = alerters.iter().map(|(text, _)| name(text)).collect();
        WaysOut::new(names.iter().zip(alerters).map(|(name, (_, kind))| (name, kind.parse().unwrap())))
    }

    /// The ways and the problems, as texts.
    fn route(ways: &WaysOut, notify: &str, only: &[&str]) -> (Vec<String>, Vec<String>) {
        let notify = Recipients::parse("notify", notify).unwrap();
        let only: Vec<AlerterName> = only.iter().map(|text| name(text)).collect();
        let route = ways.route("notify", notify.iter(), &only);
        let way = |way: &Way| format!("{} {}", way.alerter, way.recipient()).trim_end().to_owned();
        (route.ways.iter().map(way).collect(), route.dead_ends.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_leads_somewhere_has_no_problem() {
        let all = ways(&[("mail", "smtp"), ("on-call", "pagerduty"), ("chat", "slack")]);
        let good = |notify, only: &[&str], expected: &[&str]| {
            assert_eq!(
                route(&all, notify, only),
                (expected.iter().map(ToString::to_string).collect(), vec![])
            );
        };
        good("", &[], &[]);
        good("", &["pager"], &[]);
        good("log", &["chat"], &["log"]);
        good("a@x.org,on-call,a@x.org", &[], &["mail a@x.org", "on-call"]);
        // A recipient that `alerters` excludes is no problem while another one is reached.
        good("a@x.org,on-call", &["on-call"], &["on-call"]);
        good("a@x.org,gone,on-call", &["on-call"], &["on-call"]);
    }

    #[test]
    fn what_leads_nowhere_is_named_with_its_field() {
        let all = ways(&[("mail", "smtp"), ("mail2", "smtp"), ("on-call", "pagerduty"), ("chat", "slack")]);
        let bad = |ways: &WaysOut, notify, only: &[&str], expected: &[&str]| {
            assert_eq!(route(ways, notify, only).1, expected, "{notify} {only:?}");
        };
        let nothing = ways(&[]);
        bad(
            &nothing,
            "ops@example.org",
            &[],
            &["notify: ops@example.org is a mail address and no alerter of kind smtp is configured"],
        );
        bad(&all, "oncall", &[], &["notify: oncall is no configured alerter; did you mean on-call?"]);
        bad(&all, "on-cal", &[], &["notify: on-cal is no configured alerter; did you mean on-call?"]);
        bad(&all, "zebra", &[], &["notify: zebra is no configured alerter"]);
        bad(
            &all,
            "mail",
            &[],
            &["notify: mail is an alerter of kind smtp; write the mail address, not the alerter"],
        );
        bad(&all, "a@x.org,chat", &["on-call"], &["alerters: leaves none of a@x.org, chat"]);
        bad(&all, "a@x.org", &["mail2"], &["alerters: leaves none of a@x.org"]);
        bad(
            &all,
            "a@x.org,b@x.org,c@x.org,d@x.org,e@x.org",
            &["chat"],
            &["alerters: leaves none of a@x.org, b@x.org, c@x.org and 2 more"],
        );
        bad(&all, "chat", &["cht", "chat"], &["alerters: cht is no configured alerter; did you mean chat?"]);
        bad(
            &all,
            "chat",
            &["zebra"],
            &["alerters: zebra is no configured alerter", "alerters: leaves none of chat"],
        );
    }

    #[test]
    fn mail_goes_through_the_alerter_called_mail_else_the_first() {
        assert_eq!(ways(&[("aa", "smtp"), ("mail", "smtp")]).mail(), Some("mail"));
        assert_eq!(ways(&[("mail", "slack"), ("zz", "smtp"), ("aa", "smtp")]).mail(), Some("aa"));
        assert_eq!(ways(&[("mail", "slack")]).mail(), None);
        let both = ways(&[("zz", "smtp")]).and(&ways(&[("mail", "smtp"), ("chat", "slack")]));
        assert_eq!((both.mail(), both.has("chat")), (Some("zz"), true));
        assert_eq!(ways(&[]).and(&ways(&[("aa", "smtp")])).mail(), Some("aa"));
    }

    #[test]
    fn one_that_is_parked_is_a_way_and_mail_takes_another_where_there_is_one() {
        let all = ways(&[("mail", "smtp"), ("relay", "smtp"), ("chat", "slack")]);
        let parking = |names: &'static [&str]| all.clone().parking(move |name: &str| names.contains(&name));
        let some = parking(&["chat", "mail"]);
        assert_eq!(route(&some, "chat", &[]), (vec!["chat".to_owned()], vec![]), "its name is valid");
        assert_eq!(some.mail(), Some("relay"));
        assert_eq!(parking(&["mail", "relay"]).mail(), Some("mail"), "then it waits");
        assert_eq!(some.parked().collect::<Vec<_>>(), ["chat", "mail"]);
        // Another sweeper may send for it.
        let both = some.clone().and(&ways(&[("chat", "slack")]));
        assert_eq!((both.is_parked("chat"), both.is_parked("mail")), (false, true));
        let both = ways(&[("mail", "smtp")]).and(&some);
        assert_eq!(
            (both.is_parked("chat"), both.is_parked("mail"), both.mail()),
            (true, false, Some("mail"))
        );
        assert_eq!(some.only(&|name| name != "relay").mail(), Some("mail"));
        let notify = Recipients::parse("notify", "chat, a@x.org").unwrap();
        let found = some.route("notify", notify.iter(), &[]);
        assert_eq!(found.parked(&some).collect::<Vec<_>>(), ["chat"]);
        // Earlier versions wrote no `parked`.
        let before: WaysOut = serde_json::from_str(r#"{"kinds":{"log":"log"},"mail":null}"#).unwrap();
        assert_eq!(before, ways(&[]));
    }
}
