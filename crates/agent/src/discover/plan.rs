//! Plans the changes and shows them as a unified diff, before anything is changed.

use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use similar::TextDiff;

use super::command::WatchedBy;
use super::machine::Cron;
use super::reach::cannot_run;
use super::source::{Source, WrapTarget};
use super::wrap::{Wrapping, unwrap};
use super::{DiscoveredJob, Inventory, Origin, anacron, crontab, drop_in};

/// Options of a plan.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions<'a> {
    /// Absolute path of the agent, which is written into lines and units.
    pub agent: &'a Path,
    /// Whether lines get the schedule as options, so that `exec` makes the reservation itself.
    pub schedule_flags: bool,
    /// Restricts the plan to these reservations, as `app/component` or `component`; all if empty.
    pub only: &'a [String],
}

/// The planned changes.
#[derive(Debug, Default)]
pub struct DiscoverPlan {
    /// The changes, one per table or unit.
    pub changes: Vec<FileChange>,
    /// The entries that stay unchanged.
    pub refused: Vec<LeftAlone>,
}

/// The change of one table or unit.
#[derive(Debug)]
pub struct FileChange {
    /// The table or unit.
    pub target: WrapTarget,
    /// Its place, for people.
    pub shown: String,
    /// The content before; none if it does not exist.
    pub before: Option<Vec<u8>>,
    /// The content without any change made by `discover`.
    pub original: Option<Vec<u8>>,
    /// The content after the change.
    pub after: Vec<u8>,
    /// Indices of the entries that the change affects.
    pub entries: Vec<usize>,
}

/// An entry that stays unchanged.
#[derive(Debug, Serialize)]
pub struct LeftAlone {
    /// Index of the entry.
    pub entry: usize,
    /// The reason.
    pub reason: String,
}

/// A byte range and its replacement.
pub(super) type Edit = (Range<usize>, Vec<u8>);

impl PlanOptions<'_> {
    fn means(&self, entry: &DiscoveredJob) -> bool {
        let name = format!("{}/{}", entry.app, entry.component);
        self.only.is_empty() || self.only.iter().any(|only| *only == name || *only == entry.component)
    }
}

impl DiscoverPlan {
    /// Plans the changes by which all jobs report. A job that is wrapped already is not wrapped twice.
    pub fn new(found: &Inventory, options: PlanOptions<'_>) -> Self {
        let mut plan = Self::default();
        for (index, source) in found.sources.iter().enumerate() {
            plan.table(found, index, source, options);
        }
        for (index, entry) in found.entries.iter().enumerate() {
            match &entry.origin {
                Origin::Service(service) => plan.service(index, entry, service, &found.root, options),
                Origin::Nothing if is_unwatched(entry) && options.means(entry) => {
                    plan.refuse(index, entry.refusal.clone())
                }
                Origin::Nothing | Origin::Line { .. } => {}
            }
        }
        plan.refused.sort_by_key(|refused| refused.entry);
        plan
    }

    /// Indices of the entries that will report.
    pub fn entries(&self) -> impl Iterator<Item = usize> {
        self.changes.iter().flat_map(|change| change.entries.iter().copied())
    }

    /// All changes as one unified diff.
    pub fn diff(&self) -> String {
        self.changes.iter().map(FileChange::diff).collect()
    }

    fn refuse(&mut self, entry: usize, reason: Option<String>) {
        self.refused.extend(reason.map(|reason| LeftAlone { entry, reason }));
    }

