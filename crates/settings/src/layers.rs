//! Merges environment variables and command-line flags into the settings of the file.
//!
//! | variable | what it sets |
//! |---|---|
//! | `INNKEEPER_<KEY>` | a key above the sections |
//! | `INNKEEPER_<SECTION>_<KEY>` | `key` of `[section]` |
//! | `INNKEEPER_ALERTER_<NAME>_<KEY>` | `key` of `[alerter.name]`; the same for a peer |
//! | `INNKEEPER_WEB_OPENID_<KEY>`, `INNKEEPER_WEB_OPENID_ROLES_<ROLE>` | a key of `[web.openid]`, and one of its `roles` |
//!
//! A named section does not have to be in the file. One variable creates it, as `INNKEEPER_ALERTER_MAIL_KIND` creates
//! `[alerter.mail]`. Such a name is in lowercase. If the file has a name with `-`, variables use `_` instead.
//!
//! A variable that matches nothing is a problem, so that a misspelt name is reported and not silently ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::problem::Origin;
use crate::section::Findings;
use crate::setting::{Setting, Table, Value};

const PREFIX: &str = "INNKEEPER_";

/// Names, without the prefix, of the variables of the agent's configuration. The server ignores them, because both
/// may be set in the same shell.
pub const AGENTS_VARIABLES: [&str; 7] =
    ["SERVER", "API", "TOKEN", "TOKEN_FILE", "CA_FILE", "PROXY", "EXEC_MAX_DELAY"];

/// A section within another section.
#[derive(Debug, Clone, Copy)]
pub struct Deeper {
    /// The sections on the path to it, such as `web`, `openid`.
    pub path: &'static [&'static str],
    /// The allowed keys; empty if any key is allowed.
    pub keys: &'static [&'static str],
}

/// A section that contains named sections, such as `alerter` in `[alerter.ops]`.
#[derive(Debug, Clone)]
pub struct NamedSection {
    /// The name of the outer section.
    pub section: &'static str,
    /// Names that always exist.
    pub always: &'static [&'static str],
    /// Keys that may create a section that the file does not have. If one ends like another, the longer one must come
    /// first.
    pub makers: &'static [&'static str],
    /// All keys that such a section may have.
    pub keys: BTreeSet<String>,
}

/// The variables that are known.
#[derive(Debug, Clone)]
pub struct Variables {
    /// The sections with keys.
    pub sections: &'static [&'static str],
    /// The sections with named sections.
    pub named: Vec<NamedSection>,
    /// The sections within sections, inner ones first.
    pub deeper: &'static [Deeper],
    /// Lists of names, without the prefix and in capitals, of variables that have another purpose.
    pub others: &'static [&'static [&'static str]],
}

/// Merges the variables of `environment` into `root`.
///
/// An empty variable counts as unset, because a compose file passes on an unset variable as an empty text.
pub fn lay_environment(
    root: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    variables: &Variables,
    findings: &mut Findings,
) {
    let mut found: Vec<(String, String)> = environment
        .into_iter()
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, value)| !is_for_others(variables, name, value))
        .collect();
    found.sort();
    let rest = |name: &str| name[PREFIX.len()..].to_ascii_lowercase();
    let names = Names::of(root, variables, found.iter().map(|(name, _)| rest(name)));
    // All values of this layer are collected before any is inserted. `x` and `x_file` in the same layer contradict
    // each other, which is reported, while `x_file` in a higher layer replaces `x` of a lower one.
    let mut places: Vec<(Vec<String>, String, Origin)> = Vec::new();
    for (name, value) in found {
        let origin = Origin::Environment(Arc::from(name.as_str()));
        match place(&names, variables, &rest(&name)) {
            Err(what) => findings.problem(origin, "", what),
            Ok(place) => match places.iter().find(|(known, ..)| *known == place) {
                Some((.., first)) => {
                    findings.problem(
                        origin,
                        place.join("."),
                        format!("is set by {first}, too; set one of the two"),
                    );
                }
                None => places.push((place, value, origin)),
            },
        }
    }
    lay(root, places, findings);
}

/// A value from the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The section of its key; none for a top-level key.
    pub section: Option<&'static str>,
    /// The key.
    pub key: &'static str,
    /// The value; none if the flag is absent.
    pub value: Option<String>,
    /// The flag as it is written on the command line.
    pub flag: &'static str,
}

/// Merges the command-line flags into `root`.
pub fn lay_flags(root: &mut Table, flags: impl IntoIterator<Item = Flag>, findings: &mut Findings) {
    let place = |Flag { section, key, value, flag }: Flag| {
        let path: Vec<String> = section.into_iter().chain([key]).map(str::to_owned).collect();
        Some((path, value?, Origin::Flag(flag)))
    };
    let places = flags.into_iter().filter_map(place).collect();
    lay(root, places, findings);
}

