//! Chooses names for jobs. A name comes from the program and not from its place or times, so that it stays the same
//! if a line moves or gets other times. Arguments are left out because they may be secret, except a short lowercase
//! word after the program (`restic backup`), which says what the program does.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::command::{Words, simple_commands};

/// Longest generated name, in characters.
const LONGEST: usize = 40;

/// Commands that only prepare another command or test whether it should run.
const PREPARING: [&str; 20] = [
    "cd", "test", "[", "[[", ".", "source", "umask", "set", "ulimit", "export", "sleep", "true", ":", "exit",
    "unset", "which", "command", "trap", "echo", "printf",
];
/// Words of the shell that precede a command.
const KEYWORDS: [&str; 8] = ["if", "then", "else", "!", "{", "exec", "do", "while"];
/// Programs that run another program, with their options that take a value, and the number of words before that
/// program.
const RUNNERS: [(&str, &str, usize); 18] = [
    ("sudo", "ugChpRrtT", 0),
    ("doas", "uC", 0),
    ("env", "uCS", 0),
    ("nice", "n", 0),
    ("ionice", "cn", 0),
    ("chrt", "TPD", 1),
    ("flock", "wE", 1),
    ("timeout", "sk", 1),
    ("nohup", "", 0),
    ("setsid", "", 0),
    ("chronic", "", 0),
    ("cronic", "", 0),
    ("time", "", 0),
    ("run-one", "", 0),
    ("systemd-cat", "tp", 0),
    ("stdbuf", "ioe", 0),
    ("busybox", "", 0),
    ("runuser", "u", 0),
];
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ksh", "zsh", "su"];
const INTERPRETERS: [&str; 9] = ["python", "perl", "php", "ruby", "node", "java", "Rscript", "lua", "tclsh"];
const ENDINGS: [&str; 9] = [".sh", ".bash", ".py", ".pl", ".php", ".rb", ".js", ".jar", ".R"];

/// The name that a command suggests.
pub fn suggested(command: &str) -> String {
    let name = of_script(command, 3).unwrap_or_default();
    let slug = slug(&name);
    if slug.is_empty() { "job".to_owned() } else { slug }
}

/// Reduces a name to lowercase letters, digits, `.`, `_` and single `-`.
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' | '.' | '_' => slug.push(c),
            _ if !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    let slug: String = slug.trim_matches(['-', '.']).chars().take(LONGEST).collect();
    slug.trim_end_matches(['-', '.']).to_owned()
}

fn of_script(script: &str, depth: usize) -> Option<String> {
    let mut fallback = None;
    for words in simple_commands(script) {
        let Some(words) = without_runners(&words) else { continue };
        let program = base(words.first()?);
        if PREPARING.contains(&program) {
            fallback.get_or_insert_with(|| program.to_owned());
            continue;
        }
        if SHELLS.contains(&program) {
            let with_script = words.iter().position(|word| word.starts_with('-') && word.ends_with('c'));
            if let Some(inner) = with_script.and_then(|at| words.get(at + 1)).filter(|_| depth > 0) {
                return of_script(inner, depth - 1);
            }
            return Some(of_interpreter(words));
        }
        let bare = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        if INTERPRETERS.contains(&bare) {
            return Some(of_interpreter(words));
        }
        if program == "run-parts" {
            let directory = words[1..].iter().rev().find(|word| word.starts_with('/'));
            return Some(directory.map_or(program, |directory| base(directory)).to_owned());
        }
        return Some(with_subcommand(words));
    }
    fallback
}

