//! Changes that must be confirmed because they were made while anybody could make them (`auth = "open"`), read from
//! the audit log.
//!
//! Every action by [`ANYBODY`] is doubted, and so is every action by users and tokens that are doubted themselves. A
//! user is doubted because such an action gave them their role, or made a link to set their password. Each of the two
//! doubts ends when somebody who is not doubted does the same again; a confirmation ends both.

use std::collections::HashMap;

use crate::Time;

/// The name of every caller of an open instance in the audit log.
pub const ANYBODY: &str = "anybody";

/// The actions in the audit log that matter here.
pub const ACTIONS: [&str; 11] = [
    "add user",
    "change user",
    "make password link",
    "remove user",
    "confirm user",
    "add token",
    "remove token",
    "confirm token",
    "share",
    "stop sharing",
    "confirm share",
];

/// One entry of the audit log.
#[derive(Debug, Clone, Copy)]
pub struct AuditAction<'a> {
    /// When it was done.
    pub at: Time,
    /// Who did it: `user ada`, `token deploy`, [`ANYBODY`].
    pub who: &'a str,
    /// What was done.
    pub action: &'a str,
    /// What it was done to: `user bob`, `token jobs`, `page of app shop`.
    pub subject: &'a str,
}

/// The doubts about one user, each with the time of the latest action that caused it.
#[derive(Debug, Clone, Copy, Default)]
struct Doubts {
    role: Option<Time>,
    link: Option<Time>,
}

/// Everything that must still be confirmed, with the time of the action. Something made later under the same name is
/// not the same.
#[derive(Debug, Clone, Default)]
pub struct OpenPast {
    users: HashMap<String, Doubts>,
    tokens: HashMap<String, Time>,
    shares: HashMap<String, Time>,
}

