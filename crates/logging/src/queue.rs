//! Passes log lines to standard error: a bounded queue and a thread that writes.
//!
//! Code that logs never waits for a slow reader. If nobody reads standard error, the queue fills up; further lines
//! are dropped and counted, and the count is logged as soon as there is room again.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use log::Level;
use parking_lot::{Condvar, Mutex};

use crate::form::Line;
use crate::format;

/// Most lines in the queue.
const WAITING: usize = 4096;
/// Longest line in bytes. A longer one is cut, so the queue takes at most 16 MiB.
const LONGEST: usize = 4 * 1024;

/// The sending side of the queue. Clones share it.
#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Number of lines that were queued and are not written yet.
    waiting: Mutex<u64>,
    written: Condvar,
    /// Number of dropped lines since this was last logged.
    dropped: AtomicU64,
}

impl Lines {
    /// Starts the thread that writes to standard error. It uses a duplicate of the descriptor, so that it does not
    /// hold the lock of [`io::stderr`] while it waits for a reader.
    pub(super) fn to_stderr(to_journal: bool) -> io::Result<Self> {
        let out = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Self::start(out, WAITING, move |dropped| told(dropped, to_journal))
    }

    fn start(
        mut out: impl Write + Send + 'static,
        room: usize,
        told: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, lines) = sync_channel(room);
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            write_all(&lines, &mut out, &shared, told);
        })?;
        Ok(Self { queue, state })
    }

    /// Queues one line, or counts it as dropped.
    pub(super) fn put(&self, line: &[u8]) {
        let mut line = line.to_vec();
        if line.len() > LONGEST {
            // Do not cut within a character.
            let end = (0..=LONGEST).rev().find(|at| line[*at] & 0xc0 != 0x80).unwrap_or(0);
            line.truncate(end);
            line.extend_from_slice(b" (cut)\n");
        }
        *self.state.waiting.lock() += 1;
        if self.queue.try_send(line).is_err() {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
            self.state.one_less();
        }
    }

    /// Waits until all queued lines are written, at most for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let mut waiting = self.state.waiting.lock();
        self.state.written.wait_while_for(&mut waiting, |waiting| *waiting > 0, patience);
    }
}

/// Each write is a whole formatted record.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn one_less(&self) {
        let mut waiting = self.waiting.lock();
        *waiting = waiting.saturating_sub(1);
        drop(waiting);
        self.written.notify_all();
    }
}

/// The line that reports the number of dropped lines.
fn told(dropped: u64, to_journal: bool) -> Vec<u8> {
    let said = format!("{dropped} lines of the log were dropped: nobody read it");
    let mut line = Vec::new();
    // Writing into memory does not fail.
    let _ = Line::plain(Level::Warn, module_path!(), said).write(&mut line, format(), to_journal, ("", ""));
    line
}

fn write_all(lines: &Receiver<Vec<u8>>, out: &mut impl Write, state: &State, told: impl Fn(u64) -> Vec<u8>) {
    for line in lines {
        // If standard error is closed or its disk is full, there is no way to report it.
        let _ = out.write_all(&line);
        let dropped = state.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = out.write_all(&told(dropped));
        }
        let _ = out.flush();
        state.one_less();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_full_pipe_holds_up_nobody_and_what_was_dropped_is_counted() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines =
            Lines::start(writer, 16, |dropped| format!("dropped {dropped}\n").into_bytes()).unwrap();
        let line = [b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<_>>();
        // More lines than a pipe and the queue can hold.
        let put = 4096;
        let begun = Instant::now();
        for _ in 0..put {
            lines.write_all(&line).unwrap();
        }
        lines.flush(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody reads, and nobody waits for it");
        let reading = thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        lines.flush(Duration::from_secs(60));
        drop(lines);
        let all = reading.join().unwrap();
        let written = all.lines().filter(|line| line.starts_with('x')).count() as u64;
        let dropped: u64 =
            all.lines().filter_map(|line| line.strip_prefix("dropped ")?.parse::<u64>().ok()).sum();
        assert!(dropped > 0 && written + dropped == put, "{written} written, {dropped} dropped");
    }

    #[test]
    fn a_line_too_long_is_cut() {
        let (mut reader, writer) = io::pipe().unwrap();
        let lines = Lines::start(writer, 16, |_| Vec::new()).unwrap();
        lines.put(format!("x{}\n", "é".repeat(50_000)).as_bytes());
        lines.flush(Duration::from_secs(60));
        drop(lines);
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, format!("x{} (cut)\n", "é".repeat((LONGEST - 1) / 2)));
    }
}
