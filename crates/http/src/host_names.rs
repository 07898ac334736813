//! The host names under which an open instance may be reached.
//!
//! Any site can make a name of its own resolve to this machine (DNS rebinding). To a browser its pages and Innkeeper's
//! are then one site, and a script there could do everything. But the browser sends the name in `Host`, a header that
//! no script can set. A stranger cannot own a name without a dot, and an address is not a name. The same check applies
//! where a proxy's header names the user: a page of the same site could set that header itself.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderMap, HeaderName};
use url::Url;

/// The header with the name by which a browser reached the proxy.
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The names that are Innkeeper's own, in lower case.
#[derive(Debug)]
pub(super) struct HostNames(Vec<String>);

impl HostNames {
    /// The names in `public_url`, those of this machine, and those that the configuration adds.
    pub fn new(public_url: &str, allowed: &[String]) -> Self {
        let public = Url::parse(public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let machine = gethostname::gethostname().to_string_lossy().into_owned();
        // The name of the machine in multicast DNS.
        let local = (!machine.contains('.')).then(|| format!("{machine}.local"));
        Self(
            public
                .into_iter()
                .chain([machine])
                .chain(local)
                .chain(allowed.iter().cloned())
                .map(|name| plain(&name))
                .collect(),
        )
    }

    /// The name used by this request, if Innkeeper must not be reached under it; `None` if it is allowed or missing.
    pub fn foreign(&self, request: &HttpRequest) -> Option<String> {
        // If the request line contains an absolute URI, as for a proxy, its host takes precedence over `Host`.
        let named = request.uri().authority().map(|authority| authority.as_str().to_owned());
        named.and_then(|host| self.unknown(&host)).or_else(|| self.foreign_in(request.headers()))
    }

    fn foreign_in(&self, headers: &HeaderMap) -> Option<String> {
        let text =
            |name| headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let forwarded =
            text(FORWARDED).flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
        text(HOST).chain(forwarded).find_map(|host| self.unknown(&host))
    }

    fn unknown(&self, host: &str) -> Option<String> {
        let name = plain(without_port(host.trim()));
        (!self.knows(&name)).then_some(name)
    }

    fn knows(&self, name: &str) -> bool {
        let address = name.trim_matches(['[', ']']);
        let is_address = match address.split_once('%') {
            None => address.parse::<IpAddr>().is_ok(),
            // The zone names an interface of this machine.
            Some((address, zone)) => address.parse::<Ipv6Addr>().is_ok() && !zone.contains('.'),
        };
        is_address
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
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn addresses_and_own_names_are_known_whatever_their_port_and_case() {
        let names = HostNames::new("https://Inn.example.org:8443/monitor", &["jobs.example.org".to_owned()]);
        let foreign = |host: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_bytes(host).unwrap());
            names.foreign_in(&headers)
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
            ("127.0.0.1%evil.example", "127.0.0.1%evil.example"),
            ("[::1%25evil.example]", "[::1%25evil.example]"),
        ] {
            assert_eq!(foreign(host.as_bytes()).as_deref(), Some(name), "{host:?}");
        }
        assert!(foreign(b"evil.\xffexample").is_some());
    }

    #[test]
    fn each_of_several_hosts_counts() {
        let names = HostNames::new("http://127.0.0.1:8080", &[]);
        let mut headers = HeaderMap::new();
        assert_eq!(names.foreign_in(&headers), None, "none at all");
        headers.append(HOST, HeaderValue::from_static("127.0.0.1"));
        headers.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(names.foreign_in(&headers).as_deref(), Some("evil.example"));
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1"));
        headers.insert(FORWARDED, HeaderValue::from_static("127.0.0.1:80, evil.example"));
        assert_eq!(names.foreign_in(&headers).as_deref(), Some("evil.example"), "a proxy's");
        let request = TestRequest::with_uri("http://evil.example:80/status").to_http_request();
        assert_eq!(names.foreign(&request).as_deref(), Some("evil.example"), "a whole address");
        let local = format!("{}.local", gethostname::gethostname().to_string_lossy());
        assert_eq!(names.unknown(&local), None);
    }
}
