//! SIGHUP: a process reads its configuration again and goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::fs;
use std::time::Duration;

use common::{eventually, webhook};
use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{PATIENCE, Server};
use serde_json::{Value, json};

fn rewrite(server: &Server, config: &str) {
    // As a whole: a reload that was asked for before may be under way.
    let new = server.directory().join("innkeeper.toml.new");
    fs::write(&new, config).unwrap();
    fs::rename(&new, server.directory().join("innkeeper.toml")).unwrap();
    server.signal("HUP");
}

fn subjects(sink: &HttpSink) -> Vec<String> {
    sink.requests().iter().map(|request| request.json()["subject"].as_str().unwrap().to_owned()).collect()
}

fn post(server: &Server, path: &str, body: &Value) -> u16 {
    Client::default().post(&server.url(path), body).status
}

fn reservation(component: &str, notify: &str) -> Value {
    json!({ "app": "shop", "component": component, "notify": notify, "frequency": 1, "time_units": "hours" })
}

#[test]
fn alerters_operator_and_log_change_at_once_and_a_bad_file_changes_nothing() {
    let (first, second) = (HttpSink::start(), HttpSink::start());
    let database = TestDatabase::sqlite();
    let place = format!("[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n", database.url());
    let old = format!("operator = [\"ops\"]\n{place}{}", webhook("ops", &first));
    let server = Server::start("innkeeper", &old, &[]);
    server.address();
    assert_eq!(post(&server, "/reservation", &reservation("early", "ops")), 200);

    // The alerter leads elsewhere, another is new, and something that only a restart changes is there too.
    let secret = server.directory().join("secret");
    fs::write(&secret, "hunter2").unwrap();
    let new = format!(
        "operator = [\"more\"]\nlog = \"info,innkeeper_sweeper=debug\"\n{place}queue = 77\n{}{}secret_file = \"{}\"\n",
        webhook("ops", &second),
        webhook("more", &second),
        secret.display()
    );
    rewrite(&server, &new);
    server.wait_for_log("the configuration is read");
    for line in [
        "alerter.more.url changed",
        "alerter.ops.url changed",
        "log changed",
        "operator changed",
        "ingest.queue needs a restart",
    ] {
        assert!(server.log().contains(line), "{line}");
    }
    assert_eq!(post(&server, "/reservation", &reservation("late", "more")), 200);
    database.age(Duration::from_secs(3700));
    eventually("both alerts go where the new configuration says", || {
        (second.requests().len() >= 2).then_some(())
    });
    assert_eq!(subjects(&first), Vec::<String>::new());
    assert!(second.requests().iter().any(|request| request.header("innkeeper-signature").is_some()));

    // What cannot be used is refused with its line, in the log and to the operator, and nothing changes.
    rewrite(&server, &format!("operator = []\n{place}qeue = 5\n"));
    eventually("the operator hears of it", || {
        let told = |subject: &String| subject == "The new configuration is refused";
        subjects(&second).iter().any(told).then_some(())
    });
    assert!(
        server.log().contains("is refused: ./innkeeper.toml:6: ingest.qeue: unknown key"),
        "{}",
        server.log()
    );
    fs::write(&secret, "hunter3").unwrap();
    rewrite(&server, &new);
    eventually("the secret is read again", || {
        (server.log().matches("alerter.more.secret_file changed").count() == 2).then_some(())
    });
    fs::remove_file(&secret).unwrap();
    rewrite(&server, &new);
    server.wait_for_log("alerter.more.secret_file: ");
    for refusal in 2..6 {
        eventually("it is refused again", || {
            (server.log().matches("the configuration stays as it was").count() == refusal).then_some(())
        });
        server.signal("HUP");
    }
    // Whole at once: a reload may be under way.
    let whole = secret.with_extension("new");
    fs::write(&whole, "hunter2").unwrap();
    fs::rename(&whole, &secret).unwrap();
    rewrite(&server, &new);
    eventually("the operator hears of the end, each time", || {
        let told = |subject: &&String| *subject == "The new configuration is taken";
        (subjects(&second).iter().filter(told).count() == 1).then_some(())
    });
    let told = |subject: &&String| *subject == "The new configuration is refused";
    assert_eq!(subjects(&second).iter().filter(told).count(), 1, "further ones are gathered");
    assert_eq!(post(&server, "/checkin", &json!({ "app": "shop", "component": "late" })), 200);
    assert!(!server.log().contains("hunter"));

    // Who is told has changed by it: the audit log says what, each time something did, and no secret.
    let entry = |text: &str| {
        database.text(&format!("SELECT {text} FROM audit WHERE action = 'reload' ORDER BY id LIMIT 1"))
    };
    let first = entry("detail").unwrap();
    assert!(first.lines().any(|key| key == "alerter.ops.url") && first.contains("operator"), "{first}");
    assert!(!first.contains("ingest.queue"), "it waits for a restart: {first}");
    assert_eq!(entry("who || ' ' || subject").unwrap(), "configuration node standalone");
    eventually("each reload that changed something has its entry", || {
        (database.count("audit WHERE action = 'reload'") == 3).then_some(())
    });
    assert_eq!(database.count("audit WHERE detail LIKE '%hunter%'"), 0);
}

