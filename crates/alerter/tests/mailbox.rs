//! The mailbox that the mail loop looks into: what it takes for an answer.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use innkeeper_alerter::Mailbox;
use innkeeper_core::secret::Secret;
use innkeeper_testing::certificates::Authority;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// All that a look asks, answered: the greeting, the login, the folder, the search, the removal.
const ANSWERS: [&str; 6] = [
    "* OK hello\r\n",
    "a1 OK welcome\r\n",
    "* 1 EXISTS\r\n* 0 RECENT\r\na2 OK selected\r\n",
    "* SEARCH 7\r\na3 OK searched\r\n",
    "a4 OK marked\r\n",
    "* 1 EXPUNGE\r\na5 OK gone\r\n",
];

/// A server that says all of `before` in plain text, and then answers over TLS that there is no mail.
fn server(config: Arc<ServerConfig>, before: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(before.as_bytes()).unwrap();
        // An error is the client's end of the connection.
        let _ = converse(stream, config);
    });
    port
}

fn converse(mut stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut connection = ServerConnection::new(config).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    stream.get_mut().write_all(b"* OK hello\r\n")?;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        let tag = line.split(' ').next().unwrap_or_default();
        let answer = match line.contains("SEARCH") {
            true => format!("* SEARCH\r\n{tag} OK done\r\n"),
            false => format!("{tag} OK done\r\n"),
        };
        stream.get_mut().write_all(answer.as_bytes())?;
        line.clear();
    }
    stream.read_to_end(&mut Vec::new()).map(|_| ())
}

fn look(port: u16, ca_file: &PathBuf) -> Result<bool, String> {
    let password = Secret::new("hunter2");
    let mailbox = Mailbox::new(("localhost", port), true, Some(ca_file), "inn", &password).unwrap();
    mailbox.take(&["INBOX".to_owned()], "token")
}

#[test]
fn a_mail_that_is_said_to_be_there_before_the_handshake_has_not_come() {
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    let authority = Authority::new();
    authority.write_to(&ca_file);
    assert_eq!(look(server(authority.server(&["localhost"]), ""), &ca_file), Ok(false));
    let lies: &'static str = ANSWERS.concat().leak();
    for before in ["* OK hello\r\n", lies] {
        let found = look(server(authority.server(&["localhost"]), before), &ca_file);
        assert!(found.is_err(), "{found:?}");
    }
}
