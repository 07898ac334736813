//! Single sign-on by a header: which headers may name the user, and which proxies may be trusted.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};

use crate::TrustedProxies;
use innkeeper_settings::Section;

/// Headers with another meaning, which callers or any proxy may set.
const TAKEN: [&str; 157] = [
    "a-im",
    "access-token",
    "age",
    "allow",
    "alpn",
    "alt-svc",
    "alt-used",
    "api-key",
    "apikey",
    "attribution-reporting-eligible",
    "attribution-reporting-support",
    "authorization",
    "available-dictionary",
    "b3",
    "baggage",
    "cache-control",
    "cdn-loop",
    "cf-connecting-ip",
    "cf-ipcountry",
    "cf-ray",
    "cf-visitor",
    "cf-worker",
    "client-ip",
    "connection",
    "cookie",
    "cookie2",
    "date",
    "dav",
    "deliver-after",
    "depth",
    "destination",
    "device-memory",
    "dictionary-id",
    "digest",
    "dnt",
    "downlink",
    "dpr",
    "early-data",
    "ect",
    "etag",
    "expect",
    "expires",
    "fastly-client-ip",
    "fastly-ff",
    "fly-client-ip",
    "forwarded",
    "from",
    "front-end-https",
    "host",
    "host-override",
    "http2-settings",
    "icy-metadata",
    "idempotency-key",
    "if",
    "im",
    "keep-alive",
    "label",
    "last-event-id",
    "last-modified",
    "last-ping-from",
    "link",
    "location",
    "lock-token",
    "max-forwards",
    "mime-version",
    "nel",
    "ngrok-skip-browser-warning",
    "origin",
    "overwrite",
    "ping-from",
    "ping-to",
    "position",
    "pragma",
    "prefer",
    "priority",
    "purpose",
    "range",
    "referer",
    "remote-addr",
    "remote-host",
    "report-to",
    "retry-after",
    "rtt",
    "save-data",
    "schedule-reply",
    "server",
    "service-worker",
    "service-worker-navigation-preload",
    "signature",
    "signature-input",
    "slug",
    "soapaction",
    "te",
    "timeout",
    "tk",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "uber-trace-id",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "via",
    "viewport-width",
    "want-digest",
    "warning",
    "width",
    "www-authenticate",
    "x-amzn-trace-id",
    "x-api-key",
    "x-appengine-user-ip",
    "x-att-deviceid",
    "x-auth-token",
    "x-azure-clientip",
    "x-cache",
    "x-client-ip",
    "x-cloud-trace-context",
    "x-cluster-client-ip",
    "x-correlation-id",
    "x-csrf-token",
    "x-csrftoken",
    "x-do-connecting-ip",
    "x-do-not-track",
    "x-envoy-external-address",
    "x-forward",
    "x-forwarded",
    "x-frame-options",
    "x-host",
    "x-http-host-override",
    "x-moz",
    "x-nf-client-connection-ip",
    "x-originating-ip",
    "x-protocol",
    "x-proxyuser-ip",
    "x-purpose",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-request-id",
    "x-requested-with",
    "x-requestid",
    "x-rewrite-url",
    "x-scheme",
    "x-served-by",
    "x-ssl",
    "x-trace-id",
    "x-transaction-id",
    "x-uidh",
    "x-uri",
    "x-url",
    "x-vercel-forwarded-for",
    "x-vercel-id",
    "x-wap-profile",
    "x-xsrf-token",
];
/// Prefixes of headers with another meaning.
const TAKEN_FAMILIES: [&str; 13] = [
    "accept",
    "access-control-",
    "content-",
    "cross-origin-",
    "if-",
    "proxy-",
    "sec-",
    "set-cookie",
    "x-amz-",
    "x-b3-",
    "x-datadog-",
    "x-http-method",
    "x-original-",
];
/// Of the headers with this prefix, only these name a user.
const FORWARDED: &str = "x-forwarded-";
const FORWARDED_USERS: [&str; 5] = ["email", "login", "preferred-username", "user", "username"];
/// The shortest prefixes of a private network, for IPv4 and IPv6; no single owner has a larger one.
const SHORTEST_PREFIXES: (u8, u8) = (8, 7);

/// IPv6 networks that contain all of IPv4, each with the shortest prefix of a part that can have a single owner.
const TRANSLATIONS: [(Ipv6Net, u8); 7] = [
    // IPv4-compatible, IPv4-mapped, IPv4-translated (SIIT).
    (net([0, 0, 0, 0], [0, 0], 96), 104),
    (net([0, 0, 0, 0], [0, 0xffff], 96), 104),
    (net([0, 0, 0, 0], [0xffff, 0], 96), 104),
    // NAT64, with the well-known prefix or a local one.
    (net([0x64, 0xff9b, 0, 0], [0, 0], 96), 104),
    (net([0x64, 0xff9b, 1, 0], [0, 0], 48), 104),
    // 6to4, and Teredo, whose last bits are the client's address.
    (net([0x2002, 0, 0, 0], [0, 0], 16), 24),
    (net([0x2001, 0, 0, 0], [0, 0], 32), 104),
];

const fn net([a, b, c, d]: [u16; 4], [e, f]: [u16; 2], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, 0, 0), length)
}

/// The header's name; `None` if it is empty.
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

/// The trusted proxies. Every host in these networks can impersonate any user, so a network that covers a large part
/// of the Internet is refused.
pub(super) fn proxies(section: &mut Section<'_>, key: &'static str, most: usize) -> TrustedProxies {
    let origin = section.origin(key);
    let networks = section.list(key, most, TrustedProxies::parse_entry);
    // Aggregated first, because two halves of the Internet are as large as the whole.
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
        IpNet::V6(network) => {
            network.prefix_len() < v6
                || TRANSLATIONS.iter().any(|(begins, shortest)| {
                    let overlaps = begins.contains(network) || network.contains(begins);
                    overlaps && network.prefix_len() < *shortest
                })
        }
    }
}
