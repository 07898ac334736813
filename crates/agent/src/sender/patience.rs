//! When to retry: not before a `Retry-After` ends, and at random times, so that many agents do not retry at once.

use std::time::Duration;

use innkeeper_core::backoff::Backoff;
use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::logbook;
use crate::spool::{Destination, write_whole};
use crate::state::StateDirectory;

/// The end of a destination's `Retry-After`, shared by all processes that use one spool.
#[derive(Serialize, Deserialize)]
pub(super) struct NotBefore {
    asked: Stamp,
    wait_ms: u64,
}

impl NotBefore {
    pub(super) fn write(state: &StateDirectory, destination: &Destination, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let this = Self { asked: Stamp::now(), wait_ms };
        let Ok(directory) = state.within("") else { return };
        let content = serde_json::to_vec(&this).map_err(std::io::Error::other);
        if let Err(error) =
            content.and_then(|content| write_whole(&directory, &file_name(destination), &content))
        {
            logbook::note(format_args!("the server's Retry-After cannot be stored: {error}"));
        }
    }

    /// The remaining time of the destination's `Retry-After`; none if it is over.
    pub(super) fn read(state: &StateDirectory, destination: &Destination) -> Option<Duration> {
        let path = state.file(&file_name(destination));
        let content = std::fs::read(&path).ok()?;
        let left = serde_json::from_slice(&content)
            .map_or(0, |this: Self| this.wait_ms.saturating_sub(this.asked.ago_ms(&Stamp::now())));
        if left == 0 {
            // The file is removed because this ping address may never be used again. Another process may have removed
            // it first.
            let _ = std::fs::remove_file(path);
            return None;
        }
        Some(Duration::from_millis(left))
    }
}

fn file_name(destination: &Destination) -> String {
    match destination {
        Destination::Server(None) => "not-before".to_owned(),
        other => format!("not-before-{}", other.tag()),
    }
}

/// Back-off between attempts to reach the server.
pub const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// The next pause of the back-off, with up to 50 % of jitter in both directions.
pub fn next_pause(backoff: &mut Backoff) -> Duration {
    let pause = backoff.spread_pause(0.5, random());
    backoff.next_pause();
    pause
}

/// A random time up to `most`, so that agents that start at the same instant do not send at the same instant.
pub fn jitter(most: Duration) -> Duration {
    most.mul_f64(random())
}

/// A number from 0 to 1.
fn random() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}
