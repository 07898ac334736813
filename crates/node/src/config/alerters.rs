//! `[alerter.NAME]`: the tables that the alerters themselves give a shape.

use std::collections::BTreeMap;

use innkeeper_alerter::AlerterConfig;
use innkeeper_core::names::AlerterName;

use super::LOG_ALERTER;
use super::deserialize::{self, Misfit};
use super::problem::Origin;
use super::section::{Findings, too_many};
use super::setting::{Setting, Table, Value};

/// The most alerters: each has threads of its own.
const MOST_ALERTERS: usize = 200;

/// Reads all tables, and adds the log, which is always there.
pub(crate) fn read(mut table: Table, findings: &mut Findings) -> BTreeMap<AlerterName, AlerterConfig> {
    if too_many("alerter", &table, MOST_ALERTERS, findings) {
        table.clear();
    }
    table
        .entry(LOG_ALERTER.to_owned())
        .or_insert_with(|| Setting { value: Value::Table(Table::new()), origin: Origin::Default });
    table.into_iter().filter_map(|(name, setting)| read_one(name, setting, findings)).collect()
}

fn read_one(name: String, setting: Setting, findings: &mut Findings) -> Option<(AlerterName, AlerterConfig)> {
    let path = format!("alerter.{name}");
    let origin = setting.origin;
    let Ok(parsed) = AlerterName::parse("alerter", &name) else {
        findings.problem(origin, path, "is not a name; allowed: 1 to 50 of a–z, 0–9, - and _");
        return None;
    };
    let Value::Table(mut table) = setting.value else {
        let what = format!("is {}; an alerter is a section, write [{path}]", setting.value.kind());
        findings.problem(origin, path, what);
        return None;
    };
    let kinds = || AlerterConfig::kinds().join(", ");
    let (kind, kind_origin) = match table.remove("kind") {
        Some(Setting { value: Value::Text(kind), origin }) => (kind, origin),
        Some(Setting { value, origin }) => {
            let what = format!("is {}; allowed: {}", value.kind(), kinds());
            findings.problem(origin, format!("{path}.kind"), what);
            return None;
        }
        None if name == LOG_ALERTER => (LOG_ALERTER.to_owned(), origin.clone()),
        None => {
            findings.problem(origin, path, format!("the key kind is missing; allowed: {}", kinds()));
            return None;
        }
    };
    let problem = if !AlerterConfig::kinds().contains(&kind.as_str()) {
        Some(format!("{kind:?} is not known; allowed: {}", kinds()))
    } else if name == LOG_ALERTER && kind != "log" {
        Some("the name log is kept for kind = \"log\"; give this alerter another name".to_owned())
    } else {
        None
    };
    if let Some(what) = problem {
        findings.problem(kind_origin, format!("{path}.kind"), what);
        return None;
    }
    // Serde stops at the first unknown key; a person wants all of them.
    let allowed = AlerterConfig::keys(&kind);
    let unknown: Vec<String> = table.keys().filter(|key| !allowed.contains(&key.as_str())).cloned().collect();
    for key in unknown {
        if let Some(setting) = table.remove(&key) {
            let mut allowed: Vec<&str> = allowed.iter().copied().chain(["kind"]).collect();
            allowed.sort_unstable();
            let what = format!("unknown key; allowed for kind = {kind:?}: {}", allowed.join(", "));
            findings.problem(setting.origin, format!("{path}.{key}"), what);
        }
    }
    match AlerterConfig::deserialize(&kind, deserialize::section(table)) {
        Ok(config) => Some((parsed, config)),
        Err(Misfit { origin: place, key, what }) => {
            let (path, what) = match &key {
                // Some readers name the key themselves.
                Some(key) => {
                    (format!("{path}.{key}"), what.strip_prefix(&format!("{key}: ")).unwrap_or(&what))
                }
                None => (path, what.as_str()),
            };
            findings.problem(place.unwrap_or(origin), path, what);
            None
        }
    }
}
