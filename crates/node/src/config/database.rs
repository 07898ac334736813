//! The section `[database]`: which database is used, and its URL without the password.

use std::path::{Path, PathBuf};

use innkeeper_core::secret::Secret;
use innkeeper_store::{DatabaseUrl, PostgresUrl};

use crate::Role;
use innkeeper_settings::{ConfigError, Origin, Problem, Section};

const DEFAULT_URL: &str = "sqlite://innkeeper.db";

/// The trusted root certificates of Debian, Red Hat, SUSE and Alpine. `sslrootcert=system` asks OpenSSL for its own,
/// and the OpenSSL built into the program knows none of these places.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The two kinds of database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabasePlace {
    /// A file on this machine.
    Sqlite {
        /// The absolute path of the file.
        path: PathBuf,
    },
    /// One server, or several of which one accepts writes.
    Postgres,
}

/// The database settings.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseConfig {
    /// The parsed URL; `None` if the text is not a valid URL.
    url: Option<DatabaseUrl>,
    /// The complete URL, with its password.
    secret: Secret,
    /// The role that needs an explicit URL, if none is set.
    missing_for: Option<Role>,
    /// The kind of database that the URL names.
    pub kind: DatabasePlace,
    /// The most connections of this process.
    pub pool_size: u32,
    /// Whether connections go through a pooler in transaction mode.
    pub behind_pooler: bool,
}

impl DatabaseConfig {
    pub(crate) fn read(section: &mut Section<'_>, data_dir: &Path, role: Role) -> Self {
        let behind_pooler = section.parsed("pooler", false, |text| match text {
            "none" => Ok(false),
            "transaction" => Ok(true),
            other => Err(format!("{other:?} is not known; write \"none\" or \"transaction\"")),
        });
        let pool_size = section.number("pool_size", 8, 1..=1000);
        let (written, origin) =
            section.secret("url", "url_file").unwrap_or((Secret::new(DEFAULT_URL), Origin::Default));
        let missing_for = (matches!(origin, Origin::Default) && role != Role::Standalone).then_some(role);
        let (url, kind) = match resolve(written.reveal(), data_dir) {
            Ok((url, kind)) => (Some(url), kind),
            Err(what) => {
                section.refuse("url", origin, what);
                (None, DatabasePlace::Postgres)
            }
        };
        let secret = url.as_ref().map_or(written, |url| Secret::new(url.to_string()));
        Self { url, secret, kind, pool_size, behind_pooler, missing_for }
    }

    /// Fails if no URL is set and this is one of several services that share a database: it would create a file of its
    /// own, which the other services would never see.
    ///
    /// # Errors
    /// A message that says which key to set.
    pub fn require(&self) -> Result<(), ConfigError> {
        let Some(role) = self.missing_for else { return Ok(()) };
        let what = format!(
            "is not set, and the {role} shares its database with other services; set it (or INNKEEPER_DATABASE_URL), as in postgres://user@host/database or sqlite:///path/to/file"
        );
        let key = "database.url".to_owned();
        Err(ConfigError(vec![Problem { origin: Origin::Default, key, what }]))
    }

    /// The URL with its password, for the store only. For SQLite it contains an absolute path.
    pub fn url(&self) -> &str {
        self.secret.reveal()
    }

    /// The parsed URL.
    pub(crate) fn address(&self) -> Option<&DatabaseUrl> {
        self.url.as_ref()
    }

    /// The URL without its password, safe to display.
    pub fn masked_url(&self) -> String {
        self.url.as_ref().map_or_else(|| "…".to_owned(), DatabaseUrl::masked)
    }
}

