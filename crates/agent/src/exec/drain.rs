//! What reads on when the agent has ended: a process that the job left behind goes on writing as before.

use std::fs::File;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use super::writer::{Stream, Writer};
use crate::logbook;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "drain";

/// Starts a process that passes on what comes out of `source` until nobody holds it any more; `is_shown` says whether to
/// where it went so far, or to nowhere.
pub fn hand_over(source: PipeReader, stream: Stream, writer: &Writer, is_shown: bool) {
    let target = match writer.duplicate(stream) {
        Ok(target) if is_shown => Stdio::from(target),
        Ok(_) | Err(_) => Stdio::null(),
    };
    // Also where the program's file was replaced since it was started.
    let mut command = Command::new("/proc/self/exe");
    command.arg(SUBCOMMAND).env_clear().current_dir("/").stdin(source).stdout(target).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        logbook::note(format_args!("the output of what the job left behind ends here: {error}"));
    }
}

/// What that process does.
pub fn run() -> u8 {
    // No signal of the terminal, and none for the job's group, is meant for it.
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
            // As it would have been for the writer itself.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
            // A full disk: the writer lives on.
            Ok(()) | Err(_) => {}
        }
    }
}
