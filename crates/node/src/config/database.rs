//! `[database]`: which database, and how it is named where people can read it.

use std::path::{Path, PathBuf};

use innkeeper_core::secret::Secret;

use super::problem::{ConfigError, Origin, Problem};
use super::section::Section;
use crate::Role;

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
    url: Secret,
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
            Ok(resolved) => resolved,
            Err(what) => {
                section.refuse("url", origin, what);
                (written, DatabaseKind::Postgres)
            }
        };
        Self { url, kind, pool_size, behind_pooler, missing_for }
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
        self.url.reveal()
    }

    /// The URL without its password, fit to be shown.
    pub fn masked_url(&self) -> String {
        mask(self.url.reveal())
    }
}

/// Checks the scheme, and finds SQLite's file. An error never shows the URL: it may hold a password.
fn resolve(url: &str, data_dir: &Path) -> Result<(Secret, DatabaseKind), String> {
    const ALLOWED: &str = "write sqlite://innkeeper.db (a file in data_dir), sqlite:///path/to/file, or postgres://user@host/database";
    if url.chars().any(char::is_control) {
        return Err("has a control character; write one line".to_owned());
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("has no scheme; {ALLOWED}"));
    };
    match scheme {
        "postgres" | "postgresql" if rest.is_empty() => Err(format!("names no server; {ALLOWED}")),
        "postgres" | "postgresql" if has_bare_separator(rest) => {
            Err("has an @ where none may stand; in a user or password write @ as %40, / as %2F, ? as %3F"
                .to_owned())
        }
        "postgres" | "postgresql" => {
            let is_set = |variable: &&str| std::env::var_os(variable).is_some();
            let known = SYSTEM_AUTHORITIES.iter().find(|file| Path::new(file).exists());
            // Whoever has set these has told OpenSSL where to look.
            let known = known.filter(|_| !["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(is_set));
            Ok((
                Secret::new(known.map_or(url.to_owned(), |file| trusting(url, file))),
                DatabaseKind::Postgres,
            ))
        }
        "sqlite" if rest.is_empty() => Err(format!("names no file; {ALLOWED}")),
        "sqlite" if rest.starts_with(":memory:") || rest.contains(['?', '#']) => {
            Err(format!("takes the path of a file and no parameters; {ALLOWED}"))
        }
        "sqlite" => {
            let path = data_dir.join(rest);
            let url = path.to_str().map(|path| Secret::new(format!("sqlite://{path}"))).ok_or_else(|| {
                format!("lies in {data_dir:?}, whose name is not UTF-8; choose another data_dir")
            })?;
            Ok((url, DatabaseKind::Sqlite { path }))
        }
        other if other.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => {
            Err(format!("the scheme {other}:// is not known; {ALLOWED}"))
        }
        _ => Err(format!("has an unknown scheme; {ALLOWED}")),
    }
}

/// The URL with `file` in the place of `sslrootcert=system`, and what that brings along. A weaker `sslmode` beside it is left for the
/// library to refuse.
fn trusting(url: &str, file: &str) -> String {
    let Some((place, parameters)) = url.split_once('?') else { return url.to_owned() };
    let parameters: Vec<&str> = parameters.split('&').collect();
    let modes: Vec<&str> =
        parameters.iter().filter_map(|parameter| parameter.strip_prefix("sslmode=")).collect();
    if !parameters.contains(&"sslrootcert=system") || modes.iter().any(|mode| *mode != "verify-full") {
        return url.to_owned();
    }
    let named = format!("sslrootcert={file}");
    let mut parameters: Vec<&str> = parameters
        .into_iter()
        .map(|parameter| if parameter == "sslrootcert=system" { named.as_str() } else { parameter })
        .collect();
    if modes.is_empty() {
        parameters.push("sslmode=verify-full");
    }
    format!("{place}?{}", parameters.join("&"))
}

/// Whether an `@` stands elsewhere than between user and host. Then the password has a separator in it, and the
/// server's library would take a part of the password for a host or port, and show it in its error.
fn has_bare_separator(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    rest.matches('@').count() != usize::from(authority.matches('@').count() == 1)
}

/// Puts dots for the password, wherever one can stand: before the last `@`, and in the parameters.
fn mask(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".to_owned() };
    // A password may hold an unescaped @, / or ?; so the last @ ends it, even if that hides more than it must.
    let (user, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => match credentials.split_once(':') {
            Some((user, _)) => (format!("{user}:…@"), place),
            None => (format!("{credentials}@"), place),
        },
        None => (String::new(), rest),
    };
    let place = match place.split_once('?') {
        None => place.to_owned(),
        Some((place, parameters)) => {
            let parameters: Vec<String> = parameters
                .split('&')
                .map(|parameter| match parameter.split_once('=') {
                    Some((key, _)) if key.to_ascii_lowercase().contains("pass") => format!("{key}=…"),
                    _ => parameter.to_owned(),
                })
                .collect();
            format!("{place}?{}", parameters.join("&"))
        }
    };
    format!("{scheme}://{user}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_survives_masking() {
        for (url, shown) in [
            ("postgres://inn:hunter2@db/inn", "postgres://inn:…@db/inn"),
            ("postgres://inn:hun@t/e?r2@db/inn", "postgres://inn:…@db/inn"),
            (
                "postgres://inn:hunter2@a:1,b:2/inn?target_session_attrs=read-write",
                "postgres://inn:…@a:1,b:2/inn?target_session_attrs=read-write",
            ),
            (
                "postgres://db/inn?user=x&password=hunter2&sslpassword=hunter2&sslmode=require",
                "postgres://db/inn?user=x&password=…&sslpassword=…&sslmode=require",
            ),
            ("postgres://inn@db/inn", "postgres://inn@db/inn"),
            ("postgres:///inn?host=/run/postgresql", "postgres:///inn?host=/run/postgresql"),
            ("sqlite:///var/lib/innkeeper/innkeeper.db", "sqlite:///var/lib/innkeeper/innkeeper.db"),
            ("host=db password=hunter2", "…"),
        ] {
            assert_eq!(mask(url), shown);
        }
    }

    #[test]
    fn a_file_is_found_in_the_data_directory() {
        let dir = Path::new("/data");
        for (url, path) in [("sqlite://x.db", "/data/x.db"), ("sqlite:///y/x.db", "/y/x.db")] {
            let (resolved, kind) = resolve(url, dir).unwrap();
            assert_eq!(kind, DatabaseKind::Sqlite { path: path.into() });
            assert_eq!(resolved.reveal(), format!("sqlite://{path}"));
        }
    }

    #[test]
    fn the_authorities_of_the_system_are_found() {
        for (url, found) in [
            ("postgres://db/inn?sslrootcert=system", "postgres://db/inn?sslrootcert=/ca&sslmode=verify-full"),
            (
                "postgres://db/inn?sslmode=verify-full&sslrootcert=system&x=y",
                "postgres://db/inn?sslmode=verify-full&sslrootcert=/ca&x=y",
            ),
            (
                "postgres://db/inn?sslrootcert=system&sslmode=require",
                "postgres://db/inn?sslrootcert=system&sslmode=require",
            ),
            ("postgres://db/inn?sslrootcert=/other", "postgres://db/inn?sslrootcert=/other"),
            ("postgres://db/system", "postgres://db/system"),
        ] {
            assert_eq!(trusting(url, "/ca"), found);
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