/// The words from the program that does the work.
fn without_runners(words: &Words) -> Option<&[String]> {
    let mut rest = words.as_slice();
    loop {
        let word = rest.first()?;
        let is_redirection = word.starts_with(['>', '<']) || word.starts_with("2>");
        if is_assignment(word) || is_redirection || KEYWORDS.contains(&word.as_str()) || word == "}" {
            rest = &rest[1..];
            continue;
        }
        let Some((_, valued, positions)) = RUNNERS.iter().find(|(name, ..)| *name == base(word)) else {
            return Some(rest);
        };
        rest = &rest[1..];
        while let Some(option) = rest.first().filter(|word| word.starts_with('-')) {
            let short = option.strip_prefix('-').filter(|option| option.len() == 1);
            let has_value = short.is_some_and(|letter| valued.contains(letter));
            rest = rest.get(1 + usize::from(has_value)..)?;
        }
        while rest.first().is_some_and(|word| is_assignment(word)) {
            rest = &rest[1..];
        }
        rest = rest.get(*positions..)?;
        // `flock FILE -c SCRIPT`
        if rest.first().is_some_and(|word| word == "-c") {
            return rest.get(1..);
        }
    }
}

fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

/// The script or module that an interpreter runs.
fn of_interpreter(words: &[String]) -> String {
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-m" | "-jar" | "-f" => continue,
            "-c" | "-e" | "-r" | "-cp" | "-classpath" => {
                rest.next();
            }
            option if option.starts_with('-') => {}
            _ => return with_subcommand(&words[words.iter().position(|known| known == word).unwrap_or(0)..]),
        }
    }
    base(&words[0]).to_owned()
}

/// The program, and the word after it if that word is a subcommand.
fn with_subcommand(words: &[String]) -> String {
    let program = stem(base(&words[0]));
    let is_subcommand = |word: &&String| {
        (2..=16).contains(&word.len())
            && word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | ':'))
    };
    match words.get(1).filter(is_subcommand) {
        Some(subcommand) => format!("{program}-{subcommand}"),
        None => program.to_owned(),
    }
}

fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

fn stem(name: &str) -> &str {
    ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .filter(|stem| !stem.is_empty())
        .unwrap_or(name)
}

