//! The systemd drop-in that makes a service report.
//!
//! It adds a command to `ExecStopPost=` and leaves `ExecStart=` unchanged. Therefore the job remains the service's
//! main process, with its notifications and limits, and a newer version of the unit can change its command. Failures
//! before the command starts (`ExecStartPre=`, a time limit, too little memory) are reported, too. The `+` lets the
//! agent read its configuration and reach the network even if the service may not. The `-` keeps a failure of the
//! agent from failing the service.

use std::path::{Path, PathBuf};

use super::command;
use super::files::read_bounded;
use super::machine::SearchedMachine;

/// First line of the drop-in.
const HEAD: &str = "# Made by innkeeper-agent discover, which takes it away again with --undo.";
/// File name of the drop-in.
const FILE: &str = "innkeeper-agent.conf";
const KEY: &str = "ExecStopPost=-+/bin/sh -c '";
/// The script before the agent's command. It turns the result of the service into arguments. systemd counts an end by
/// HUP, INT, TERM or PIPE as a success; here it counts as a failure.
const SCRIPT: &str = "r=\"$$SERVICE_RESULT: $$EXIT_CODE $$EXIT_STATUS\"; \
                      case $$SERVICE_RESULT.$$EXIT_CODE.$$EXIT_STATUS in \
                      success.exited.*) set -- --exit-status 0;; \
                      *.exited.0) set -- --fail --notes \"$$r\";; \
                      *.exited.*) set -- --exit-status $$EXIT_STATUS --notes \"$$r\";; \
                      *.killed.*|*.dumped.*) set -- --signal SIG$$EXIT_STATUS --notes \"$$r\";; \
                      *) set -- --fail --notes \"$$r\";; esac; exec ";
/// The text between the agent's path and the names.
const COMMAND: &str = " checkin ";
const END: &str = " --keep \"$$@\"'";

/// Path of the drop-in.
pub fn path(root: &Path, service: &str) -> PathBuf {
    root.join("etc/systemd/system").join(format!("{service}.d")).join(FILE)
}

/// Content of the drop-in.
///
/// # Errors
/// The agent's path contains characters that a unit cannot contain.
pub fn text(agent: &Path, app: &str, component: &str) -> Result<String, String> {
    let is_usable = |path: &&str| command::is_plain(path.as_bytes()) && !path.contains(' ');
    let Some(agent) = agent.to_str().filter(is_usable) else {
        return Err(format!("the agent's path {} cannot be written into a unit", agent.display()));
    };
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "._:@-".contains(c);
    if !app.chars().chain(component.chars()).all(is_safe) {
        return Err(format!(
            "the name {app}/{component} cannot be written into a unit; letters, digits and . _ - : @ can"
        ));
    }
    Ok(format!("{HEAD}\n[Service]\n{KEY}{SCRIPT}{agent}{COMMAND}{app}/{component}{END}\n"))
}

/// The reservation of a service that has the drop-in.
pub fn names(machine: &SearchedMachine, service: &str) -> Option<(String, String)> {
    let text = read_bounded(&path(&machine.root, service)).ok()?;
    names_in(&String::from_utf8_lossy(&text))
}

fn names_in(text: &str) -> Option<(String, String)> {
    let line = text.lines().find(|line| is_own(line))?;
    let (_, rest) = line.split_once(COMMAND)?;
    let (app, component) = rest.split(' ').next()?.split_once('/')?;
    Some((app.to_owned(), component.to_owned()))
}

fn is_own(line: &str) -> bool {
    let is_agents = line.contains(&format!("/innkeeper-agent{COMMAND}"));
    line.starts_with(KEY) && is_agents && line.contains("$$SERVICE_RESULT")
}

/// The text without the lines that `discover` wrote; none if no other lines are left.
pub fn without_own(text: &str) -> Option<String> {
    let rest: String =
        text.split_inclusive('\n').filter(|line| !is_own(line) && line.trim_end() != HEAD).collect();
    let is_empty = rest.lines().all(|line| matches!(line.trim(), "" | "[Service]"));
    (!is_empty).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_again_and_taken_away() {
        let text = text(Path::new("/usr/bin/innkeeper-agent"), "web1", "apt-daily").unwrap();
        assert_eq!(names_in(&text), Some(("web1".to_owned(), "apt-daily".to_owned())));
        assert_eq!(without_own(&text), None);
        let more = format!("{text}Nice=5\n");
        assert_eq!(without_own(&more).as_deref(), Some("[Service]\nNice=5\n"));
        assert_eq!(names_in("[Service]\nExecStopPost=/bin/x\n"), None);
        super::text(Path::new("/a b/innkeeper-agent"), "a", "b").unwrap_err();
        super::text(Path::new("/innkeeper-agent"), "a", "50%").unwrap_err();
    }

    #[test]
    fn its_script_tells_how_the_service_ended() {
        for (result, code, status, expected) in [
            ("success", "exited", "0", "--exit-status 0"),
            ("success", "exited", "24", "--exit-status 0"),
            ("exit-code", "exited", "3", "--exit-status 3 --notes exit-code: exited 3"),
            ("success", "killed", "TERM", "--signal SIGTERM --notes success: killed TERM"),
            ("signal", "killed", "KILL", "--signal SIGKILL --notes signal: killed KILL"),
            ("timeout", "killed", "TERM", "--signal SIGTERM --notes timeout: killed TERM"),
            ("core-dump", "dumped", "SEGV", "--signal SIGSEGV --notes core-dump: dumped SEGV"),
            ("timeout", "exited", "0", "--fail --notes timeout: exited 0"),
            ("oom-kill", "killed", "KILL", "--signal SIGKILL --notes oom-kill: killed KILL"),
            ("exit-code", "", "", "--fail --notes exit-code:  "),
        ] {
            let text = text(Path::new("/usr/bin/innkeeper-agent"), "web1", "trim").unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(KEY)?.strip_suffix('\'')).unwrap();
            let script = line.replace("$$", "$").replace("exec /usr/bin/innkeeper-agent", "echo");
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", &script]);
            command.env("SERVICE_RESULT", result).env("EXIT_CODE", code).env("EXIT_STATUS", status);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{result} {code} {status}");
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said, format!("checkin web1/trim --keep {expected}\n"));
        }
    }
}
