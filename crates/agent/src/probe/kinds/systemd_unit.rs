//! `systemd-unit`: checks by `systemctl show` that a unit is active.

use std::collections::HashMap;
use std::process::Command;

use innkeeper_settings::Section;

use super::{ProbeCheck, Subject};
use crate::probe::attempt::ProbeAttempt;
use crate::probe::outcome::{Failure, ProbeOutcome, ProbeStatus, one_line};
use crate::probe::program::{self, ProgramEnd};

const PROPERTIES: &str =
    "LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,UnitFileState,StateChangeTimestamp";

/// Queries systemd for a unit's state.
#[derive(Debug)]
pub(crate) struct SystemdUnit {
    /// The accepted states.
    states: Vec<String>,
    /// Whether to query the user's own manager.
    user: bool,
    systemctl: String,
}

impl SystemdUnit {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        const STATES: [&str; 7] =
            ["active", "reloading", "refreshing", "inactive", "activating", "deactivating", "failed"];
        let mut states = section.list("expect", 10, |text| match STATES.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(format!("{text:?} is no state of a unit; allowed: {}", STATES.join(", "))),
        });
        if states.is_empty() {
            states = ["active", "reloading", "refreshing"].map(str::to_owned).to_vec();
        }
        let systemctl = section.parsed("systemctl", "systemctl".to_owned(), |text| match text.is_empty() {
            true => Err("is empty; give the program"),
            false => Ok(text.to_owned()),
        });
        Self { states, user: section.flag("user", false), systemctl }
    }

    /// Evaluates the output of `systemctl show` for `unit`.
    fn judge(&self, unit: &str, shown: &str) -> ProbeOutcome {
        let properties: HashMap<&str, &str> = shown.lines().filter_map(|line| line.split_once('=')).collect();
        let of = |key| properties.get(key).copied().unwrap_or_default();
        match of("LoadState") {
            "not-found" => {
                return ProbeOutcome::new(ProbeStatus::Critical, format!("there is no unit {unit}"));
            }
            "loaded" | "masked" => {}
            "" => {
                return ProbeOutcome::new(
                    ProbeStatus::Unknown,
                    format!("systemctl returns nothing about {unit}"),
                );
            }
            other => {
                return ProbeOutcome::new(
                    ProbeStatus::Critical,
                    format!("{unit} cannot be loaded ({other})"),
                );
            }
        }
        let (active, sub, result) = (of("ActiveState"), of("SubState"), of("Result"));
        let mut said = format!("{unit} is {active} ({sub})");
        if !matches!(result, "success" | "") {
            said.push_str(&format!(", its result: {result}"));
            match of("ExecMainStatus") {
                "" | "0" => {}
                status => said.push_str(&format!(", exit status {status}")),
            }
        }
        if of("LoadState") == "masked" {
            said.push_str(", masked");
        }
        match of("StateChangeTimestamp") {
            "" | "n/a" => {}
            since => said.push_str(&format!(", since {since}")),
        }
        let is_well = self.states.iter().any(|state| state == active);
        let outcome = ProbeOutcome::new(if is_well { ProbeStatus::Ok } else { ProbeStatus::Critical }, said);
        match of("NRestarts").parse::<u32>() {
            Ok(restarts) => outcome.figure("restarts", f64::from(restarts), ""),
            Err(_) => outcome,
        }
    }
}

impl ProbeCheck for SystemdUnit {
    fn subject(&self, target: &str) -> Result<Subject, String> {
        let is_unit = !target.is_empty()
            && target.len() < 256
            && !target.starts_with('-')
            && target.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
        if !is_unit {
            return Err(format!("{target:?} is no name of a unit; write nginx.service"));
        }
        Ok(Subject { label: target.to_owned(), host: String::new() })
    }

    fn run(&self, target: &str, attempt: &mut ProbeAttempt) -> Result<ProbeOutcome, Failure> {
        let unit = if target.contains('.') { target.to_owned() } else { format!("{target}.service") };
        let mut command = Command::new(&self.systemctl);
        command.args(self.user.then_some("--user")).args([
            "show",
            "--no-pager",
            "--property",
            PROPERTIES,
            "--",
        ]);
        command.arg(&unit).env("SYSTEMD_COLORS", "0");
        let finished = program::run(command, &self.systemctl, 64 * 1024, attempt)?;
        match finished.ended {
            ProgramEnd::Exit(0) => Ok(self.judge(&unit, &finished.stdout.text())),
            ProgramEnd::TimedOut | ProgramEnd::Stuck => {
                Err(Failure::unknown(format!("systemctl: {}", attempt.whole().timeout().what)))
            }
            _ => {
                let said = one_line(&finished.stderr.text());
                Err(Failure::unknown(format!("systemctl cannot show the state of {unit}: {said}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(shown: &str, states: &[&str]) -> ProbeOutcome {
        let states = states.iter().map(|state| (*state).to_owned()).collect();
        let unit = SystemdUnit { states, user: false, systemctl: String::new() };
        unit.judge("a.service", shown)
    }

    /// Output of `systemctl show` in systemd 252.
    #[test]
    fn what_systemctl_shows() {
        let active = "Result=success\nNRestarts=3\nExecMainStatus=0\nLoadState=loaded\nActiveState=active\nSubState=running\nStateChangeTimestamp=Mon 2026-11-30 10:00:00 UTC\nUnitFileState=enabled\n";
        let outcome = judged(active, &["active"]);
        assert_eq!(outcome.status, ProbeStatus::Ok);
        assert_eq!(outcome.summary, "a.service is active (running), since Mon 2026-11-30 10:00:00 UTC");
        assert_eq!(outcome.figures["restarts"].value, 3.0);
        assert_eq!(judged(active, &["inactive"]).status, ProbeStatus::Critical);

        let failed = "Result=exit-code\nNRestarts=0\nExecMainStatus=203\nLoadState=loaded\nActiveState=failed\nSubState=failed\n";
        let outcome = judged(failed, &["active"]);
        assert_eq!(outcome.status, ProbeStatus::Critical);
        assert_eq!(outcome.summary, "a.service is failed (failed), its result: exit-code, exit status 203");

        let missing = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nStateChangeTimestamp=\n";
        assert_eq!(judged(missing, &["inactive"]).summary, "there is no unit a.service");
        let oneshot = "Result=success\nLoadState=loaded\nActiveState=inactive\nSubState=dead\n";
        assert_eq!(judged(oneshot, &["active"]).status, ProbeStatus::Critical);
        assert_eq!(judged(oneshot, &["active", "inactive"]).status, ProbeStatus::Ok);
        assert_eq!(judged("", &["active"]).status, ProbeStatus::Unknown);
        assert_eq!(
            judged("LoadState=masked\nActiveState=inactive\nSubState=dead\n", &["active"]).summary,
            "a.service is inactive (dead), masked"
        );
    }
}
