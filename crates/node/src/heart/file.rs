//! Looks after the SQLite file: is it still the one that was opened, and does it hold what was written? On a thread of its own, which
//! asks nothing of the database but that, and tells the operator straight: the outbox goes with the file.

use std::time::{Duration, Instant};

use innkeeper_store::{DatabaseKind, FileLook, Store};

use super::Operator;
use crate::{Part, Shutdown};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);
/// How often what the log holds is brought into the file.
const CHECKPOINT: Duration = Duration::from_secs(60);
/// How many looks a lost file is given to be saved, and to be back, before the operator is told.
const LOOKS: u32 = 5;

/// Starts the thread; none over Postgres.
pub(super) fn start(
    store: &Store,
    operator: &Operator,
    shutdown: &Shutdown,
) -> std::io::Result<Option<Part>> {
    if store.backend() == DatabaseKind::Postgres {
        return Ok(None);
    }
    let mut caretaker = Caretaker {
        store: store.clone(),
        operator: operator.clone(),
        lost: 0,
        told: false,
        checkpoint: Instant::now(),
    };
    let stop = shutdown.clone();
    Part::spawn("database file", shutdown, move || {
        while !stop.wait_timeout(LOOK) {
            caretaker.look();
        }
        Ok(())
    })
    .map(Some)
}

struct Caretaker {
    store: Store,
    operator: Operator,
    /// How many looks in a row have found the file lost.
    lost: u32,
    /// Whether the operator knows that it is.
    told: bool,
    /// When the latest checkpoint was.
    checkpoint: Instant,
}

impl Caretaker {
    fn look(&mut self) {
        match self.store.look_at_file() {
            FileLook::Fine => {
                self.lost = 0;
                if self.checkpoint.elapsed() >= CHECKPOINT {
                    self.checkpoint = Instant::now();
                    if let Err(error) = self.store.checkpoint() {
                        log::warn!("the database's log stays as it is: {error}");
                    }
                }
            }
            FileLook::Lost { words, settled } => {
                self.lost += 1;
                if (settled || self.lost >= LOOKS) && !std::mem::replace(&mut self.told, true) {
                    self.operator.tell("The database file was lost", &words);
                }
            }
            FileLook::Back(words) => {
                self.lost = 0;
                if std::mem::take(&mut self.told) {
                    self.operator.tell("The database file is back", "Innkeeper works with it again.");
                } else {
                    self.operator
                        .tell("The database file was lost and is back", &format!("{words} It works again."));
                }
            }
        }
    }
}
