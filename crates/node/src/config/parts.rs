//! One struct per concern, with its keys, defaults and bounds.

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

/// `[ingest]`: what jobs call.
#[derive(Debug, Clone, PartialEq)]
pub struct IngestConfig {
    /// The address to listen on; standalone serves everything there.
    pub listen: SocketAddr,
    /// How long a check-in waits to be committed before it is answered 503.
    pub commit_timeout: Duration,
    /// How long ago what is reported may have happened.
    pub reports_back: TimeDelta,
    /// The most check-ins that wait to be written.
    pub queue: usize,
    /// The most check-ins of one transaction.
    pub batch: usize,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
    /// Threads that serve HTTP; none for one per core.
    pub workers: Option<usize>,
    /// The most requests a second from one source; none for no bound.
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
    /// The address to listen on; standalone serves this on ingest's.
    pub listen: SocketAddr,
    /// How long a session lasts without being used.
    pub session: TimeDelta,
    /// Who must have a second factor beside the password.
    pub second_factor: RequiredOf,
    /// The header in which a proxy says who calls; none where no proxy does.
    pub sign_on_header: Option<String>,
    /// The proxies that are believed in that.
    pub sign_on_proxies: TrustedProxies,
    /// What a user may do whom such a proxy names for the first time.
    pub sign_on_role: UserRole,
    /// The provider at which people log in; none where there is none.
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

/// `[sweeper]`: the night watch and the sending of what it finds.
#[derive(Debug, Clone, PartialEq)]
pub struct SweeperConfig {
    /// How often an open alert is repeated, for reservations made by GoTel's call.
    pub remind_every: Reminders,
    /// The most reservations evaluated in one transaction.
    pub batch: u32,
    /// How long a claimed delivery is its claimer's without being renewed.
    pub lease: TimeDelta,
    /// Threads that send, per alerter.
    pub senders: usize,
    /// How long a delivery that fails is tried again.
    pub retry_for: TimeDelta,
    /// Where it says how it is; none for nowhere.
    pub listen: Option<SocketAddr>,
    /// When the summary is sent; none for never by itself.
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

/// `expect`: how many nodes should live, by what they do; 0 where nobody minds. The standalone program does all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectConfig {
    /// Who take check-ins.
    pub ingest: usize,
    /// Who watch and send.
    pub sweeper: usize,
    /// Who answer people.
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

/// `[history]`: how much of the past is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryConfig {
    /// Check-ins kept per reservation.
    pub keep_checkins: u32,
    /// Days that a check-in is kept.
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

/// The bounds above leave nothing negative.
fn std_duration(span: TimeDelta) -> Duration {
    span.to_std().unwrap_or_default()
}
