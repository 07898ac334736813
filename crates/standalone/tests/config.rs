//! The configuration of the four programs: what is refused, with which error, and which layer overrides which.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::programs::{PROGRAMS, SECRET, configured, refused, run};
use innkeeper_testing::client::Client;
use innkeeper_testing::process::{PATIENCE, Server};
use tempfile::TempDir;

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
fn a_long_list_is_refused_at_once_with_its_count() {
    let list = |count: usize, entry: &dyn Fn(usize) -> String| {
        (0..count).map(|n| format!("  {:?},\n", entry(n))).collect::<String>()
    };
    let mails = list(100_000, &|n| format!("a{n}@example.org"));
    let networks = list(60_000, &|n| format!("10.{}.{}.0/24", n / 256, n % 256));
    let sections: String = (0..5000).map(|n| format!("[alerter.a{n}]\nkind = \"log\"\n")).collect();
    let unknown: String = (0..20_000).map(|n| format!("k{n} = 1\n")).collect();
    let cases = [
        (format!("operator = [\n{mails}]\n"), "innkeeper.toml:1: operator: has 100000 entries; at most 50"),
        (
            format!("\n[ingest]\ntrusted_proxies = [\n{networks}]\n"),
            "innkeeper.toml:3: ingest.trusted_proxies: has 60000 entries; at most 1000",
        ),
        (
            format!("[web]\nsign_on_proxies = [\n{networks}]\n"),
            "innkeeper.toml:2: web.sign_on_proxies: has 60000 entries; at most 1000",
        ),
        (
            format!("[peer.north]\nurl = \"http://127.0.0.1:1\"\nadmin = [\n{mails}]\n"),
            "innkeeper.toml:3: peer.north.admin: has 100000 entries; at most 50",
        ),
        (
            format!("[mail_loop]\nfolders = [\n{mails}]\n"),
            "innkeeper.toml:2: mail_loop.folders: has 100000 entries; at most 50",
        ),
        (
            format!("[alerter.x]\nkind = \"command\"\ncommand = [\n{mails}]\n"),
            "innkeeper.toml:3: alerter.x.command: has 100000 words; at most 1000",
        ),
        (sections, "innkeeper.toml:1: alerter: has 5000 sections; at most 200"),
        (unknown, "and 19980 more problems"),
        ("# a comment\n".repeat(800_000), "innkeeper.toml: it is larger than 8 MiB"),
    ];
    for (text, said) in cases {
        let directory = configured(&text);
        for arguments in [&["check-config"][..], &[]] {
            let begun = Instant::now();
            let (code, out, err) = run("innkeeper", directory.path(), arguments, &[]);
            assert_eq!((code, out.as_str()), (Some(1), ""), "{said}: {err}");
            assert!(err.contains(said), "{said}: {err}");
            // With the place of each entry counted from the beginning it took minutes.
            assert!(begun.elapsed() < Duration::from_secs(10), "{said}: {:?}", begun.elapsed());
        }
    }
}

#[test]
fn a_file_that_a_key_names_is_a_regular_one_and_small() {
    let large = TempDir::new().expect("a directory");
    let file = large.path().join("large");
    fs::File::create(&file).and_then(|file| file.set_len(1 << 33)).expect("a file with a hole");
    let large = file.to_str().expect("a path in UTF-8");
    let alerter = |kind: &str, rest: &str| format!("[alerter.x]\nkind = {kind:?}\n{rest}");
    let smtp = alerter("smtp", "host = \"mx\"\nfrom = \"inn@example.org\"\n");
    let login = format!("{smtp}username = \"inn\"\n");
    let hook = alerter("webhook", "url = \"https://example.org\"\n");
    let mail = "to = \"a@example.org\"\nusername = \"a\"\npassword = \"p\"\n";
    let cases = [
        ("[database]\n".to_owned(), "database.url_file"),
        ("[heartbeat]\n".to_owned(), "heartbeat.url_file"),
        ("[peer.north]\n".to_owned(), "peer.north.url_file"),
        ("[mail_loop]\n".to_owned(), "mail_loop.password_file"),
        (format!("{smtp}[mail_loop]\nhost = \"mx\"\n{mail}"), "mail_loop.ca_file"),
        (alerter("slack", ""), "alerter.x.url_file"),
        (alerter("webhook", ""), "alerter.x.url_file"),
        (hook.clone(), "alerter.x.secret_file"),
        (hook.clone(), "alerter.x.headers_file"),
        (hook, "alerter.x.ca_file"),
        (alerter("pagerduty", ""), "alerter.x.routing_key_file"),
        (login, "alerter.x.password_file"),
        (smtp, "alerter.x.ca_file"),
    ];
    for (section, key) in cases {
        let name = key.rsplit_once('.').expect("a key in a section").1;
        let line = section.lines().count() + 1;
        for (path, said) in
            [("/dev/zero", "give a regular file"), (large, "is larger than"), ("/tmp", "is a directory")]
        {
            let directory = configured(&format!("{section}{name} = {path:?}\n"));
            for arguments in [&["check-config"][..], &[]] {
                let begun = Instant::now();
                let (code, _, err) = run("innkeeper", directory.path(), arguments, &[]);
                let plain = key.strip_suffix("_file").expect("it ends so");
                let named = [key, plain].map(|key| format!("innkeeper.toml:{line}: {key}: "));
                assert_eq!(code, Some(1), "{key} {path} {arguments:?}: {err}");
                assert!(named.iter().any(|named| err.contains(named)), "{key} {path}: {err}");
                assert!(err.contains(said) && err.contains(path), "{key} {path}: {err}");
                assert!(begun.elapsed() < Duration::from_secs(10), "{key} {path}: {:?}", begun.elapsed());
            }
        }
    }
    refused("innkeeper", "", &[], &["--config", "/dev/zero"], &["/dev/zero", "larger than 8 MiB"]);
}

