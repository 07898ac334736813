//! Who may depend on whom: `core ← settings ← alerter`, `core ← logging ← store`, `{store, alerter} ← node ← http ← {ingest, sweeper, web} ←
//! standalone`, `http ← ingest-routes ← {ingest, web}`, and `{core, settings} ← agent`.
//! Of normal and build dependencies; what tests use is free.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Our crates, and which of ours each may depend on.
const OURS: [(&str, &[&str]); 17] = [
    ("core", &[]),
    ("logging", &["core"]),
    ("store", &["core", "logging"]),
    ("settings", &["core"]),
    ("alerter", &["core", "settings"]),
    ("node", &["core", "logging", "settings", "store", "alerter"]),
    ("http", &["core", "logging", "store", "node"]),
    // What ingest answers, which web describes without it.
    ("ingest-routes", &["core", "http"]),
    ("ingest", &["core", "logging", "store", "alerter", "node", "http", "ingest-routes"]),
    ("sweeper", &["core", "logging", "store", "alerter", "node", "http"]),
    ("web", &["core", "logging", "store", "alerter", "node", "http", "ingest-routes"]),
    (
        "standalone",
        &["core", "store", "alerter", "node", "http", "ingest-routes", "ingest", "sweeper", "web"],
    ),
    ("agent", &["core", "settings"]),
    // Tools. Nothing that is delivered depends on them, as their absence from the lists above says.
    ("testing", &["core", "store"]),
    ("bench", &["core", "store", "testing"]),
    ("system", &["testing"]),
    ("fuzz", &["core", "store", "alerter", "node", "ingest", "sweeper", "web"]),
];

/// What stands in for the outside world may name any crate of others.
const TOOLS: [&str; 3] = ["testing", "bench", "system"];

/// Crates of others that only some of ours may name.
const ONLY_IN: [(&str, &[&str]); 7] = [
    // SQL.
    ("diesel", &["store"]),
    ("r2d2", &["store"]),
    ("pq-sys", &["store"]),
    ("libsqlite3-sys", &["store"]),
    // The ways out.
    ("lettre", &["alerter"]),
    ("ureq", &["alerter", "agent"]),
    // HTTP that is served.
    ("actix", &["http", "ingest", "web"]),
];

/// What must not be below these crates of ours, however deep.
const NEVER_BELOW: [(&str, &[&str]); 5] = [
    ("core", &["diesel", "r2d2", "actix-web", "lettre", "ureq", "tokio", "rustls"]),
    ("store", &["actix-web", "lettre", "ureq", "rustls"]),
    ("alerter", &["actix-web", "diesel", "r2d2"]),
    ("node", &["actix-web", "actix-server"]),
    ("agent", &["actix-web", "diesel", "r2d2", "lettre"]),
];

fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    // What only other platforms take was never downloaded.
    let rustc = std::process::Command::new("rustc").arg("-vV").output().expect("rustc");
    let said = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let options = ["--locked", "--offline", "--filter-platform", host].map(str::to_owned);
    MetadataCommand::new().manifest_path(manifest).other_options(options).exec().expect("cargo metadata")
}

/// `innkeeper-store` as `store`.
fn own_name(package: &str) -> Option<&str> {
    package.strip_prefix("innkeeper-")
}

/// The names that `package` lists as normal or build dependencies.
fn named(package: &Package) -> impl Iterator<Item = &str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
}

/// Whether `name` is the crate `rule` or one of its family: `diesel` and `diesel_migrations`, `actix` and `actix-web`.
fn is_of(name: &str, rule: &str) -> bool {
    name.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

#[test]
fn ours_depend_on_ours_only_as_allowed() {
    let rules: BTreeMap<&str, &[&str]> = OURS.into();
    for package in metadata().workspace_packages() {
        let crate_name = own_name(&package.name).expect("our packages are called innkeeper-…");
        let allowed = rules.get(crate_name).unwrap_or_else(|| panic!("{crate_name} is new: add it to OURS"));
        for dependency in named(package).filter_map(own_name) {
            assert!(allowed.contains(&dependency), "{crate_name} must not depend on {dependency}");
        }
    }
}

#[test]
fn crates_of_others_stay_where_they_belong() {
    for package in metadata().workspace_packages() {
        let crate_name = own_name(&package.name).expect("our packages are called innkeeper-…");
        for dependency in named(package).filter(|_| !TOOLS.contains(&crate_name)) {
            for (rule, only_in) in ONLY_IN {
                let allowed = !is_of(dependency, rule) || only_in.contains(&crate_name);
                assert!(allowed, "{crate_name} must not depend on {dependency}: that is for {only_in:?}");
            }
        }
    }
}

#[test]
fn nothing_forbidden_lies_deeper() {
    let metadata = metadata();
    for (crate_name, forbidden) in NEVER_BELOW {
        let Some(package) =
            metadata.workspace_packages().into_iter().find(|p| own_name(&p.name) == Some(crate_name))
        else {
            continue;
        };
        let below = below(&metadata, &package.id);
        assert!(!below.is_empty(), "{crate_name} is resolved");
        for name in forbidden {
            assert!(!below.contains(*name), "{crate_name} reaches {name}");
        }
    }
}

#[test]
fn the_store_decides_nothing() {
    let (mut folders, mut files) = (vec![store_sources()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("a file of the sources").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            // How a reservation stands comes with it from core, and what follows from it is the sweeper's to say.
            assert!(!text.contains("evaluate"), "{} must not draw conclusions", path.display());
            files += 1;
        }
    }
    assert!(files > 50, "these are not all sources of the store: {files}");
}

fn store_sources() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../store/src"))
}

/// The names of everything that `root` needs to be built, itself left out.
fn below(metadata: &Metadata, root: &PackageId) -> BTreeSet<String> {
    let resolved = &metadata.resolve.as_ref().expect("resolved dependencies").nodes;
    let nodes: BTreeMap<&PackageId, _> = resolved.iter().map(|node| (&node.id, node)).collect();
    let (mut found, mut next) = (BTreeSet::new(), vec![root]);
    while let Some(id) = next.pop() {
        for dependency in &nodes[id].deps {
            let is_needed = dependency.dep_kinds.iter().any(|how| how.kind != DependencyKind::Development);
            if is_needed && found.insert(&dependency.pkg) {
                next.push(&dependency.pkg);
            }
        }
    }
    found.into_iter().map(|id| metadata[id].name.to_string()).collect()
}
