//! The agent's configuration. The layers, from the lowest to the highest: `/etc/innkeeper/agent.toml`, the user's own
//! file, the environment, the command line.
//!
//! Problems are collected and the rest of the configuration is used. A job whose configuration has problems still
//! runs, and is still reported if that is possible.

use std::convert::Infallible;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use innkeeper_core::near::nearest;
use innkeeper_core::secret::Secret;
use innkeeper_settings::{
    AGENTS_VARIABLES, ConfigError, Findings, Flag, Origin, Problem, Section, Setting, Table, Value,
    Variables, lay_environment, lay_flags, parse, read_file, take,
};
use url::Url;

/// Path of the machine's configuration.
pub const MACHINES: &str = "/etc/innkeeper/agent.toml";
/// Path of the user's configuration, relative to the user's configuration directory.
const USERS: &str = "innkeeper/agent.toml";
/// Largest configuration file, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// The agent's settings, with defaults for what is not set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Innkeeper's address.
    pub server: Option<Url>,
    /// The address of the pages and the management API, if it differs from `server`.
    pub api: Option<Url>,
    /// The token that authenticates the agent.
    pub token: Option<Secret>,
    /// Certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// An HTTP or SOCKS proxy. The proxy variables of the environment belong to the jobs and are not used.
    pub proxy: Option<String>,
    /// The longest time that the agent may delay the end of a job.
    pub max_delay: TimeDelta,
    /// Most bytes of a job's output that are reported. The server's own limit may be smaller.
    pub output_bytes: usize,
    /// Directory of the agent's state, if it is not the default.
    pub state: Option<PathBuf>,
    /// Bounds of the spool.
    pub spool: Bounds,
}

/// Limits of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Number of entries.
    pub entries: usize,
    /// Total size of the entries, in bytes.
    pub bytes: u64,
    /// Age at which an entry is dropped.
    pub age: TimeDelta,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 1000, bytes: 16 * 1024 * 1024, age: TimeDelta::days(7) }
    }
}

/// A configuration and its problems.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The settings that could be read.
    pub config: Config,
    /// The problems that were found.
    pub problems: Vec<Problem>,
    /// The sections that other modules read, by name (`probe`).
    pub rest: Table,
    /// Whether a whole file could not be read, so that its settings are unknown.
    pub is_file_lost: bool,
    /// Whether the only problem is that one of the default files cannot be accessed while another could be read. This
    /// is reported but is no error.
    pub is_only_passed_over: bool,
}

/// Why a file was not used.
enum Unread {
    /// The file may exist, but this process cannot access it.
    OutOfReach(Problem),
    /// The file is invalid, or belongs to somebody who must not be trusted.
    Wrong(ConfigError),
}

/// Settings from the command line.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The one file to read instead of the default files.
    pub config: Option<PathBuf>,
    /// Innkeeper's address.
    pub server: Option<String>,
}

/// The sections that other modules read.
const OTHERS: [&str; 3] = ["probe", "probes", "discover"];

/// Reads all layers.
pub fn load(overrides: &Overrides) -> LoadedConfig {
    load_layers(&files(overrides), overrides)
}

/// Reads `files` (a later file overrides an earlier one) and the environment. The flag says whether the file must
/// exist.
fn load_layers(files: &[(PathBuf, bool)], overrides: &Overrides) -> LoadedConfig {
    let mut findings = Findings::default();
    let mut root = Table::new();
    let (mut is_file_lost, mut is_file_read) = (false, false);
    let mut out_of_reach = 0;
    for (path, is_required) in files {
        match read_layer(path, *is_required) {
            Ok(Some((layer, doubt))) => {
                is_file_read = true;
                merge(&mut root, layer);
                findings.problems.extend(doubt);
            }
            Ok(None) => {}
            Err(Unread::OutOfReach(problem)) => {
                is_file_lost = true;
                out_of_reach += 1;
                findings.problems.push(problem);
            }
            Err(Unread::Wrong(ConfigError(problems))) => {
                is_file_lost = true;
                findings.problems.extend(problems);
            }
        }
    }
    let variables = Variables { sections: &["exec", "spool"], named: Vec::new(), deeper: &[], others: &[] };
    // Other variables with this prefix belong to the server or to a job.
    let environment = AGENTS_VARIABLES.into_iter().filter_map(|name| {
        let name = format!("INNKEEPER_{name}");
        let value = std::env::var(&name).ok()?;
        Some((name, value))
    });
    lay_environment(&mut root, environment, &variables, &mut findings);
    let server = overrides.server.clone();
    let flag = Flag { section: None, key: "server", value: server, flag: "--server" };
    lay_flags(&mut root, [flag], &mut findings);
    let loaded = read(root, findings);
    let is_only_passed_over = is_file_read && loaded.problems.len() == out_of_reach;
    LoadedConfig { is_file_lost, is_only_passed_over, ..loaded }
}

