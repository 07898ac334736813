//! Access of others to the database: the modes of its file, and a connection to Postgres that does not verify the
//! server.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use common::programs::{configured, run};
use innkeeper_testing::certificates::{Authority, self_signed};
use innkeeper_testing::client::Client;
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::ports::free_port;
use innkeeper_testing::process::Server;
use serde_json::json;

#[test]
fn a_database_file_that_others_can_read_is_told_and_used() {
    let text =
        "data_dir = \"data\"\n[database]\nurl = \"sqlite://inn.db\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n";
    let directory = configured(text);
    let check = || run("innkeeper", directory.path(), &["check-config"], &[]);
    let file = directory.path().join("data/inn.db");
    assert_eq!(run("innkeeper", directory.path(), &["migrate"], &[]).0, Some(0));
    let (code, out, _) = check();
    assert!(code == Some(0) && !out.contains("Warning: the database"), "{out}");

    // All the way down to it, as below /var/lib.
    let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(directory.path(), 0o755);
    set(&directory.path().join("data"), 0o755);
    for (mode, said) in [
        (0o644, "read by every user"),
        (0o666, "written by every user"),
        (0o620, "written by its whole group"),
    ] {
        set(&file, mode);
        let (code, out, err) = check();
        assert_eq!(code, Some(0), "{err}");
        let named = format!("inn.db can be {said}");
        assert!(
            out.contains("Warning: the database file") && out.contains(&named) && out.contains("chmod 600"),
            "{out}"
        );
    }
    set(&file, 0o644);
    let mut server = Server::start_in(directory, "innkeeper", text, &[]);
    server.wait_for_log("can be read by every user of this machine");
    let reservation = json!({
        "app": "shop", "component": "b", "notify": "", "owner": "", "frequency": 5, "time_units": "minutes"
    });
    let client = Client::default();
    assert_eq!(client.post(&server.url("/reservation"), &reservation).status, 200);
    assert_eq!(client.post(&server.url("/checkin"), &json!({ "app": "shop", "component": "b" })).status, 200);
    assert_eq!(server.terminate(Duration::from_secs(30)).code(), Some(0));
}

#[test]
fn postgres_is_believed_only_by_its_certificate() {
    let authority = Authority::new();
    let port = free_port();
    let _cluster = Cluster::start_encrypted(&authority, &["localhost"], port);
    let directory = configured("");
    let [ours, other] = ["ours.pem", "other.pem"].map(|name| directory.path().join(name));
    authority.write_to(&ours);
    self_signed(&["elsewhere.example.org"], true, &other);
    let home = [("HOME", directory.path().to_str().unwrap())];
    let check = |host: &str, parameters: &str| {
        let url = format!("postgres://innkeeper@{host}:{port}/postgres?{parameters}");
        let (code, out, err) =
            run("innkeeper", directory.path(), &["check-config", "--database-url", &url], &home);
        assert_eq!(code, Some(0), "{err}");
        out
    };
    let migrated = run(
        "innkeeper",
        directory.path(),
        &["migrate", "--database-url", &format!("postgres://innkeeper@localhost:{port}/postgres")],
        &home,
    );
    assert_eq!(migrated.0, Some(0), "{migrated:?}");

    let verified = |file: &Path| format!("sslmode=verify-full&sslrootcert={}", file.display());
    for parameters in [
        verified(&ours),
        format!("sslmode=verify-ca&sslrootcert={}", ours.display()),
        "sslmode=require".to_owned(),
    ] {
        let out = check("localhost", &parameters);
        assert!(
            !out.contains("was not asked") && !out.contains("Warning: the database"),
            "{parameters}: {out}"
        );
    }
    for (host, parameters, said) in [
        // No authority is named, and nobody has put one into ~/.postgresql/root.crt.
        ("localhost", "sslmode=verify-full".to_owned(), "root.crt"),
        ("localhost", verified(&other), "certificate verify failed"),
        ("localhost", "sslrootcert=system".to_owned(), "certificate verify failed"),
        ("localhost", "sslrootcert=system&sslmode=require".to_owned(), "weak sslmode"),
        // The certificate is another host's.
        ("127.0.0.1", verified(&ours), "does not match host name"),
    ] {
        let out = check(host, &parameters);
        assert!(out.contains("was not asked") && out.contains(said), "{host} {parameters}: {out}");
    }
    // With the authority where the library looks for it by itself.
    fs::create_dir(directory.path().join(".postgresql")).unwrap();
    fs::copy(&ours, directory.path().join(".postgresql/root.crt")).unwrap();
    let out = check("localhost", "sslmode=verify-full");
    assert!(!out.contains("was not asked"), "{out}");
}

#[test]
fn a_postgres_elsewhere_that_is_not_verified_is_told() {
    let directory = configured("");
    let check = |url: &str| {
        let (code, out, err) =
            run("innkeeper", directory.path(), &["check-config", "--database-url", url], &[]);
        assert_eq!(code, Some(0), "{err}");
        assert!(!out.contains("hunter2"), "{out}");
        out
    };
    // Nobody is there.
    let place = "postgres://inn:hunter2@192.0.2.1:1/inn?connect_timeout=2";
    for parameters in ["", "&sslmode=prefer", "&sslmode=require"] {
        let out = check(&format!("{place}{parameters}"));
        assert!(out.contains("Warning: the database at 192.0.2.1 is not asked who it is"), "{out}");
        assert!(out.contains("sslmode=verify-full"), "{out}");
    }
    assert!(!check(&format!("{place}&sslmode=verify-full")).contains("Warning: the database"));
}
