//! The configuration: one TOML file for every role, environment variables over it, flags over both.
//!
//! [`Config::load`] is the only way in. It returns typed values that need no second check, or everything
//! that is wrong with them, each problem with its line, key and what is allowed.
//!
//! Where to start: [`Config`] and the structs of its sections; how a key is read, and what overrides what, is in
//! [`innkeeper_settings`].

mod alerters;
#[cfg(test)]
mod annotated_tests;
mod checks;
mod database;
mod live;
mod openid;
mod parts;
pub(crate) mod postgres_tls;
mod show;
mod sign_on;
#[cfg(test)]
mod tests;
mod top;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use innkeeper_alerter::{AlerterConfig, Alerters};
use innkeeper_core::names::AlerterName;
use innkeeper_core::recipient::{MOST_RECIPIENTS, Recipient};
use innkeeper_core::wording::SubjectWords;
use innkeeper_settings::{
    AGENTS_VARIABLES, Deeper, Findings, Flag, Named, Places, Section, Table, Variables, lay_environment,
    lay_flags, parse, take,
};
pub use innkeeper_settings::{ConfigError, Origin, Problem};

pub use database::{DatabaseConfig, DatabaseKind};
pub use live::{Live, Reloaded};
pub use openid::OpenIdConfig;
pub use parts::{ExpectConfig, HistoryConfig, IngestConfig, SweeperConfig, WebConfig};
pub(crate) use top::url_of;
pub use watch::{HeartbeatConfig, MailLoopConfig, PeerConfig};

use innkeeper_logging::{self as logging, Format};

use crate::Role;
use crate::heartbeat::NodeClock;
use live::Marks;

/// The sections there are, beside the alerters' own.
const SECTIONS: [&str; 10] = [
    "alerter",
    "database",
    "expect",
    "heartbeat",
    "history",
    "ingest",
    "mail_loop",
    "peer",
    "sweeper",
    "web",
];

/// The environment variables that set them. What the programs of a `command` alerter are given, which may call Innkeeper in
/// turn, is for others, and so are the file's name, what the agent is told, and what it tells a job.
fn variables() -> Variables {
    Variables {
        sections: &SECTIONS,
        named: vec![
            Named {
                section: "alerter",
                always: &[LOG_ALERTER],
                makers: &["kind"],
                keys: alerters::all_keys(),
            },
            Named {
                section: "peer",
                always: &[],
                makers: &["url_file", "url"],
                keys: watch::PEER_KEYS.map(str::to_owned).into(),
            },
        ],
        deeper: &[
            Deeper { path: &["web", "openid", "roles"], keys: &["viewer", "editor", "admin"] },
            Deeper { path: &["web", "openid"], keys: &[] },
        ],
        others: &[&["CONFIG", "EVENT", "APP", "COMPONENT", "IDEMPOTENCY_KEY", "RUN"], &AGENTS_VARIABLES],
    }
}

/// The name of the alerter that is always there: it writes to the log.
pub const LOG_ALERTER: &str = innkeeper_core::ways::LOG;

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; none when there is none.
    pub file: Option<PathBuf>,
    /// The name of this installation, in subjects and pages.
    pub instance: String,
    /// Which words subjects have.
    pub subjects: SubjectWords,
    /// Where people and jobs reach it: a URL without a slash at its end.
    pub public_url: String,
    /// Whether somebody said so; otherwise it is a guess by `ingest.listen`.
    pub is_public_url_given: bool,
    /// Where people reach the pages: `public_url`, or by `listen` of whoever has them.
    pub pages_url: String,
    /// What is logged: `info`, `debug`, `warn,innkeeper_sweeper=debug`, …
    pub log: String,
    /// What lines of the log look like.
    pub log_format: Format,
    /// Who may call.
    pub auth: Auth,
    /// Whether an open listener may be reached from other machines.
    pub allow_open: bool,
    /// By which names it may be reached beside its own, where `auth` is `open`.
    pub allowed_hosts: Vec<String>,
    /// Who hears about Innkeeper itself.
    pub operator: Vec<Recipient>,
    /// Where files are kept; absolute. See [`Config::create_data_dir`].
    pub data_dir: PathBuf,
    /// `[database]`.
    pub database: DatabaseConfig,
    /// `[ingest]`.
    pub ingest: IngestConfig,
    /// `[web]`.
    pub web: WebConfig,
    /// `[sweeper]`.
    pub sweeper: SweeperConfig,
    /// `[history]`.
    pub history: HistoryConfig,
    /// `expect`.
    pub expect: ExpectConfig,
    /// `[heartbeat]`.
    pub heartbeat: HeartbeatConfig,
    /// `[mail_loop]`.
    pub mail_loop: MailLoopConfig,
    /// `[peer.NAME]`.
    pub peers: BTreeMap<AlerterName, PeerConfig>,
    /// `[alerter.NAME]`, and always [`LOG_ALERTER`].
    pub alerters: BTreeMap<AlerterName, AlerterConfig>,
    /// Where its keys stand.
    places: Places,
    /// What tells its values from those of the next one.
    marks: Marks,
    /// What hands out the one in force, where it can change.
    live: Option<Live>,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Whoever reaches the listener.
    Open,
    /// Whoever shows a token, a session, or comes through a proxy that says who it is.
    Tokens,
}