#[test]
fn what_is_found_wrong_after_the_reading_has_its_line_too() {
    let smtp = "[alerter.mail]\nkind = \"smtp\"\nhost = \"mx\"\nfrom = \"inn@example.org\"\n";
    for (text, said) in [
        (
            "[alerter.x]\nkind = \"slack\"\nurl = \"nothing\"\n".to_owned(),
            ":3: alerter.x.url: is not an address",
        ),
        ("\n[alerter.x]\nkind = \"slack\"\n".to_owned(), ":2: alerter.x.url: is missing"),
        (format!("{smtp}ca_file = \"/nowhere\"\n"), ":5: alerter.mail.ca_file: /nowhere"),
        ("[peer.a]\nurl = \"http://127.0.0.1\"\nadmin = [\"ghost\"]\n".to_owned(), ":3: peer.a.admin: ghost"),
        ("[peer.a]\nurl = \"nothing\"\n".to_owned(), ":2: peer.a.url: is not an address"),
        ("[heartbeat]\n\nurl = \"nothing\"\n".to_owned(), ":3: heartbeat.url: is not an address"),
        (
            "[heartbeat]\nurl = \"http://169.254.169.254/latest\"\n".to_owned(),
            ":2: heartbeat.url: is a link-local or cloud metadata address; give the address of a service",
        ),
        (
            "[heartbeat]\nurl = \"http://[64:ff9b:1::a9fe:a9fe]/\"\n".to_owned(),
            ":2: heartbeat.url: is a link-local or cloud metadata address",
        ),
        (
            "[heartbeat]\nurl = \"http://metadata.google.internal/computeMetadata/v1/\"\n".to_owned(),
            ":2: heartbeat.url: is a link-local or cloud metadata address",
        ),
        (
            "[peer.a]\nurl = \"http://[fd00:ec2::254]/peer\"\n".to_owned(),
            ":2: peer.a.url: is a link-local or cloud metadata address",
        ),
        (
            "[peer.a]\nurl = \"http://METADATA.google.internal.:80/peer\"\n".to_owned(),
            ":2: peer.a.url: is a link-local or cloud metadata address",
        ),
        (
            "[alerter.x]\nkind = \"webhook\"\nurl = \"http://metadata.google.internal/\"\n".to_owned(),
            ":3: alerter.x.url: is a link-local or cloud metadata address; set allow_link_local = true",
        ),
        (
            "[mail_loop]\nusername = \"a\"\npassword = \"p\"\nto = \"a@example.org\"\nhost = \"mx\"\n"
                .to_owned(),
            ":5: mail_loop: needs an alerter",
        ),
    ] {
        let directory = configured(&text);
        for arguments in [&["check-config"][..], &[]] {
            let (code, _, err) = run("innkeeper", directory.path(), arguments, &[]);
            assert_eq!(code, Some(1), "{text}: {err}");
            assert!(err.contains(&format!("innkeeper.toml{said}")), "{text} should say {said}: {err}");
        }
    }
    let directory = configured("\ndata_dir = \"/dev/null/data\"\n");
    let (code, _, err) = run("innkeeper", directory.path(), &[], &[]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("innkeeper.toml:2: data_dir: cannot make the directory"), "{err}");
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