#[test]
fn a_process_that_waits_for_its_database_is_not_ended_by_it() {
    let nowhere = "[database]\nurl = \"postgres://innkeeper@127.0.0.1:1/none\"\n";
    for program in ["innkeeper", "ingest", "sweeper", "web"] {
        let mut server = Server::start(program, nowhere, &[]);
        server.wait_for_log("the database does not answer");
        server.signal("HUP");
        server.wait_for_log("the configuration is read");
        rewrite(&server, "no configuration");
        server.wait_for_log("the configuration stays as it was");
        assert!(!server.has_ended(), "{program}");
        assert!(server.terminate(PATIENCE).success(), "{program}");
    }
}

#[test]
fn roles_apart_follow_their_configuration_too() {
    let (first, second) = (HttpSink::start(), HttpSink::start());
    let database = TestDatabase::postgres();
    database.store();
    let config = |sink: &HttpSink, more: &str| {
        let place = format!("[database]\nurl = \"{}\"\n", database.url());
        let listen = "[ingest]\nlisten = \"127.0.0.1:0\"\n[web]\nlisten = \"127.0.0.1:0\"\n";
        format!("operator = [\"ops\"]\n{place}{listen}{}{more}", webhook("ops", sink))
    };
    let servers = ["ingest", "sweeper", "web"].map(|role| Server::start(role, &config(&first, ""), &[]));
    servers[0].address();
    servers[1].wait_for_log("watching over");
    servers[2].address();
    let new = config(&second, &webhook("more", &second));
    for server in &servers {
        rewrite(server, &new);
        server.wait_for_log("the configuration is read");
    }
    let settings = Client::default().get(&servers[2].url("/settings"));
    assert!(settings.body.contains("more"), "the pages know the new alerter");
    // Before that, a job that names it leads nowhere.
    eventually("the sweeper says that it has it", || {
        (database.count("ways WHERE alerters LIKE '%more%'") == 1).then_some(())
    });
    assert_eq!(post(&servers[0], "/reservation", &reservation("backup", "more")), 200);
    database.age(Duration::from_secs(3700));
    let told = second.wait_for(1, PATIENCE);
    assert_eq!(told[0].json()["alert"]["component"], "backup", "{told:?}");
    assert!(first.requests().is_empty());
}

#[test]
fn what_needs_a_restart_is_named_at_each_reload_until_it_is_taken_back() {
    const WAITING: [&str; 8] = [
        "instance",
        "public_url",
        "database.pool_size",
        "ingest.commit_timeout",
        "sweeper.lease",
        "sweeper.senders",
        "sweeper.summary",
        "heartbeat.url",
    ];
    let database = TestDatabase::sqlite();
    let place = format!(
        "operator = [\"log\"]\n[database]\nurl = \"{}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\n",
        database.url()
    );
    let server = Server::start("innkeeper", &place, &[]);
    server.address();
    let new = format!(
        "instance = \"other\"\npublic_url = \"https://other.example.org\"\n{}commit_timeout = \"7s\"\n\
         [sweeper]\nlease = \"61s\"\nsenders = 3\nsummary = \"0 9 * * 1\"\n[heartbeat]\nurl = \"https://example.org/beat\"\n",
        place.replace("[ingest]", "pool_size = 7\n[ingest]")
    );
    let named = |key: &str| server.log().matches(&format!("{key} needs a restart")).count();
    for reload in 1..=2 {
        rewrite(&server, &new);
        eventually("all of them are named", || WAITING.iter().all(|key| named(key) == reload).then_some(()));
    }
    rewrite(&server, &place);
    eventually("it is as it was at the start", || {
        (server.log().matches("the configuration is read").count() == 3).then_some(())
    });
    assert!(WAITING.iter().all(|key| named(key) == 2), "{}", server.log());
}