/// What the command line says, which wins over the environment and the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--database-url`
    pub database_url: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<String>,
}

impl Overrides {
    /// The keys that they set, for this role.
    fn flags(&self, role: Role) -> impl Iterator<Item = Flag> {
        let flag =
            |section, key, value: &Option<String>, flag| Flag { section, key, value: value.clone(), flag };
        let listen =
            role.listen_section().map(|section| flag(Some(section), "listen", &self.listen, "--listen"));
        [
            flag(None, "data_dir", &self.data_dir, "--data-dir"),
            flag(Some("database"), "url", &self.database_url, "--database-url"),
        ]
        .into_iter()
        .chain(listen)
    }
}

/// How often the configuration is read while files that it names change under the reader.
const ATTEMPTS: usize = 3;

impl Config {
    /// Reads the file, the environment and the flags.
    ///
    /// # Errors
    /// Everything that is wrong, all at once.
    pub fn load(role: Role, overrides: &Overrides) -> Result<Self, ConfigError> {
        for _ in 1..ATTEMPTS {
            let config = Self::load_once(role, overrides)?;
            if config.marks.are_current() {
                return Ok(config);
            }
        }
        // Files that keep changing: a reload after the last change reads them again.
        Self::load_once(role, overrides)
    }

    /// The same, where a file with a secret may be replaced between two looks at it.
    fn load_once(role: Role, overrides: &Overrides) -> Result<Self, ConfigError> {
        let file = top::find_file(overrides.config.as_deref())?;
        let (environment, unreadable): (Vec<_>, Vec<_>) = std::env::vars_os()
            .map(|(name, value)| match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => Ok((name, value)),
                (Ok(name), Err(_)) => Err(name),
                // No name of ours has other than ASCII letters.
                (Err(_), _) => Err(String::new()),
            })
            .partition(Result::is_ok);
        if let Some(name) =
            unreadable.into_iter().filter_map(Result::err).find(|n| n.starts_with("INNKEEPER_"))
        {
            let origin = Origin::Environment(name.into());
            return Err(ConfigError::about(origin, "is not UTF-8 text"));
        }
        let environment = environment.into_iter().filter_map(Result::ok);
        let (path, root) = match &file {
            None => (None, Table::new()),
            Some((path, text)) => (Some(path.clone()), parse(&path.display().to_string(), text)?),
        };
        read(role, path, root, environment, overrides).map(|(config, _)| config)
    }

    /// Reads a configuration from `text` alone, as if it were a file. For tests and tools.
    ///
    /// # Errors
    /// Everything that is wrong, all at once.
    pub fn from_toml(role: Role, text: &str) -> Result<Self, ConfigError> {
        let root = parse("innkeeper.toml", text)?;
        read(role, None, root, [], &Overrides::default()).map(|(config, _)| config)
    }

    /// The same as the first of those that reloads bring: [`Config::live`] leads to the one in force, and to its `alerters`, which go by
    /// `clock`.
    #[must_use]
    pub(crate) fn reloadable(mut self, clock: Arc<NodeClock>, alerters: Alerters) -> Self {
        self.live = Some(Live::with_alerters(self.clone(), clock, alerters));
        self
    }

    /// What hands out the configuration that is in force, for whoever goes on through a reload. Where nobody reloads that is this one.
    pub fn live(&self) -> Live {
        self.live.clone().unwrap_or_else(|| Live::new(self.clone()))
    }

    /// What is wrong with `key`, as found when its value was used; with the line where it stands.
    pub(crate) fn problem(&self, key: String, what: impl Into<String>) -> Problem {
        Problem { origin: self.places.place(&key), key, what: what.into() }
    }

    /// Whether `name` may stand in a reservation's `notify`.
    pub fn knows_alerter(&self, name: &str) -> bool {
        self.alerters.keys().any(|known| known.as_str() == name)
    }

    /// Makes the data directory where it is missing, readable by its owner alone.
    ///
    /// # Errors
    /// Names the directory that could not be made.
    pub fn create_data_dir(&self) -> Result<(), ConfigError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.data_dir);
        made.map_err(|error| {
            let what = format!("cannot make the directory {}: {error}", self.data_dir.display());
            let origin = self.places.place("data_dir");
            ConfigError(vec![Problem { origin, key: "data_dir".to_owned(), what }])
        })
    }
}

