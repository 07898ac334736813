//! The configuration in force: a process that runs through reloads asks for it each time.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use innkeeper_alerter::Alerters;
use innkeeper_core::Clock;
use innkeeper_settings::{ConfigError, LARGEST_CERTIFICATES, Setting, Table, Value, read_file};
use parking_lot::{Mutex, RwLock};

use super::{Config, Overrides};
use crate::clock::NodeClock;
use crate::{Role, Ways};

/// The keys, and (ending in a dot) sections of keys, that take effect while the process runs. All others need a
/// restart: [`adopt`] takes over only these.
const LIVE: [&str; 13] = [
    "alerter.",
    "expect.",
    "history.",
    "ingest.rate_per_source",
    "ingest.trusted_proxies",
    "log",
    "log_format",
    "operator",
    "sweeper.batch",
    "sweeper.remind_every",
    "sweeper.retry_for",
    "web.second_factor",
    "web.session",
];

/// `old` with the values of the live keys taken from `new`.
fn adopt(old: &Config, new: Config) -> Config {
    let mut next = old.clone();
    next.alerters = new.alerters;
    next.expect = new.expect;
    next.history = new.history;
    next.ingest.rate_per_source = new.ingest.rate_per_source;
    next.ingest.trusted_proxies = new.ingest.trusted_proxies;
    next.log = new.log;
    next.log_format = new.log_format;
    next.operator = new.operator;
    next.sweeper.batch = new.sweeper.batch;
    next.sweeper.remind_every = new.sweeper.remind_every;
    next.sweeper.retry_for = new.sweeper.retry_for;
    next.web.second_factor = new.web.second_factor;
    next.web.session = new.web.session;
    next.places = new.places;
    next.marks = new.marks;
    next
}

/// The result of a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The keys whose new values are in force.
    pub changed: Vec<String>,
    /// The keys whose new values need a restart.
    pub waiting: Vec<String>,
}

/// A handle to the configuration in force; clones share it.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    current: RwLock<Arc<Config>>,
    /// The clock of this process, which its alerters use.
    clock: Arc<NodeClock>,
    /// The built alerters, and what builds them again; `None` in a process that does not reload.
    alerters: Option<(Ways, Builder)>,
    /// Marks of the configuration at the start of the process.
    started: Marks,
    followers: Mutex<Vec<Follower>>,
}

/// Builds the alerters of a configuration, which use this clock. Finds the problems that only
/// building them reveals.
pub(crate) type Builder = fn(&Config, Arc<dyn Clock>) -> Result<Alerters, ConfigError>;

/// A callback that is given the result of each reload.
type Follower = Box<dyn Fn(&Result<Reloaded, ConfigError>) + Send>;

impl Live {
    /// A handle to this configuration, without built alerters.
    pub(super) fn new(config: Config) -> Self {
        Self::of(config, Arc::default(), None)
    }

    /// A handle to this configuration and its alerters, which use `clock`.
    pub(super) fn with_alerters(
        config: Config,
        clock: Arc<NodeClock>,
        alerters: Alerters,
        build: Builder,
    ) -> Self {
        Self::of(config, clock, Some((Ways::of(alerters), build)))
    }

    fn of(config: Config, clock: Arc<NodeClock>, alerters: Option<(Ways, Builder)>) -> Self {
        let started = config.marks.clone();
        let current = RwLock::new(Arc::new(config));
        Self(Arc::new(Inner { current, clock, alerters, started, followers: Mutex::default() }))
    }

    /// The clock of this process.
    pub(crate) fn clock(&self) -> Arc<NodeClock> {
        Arc::clone(&self.0.clock)
    }

    /// The alerters of this process, if its configuration can be reloaded.
    pub(crate) fn alerters(&self) -> Option<&Ways> {
        self.0.alerters.as_ref().map(|(own, _)| own)
    }

