//! Analyses the command of a crontab line: where its input begins, which words it has, and what monitors it already.

use std::iter::Peekable;
use std::str::Chars;

use serde::Serialize;

/// Offset of the first unescaped `%`, at which cron ends the command and begins its input.
pub fn input_at(command: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in command.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'%' => return at,
            _ => {}
        }
    }
    command.len()
}

/// The command without its input, for people and for names.
pub fn shown(command: &[u8], has_input: bool) -> String {
    let text = if has_input { &command[..input_at(command)] } else { command };
    let text = String::from_utf8_lossy(text).trim().to_owned();
    if has_input { text.replace("\\%", "%") } else { text }
}

/// Whether the text is a program's path with arguments that no shell would interpret.
pub fn is_plain(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:=@,+- ".contains(byte);
    let program = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    text.first() == Some(&b'/')
        && text.iter().all(fits)
        && !program.contains(&b'=')
        && !text.windows(2).any(|two| two == b" =")
}

/// The words of a simple command, without quotes.
pub type Words = Vec<String>;

/// Splits a script into its simple commands. Only roughly, as far as a name requires.
pub fn simple_commands(text: &str) -> Vec<Words> {
    let mut commands = vec![Words::new()];
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let ends = matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')');
        if ends {
            if let (Some(word), Some(command)) = (word.take(), commands.last_mut()) {
                command.push(word);
            }
            if !matches!(c, ' ' | '\t' | '\r') {
                commands.push(Words::new());
            }
            continue;
        }
        if c == '#' && word.is_none() {
            break;
        }
        let word = word.get_or_insert_default();
        match c {
            '\'' => word.extend(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => double_quoted(&mut chars, word),
            '\\' => word.extend(chars.next()),
            // A redirection such as `2>&1` or `>file` names no program.
            '>' | '<' => {
                word.push(c);
                if chars.next_if_eq(&'&').is_some() {
                    word.push('&');
                }
            }
            _ => word.push(c),
        }
    }
    if let (Some(word), Some(command)) = (word, commands.last_mut()) {
        command.push(word);
    }
    commands.retain(|command| !command.is_empty());
    commands
}

fn double_quoted(chars: &mut Peekable<Chars<'_>>, word: &mut String) {
    while let Some(c) = chars.next() {
        match c {
            '"' => return,
            '\\' => word.extend(chars.next()),
            _ => word.push(c),
        }
    }
}

/// What monitors a job already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchedBy {
    /// Nothing.
    No,
    /// This agent, through a change made by `discover`.
    Discover,
    /// This agent, through a line that somebody wrote by hand.
    ByHand,
    /// Another monitor, with its name.
    Other(&'static str),
}

const OTHERS: [(&str, &str); 14] = [
    ("hc-ping.com", "Healthchecks"),
    ("healthchecks.io", "Healthchecks"),
    ("runitor ", "runitor"),
    ("task-mon ", "task-mon"),
    ("cronitor exec", "cronitor"),
    ("cronitor ping", "cronitor"),
    ("cronitor.link", "cronitor"),
    ("cronitor.io", "cronitor"),
    ("sentry-cli monitors", "Sentry"),
    ("nosnch.in", "Dead Man's Snitch"),
    ("heartbeat.uptimerobot.com", "UptimeRobot"),
    ("uptime.betterstack.com/api", "Better Stack"),
    ("jobmon ", "jobmon"),
    ("/ping/", "a ping address"),
];

/// What monitors this command. If this agent does through a handwritten line, also the two names of its reservation.
pub fn watched(command: &str) -> (WatchedBy, Option<(String, String)>) {
    if let Some(names) = by_hand(command) {
        return (WatchedBy::ByHand, names);
    }
    let is_named =
        |(sign, _): &&(&str, &str)| command.contains(sign) && (*sign != "/ping/" || command.contains("http"));
    (OTHERS.iter().find(is_named).map_or(WatchedBy::No, |(_, name)| WatchedBy::Other(name)), None)
}

/// The reservation of an `innkeeper-agent exec` in this command. The inner option is none if its names cannot be
/// found.
fn by_hand(command: &str) -> Option<Option<(String, String)>> {
    const WITHOUT_VALUE: [&str; 8] =
        ["--kill", "--lock", "--lock-fail", "--quiet-unless-fail", "--no-output", "--verbose", "-v", "exec"];
    for words in simple_commands(command) {
        let agent = words.iter().position(|word| word.rsplit('/').next() == Some("innkeeper-agent"));
        let Some(agent) = agent.filter(|agent| words[agent + 1..].iter().any(|word| word == "exec")) else {
            continue;
        };
        let mut rest = words[agent + 1..].iter().take_while(|word| *word != "--");
        while let Some(word) = rest.next() {
            if !word.starts_with('-') {
                if let Some((app, component)) = word.split_once('/') {
                    return Some(Some((app.to_owned(), component.to_owned())));
                }
            } else if !word.contains('=') && !WITHOUT_VALUE.contains(&word.as_str()) {
                rest.next();
            }
        }
        return Some(None);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_input_begins() {
        for (command, text) in [
            ("cat%a%b", "cat"),
            ("date +\\%F", "date +\\%F"),
            ("date +\\%F%x", "date +\\%F"),
            ("echo \\\\%x", "echo \\\\"),
            ("echo '%'", "echo '"),
            ("%", ""),
            ("a\\", "a\\"),
        ] {
            assert_eq!(&command[..input_at(command.as_bytes())], text);
        }
        assert_eq!(shown(b" date +\\%F%x ", true), "date +%F");
    }

    #[test]
    fn what_is_plain() {
        for plain in ["/bin/x", "/bin/x --all=1 a@b:c -n 3  two", "/a.b-c_d"] {
            assert!(is_plain(plain.as_bytes()), "{plain}");
        }
        for other in [
            "x", "cd /", "/a b;c", "/a $B", "/a ~", "/a *", "/a 'b'", "/a >b", "/a%b", "/a\\ b", "/a=b c",
            "/a =b", "A=b /c", "/a {b,c}", "/a\tb", "/a !b", "/ä", "/a #b", "",
        ] {
            assert!(!is_plain(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn simple_commands_of_a_script() {
        let commands = simple_commands("cd '/a b' && X=1 ./run \"q\\\"r\" 2>&1 | tee x; (y) # z");
        assert_eq!(
            commands,
            [vec!["cd", "/a b"], vec!["X=1", "./run", "q\"r", "2>&1"], vec!["tee", "x"], vec!["y"]]
        );
        assert!(simple_commands(" ; ").is_empty());
    }

    #[test]
    fn who_watches() {
        let names =
            |app: &str, component: &str| (WatchedBy::ByHand, Some((app.to_owned(), component.to_owned())));
        assert_eq!(watched("/usr/bin/innkeeper-agent exec shop/a -- /b"), names("shop", "a"));
        assert_eq!(
            watched("innkeeper-agent -v exec --every 1d --kill 'my shop/a' -- b"),
            names("my shop", "a")
        );
        assert_eq!(watched("cd /x && innkeeper-agent exec a/b -- c"), names("a", "b"));
        assert_eq!(watched("innkeeper-agent exec --ping https://h/ping/1 -- b"), (WatchedBy::ByHand, None));
        assert_eq!(watched("innkeeper-agent probe --once").0, WatchedBy::No);
        assert_eq!(watched("a && curl -fsS https://hc-ping.com/x").0, WatchedBy::Other("Healthchecks"));
        assert_eq!(watched("wget https://inn.example/ping/1").0, WatchedBy::Other("a ping address"));
        assert_eq!(watched("/opt/ping/x").0, WatchedBy::No);
    }
}
