//! How this installation is, in one word: what peers are told, and on what the outward heartbeat depends.

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::peer::Health;
use innkeeper_store::{Store, StoreError};

use crate::heartbeat::SENDING;
use crate::role::Role;

/// The name of the check that the mail loop keeps.
pub const MAIL: &str = "mail";
/// The state of a check that is well.
pub const OK: &str = "ok";
/// Jobs are watched whose duties have been done within this: a restart takes less.
const DONE: TimeDelta = TimeDelta::seconds(60);

/// How the installation is at `now`: whether sweeps succeed, check-ins are written (where any node takes some), and mail goes out. It
/// does not where no sender can write what becomes of it: then it is not tried either.
///
/// # Errors
/// The database's: then nobody watches its jobs.
pub fn health(store: &Store, now: Time) -> Result<Health, StoreError> {
    let duties = store.duties()?;
    let lately = now - DONE - store.backend().unstored_heartbeats();
    let is_done =
        |name: &str| duties.iter().find(|duty| duty.name == name).map(|duty| duty.beat_at >= lately);
    if is_done("sweeper") != Some(true) || is_done("ingest") == Some(false) {
        return Ok(Health::JobsProblem);
    }
    let mail_is_broken = store.checks()?.iter().any(|check| check.name == MAIL && check.state != OK);
    let fails = mail_is_broken || nobody_sends(store, lately)? || store.mail_fails_since(now)?.is_some();
    Ok(if fails { Health::MailProblem } else { Health::Ok })
}

/// Whether none of the nodes that send and have beaten since `lately` can.
fn nobody_sends(store: &Store, lately: Time) -> Result<bool, StoreError> {
    let nodes = store.nodes()?;
    let mut senders = nodes
        .iter()
        .filter(|known| matches!(Role::named(&known.node.role), Some(Role::Sweeper | Role::Standalone)))
        .filter(|known| known.goodbye_at.is_none() && known.beat_at >= lately)
        .map(|known| known.unable.iter().any(|part| part == SENDING))
        .peekable();
    Ok(senders.peek().is_some() && senders.all(|unable| unable))
}