    /// The configuration that is in force now.
    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.current.read())
    }

    /// Registers `follower`, which is called after each reload, on the reloading thread.
    pub fn on_reload(&self, follower: impl Fn(&Result<Reloaded, ConfigError>) + Send + 'static) {
        self.0.followers.lock().push(Box::new(follower));
    }

    /// Reads the configuration again, with every file that it names. An invalid one changes nothing.
    ///
    /// # Errors
    /// All problems of the new configuration; the old one stays in force.
    pub fn reload(&self, role: Role, overrides: &Overrides) -> Result<Reloaded, ConfigError> {
        let done = Config::load(role, overrides).and_then(|new| self.replace(new));
        for follower in self.0.followers.lock().iter() {
            follower(&done);
        }
        done
    }

    fn replace(&self, new: Config) -> Result<Reloaded, ConfigError> {
        let built = match &self.0.alerters {
            Some((own, build)) => Some((own, build(&new, self.clock())?)),
            None => None,
        };
        let old = self.get();
        let changed = old.marks.differences(&new.marks).into_iter().filter(|key| is_live(key)).collect();
        let waiting =
            self.0.started.differences(&new.marks).into_iter().filter(|key| !is_live(key)).collect();
        // Replaced before the configuration, so that whoever sees the new configuration also finds its alerters.
        if let Some((own, alerters)) = built {
            own.replace(alerters);
        }
        *self.0.current.write() = Arc::new(adopt(&old, new));
        Ok(Reloaded { changed, waiting })
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

fn is_live(key: &str) -> bool {
    LIVE.iter().any(|live| key == *live || live.ends_with('.') && key.starts_with(live))
}

/// A fingerprint of a configuration, which detects changed values without keeping any: keys with their sections, and a
/// hash of each value. For a key that names a file, the contents of the file count too.
#[derive(Clone, Default)]
pub(super) struct Marks {
    values: BTreeMap<String, u64>,
    /// The files that keys name, with a hash of their contents.
    files: BTreeMap<PathBuf, u64>,
}

impl Marks {
    /// The fingerprint of a complete configuration, all layers merged.
    pub(super) fn of(root: &Table) -> Self {
        let mut marks = Self::default();
        marks.add(root, "");
        marks
    }

    /// Whether the files still have the contents that were hashed.
    pub(super) fn are_current(&self) -> bool {
        self.files.iter().all(|(path, marked)| content_hash(path) == *marked)
    }

    fn add(&mut self, table: &Table, section: &str) {
        for (key, Setting { value, .. }) in table {
            let path = format!("{section}{key}");
            if let Value::Table(inner) = value {
                self.add(inner, &format!("{path}."));
                continue;
            }
            let mut hasher = DefaultHasher::new();
            hash(value, &mut hasher);
            if let (true, Value::Text(file)) = (key.ends_with("_file"), value) {
                let content = content_hash(Path::new(file));
                content.hash(&mut hasher);
                self.files.insert(PathBuf::from(file), content);
            }
            self.values.insert(path, hasher.finish());
        }
    }

    /// The keys that differ, in order.
    fn differences(&self, other: &Self) -> Vec<String> {
        let mut keys: Vec<&String> = self.values.keys().chain(other.values.keys()).collect();
        keys.sort();
        keys.dedup();
        keys.into_iter().filter(|key| self.values.get(*key) != other.values.get(*key)).cloned().collect()
    }
}

/// Hashes of secrets must not be shown.
impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marks")
    }
}

/// A hash of a file's contents. An unreadable file is reported by the code that uses it.
fn content_hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    read_file(path, LARGEST_CERTIFICATES).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