fn lay(root: &mut Table, places: Vec<(Vec<String>, String, Origin)>, findings: &mut Findings) {
    for (path, ..) in &places {
        if let Some((key, table)) = descend(root, path, None) {
            table.remove(key);
            match key.strip_suffix("_file") {
                Some(plain) => table.remove(plain),
                None => table.remove(&format!("{key}_file")),
            };
        }
    }
    for (path, value, origin) in places {
        match descend(root, &path, Some(&origin)) {
            Some((key, table)) => {
                table.insert(key.to_owned(), Setting { value: Value::Text(value), origin });
            }
            None => findings.problem(origin, path.join("."), "has no place: the file has no such section"),
        }
    }
}

/// The table that contains the last part of `path`. Missing tables are created with the origin `maker`; without a
/// `maker` the result is none.
fn descend<'t, 'p>(
    root: &'t mut Table,
    path: &'p [String],
    maker: Option<&Origin>,
) -> Option<(&'p str, &'t mut Table)> {
    let (key, sections) = path.split_last()?;
    let mut table = root;
    for section in sections {
        let setting = match maker {
            None => table.get_mut(section)?,
            Some(maker) => table
                .entry(section.clone())
                .or_insert_with(|| Setting { value: Value::Table(Table::new()), origin: maker.clone() }),
        };
        let Value::Table(inner) = &mut setting.value else { return None };
        table = inner;
    }
    Some((key, table))
}

/// The path of keys for the variable with the name `rest` (without the prefix).
fn place(names: &Names, variables: &Variables, rest: &str) -> Result<Vec<String>, String> {
    for named in &variables.named {
        if let Some(rest) = within(named.section, rest) {
            return names.place(named, rest);
        }
    }
    let deeper = variables.deeper.iter().find_map(|Deeper { path, keys }| {
        let key = path.iter().try_fold(rest, |rest, part| within(part, rest))?;
        (!key.is_empty() && (keys.is_empty() || keys.contains(&key)))
            .then(|| path.iter().chain([&key]).map(|part| (*part).to_owned()).collect())
    });
    if let Some(place) = deeper {
        return Ok(place);
    }
    let section = variables.sections.iter().find_map(|section| {
        let key = within(section, rest)?;
        (!key.is_empty()).then(|| vec![(*section).to_owned(), key.to_owned()])
    });
    Ok(section.unwrap_or_else(|| vec![rest.to_owned()]))
}

/// The rest of a name after `section_`.
fn within<'a>(section: &str, rest: &'a str) -> Option<&'a str> {
    rest.strip_prefix(section)?.strip_prefix('_')
}

