//! Tests the mail loop with a real mail server: it finds its mail, and otherwise reports what is wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::{Duration, Instant};

use innkeeper_system::mail::{ADDRESS, MailServer, PASSWORD};
use innkeeper_testing::client::Client;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::Server;

const PATIENCE: Duration = Duration::from_secs(60);

fn config(mail: &MailServer, sink: &HttpSink, password: &str) -> String {
    let ca = mail.ca_file().display().to_string();
    format!(
        "operator = [\"hook\"]
[ingest]
listen = \"127.0.0.1:0\"
workers = 1
[alerter.hook]
kind = \"webhook\"
url = \"{}\"
[alerter.mail]
kind = \"smtp\"
host = \"localhost\"
port = {}
from = \"{ADDRESS}\"
ca_file = \"{ca}\"
[mail_loop]
host = \"localhost\"
port = {}
ca_file = \"{ca}\"
username = \"{ADDRESS}\"
password = \"{password}\"
to = \"{ADDRESS}\"
folders = [\"INBOX\", \"Trash\"]
every = \"2s\"
within = \"4s\"
",
        sink.url("/hook"),
        mail.smtp_port,
        mail.imap_port
    )
}

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Subject and text of the operator's messages since the last call.
fn told(sink: &HttpSink, seen: &mut usize) -> Vec<(String, String)> {
    let requests = sink.requests();
    let new = requests[*seen..]
        .iter()
        .map(|request| {
            let body = request.json();
            let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
            (text("subject"), text("text"))
        })
        .collect();
    *seen = requests.len();
    new
}

fn answer(server: &Server) -> String {
    let answer = Client::default().get(&server.url("/peer"));
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    body["answer"].as_str().unwrap().to_owned()
}

#[test]
fn it_finds_its_mail_and_says_what_is_wrong_where_it_does_not() {
    let mut mail = MailServer::start();
    let sink = HttpSink::start();
    let mut seen = 0;
    let mut expect = |subject: &str, text: &str| {
        wait_until(subject, || sink.requests().len() > seen);
        let all = told(&sink, &mut seen);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].0.contains(subject) && all[0].1.contains(text), "{all:?}, not {subject}: {text}");
    };
    let inn = Server::start("innkeeper", &config(&mail, &sink, PASSWORD), &[]);
    wait_until("a round has gone well", || mail.logs().contains("status=sent"));
    wait_until("the mail is removed", || mail.count() == 0);
    assert_eq!(answer(&inn), "ok");

    mail.stop_dovecot();
    expect("Mail is broken: mailbox unreadable", "cannot be read");
    assert_eq!(answer(&inn), "mail problem");
    mail.start_dovecot();
    expect("Mail works again", "");
    assert_eq!(answer(&inn), "ok");

    mail.lose_mails(true);
    expect("Mail is broken: lost", "it is not there");
    assert_eq!(answer(&inn), "mail problem");
    mail.lose_mails(false);
    expect("Mail works again", "");
    drop(inn);

    let inn = Server::start("innkeeper", &config(&mail, &sink, "wrong"), &[]);
    expect("Mail is broken: mailbox unreadable", "refuses the login");
    assert!(!inn.log().contains(PASSWORD) && !inn.log().contains("\"wrong\""));
    assert_eq!(answer(&inn), "mail problem");
}
