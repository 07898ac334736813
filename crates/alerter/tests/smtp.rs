//! Real conversations with a mail server, over TLS and without, and all the ways in which they fail.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use innkeeper_alerter::{Alerter, Sent};
use innkeeper_core::notice::EventKind;
use innkeeper_testing::certificates::{Authority, self_signed};
use innkeeper_testing::smtp_sink::{Reply, SmtpSink, Step};

/// An authority, and its certificate in a file.
struct Trust {
    authority: Authority,
    directory: tempfile::TempDir,
}

impl Trust {
    fn new() -> Self {
        let trust = Self { authority: Authority::new(), directory: tempfile::tempdir().unwrap() };
        trust.authority.write_to(&trust.file());
        trust
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn starttls(&self) -> SmtpSink {
        SmtpSink::starttls(self.authority.server(&["localhost"]))
    }
}

/// An alerter to `sink`, trusting the authority in `ca_file`.
fn over_tls(sink: &SmtpSink, ca_file: &Path, extra: &str) -> Box<dyn Alerter> {
    build(&format!(
        "kind = 'smtp'\nhost = 'localhost'\nport = {}\nfrom = 'Innkeeper <innkeeper@example.org>'\nca_file = '{}'\ntimeout = '10s'\n{extra}",
        sink.port(),
        ca_file.display()
    ))
}

fn mail_opened(alerter: &dyn Alerter, key: &str) -> Sent {
    mail_to(alerter, "ops@example.com", &[notice(EventKind::Opened, "backup")], key)
}

#[test]
fn mail_goes_over_starttls_and_over_tls_with_a_log_in() {
    let trust = Trust::new();
    let login = "username = 'user'\npassword = 'pässword'";
    let implicit = || SmtpSink::implicit(trust.authority.server(&["localhost"]));
    for mechanisms in ["PLAIN LOGIN", "LOGIN"] {
        for (sink, tls) in [(trust.starttls(), "starttls"), (implicit(), "implicit")] {
            let sink = sink.with_login("user", "pässword").with_mechanisms(mechanisms);
            let alerter = over_tls(&sink, &trust.file(), &format!("{login}\ntls = '{tls}'"));
            assert_eq!(mail_opened(alerter.as_ref(), "delivery-1"), Sent::Delivered);
            let mail = &sink.mails()[0];
            assert_eq!(mail.from, "innkeeper@example.org");
            assert_eq!(mail.to, ["ops@example.com"]);
            assert_eq!(mail.user.as_deref(), Some("user"));
            assert!(mail.encrypted);
        }
    }
}

#[test]
fn a_server_that_cannot_be_trusted_gets_nothing() {
    let trust = Trust::new();
    let stranger = Trust::new();
    let sink = trust.starttls();
    let untrusting = over_tls(&sink, &stranger.file(), "");
    let (_, maybe_sent, problem) = retryable(mail_opened(untrusting.as_ref(), "k"));
    assert!(!maybe_sent, "{problem}");

    let misnamed = SmtpSink::starttls(trust.authority.server(&["mail.example.org"]));
    let alerter = over_tls(&misnamed, &trust.file(), "");
    assert!(!retryable(mail_opened(alerter.as_ref(), "k")).1);

    // A server without STARTTLS, or somebody between who hides it.
    let bare = SmtpSink::plain();
    let alerter = over_tls(&bare, &trust.file(), "");
    let (_, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
    assert!(!maybe_sent && problem.contains("STARTTLS is not supported"), "{problem}");

    for sink in [sink, misnamed, bare] {
        assert!(sink.mails().is_empty());
    }
}

#[test]
fn a_certificate_that_is_refused_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.pem");
    let as_authority = SmtpSink::starttls(self_signed(&["localhost"], true, &file));
    let problem = retryable(mail_opened(over_tls(&as_authority, &file, "").as_ref(), "k")).2;
    assert!(problem.contains("certificate of an authority") && problem.contains("CA:FALSE"), "{problem}");

    let by_itself = SmtpSink::starttls(self_signed(&["localhost"], false, &file));
    assert_eq!(mail_opened(over_tls(&by_itself, &file, "").as_ref(), "k"), Sent::Delivered);

    let stranger = Trust::new();
    let problem = retryable(mail_opened(over_tls(&by_itself, &stranger.file(), "").as_ref(), "k")).2;
    assert!(problem.contains("ca_file") && problem.contains("no authority"), "{problem}");
}

#[test]
fn what_is_said_before_the_handshake_counts_for_nothing() {
    let trust = Trust::new();
    // Somebody between answers in plain text, before the handshake, all that will be asked after it.
    let hello = ["250-mail.example.org", "250 8BITMIME"];
    let login = ["235 2.7.0 welcome"];
    let mail = ["250 2.1.0 ok", "250 2.1.5 ok", "354 go on", "250 2.0.0 taken"];
    for (extra, lies) in [
        ("", [&hello[..], &mail].concat()),
        ("username = 'u'\npassword = 'p'", [&hello[..], &login, &mail].concat()),
    ] {
        let sink = trust.starttls().with_injected(Step::StartTls, &lies);
        sink.always(Step::Sender, Some(Reply::say("550 5.1.8 not from you")));
        let alerter = over_tls(&sink, &trust.file(), extra);
        let (_, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
        assert!(!maybe_sent && problem.contains("more than it was asked"), "{problem}");
        assert!(sink.mails().is_empty());
    }
    // An answer to STARTTLS that came before it was asked, and one for each line after.
    for lies in [vec!["220 go on"], [&["220 go on"][..], &hello, &mail].concat()] {
        let sink = trust.starttls().with_injected(Step::Hello, &lies);
        let alerter = over_tls(&sink, &trust.file(), "");
        let (_, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
        assert!(!maybe_sent && problem.contains("more than it was asked"), "{problem}");
        assert!(sink.mails().is_empty());
    }
}

#[test]
fn an_answer_out_of_turn_is_no_success() {
    for (step, line) in [
        (Step::Connect, "354 go on"),
        (Step::Sender, "354 go on"),
        (Step::Recipient, "354 go on"),
        (Step::Data, "250 ok"),
        (Step::End, "354 go on"),
        (Step::Sender, "hello"),
        (Step::Sender, "250 ok\r\n250 ok"),
        (Step::End, "199 hm"),
    ] {
        let sink = SmtpSink::plain();
        sink.always(step, Some(Reply::say(line)));
        let alerter = plain_smtp_within(&sink, "2s");
        let (_, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
        assert_eq!(maybe_sent, step == Step::End, "{step:?} {line}: {problem}");
    }
}

#[test]
fn what_is_refused_for_good_is_permanent_and_spoils_nothing_for_the_next() {
    let sink = SmtpSink::plain();
    let alerter = plain_smtp(&sink);
    let refusals = [
        (Step::Recipient, "550 5.1.1 no such user"),
        (Step::Recipient, "553 mailbox name not allowed"),
        (Step::Recipient, "554 this user does not have an account here"),
        // No enhanced code, though it looks like one.
        (Step::Recipient, "550 unknown here, says 10.5.7.1"),
        (Step::Data, "554 5.5.1 no valid recipients"),
        (Step::End, "550 5.2.1 mailbox disabled"),
        (Step::End, "552 5.2.2 mailbox full"),
        (Step::End, "554 transaction failed"),
        (Step::End, "554 5.7.1 looks like spam"),
        (Step::End, "550 5.7.1 looks like spam"),
    ];
    for (step, line) in refusals {
        sink.next(step, Reply::say(line));
        let problem = permanent(mail_opened(alerter.as_ref(), "k"));
        assert!(problem.contains(&line[..3]), "{problem}");
        assert_eq!(mail_opened(alerter.as_ref(), "k2"), Sent::Delivered);
    }
    assert_eq!(sink.connections(), 1);
    assert_eq!(sink.mails().len(), refusals.len());
}

#[test]
fn what_an_operator_can_mend_is_tried_again() {
    let sink = SmtpSink::plain();
    let alerter = plain_smtp(&sink);
    for (step, line) in [
        (Step::Connect, "554 5.7.1 you are on a list"),
        (Step::Hello, "550 who are you"),
        (Step::Sender, "550 5.7.1 sender not allowed"),
        (Step::Sender, "530 5.7.0 log in first"),
        (Step::Recipient, "554 5.7.1 relay access denied"),
        (Step::Recipient, "550 5.7.1 relaying denied"),
        (Step::Data, "503 5.5.1 bad sequence of commands"),
        (Step::End, "530 5.7.0 log in first"),
        (Step::Recipient, "450 4.2.1 greylisted"),
        (Step::Recipient, "451 4.3.0 try later"),
        (Step::Sender, "452 4.3.1 disk full"),
        (Step::End, "451 4.3.0 try later"),
        (Step::End, "421 4.3.2 going down"),
    ] {
        sink.hang_up();
        sink.next(step, Reply::say(line));
        let (after, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
        assert_eq!((after, maybe_sent), (None, false), "{step:?} {problem}");
        assert!(problem.contains(&line[..3]), "{problem}");
    }
    assert!(sink.mails().is_empty());
}

#[test]
fn a_refused_log_in_is_tried_again() {
    let trust = Trust::new();
    let sink = trust.starttls().with_login("user", "right");
    let alerter = over_tls(&sink, &trust.file(), "username = 'user'\npassword = 'wrong'");
    let (_, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
    assert!(!maybe_sent && problem.contains("535"), "{problem}");
    let nobody = over_tls(&sink, &trust.file(), "");
    assert!(retryable(mail_opened(nobody.as_ref(), "k")).2.contains("530"));
}

#[test]
fn silence_is_maybe_sent_only_after_the_message() {
    let tell = |step, maybe, reply: Reply, timeout| {
        let sink = SmtpSink::plain();
        sink.next(step, reply.clone());
        let alerter = plain_smtp_within(&sink, timeout);
        let (after, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
        assert_eq!((after, maybe_sent), (None, maybe), "{step:?} {reply:?}: {problem}");
    };
    std::thread::scope(|scope| {
        for (step, maybe) in [
            (Step::Connect, false),
            (Step::Hello, false),
            (Step::Sender, false),
            (Step::Recipient, false),
            (Step::Data, false),
            (Step::End, true),
        ] {
            scope.spawn(move || tell(step, maybe, Reply::Hang, "1s"));
            scope.spawn(move || tell(step, maybe, Reply::Cut, "10s"));
        }
    });
    let alerter = build(&format!(
        "kind = 'smtp'\nhost = '127.0.0.1'\nport = {}\ntls = 'none'\nfrom = 'a@example.org'",
        nowhere().rsplit(':').next().unwrap()
    ));
    assert!(!retryable(mail_opened(alerter.as_ref(), "k")).1);
}

#[test]
fn a_server_that_says_a_little_again_and_again_holds_nobody_beyond_the_timeout() {
    let tell = |step, what: &'static str| {
        let sink = SmtpSink::plain();
        sink.next(step, Reply::Drip(what));
        let alerter = plain_smtp_within(&sink, "3s");
        let begun = Instant::now();
        let (_, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
        assert!(begun.elapsed() < Duration::from_secs(30), "{step:?} {what:?}: {:?}", begun.elapsed());
        assert_eq!(maybe_sent, step == Step::End, "{step:?} {what:?}");
        assert!(problem.contains("no answer in time"), "{problem}");
    };
    std::thread::scope(|scope| {
        for step in [Step::Connect, Step::Hello, Step::Sender, Step::Recipient, Step::Data, Step::End] {
            for what in ["2", "250-wait\r\n"] {
                scope.spawn(move || tell(step, what));
            }
        }
        for before in [None, Some(["220 sink", "250 STARTTLS", "220 go on"])] {
            scope.spawn(move || handshake_drips(before));
        }
    });
}

/// A handshake that begins and goes on byte by byte: at once, or after these answers.
fn handshake_drips(before: Option<[&'static str; 3]>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for line in before.iter().flatten() {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            if line.starts_with("220 go") {
                break;
            }
            assert!(stream.read(&mut [0; 200]).unwrap() > 0, "nothing was answered to {line}");
        }
        // The beginning of a record of 16 KiB with a ServerHello.
        let record = [0x16, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc, 3, 3].into_iter().chain(std::iter::repeat(0));
        for byte in record {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let tls = if before.is_some() { "starttls" } else { "implicit" };
    let alerter = build(&format!(
        "kind = 'smtp'\nhost = 'localhost'\nport = {port}\ntls = '{tls}'\nfrom = 'a@example.org'\ntimeout = '3s'"
    ));
    let begun = Instant::now();
    let (_, maybe_sent, problem) = retryable(mail_opened(alerter.as_ref(), "k"));
    assert!(begun.elapsed() < Duration::from_secs(30), "{tls}: {:?}", begun.elapsed());
    assert!(!maybe_sent && problem.contains("no answer in time"), "{tls}: {problem}");
}

#[test]
fn a_long_answer_is_read_to_its_end_and_cut() {
    for (step, length) in [(Step::Recipient, 2_000), (Step::End, 60_000)] {
        let sink = SmtpSink::plain();
        sink.next(step, Reply::say(&format!("550 5.1.1 {}", "no ".repeat(length / 3))));
        let alerter = plain_smtp(&sink);
        let problem = permanent(mail_opened(alerter.as_ref(), "k"));
        assert!(problem.contains("550 5.1.1 no no"), "{problem}");
        assert_eq!(mail_opened(alerter.as_ref(), "k2"), Sent::Delivered);
        assert_eq!(sink.connections(), 1, "nothing of it is taken for the next answer");
    }
    let sink = SmtpSink::plain();
    sink.next(Step::Recipient, Reply::say(&format!("550 {}", "x".repeat(200_000))));
    assert!(retryable(mail_opened(plain_smtp(&sink).as_ref(), "k")).2.contains("too long"));
}

#[test]
fn a_burst_shares_a_connection_and_a_dead_one_costs_nothing() {
    let trust = Trust::new();
    let sink = trust.starttls();
    let alerter = over_tls(&sink, &trust.file(), "");
    for n in 0..20 {
        assert_eq!(mail_opened(alerter.as_ref(), &format!("k{n}")), Sent::Delivered);
    }
    assert_eq!(sink.connections(), 1);
    sink.hang_up();
    assert_eq!(mail_opened(alerter.as_ref(), "after"), Sent::Delivered);
    sink.next(Step::Sender, Reply::say("421 4.4.2 idle for too long"));
    assert_eq!(mail_opened(alerter.as_ref(), "later"), Sent::Delivered);
    assert_eq!(sink.connections(), 3);
    assert_eq!(sink.mails().len(), 22);
}

#[test]
fn several_threads_send_at_once() {
    let sink = SmtpSink::plain();
    let alerter = plain_smtp(&sink);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let alerter = &alerter;
            scope.spawn(move || {
                for n in 0..10 {
                    assert_eq!(mail_opened(alerter.as_ref(), &format!("{thread}-{n}")), Sent::Delivered);
                }
            });
        }
    });
    assert_eq!(sink.wait_for(80, Duration::from_secs(5)).len(), 80);
}

#[test]
fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    let sink = SmtpSink::plain();
    let problem = permanent(mail_to(
        plain_smtp(&sink).as_ref(),
        "jörg@example.com",
        &[notice(EventKind::Opened, "backup")],
        "k",
    ));
    assert!(problem.contains("SMTPUTF8"), "{problem}");
}

#[test]
fn link_local_and_metadata_addresses_are_refused() {
    let with = |host: &str, extra: &str| {
        format!(
            "kind = 'smtp'\nhost = '{host}'\nfrom = 'a@example.org'\ntls = 'none'\ntimeout = '1s'\n{extra}"
        )
    };
    for host in ["169.254.169.254", "[fe80::1]", "fe80::1%eth0", "0xa9fea9fe", "metadata.google.internal"] {
        let error = build_error(&with(host, ""));
        assert!(error.contains("host") && error.contains("allow_link_local = true"), "{host}: {error}");
        let _ = build(&with(host, "allow_link_local = true"));
    }
}

#[test]
fn mail_without_an_address_is_refused() {
    let sink = SmtpSink::plain();
    assert!(permanent(send_opened(plain_smtp(&sink).as_ref())).contains("address"));
}