/// Whether a file names a server. Only files count here, because jobs of cron do not have the environment of a shell.
pub fn files_name_server(overrides: &Overrides) -> bool {
    let layers = files(&Overrides { server: None, ..overrides.clone() });
    layers.iter().any(|(path, is_required)| {
        read_layer(path, *is_required)
            .is_ok_and(|layer| layer.is_some_and(|(table, _)| table.contains_key("server")))
    })
}

fn files(overrides: &Overrides) -> Vec<(PathBuf, bool)> {
    if let Some(named) = &overrides.config {
        return vec![(named.clone(), true)];
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let users = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let users = users.map(|directory| (directory.join(USERS), false));
    [Some((PathBuf::from(MACHINES), false)), users].into_iter().flatten().collect()
}

/// Reads one file and returns its settings and possibly a warning; none if the file does not exist.
fn read_layer(path: &Path, is_required: bool) -> Result<Option<(Table, Option<Problem>)>, Unread> {
    let name = path.display().to_string();
    let wrong = |what: String| Unread::Wrong(ConfigError::about(Origin::Default, format!("{name}: {what}")));
    let out_of_reach = |what: String| match is_required {
        true => wrong(what),
        false => {
            let what = format!("{name}: {what}");
            Unread::OutOfReach(Problem { origin: Origin::Default, key: String::new(), what })
        }
    };
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound && !is_required => {
            return match fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
                true => Err(out_of_reach("is a link whose target does not exist".to_owned())),
                false => Ok(None),
            };
        }
        Err(error) => return Err(out_of_reach(format!("cannot be read: {error}"))),
    };
    if found.is_dir() {
        return Err(out_of_reach("is a directory".to_owned()));
    }
    let user = rustix::process::geteuid().as_raw();
    if found.uid() != 0 && found.uid() != user {
        return Err(wrong(format!(
            "belongs to another user (number {}), who could redirect all reports; it is not read",
            found.uid()
        )));
    }
    if found.is_file()
        && let Err(error) = fs::File::open(path)
    {
        return Err(out_of_reach(format!("cannot be read: {error}")));
    }
    let content = read_file(path, LARGEST).map_err(|what| wrong(format!("cannot be read: {what}")))?;
    let text = String::from_utf8(content).map_err(|_| wrong("is no text in UTF-8".to_owned()))?;
    let table = parse(&name, &text).map_err(Unread::Wrong)?;
    let is_open = found.mode() & 0o004 != 0 || (found.mode() & 0o040 != 0 && found.uid() != 0);
    let doubt = match table.get("token") {
        Some(token) if is_open => Some(Problem {
            origin: token.origin.clone(),
            key: "token".to_owned(),
            what: format!("others can read it; run: chmod 600 {name}"),
        }),
        _ => None,
    };
    Ok(Some((table, doubt)))
}

/// Merges `upper` into `lower`. Keys in `upper` win.
fn merge(lower: &mut Table, upper: Table) {
    for (key, setting) in upper {
        match (lower.get_mut(&key).map(|below| &mut below.value), setting) {
            (Some(Value::Table(below)), Setting { value: Value::Table(above), .. }) => merge(below, above),
            (_, setting) => {
                let other = match key.strip_suffix("_file") {
                    Some(plain) => plain.to_owned(),
                    None => format!("{key}_file"),
                };
                lower.remove(&other);
                lower.insert(key, setting);
            }
        }
    }
}

fn read(mut root: Table, mut findings: Findings) -> LoadedConfig {
    let exec = take(&mut root, "exec", &mut findings);
    let spool = take(&mut root, "spool", &mut findings);
    let rest = OTHERS.iter().filter_map(|name| Some(((*name).to_owned(), root.remove(*name)?))).collect();
    let usual = Bounds::default();

    let mut top = Section::top(&["exec", "spool", "probe", "probes", "discover"], root, &mut findings);
    let server = top.parsed("server", None, |text| server(text).map(Some));
    let api = top.parsed("api", None, |text| self::server(text).map(Some));
    let token = top.secret("token", "token_file").map(|(secret, _)| secret);
    let ca_file = top.parsed("ca_file", None, |path| Ok::<_, Infallible>(Some(PathBuf::from(path))));
    let proxy = top.parsed("proxy", None, |text| match ureq::Proxy::new(text) {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(_) => Err("is not a proxy's address; write http://proxy.example.org:3128"),
    });
    top.finish();

    let mut section = Section::new("exec", exec, &mut findings);
    let max_delay =
        section.duration("max_delay", TimeDelta::seconds(2), TimeDelta::zero()..=TimeDelta::minutes(1));
    let output_bytes = section.number("output_bytes", 64 * 1024, 0..=64 * 1024);
    section.finish();

    let mut section = Section::new("spool", spool, &mut findings);
    let state = section.parsed("state", None, |path| match Path::new(path).is_absolute() {
        true => Ok(Some(PathBuf::from(path))),
        false => Err("is not an absolute path"),
    });
    let entries = section.number("entries", usual.entries, 1..=100_000);
    let bytes = section.number("bytes", usual.bytes, 64 * 1024..=4 * 1024 * 1024 * 1024);
    let age = section.duration("age", usual.age, TimeDelta::hours(1)..=TimeDelta::days(30));
    section.finish();

    let spool = Bounds { entries, bytes, age };
    let config = Config { server, api, token, ca_file, proxy, max_delay, output_bytes, state, spool };
    add_hints(&mut findings.problems);
    LoadedConfig {
        config,
        problems: findings.problems,
        rest,
        is_file_lost: false,
        is_only_passed_over: false,
    }
}

