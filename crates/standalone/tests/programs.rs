//! The four programs from the outside: their help and versions, their subcommands, their secrets, and their errors.

mod common;

use std::fs::{self, File};

use common::eventually;
use common::programs::{PROGRAMS, SECRET, configured, refused, run};
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{Server, command};

#[test]
fn each_program_says_what_it_is() {
    let directory = configured("");
    for program in PROGRAMS {
        for flag in ["--version", "-V"] {
            let (code, out, err) = run(program, directory.path(), &[flag], &[]);
            let version = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
            assert_eq!((code, out, err.as_str()), (Some(0), version, ""), "{program}");
        }
        for flag in ["--help", "-h", "help"] {
            let (code, out, _) =
                run(program, directory.path(), &[flag], &[("INNKEEPER_DATABASE_URL", SECRET)]);
            assert_eq!(code, Some(0), "{program} {flag}");
            for part in
                ["--config <FILE>", "--database-url <URL>", "--data-dir <DIR>", "migrate", "check-config"]
            {
                assert!(out.contains(part), "{program} {flag} does not say {part}: {out}");
            }
            assert_eq!(out.contains("--listen"), program != "sweeper", "{program}: {out}");
            assert!(!out.contains(SECRET), "{out}");
        }
        let (code, _, err) = run(program, directory.path(), &["--lisen"], &[]);
        assert_eq!(code, Some(2), "{program}: {err}");
    }
}

#[test]
fn every_program_migrates() {
    let directory = configured("");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres");
    let applied = format!("is up to date; applied {}:", std::fs::read_dir(folder).unwrap().count());
    for (program, database) in
        PROGRAMS.iter().flat_map(|program| TestDatabase::both().map(|it| (program, it)))
    {
        let arguments = ["migrate", "--database-url", database.url()];
        for said in [applied.as_str(), "was up to date"] {
            let (code, out, err) = run(program, directory.path(), &arguments, &[]);
            assert_eq!(code, Some(0), "{program}: {err}");
            assert!(out.contains(said), "{program}: {out}");
            assert_eq!(database.count("reservations"), 0);
        }
    }
}

#[test]
fn a_good_configuration_is_shown_without_secrets() {
    let text = "instance = \"night\"\noperator = [\"ops\", \"ops@example.org\"]\n\
                [database]\nurl = \"postgres://inn:hunter2@db.example.org/inn?sslpassword=hunter2\"\n\
                [alerter.mail]\nkind = \"smtp\"\nhost = \"smtp.example.org\"\nfrom = \"inn@example.org\"\nusername = \"inn\"\n\
                password = \"hunter2\"\n\
                [alerter.ops]\nkind = \"webhook\"\nurl = \"https://example.org/hunter2\"\nsecret = \"hunter2\"\n\
                headers = { Authorization = \"Bearer hunter2\" }\n\
                [alerter.oncall]\nkind = \"pagerduty\"\nrouting_key = \"0123456789abcdef0123456789hunter2\"\n\
                [alerter.chat]\nkind = \"slack\"\nurl = \"https://hooks.example.org/hunter2\"\n";
    let directory = configured(text);
    for program in PROGRAMS {
        let (code, out, err) =
            run(program, directory.path(), &["check-config"], &[("INNKEEPER_LOG", "trace")]);
        assert_eq!(code, Some(0), "{program}: {err}");
        for part in
            ["night", "postgres://inn:…@db.example.org/inn", "alerter oncall", "The configuration is good."]
        {
            assert!(out.contains(part), "{program} does not say {part}: {out}");
        }
        assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
    }
}

#[test]
fn secrets_come_from_files() {
    let database = TestDatabase::postgres();
    let directory = configured(
        "[database]\nurl_file = \"url\"\n[alerter.ops]\nkind = \"webhook\"\nurl_file = \"hook\"\nsecret_file = \"secret\"\n",
    );
    for (file, secret) in
        [("url", database.url()), ("hook", "https://example.org/hunter2"), ("secret", SECRET)]
    {
        fs::write(directory.path().join(file), format!("{secret}\n")).expect("it is written");
    }
    for program in PROGRAMS {
        let (code, out, err) = run(program, directory.path(), &["check-config"], &[]);
        assert_eq!(code, Some(0), "{program}: {err}");
        assert!(!out.contains(SECRET), "{out}");
    }
    assert_eq!(run("web", directory.path(), &["migrate"], &[]).0, Some(0));
    assert_eq!(database.count("reservations"), 0);

    fs::remove_file(directory.path().join("secret")).expect("it is removed");
    let (code, _, err) = run("sweeper", directory.path(), &["check-config"], &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains("secret_file") && err.contains("ops"), "{err}");
    refused("innkeeper", "[database]\nurl_file = \"nowhere\"\n", &[], &[], &["database.url_file", "nowhere"]);
    let twice = "[database]\nurl = \"postgres://inn:hunter2@db/inn\"\nurl_file = \"x\"\n";
    refused("innkeeper", twice, &[], &[], &["innkeeper.toml", "url_file"]);
}

