//! Whether the duty `web` can be done: what pages and answers show is read, though nobody asks for it.
//!
//! Heartbeats say that the process lives and reaches the database. This says that a page could be made now: it reads what the first page
//! shows every quarter of a minute, at once after an answer that failed, and each second while that fails.

use std::sync::Arc;
use std::time::Duration;

use innkeeper_core::{Clock, Time};
use innkeeper_node::heartbeat::progress::{PROBE, Progress};
use innkeeper_node::{Shutdown, SupervisedThread};
use innkeeper_store::{Filter, ListCursor, Store, StoreError};

/// How often it is asked whether a look is needed.
const EVERY: Duration = Duration::from_secs(1);

/// Starts the thread that looks, until the process stops.
pub(crate) fn start(
    store: Store,
    clock: Arc<dyn Clock>,
    progress: Progress,
    shutdown: &Shutdown,
) -> std::io::Result<SupervisedThread> {
    let stop = shutdown.clone();
    SupervisedThread::spawn("looks", shutdown, move || {
        loop {
            if progress.needs_probe() {
                let attempt = progress.begin(PROBE);
                match look(&store, clock.now()) {
                    Ok(()) => attempt.succeeded(),
                    Err(error) => {
                        log::debug!("a page could not be made: {error}");
                        attempt.failed(&error);
                    }
                }
            }
            if stop.wait_timeout(EVERY) {
                return Ok(());
            }
        }
    })
}

/// Reads what the first page shows. A row that cannot be read is left out there, and here.
fn look(store: &Store, now: Time) -> Result<(), StoreError> {
    let page = store.page(&Filter::default(), &ListCursor::worst(), 1, now)?;
    let ids: Vec<i64> = page.listed.iter().map(|one| one.reservation.id).collect();
    store.undelivered(&ids, now)?;
    store.open_counts()?;
    store.unjudged()?;
    Ok(())
}
