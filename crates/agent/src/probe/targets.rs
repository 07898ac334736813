//! The targets of a probe. Each is checked separately and has a reservation of its own.

use std::collections::HashSet;

use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::secret::Secret;
use innkeeper_settings::{Findings, Origin, Section, Table, Value};

use super::kinds::ProbeCheck;

/// Most targets of one probe.
const MOST_TARGETS: usize = 10_000;

/// One target and the names of its reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    /// The target as the configuration has it. It may contain a password and must not be reported.
    pub(crate) given: Secret,
    /// The name in reports, without user, password and query; empty for a kind without a target.
    pub label: String,
    /// The contacted host, which limits parallel checks of one host; empty if there is none.
    pub host: String,
    /// The app of its reservation.
    pub app: AppName,
    /// The component of its reservation.
    pub component: ComponentName,
}

impl ProbeTarget {
    /// The key of the target, made of the two names of its reservation.
    pub fn key(&self) -> String {
        format!("{}\n{}", self.app, self.component)
    }
}

/// A target that its kind has not parsed yet.
#[derive(Debug, Clone)]
pub(crate) struct GivenTarget {
    name: Option<String>,
    text: String,
    origin: Origin,
}

/// The values of `target` and `targets`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets {
    given: Vec<GivenTarget>,
    is_list: bool,
}

impl Targets {
    /// Reads `target = "…"`, or `targets` as a list or as a table of names. `path` is the name of the section.
    pub(crate) fn read(path: &str, table: &Table, findings: &mut Findings) -> Self {
        let key = |key: &str| format!("{path}.{key}");
        let mut given = Vec::new();
        match (table.get("target"), table.get("targets")) {
            (Some(_), Some(list)) => {
                findings.problem(
                    list.origin.clone(),
                    key("targets"),
                    "cannot be combined with target; give one of them",
                );
            }
            (Some(one), None) => match &one.value {
                Value::Text(text) => given.push(GivenTarget::new(None, text, &one.origin)),
                other => {
                    let what = format!("is {}; write a text in quotes, or several in targets", other.kind());
                    findings.problem(one.origin.clone(), key("target"), what);
                }
            },
            (None, Some(list)) => {
                match &list.value {
                    Value::Text(text) => {
                        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                        given.extend(texts.map(|text| GivenTarget::new(None, text, &list.origin)));
                    }
                    Value::List(entries) => {
                        for entry in entries {
                            match &entry.value {
                                Value::Text(text) => given.push(GivenTarget::new(None, text, &entry.origin)),
                                other => {
                                    let what =
                                        format!("has {} in its list; write texts in quotes", other.kind());
                                    findings.problem(entry.origin.clone(), key("targets"), what);
                                }
                            }
                        }
                    }
                    Value::Table(entries) => {
                        for (name, entry) in entries {
                            match &entry.value {
                                Value::Text(text) => {
                                    given.push(GivenTarget::new(Some(name), text, &entry.origin))
                                }
                                other => {
                                    let what = format!("is {}; write a text in quotes", other.kind());
                                    findings.problem(
                                        entry.origin.clone(),
                                        key(&format!("targets.{name}")),
                                        what,
                                    );
                                }
                            }
                        }
                    }
                    other => {
                        let what =
                            format!("is {}; write a list of texts, or name = \"target\"", other.kind());
                        findings.problem(list.origin.clone(), key("targets"), what);
                    }
                }
                if given.is_empty() && findings.problems.is_empty() {
                    findings.problem(
                        list.origin.clone(),
                        key("targets"),
                        "is empty; name at least one target",
                    );
                }
                if given.len() > MOST_TARGETS {
                    let what = format!("has {} entries; at most {MOST_TARGETS}", given.len());
                    findings.problem(list.origin.clone(), key("targets"), what);
                    given.clear();
                }
            }
            (None, None) => {}
        }
        Self { given, is_list: table.contains_key("targets") }
    }

    /// Parses each target by its kind and determines the names of its reservation.
    pub(crate) fn named(
        self,
        probe: &str,
        check: &dyn ProbeCheck,
        default_app: &str,
        section: &mut Section<'_>,
    ) -> Vec<ProbeTarget> {
        let origin = section.origin("kind");
        let app = section.parsed("app", default_app.to_owned(), |text| Ok::<_, String>(text.to_owned()));
        let usual = if self.is_list { format!("{probe} {{target}}") } else { probe.to_owned() };
        let component_origin = section.origin("component");
        let pattern = section.parsed("component", usual, |text| Ok::<_, String>(text.to_owned()));
        if self.given.len() > 1 && !pattern.contains("{target}") && !app.contains("{target}") {
            let what = "would give all targets one reservation; put {target} into it";
            section.refuse("component", component_origin, what);
            return Vec::new();
        }
        let given = match (self.given.is_empty(), check.needs_target()) {
            (true, true) if self.is_list => return Vec::new(),
            (true, true) => {
                section.refuse("target", origin, "the key target, or targets for several, is missing");
                return Vec::new();
            }
            (true, false) => vec![GivenTarget { name: None, text: String::new(), origin }],
            (false, _) => self.given,
        };
        let key = if self.is_list { "targets" } else { "target" };
        let mut targets = Vec::new();
        let mut seen = HashSet::new();
        for GivenTarget { name, text, origin } in given {
            let subject = match check.subject(&text) {
                Ok(subject) => subject,
                Err(problem) => {
                    section.refuse(key, origin, problem);
                    continue;
                }
            };
            // The key `address` replaces the host of every target.
            let address = check.network().and_then(|network| network.address.clone());
            let host = if subject.host.is_empty() { None } else { address };
            let host = host.unwrap_or(subject.host);
            let called = name.as_deref().unwrap_or(&subject.label);
            let names = AppName::parse(app.replace("{target}", called))
                .and_then(|app| Ok((app, ComponentName::parse(pattern.replace("{target}", called))?)));
            let (app, component) = match names {
                Ok(names) => names,
                Err(invalid) => {
                    let what = format!(
                        "{called:?} gives no valid name of a reservation: {invalid}; name the target: \
                         targets = {{ name = \"…\" }}"
                    );
                    section.refuse(key, origin, what);
                    continue;
                }
            };
            if !seen.insert((app.clone(), component.clone())) {
                let what = format!(
                    "{called:?} occurs twice; give the targets different names: targets = {{ name = \"…\" }}"
                );
                section.refuse(key, origin, what);
                continue;
            }
            targets.push(ProbeTarget {
                given: Secret::new(text),
                label: subject.label,
                host,
                app,
                component,
            });
        }
        targets
    }
}

impl GivenTarget {
    fn new(name: Option<&String>, text: &str, origin: &Origin) -> Self {
        Self { name: name.cloned(), text: text.to_owned(), origin: origin.clone() }
    }
}
