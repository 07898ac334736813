//! The health of this instance in one word, which peers are told and on which the outward heartbeat depends.

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::duty::{Duty, DutyPart};
use innkeeper_core::peer::PeerHealth;
use innkeeper_store::{Store, StoreError};

use crate::role::Role;

/// The name of the check that the mail loop maintains.
pub const MAIL: &str = "mail";
/// The state of a healthy check.
pub const OK: &str = "ok";
/// Jobs count as watched if the duties were done within this time; a restart takes less.
const DONE: TimeDelta = TimeDelta::seconds(60);

/// The health of the instance at `now`: whether sweeps succeed, check-ins are recorded (if any node takes them), and
/// mail is sent. If no sender can record the results of its deliveries, none are attempted, so mail counts as not
/// sent.
///
/// # Errors
/// A database error; then nobody watches the jobs.
pub fn health(store: &Store, now: Time) -> Result<PeerHealth, StoreError> {
    let duties = store.duties()?;
    let lately = now - DONE - store.backend().unstored_heartbeats();
    let is_done = |wanted: Duty| {
        duties.iter().find(|duty| duty.name == wanted.as_str()).map(|duty| duty.beat_at >= lately)
    };
    if is_done(Duty::Sweeper) != Some(true) || is_done(Duty::Ingest) == Some(false) {
        return Ok(PeerHealth::JobsProblem);
    }
    let mail_is_broken = store.checks()?.iter().any(|check| check.name == MAIL && check.state != OK);
    let fails = mail_is_broken || nobody_sends(store, lately)? || store.mail_fails_since(now)?.is_some();
    Ok(if fails { PeerHealth::MailProblem } else { PeerHealth::Ok })
}

/// Whether every sending node with a heartbeat since `lately` is unable to send.
fn nobody_sends(store: &Store, lately: Time) -> Result<bool, StoreError> {
    let nodes = store.nodes()?;
    let mut senders = nodes
        .iter()
        .filter(|known| matches!(Role::named(&known.node.role), Some(Role::Sweeper | Role::Standalone)))
        .filter(|known| known.goodbye_at.is_none() && known.beat_at >= lately)
        .map(|known| known.unable.iter().any(|part| part == DutyPart::Sending.as_str()))
        .peekable();
    Ok(senders.peek().is_some() && senders.all(|unable| unable))
}
