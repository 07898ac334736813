//! Reads from the configuration what to probe, and collects its problems.

use std::collections::HashSet;

use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_settings::{Findings, Problem};

use crate::config::{self, Config, LoadedConfig, Overrides};
use crate::probe::config::read;
use crate::probe::{Probe, ProbeTarget, Probes};
use crate::report::Names;

/// The component of the agent's own reservation. A user's own agent adds the number of the user.
const OWN: &str = "innkeeper-agent";

/// The configuration of the probe service.
#[derive(Debug, Clone)]
pub(super) struct ServicePlan {
    pub config: Config,
    /// The valid probes.
    pub probes: Probes,
    /// The names of the invalid probes.
    pub broken: HashSet<String>,
    /// All problems, as lines for people.
    pub problems: Vec<String>,
    /// Whether a whole file could not be read, so that its probes are unknown.
    pub is_file_lost: bool,
    /// This machine's name. It is the app of probes that name none.
    pub host: String,
    /// The agent's own reservation, which receives whether all probes could be loaded.
    pub own: Option<Names>,
}

/// Loads the configuration.
pub(super) fn load(overrides: &Overrides) -> ServicePlan {
    let LoadedConfig { config, mut problems, mut rest, is_file_lost, .. } = config::load(overrides);
    let mut findings = Findings::default();
    let host = host_name();
    let mut probes = read(&mut rest, &host, &mut findings);
    problems.append(&mut findings.problems);
    let broken = std::mem::take(&mut probes.broken);
    let all = problems.iter().chain(broken.iter().flat_map(|one| &one.problems));
    let problems = all.map(Problem::to_string).collect();
    let user = rustix::process::geteuid();
    let component = if user.is_root() { OWN.to_owned() } else { format!("{OWN} of user {}", user.as_raw()) };
    let own = AppName::parse(&host).ok().zip(ComponentName::parse(&component).ok());
    ServicePlan {
        config,
        probes,
        broken: broken.into_iter().map(|one| one.name).collect(),
        problems,
        is_file_lost,
        host,
        own: own.map(|(app, component)| Names { app, component }),
    }
}

fn host_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    if AppName::parse(&name).is_ok() { name } else { "localhost".to_owned() }
}

/// The reservation of a target.
pub(super) fn names_of(target: &ProbeTarget) -> Names {
    Names { app: target.app.clone(), component: target.component.clone() }
}

impl ServicePlan {
    /// Every target, together with its probe.
    pub fn targets(&self) -> impl Iterator<Item = (&Probe, &ProbeTarget)> {
        self.probes.probes.iter().flat_map(|probe| probe.targets.iter().map(move |target| (probe, target)))
    }

    /// Keeps running the probes of `before` that can no longer be loaded, unchanged.
    pub fn keep_broken_of(&mut self, before: &Self) {
        let known: HashSet<String> = self.targets().map(|(_, target)| target.key()).collect();
        for probe in before.probes.probes.iter().filter(|probe| self.broken.contains(&probe.name)) {
            let mut probe = probe.clone();
            probe.targets.retain(|target| !known.contains(&target.key()));
            self.probes.probes.push(probe);
        }
    }
}