/// A name in the form that variables use.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// The names of the named sections, from the file and from variables that create one. The key is the section and the
/// name in the form that variables use. A value with several names means that a variable cannot distinguish them.
struct Names(BTreeMap<(&'static str, String), Vec<String>>);

impl Names {
    fn of(root: &Table, variables: &Variables, found: impl Iterator<Item = String>) -> Self {
        let mut names: BTreeMap<(&'static str, String), Vec<String>> = BTreeMap::new();
        for NamedSection { section, always, .. } in &variables.named {
            for name in *always {
                names.insert((*section, plain(name)), vec![(*name).to_owned()]);
            }
            if let Some(Value::Table(table)) = root.get(*section).map(|setting| &setting.value) {
                for name in table.keys() {
                    let known = names.entry((*section, plain(name))).or_default();
                    if !known.contains(name) {
                        known.push(name.clone());
                    }
                }
            }
        }
        let in_file: BTreeSet<_> = names.keys().cloned().collect();
        for rest in found {
            for named in &variables.named {
                let made = within(named.section, &rest).and_then(|rest| named.made_by(rest));
                let Some(name) = made else { continue };
                let key = (named.section, plain(name));
                if !in_file.contains(&key) {
                    let known = names.entry(key).or_default();
                    if !known.iter().any(|known| known == name) {
                        known.push(name.to_owned());
                    }
                }
            }
        }
        Self(names)
    }

    /// The path of keys for a variable with the name `rest` after the section's name. If it may begin with several
    /// names (`ops`, `ops-mail`), the longest one with a matching key is used.
    fn place(&self, named: &NamedSection, rest: &str) -> Result<Vec<String>, String> {
        let section = named.section;
        let of_section = || self.0.iter().filter(|((of, _), _)| *of == section);
        let rest = &plain(rest);
        let fitting = of_section().filter_map(|((_, name), names)| {
            let key = within(name, rest).filter(|key| !key.is_empty())?;
            Some(((named.keys.contains(key), name.len()), key, names))
        });
        match fitting.max_by_key(|(rank, ..)| *rank) {
            Some((_, key, names)) => match names.as_slice() {
                [name] => Ok(vec![section.to_owned(), name.clone(), key.to_owned()]),
                [one, other] => Err(format!(
                    "fits two {section}s whose names differ only in - and _: {one}, {other}; rename one"
                )),
                several => Err(format!(
                    "fits {} {section}s whose names differ only in - and _: {}; rename all but one",
                    several.len(),
                    several.join(", ")
                )),
            },
            None => {
                let known: Vec<&str> =
                    of_section().flat_map(|(_, names)| names).map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let makers: Vec<String> = named
                    .makers
                    .iter()
                    .map(|key| format!("{PREFIX}{}_<NAME>_{}", section.to_uppercase(), key.to_uppercase()))
                    .collect();
                Err(format!(
                    "belongs to no {section}; there are: {known}. {} makes another",
                    makers.join(" or ")
                ))
            }
        }
    }
}

impl NamedSection {
    /// The name of the section that this variable would create, if it may create one.
    fn made_by<'a>(&self, rest: &'a str) -> Option<&'a str> {
        let name = self.makers.iter().find_map(|key| rest.strip_suffix(key)?.strip_suffix('_'))?;
        (!name.is_empty()).then_some(name)
    }
}

/// Whether a variable does not belong to the configuration: the known other ones, those of the tests, and those that
/// Kubernetes and Docker define in every container for a service that happens to be called innkeeper.
fn is_for_others(variables: &Variables, name: &str, value: &str) -> bool {
    let rest = &name[PREFIX.len()..];
    if variables.others.iter().any(|list| list.contains(&rest)) || rest.starts_with("TEST_") {
        return true;
    }
    let number_in_port = rest.rsplit_once("PORT_").and_then(|(_, tail)| tail.split_once('_')).is_some_and(
        |(port, protocol)| {
            port.parse::<u16>().is_ok()
                && ["TCP", "UDP", "SCTP"].iter().any(|known| protocol.starts_with(known))
        },
    );
    let service = rest.ends_with("SERVICE_HOST")
        || rest.ends_with("SERVICE_PORT")
        || rest.contains("SERVICE_PORT_")
        || (rest.ends_with("PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|s| value.starts_with(s)));
    number_in_port || service
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Variables = Variables { sections: &[], named: Vec::new(), deeper: &[], others: &[] };

    #[test]
    fn what_kubernetes_and_docker_set_is_passed_over() {
        for (name, value) in [
            ("INNKEEPER_SERVICE_HOST", "10.0.0.1"),
            ("INNKEEPER_SERVICE_PORT", "80"),
            ("INNKEEPER_SERVICE_PORT_HTTP", "80"),
            ("INNKEEPER_PORT", "tcp://10.0.0.1:80"),
            ("INNKEEPER_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("INNKEEPER_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("INNKEEPER_INGEST_SERVICE_HOST", "10.0.0.2"),
            ("INNKEEPER_INGEST_PORT", "tcp://10.0.0.2:8080"),
            ("INNKEEPER_INGEST_PORT_8080_TCP_PROTO", "tcp"),
            ("INNKEEPER_TEST_POSTGRES_URL", "postgres://"),
        ] {
            assert!(is_for_others(&NONE, name, value), "{name}");
        }
        for (name, value) in [("INNKEEPER_ALERTER_MAIL_PORT", "587"), ("INNKEEPER_PORT", "80")] {
            assert!(!is_for_others(&NONE, name, value), "{name}");
        }
    }

    /// The keys of the sections and the problems, after the variables were merged into the file `text`.
    fn laid(text: &str, environment: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let keys = ["kind", "host", "url", "url_file", "ca_file", "password", "password_file"];
        let named = NamedSection {
            section: "alerter",
            always: &["log"],
            makers: &["kind"],
            keys: keys.into_iter().map(str::to_owned).collect(),
        };
        let peers = NamedSection {
            section: "peer",
            always: &[],
            makers: &["url_file", "url"],
            keys: keys.into_iter().map(str::to_owned).collect(),
        };
        let variables = Variables { sections: &["web"], named: vec![named, peers], deeper: &[], others: &[] };
        let mut root = crate::parse("f", text).unwrap();
        let mut findings = Findings::default();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        lay_environment(&mut root, environment, &variables, &mut findings);
        let mut keys = Vec::new();
        for (section, setting) in &root {
            let Value::Table(names) = &setting.value else { panic!("{section}") };
            for (name, setting) in names {
                let Value::Table(table) = &setting.value else { panic!("{section}.{name}") };
                keys.extend(table.keys().map(|key| format!("{section}.{name}.{key}")));
            }
        }
        (keys, findings.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_section_with_a_name_is_made_by_one_variable_and_filled_by_the_others() {
        let (keys, problems) = laid(
            "",
            &[
                ("INNKEEPER_ALERTER_MAIL_KIND", "smtp"),
                ("INNKEEPER_ALERTER_MAIL_HOST", "mx"),
                ("INNKEEPER_ALERTER_MAIL_PASSWORD_FILE", "/x"),
                ("INNKEEPER_ALERTER_ON_CALL_KIND", "pagerduty"),
                ("INNKEEPER_ALERTER_ON-DUTY_KIND", "log"),
                ("INNKEEPER_PEER_NORTH_URL_FILE", "/x"),
                ("INNKEEPER_ALERTER_LOG_URL", "x"),
            ],
        );
        assert_eq!(problems, Vec::<String>::new());
        let made = [
            "alerter.log.url",
            "alerter.mail.host",
            "alerter.mail.kind",
            "alerter.mail.password_file",
            "alerter.on-duty.kind",
            "alerter.on_call.kind",
            "peer.north.url_file",
        ];
        assert_eq!(keys, made);
    }

    #[test]
    fn a_variable_belongs_to_the_name_whose_key_there_is() {
        let file =
            "[alerter.mail]\nkind = 'smtp'\n[alerter.mail_ca]\nkind = 'log'\n[alerter.on-call]\nkind = 'log'";
        let (keys, problems) = laid(
            file,
            &[
                ("INNKEEPER_ALERTER_MAIL_CA_FILE", "/x"),
                ("INNKEEPER_ALERTER_MAIL_CA_HOST", "mx"),
                ("INNKEEPER_ALERTER_ON_CALL_KIND", "smtp"),
                // The name of a new section may begin with the name of another one.
                ("INNKEEPER_ALERTER_MAIL_TWO_KIND", "smtp"),
                ("INNKEEPER_ALERTER_MAIL_TWO_HOST", "mx"),
            ],
        );
        assert_eq!(problems, Vec::<String>::new());
        let expected = [
            "alerter.mail.ca_file",
            "alerter.mail.kind",
            "alerter.mail_ca.host",
            "alerter.mail_ca.kind",
            "alerter.mail_two.host",
            "alerter.mail_two.kind",
            "alerter.on-call.kind",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn names_that_a_variable_cannot_tell_apart_and_variables_for_the_same_key_are_problems() {
        let two = "[alerter.on-call]\nkind = 'log'\n[alerter.on_call]\nkind = 'log'";
        let said = |file: &str, environment: &[(&str, &str)]| laid(file, environment).1.join("\n");
        let problem = said(two, &[("INNKEEPER_ALERTER_ON_CALL_HOST", "mx")]);
        assert!(
            problem.contains("fits two alerters whose names differ only in - and _: on-call, on_call"),
            "{problem}"
        );
        let dash = [("INNKEEPER_ALERTER_ON-CALL_KIND", "log"), ("INNKEEPER_ALERTER_ON_CALL_KIND", "log")];
        let problem = said("", &dash);
        assert!(problem.contains("INNKEEPER_ALERTER_ON-CALL_KIND: fits two alerters"), "{problem}");
        let case = [("INNKEEPER_ALERTER_MAIL_KIND", "log"), ("INNKEEPER_ALERTER_Mail_KIND", "smtp")];
        let problem = said("", &case);
        assert!(
            problem.contains("INNKEEPER_ALERTER_Mail_KIND: alerter.mail.kind: is set by the environment variable INNKEEPER_ALERTER_MAIL_KIND, too"),
            "{problem}"
        );
        for lost in ["INNKEEPER_ALERTER_OPS_HOST", "INNKEEPER_ALERTER_KIND", "INNKEEPER_ALERTER__KIND"] {
            let problem = said("", &[(lost, "x")]);
            let makes = "belongs to no alerter; there are: log. INNKEEPER_ALERTER_<NAME>_KIND makes another";
            assert!(problem.contains(&format!("{lost}: {makes}")), "{problem}");
        }
        let problem = said("", &[("INNKEEPER_PEER_EVERY", "x")]);
        assert!(
            problem.contains("INNKEEPER_PEER_<NAME>_URL_FILE or INNKEEPER_PEER_<NAME>_URL makes"),
            "{problem}"
        );
    }
}
