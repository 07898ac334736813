//! The agent's own output, to which a job's goes.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};

/// The two streams of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Standard output.
    Out = 1,
    /// Standard error.
    Err = 2,
}

/// The agent's own standard output and standard error, to which the job's output is copied.
#[derive(Debug)]
pub struct StreamWriter {
    out: File,
    err: File,
    /// Whether the reader of each stream is gone.
    is_closed: [AtomicBool; 2],
}

impl StreamWriter {
    /// Writes to this process's standard output and standard error.
    ///
    /// # Errors
    /// The descriptors cannot be duplicated.
    pub fn new() -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let err = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self { out, err, is_closed: Default::default() })
    }

    /// Writes to two files.
    #[cfg(test)]
    pub fn over(out: File, err: File) -> Self {
        Self { out, err, is_closed: Default::default() }
    }

    fn file(&self, stream: Stream) -> &File {
        match stream {
            Stream::Out => &self.out,
            Stream::Err => &self.err,
        }
    }

    /// Writes all of `bytes`. Data that cannot be written is dropped, and the job continues.
    pub fn write(&self, stream: Stream, bytes: &[u8]) {
        let closed = &self.is_closed[stream as usize - 1];
        let mut file = self.file(stream);
        let mut rest = bytes;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The descriptor is non-blocking, which the job could meet without the agent, too. Wait until it is
                // writable.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut ready = [PollFd::new(file, PollFlags::OUT)];
                    if poll(&mut ready, None).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::BrokenPipe {
                        closed.store(true, Ordering::Release);
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn is_closed(&self, stream: Stream) -> bool {
        self.is_closed[stream as usize - 1].load(Ordering::Acquire)
    }

    /// A duplicate of one of the two descriptors.
    ///
    /// # Errors
    /// The descriptor cannot be duplicated.
    pub fn duplicate(&self, stream: Stream) -> io::Result<OwnedFd> {
        Ok(self.file(stream).try_clone()?.into())
    }

    /// Whether both streams lead to the same file. One pipe then serves both, which keeps their order.
    pub(super) fn is_one(&self) -> bool {
        let id = |file: &File| file.metadata().map(|found| (found.dev(), found.ino(), found.rdev()));
        matches!((id(&self.out), id(&self.err)), (Ok(out), Ok(err)) if out == err)
    }
}
