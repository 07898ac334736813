//! Parses a crontab line by line, by the rules of this machine's cron. Positions are byte offsets, so that a change
//! leaves all other bytes untouched.

use std::collections::BTreeMap;
use std::ops::Range;

use super::environment::setting;
use super::fields::{FieldCursor, Times};
use super::machine::Cron;

/// The kind of a table, which determines whether its lines name a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrontabForm {
    /// A user's own table.
    User {
        /// The user's name.
        name: String,
        /// Whether the user is root.
        is_root: bool,
    },
    /// `/etc/crontab` or a file in `/etc/cron.d`. Each line names its user.
    System,
}

/// When a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rhythm {
    /// When the machine or cron starts.
    Reboot,
    /// A nickname such as `@daily`.
    Nickname(&'static str),
    /// At the times of the five fields.
    Times(Box<Times>),
}

/// A job of a crontab.
#[derive(Debug, Clone)]
pub struct CronJob {
    /// Line number, from 1.
    pub line: usize,
    /// Byte range of the command with its input, without leading blanks.
    pub command: Range<usize>,
    /// Number of leading blanks that cron counts as part of the command.
    pub before: usize,
    /// When the job runs.
    pub rhythm: Rhythm,
    /// The user that runs the job.
    pub user: String,
    /// The variables that the lines above have set.
    pub environment: BTreeMap<String, String>,
}

/// A parsed table.
#[derive(Debug, Default)]
pub struct Crontab {
    /// The jobs.
    pub jobs: Vec<CronJob>,
    /// Lines that cron does not accept: their number, from 1, and the reason.
    pub problems: Vec<(usize, String)>,
    /// Why cron ignores the whole table.
    pub broken: Option<String>,
}

const NICKNAMES: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
/// Longest command that Debian's cron accepts, in bytes.
const LONGEST_OF_DEBIAN: usize = 998;
/// Most lines that Debian's cron accepts.
const MOST_LINES: usize = 10_000;

/// The lines of a file: number, offset, text without the line end, and whether there was a line end.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, usize, &[u8], bool)> {
    let mut at = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').enumerate().map(move |(index, line)| {
        let start = at;
        at += line.len();
        match line.strip_suffix(b"\n") {
            Some(text) => (index + 1, start, text, true),
            None => (index + 1, start, line, false),
        }
    })
}

/// Parses a table. `knows_user` says whether a user exists.
pub fn read(bytes: &[u8], form: &CrontabForm, cron: Cron, knows_user: &dyn Fn(&str) -> bool) -> Crontab {
    let mut table = Crontab::default();
    let mut environment = BTreeMap::new();
    for (number, start, line, has_end) in lines(bytes) {
        let first = line.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
        let text = &line[first..];
        if text.is_empty() || text[0] == b'#' {
            continue;
        }
        if !has_end {
            let problem = "the last line has no end (a newline is missing)".to_owned();
            refuse(&mut table, number, problem, cron);
            continue;
        }
        if let Some((name, value)) = setting(text, cron) {
            environment.insert(name, value);
            continue;
        }
        match job(line, first, form, cron, knows_user) {
            Ok(None) => table.problems.push((number, "it has no command".to_owned())),
            Ok(Some((rhythm, user, blanks, command))) => table.jobs.push(CronJob {
                line: number,
                command: start + command..start + line.len(),
                before: command - blanks,
                rhythm,
                user,
                environment: environment.clone(),
            }),
            Err(problem) => refuse(&mut table, number, problem, cron),
        }
    }
    if cron == Cron::Debian && bytes.iter().filter(|byte| **byte == b'\n').count() > MOST_LINES {
        table.broken = Some(format!("it has more than {MOST_LINES} lines"));
    }
    table
}

/// Debian's cron ignores the whole file if one line is invalid.
fn refuse(table: &mut Crontab, line: usize, problem: String, cron: Cron) {
    if cron == Cron::Debian && table.broken.is_none() {
        table.broken = Some(format!("line {line}: {problem}"));
    }
    table.problems.push((line, problem));
}

type Parsed = (Rhythm, String, usize, usize);

