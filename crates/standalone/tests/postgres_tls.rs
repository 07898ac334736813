//! Postgres over TLS: the plain build does not support it, and says so if a URL demands it; the feature adds it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::programs::{configured, run};
use innkeeper_testing::database::TestDatabase;

/// URLs that ask for TLS, with what asks for it.
const DEMANDS: [(&str, &str); 4] = [
    ("sslmode=require", "sslmode=require"),
    ("sslmode=verify-full&sslrootcert=system", "sslmode=verify-full"),
    ("sslrootcert=/etc/ssl/certs/ca-certificates.crt", "sslrootcert"),
    ("ssl=true", "sslmode=require"),
];

fn checked(url: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let directory = configured("");
    let (code, out, err) =
        run("innkeeper", directory.path(), &["check-config", "--database-url", url], variables);
    (code, out + &err)
}

#[test]
fn a_url_that_asks_for_tls_is_taken_by_a_program_that_speaks_it() {
    for (parameters, demand) in DEMANDS {
        let (code, said) = checked(&format!("postgres://innkeeper@127.0.0.1:1/inn?{parameters}"), &[]);
        if cfg!(feature = "postgres-tls") {
            assert_eq!(code, Some(0), "{parameters}: {said}");
            continue;
        }
        assert_eq!(code, Some(1), "{parameters}: {said}");
        assert!(said.contains(&format!("database.url: asks for TLS ({demand})")), "{parameters}: {said}");
        assert!(said.contains("cargo build --release --features postgres-tls"), "{parameters}: {said}");
    }
    let (code, said) = checked("postgres://innkeeper@127.0.0.1:1/inn", &[("PGSSLMODE", "require")]);
    assert_eq!(code, Some(if cfg!(feature = "postgres-tls") { 0 } else { 1 }), "{said}");
    // What is no demand is none.
    for parameters in ["", "?sslmode=disable", "?sslmode=prefer"] {
        let (code, said) = checked(&format!("postgres://innkeeper@127.0.0.1:1/inn{parameters}"), &[]);
        assert_eq!(code, Some(0), "{parameters}: {said}");
    }
}

#[test]
fn a_database_elsewhere_is_told_with_what_this_build_can_do() {
    let (code, said) = checked("postgres://innkeeper@db.example.org/inn?connect_timeout=2", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("db.example.org is not asked who it is"), "{said}");
    assert_eq!(said.contains("built without TLS for Postgres"), !cfg!(feature = "postgres-tls"), "{said}");
}

#[test]
fn without_tls_everything_else_works() {
    let database = TestDatabase::postgres();
    let directory = configured("");
    for arguments in [["migrate"], ["summary"]] {
        let arguments = [&arguments[..], &["--database-url", database.url()]].concat();
        let (code, _, err) = run("innkeeper", directory.path(), &arguments, &[]);
        assert_eq!(code, Some(0), "{arguments:?}: {err}");
    }
}
