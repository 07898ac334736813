//! What a Postgres URL, and the variables that libpq reads beside it, say about TLS.

use innkeeper_store::PostgresUrl;

/// How a program is built that speaks TLS to Postgres, and where one can be had.
pub(crate) const HOW_TO_GET_IT: &str = "build it with cargo build --release --features postgres-tls; the services ingest, sweeper and web, and the image, have it";

/// Whether this program speaks TLS to Postgres.
pub(crate) const IS_BUILT_IN: bool = cfg!(feature = "postgres-tls");

/// The parameters of a connection: those of the URL before those of the environment, as libpq takes them.
pub(crate) struct Parameters<'a, E> {
    url: &'a PostgresUrl,
    environment: E,
}

impl<'a, E: Fn(&str) -> Option<String>> Parameters<'a, E> {
    /// Of `url`; `environment` looks a variable up.
    pub(crate) fn of(url: &'a PostgresUrl, environment: E) -> Self {
        Self { url, environment }
    }

    /// The value of `key`, or else of `variable`; none where it is empty.
    pub(crate) fn get(&self, key: &str, variable: &str) -> Option<String> {
        self.url.parameter(key).or_else(|| (self.environment)(variable)).filter(|value| !value.is_empty())
    }

    /// The `sslmode` that somebody has written down.
    pub(crate) fn chosen_mode(&self) -> Option<String> {
        self.get("sslmode", "PGSSLMODE")
    }

    /// The file with the certificates of authorities, or `system`.
    pub(crate) fn authority(&self) -> Option<String> {
        self.get("sslrootcert", "PGSSLROOTCERT")
    }

    /// The `sslmode` in force, libpq's own defaults included.
    pub(crate) fn mode(&self) -> String {
        self.chosen_mode().unwrap_or_else(|| match (self.authority(), self.url.parameter("ssl").as_deref()) {
            (Some(authority), _) if authority == "system" => "verify-full".to_owned(),
            (_, Some("true")) => "require".to_owned(),
            _ => "prefer".to_owned(),
        })
    }

    /// What asks for TLS, as `sslmode=require`; none where a connection without it would do.
    pub(crate) fn demand(&self) -> Option<String> {
        let mode = self.mode();
        match (mode.as_str(), self.authority()) {
            ("require" | "verify-ca" | "verify-full", _) => Some(format!("sslmode={mode}")),
            ("prefer", Some(_)) => Some("sslrootcert".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use innkeeper_store::DatabaseUrl;

    use super::*;

    #[test]
    fn what_asks_for_tls() {
        for (query, variable, expected) in [
            ("", None, None),
            ("?sslmode=disable&sslrootcert=/ca.pem", None, None),
            ("?sslmode=prefer", None, None),
            ("?sslmode=allow", None, None),
            ("?sslmode=require", None, Some("sslmode=require")),
            ("?x=y&sslmode=verify-c%61", None, Some("sslmode=verify-ca")),
            ("?sslmode=disable&sslmode=verify-full", None, Some("sslmode=verify-full")),
            ("?sslrootcert=system", None, Some("sslmode=verify-full")),
            ("?sslrootcert=/ca.pem", None, Some("sslrootcert")),
            ("?ssl=true", None, Some("sslmode=require")),
            ("?ssl=false", None, None),
            ("", Some("require"), Some("sslmode=require")),
            ("?sslmode=disable", Some("require"), None),
            ("", Some(""), None),
        ] {
            let url = format!("postgres://me:sslmode=require@db/inn{query}");
            let Ok(DatabaseUrl::Postgres(url)) = DatabaseUrl::parse(&url) else { panic!("{url}") };
            let environment = |name: &str| variable.filter(|_| name == "PGSSLMODE").map(str::to_owned);
            assert_eq!(
                Parameters::of(&url, environment).demand().as_deref(),
                expected,
                "{query} {variable:?}"
            );
        }
    }
}