/// Adds the most similar known key or section to each problem about an unknown one.
pub fn add_hints(problems: &mut [Problem]) {
    for Problem { key, what, .. } in problems {
        let known = ["unknown key; allowed: ", "unknown section; allowed: "]
            .iter()
            .find_map(|beginning| what.strip_prefix(beginning));
        let word = key.rsplit('.').next().unwrap_or_default();
        if let Some(meant) = known.and_then(|known| nearest(word, known.split(", "))) {
            *what = format!("{what}; did you mean {meant}?");
        }
    }
}

/// Parses Innkeeper's address, with or without a path and a trailing slash.
///
/// # Errors
/// What is wrong with the address. The text never contains its password.
pub fn server(text: &str) -> Result<Url, String> {
    let example = "write https://innkeeper.example.org";
    let mut url =
        Url::parse(text.trim()).map_err(|error| format!("is not an address ({error}); {example}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("has a scheme other than http and https; {example}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a name or a password; put a token into token or token_file".to_owned());
    }
    url.set_fragment(None);
    url.set_query(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> LoadedConfig {
        read(parse("agent.toml", text).unwrap(), Findings::default())
    }

    #[test]
    fn what_can_be_read_is_used_whatever_else_is_wrong() {
        let loaded = of(
            "server = 'http://a.example/x/'\ntokn = 'x'\n[exec]\nmax_delay = 'soon'\n[probe.web]\nurl = 'x'\n",
        );
        assert_eq!(loaded.config.server.unwrap().as_str(), "http://a.example/x");
        assert_eq!(loaded.config.max_delay, TimeDelta::seconds(2));
        let problems: Vec<String> = loaded.problems.iter().map(Problem::to_string).collect();
        assert!(
            problems.iter().any(|line| line.starts_with("agent.toml:2: tokn: unknown key")),
            "{problems:?}"
        );
        assert!(problems.iter().any(|line| line.starts_with("agent.toml:4: exec.max_delay")), "{problems:?}");
        assert_eq!(problems.len(), 2);
        assert!(loaded.rest.contains_key("probe"));
    }

    #[test]
    fn a_file_out_of_reach_is_told_and_passed_over_where_another_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let [machines, users, folder, link] = ["a", "b", "c", "d"].map(|name| directory.path().join(name));
        fs::write(&machines, "server = 'http://a'\n").unwrap();
        fs::write(&users, "[exec]\nmax_delay = 'soon'\n").unwrap();
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/nowhere/x", &link).unwrap();
        let of = |files: &[(&PathBuf, bool)]| {
            let files: Vec<_> = files.iter().map(|(path, required)| ((*path).clone(), *required)).collect();
            let loaded = load_layers(&files, &Overrides::default());
            (loaded.is_only_passed_over, loaded.is_file_lost, loaded.problems.len())
        };
        for lost in [&folder, &link] {
            assert_eq!(of(&[(&machines, false), (lost, false)]), (true, true, 1), "{lost:?}");
            assert_eq!(of(&[(lost, false), (&machines, false)]), (true, true, 1), "{lost:?}");
            // No other file was read, or there is another problem, or the file was named explicitly.
            assert_eq!(of(&[(lost, false)]), (false, true, 1), "{lost:?}");
            assert_eq!(of(&[(&users, false), (lost, false)]), (false, true, 2), "{lost:?}");
            assert_eq!(of(&[(lost, true)]), (false, true, 1), "{lost:?}");
        }
        let none = directory.path().join("none");
        assert_eq!(of(&[(&machines, false), (&none, false)]), (true, false, 0));
    }

    #[test]
    fn the_users_file_lies_over_the_machines() {
        let mut below =
            parse("a", "server = 'http://a'\ntoken_file = '/x'\n[exec]\noutput_bytes = 10\n").unwrap();
        merge(&mut below, parse("b", "token = 'mine'\n[exec]\nmax_delay = '1s'\n").unwrap());
        let config = read(below, Findings::default()).config;
        assert_eq!(config.token.unwrap().reveal(), "mine");
        assert_eq!((config.output_bytes, config.max_delay), (10, TimeDelta::seconds(1)));
    }

    #[test]
    fn an_address_has_no_secret_and_no_slash_at_its_end() {
        assert_eq!(server("https://h.example/").unwrap().as_str(), "https://h.example/");
        for wrong in ["h.example", "ftp://h.example", "https://user:secret@h.example", ""] {
            let problem = server(wrong).unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
