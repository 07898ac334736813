//! The path prefix under which browsers and jobs reach this instance, if `public_url` has one.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

/// The path of `public_url`; clones share it.
#[derive(Debug, Clone)]
pub struct PathPrefix(Arc<str>);

/// All of Innkeeper's own paths. A prefix that equals one of them would be ambiguous.
const OWN: [&str; 63] = [
    "/account",
    "/account/display",
    "/account/passkeys/ask",
    "/account/passkeys/begin",
    "/account/passkeys/finish",
    "/account/password",
    "/account/recovery-codes",
    "/account/second-factor",
    "/account/second-factor/confirm",
    "/account/second-factor/remove",
    "/account/sessions/end-others",
    "/alerts",
    "/api",
    "/api/v1/alerts",
    "/api/v1/apply",
    "/api/v1/audit",
    "/api/v1/checkins",
    "/api/v1/deliveries",
    "/api/v1/export",
    "/api/v1/me",
    "/api/v1/nodes",
    "/api/v1/openapi.json",
    "/api/v1/reservations",
    "/api/v1/summary",
    "/api/v1/tokens",
    "/assets/editor.js",
    "/assets/favicon.svg",
    "/assets/live.js",
    "/assets/passkeys.js",
    "/assets/style.css",
    "/badguests",
    "/checkin",
    "/checkout",
    "/cron",
    "/cron/missed",
    "/deliveries",
    "/explain",
    "/favicon.ico",
    "/healthcheck",
    "/healthz",
    "/is-coordinator",
    "/login",
    "/login/openid",
    "/login/openid/callback",
    "/login/second",
    "/login/second/passkey/begin",
    "/login/second/passkey/finish",
    "/logout",
    "/metrics",
    "/new",
    "/nodes",
    "/pause",
    "/peer",
    "/readyz",
    "/reservation",
    "/settings",
    "/settings/audit",
    "/settings/shares",
    "/settings/tokens",
    "/settings/users",
    "/snooze",
    "/status",
    "/version",
];

impl PathPrefix {
    /// The prefix of an instance that is reached at `public_url`.
    pub fn at(public_url: &str) -> Self {
        let rest = public_url.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.find('/').map_or("", |at| &rest[at..]);
        Self(path.trim_end_matches('/').into())
    }

    /// The prefix of all paths: `/monitor`, or empty.
    pub fn base(&self) -> &str {
        &self.0
    }

    /// The path of its cookies.
    pub fn cookie_path(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// The problem, if the prefix is also a path of Innkeeper's own.
    pub fn twin(&self) -> Option<String> {
        let base = &*self.0;
        let is_own = OWN.iter().any(|own| self.inside(own) == Some("/"));
        is_own.then(|| {
            format!(
                "public_url: its path {base} is also one of Innkeeper's own paths, so a request for {base} would be ambiguous; choose \
                 another path, such as /innkeeper"
            )
        })
    }

    /// The part of `path` after the prefix, if `path` begins with it. Proxies differ in their percent-encoding.
    pub fn inside<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.0.is_empty() {
            return None;
        }
        let mut rest = path;
        for segment in self.0[1..].split('/') {
            let after = rest.strip_prefix('/')?;
            let end = after.find('/').unwrap_or(after.len());
            if !percent_decode_str(&after[..end]).eq(percent_decode_str(segment)) {
                return None;
            }
            rest = &after[end..];
        }
        Some(if rest.is_empty() { "/" } else { rest })
    }
}

#[cfg(test)]
mod tests {
    use super::PathPrefix;

    #[test]
    fn a_path_is_found_below_the_mount_whatever_its_encoding() {
        let monitor = PathPrefix::at("https://example.org:8443/monitor/");
        assert_eq!((monitor.base(), monitor.cookie_path()), ("/monitor", "/monitor"));
        for (path, inside) in [
            ("/monitor", Some("/")),
            ("/monitor/", Some("/")),
            ("/monitor/status/17", Some("/status/17")),
            ("/m%6Fnitor/status", Some("/status")),
            ("/monitor//ping/x", Some("//ping/x")),
            ("/monitoring", None),
            ("/status", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(monitor.inside(path), inside, "{path}");
        }
        let deep = PathPrefix::at("https://example.org/b%C3%BCro/monitor");
        assert_eq!(deep.inside("/b%c3%bcro/monitor/status"), Some("/status"));
        assert_eq!(deep.inside("/b%c3%bcro"), None);
    }

    #[test]
    fn a_base_that_is_a_path_of_its_own_is_named() {
        for url in ["https://example.org/cron", "https://example.org/status/", "https://example.org/s%74atus"]
        {
            let problem = PathPrefix::at(url).twin().unwrap();
            assert!(problem.contains("choose another path, such as /innkeeper"), "{problem}");
        }
        for url in
            ["https://example.org", "https://example.org/monitor", "https://example.org/innkeeper/cron"]
        {
            assert_eq!(PathPrefix::at(url).twin(), None, "{url}");
        }
    }

    #[test]
    fn without_a_path_there_is_nothing_to_do() {
        for url in ["http://127.0.0.1:8080", "https://example.org/", ""] {
            let mount = PathPrefix::at(url);
            assert_eq!(
                (mount.base(), mount.cookie_path(), mount.inside("/status")),
                ("", "/", None),
                "{url}"
            );
        }
    }
}