#[test]
fn a_password_appears_in_no_log() {
    // Nobody listens on port 1, so each program waits and says so, at every level of its log.
    let directory = configured("[ingest]\nlisten = \"127.0.0.1:0\"\n[web]\nlisten = \"127.0.0.1:0\"\n");
    for program in PROGRAMS {
        let file = directory.path().join(program);
        let log = File::create(&file).expect("a file");
        let mut child = command(program, directory.path())
            .env("INNKEEPER_LOG", "trace")
            .env(
                "INNKEEPER_DATABASE_URL",
                format!("postgres://inn:{SECRET}@127.0.0.1:1/inn?connect_timeout=2"),
            )
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let said = eventually("that it waits", || {
            let said = fs::read_to_string(&file).ok()?;
            said.contains("the database does not answer").then_some(said)
        });
        assert!(child.try_wait().expect("its state").is_none(), "{program} waits: {said}");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let said = fs::read_to_string(&file).expect("its log");
        assert!(!said.contains(SECRET), "{program}: {said}");
    }
}

#[test]
fn a_service_that_shares_its_database_wants_to_know_where_it_is() {
    let directory = configured("");
    let starts: [(&str, &[&str]); 5] = [
        ("ingest", &[]),
        ("web", &[]),
        ("sweeper", &[]),
        ("sweeper", &["--summary"]),
        ("ingest", &["migrate"]),
    ];
    for (program, arguments) in starts {
        let (code, _, err) = run(program, directory.path(), arguments, &[]);
        assert_eq!(code, Some(1), "{program} {arguments:?}: {err}");
        assert!(err.contains("database.url: is not set") && err.contains("postgres://"), "{program}: {err}");
    }
    let (code, out, _) = run("ingest", directory.path(), &["check-config"], &[]);
    assert!(code == Some(0) && out.contains("A start would be refused: database.url"), "{out}");
    assert!(!directory.path().join("innkeeper-data").exists(), "no empty file is left behind");
    let file = format!("sqlite://{}", directory.path().join("own.db").display());
    let (code, _, err) = run("sweeper", directory.path(), &["--summary", "--database-url", &file], &[]);
    assert_eq!(code, Some(0), "a file that somebody names is taken: {err}");
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    for database in TestDatabase::both() {
        database.store();
        database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001')");
        let directory = configured("");
        for program in PROGRAMS {
            let (code, _, err) = run(program, directory.path(), &["--database-url", database.url()], &[]);
            assert_eq!(code, Some(1), "{program}: {err}");
            assert!(err.contains("newer version of Innkeeper"), "{program}: {err}");
            let arguments = ["--database-url", database.url(), "check-config"];
            let (code, out, err) = run(program, directory.path(), &arguments, &[]);
            let said = "A start would be refused: the database was made by a newer version of Innkeeper";
            assert!(code == Some(0) && out.contains(said), "{program}: {out}{err}");
            assert!(!out.contains("is good"), "{program}: {out}");
        }
    }
}

#[test]
fn what_cannot_be_had_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let directory = configured("");
    let url = "sqlite://innkeeper.db";
    for program in ["innkeeper", "ingest", "web"] {
        let arguments = ["--listen", &address, "--database-url", url];
        let (code, _, err) = run(program, directory.path(), &arguments, &[]);
        assert_eq!(code, Some(1), "{program}: {err}");
        let said = format!("innkeeper: cannot listen on {address}\n  because: ");
        assert!(err.lines().count() > 1 && err.contains(&format!("\n{said}")), "{program}: {err}");
    }
    for program in PROGRAMS {
        let arguments = ["--data-dir", "/dev/null/data", "--database-url", url];
        let (code, _, err) = run(program, directory.path(), &arguments, &[]);
        assert_eq!(code, Some(1), "{program}: {err}");
        assert!(err.contains("/dev/null/data"), "{program}: {err}");
    }
    fs::write(directory.path().join("no.db"), "this is no database, however long one looks at it")
        .expect("a file");
    let url = format!("sqlite://{}", directory.path().join("no.db").display());
    let (code, _, err) =
        run("innkeeper", directory.path(), &["--listen", "127.0.0.1:0", "--database-url", &url], &[]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("no.db") && !err.contains("panicked"), "{err}");
}