/// Parses the URL, and determines SQLite's file. Errors never contain the URL, which may hold a password.
fn resolve(url: &str, data_dir: &Path) -> Result<(DatabaseUrl, DatabasePlace), String> {
    const ALLOWED: &str = "write sqlite://innkeeper.db (a file in data_dir), sqlite:///path/to/file, or postgres://user@host/database";
    match DatabaseUrl::parse(url).map_err(|what| format!("{what}; {ALLOWED}"))? {
        DatabaseUrl::Postgres(mut url) => {
            let is_set = |variable: &&str| std::env::var_os(variable).is_some();
            let known = SYSTEM_AUTHORITIES.iter().find(|file| Path::new(file).exists());
            // With these variables set, OpenSSL already knows where to look.
            if let Some(file) = known
                && !["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(is_set)
            {
                trust(&mut url, file);
            }
            Ok((DatabaseUrl::Postgres(url), DatabasePlace::Postgres))
        }
        DatabaseUrl::Sqlite { path } if path.starts_with(":memory:") || path.contains(['?', '#']) => {
            Err(format!("takes the path of a file and no parameters; {ALLOWED}"))
        }
        DatabaseUrl::Sqlite { path } => {
            let path = data_dir.join(path);
            let url = path.to_str().map(|path| DatabaseUrl::Sqlite { path: path.to_owned() });
            let url = url.ok_or_else(|| {
                format!("lies in {data_dir:?}, whose name is not UTF-8; choose another data_dir")
            })?;
            Ok((url, DatabasePlace::Sqlite { path }))
        }
    }
}

/// Replaces `sslrootcert=system` with `file` and the settings it implies. A weaker `sslmode` is left for libpq to
/// refuse.
fn trust(url: &mut PostgresUrl, file: &str) {
    let modes: Vec<String> =
        url.parameters().filter(|(name, _)| name == "sslmode").map(|(_, value)| value).collect();
    if url.parameter("sslrootcert").as_deref() != Some("system")
        || modes.iter().any(|mode| mode != "verify-full")
    {
        return;
    }
    url.without("sslrootcert");
    url.add("sslrootcert", file);
    if modes.is_empty() {
        url.add("sslmode", "verify-full");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_in_the_data_directory() {
        let dir = Path::new("/data");
        for (url, path) in [("sqlite://x.db", "/data/x.db"), ("sqlite:///y/x.db", "/y/x.db")] {
            let (resolved, kind) = resolve(url, dir).unwrap();
            assert_eq!(kind, DatabasePlace::Sqlite { path: path.into() });
            assert_eq!(resolved.to_string(), format!("sqlite://{path}"));
        }
    }

    #[test]
    fn the_authorities_of_the_system_are_found() {
        for (url, found) in [
            ("postgres://db/inn?sslrootcert=system", "postgres://db/inn?sslrootcert=/ca&sslmode=verify-full"),
            (
                "postgres://db/inn?sslmode=verify-full&sslrootcert=system&x=y",
                "postgres://db/inn?sslmode=verify-full&x=y&sslrootcert=/ca",
            ),
            (
                "postgres://db/inn?sslrootcert=system&sslmode=require",
                "postgres://db/inn?sslrootcert=system&sslmode=require",
            ),
            ("postgres://db/inn?sslrootcert=/other", "postgres://db/inn?sslrootcert=/other"),
            ("postgres://db/system", "postgres://db/system"),
        ] {
            let Ok(DatabaseUrl::Postgres(mut url)) = DatabaseUrl::parse(url) else { panic!("{url}") };
            trust(&mut url, "/ca");
            assert_eq!(url.to_string(), found);
        }
    }

    #[test]
    fn other_schemes_are_refused_without_showing_the_url() {
        for url in [
            "mysql://root:hunter2@db/x",
            "inn.db",
            "",
            "postgres:",
            "postgres://",
            "sqlite://",
            "sqlite://:memory:",
            "sqlite://x.db?mode=rwc",
            "host=db password=hunter2",
            "postgres://inn:hunter2@db/\n",
            "hunter2 x://a",
            "postgres://inn:hunt@er2@db/inn",
            "postgres://inn:hunter2/x@db/inn",
            "postgres://inn:hunter2?x@db/inn",
        ] {
            let what = resolve(url, Path::new("/data")).unwrap_err();
            let allowed = ["postgres://user@host/database", "one line", "%40"];
            assert!(allowed.iter().any(|part| what.contains(part)), "{what}");
            assert!(!what.contains("hunter2"), "{what}");
        }
    }
}
