//! `[database]`: which database, and how it is named where people can read it.

use std::path::{Path, PathBuf};

use innkeeper_core::secret::Secret;
use innkeeper_store::{DatabaseUrl, PostgresUrl};

use crate::Role;
use innkeeper_settings::{ConfigError, Origin, Problem, Section};

const DEFAULT_URL: &str = "sqlite://innkeeper.db";

/// Where Debian, Red Hat, SUSE and Alpine keep the authorities that they trust. `sslrootcert=system` asks OpenSSL for them, and the one that is
/// built in knows none of these places.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The two kinds of database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file of this machine.
    Sqlite {
        /// The file; absolute.
        path: PathBuf,
    },
    /// A server, or several of which one takes writes.
    Postgres,
}

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseConfig {
    /// None where what is written is no address.
    url: Option<DatabaseUrl>,
    /// The address whole, with its password.
    secret: Secret,
    /// A role that cannot do without one, where none is set.
    missing_for: Option<Role>,
    /// What the URL leads to.
    pub kind: DatabaseKind,
    /// The most connections of this process.
    pub pool_size: u32,
    /// Whether a pooler in transaction mode stands before it.
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
                (None, DatabaseKind::Postgres)
            }
        };
        let secret = url.as_ref().map_or(written, |url| Secret::new(url.to_string()));
        Self { url, secret, kind, pool_size, behind_pooler, missing_for }
    }

    /// Fails when nobody said where the database is and this is one of several services that share it: it would make a file
    /// of its own, and nothing would ever be found in it.
    ///
    /// # Errors
    /// Says what to set.
    pub fn require(&self) -> Result<(), ConfigError> {
        let Some(role) = self.missing_for else { return Ok(()) };
        let what = format!(
            "is not set, and the {role} shares its database with other services; set it (or INNKEEPER_DATABASE_URL), as in postgres://user@host/database or sqlite:///path/to/file"
        );
        let key = "database.url".to_owned();
        Err(ConfigError(vec![Problem { origin: Origin::Default, key, what }]))
    }

    /// The URL with its password, for the store and nobody else. SQLite's names an absolute path.
    pub fn url(&self) -> &str {
        self.secret.reveal()
    }

    /// The same taken apart.
    pub(crate) fn address(&self) -> Option<&DatabaseUrl> {
        self.url.as_ref()
    }

    /// The URL without its password, fit to be shown.
    pub fn masked_url(&self) -> String {
        self.url.as_ref().map_or_else(|| "…".to_owned(), DatabaseUrl::masked)
    }
}

/// Reads the address, and finds SQLite's file. An error never shows the address: it may hold a password.
fn resolve(url: &str, data_dir: &Path) -> Result<(DatabaseUrl, DatabaseKind), String> {
    const ALLOWED: &str = "write sqlite://innkeeper.db (a file in data_dir), sqlite:///path/to/file, or postgres://user@host/database";
    match DatabaseUrl::parse(url).map_err(|what| format!("{what}; {ALLOWED}"))? {
        DatabaseUrl::Postgres(mut url) => {
            let is_set = |variable: &&str| std::env::var_os(variable).is_some();
            let known = SYSTEM_AUTHORITIES.iter().find(|file| Path::new(file).exists());
            // Whoever has set these has told OpenSSL where to look.
            if let Some(file) = known
                && !["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(is_set)
            {
                trust(&mut url, file);
            }
            Ok((DatabaseUrl::Postgres(url), DatabaseKind::Postgres))
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
            Ok((url, DatabaseKind::Sqlite { path }))
        }
    }
}

/// Puts `file` in the place of `sslrootcert=system`, and what that brings along. A weaker `sslmode` beside it is left for the library
/// to refuse.
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
            assert_eq!(kind, DatabaseKind::Sqlite { path: path.into() });
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
