//! The id of a run. The job gets it in its environment. By this id, an `exec` within an `exec` of the same job
//! recognizes that it must not report.

use std::fs;

use uuid::{Builder, Uuid};

use crate::spool::hash;

/// The only variable that the agent adds to the environment of a job.
pub const RUN: &str = "INNKEEPER_RUN";

/// A new run id for the job called `what`. Its last four bytes identify the job.
pub fn new_run(what: &str) -> Uuid {
    let mut bytes = *Uuid::new_v4().as_bytes();
    bytes[12..].copy_from_slice(&mark(what));
    Builder::from_random_bytes(bytes).into_uuid()
}

/// Whether this process runs within a run of the same job. `value` is the content of the variable.
pub fn is_within(value: Option<&str>, what: &str) -> bool {
    let Some(run) = value.and_then(|text| Uuid::try_parse(text).ok()) else { return false };
    // A daemon that the job left behind keeps the variable, so an agent must also be among the ancestors.
    run.as_bytes()[12..] == mark(what) && has_agent_above().unwrap_or(true)
}

fn mark(what: &str) -> [u8; 4] {
    hash(what).to_be_bytes()
}

/// Whether an ancestor process is an agent; none if the system does not tell.
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
        // This test has no agent among its ancestors.
        assert!(!is_within(Some(&run), "shop/backup"));
    }
}
