//! Who may depend on whom: `core ← {store, alerter} ← node ← {ingest, sweeper, web} ← standalone`, and `core ← agent`.
//! Of normal and build dependencies; what tests use is free.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Our crates, and which of ours each may depend on.
const OURS: [(&str, &[&str]); 13] = [
    ("core", &[]),
    ("store", &["core"]),
    ("alerter", &["core"]),
    ("node", &["core", "store", "alerter"]),
    ("ingest", &["core", "store", "alerter", "node"]),
    ("sweeper", &["core", "store", "alerter", "node"]),
    ("web", &["core", "store", "alerter", "node"]),
    ("standalone", &["core", "store", "alerter", "node", "ingest", "sweeper", "web"]),
    ("agent", &["core"]),
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
    ("actix", &["node", "ingest", "web"]),
];

/// What must not be below these crates of ours, however deep.
const NEVER_BELOW: [(&str, &[&str]); 4] = [
    ("core", &["diesel", "r2d2", "actix-web", "lettre", "ureq", "tokio", "rustls"]),
    ("store", &["actix-web", "lettre", "ureq", "rustls"]),
    ("alerter", &["actix-web", "diesel", "r2d2"]),
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
