//! The pages in a real browser. Each test starts Innkeeper and runs one script of `browser/` against it; what a script may use, and
//! what every page that it opens is watched for, stands in `browser/lib/`.
//!
//! A new test is a new script, and one line here.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[cfg(feature = "openid")]
#[path = "common/openid.rs"]
mod openid;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{self, Server};

/// With ways to tell people of which one answers nothing and one refuses, and a peer that is not there.
const CONFIG: &str = r#"
operator = ["log"]
[ingest]
listen = "127.0.0.1:0"
workers = 1
[alerter.gone]
kind = "webhook"
url = "http://127.0.0.1:9/x"
[alerter.refusing]
kind = "command"
command = ["/bin/sh", "-c", "cat >/dev/null; echo 'There is <b>no such</b> room.' >&2; exit 64"]
[peer.north]
url = "http://127.0.0.1:9/peer"
admin = ["log"]
every = "1s"
"#;

#[test]
fn every_page() {
    after_a_crash(|server| run("every-page", server));
}

#[test]
fn an_empty_inn() {
    run("empty", &fresh());
}

#[test]
fn names_and_notes_stay_text() {
    run("hostile-text", &fresh());
}

#[test]
fn a_thousand_are_paged_through() {
    run("paging", &fresh());
}

#[test]
fn a_page_left_open_stays_current() {
    run("live", &fresh());
}

#[test]
fn the_keyboard_is_enough() {
    run("keyboard", &fresh());
}

#[test]
fn pages_read_without_javascript() {
    run("without-javascript", &fresh());
}

#[test]
fn reservations_are_made_and_kept_by_forms() {
    run("forms", &fresh());
}

#[test]
fn the_forms_work_without_javascript() {
    run("forms-without-javascript", &fresh());
}

#[test]
fn pages_open_to_whoever_may() {
    behind_a_login("permissions", "");
}

#[test]
fn a_session_ends() {
    behind_a_login("session", "session = \"20s\"");
}

#[test]
fn an_account_is_kept_and_has_a_second_factor() {
    behind_a_login("account", "");
}

#[test]
fn a_page_whose_server_is_gone_says_so() {
    let server = fresh();
    run_with("gone", &server, &[&server.pid().to_string()]);
}

#[test]
fn a_failed_jobs_page_begins_with_the_end_of_its_output() {
    run("output", &fresh());
}

#[test]
fn dates_stand_beside_distances_in_a_zone_that_can_be_chosen() {
    run("zone", &fresh());
}

#[test]
fn a_page_of_what_was_checked_out_offers_the_way_back() {
    run("checked-out", &fresh());
}

/// At a name: passkeys are bound to one.
#[cfg(feature = "passkeys")]
#[test]
fn passkeys_are_a_second_factor() {
    let (url, server) = at_a_free_port(|port| {
        let url = format!("http://localhost:{port}");
        let config = format!("auth = \"tokens\"\npublic_url = \"{url}\"\n{CONFIG}");
        (url, config)
    });
    let path = first_admin(&server);
    run_at(&url, "passkeys", &[&path]);
}

#[cfg(feature = "openid")]
#[test]
fn a_provider_is_a_button_away() {
    // The provider is told where to send people back to before there is anything.
    let (providers, server) = at_a_free_port(|port| {
        let public = format!("http://127.0.0.1:{port}");
        let providers = openid::Providers::start(&format!("{public}/login/openid/callback"));
        let config = format!(
            "auth = \"tokens\"\npublic_url = \"{public}\"\n{CONFIG}\n[web.openid]\nissuer = \"{}\"\nclient_id = \"false\"\n\
             label = \"Log in with the house’s keys\"\nrole = \"admin\"\n",
            providers.fake
        );
        (providers, config)
    });
    run_with("openid", &server, &[&providers.fake]);
}

/// A server at a port that it has to know before. Another test may take that port meanwhile: then at another.
#[cfg(any(feature = "openid", feature = "passkeys"))]
fn at_a_free_port<T>(prepare: impl Fn(u16) -> (T, String)) -> (T, Server) {
    for _ in 0..10 {
        let port = innkeeper_testing::ports::free_port();
        let (prepared, config) = prepare(port);
        let config = config.replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
        let mut server = Server::start("innkeeper", &config, &[]);
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while !server.has_ended() {
            if server.log().contains("listening on http://") {
                return (prepared, server);
            }
            assert!(std::time::Instant::now() < end, "{}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(server.log().contains("Address already in use"), "{}", server.log());
    }
    panic!("no port stays free");
}

fn fresh() -> Server {
    Server::start("innkeeper", CONFIG, &[])
}

/// Runs `script` with a server that asks who is there. It is given the path at which the first admin is made.
fn behind_a_login(script: &str, web: &str) {
    let server = Server::start("innkeeper", &format!("auth = \"tokens\"\n{CONFIG}\n[web]\n{web}\n"), &[]);
    run_with(script, &server, &[&first_admin(&server)]);
}

/// The path at which the first admin is made.
fn first_admin(server: &Server) -> String {
    server.wait_for_log("\nMake a reservation");
    let log = server.log();
    let (_, link) = log.split_once("Make the first admin, within a day: ").unwrap();
    link[link.find("/setup/").unwrap()..link.find('\n').unwrap()].to_owned()
}

/// Runs `work` with a server that was gone for an hour after a crash: it shows a node that is silent, and a blind window.
fn after_a_crash(work: impl FnOnce(&Server)) {
    let database = TestDatabase::sqlite();
    let start = || Server::start("innkeeper", CONFIG, &["--database-url", database.url()]);
    let mut crashed = start();
    crashed.wait_for_log("this node is the coordinator now");
    crashed.kill();
    database.age_asleep(Duration::from_secs(3600));
    let long = "a-name-that-is-as-long-as-a-name-may-be-".repeat(3);
    let (long_name, long_app) = (&long[..100], format!("{long}{}", &long[..30]));
    for command in [
        &["token", "the shop's jobs", "--app", "shop", "--app", &long_app, "--expires-in", "90d"][..],
        &["token", long_name],
        &["invite", "vera"],
        &["invite", long_name, "--role", "admin"],
    ] {
        let mut program = process::command("innkeeper", crashed.directory());
        let output = program.args(["--database-url", database.url()]).args(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    work(&start());
}

/// Runs `browser/<script>.mjs` against `server`. It ends by itself, within minutes.
fn run(script: &str, server: &Server) {
    run_with(script, server, &[]);
}

/// The same, with what it is given beside the address.
fn run_with(script: &str, server: &Server, given: &[&str]) {
    run_at(&server.url(""), script, given);
}

/// The same at an address of one's own.
fn run_at(url: &str, script: &str, given: &[&str]) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(
        scripts.join("node_modules/playwright-core").exists()
            && scripts.join("node_modules/axe-core").exists(),
        "the browser tests' packages are missing: run scripts/test, or `npm ci` in {}",
        scripts.display()
    );
    let output = Command::new("node")
        .arg(scripts.join(format!("{script}.mjs")))
        .arg(url)
        .args(given)
        .env("INNKEEPER_SCREENSHOTS", screenshots())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("node cannot be run ({error}): run scripts/test, or install Node.js 18 or later")
        });
    // Through the test's own output, which is shown where the test fails.
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "browser/{script}.mjs: {}", output.status);
}

/// Where the pictures go: beside what else is built, unless `INNKEEPER_SCREENSHOTS` says otherwise.
fn screenshots() -> PathBuf {
    std::env::var_os("INNKEEPER_SCREENSHOTS").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(3).expect("tests lie in target/<profile>/deps").join("screenshots")
        },
        PathBuf::from,
    )
}
