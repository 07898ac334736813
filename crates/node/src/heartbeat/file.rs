//! Watches the SQLite file: whether it is still the file that was opened, and whether it contains what was written.
//! This runs on a thread that uses the database for nothing else, and sends to the operator directly, because the
//! outbox is lost with the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use askama::Template;
use innkeeper_core::Clock as _;
use innkeeper_store::{DatabaseKind, FileLook, MendExtent, Store};

use super::{NodeClock, Operator};
use crate::{Shutdown, SupervisedThread};

/// The interval between looks.
const LOOK: Duration = Duration::from_secs(1);
/// The interval between checkpoints of the WAL into the file, and the time until the first.
const CHECKPOINT: Duration = Duration::from_secs(60);
const FIRST_CHECKPOINT: Duration = Duration::from_secs(10);
/// The checkpoint interval while only heartbeats are written.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(900);
/// The time from the start to the first reading of the whole file. A process that restarts often must not load the
/// disk.
const FIRST_READING: Duration = Duration::from_secs(600);
/// The interval between readings of the whole file.
const READING: Duration = Duration::from_secs(24 * 3600);
/// The interval between searches for rows with invalid values.
const MENDING: Duration = Duration::from_secs(60);
/// The pause after a search of all tables, as a multiple of its duration.
const PAUSES: u32 = 50;
/// The most invalid rows that are reported one by one.
const MOST_TOLD: usize = 10;
/// The least time between two readings that are made because a statement found damage.
const READING_PAUSE: Duration = Duration::from_secs(60);
/// The number of looks during which a lost file may be restored before the operator is told.
const LOOKS: u32 = 5;

/// Starts the thread; does nothing over Postgres.
pub(super) fn start(
    store: &Store,
    operator: &Operator,
    clock: &Arc<NodeClock>,
    shutdown: &Shutdown,
) -> std::io::Result<Option<SupervisedThread>> {
    if store.backend() == DatabaseKind::Postgres {
        return Ok(None);
    }
    let mut caretaker = Caretaker {
        store: store.clone(),
        operator: operator.clone(),
        lost: 0,
        told: false,
        next_checkpoint: Instant::now() + FIRST_CHECKPOINT,
        mender: Mender {
            store: store.clone(),
            operator: operator.clone(),
            clock: Arc::clone(clock),
            is_unreadable: false,
            next: Instant::now(),
            next_whole: Instant::now(),
        },
        reader: Reader {
            store: store.clone(),
            operator: operator.clone(),
            reading: Arc::default(),
            next: Instant::now() + FIRST_READING,
            latest: None,
            stop: shutdown.clone(),
        },
    };
    let stop = shutdown.clone();
    SupervisedThread::spawn("database file", shutdown, move || {
        while !stop.wait_timeout(LOOK) {
            caretaker.look();
        }
        Ok(())
    })
    .map(Some)
}