/// Lays the three layers over one another and reads the result.
fn read(
    role: Role,
    file: Option<PathBuf>,
    mut root: Table,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<(Config, Findings), ConfigError> {
    let mut findings = Findings::default();
    lay_environment(&mut root, environment, &variables(), &mut findings);
    lay_flags(&mut root, overrides.flags(role), &mut findings);

    let (places, marks) = (Places::of(&root), Marks::of(&root));
    let tables = SECTIONS.map(|name| take(&mut root, name, &mut findings));
    let [alerter, database, expect, heartbeat, history, ingest, mail_loop, peer, sweeper, mut web] = tables;

    let mut top = Section::top(&SECTIONS, root, &mut findings);
    let instance = top.parsed("instance", "innkeeper".to_owned(), top::instance);
    let subjects = top.parsed("subjects", SubjectWords::default(), SubjectWords::parse);
    let public_url = top.parsed("public_url", None, |text| top::public_url(text).map(Some));
    let log = top.parsed("log", logging::DEFAULT.to_owned(), |text| {
        logging::check_levels(text).map(|()| text.to_owned())
    });
    let log_format = top.parsed("log_format", Format::default(), Format::parse);
    let auth = top.parsed("auth", Auth::Open, top::auth);
    let allow_open = top.flag("allow_open", false);
    let allowed_hosts = top.list("allowed_hosts", top::MOST_HOSTS, top::host_name);
    let operator_origin = top.origin("operator");
    let operator = top.list("operator", MOST_RECIPIENTS, |entry| {
        Recipient::parse("operator", entry).map_err(|invalid| invalid.problem)
    });
    let data_dir = top.parsed("data_dir", top::default_data_dir(), top::data_dir);
    top.finish();

    let mut section = Section::new("database", database, &mut findings);
    let database = DatabaseConfig::read(&mut section, &data_dir, role);
    section.finish();

    let mut section = Section::new("ingest", ingest, &mut findings);
    let ingest_origin = section.origin("listen");
    let ingest = IngestConfig::read(&mut section);
    section.finish();
    let given_url = public_url;
    let public_url = given_url.clone().unwrap_or_else(|| top::url_of(ingest.listen));

    let openid = OpenIdConfig::read(&mut web, &mut findings);
    let mut section = Section::new("web", web, &mut findings);
    let web_origin = section.origin("listen");
    let web = WebConfig::read(&mut section, openid);
    section.finish();
    let is_public_url_given = given_url.is_some();
    let pages_url = given_url.unwrap_or_else(|| match role {
        Role::Standalone => public_url.clone(),
        Role::Ingest | Role::Sweeper | Role::Web => top::url_of(web.listen),
    });

    let mut section = Section::new("sweeper", sweeper, &mut findings);
    let sweeper_origin = section.origin("listen");
    let sweeper = SweeperConfig::read(&mut section);
    section.finish();

    let mut section = Section::new("history", history, &mut findings);
    let history = HistoryConfig::read(&mut section);
    section.finish();

    let mut section = Section::new("expect", expect, &mut findings);
    let expect = ExpectConfig::read(&mut section);
    section.finish();

    let mut section = Section::new("heartbeat", heartbeat, &mut findings);
    let heartbeat = HeartbeatConfig::read(&mut section);
    section.finish();

    let mut section = Section::new("mail_loop", mail_loop, &mut findings);
    let mail_loop = MailLoopConfig::read(&mut section);
    section.finish();

    let peers = watch::peers(peer, &mut findings);
    let alerters = alerters::read(alerter, &mut findings);

    let config = Config {
        file,
        instance,
        subjects,
        public_url,
        is_public_url_given,
        pages_url,
        log,
        log_format,
        auth,
        allow_open,
        allowed_hosts,
        operator,
        data_dir,
        database,
        ingest,
        web,
        sweeper,
        history,
        expect,
        heartbeat,
        mail_loop,
        peers,
        alerters,
        places,
        marks,
        live: None,
    };
    checks::recipients(&config, &config.operator, "operator", &operator_origin, &mut findings);
    for (name, peer) in &config.peers {
        let key = format!("peer.{name}.admin");
        checks::recipients(&config, &peer.admin, &key, &config.places.place(&key), &mut findings);
    }
    checks::mail_loop(&config, &mut findings);
    // Whoever has no pages reads the file that others share with it.
    let build = match role {
        _ if cfg!(feature = "openid") => None,
        Role::Ingest | Role::Sweeper => None,
        Role::Web => Some("cargo build --release -p innkeeper-web --features openid"),
        Role::Standalone => Some("cargo build --release --features openid"),
    };
    checks::openid(&config, build, &mut findings);
    checks::database_tls(&config, &mut findings);
    match role.listen_section() {
        Some("ingest") => {
            checks::listener(&config, "ingest.listen", config.ingest.listen, ingest_origin, &mut findings)
        }
        Some("web") => checks::listener(&config, "web.listen", config.web.listen, web_origin, &mut findings),
        _ => {}
    }
    if let (Role::Sweeper | Role::Standalone, Some(listen)) = (role, config.sweeper.listen) {
        checks::listener(&config, "sweeper.listen", listen, sweeper_origin, &mut findings);
    }
    if findings.problems.is_empty() { Ok((config, findings)) } else { Err(ConfigError(findings.problems)) }
}
