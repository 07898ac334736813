//! The configuration: one TOML file for every role, environment variables over it, flags over both.
//!
//! [`Config::load`] is the only entry point. It returns typed values that need no further checks, or all problems,
//! each with its line, its key and the allowed values.
//!
//! Where to start: [`Config`] and the structs of its sections. [`innkeeper_settings`] reads keys and decides which
//! layer overrides which.

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
    AGENTS_VARIABLES, Deeper, Findings, Flag, NamedSection, Places, Section, Table, Variables,
    lay_environment, lay_flags, parse, take,
};
pub use innkeeper_settings::{ConfigError, Origin, Problem};

pub use database::{DatabaseConfig, DatabasePlace};
pub use live::{Live, Reloaded};
pub use openid::OpenIdConfig;
pub use parts::{ExpectConfig, HistoryConfig, IngestConfig, SweeperConfig, WebConfig};
pub(crate) use top::url_of;
pub use watch::{HeartbeatConfig, MailLoopConfig, PeerConfig};

use innkeeper_logging::{self as logging, Format};

use crate::Role;
use crate::clock::NodeClock;
use live::{Builder, Marks};

/// The names of all sections, except those of the alerters.
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

/// The environment variables that set keys. Other variables with the prefix are ignored here: those that a `command`
/// alerter passes to its programs (which may call Innkeeper in turn), the name of the configuration file, the agent's
/// settings, and what the agent passes to a job.
fn variables() -> Variables {
    Variables {
        sections: &SECTIONS,
        named: vec![
            NamedSection {
                section: "alerter",
                always: &[LOG_ALERTER],
                makers: &["kind"],
                keys: alerters::all_keys(),
            },
            NamedSection {
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

/// The name of the built-in alerter that writes to the log.
pub const LOG_ALERTER: &str = innkeeper_core::ways::LOG;

/// The complete configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; `None` without a file.
    pub file: Option<PathBuf>,
    /// The name of this instance, in subjects and pages.
    pub instance: String,
    /// The wording of subjects.
    pub subjects: SubjectWords,
    /// The address for people and jobs: a URL without a trailing slash.
    pub public_url: String,
    /// Whether `public_url` was set; otherwise it is derived from `ingest.listen`.
    pub is_public_url_given: bool,
    /// The address of the pages: `public_url`, or derived from the `listen` key of the role that serves them.
    pub pages_url: String,
    /// The log levels: `info`, `debug`, `warn,innkeeper_sweeper=debug`, …
    pub log: String,
    /// The format of log lines.
    pub log_format: Format,
    /// Who may call.
    pub auth: Auth,
    /// Whether a listener without authentication may be reached from other machines.
    pub allow_open: bool,
    /// Additional host names under which it may be reached while `auth` is `open`.
    pub allowed_hosts: Vec<String>,
    /// The recipients of messages about Innkeeper itself.
    pub operator: Vec<Recipient>,
    /// The absolute path of the data directory. See [`Config::create_data_dir`].
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
    /// The places in the file at which keys stand.
    places: Places,
    /// The fingerprint, by which changes are found at a reload.
    marks: Marks,
    /// The handle to the configuration in force, if it can change.
    live: Option<Live>,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Everybody who reaches the listener.
    Open,
    /// Callers with a token or a session, or those whom a trusted proxy has authenticated.
    Tokens,
}

/// Settings from the command line, which override the environment and the file.
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
    /// The keys that these options set, for this role.
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

/// How often loading is attempted if files named by the configuration change meanwhile.
const ATTEMPTS: usize = 3;

impl Config {
    /// Reads the file, the environment and the options.
    ///
    /// # Errors
    /// All problems at once.
    pub fn load(role: Role, overrides: &Overrides) -> Result<Self, ConfigError> {
        for _ in 1..ATTEMPTS {
            let config = Self::load_once(role, overrides)?;
            if config.marks.are_current() {
                return Ok(config);
            }
        }
        // The files keep changing. The reload that follows the last change reads them again.
        Self::load_once(role, overrides)
    }

    /// Loads once. A file with a secret may be replaced between the two times it is read.
    fn load_once(role: Role, overrides: &Overrides) -> Result<Self, ConfigError> {
        let file = top::find_file(overrides.config.as_deref())?;
        let (environment, unreadable): (Vec<_>, Vec<_>) = std::env::vars_os()
            .map(|(name, value)| match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => Ok((name, value)),
                (Ok(name), Err(_)) => Err(name),
                // All known names consist of ASCII letters, so this variable cannot be one of them.
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
    /// All problems at once.
    pub fn from_toml(role: Role, text: &str) -> Result<Self, ConfigError> {
        let root = parse("innkeeper.toml", text)?;
        read(role, None, root, [], &Overrides::default()).map(|(config, _)| config)
    }

    /// Makes this the first of the configurations that reloads replace: [`Config::live`] returns a handle to the one
    /// in force and to its `alerters`, which use `clock`. `build` builds them anew at each reload.
    #[must_use]
    pub(crate) fn reloadable(mut self, clock: Arc<NodeClock>, alerters: Alerters, build: Builder) -> Self {
        self.live = Some(Live::with_alerters(self.clone(), clock, alerters, build));
        self
    }

    /// The handle to the configuration in force. In a process that does not reload, that is always this one.
    pub fn live(&self) -> Live {
        self.live.clone().unwrap_or_else(|| Live::new(self.clone()))
    }

    /// A problem with `key` that was found when its value was used, with the line of the key.
    pub(crate) fn problem(&self, key: String, what: impl Into<String>) -> Problem {
        Problem { origin: self.places.place(&key), key, what: what.into() }
    }

    /// Whether `name` is valid in a reservation's `notify`.
    pub fn knows_alerter(&self, name: &str) -> bool {
        self.alerters.keys().any(|known| known.as_str() == name)
    }

    /// Creates the data directory if it is missing, accessible only to its owner.
    ///
    /// # Errors
    /// The directory could not be created; the error names it.
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

/// Merges the three layers and reads the result.
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
    // A role without pages accepts the section, because several roles may share one file.
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
