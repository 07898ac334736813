//! The reservation's own texts, `alert_msg`, `recovery_msg` and `alert_subject`, with their placeholders filled in.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};

use chrono::TimeDelta;
use innkeeper_core::alert::stamp;
use innkeeper_core::notice::{AlertNotice, EventKind};
use innkeeper_core::{duration, template, wording};
use innkeeper_store::AlertEvent;

/// A documentation address (RFC 5737). Nothing is sent to it; the route to it shows which of its own addresses this
/// machine uses.
const OUTSIDE: &str = "192.0.2.1:9";

/// The machine that sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendingMachine {
    /// `{srv}`, the placeholder of GoTel: the machine's address.
    pub address: String,
    /// `{host}`: the machine's name.
    pub host: String,
}

impl SendingMachine {
    /// This machine.
    pub fn this_machine() -> Self {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let address = outward_address().or_else(|| address_of(&host)).unwrap_or(Ipv4Addr::LOCALHOST.into());
        Self { address: address.to_string(), host }
    }
}

/// The address from which this machine reaches others. Connecting a UDP socket sends nothing.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(OUTSIDE).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

/// An address of the machine of this name that is not a loopback address.
fn address_of(host: &str) -> Option<IpAddr> {
    let addresses = (host, 0).to_socket_addrs().ok()?;
    addresses.map(|address| address.ip()).find(|ip| !ip.is_loopback())
}

/// The values for the placeholders.
pub(crate) struct MessageValues<'a> {
    pub event: &'a AlertEvent<'a>,
    pub alert: &'a AlertNotice,
    pub url: &'a str,
    pub sender: &'a SendingMachine,
    pub instance: &'a str,
}

impl MessageValues<'_> {
    /// The reservation's own text for the message about this event; empty if the reservation has none.
    pub fn text(&self) -> String {
        let spec = &self.event.reservation.spec;
        match self.event.kind {
            EventKind::Opened | EventKind::Reminder => self.filled(&spec.alert_msg),
            EventKind::Recovered => self.filled(&spec.recovery_msg),
            // One message reports both, the alert and the recovery.
            EventKind::OpenedAndRecovered if spec.recovery_msg.is_empty() => self.filled(&spec.alert_msg),
            EventKind::OpenedAndRecovered => self.filled(&spec.recovery_msg),
            EventKind::Summary | EventKind::Operator => String::new(),
        }
    }

    /// The subject of an alert or a reminder, if the reservation has its own.
    pub fn subject(&self) -> Option<String> {
        let own = self.filled(&self.event.reservation.spec.alert_subject);
        match self.event.kind {
            // The subject may also be empty because its placeholders are. A provider refuses an alert without a
            // subject.
            _ if own.trim().is_empty() => None,
            EventKind::Opened => Some(own),
            EventKind::Reminder => Some(format!("Reminder: {own}")),
            _ => None,
        }
    }

    fn filled(&self, text: &str) -> String {
        let Self { event, alert, .. } = self;
        let spec = &event.reservation.spec;
        let last = event.reservation.facts.last_checkin_at;
        template::fill(text, |name| {
            Some(match name {
                "jobid" => event.reservation.id.to_string(),
                "app" => alert.app.clone(),
                "component" => alert.component.clone(),
                "owner" => alert.owner.clone(),
                "notify" => alert.notify.clone(),
                "frequency" => {
                    spec.frequency.map_or_else(|| spec.schedule.to_string(), |every| every.to_string())
                }
                "last" => {
                    last.map_or("never".to_owned(), |at| at.format("%a, %d %b %Y %H:%M:%S UTC").to_string())
                }
                "since" => last.map_or("never".to_owned(), |at| duration::ago(event.now - at)),
                "checkins" => alert.checkins.to_string(),
                "srv" => self.sender.address.clone(),
                "host" => self.sender.host.clone(),
                "reason" => alert.reason.clone(),
                "deadline" => stamp(event.reason.since(), spec.schedule.zone()),
                "lasted" => duration::words(lasted(event)),
                "notes" => alert.notes.clone(),
                "runbook" => spec.runbook.clone(),
                "state" => wording::state(event.kind).unwrap_or_default().to_owned(),
                "instance" => self.instance.to_owned(),
                "url" => self.url.to_owned(),
                _ => return None,
            })
        })
    }
}

/// How long the incident has lasted.
pub(crate) fn lasted(event: &AlertEvent<'_>) -> TimeDelta {
    (event.now - event.since).max(TimeDelta::zero())
}
