//! Ensures that only one run of a job is active. The kernel releases the lock when the agent ends, however it ends.
//! The job does not inherit the lock, so processes that it leaves behind do not keep it.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use crate::spool::hash;
use crate::state::{lock_directory, try_lock};

/// Polling interval while another run has the lock.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The result of an attempt to take the lock.
#[derive(Debug)]
pub enum Lock {
    /// The lock is held until the file is closed.
    Taken(File),
    /// Another run has the lock.
    Held,
    /// No directory for locks can be used, for this reason. The job runs without a lock.
    Impossible(String),
}

/// Takes the lock of the job called `what`. Waits for it up to `patience`.
pub fn take(what: &str, patience: Duration) -> Lock {
    let directory = match lock_directory() {
        Ok(directory) => directory,
        Err(problem) => return Lock::Impossible(problem),
    };
    let path = directory.join(format!("{}.lock", file_name(what)));
    let begun = Instant::now();
    loop {
        match try_lock(&path) {
            Ok(Some(file)) => return Lock::Taken(file),
            Err(error) => return Lock::Impossible(format!("{}: {error}", path.display())),
            Ok(None) => {}
        }
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Lock::Held;
        }
        thread::sleep(left.min(LOOK_AGAIN));
    }
}

/// Turns `what` into a file name: other characters become `%` and two hex digits, and a long name is cut and gets a
/// hash.
pub fn file_name(what: &str) -> String {
    let mut name = String::new();
    for byte in what.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    if name.len() > 200 {
        name.truncate(180);
        name.push_str(&format!("{:08x}", hash(what)));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_differ_and_fit() {
        assert_eq!(file_name("shop/backup"), "shop%2fbackup");
        assert_ne!(file_name("a/b"), file_name("a_b"));
        let long = |end: &str| file_name(&format!("{}{end}", "ü/".repeat(150)));
        assert!(long("a").len() <= 200);
        assert_ne!(long("a"), long("b"));
        assert_eq!(long("a"), long("a"));
    }
}
