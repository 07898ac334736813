//! Single sign-on by a header: which headers can say who calls, and which proxies can be believed.

use ipnet::IpNet;

use super::section::Section;
use crate::http::TrustedProxies;

/// Headers that mean something else, and that callers, or any proxy, set for that.
const TAKEN: [&str; 70] = [
    "age",
    "allow",
    "authorization",
    "cache-control",
    "cdn-loop",
    "cf-connecting-ip",
    "client-ip",
    "connection",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "early-data",
    "etag",
    "expect",
    "expires",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "from",
    "host",
    "idempotency-key",
    "keep-alive",
    "last-event-id",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "prefer",
    "priority",
    "range",
    "referer",
    "remote-addr",
    "remote-host",
    "retry-after",
    "save-data",
    "server",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-correlation-id",
    "x-csrf-token",
    "x-envoy-external-address",
    "x-forwarded",
    "x-host",
    "x-original-url",
    "x-originating-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-request-id",
    "x-requested-with",
    "x-rewrite-url",
    "x-scheme",
];
/// What headers that mean something else begin with.
const TAKEN_FAMILIES: [&str; 8] =
    ["accept", "access-control-", "content-", "if-", "proxy-", "sec-", "set-cookie", "x-http-method"];
/// Of those that begin with this, only these name a user.
const FORWARDED: &str = "x-forwarded-";
const FORWARDED_USERS: [&str; 5] = ["email", "login", "preferred-username", "user", "username"];
/// No network of anybody's own is larger: the shortest prefixes of IPv4 and IPv6.
const SHORTEST_PREFIXES: (u8, u8) = (8, 7);

/// The header's name; none where it is empty.
pub(super) fn header(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(format!(
            "{text:?} is no name of a header; write letters, digits and -, as in X-Forwarded-User"
        ));
    }
    let name = text.to_ascii_lowercase();
    let is_taken = match name.strip_prefix(FORWARDED) {
        Some(rest) => !FORWARDED_USERS.contains(&rest),
        None => {
            TAKEN.contains(&name.as_str()) || TAKEN_FAMILIES.iter().any(|family| name.starts_with(family))
        }
    };
    if is_taken {
        return Err(format!(
            "{text} means something else, and callers set it themselves; choose a header that nobody but the proxy sets, as \
             X-Forwarded-User or Remote-User"
        ));
    }
    Ok(Some(text.to_owned()))
}

/// The proxies that are believed. Whoever is in one of these networks can be anybody, so a network as large as the Internet is none.
pub(super) fn proxies(section: &mut Section<'_>, most: usize) -> TrustedProxies {
    let key = "sign_on_proxies";
    let origin = section.origin(key);
    let networks = section.list(key, most, TrustedProxies::parse_entry);
    // Halves of everything make everything.
    if let Some(large) = IpNet::aggregate(&networks).iter().find(|network| is_too_large(network)) {
        let what = format!(
            "believes all of {large} who they say they are, which is more than a network of your own; name the proxy's address"
        );
        section.refuse(key, origin, what);
    }
    TrustedProxies::new(networks)
}

fn is_too_large(network: &IpNet) -> bool {
    let (v4, v6) = SHORTEST_PREFIXES;
    match network {
        IpNet::V4(network) => network.prefix_len() < v4,
        // What is mapped from IPv4 as well.
        IpNet::V6(network) => match network.addr().to_ipv4_mapped() {
            Some(_) => network.prefix_len() < 96 + v4,
            None => network.prefix_len() < v6,
        },
    }
}
