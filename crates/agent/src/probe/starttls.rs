//! How a plain connection is upgraded to TLS in each protocol.

use super::attempt::ProbeAttempt;
use super::lines::{MOST_LINES, Stream, code_answer, line, read, refused, say, write};
use super::network::{Network, Wire};
use super::outcome::{Failure, Phase};

/// A protocol that begins without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartTls {
    Smtp,
    Imap,
    Pop3,
    Ftp,
    Postgres,
}

impl StartTls {
    pub(crate) const WORDS: [(&str, Option<Self>); 5] = [
        ("smtp", Some(Self::Smtp)),
        ("imap", Some(Self::Imap)),
        ("pop3", Some(Self::Pop3)),
        ("ftp", Some(Self::Ftp)),
        ("postgres", Some(Self::Postgres)),
    ];

    /// The default port of the protocol.
    pub(crate) fn usual_port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Imap => 143,
            Self::Pop3 => 110,
            Self::Ftp => 21,
            Self::Postgres => 5432,
        }
    }

    /// Requests the upgrade. Returns when the server has agreed.
    pub(crate) fn ask(
        self,
        mut wire: Wire,
        network: &Network,
        attempt: &mut ProbeAttempt,
    ) -> Result<Wire, Failure> {
        attempt.phase(Phase::Tls, &network.limits, |bound| {
            wire.bound = *bound;
            match self {
                Self::Smtp => smtp(&mut wire),
                Self::Imap => imap(&mut wire),
                Self::Pop3 => simple(&mut wire, "+OK", "STLS", "+OK"),
                Self::Ftp => ftp(&mut wire),
                Self::Postgres => match postgres(&mut wire)? {
                    true => Ok(()),
                    false => Err(Failure::critical("the server does not offer TLS (Postgres: ssl is off)")),
                },
            }?;
            Ok(wire)
        })
    }
}

fn smtp(wire: &mut Wire) -> Result<(), Failure> {
    code_answer(wire, 220, "no greeting of SMTP")?;
    say(wire, "EHLO innkeeper-agent.invalid")?;
    let offered = code_answer(wire, 250, "EHLO was refused")?;
    if !offered.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS")) {
        return Err(Failure::critical("the server does not offer STARTTLS"));
    }
    say(wire, "STARTTLS")?;
    code_answer(wire, 220, "STARTTLS was refused").map(drop)
}

fn ftp(wire: &mut Wire) -> Result<(), Failure> {
    code_answer(wire, 220, "no greeting of FTP")?;
    say(wire, "AUTH TLS")?;
    code_answer(wire, 234, "AUTH TLS was refused").map(drop)
}

fn simple(wire: &mut Wire, greeting: &str, command: &str, yes: &str) -> Result<(), Failure> {
    let greeted = line(wire)?;
    if !greeted.starts_with(greeting) {
        return Err(refused("no greeting", &greeted));
    }
    say(wire, command)?;
    let answer = line(wire)?;
    if answer.starts_with(yes) { Ok(()) } else { Err(refused(&format!("{command} was refused"), &answer)) }
}

fn imap(wire: &mut Wire) -> Result<(), Failure> {
    let greeted = line(wire)?;
    if !greeted.starts_with("* OK") && !greeted.starts_with("* PREAUTH") {
        return Err(refused("no greeting of IMAP", &greeted));
    }
    say(wire, "a1 STARTTLS")?;
    for _ in 0..MOST_LINES {
        let answer = line(wire)?;
        match answer.strip_prefix("a1 ") {
            Some(said) if said.starts_with("OK") => return Ok(()),
            Some(_) => return Err(refused("STARTTLS was refused", &answer)),
            None => {}
        }
    }
    Err(Failure::critical("the server sends too many lines before its answer"))
}

/// Requests TLS from a Postgres server. Returns whether it agreed.
pub(crate) fn postgres(wire: &mut impl Stream) -> Result<bool, Failure> {
    // The length of the message and the code of SSLRequest.
    let request = [8_u32.to_be_bytes(), 80_877_103_u32.to_be_bytes()].concat();
    write(wire, &request)?;
    let mut answer = [0];
    read(wire, &mut answer)?;
    match answer[0] {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // Very old servers, or one that cannot fork because it is overloaded.
        b'E' => Err(Failure::critical("Postgres answered with an error")),
        other => {
            Err(Failure::critical(format!("what answers is not Postgres (its first byte is {other:#04x})")))
        }
    }
}
