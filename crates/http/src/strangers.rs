//! Who is refused for the name by which they call: the log says so, and of jobs the operator hears, since nothing is heard of
//! a job that is refused.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderName, ORIGIN, REFERER, USER_AGENT};
use askama::Template;
use innkeeper_core::access::Permission;
use parking_lot::Mutex;

use innkeeper_logging::Seldom;
use innkeeper_node::heartbeat::Operator;

/// How often the operator hears of it.
const EVERY: Duration = Duration::from_secs(3600);
/// What programs do not send.
const BROWSERS: [HeaderName; 4] =
    [HeaderName::from_static("sec-fetch-site"), ORIGIN, REFERER, ACCEPT_LANGUAGE];

/// What the operator hears.
#[derive(Template)]
#[template(path = "refused_by_name.txt")]
struct RefusedByName<'a> {
    name: &'a str,
    source: &'a str,
    method: &'a str,
    path: &'a str,
}

/// Tells of those who are refused.
#[derive(Default)]
pub(super) struct Strangers {
    operator: OnceLock<Operator>,
    told_at: Mutex<Option<Instant>>,
}

impl Strangers {
    /// From now on the operator hears of jobs.
    pub fn tell_through(&self, operator: Operator) {
        self.operator.get_or_init(|| operator);
    }

    /// Somebody at `source` was refused, who came by this name for what needs this.
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

/// Whether a browser sends this: of what other sites have one do nobody need hear.
fn is_browser(request: &HttpRequest) -> bool {
    let agent = request.headers().get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    agent.starts_with(b"Mozilla/") || BROWSERS.iter().any(|name| request.headers().contains_key(name))
}
