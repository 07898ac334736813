//! Lays the environment and the flags over the file.
//!
//! `INNKEEPER_<SECTION>_<KEY>` sets `key` of `[section]`, `INNKEEPER_<KEY>` a key above the sections, and
//! `INNKEEPER_ALERTER_<NAME>_<KEY>` a key of an alerter that the file has, and so for a `PEER`; `INNKEEPER_WEB_OPENID_<KEY>`
//! a key of `[web.openid]`, and `INNKEEPER_WEB_OPENID_ROLES_<ROLE>` one of its `roles`. A variable that fits nothing is an error, so that a misspelt one is not silently without effect.

use std::sync::Arc;

use innkeeper_core::access::UserRole;

use super::Overrides;
use super::problem::Origin;
use super::section::Findings;
use super::setting::{Setting, Table, Value};

const PREFIX: &str = "INNKEEPER_";

/// Lays the variables of `environment` over `root`.
///
/// An empty variable counts as absent: a compose file that passes on what is unset passes on an empty text.
pub(crate) fn lay_environment(
    root: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    findings: &mut Findings,
) {
    let mut variables: Vec<(String, String)> = environment
        .into_iter()
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, value)| !is_for_others(name, value))
        .collect();
    variables.sort();
    // All of a layer are taken out before any is put in: `x` and `x_file` of one layer are a contradiction
    // to be reported, while `x_file` of a higher one replaces `x` of a lower.
    let mut places = Vec::new();
    for (name, value) in variables {
        let origin = Origin::Environment(Arc::from(name.as_str()));
        match place(root, &name[PREFIX.len()..].to_ascii_lowercase()) {
            Ok(place) => places.push((place, value, origin)),
            Err(what) => findings.problem(origin, "", what),
        }
    }
    lay(root, places, findings);
}

/// Lays the flags of the command line over `root`.
pub(crate) fn lay_flags(
    root: &mut Table,
    overrides: &Overrides,
    listen_section: Option<&'static str>,
    findings: &mut Findings,
) {
    let mut places = Vec::new();
    let mut set = |section: Option<&str>, key: &str, value: &Option<String>, flag: &'static str| {
        if let Some(value) = value {
            let path = section.into_iter().chain([key]).map(str::to_owned).collect();
            places.push((path, value.clone(), Origin::Flag(flag)));
        }
    };
    set(None, "data_dir", &overrides.data_dir, "--data-dir");
    set(Some("database"), "url", &overrides.database_url, "--database-url");
    if let Some(section) = listen_section {
        set(Some(section), "listen", &overrides.listen, "--listen");
    }
    lay(root, places, findings);
}

fn lay(root: &mut Table, places: Vec<(Vec<String>, String, Origin)>, findings: &mut Findings) {
    for (path, ..) in &places {
        if let Some((key, table)) = descend(root, path) {
            table.remove(key);
            match key.strip_suffix("_file") {
                Some(plain) => table.remove(plain),
                None => table.remove(&format!("{key}_file")),
            };
        }
    }
    for (path, value, origin) in places {
        match descend(root, &path) {
            Some((key, table)) => {
                table.insert(key.to_owned(), Setting { value: Value::Text(value), origin });
            }
            None => findings.problem(origin, path.join("."), "has no place: the file has no such section"),
        }
    }
}

/// The table that holds the last part of `path`, made where it is missing.
fn descend<'t, 'p>(root: &'t mut Table, path: &'p [String]) -> Option<(&'p str, &'t mut Table)> {
    let (key, sections) = path.split_last()?;
    let mut table = root;
    for section in sections {
        let setting = table
            .entry(section.clone())
            .or_insert_with(|| Setting { value: Value::Table(Table::new()), origin: Origin::Default });
        let Value::Table(inner) = &mut setting.value else { return None };
        table = inner;
    }
    Some((key, table))
}

/// Where the variable whose name goes on with `rest` belongs.
fn place(root: &Table, rest: &str) -> Result<Vec<String>, String> {
    for kind in ["alerter", "peer"] {
        if let Some(rest) = rest.strip_prefix(kind).and_then(|rest| rest.strip_prefix('_')) {
            return place_in_named(root, kind, rest);
        }
    }
    if let Some(key) = rest.strip_prefix("web_openid_").filter(|key| !key.is_empty()) {
        let role = key.strip_prefix("roles_").filter(|role| UserRole::parse("role", role).is_ok());
        let place = match role {
            Some(role) => vec!["web", "openid", "roles", role],
            None => vec!["web", "openid", key],
        };
        return Ok(place.into_iter().map(str::to_owned).collect());
    }
    let section = super::SECTIONS.iter().find_map(|section| {
        let key = rest.strip_prefix(section)?.strip_prefix('_')?;
        (!key.is_empty()).then(|| vec![(*section).to_owned(), key.to_owned()])
    });
    Ok(section.unwrap_or_else(|| vec![rest.to_owned()]))
}

/// Finds the alerter (or peer: the `kind`) whose name `rest` begins with; of several (`ops`, `ops-mail`) the longest.
fn place_in_named(root: &Table, kind: &str, rest: &str) -> Result<Vec<String>, String> {
    let alerters = match root.get(kind).map(|setting| &setting.value) {
        Some(Value::Table(alerters)) => alerters.keys().collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let key_of = |name: &str| {
        let key = rest.strip_prefix(&name.to_ascii_lowercase().replace('-', "_"))?.strip_prefix('_')?;
        (!key.is_empty()).then(|| key.to_owned())
    };
    let fitting: Vec<_> = alerters.iter().filter_map(|name| Some((name.as_str(), key_of(name)?))).collect();
    let Some(longest) = fitting.iter().map(|(name, _)| name.len()).max() else {
        let known = alerters.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        return Err(format!("belongs to no {kind}; the configuration file has: {known}"));
    };
    let mut best = fitting.into_iter().filter(|(name, _)| name.len() == longest);
    match (best.next(), best.next()) {
        (Some((name, key)), None) => Ok(vec![kind.to_owned(), name.to_owned(), key]),
        _ => Err(format!("fits two {kind}s whose names differ only in - and _; rename one")),
    }
}

/// Set for the programs of a `command` alerter, which may call Innkeeper in turn.
const OF_COMMANDS: [&str; 4] = ["EVENT", "APP", "COMPONENT", "IDEMPOTENCY_KEY"];

/// Whether a variable is not about the configuration: the file's own name, the token of those who call, the tests', and
/// what Kubernetes and Docker tell every container about a service that happens to be called innkeeper.
fn is_for_others(name: &str, value: &str) -> bool {
    let rest = &name[PREFIX.len()..];
    if ["CONFIG", "TOKEN"].contains(&rest) || OF_COMMANDS.contains(&rest) || rest.starts_with("TEST_") {
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
            assert!(is_for_others(name, value), "{name}");
        }
        for (name, value) in [("INNKEEPER_ALERTER_MAIL_PORT", "587"), ("INNKEEPER_PORT", "80")] {
            assert!(!is_for_others(name, value), "{name}");
        }
    }
}
