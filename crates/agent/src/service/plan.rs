//! What the configuration says that is to be probed, and what is wrong with it.

use std::collections::HashSet;

use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_settings::{Findings, Problem};

use crate::config::{self, Config, Loaded, Overrides};
use crate::probe::config::read;
use crate::probe::{Probe, ProbeTarget, Probes};
use crate::report::Names;

/// The component of the agent's own reservation; of a user's it says so.
const OWN: &str = "innkeeper-agent";

/// All that is to be done.
#[derive(Debug, Clone)]
pub(super) struct ServicePlan {
    pub config: Config,
    /// Those that run.
    pub probes: Probes,
    /// The names of probes that cannot be loaded.
    pub broken: HashSet<String>,
    /// Everything that is wrong, as lines for people.
    pub problems: Vec<String>,
    /// Whether a whole file of it could not be read: what it would have said is not known.
    pub is_file_lost: bool,
    /// This machine's name: the app where none is named.
    pub host: String,
    /// The agent's own reservation: it hears whether all probes could be loaded.
    pub own: Option<Names>,
}

/// Reads the configuration.
pub(super) fn load(overrides: &Overrides) -> ServicePlan {
    let Loaded { config, mut problems, mut rest, is_file_lost, .. } = config::load(overrides);
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
    /// Every target, with its probe.
    pub fn targets(&self) -> impl Iterator<Item = (&Probe, &ProbeTarget)> {
        self.probes.probes.iter().flat_map(|probe| probe.targets.iter().map(move |target| (probe, target)))
    }

    /// Takes over from `before` the probes that cannot be loaded any more: they go on as they were.
    pub fn keep_broken_of(&mut self, before: &Self) {
        let known: HashSet<String> = self.targets().map(|(_, target)| target.key()).collect();
        for probe in before.probes.probes.iter().filter(|probe| self.broken.contains(&probe.name)) {
            let mut probe = probe.clone();
            probe.targets.retain(|target| !known.contains(&target.key()));
            self.probes.probes.push(probe);
        }
    }
}
