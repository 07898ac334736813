//! The address of a database. Only this module parses it.

use std::fmt;

use percent_encoding::percent_decode_str;

/// The address of a database. It may hold a password, so neither `Debug` nor an error shows the
/// whole of it.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://PATH`.
    Sqlite {
        /// The path as it is written, which may be relative.
        path: String,
    },
    /// `postgres://…` or `postgresql://…`.
    Postgres(PostgresUrl),
}

/// The address of a Postgres server, or of several of which one takes writes.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// Scheme, user, hosts and database: all before the question mark.
    place: String,
    /// The parameters after the question mark, each as it is written.
    parameters: Vec<String>,
}

impl DatabaseUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// A text that says what is wrong with the address, without the address itself. The caller adds
    /// what is allowed.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.chars().any(char::is_control) {
            return Err("has a control character; write one line".to_owned());
        }
        let (scheme, rest) = url.split_once("://").ok_or("has no scheme")?;
        match scheme {
            "postgres" | "postgresql" if rest.is_empty() => Err("names no server".to_owned()),
            "postgres" | "postgresql" => PostgresUrl::parse(url).map(Self::Postgres),
            "sqlite" if rest.is_empty() => Err("names no file".to_owned()),
            "sqlite" => Ok(Self::Sqlite { path: rest.to_owned() }),
            other if other.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => {
                Err(format!("the scheme {other}:// is not known"))
            }
            _ => Err("has an unknown scheme".to_owned()),
        }
    }

    /// The address without its password, fit to be shown.
    pub fn masked(&self) -> String {
        match self {
            Self::Sqlite { path } => format!("sqlite://{path}"),
            Self::Postgres(url) => url.masked(),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    /// The whole address, with its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(f, "sqlite://{path}"),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl PostgresUrl {
    fn parse(url: &str) -> Result<Self, String> {
        let (_, rest) = url.split_once("://").unwrap_or_default();
        // More than one @, or one behind the authority, means an unescaped separator in the
        // password. libpq would take a part of the password for a host or port, and show it in its
        // error.
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if rest.matches('@').count() != usize::from(authority.matches('@').count() == 1) {
            return Err(
                "has an @ where none may stand; in a user or password write @ as %40, / as %2F, ? as %3F"
                    .to_owned(),
            );
        }
        let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
        let parameters = parameters.split('&').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        Ok(Self { place: place.to_owned(), parameters })
    }

    /// The parameters and their values, decoded, in the order of the address.
    pub fn parameters(&self) -> impl Iterator<Item = (String, String)> {
        self.parameters.iter().map(|one| {
            let (name, value) = one.split_once('=').unwrap_or((one, ""));
            (decoded(name), decoded(value))
        })
    }

    /// The value of a parameter; the last one where it is given several times.
    pub fn parameter(&self, wanted: &str) -> Option<String> {
        self.parameters().filter(|(name, _)| name == wanted).map(|(_, value)| value).last()
    }

    /// Removes the parameters of this name.
    pub fn without(&mut self, name: &str) {
        self.parameters.retain(|one| decoded(one.split_once('=').map_or(one, |(name, _)| name)) != name);
    }

    /// Adds a parameter. `value` must be percent-encoded already.
    pub fn add(&mut self, name: &str, value: &str) {
        self.parameters.push(format!("{name}={value}"));
    }

    /// The hosts before the path, decoded, without their ports. An empty one stands for libpq's
    /// default.
    pub fn hosts(&self) -> Vec<String> {
        let (_, rest) = self.place.split_once("://").unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        hosts.split(',').map(host_of).collect()
    }

    /// The address without its passwords, which can stand before the `@` and in the parameters.
    fn masked(&self) -> String {
        let (scheme, rest) = self.place.split_once("://").unwrap_or_default();
        let place = match rest.rsplit_once('@') {
            Some((credentials, place)) => match credentials.split_once(':') {
                Some((user, _)) => format!("{user}:…@{place}"),
                None => rest.to_owned(),
            },
            None => rest.to_owned(),
        };
        let shown = |one: &String| match one.split_once('=') {
            Some((name, _)) if decoded(name).to_ascii_lowercase().contains("pass") => format!("{name}=…"),
            _ => one.clone(),
        };
        let parameters: Vec<String> = self.parameters.iter().map(shown).collect();
        let mark = if parameters.is_empty() { "" } else { "?" };
        format!("{scheme}://{place}{mark}{}", parameters.join("&"))
    }
}

impl fmt::Display for PostgresUrl {
    /// The whole address, with its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.parameters.is_empty() { "" } else { "?" };
        write!(f, "{}{mark}{}", self.place, self.parameters.join("&"))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// `db:5432` as `db`, `[::1]:5432` as `::1`.
fn host_of(entry: &str) -> String {
    let host = match entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => entry.split(':').next().unwrap_or_default(),
    };
    decoded(host)
}

/// Decodes percent-encoding. To libpq a plus sign is a plus sign.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(url: &str) -> PostgresUrl {
        match DatabaseUrl::parse(url) {
            Ok(DatabaseUrl::Postgres(url)) => url,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn it_is_taken_apart_and_put_together_again() {
        for url in [
            "postgres://me:x@a:1,b/x?connect_timeout=9&options=-c%20a%3Db&password=x+%2B",
            "postgresql:///x?host=/run/postgresql",
            "postgres://%2Ftmp%2Fpg/x",
            "sqlite:///var/lib/x.db",
            "sqlite://x.db",
        ] {
            assert_eq!(DatabaseUrl::parse(url).unwrap().to_string(), url);
        }
        let mut url = postgres("postgres://me:x@a:1,[::1]:2,%2Ftmp/x?a=1&b=x+%2B&a=2");
        assert_eq!(url.hosts(), ["a", "::1", "/tmp"]);
        assert_eq!((url.parameter("a").as_deref(), url.parameter("b").as_deref()), (Some("2"), Some("x++")));
        assert_eq!((url.parameter("c"), postgres("postgres:///x").hosts()), (None, vec![String::new()]));
        url.without("a");
        url.add("c", "3");
        assert_eq!(url.to_string(), "postgres://me:x@a:1,[::1]:2,%2Ftmp/x?b=x+%2B&c=3");
    }

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("postgres://inn:hunter2@db/inn", "postgres://inn:…@db/inn"),
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
        ] {
            let parsed = DatabaseUrl::parse(url).unwrap();
            assert_eq!((parsed.masked(), format!("{parsed:?}")), (shown.to_owned(), shown.to_owned()));
        }
        for url in [
            "host=db password=hunter2",
            "hunter2 x://a",
            "postgres://inn:hunt@er2@db/inn",
            "postgres://inn:hunter2/x@db/inn",
            "postgres://inn:hunter2?x@db/inn",
            "postgres://inn:hunter2@db/\n",
        ] {
            assert!(!DatabaseUrl::parse(url).unwrap_err().contains("hunter2"), "{url}");
        }
    }
}
