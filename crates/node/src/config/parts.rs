//! The structs of the sections, with their keys, defaults and bounds.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::access::UserRole;
use innkeeper_core::duration::LONGEST;
use innkeeper_core::reminders::Reminders;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::second_factor::RequiredOf;
use innkeeper_settings::Section;

use super::OpenIdConfig;
use super::sign_on;
use crate::TrustedProxies;

/// The most entries of a list of proxies; each request is compared with them.
const MOST_PROXIES: usize = 1000;

/// `[ingest]`: the service that jobs call.
#[derive(Debug, Clone, PartialEq)]
pub struct IngestConfig {
    /// The address to listen on; standalone serves everything there.
    pub listen: SocketAddr,
    /// How long a check-in may wait for its commit before it is answered 503.
    pub commit_timeout: Duration,
    /// How long ago a reported event may have happened.
    pub reports_back: TimeDelta,
    /// The most check-ins waiting to be written.
    pub queue: usize,
    /// The most check-ins per transaction.
    pub batch: usize,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// The number of HTTP threads; `None` for one per core.
    pub workers: Option<usize>,
    /// The most requests per second from one source; `None` for no limit.
    pub rate_per_source: Option<u32>,
}

impl IngestConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            listen: section.listener("listen", loopback(8080)),
            commit_timeout: std_duration(section.duration(
                "commit_timeout",
                TimeDelta::seconds(8),
                TimeDelta::milliseconds(100)..=TimeDelta::minutes(5),
            )),
            reports_back: section.duration(
                "reports_back",
                TimeDelta::days(7),
                TimeDelta::hours(1)..=TimeDelta::days(30),
            ),
            queue: section.number("queue", 65_536, 1..=10_000_000),
            batch: section.number("batch", 1000, 1..=10_000),
            trusted_proxies: sign_on::proxies(section, "trusted_proxies", MOST_PROXIES),
            workers: match section.number("workers", 0, 0..=1024) {
                0 => None,
                workers => Some(workers),
            },
            rate_per_source: match section.number("rate_per_source", 0, 0..=1_000_000) {
                0 => None,
                rate => Some(rate),
            },
        }
    }
}

/// `[web]`: the pages and the API.
#[derive(Debug, Clone, PartialEq)]
pub struct WebConfig {
    /// The address to listen on; standalone serves the pages at ingest's address.
    pub listen: SocketAddr,
    /// How long an unused session stays valid.
    pub session: TimeDelta,
    /// Who must have a second factor beside the password.
    pub second_factor: RequiredOf,
    /// The header in which a proxy names the user; `None` without such a proxy.
    pub sign_on_header: Option<String>,
    /// The proxies that are trusted to set that header.
    pub sign_on_proxies: TrustedProxies,
    /// The role of a user whom such a proxy names for the first time.
    pub sign_on_role: UserRole,
    /// The OpenID provider, if there is one.
    pub openid: Option<OpenIdConfig>,
}

impl WebConfig {
    pub(crate) fn read(section: &mut Section<'_>, openid: Option<OpenIdConfig>) -> Self {
        Self {
            listen: section.listener("listen", loopback(8081)),
            session: section.duration(
                "session",
                TimeDelta::hours(12),
                TimeDelta::seconds(1)..=TimeDelta::days(30),
            ),
            second_factor: section.parsed("second_factor", RequiredOf::Nobody, |text| {
                RequiredOf::parse("second_factor", text).map_err(|invalid| invalid.problem)
            }),
            sign_on_header: section.parsed("sign_on_header", None, sign_on::header),
            sign_on_proxies: sign_on::proxies(section, "sign_on_proxies", MOST_PROXIES),
            sign_on_role: section.parsed("sign_on_role", UserRole::Viewer, |role| {
                UserRole::parse("sign_on_role", role).map_err(|invalid| invalid.problem)
            }),
            openid,
        }
    }
}

/// `[sweeper]`: finding overdue jobs, and sending the messages about them.
#[derive(Debug, Clone, PartialEq)]
pub struct SweeperConfig {
    /// The reminder interval of reservations made by GoTel's call.
    pub remind_every: Reminders,
    /// The most reservations evaluated in one transaction.
    pub batch: u32,
    /// How long a claim on a delivery lasts without being renewed.
    pub lease: TimeDelta,
    /// Sending threads per alerter.
    pub senders: usize,
    /// How long a failing delivery is retried.
    pub retry_for: TimeDelta,
    /// The address of its status endpoints; `None` for none.
    pub listen: Option<SocketAddr>,
    /// When the summary is sent; `None` for never automatically.
    pub summary: Option<Schedule>,
}

impl SweeperConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let zone = section.parsed("summary_zone", "UTC".to_owned(), |zone| {
            Schedule::cron("0 0 * * *", zone).map(|_| zone.to_owned()).map_err(|invalid| invalid.problem)
        });
        let summary = section.parsed("summary", None, |cron| {
            Schedule::cron(cron, &zone).map(Some).map_err(|invalid| invalid.problem)
        });
        let upto = |least: TimeDelta| -> RangeInclusive<TimeDelta> { least..=LONGEST };
        Self {
            remind_every: section.parsed("remind_every", Reminders::Every(TimeDelta::hours(6)), |text| {
                Reminders::parse("remind_every", text).map_err(|invalid| invalid.problem)
            }),
            batch: section.number("batch", 500, 1..=10_000),
            lease: section.duration(
                "lease",
                TimeDelta::seconds(60),
                TimeDelta::seconds(5)..=TimeDelta::hours(1),
            ),
            senders: section.number("senders", 4, 1..=64),
            retry_for: section.duration("retry_for", TimeDelta::days(1), upto(TimeDelta::zero())),
            listen: section.maybe_listener("listen"),
            summary,
        }
    }
}

/// `expect`: the expected number of live nodes by duty; 0 for no expectation. A standalone program counts for all
/// three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectConfig {
    /// Nodes that take check-ins.
    pub ingest: usize,
    /// Nodes that sweep and send.
    pub sweeper: usize,
    /// Nodes that serve pages.
    pub web: usize,
}

impl ExpectConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            ingest: section.number("ingest", 0, 0..=1000),
            sweeper: section.number("sweeper", 0, 0..=1000),
            web: section.number("web", 0, 0..=1000),
        }
    }

    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.ingest + self.sweeper + self.web == 0
    }
}

/// `[history]`: how long history is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryConfig {
    /// The most check-ins kept per reservation.
    pub keep_checkins: u32,
    /// How long a check-in is kept, in days.
    pub keep_days: u32,
}

impl HistoryConfig {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            keep_checkins: section.number("keep_checkins", 100, 51..=1_000_000),
            keep_days: section.number("keep_days", 30, 1..=3650),
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The bounds above exclude negative values.
fn std_duration(span: TimeDelta) -> Duration {
    span.to_std().unwrap_or_default()
}