fn hash(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Text(text) => text.hash(hasher),
        Value::Integer(number) => number.hash(hasher),
        Value::Float(number) => number.to_bits().hash(hasher),
        Value::Bool(flag) => flag.hash(hasher),
        Value::Date => {}
        Value::List(entries) => entries.iter().for_each(|entry| hash(&entry.value, hasher)),
        Value::Table(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::alerters;

    fn live(config: Config) -> Live {
        let alerters = alerters::build(&config, Arc::new(NodeClock::default())).unwrap();
        Live::with_alerters(config, Arc::default(), alerters, alerters::build)
    }

    fn load(text: &str) -> Config {
        Config::from_toml(Role::Standalone, text).unwrap()
    }

    fn strings(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn what_can_change_does_and_what_cannot_is_named_until_it_is_taken_back() {
        let live = live(load("operator = ['log']\n[ingest]\nqueue = 100"));
        let done = live.replace(load("operator = []\nlog = 'debug'\n[ingest]\nqueue = 200")).unwrap();
        assert_eq!(done.changed, strings(&["log", "operator"]));
        assert_eq!(done.waiting, strings(&["ingest.queue"]));
        let now = live.get();
        assert_eq!((now.log.as_str(), now.operator.len(), now.ingest.queue), ("debug", 0, 100));
        let done = live.replace(load("operator = []\nlog = 'debug'\n[ingest]\nqueue = 200")).unwrap();
        assert_eq!((done.changed, done.waiting), (Vec::new(), strings(&["ingest.queue"])), "it still waits");
        let done = live.replace(load("operator = []\nlog = 'debug'\n[ingest]\nqueue = 100")).unwrap();
        assert_eq!(done, Reloaded::default());
    }

    #[test]
    fn a_file_that_changes_while_the_configuration_is_read_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "hunter2").unwrap();
        let root = innkeeper_settings::parse(
            "innkeeper.toml",
            &format!("[alerter.ops]\nsecret_file = '{}'", secret.display()),
        )
        .unwrap();
        let marks = Marks::of(&root);
        assert!(marks.are_current());
        for change in [&|| fs::write(&secret, "hunter3"), &|| fs::remove_file(&secret)] as [&dyn Fn() -> _; 2]
        {
            change().unwrap();
            assert!(!marks.are_current());
            fs::write(&secret, "hunter2").unwrap();
            assert!(marks.are_current());
        }
    }

    #[test]
    fn a_secret_that_changed_in_its_file_is_named_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        let text = format!(
            "[alerter.ops]\nkind = 'webhook'\nurl = 'https://example.org'\nsecret_file = '{}'",
            secret.display()
        );
        fs::write(&secret, "hunter2").unwrap();
        let live = live(load(&text));
        fs::write(&secret, "hunter3").unwrap();
        let done = live.replace(load(&text)).unwrap();
        assert_eq!(done.changed, strings(&["alerter.ops.secret_file"]));
        assert!(!format!("{:?} {done:?}", live.get()).contains("hunter"));
        fs::remove_file(&secret).unwrap();
        live.replace(load(&text)).unwrap_err();
        assert!(live.get().knows_alerter("ops"), "the old one stays");
    }

    #[test]
    fn every_live_key_exists_and_takes_effect() {
        let changed = "
            log = 'debug'
            log_format = 'json'
            operator = ['log']
            expect = { ingest = 2, web = 1 }
            [alerter.new]
            kind = 'log'
            [history]
            keep_days = 7
            [ingest]
            rate_per_source = 7
            trusted_proxies = ['10.0.0.7']
            [sweeper]
            batch = 7
            remind_every = '7h'
            retry_for = '7h'
            [web]
            second_factor = 'admins'
            session = '7h'";
        let live = live(load(""));
        let done = live.replace(load(changed)).unwrap();
        assert_eq!(done.waiting, Vec::<String>::new());
        for key in LIVE {
            let is_it = |changed: &String| changed == key || key.ends_with('.') && changed.starts_with(key);
            assert!(done.changed.iter().any(is_it), "{key}");
        }
        let shown = |config: &Config| {
            let mut config = config.clone();
            (config.file, config.marks) = (None, Marks::default());
            format!("{config:?}")
        };
        assert_eq!(shown(&live.get()), shown(&load(changed)));
    }
}