impl OpenPast {
    /// Reads the log, whose oldest entry comes first.
    pub fn read<'a>(log: impl IntoIterator<Item = AuditAction<'a>>) -> Self {
        let mut past = Self::default();
        for deed in log {
            past.add(deed);
        }
        past
    }

    /// The users who must still be confirmed.
    pub fn users(&self) -> impl Iterator<Item = (&str, Time)> {
        self.users.iter().filter_map(|(name, doubts)| Some((name.as_str(), doubts.role.max(doubts.link)?)))
    }

    /// The tokens that must still be confirmed.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, Time)> {
        self.tokens.iter().map(|(name, at)| (name.as_str(), *at))
    }

    /// The shared pages that must still be confirmed, under their names in the log.
    pub fn shares(&self) -> impl Iterator<Item = (&str, Time)> {
        self.shares.iter().map(|(subject, at)| (subject.as_str(), *at))
    }

    fn is_doubted(&self, who: &str) -> bool {
        match who.split_once(' ') {
            Some(("user", name)) => {
                self.users.get(name).is_some_and(|doubts| doubts.role.is_some() || doubts.link.is_some())
            }
            Some(("token", name)) => self.tokens.contains_key(name),
            _ => who == ANYBODY,
        }
    }

    fn add(&mut self, AuditAction { at, who, action, subject }: AuditAction<'_>) {
        let doubt = self.is_doubted(who).then_some(at);
        let (kind, name) = subject.split_once(' ').unwrap_or(("", subject));
        match (action, kind) {
            ("add user", "user") => {
                self.users.insert(name.to_owned(), Doubts { role: doubt, link: doubt });
            }
            ("change user", "user") => self.users.entry(name.to_owned()).or_default().role = doubt,
            ("make password link", "user") => self.users.entry(name.to_owned()).or_default().link = doubt,
            ("remove user", "user") => drop(self.users.remove(name)),
            ("confirm user", "user") if doubt.is_none() => drop(self.users.remove(name)),
            ("add token", "token") => match doubt {
                Some(at) => drop(self.tokens.insert(name.to_owned(), at)),
                None => drop(self.tokens.remove(name)),
            },
            ("remove token", "token") => drop(self.tokens.remove(name)),
            ("confirm token", "token") if doubt.is_none() => drop(self.tokens.remove(name)),
            ("share", _) => match doubt {
                Some(at) => drop(self.shares.insert(subject.to_owned(), at)),
                None => drop(self.shares.remove(subject)),
            },
            ("stop sharing", _) => drop(self.shares.remove(subject)),
            ("confirm share", _) if doubt.is_none() => drop(self.shares.remove(subject)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The doubted users, tokens and pages after these actions, in order: `user bob`, `token jobs`, `page of app
    /// shop`.
    fn doubted(log: &[(&str, &str, &str)]) -> Vec<String> {
        let deeds = (1..).zip(log).map(|(at, &(who, action, subject))| AuditAction {
            at: Time::from_timestamp(at, 0).unwrap(),
            who,
            action,
            subject,
        });
        let past = OpenPast::read(deeds);
        let users = past.users().map(|(name, _)| format!("user {name}"));
        let tokens = past.tokens().map(|(name, _)| format!("token {name}"));
        let shares = past.shares().map(|(subject, _)| subject.to_owned());
        let mut all: Vec<String> = users.chain(tokens).chain(shares).collect();
        all.sort();
        all
    }

    #[test]
    fn what_doubted_users_and_tokens_do_is_doubted() {
        let log = [
            ("anybody", "add user", "user m1"),
            ("user m1", "add user", "user m2"),
            ("user m2", "add token", "token t1"),
            ("token t1", "add token", "token t2"),
            ("user m1", "change user", "user bob"),
            ("user m2", "make password link", "user ada"),
            ("token t2", "share", "page of app shop"),
            // A confirmation by a doubted user has no effect.
            ("user m2", "confirm user", "user m1"),
            ("user m2", "confirm token", "token t1"),
            ("user m2", "confirm share", "page of app shop"),
        ];
        let all = ["page of app shop", "token t1", "token t2", "user ada", "user bob", "user m1", "user m2"];
        assert_eq!(doubted(&log), all);
    }

    #[test]
    fn each_doubt_ends_by_the_same_deed_of_somebody_known() {
        let open = [
            ("user root", "add user", "user bob"),
            ("anybody", "change user", "user bob"),
            ("anybody", "make password link", "user bob"),
        ];
        let then = |more: &[(&str, &str, &str)]| doubted(&[&open[..], more].concat());
        let (link, role) =
            (("command line", "make password link", "user bob"), ("user root", "change user", "user bob"));
        assert_eq!(then(&[]), ["user bob"]);
        assert_eq!(then(&[link]), ["user bob"], "the role is still anybody's");
        assert_eq!(then(&[role]), ["user bob"], "the link is still in anybody's hands");
        assert_eq!(then(&[link, role]), [""; 0]);
        assert_eq!(then(&[("user root", "confirm user", "user bob")]), [""; 0]);
        assert_eq!(then(&[("anybody", "remove user", "user bob")]), [""; 0]);
    }

    #[test]
    fn what_somebody_known_does_before_they_are_doubted_or_after_they_are_confirmed_is_not() {
        let log = [
            ("user ada", "add user", "user bob"),
            ("anybody", "make password link", "user ada"),
            ("user ada", "add user", "user eve"),
            ("user root", "confirm user", "user ada"),
            ("user ada", "add user", "user tim"),
        ];
        assert_eq!(doubted(&log), ["user eve"]);
    }

    #[test]
    fn what_is_shown_is_as_good_as_whoever_showed_it_last() {
        let (shop, known, anybody) = ("page of app shop", "user ada", "anybody");
        assert_eq!(doubted(&[(anybody, "share", shop)]), [shop]);
        assert_eq!(doubted(&[(anybody, "share", shop), (known, "share", shop)]), [""; 0]);
        assert_eq!(
            doubted(&[(known, "share", shop), (anybody, "share", shop)]),
            [shop],
            "its title is anybody's"
        );
        assert_eq!(doubted(&[(anybody, "share", shop), (known, "confirm share", shop)]), [""; 0]);
        assert_eq!(doubted(&[(anybody, "share", shop), (anybody, "stop sharing", shop)]), [""; 0]);
    }
}