/// A short hash of a text, the same in every version.
pub fn mark(text: &str, bytes: usize) -> String {
    Sha256::digest(text.as_bytes()).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

/// A job that needs a name.
#[derive(Debug)]
pub struct Wanting {
    /// Its kind, user and command: an identity that stays the same if the job moves or gets other times.
    pub identity: String,
    /// The suggested name.
    pub suggested: String,
    /// The name that the job has already.
    pub has: Option<String>,
}

/// Chooses a unique name for each job. A job keeps the name that it has. A job that had a name before (in `known`, by
/// the [`mark`] of its identity) gets it again. If several jobs suggest the same name, each gets a hash of its
/// identity appended, so that the result does not depend on their order.
pub fn names(all: &[Wanting], known: &BTreeMap<String, String>) -> Vec<String> {
    let kept = |wanting: &Wanting| wanting.has.clone();
    let mut taken: BTreeSet<String> = all.iter().filter_map(kept).collect();
    let mut names: Vec<Option<String>> = all.iter().map(kept).collect();
    for (wanting, name) in all.iter().zip(&mut names).filter(|(_, name)| name.is_none()) {
        let before = known.get(&mark(&wanting.identity, 8));
        if let Some(before) = before.filter(|before| !taken.contains(*before)) {
            taken.insert(before.clone());
            *name = Some(before.clone());
        }
    }
    // Names of jobs that are gone stay reserved for them.
    let reserved: BTreeSet<&String> = known.values().collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (wanting, _) in all.iter().zip(&names).filter(|(_, name)| name.is_none()) {
        *counts.entry(&wanting.suggested).or_default() += 1;
    }
    for (wanting, name) in all.iter().zip(&mut names).filter(|(_, name)| name.is_none()) {
        let suggested = &wanting.suggested;
        let is_alone = counts.get(suggested.as_str()) == Some(&1);
        let mut candidate = suggested.clone();
        if !is_alone || taken.contains(suggested) || reserved.contains(suggested) {
            let marked = format!("{suggested}-{}", mark(&wanting.identity, 2));
            let numbered = (2..).map(|number| format!("{marked}-{number}"));
            let free = |candidate: &String| !taken.contains(candidate) && !reserved.contains(candidate);
            candidate = std::iter::once(marked.clone()).chain(numbered).find(free).unwrap_or_default();
        }
        taken.insert(candidate.clone());
        *name = Some(candidate);
    }
    names.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_commands() {
        for (command, name) in [
            ("/usr/local/bin/backup.sh --all", "backup"),
            ("cd /srv/shop && php artisan schedule:run >> /dev/null 2>&1", "artisan-schedule-run"),
            ("test -x /usr/bin/certbot && perl -e 'sleep int(rand(43200))' && certbot -q renew", "perl"),
            ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }", "cron.daily"),
            ("[ -x /a ] && /a/clean-up.py", "clean-up"),
            ("/bin/bash -lc 'cd /x; ./report.rb weekly'", "report-weekly"),
            ("bash /x/y.sh", "y"),
            ("flock -n /tmp/lock /usr/bin/sync-it", "sync-it"),
            ("flock -w 5 /tmp/l -c 'x'", "x"),
            ("sudo -u www nice -n 19 ionice -c2 -n7 /opt/job", "job"),
            ("timeout -k 5 10m restic backup /home", "restic-backup"),
            ("FOO=bar PGPASSWORD=secret pg_dump -Fc shop > /b/shop.dump", "pg_dump"),
            ("python3 -m tools.clean all", "tools.clean-all"),
            ("/usr/bin/python3.11 /x/a.py", "a"),
            ("java -Xmx1g -jar /opt/App.jar", "app"),
            ("mysqldump -psecret db1", "mysqldump"),
            ("curl -fsS https://x.example/token-abc", "curl"),
            ("sleep 30; /x/late", "late"),
            ("echo hi", "echo"),
            ("if true; then /x/y; fi", "y"),
            ("'/opt/my job' x", "my-job"),
            ("su - ada -c '/x/z'", "z"),
            ("ünï", "n"),
            ("", "job"),
            ("%", "job"),
        ] {
            assert_eq!(suggested(command), name, "{command}");
        }
    }

    fn wanting(identity: &str, suggested: &str, has: Option<&str>) -> Wanting {
        Wanting {
            identity: identity.to_owned(),
            suggested: suggested.to_owned(),
            has: has.map(str::to_owned),
        }
    }

    #[test]
    fn no_two_names_are_alike_and_order_does_not_matter() {
        let none = BTreeMap::new();
        let one = wanting("root /a/x", "x", None);
        let other = wanting("ada /b/x", "x", None);
        let alone = wanting("root /y", "y", None);
        let forth = names(&[one, other, alone], &none);
        let back = names(
            &[wanting("root /y", "y", None), wanting("ada /b/x", "x", None), wanting("root /a/x", "x", None)],
            &none,
        );
        assert_eq!(forth.iter().rev().collect::<Vec<_>>(), back.iter().collect::<Vec<_>>());
        assert_ne!(forth[0], forth[1]);
        assert_eq!(forth[2], "y");
        let doubled =
            names(&[wanting("r x", "x", None), wanting("r x", "x", None), wanting("r x", "x", None)], &none);
        assert_eq!(doubled.iter().collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn a_name_is_kept() {
        let known =
            BTreeMap::from([(mark("r /a/x", 8), "nightly".to_owned()), (mark("gone", 8), "z".to_owned())]);
        let all = [
            wanting("r /a/x", "x", None),
            wanting("r /b/x", "x", Some("x")),
            wanting("r /c/x", "x", None),
            wanting("r /z", "z", None),
        ];
        let names = names(&all, &known);
        assert_eq!(names[..2], ["nightly", "x"]);
        assert!(names[2].starts_with("x-") && names[3].starts_with("z-"), "{names:?}");
    }
}
