//! The first start with authentication: every way to log in is announced, and works.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::path::Path;

use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{self, Server};

const CONFIG: &str = "auth = \"tokens\"\noperator = [\"log\"]\n[ingest]\nworkers = 1\n";

fn page(url: &str) -> Response {
    let answer = Client::default().send("GET", url, &[("accept", "text/html")], b"").unwrap();
    assert_eq!(answer.status, 200, "{url}: {answer:?}");
    answer
}

/// What a command of `program` prints, over this database.
fn command(program: &str, directory: &Path, database: &TestDatabase, words: &[&str]) -> String {
    let mut command = process::command(program, directory);
    let output = command.args(words).args(["--database-url", database.url()]).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn links(text: &str) -> Vec<String> {
    text.split_whitespace().filter(|word| word.contains("/setup/")).map(str::to_owned).collect()
}

#[test]
fn the_login_says_where_the_first_link_is() {
    let database = TestDatabase::sqlite();
    let over = ["--listen", "127.0.0.1:0", "--database-url", database.url()];
    let server = Server::start("innkeeper", CONFIG, &over);
    server.wait_for_log("/setup/");
    let sent = Client::default().send("GET", &server.url("/"), &[("accept", "text/html")], b"").unwrap();
    assert_eq!(sent.header("location"), Some("/login?next=%2F"), "{sent:?}");
    let login = page(&server.url("/login")).body;
    for said in ["there is no admin", "innkeeper invite NAME --role admin", "journalctl"] {
        assert!(login.contains(said), "{said}: {login}");
    }
    assert!(!server.log().contains("is open"), "{}", server.log());
    let [link] = &links(&server.log())[..] else { panic!("{}", server.log()) };
    assert!(link.starts_with(&server.url("/setup/")), "{link}");

    // Once there is an admin, strangers are told nothing of it.
    let form = page(link);
    let cookie = form.header("set-cookie").unwrap().split(';').next().unwrap();
    let csrf = form.body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let body = format!("csrf={csrf}&name=ada&password=correct+horse&again=correct+horse");
    let answer = Client::default().send("POST", link, &[("cookie", cookie)], body.as_bytes()).unwrap();
    assert_eq!(answer.status, 303, "{answer:?}");
    assert!(!page(&server.url("/login")).body.contains("no admin"));
}

#[test]
fn the_links_of_a_split_deployment_lead_to_web() {
    let database = TestDatabase::postgres();
    let config = |section: &str, listen: &str| format!("{CONFIG}[{section}]\nlisten = \"{listen}\"\n");
    let over = ["--database-url", database.url()];
    let listening = [&over[..], &["--listen", "127.0.0.1:0"]].concat();
    let ingest = Server::start("ingest", CONFIG, &listening);
    let sweeper = Server::start("sweeper", CONFIG, &over);
    let web = Server::start("web", CONFIG, &listening);
    web.wait_for_log("/setup/");
    ingest.address();
    assert_eq!(links(&ingest.log()).len() + links(&sweeper.log()).len(), 0);
    let [link] = &links(&web.log())[..] else { panic!("{}", web.log()) };
    assert!(link.starts_with(&web.url("/setup/")), "{link}");
    assert!(page(link).body.contains("The first admin"));

    // Each program knows the commands, and where web is: by what it says of itself, else by the configuration.
    common::eventually("web's address", || {
        database.text("SELECT address FROM nodes WHERE role = 'web' AND address <> ''")
    });
    for (number, program) in ["web", "ingest", "sweeper", "innkeeper"].into_iter().enumerate() {
        let said = command(program, web.directory(), &database, &["invite", program, "--role", "viewer"]);
        let [link] = &links(&said)[..] else { panic!("{program}: {said}") };
        assert!(link.starts_with(&web.url("/setup/")), "{program}: {link}");
        assert!(page(link).body.contains(&format!("Choose a password, {program}")), "{program}");

        let name = format!("token-{number}");
        let token = command(
            program,
            web.directory(),
            &database,
            &["token", &name, "--scope", "read", "--app", "shop"],
        );
        let shown = format!("Bearer {}", token.trim());
        let me =
            Client::default().send("GET", &web.url("/api/v1/me"), &[("authorization", &shown)], b"").unwrap();
        assert!(me.status == 200 && me.body.contains("\"shop\"") && !me.body.contains("manage"), "{me:?}");
    }
    let mut again = process::command("sweeper", web.directory());
    let again = again.args(["token", "token-0"]).args(over).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is a token token-0 already"), "{again:?}");
    drop(web);
    database.execute("DELETE FROM nodes");
    let directory = tempfile::tempdir().unwrap();
    for program in ["web", "ingest", "sweeper"] {
        std::fs::write(directory.path().join("innkeeper.toml"), config("web", "127.0.0.1:8099")).unwrap();
        let said = command(program, directory.path(), &database, &["invite", "eve"]);
        assert!(said.contains("http://127.0.0.1:8099/setup/"), "{program}: {said}");
    }
}