fn job(
    line: &[u8],
    first: usize,
    form: &CrontabForm,
    cron: Cron,
    knows_user: &dyn Fn(&str) -> bool,
) -> Result<Option<Parsed>, String> {
    let mut cursor = FieldCursor::new(line, first);
    if cron == Cron::Cronie && line[first] == b'-' {
        if matches!(form, CrontabForm::User { is_root: false, .. }) {
            return Err("only root's lines may begin with -".to_owned());
        }
        cursor = FieldCursor::new(line, first + 1);
    }
    let rhythm = if line.get(cursor.at()) == Some(&b'@') {
        let word = cursor.word();
        let name = NICKNAMES.iter().find(|name| name.as_bytes() == word);
        let rhythm = match name {
            _ if word == b"@reboot" => Rhythm::Reboot,
            Some(name) => Rhythm::Nickname(name),
            None => return Err(format!("{:?} is no time that cron knows", String::from_utf8_lossy(word))),
        };
        cursor.skip_blanks();
        rhythm
    } else {
        Rhythm::Times(Box::new(Times::read(&mut cursor, cron)?))
    };
    let is_star = |cursor: &FieldCursor<'_>| line.get(cursor.at()) == Some(&b'*');
    let mut blanks = cursor.at();
    let user = match form {
        _ if is_star(&cursor) => return Err("a sixth field begins with *; cron has five".to_owned()),
        CrontabForm::User { name, .. } => name.clone(),
        CrontabForm::System => {
            let user = String::from_utf8_lossy(cursor.word()).into_owned();
            // The blank that ends the user's name does not belong to the command.
            blanks = (cursor.at() + 1).min(line.len());
            cursor.skip_blanks();
            if user.is_empty() {
                return Err("it names neither a user nor a command".to_owned());
            }
            if !knows_user(&user) {
                return Err(format!(
                    "{user:?}, at the place of the user's name, is not a user of this machine"
                ));
            }
            user
        }
    };
    // The option `-n` (mail only after a failure) precedes the command.
    if cron == Cron::Cronie && line.get(cursor.at()) == Some(&b'-') {
        let option = cursor.word();
        if option != b"-n" {
            return Err(format!("{:?} is no option that cronie knows", String::from_utf8_lossy(option)));
        }
        cursor.skip_blanks();
        blanks = cursor.at();
        if line.get(blanks) == Some(&b'-') {
            return Err("a command does not begin with -".to_owned());
        }
    }
    if cron == Cron::Debian && line.len() - blanks > LONGEST_OF_DEBIAN {
        return Err(format!("its command is longer than {LONGEST_OF_DEBIAN} bytes"));
    }
    let is_empty = line[cursor.at()..].is_empty();
    let ends_with_user = line.last().is_some_and(|last| !matches!(last, b' ' | b'\t'));
    if is_empty && (cron != Cron::Debian || (*form == CrontabForm::System && ends_with_user)) {
        return Err("it has no command".to_owned());
    }
    // Debian's cron accepts an empty command and does nothing.
    Ok((!is_empty).then(|| (rhythm, user, blanks, cursor.at())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> CrontabForm {
        CrontabForm::User { name: name.to_owned(), is_root: name == "root" }
    }

    fn commands(text: &str, form: &CrontabForm, cron: Cron) -> Vec<(usize, String, String)> {
        let table = read(text.as_bytes(), form, cron, &|name| name != "nobody2");
        let command =
            |job: &CronJob| String::from_utf8_lossy(&text.as_bytes()[job.command.clone()]).into_owned();
        table.jobs.iter().map(|job| (job.line, job.user.clone(), command(job))).collect()
    }

    fn found(line: usize, user: &str, command: &str) -> (usize, String, String) {
        (line, user.to_owned(), command.to_owned())
    }

    #[test]
    fn lines_of_every_kind() {
        let text = "# 0 1 * * * not this\n\n  \t# nor this\nFOO = a b c d e f\n \t0 2 * * *  \tcd /x && y \n\
                    @daily\t/z%in\n@reboot /r\n*/5 * * * * A=b c\n0 5 * * * 7 /seven\n";
        let expected = [
            found(5, "ada", "cd /x && y "),
            found(6, "ada", "/z%in"),
            found(7, "ada", "/r"),
            found(8, "ada", "A=b c"),
            found(9, "ada", "7 /seven"),
        ];
        for cron in [Cron::Debian, Cron::Cronie, Cron::SystemdCron, Cron::Other] {
            assert_eq!(commands(text, &user("ada"), cron), expected, "{cron:?}");
        }
    }

    #[test]
    fn the_user_stands_where_the_file_says() {
        let text = "0 2 * * * backup /x\n@hourly root\t-n /y\n";
        assert_eq!(
            commands(text, &CrontabForm::System, Cron::Debian),
            [found(1, "backup", "/x"), found(2, "root", "-n /y")]
        );
        assert_eq!(commands(text, &CrontabForm::System, Cron::Cronie)[1], found(2, "root", "/y"));
        assert_eq!(commands(text, &user("ada"), Cron::Debian)[0], found(1, "ada", "backup /x"));
    }

    #[test]
    fn prefixes_of_cronie() {
        let text = "-*/5 * * * * root -n  /x\n";
        assert_eq!(commands(text, &CrontabForm::System, Cron::Cronie), [found(1, "root", "/x")]);
        assert_eq!(commands("-@daily /x\n", &user("root"), Cron::Cronie), [found(1, "root", "/x")]);
        assert!(commands("-@daily /x\n", &user("ada"), Cron::Cronie).is_empty());
        assert!(commands(text, &CrontabForm::System, Cron::Debian).is_empty());
    }

    #[test]
    fn what_is_set_counts_for_the_lines_below() {
        let text = "0 1 * * * a\nSHELL=/bin/bash\n0 2 * * * b\nSHELL=/bin/dash\n0 3 * * * c\n";
        let table = read(text.as_bytes(), &user("ada"), Cron::Debian, &|_| true);
        let shells: Vec<Option<&str>> =
            table.jobs.iter().map(|job| job.environment.get("SHELL").map(String::as_str)).collect();
        assert_eq!(shells, [None, Some("/bin/bash"), Some("/bin/dash")]);
    }

    #[test]
    fn one_bad_line_breaks_the_file_for_debian_alone() {
        for (text, line) in [
            ("0 1 * * * a\n0 25 * * * b\n0 3 * * * c\n", 2),
            ("0 1 * * * a\nMAILTO=\n0 3 * * * c\n", 2),
            ("0 1 * * * a\n0 3 * * * c\n@noon b\n", 3),
            ("0 1 * * * a\n0 3 * * * c\n0 4 * * * * d\n", 3),
            ("0 1 * * * a\n0 3 * * * c\n0 4 * *\n", 3),
            ("0 1 * * * a\n0 3 * * * c\n0 4 * * * no newline", 3),
            ("0 1 * * * a\n0 3 * * * c\n\"A=b\" x\n", 3),
        ] {
            let table = read(text.as_bytes(), &user("ada"), Cron::Debian, &|_| true);
            assert!(table.broken.as_ref().unwrap().starts_with(&format!("line {line}: ")), "{text}");
            let table = read(text.as_bytes(), &user("ada"), Cron::Cronie, &|_| true);
            assert_eq!(table.broken, None);
            assert_eq!(table.jobs.len(), 2, "{text}");
            assert_eq!(table.problems.len(), usize::from(!text.contains("MAILTO")), "{text}");
        }
        let unknown =
            read(b"0 1 * * * nobody2 a\n", &CrontabForm::System, Cron::Debian, &|name| name != "nobody2");
        assert!(unknown.broken.unwrap().contains("\"nobody2\""));
        let longest = format!("0 1 * * * root \t{}\n", "x".repeat(997));
        assert_eq!(read(longest.as_bytes(), &CrontabForm::System, Cron::Debian, &|_| true).jobs[0].before, 1);
        let long = format!("0 1 * * * root \t{}\n", "x".repeat(998));
        assert!(read(long.as_bytes(), &CrontabForm::System, Cron::Debian, &|_| true).broken.is_some());
        let long = format!("0 1 * * * {}\n", "x".repeat(999));
        assert!(read(long.as_bytes(), &user("a"), Cron::Debian, &|_| true).broken.unwrap().contains("998"));
        assert_eq!(read(long.as_bytes(), &user("a"), Cron::Cronie, &|_| true).jobs.len(), 1);
    }

    #[test]
    fn a_line_without_a_command() {
        for (text, form, breaks) in [
            ("0 4 * * *\n", user("ada"), false),
            ("@daily\n", user("ada"), false),
            ("0 4 * * * root \n", CrontabForm::System, false),
            ("0 4 * * * root\n", CrontabForm::System, true),
            ("0 4 * * *\n", CrontabForm::System, true),
        ] {
            let table = read(text.as_bytes(), &form, Cron::Debian, &|_| true);
            assert_eq!(
                (table.jobs.len(), table.problems.len(), table.broken.is_some()),
                (0, 1, breaks),
                "{text}"
            );
            let table = read(text.as_bytes(), &form, Cron::Cronie, &|_| true);
            assert_eq!((table.jobs.len(), table.problems.len()), (0, 1), "{text}");
        }
    }

    #[test]
    fn whatever_a_file_holds_it_is_read() {
        for bytes in
            [&b""[..], b"\n", b"\xff\xfe\0\n", b"0 2 * * * \xff\xfe\n", b"@", b"-\n", b"* *\n", b"\r\n"]
        {
            for cron in [Cron::Debian, Cron::Cronie] {
                read(bytes, &user("ada"), cron, &|_| true);
                read(bytes, &CrontabForm::System, cron, &|_| true);
            }
        }
    }
}