#[test]
fn one_command_says_where_it_is_and_what_to_do() {
    let server = Server::start("innkeeper", "", &["--listen", "127.0.0.1:0"]);
    let address = server.address();
    server.wait_for_log(&format!("Innkeeper listens at http://{address}"));
    server.wait_for_log("/checkin -d '");
    let data = server.directory().join("innkeeper-data/innkeeper.db");
    assert!(server.log().contains(&fs::canonicalize(&data).expect("it is there").display().to_string()));
    // What it says can be pasted.
    let log = server.log();
    for (path, field) in [("/reservation", "\"OK\""), ("/checkin", "\"success\":true")] {
        let (_, rest) = log.split_once(&format!("http://{address}{path} -d '")).expect("a line to paste");
        let body = rest.split_once('\'').expect("its end").0;
        let url = server.url(path);
        let answer = Client::default().send("POST", &url, &[], body.as_bytes()).expect("an answer");
        assert!(answer.status == 200 && answer.body.contains(field), "{answer:?}");
    }
}

#[test]
fn a_second_process_leaves_the_database_of_the_first_alone() {
    let config = "operator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\n";
    let server = Server::start("innkeeper", config, &[]);
    let client = Client::default();
    let reserve = |component: &str| {
        let body = serde_json::json!({ "app": "shop", "component": component, "notify": "", "frequency": 1, "time_units": "hours" });
        assert_eq!(client.post(&server.url("/reservation"), &body).status, 200);
    };
    reserve("before");
    // It closes the database as the last one would, were it the last.
    let (code, out, err) = run("sweeper", server.directory(), &["--summary"], &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    let log = server.directory().join("innkeeper-data/innkeeper.db-wal");
    assert!(log.exists(), "the log that the first process writes to was removed");
    reserve("after");
    let mut server = Server::start_in(server.into_directory(), "innkeeper", config, &[]);
    let all = client.get(&server.url("/reservation"));
    assert_eq!(all.json()["result"].as_array().map(Vec::len), Some(2), "{all:?}");
    server.terminate(innkeeper_testing::process::PATIENCE);
}

#[test]
fn a_shell_completes_every_command_line() {
    // Before anything is read: a configuration that cannot be used does not matter.
    let directory = configured("nonsense = true\n");
    for program in PROGRAMS.into_iter().chain(["innkeeper-agent"]) {
        for shell in ["bash", "fish", "zsh"] {
            let (code, out, err) = run(program, directory.path(), &["completions", shell], &[]);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{program} {shell}");
            assert!(
                out.contains(program) && out.contains("completions") && out.contains("config"),
                "{program} {shell}: {out}"
            );
        }
        let (_, script, _) = run(program, directory.path(), &["completions", "bash"], &[]);
        let file = directory.path().join("completions.bash");
        fs::write(&file, script).expect("a file");
        let checked = std::process::Command::new("bash").arg("-n").arg(&file).output().expect("bash");
        assert!(checked.status.success(), "{program}: {checked:?}");
        let (code, _, err) = run(program, directory.path(), &["completions", "cmd"], &[]);
        assert!(code != Some(0) && err.contains("bash"), "{program}: {err}");
    }
}

#[test]
fn the_summary_is_a_command_of_the_one_program_too() {
    let directory = configured("");
    let url = format!("sqlite://{}", directory.path().join("own.db").display());
    let summary = |program: &str, arguments: &[&str]| {
        let (code, out, err) = run(program, directory.path(), arguments, &[("INNKEEPER_DATABASE_URL", &url)]);
        assert_eq!(code, Some(0), "{program} {arguments:?}: {err}");
        out
    };
    // Their first line has the time.
    let body = |text: String| text.split_once('\n').map(|(_, body)| body.to_owned());
    let whole = summary("innkeeper", &["summary"]);
    assert!(whole.starts_with("innkeeper: summary of ") && whole.contains("Nothing is down."), "{whole}");
    assert_eq!(body(whole), body(summary("sweeper", &["--summary"])));
    assert!(summary("innkeeper", &["summary", "--json"]).starts_with('{'));
    let (_, help, _) = run("innkeeper", directory.path(), &["--help"], &[]);
    assert!(help.contains("summary ") && help.contains("Watches jobs"), "{help}");
}
