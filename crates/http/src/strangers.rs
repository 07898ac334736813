//! Requests refused because of their host name: they are logged, and the operator is notified of jobs among them,
//! because nobody else would notice a job whose check-ins are refused.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderName, ORIGIN, REFERER, USER_AGENT};
use askama::Template;
use innkeeper_core::access::Permission;
use parking_lot::Mutex;

use innkeeper_logging::Seldom;
use innkeeper_node::heartbeat::Operator;

/// The least time between notifications of the operator.
const EVERY: Duration = Duration::from_secs(3600);
/// Headers that browsers send and other programs do not.
const BROWSERS: [HeaderName; 4] =
    [HeaderName::from_static("sec-fetch-site"), ORIGIN, REFERER, ACCEPT_LANGUAGE];

/// The message to the operator.
#[derive(Template)]
#[template(path = "refused_by_name.txt")]
struct RefusedByName<'a> {
    name: &'a str,
    source: &'a str,
    method: &'a str,
    path: &'a str,
}

/// Logs refused requests and notifies the operator.
#[derive(Default)]
pub(super) struct Strangers {
    operator: OnceLock<Operator>,
    told_at: Mutex<Option<Instant>>,
}

impl Strangers {
    /// From now on, notifies the operator of refused jobs.
    pub fn tell_through(&self, operator: Operator) {
        self.operator.get_or_init(|| operator);
    }

    /// Notes that a request from `source` with this host name was refused, at a route that needs
    /// `permission`.
    pub fn note(&self, request: &HttpRequest, name: &str, source: &str, permission: Permission) {
        static REFUSED: Seldom = Seldom::new();
        let path = request.path();
        REFUSED.warn(format_args!(
            "{source} is refused: it came by the name {name:?} (for {path}), which is in neither public_url nor allowed_hosts"
        ));
        let is_job = matches!(permission, Permission::CheckIn | Permission::Manage) && !is_browser(request);
        let Some(operator) = self.operator.get().filter(|_| is_job) else { return };
        let now = Instant::now();
        let mut told_at = self.told_at.lock();
        if told_at.is_none_or(|at| now.saturating_duration_since(at) >= EVERY) {
            *told_at = Some(now);
            operator.tell(RefusedByName { name, source, method: request.method().as_str(), path });
        }
    }
}

/// Whether a browser sent this. Nobody needs to know of requests that other sites make browsers send.
fn is_browser(request: &HttpRequest) -> bool {
    let agent = request.headers().get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    agent.starts_with(b"Mozilla/") || BROWSERS.iter().any(|name| request.headers().contains_key(name))
}
