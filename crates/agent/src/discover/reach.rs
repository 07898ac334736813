//! Checks whether a job's user can run the agent, and whether the agent can report for that user.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::machine::SearchedMachine;
use crate::config::MACHINES;

/// Path of a user's configuration, relative to the home directory.
const OWN: &str = ".config/innkeeper/agent.toml";

/// Why a user cannot run the agent. In that case a wrapped job would not run at all.
pub(super) fn cannot_run(agent: &Path, user: &str, root: &Path) -> Option<String> {
    let mode_of = |path: &Path| fs::metadata(path).map(|found| found.permissions().mode());
    let Ok(mode) = mode_of(agent) else {
        // Below another root the agent need not be installed yet.
        return (root == Path::new("/")).then(|| format!("there is no {}", agent.display()));
    };
    let is_passable = |path: &Path| mode_of(path).is_ok_and(|mode| mode & 0o001 != 0);
    let for_others = mode & 0o001 != 0 && agent.ancestors().skip(1).all(is_passable);
    // A user other than root only changes its own jobs.
    let is_own = user == "root" || !rustix::process::geteuid().is_root();
    (!for_others && !is_own).then(|| {
        format!(
            "{user} cannot run {}; install the agent where every user can run it, such as in /usr/bin",
            agent.display()
        )
    })
}

/// Why the agent cannot report for a user: the machine is configured, but this user has no access to any
/// configuration. The server would expect reports that never come.
pub(super) fn cannot_report(
    machine: &SearchedMachine,
    user: &str,
    environment: &BTreeMap<String, String>,
) -> Option<String> {
    let found = machine.user(user).filter(|found| found.id != 0)?;
    let is_told = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
    let home = machine.path(&found.home.to_string_lossy());
    if is_told("INNKEEPER_TOKEN") || is_told("INNKEEPER_TOKEN_FILE") || is_told("XDG_CONFIG_HOME") {
        return None;
    }
    let is_root = rustix::process::geteuid().is_root();
    if home.join(OWN).exists() || (!is_root && machine.is_live() && fs::read_dir(&home).is_err()) {
        return None;
    }
    let own = found.home.join(OWN);
    match fs::metadata(machine.path(MACHINES)) {
        Ok(file) => {
            let mode = file.permissions().mode();
            let by_group =
                mode & 0o040 != 0 && (file.gid() == found.group || machine.is_member(user, file.gid()));
            let by_owner = mode & 0o400 != 0 && file.uid() == found.id;
            (mode & 0o004 == 0 && !by_group && !by_owner).then(|| {
                format!(
                    "{user} cannot read {MACHINES}, so its runs could not be reported; write {}, or let a \
                     group of {user} read it (mode 0640)",
                    own.display()
                )
            })
        }
        // Only root has a configuration.
        Err(_) if machine.path("/root").join(OWN).exists() => Some(format!(
            "{user} has no configuration of the agent, so its runs could not be reported; write {}",
            own.display()
        )),
        Err(_) => None,
    }
}
