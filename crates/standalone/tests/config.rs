//! The configuration of the four programs: what is refused and how that is said, and what overrides what.

mod common;

use std::fs;

use common::programs::{PROGRAMS, SECRET, configured, refused, run};
use innkeeper_testing::client::Client;
use innkeeper_testing::process::{PATIENCE, Server};

#[test]
fn an_unknown_scheme_is_refused_wherever_it_stands() {
    let url = format!("mysql://root:{SECRET}@db/inn");
    for program in PROGRAMS {
        let parts = ["database.url", "mysql://", "sqlite://", "postgres://"];
        let text = format!("[database]\nurl = \"{url}\"\n");
        refused(program, &text, &[], &[], &[&parts[..], &["innkeeper.toml:2"]].concat());
        let environment = [("INNKEEPER_DATABASE_URL", url.as_str())];
        refused(program, "", &environment, &[], &[&parts[..], &["INNKEEPER_DATABASE_URL"]].concat());
        refused(program, "", &[], &["--database-url", &url], &[&parts[..], &["--database-url"]].concat());
    }
}

#[test]
fn everything_wrong_is_said_at_once_each_with_its_line() {
    let text = "instance = \"x\"\nauht = \"open\"\n\n[ingest]\nlisen = \"127.0.0.1:1\"\ncommit_timeout = \"8 parsecs\"\n\
                trusted_proxies = [\"proxy\"]\n\n[database]\npool_size = 0\n\n[alerter.ops]\nkind = \"pigeon\"\n\n[mail]\n\
                password = \"hunter2\"\n";
    let parts = [
        "innkeeper.toml:2: auht",
        "innkeeper.toml:5: ingest.lisen",
        "innkeeper.toml:6: ingest.commit_timeout",
        "innkeeper.toml:7: ingest.trusted_proxies",
        "innkeeper.toml:10: database.pool_size",
        "innkeeper.toml:13: alerter.ops.kind",
        "innkeeper.toml:15: mail",
    ];
    for program in PROGRAMS {
        refused(program, text, &[], &[], &parts);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    refused("innkeeper", "[ingest\nlisten = 1\n", &[], &[], &["innkeeper.toml:1"]);
    refused("web", "a = 1\na = 2\n", &[], &[], &["innkeeper.toml:2"]);
    refused("sweeper", "", &[], &["--config", "nowhere.toml"], &["nowhere.toml"]);
    refused("ingest", "", &[("INNKEEPER_CONFIG", "/dev/null/x.toml")], &[], &["/dev/null/x.toml"]);
    let directory = configured("");
    fs::write(directory.path().join("innkeeper.toml"), b"instance = \"\xff\"\n").expect("it is written");
    let (code, _, err) = run("innkeeper", directory.path(), &["check-config"], &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("innkeeper.toml") && err.contains("UTF-8"), "{err}");
}

#[test]
fn an_alerter_that_does_not_exist_is_named() {
    for program in PROGRAMS {
        let nobody = "\noperator = [\"log\", \"oncall\"]\n";
        refused(program, nobody, &[], &[], &["innkeeper.toml:2", "operator", "oncall", "[alerter.oncall]"]);
        let unreachable = "operator = [\"ops@example.org\"]\n";
        refused(program, unreachable, &[], &[], &["innkeeper.toml:1", "ops@example.org", "smtp"]);
        let by_name = "operator = [\"mail\"]\n[alerter.mail]\nkind = \"smtp\"\nhost = \"mx.example.org\"\nfrom = \"inn@example.org\"\n";
        refused(program, by_name, &[], &[], &["innkeeper.toml:1", "operator", "write the mail address"]);
        let environment = [("INNKEEPER_ALERTER_OPS_URL", "https://example.org/hunter2")];
        refused(program, "", &environment, &[], &["INNKEEPER_ALERTER_OPS_URL"]);
    }
}

#[test]
fn an_open_listener_stays_on_this_machine_unless_that_is_wanted() {
    for (program, section) in [("innkeeper", "ingest"), ("ingest", "ingest"), ("web", "web")] {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:10.0.0.1]:80"] {
            let text = format!("[{section}]\nlisten = \"{address}\"\n");
            refused(
                program,
                &text,
                &[],
                &[],
                &["innkeeper.toml:2", &format!("{section}.listen"), "allow_open = true"],
            );
            refused(program, "", &[], &["--listen", address], &["--listen", "allow_open = true"]);
        }
        let other = if section == "web" { "ingest" } else { "web" };
        let text = format!(
            "allow_open = true\n[{section}]\nlisten = \"0.0.0.0:0\"\n[{other}]\nlisten = \"127.0.0.1:0\"\n\
             [database]\nurl = \"sqlite://innkeeper.db\"\n"
        );
        let mut server = Server::start(program, &text, &[]);
        let port = server.address().port();
        assert_eq!(Client::default().get(&format!("http://127.0.0.1:{port}/healthcheck")).status, 200);
        assert_eq!(server.terminate(PATIENCE).code(), Some(0), "{program}");
    }
    // It listens nowhere, so where others listen is not its business.
    let directory = configured("[ingest]\nlisten = \"0.0.0.0:80\"\n[web]\nlisten = \"0.0.0.0:81\"\n");
    assert_eq!(run("sweeper", directory.path(), &["check-config"], &[]).0, Some(0));
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let directory =
        configured("instance = \"file\"\n[ingest]\nlisten = \"127.0.0.1:1001\"\n[history]\nkeep_days = 7\n");
    let shown = |arguments: &[&str], environment: &[(&str, &str)]| {
        let arguments = [&["check-config"], arguments].concat();
        let (code, out, err) = run("ingest", directory.path(), &arguments, environment);
        assert_eq!(code, Some(0), "{err}");
        out
    };
    let environment = [
        ("INNKEEPER_INSTANCE", "environment"),
        ("INNKEEPER_INGEST_LISTEN", "127.0.0.1:1002"),
        ("INNKEEPER_DATABASE_URL", "postgres://inn:hunter2@db/environment"),
        ("INNKEEPER_DATABASE_POOL_SIZE", "3"),
        ("INNKEEPER_HISTORY_KEEP_DAYS", ""),
    ];
    let file = shown(&[], &[]);
    assert!(file.contains("file") && file.contains("127.0.0.1:1001") && file.contains("7 days"), "{file}");
    let over = shown(&[], &environment);
    for part in ["environment", "127.0.0.1:1002", "postgres://inn:…@db/environment (at most 3", "7 days"] {
        assert!(over.contains(part), "{part}: {over}");
    }
    let flags = shown(
        &["--listen", "127.0.0.1:1003", "--database-url", "sqlite://flag.db", "--data-dir", "/flag"],
        &environment,
    );
    for part in ["environment", "127.0.0.1:1003", "sqlite:///flag/flag.db"] {
        assert!(flags.contains(part), "{part}: {flags}");
    }
    // A misspelt variable is not silently without effect.
    refused("ingest", "", &[("INNKEEPER_INGEST_LISEN", "127.0.0.1:1")], &[], &["INNKEEPER_INGEST_LISEN"]);
    refused("web", "", &[("INNKEEPER_WEB_LISTEN", "nowhere")], &[], &["INNKEEPER_WEB_LISTEN", "web.listen"]);
}
