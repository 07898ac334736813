//! Copies a job's output: unchanged, without delay, and with the two streams apart.
//!
//! Each stream is a pipe with a thread that reads it. After the job has ended, a process that it left behind may
//! still hold the pipe. Closing the pipe would end that process by SIGPIPE. Instead, the pipe is handed to a process
//! of its own (`drain`), which lives as long as anybody can write to the pipe.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use innkeeper_core::figures::Lines;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::gathered::GatheredOutput;
use super::held::HeldOutput;
use super::tail::Tail;
use super::writer::{Stream, StreamWriter};

/// After the job's end, a pipe that is silent for this long is handed over.
const QUIET: Duration = Duration::from_millis(150);
/// After the job's end, a pipe that never becomes silent is handed over after this time.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);
/// First size of the read buffer, in bytes. Most jobs write little.
const CHUNK: usize = 4 * 1024;
/// Largest size of the read buffer, in bytes: the capacity of a pipe.
const LARGEST_CHUNK: usize = 64 * 1024;

/// State that the reading threads share.
#[derive(Debug)]
pub struct Shared {
    /// The agent's own output.
    pub writer: StreamWriter,
    tail: Mutex<Tail>,
    figures: Mutex<GatheredOutput>,
    held: Option<Mutex<HeldOutput>>,
}

impl Shared {
    /// Creates the state. `tail` keeps the end of the output, `figures` its figures, and `held` all of it if it is
    /// held back.
    pub fn new(writer: StreamWriter, tail: Tail, figures: GatheredOutput, held: Option<HeldOutput>) -> Self {
        Self { writer, tail: Mutex::new(tail), figures: Mutex::new(figures), held: held.map(Mutex::new) }
    }

    /// Locks the end of the output.
    pub fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the figures so far.
    pub fn figures(&self) -> MutexGuard<'_, GatheredOutput> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the output that was held back.
    pub fn release(&self) {
        if let Some(held) = &self.held {
            held.lock().unwrap_or_else(PoisonError::into_inner).write_all(&self.writer);
        }
    }

    fn take(&self, stream: Stream, bytes: &[u8], lines: &mut Lines) {
        match &self.held {
            None => self.writer.write(stream, bytes),
            Some(held) => {
                held.lock().unwrap_or_else(PoisonError::into_inner).push(stream, bytes, &self.writer);
            }
        }
        self.tail().push(bytes);
        lines.push(bytes, &mut |line| self.figures().take(line));
    }
}

/// The threads that read a job's output.
#[derive(Debug)]
pub struct Pumps {
    threads: Vec<(Stream, JoinHandle<Option<PipeReader>>)>,
    /// Dropped when the job has ended, which tells the threads.
    alive: PipeWriter,
}

/// The ends of the pipes that the job gets.
#[derive(Debug)]
pub struct Ends {
    /// The job's standard output.
    pub out: PipeWriter,
    /// The job's standard error.
    pub err: PipeWriter,
}

impl Pumps {
    /// Creates the pipes and starts the threads.
    ///
    /// # Errors
    /// There are no free descriptors or threads. The job then writes directly to the agent's streams.
    pub fn start(shared: &Arc<Shared>) -> io::Result<(Self, Ends)> {
        let (ended, alive) = io::pipe()?;
        let mut threads = Vec::new();
        let (from_out, out) = io::pipe()?;
        let mut sources = vec![(Stream::Out, from_out)];
        let err = match shared.writer.is_one() {
            true => out.try_clone()?,
            false => {
                let (from_err, err) = io::pipe()?;
                sources.push((Stream::Err, from_err));
                err
            }
        };
        for (stream, source) in sources {
            let (shared, ended) = (Arc::clone(shared), ended.try_clone()?);
            let pump = move || {
                let mut lines = Lines::default();
                let left = pump(stream, source, &ended, &shared, &mut lines);
                lines.finish(&mut |line| shared.figures().take(line));
                left
            };
            threads.push((stream, thread::Builder::new().spawn(pump)?));
        }
        Ok((Self { threads, alive }, Ends { out, err }))
    }

    /// Tells the threads that the job has ended and waits until they have copied what is there. Returns the pipes
    /// that another process still holds.
    pub fn finish(self) -> Vec<(Stream, PipeReader)> {
        drop(self.alive);
        let ends = self.threads.into_iter().map(|(stream, thread)| (stream, thread.join()));
        ends.filter_map(|(stream, left)| Some((stream, left.ok().flatten()?))).collect()
    }
}

/// Copies `source` until its end. Returns it if the job has ended but another process still holds the pipe.
fn pump(
    stream: Stream,
    mut source: PipeReader,
    ended: &PipeReader,
    shared: &Shared,
    lines: &mut Lines,
) -> Option<PipeReader> {
    let mut chunk = vec![0; CHUNK];
    let mut over: Option<Instant> = None;
    loop {
        match over {
            None => {
                let mut ready = [PollFd::new(&source, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
                if let Err(error) = poll(&mut ready, None)
                    && error != rustix::io::Errno::INTR
                {
                    return Some(source);
                }
                if !ready[1].revents().is_empty() {
                    over = Some(Instant::now());
                }
                if ready[0].revents().is_empty() {
                    continue;
                }
            }
            Some(since) => {
                let quiet = Timespec { tv_sec: 0, tv_nsec: i64::from(QUIET.subsec_nanos()) };
                let mut ready = [PollFd::new(&source, PollFlags::IN)];
                match poll(&mut ready, Some(&quiet)) {
                    Ok(0) => return Some(source),
                    Ok(_) if since.elapsed() > LONGEST_DRAIN => return Some(source),
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return Some(source),
                }
            }
        }
        match source.read(&mut chunk) {
            Ok(0) => return None,
            Ok(n) => {
                shared.take(stream, &chunk[..n], lines);
                if n == chunk.len() && n < LARGEST_CHUNK {
                    chunk.resize(n * 2, 0);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
        // The agent's reader is gone. Closing the pipe lets the job notice that, as it would without the agent.
        if shared.writer.is_closed(stream) {
            return None;
        }
    }
}
