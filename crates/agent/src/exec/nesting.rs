//! A run's id, which the job finds in its environment, and by which an `exec` within an `exec` of the same job knows that
//! it need not report.

use std::fs;

use uuid::{Builder, Uuid};

use crate::spool::hash;

/// The one variable that a job gets.
pub const RUN: &str = "INNKEEPER_RUN";

/// An id for a run of the job that is called `what`. Its end says whose it is.
pub fn new_run(what: &str) -> Uuid {
    let mut bytes = *Uuid::new_v4().as_bytes();
    bytes[12..].copy_from_slice(&mark(what));
    Builder::from_random_bytes(bytes).into_uuid()
}

/// Whether this process runs within a run of the same job, by the variable's `value`.
pub fn is_within(value: Option<&str>, what: &str) -> bool {
    let Some(run) = value.and_then(|text| Uuid::try_parse(text).ok()) else { return false };
    // What the job has left behind (a daemon) keeps the variable for ever.
    run.as_bytes()[12..] == mark(what) && has_agent_above().unwrap_or(true)
}

fn mark(what: &str) -> [u8; 4] {
    hash(what).to_be_bytes()
}

/// Whether one of the processes above is an agent; none where the system does not tell.
fn has_agent_above() -> Option<bool> {
    let own = fs::read_to_string("/proc/self/comm").ok()?;
    let mut pid = rustix::process::getppid()?.as_raw_nonzero().get();
    for _ in 0..100 {
        if pid <= 0 {
            return Some(false);
        }
        if fs::read_to_string(format!("/proc/{pid}/comm")).ok()? == own {
            return Some(true);
        }
        pid = super::tree::stat(pid)?.parent;
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_its_job() {
        let run = new_run("shop/backup").to_string();
        assert_ne!(run, new_run("shop/backup").to_string());
        assert!(!is_within(Some(&run), "shop/other"));
        assert!(!is_within(None, "shop/backup"));
        assert!(!is_within(Some("1"), "shop/backup"));
        // No agent stands above this test.
        assert!(!is_within(Some(&run), "shop/backup"));
    }
}
