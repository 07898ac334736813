//! The agent's own output, to which a job's goes.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};

/// Which of the two streams of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Standard output.
    Out = 1,
    /// Standard error.
    Err = 2,
}

/// The agent's own standard output and standard error, to which the job's go.
#[derive(Debug)]
pub struct Writer {
    out: File,
    err: File,
    /// Nobody reads it any more.
    is_closed: [AtomicBool; 2],
}

impl Writer {
    /// Over the two that this process was given.
    ///
    /// # Errors
    /// They cannot be duplicated.
    pub fn new() -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let err = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self { out, err, is_closed: Default::default() })
    }

    /// Over two files.
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

    /// Writes all of `bytes`. What cannot be written is lost to its reader, and the job goes on.
    pub fn write(&self, stream: Stream, bytes: &[u8]) {
        let closed = &self.is_closed[stream as usize - 1];
        let mut file = self.file(stream);
        let mut rest = bytes;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody made it so; a job that writes to it itself would find that, too.
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

    /// A duplicate of one of them.
    ///
    /// # Errors
    /// As duplicating does.
    pub fn duplicate(&self, stream: Stream) -> io::Result<OwnedFd> {
        Ok(self.file(stream).try_clone()?.into())
    }

    /// Whether both lead to the same place: then one pipe serves both, and keeps their order.
    pub(super) fn is_one(&self) -> bool {
        let id = |file: &File| file.metadata().map(|found| (found.dev(), found.ino(), found.rdev()));
        matches!((id(&self.out), id(&self.err)), (Ok(out), Ok(err)) if out == err)
    }
}