    fn table(&mut self, found: &Inventory, index: usize, source: &Source, options: PlanOptions<'_>) {
        let mut edits: Vec<Edit> = Vec::new();
        let mut entries = Vec::new();
        for (number, entry) in found.entries.iter().enumerate() {
            let Origin::Line { source: of, at, before, shell, percent } = &entry.origin else { continue };
            if *of != index || entry.watched == WatchedBy::ByHand || !options.means(entry) {
                continue;
            }
            let there = &source.bytes[at.clone()];
            let own = unwrap(there, *percent);
            let command = own.as_ref().map_or(there, |own| own.command.as_slice());
            let refusal =
                entry.refusal.clone().or_else(|| cannot_run(options.agent, &entry.user, &found.root));
            if refusal.is_some() {
                self.refuse(number, refusal.filter(|_| own.is_none()));
                continue;
            }
            let with_flags = own.as_ref().map_or(options.schedule_flags, |own| !own.flags.is_empty());
            let terms = entry.reservation().filter(|_| with_flags);
            let flags = terms.map(|terms| terms.flags()).unwrap_or_default();
            if let Some(own) = &own {
                // A wrapped line is changed again if its schedule options are outdated or its agent is gone.
                let is_gone = found.root == Path::new("/") && !Path::new(&own.agent).exists();
                if own.flags == flags && !is_gone {
                    continue;
                }
            }
            let wrapping = Wrapping {
                agent: options.agent,
                app: &entry.app,
                component: &entry.component,
                flags: &flags,
                shell,
                percent: *percent,
            };
            match wrapping.wrap(command, *before, found.cron == Cron::Cronie) {
                Ok(wrapped) if unwrap(&wrapped, *percent).is_some_and(|back| back.command == command) => {
                    edits.push((at.clone(), wrapped));
                    entries.push(number);
                }
                Ok(_) => self.refuse(number, Some("the change could not be undone".to_owned())),
                Err(problem) => self.refuse(number, Some(problem)),
            }
        }
        if edits.is_empty() {
            return;
        }
        let after = edited(&source.bytes, edits);
        if !reads_alike(source, &after, found.cron) {
            let reason = "cron would interpret the changed table differently".to_owned();
            self.refused.extend(entries.into_iter().map(|entry| LeftAlone { entry, reason: reason.clone() }));
            return;
        }
        self.changes.push(FileChange {
            target: source.target.clone(),
            shown: source.shown.clone(),
            before: Some(source.bytes.clone()),
            original: Some(original(found, index)),
            after,
            entries,
        });
    }

    fn service(
        &mut self,
        index: usize,
        entry: &DiscoveredJob,
        service: &str,
        root: &Path,
        options: PlanOptions<'_>,
    ) {
        if !is_unwatched(entry) || !options.means(entry) {
            return;
        }
        // The drop-in's command runs as root, whatever the user of the service.
        let refusal = entry.refusal.clone().or_else(|| cannot_run(options.agent, "root", root));
        if refusal.is_some() {
            return self.refuse(index, refusal);
        }
        let path = drop_in::path(root, service);
        if fs::symlink_metadata(&path).is_ok() {
            return self.refuse(
                index,
                Some(format!("{} exists already and was not made by discover", path.display())),
            );
        }
        match drop_in::text(options.agent, &entry.app, &entry.component) {
            Ok(text) => self.changes.push(FileChange {
                shown: Path::new("/").join(path.strip_prefix(root).unwrap_or(&path)).display().to_string(),
                target: WrapTarget::File(path),
                before: None,
                original: None,
                after: text.into_bytes(),
                entries: vec![index],
            }),
            Err(problem) => self.refuse(index, Some(problem)),
        }
    }
}

/// The content of a source without any change made by `discover`.
pub(super) fn original(found: &Inventory, index: usize) -> Vec<u8> {
    let bytes = &found.sources[index].bytes;
    let own = found.entries.iter().filter_map(|entry| match &entry.origin {
        Origin::Line { source, at, percent, .. } if *source == index => {
            Some((at.clone(), unwrap(&bytes[at.clone()], *percent)?.command))
        }
        _ => None,
    });
    edited(bytes, own.collect())
}

fn is_unwatched(entry: &DiscoveredJob) -> bool {
    !matches!(entry.watched, WatchedBy::Discover | WatchedBy::ByHand)
}

fn edited(bytes: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|(at, _)| at.start);
    let mut after = bytes.to_vec();
    for (at, text) in edits.into_iter().rev() {
        after.splice(at, text);
    }
    after
}

/// Whether all lines still run at the same times, as the same users and with the same variables.
fn reads_alike(source: &Source, after: &[u8], cron: Cron) -> bool {
    match &source.form {
        Some(form) => {
            let jobs = |bytes: &[u8]| {
                let table = crontab::read(bytes, form, cron, &|_| true);
                let jobs =
                    table.jobs.into_iter().map(|job| (job.line, job.rhythm, job.user, job.environment));
                (jobs.collect::<Vec<_>>(), table.problems, table.broken)
            };
            jobs(&source.bytes) == jobs(after)
        }
        None => {
            let jobs = |bytes: &[u8]| {
                let (jobs, problems) = anacron::read(bytes);
                let jobs =
                    jobs.into_iter().map(|job| (job.line, job.days, job.delay, job.name, job.environment));
                (jobs.collect::<Vec<_>>(), problems)
            };
            jobs(&source.bytes) == jobs(after)
        }
    }
}

impl FileChange {
    /// The change as a unified diff.
    pub fn diff(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let before = self.before.as_deref().map(text).unwrap_or_default();
        let after = text(&self.after);
        let old = if self.before.is_some() { self.shown.as_str() } else { "/dev/null" };
        let diff = TextDiff::from_lines(&before, &after);
        diff.unified_diff().context_radius(3).header(old, &self.shown).to_string()
    }
}
