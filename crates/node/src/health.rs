//! How this installation is, in one word: what peers are told, and on what the outward heartbeat depends.

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::peer::Health;
use innkeeper_store::{Store, StoreError};

/// The name of the check that the mail loop keeps.
pub const MAIL: &str = "mail";
/// The state of a check that is well.
pub const OK: &str = "ok";
/// A sweeper that has beaten within this is running its jobs.
const RUNNING: TimeDelta = TimeDelta::seconds(120);

/// How the installation is at `now`.
///
/// # Errors
/// The database's: then nobody watches its jobs.
pub fn health(store: &Store, now: Time) -> Result<Health, StoreError> {
    let watched = store.duties()?.iter().any(|duty| duty.name == "sweeper" && now - duty.beat_at <= RUNNING);
    if !watched {
        return Ok(Health::JobsProblem);
    }
    let mail_is_broken = store.checks()?.iter().any(|check| check.name == MAIL && check.state != OK);
    Ok(if mail_is_broken { Health::MailProblem } else { Health::Ok })
}
