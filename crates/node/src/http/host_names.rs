//! By which names an open house may be reached.
//!
//! Any site can have a name of its own lead to this machine (DNS rebinding): to a browser its pages and Innkeeper's are then one site, and a
//! script there could do everything. The browser still says by which name it came: `Host` is a header that no script can set.
//! A name without a dot cannot be one that a stranger owns, and an address is no name.

use std::net::IpAddr;

use actix_web::http::header::{HOST, HeaderMap};
use url::Url;

/// The names that are Innkeeper's own, in lower case.
#[derive(Debug)]
pub(super) struct HostNames(Vec<String>);

impl HostNames {
    /// Those of `public_url`, of this machine, and those that the configuration adds.
    pub fn new(public_url: &str, allowed: &[String]) -> Self {
        let public = Url::parse(public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let machine = gethostname::gethostname().to_string_lossy().into_owned();
        Self(
            public
                .into_iter()
                .chain([machine])
                .chain(allowed.iter().cloned())
                .map(|name| plain(&name))
                .collect(),
        )
    }

    /// The name in these headers by which Innkeeper must not be reached. A request that names no host has none.
    pub fn foreign(&self, headers: &HeaderMap) -> Option<String> {
        headers.get_all(HOST).map(|host| String::from_utf8_lossy(host.as_bytes())).find_map(|host| {
            let name = plain(without_port(host.trim()));
            (!self.knows(&name)).then_some(name)
        })
    }

    fn knows(&self, name: &str) -> bool {
        let address = name.trim_matches(['[', ']']);
        let address = address.split_once('%').map_or(address, |(address, _zone)| address);
        address.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || name.ends_with(".localhost")
            || self.0.iter().any(|known| known == name)
    }
}

/// As names are compared: in lower case, without the dot of the root.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_lowercase()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn addresses_and_own_names_are_known_whatever_their_port_and_case() {
        let names = HostNames::new("https://Inn.example.org:8443/monitor", &["jobs.example.org".to_owned()]);
        let foreign = |host: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_bytes(host).unwrap());
            names.foreign(&headers)
        };
        for host in [
            "",
            "localhost",
            "localhost:8080",
            "LOCALHOST.:8080",
            "inn.localhost:1",
            "127.0.0.1",
            "10.1.2.3:8080",
            "[::1]",
            "[::1]:8080",
            "[fe80::1%25eth0]:8080",
            "innkeeper",
            "innkeeper:8080",
            "inn.example.org",
            "INN.example.ORG.:8443",
            "inn.example.org:80",
            "jobs.example.org:8080",
        ] {
            assert_eq!(foreign(host.as_bytes()), None, "{host:?}");
        }
        for (host, name) in [
            ("evil.example", "evil.example"),
            ("EVIL.example.:8080", "evil.example"),
            ("inn.example.org.evil.example", "inn.example.org.evil.example"),
            ("xinn.example.org", "xinn.example.org"),
            ("127.0.0.1.nip.io:8080", "127.0.0.1.nip.io"),
            ("localhost.evil.example", "localhost.evil.example"),
            ("127.0.0.1@evil.example", "127.0.0.1@evil.example"),
            ("evil.example:80x", "evil.example:80x"),
        ] {
            assert_eq!(foreign(host.as_bytes()).as_deref(), Some(name), "{host:?}");
        }
        assert!(foreign(b"evil.\xffexample").is_some());
    }

    #[test]
    fn each_of_several_hosts_counts() {
        let names = HostNames::new("http://127.0.0.1:8080", &[]);
        let mut headers = HeaderMap::new();
        assert_eq!(names.foreign(&headers), None, "none at all");
        headers.append(HOST, HeaderValue::from_static("127.0.0.1"));
        headers.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(names.foreign(&headers).as_deref(), Some("evil.example"));
    }
}