/// A message to the operator about the file.
#[derive(Template)]
enum FileMessage<'a> {
    #[template(path = "file_lost.txt")]
    Lost { what: &'a str },
    #[template(path = "file_back.txt")]
    Back { set_aside: Option<String> },
    #[template(path = "file_lost_and_back.txt")]
    LostAndBack { what: &'a str, set_aside: Option<String> },
    #[template(path = "file_damaged.txt")]
    Damaged { what: &'a str },
    #[template(path = "rows_unreadable.txt")]
    Rows { rows: &'a [String], more: usize },
}

struct Caretaker {
    store: Store,
    operator: Operator,
    /// The number of consecutive looks that found the file lost.
    lost: u32,
    /// Whether the operator was told that it is lost.
    told: bool,
    next_checkpoint: Instant,
    mender: Mender,
    reader: Reader,
}

impl Caretaker {
    fn look(&mut self) {
        match self.store.look_at_file() {
            FileLook::Fine => {
                self.lost = 0;
                self.reader.read_if_it_is_time();
                self.mender.look();
                let now = Instant::now();
                if now >= self.next_checkpoint + IDLE_CHECKPOINT
                    || (now >= self.next_checkpoint && self.store.has_written())
                {
                    self.next_checkpoint = now + CHECKPOINT;
                    if let Err(error) = self.store.checkpoint() {
                        log::warn!("the database's log cannot be shortened: {error}");
                    }
                }
            }
            FileLook::Lost { words, settled } => {
                self.lost += 1;
                if (settled || self.lost >= LOOKS) && !std::mem::replace(&mut self.told, true) {
                    self.operator.tell(FileMessage::Lost { what: &words });
                }
            }
            FileLook::Back { words, set_aside } => {
                self.lost = 0;
                self.operator.tell(match std::mem::take(&mut self.told) {
                    true => FileMessage::Back { set_aside },
                    false => FileMessage::LostAndBack { what: &words, set_aside },
                });
            }
        }
    }
}

/// Searches for rows with invalid values, at intervals and after a row could not be read.
struct Mender {
    store: Store,
    operator: Operator,
    clock: Arc<NodeClock>,
    /// Whether a row could not be read since the last search of all tables.
    is_unreadable: bool,
    next: Instant,
    next_whole: Instant,
}

impl Mender {
    fn look(&mut self) {
        let (met, now) = (self.store.has_met_unreadable_rows(), Instant::now());
        self.is_unreadable |= met;
        let all = self.is_unreadable && now >= self.next_whole;
        if !met && !all && now < self.next {
            return;
        }
        self.next = now + MENDING;
        let extent = if all { MendExtent::AllTables } else { MendExtent::SmallTables };
        let mended = self.store.mend_rows(extent, self.clock.now());
        if all {
            // The search reads large tables, and an unreadable reservation is met again and again, so a pause follows.
            self.next_whole = now + now.elapsed() * PAUSES;
            self.is_unreadable = false;
        }
        match mended {
            Ok(mended) if mended.is_empty() => {}
            Ok(mended) => {
                let (rows, more) = mended.split_at(mended.len().min(MOST_TOLD));
                self.operator.tell(FileMessage::Rows { rows, more: more.len() });
            }
            Err(error) => log::debug!("the search for unreadable rows failed: {error}"),
        }
    }
}

/// Reads the whole file at intervals, and after a statement found damage, in the background.
struct Reader {
    store: Store,
    operator: Operator,
    /// Whether a reading is in progress.
    reading: Arc<AtomicBool>,
    next: Instant,
    /// When the latest reading began.
    latest: Option<Instant>,
    stop: Shutdown,
}

impl Reader {
    fn read_if_it_is_time(&mut self) {
        let is_fresh = self.latest.is_some_and(|latest| latest.elapsed() < READING_PAUSE);
        let due = Instant::now() >= self.next || (!is_fresh && self.store.has_met_damage());
        if !due || self.reading.swap(true, Ordering::SeqCst) {
            return;
        }
        self.latest = Some(Instant::now());
        self.next = Instant::now() + READING;
        let (store, operator) = (self.store.clone(), self.operator.clone());
        let (reading, stop) = (Arc::clone(&self.reading), self.stop.clone());
        let read = std::thread::Builder::new().name("damage".to_owned()).spawn(move || {
            let known = store.damage();
            match store.look_for_damage(&|| !stop.is_requested()) {
                Ok(Some(words)) if known.as_ref() != Some(&words) => {
                    operator.tell(FileMessage::Damaged { what: &words });
                }
                Ok(_) => {}
                Err(error) => log::warn!("it is not known whether the database file is damaged: {error}"),
            }
            reading.store(false, Ordering::SeqCst);
        });
        if let Err(error) = read {
            log::warn!("it is not known whether the database file is damaged: {error}");
            self.reading.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::OperatorMessage;

    #[test]
    fn each_message_says_what_happened_to_the_file() {
        let text = |message| OperatorMessage::from(message).text;
        assert_eq!(text(FileMessage::Back { set_aside: None }), "Innkeeper works with it again.");
        let set_aside = Some("It was set aside.".to_owned());
        assert_eq!(
            text(FileMessage::LostAndBack { what: "f is gone.", set_aside }),
            "f is gone. It works again. It was set aside."
        );
        assert_eq!(
            text(FileMessage::Damaged { what: "f is damaged: a page" }),
            "f is damaged: a page.\nInnkeeper continues with what can be read; check-ins and pages that need the rest fail. Copy the file \
             and those beside it (-wal, -shm), stop Innkeeper, and restore a backup: innkeeper restore FILE. Check the \
             disk."
        );
        let rows = ["one".to_owned(), "two".to_owned()];
        let end = "Everything else works. Has another program written to the file?";
        assert_eq!(text(FileMessage::Rows { rows: &rows, more: 0 }), format!("one\ntwo\n{end}"));
        assert_eq!(
            text(FileMessage::Rows { rows: &rows, more: 3 }),
            format!("one\ntwo\nand 3 more, which the log names\n{end}")
        );
    }
}
