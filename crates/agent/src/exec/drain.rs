//! The process that outlives the agent and keeps reading the output of processes that the job left behind.

use std::fs::File;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use super::writer::{Stream, StreamWriter};
use crate::logbook;

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "drain";

/// Starts a process that reads `source` until its last writer closes it. If `is_shown` is set, it copies to the
/// stream that was used so far; otherwise it discards the data.
pub fn hand_over(source: PipeReader, stream: Stream, writer: &StreamWriter, is_shown: bool) {
    let target = match writer.duplicate(stream) {
        Ok(target) if is_shown => Stdio::from(target),
        Ok(_) | Err(_) => Stdio::null(),
    };
    // `/proc/self/exe` works even if the program's file was replaced since the start.
    let mut command = Command::new("/proc/self/exe");
    command.arg(SUBCOMMAND).env_clear().current_dir("/").stdin(source).stdout(target).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        logbook::note(format_args!(
            "the output of processes that the job left behind is lost from here on: {error}"
        ));
    }
}

/// Main function of that process.
pub fn run() -> u8 {
    // A new session, so that it gets no signals of the terminal or of the job's group.
    let _ = rustix::process::setsid();
    let (Ok(from), Ok(to)) =
        (io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned())
    else {
        return 1;
    };
    let (mut from, mut to) = (File::from(from), File::from(to));
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => return 0,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return 1,
        };
        match to.write_all(&chunk[..n]) {
            // The reader is gone. Closing the pipe gives the job's processes the SIGPIPE that they would have got
            // without the agent.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
            // After another error, such as a full disk, keep reading so that the writer is not blocked.
            Ok(()) | Err(_) => {}
        }
    }
}
