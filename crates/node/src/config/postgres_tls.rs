//! The TLS settings in a Postgres URL and in the environment variables that libpq reads.

use innkeeper_store::PostgresUrl;

/// How to build or obtain a program that supports TLS to Postgres.
pub(crate) const HOW_TO_GET_IT: &str = "build it with cargo build --release --features postgres-tls; the services ingest, sweeper and web, and the image, have it";

/// Whether this program supports TLS to Postgres.
pub(crate) const IS_BUILT_IN: bool = cfg!(feature = "postgres-tls");

/// The parameters of a connection. As in libpq, those of the URL override those of the environment.
pub(crate) struct Parameters<'a, E> {
    url: &'a PostgresUrl,
    environment: E,
}

impl<'a, E: Fn(&str) -> Option<String>> Parameters<'a, E> {
    /// The parameters of `url`; `environment` looks up a variable.
    pub(crate) fn of(url: &'a PostgresUrl, environment: E) -> Self {
        Self { url, environment }
    }

    /// The value of `key`, otherwise of `variable`; `None` if it is empty.
    pub(crate) fn get(&self, key: &str, variable: &str) -> Option<String> {
        self.url.parameter(key).or_else(|| (self.environment)(variable)).filter(|value| !value.is_empty())
    }

    /// The `sslmode` that was set explicitly.
    pub(crate) fn chosen_mode(&self) -> Option<String> {
        self.get("sslmode", "PGSSLMODE")
    }

    /// The file with the root certificates, or `system`.
    pub(crate) fn authority(&self) -> Option<String> {
        self.get("sslrootcert", "PGSSLROOTCERT")
    }

    /// The effective `sslmode`, including libpq's defaults.
    pub(crate) fn mode(&self) -> String {
        self.chosen_mode().unwrap_or_else(|| match (self.authority(), self.url.parameter("ssl").as_deref()) {
            (Some(authority), _) if authority == "system" => "verify-full".to_owned(),
            (_, Some("true")) => "require".to_owned(),
            _ => "prefer".to_owned(),
        })
    }

    /// The setting that demands TLS, such as `sslmode=require`; `None` if an unencrypted connection is allowed.
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
