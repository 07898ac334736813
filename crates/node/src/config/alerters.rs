//! The sections `[alerter.NAME]`: each alerter reads its own.

use std::collections::{BTreeMap, BTreeSet};

use innkeeper_alerter::AlerterConfig;
use innkeeper_core::names::AlerterName;
use innkeeper_core::ways::AlerterKind;
use innkeeper_settings::{Findings, Origin, Section, Setting, Table, Value, too_many};

use super::LOG_ALERTER;

/// The most alerters, because each has its own threads.
const MOST_ALERTERS: usize = 200;

/// Reads all sections, and adds the built-in log alerter.
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
    let Value::Table(table) = setting.value else {
        let what = format!("is {}; an alerter is a section, write [{path}]", setting.value.kind());
        findings.problem(origin, path, what);
        return None;
    };
    let section = Section::new(path, table, findings).standing_at(origin);
    AlerterConfig::read(&name, section).map(|config| (parsed, config))
}

/// All keys of all kinds of alerters.
pub(crate) fn all_keys() -> BTreeSet<String> {
    AlerterKind::ALL.iter().copied().flat_map(AlerterConfig::keys).collect()
}
