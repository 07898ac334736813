//! Turns the parsed lines and timers into entries with a schedule, a grace and names.

use std::path::Path;

use chrono::TimeDelta;
use innkeeper_core::schedule::Schedule;

use super::command::{self, WatchedBy};
use super::crontab::{CrontabForm, Rhythm};
use super::machine::{Cron, SearchOptions, SearchedMachine};
use super::naming::{self, Wanting};
use super::source::{SearchProblem, Source};
use super::wrap::{Percent, unwrap};
use super::{
    DiscoveredJob, Inventory, Origin, SourceKind, anacron, crontab, drop_in, reach, scripts, source, timers,
    times,
};

pub(super) fn find(root: &Path, options: &SearchOptions) -> Inventory {
    let machine = SearchedMachine::look(root, options);
    let (sources, problems) = source::gather(&machine, options);
    let mut search =
        Search { machine: &machine, options, entries: Vec::new(), wanting: Vec::new(), problems };
    for (index, source) in sources.iter().enumerate() {
        match &source.form {
            Some(form) => search.table(index, source, form),
            None => search.anacron(index, source),
        }
    }
    let (timers, problems) = timers::gather(&machine, options);
    search.problems.extend(problems);
    for timer in timers {
        search.timer(timer);
    }
    let Search { mut entries, wanting, problems, .. } = search;
    for (entry, name) in entries.iter_mut().zip(naming::names(&wanting, &options.names)) {
        if let Some((app, component)) = name.split_once('/') {
            (entry.app, entry.component) = (app.to_owned(), component.to_owned());
        }
    }
    tell_shared(&mut entries);
    let mut found = Inventory {
        cron: machine.cron,
        zone: machine.zone,
        entries,
        problems,
        sources,
        root: root.to_owned(),
    };
    let unrun = scripts::unrun(&machine, &found);
    found.problems.extend(unrun);
    found
}

/// Adds a note if several lines report to one reservation, for example after a wrapped line was copied.
fn tell_shared(entries: &mut [DiscoveredJob]) {
    for index in 0..entries.len() {
        let (before, rest) = entries.split_at_mut(index);
        let Some(entry) = rest.first_mut().filter(|entry| entry.watched == WatchedBy::Discover) else {
            continue;
        };
        let same = |other: &&DiscoveredJob| (&other.app, &other.component) == (&entry.app, &entry.component);
        if let Some(first) = before.iter().find(same) {
            let place = first.place();
            entry
                .notes
                .push(format!("{place} reports to the same reservation; give one of them another name"));
        }
    }
}

struct Search<'a> {
    machine: &'a SearchedMachine,
    options: &'a SearchOptions,
    entries: Vec<DiscoveredJob>,
    wanting: Vec<Wanting>,
    problems: Vec<SearchProblem>,
}

impl Search<'_> {
    fn problem(&mut self, place: &str, line: Option<usize>, problem: String) {
        self.problems.push(SearchProblem { place: place.to_owned(), line, problem });
    }

    /// Adds an entry, with the names that it has or the name that it suggests.
    fn push(&mut self, entry: DiscoveredJob, suggested: &str, has: Option<(String, String)>) {
        let app = self.options.app.clone().unwrap_or_else(|| self.machine.host.clone());
        let app = Some(naming::slug(&app)).filter(|app| !app.is_empty()).unwrap_or_else(|| "host".to_owned());
        self.wanting.push(Wanting {
            identity: entry.identity(),
            suggested: format!("{app}/{suggested}"),
            has: has.map(|(app, component)| format!("{app}/{component}")),
        });
        self.entries.push(entry);
    }

    fn table(&mut self, index: usize, source: &Source, form: &CrontabForm) {
        let machine = self.machine;
        let table = crontab::read(&source.bytes, form, machine.cron, &|name| machine.user(name).is_some());
        let broken = source.broken.as_ref().or(table.broken.as_ref());
        let ignored = broken.map(|why| format!("{} ignores the whole table: {why}", machine.cron.name()));
        if let Some(why) = &ignored {
            self.problem(&source.shown, None, why.clone());
        }
        for (line, problem) in table.problems {
            self.problem(&source.shown, Some(line), problem);
        }
        for job in table.jobs {
            let bytes = &source.bytes[job.command.clone()];
            let percent = if machine.cron == Cron::Other { Percent::Unknown } else { Percent::Input };
            let (command, watched, has, mut notes) = taken_apart(bytes, percent, machine);
            let (schedule, mut grace) = times::of_line(&job, machine, self.options, &mut notes);
            if bytes.ends_with(b"\r") {
                notes.push(
                    "the line ends with a carriage return, which becomes a part of the command".to_owned(),
                );
            }
            let unheard = reach::cannot_report(machine, &job.user, &job.environment);
            if watched == WatchedBy::Discover {
                notes.extend(unheard.clone());
            }
            let elsewhere = self.runs_elsewhere(&command);
            let refusal = match (&ignored, &source.blocked) {
                (Some(why), _) => Some(why.clone()),
                _ if elsewhere.is_some() => elsewhere.map(str::to_owned),
                (None, Some(why)) => Some(why.clone()),
                (None, None) if schedule.is_none() => Some(no_schedule(&notes)),
                (None, None) => unheard,
            };
            // A line that does not run has no schedule.
            let schedule = schedule.filter(|_| ignored.is_none() && elsewhere.is_none());
            if job.rhythm == Rhythm::Reboot {
                grace = times::LEAST_GRACE;
            }
            let shell = job.environment.get("SHELL").cloned().unwrap_or_else(|| "/bin/sh".to_owned());
            let origin =
                Origin::Line { source: index, at: job.command.clone(), before: job.before, shell, percent };
            let next = match job.rhythm {
                Rhythm::Reboot => None,
                _ => schedule.as_ref().and_then(|schedule| schedule.following(self.options.now)),
            };
            let entry = DiscoveredJob {
                kind: SourceKind::Crontab,
                user: job.user.clone(),
                place: source.shown.clone(),
                line: Some(job.line),
                app: String::new(),
                component: String::new(),
                schedule,
                grace,
                next,
                watched,
                notes,
                refusal,
                origin,
                command,
            };
            if elsewhere.is_none() && ignored.is_none() {
                self.scripts(&entry);
            }
            let mut suggested = naming::suggested(&entry.command);
            if elsewhere.is_some() {
                // The plain name is left for the entry that runs.
                suggested.push_str("-crontab");
            }
            self.push(entry, &suggested, has);
        }
    }

    fn anacron(&mut self, index: usize, source: &Source) {
        let (jobs, problems) = anacron::read(&source.bytes);
        let is_installed = self.has_anacron();
        if !is_installed && !jobs.is_empty() {
            self.problem(&source.shown, None, "anacron is not installed: nothing runs this table".to_owned());
            return;
        }
        for (line, problem) in problems {
            self.problem(&source.shown, Some(line), problem);
        }
        for job in jobs {
            let (command, watched, has, mut notes) =
                taken_apart(&source.bytes[job.command.clone()], Percent::Itself, self.machine);
            notes
                .push("anacron only knows days; the grace covers the hours in which it may start".to_owned());
            let schedule = Schedule::every(TimeDelta::days(job.days)).ok();
            let grace = times::MOST_GRACE + TimeDelta::minutes(job.spread_minutes());
            let continued = || "its command continues in the next line; write it in one line".to_owned();
            let refusal = source.blocked.clone().or_else(|| job.is_continued.then(continued));
            // Anacron runs its commands by /bin/sh, regardless of SHELL.
            let origin = Origin::Line {
                source: index,
                at: job.command.clone(),
                before: 0,
                shell: "/bin/sh".to_owned(),
                percent: Percent::Itself,
            };
            let entry = DiscoveredJob {
                kind: SourceKind::Anacron,
                user: "root".to_owned(),
                place: source.shown.clone(),
                line: Some(job.line),
                app: String::new(),
                component: String::new(),
                schedule,
                grace,
                next: None,
                watched,
                notes,
                refusal,
                origin,
                command,
            };
            self.scripts(&entry);
            self.push(entry, &naming::slug(&job.name), has);
        }
    }

    /// Adds the scripts that a line runs through `run-parts`.
    fn scripts(&mut self, by: &DiscoveredJob) {
        for (entry, suggested, has) in scripts::of_line(self.machine, by, &mut self.problems) {
            self.push(entry, &suggested, has);
        }
    }

    fn timer(&mut self, found: timers::ScheduledTimer) {
        let timers::ScheduledTimer { timer, service, place, user } = found;
        let (schedule, mut notes) = timer.schedule(self.machine.zone);
        let next = schedule.as_ref().filter(|schedule| !matches!(schedule, Schedule::Every(_)));
        let next = next.and_then(|schedule| schedule.following(self.options.now));
        let schedule = schedule.filter(|schedule| match schedule.check_ahead(self.options.now) {
            Ok(()) => true,
            Err(invalid) => {
                notes.push(invalid.problem);
                false
            }
        });
        let grace = schedule
            .as_ref()
            .map_or(times::LEAST_GRACE, |schedule| times::usual_grace(schedule, self.options.now));
        let commands =
            service.as_ref().map(|unit| unit.all("Service", "ExecStart").join("; ")).unwrap_or_default();
        let (watched, has) = match drop_in::names(self.machine, &timer.unit) {
            Some(names) => (WatchedBy::Discover, Some(names)),
            None => command::watched(&commands),
        };
        if service.as_ref().is_some_and(|unit| unit.has_conditions()) {
            notes.push("its service has conditions: a run that they leave out is not reported".to_owned());
        }
        let is_taken = self.entries.iter().any(|entry| entry.origin == Origin::Service(timer.unit.clone()));
        let refusal = match &service {
            _ if user.is_some() => {
                Some("the timer belongs to a user; put exec in front of its command by hand".to_owned())
            }
            _ if self.options.only_user.is_some() => Some("only root can change it".to_owned()),
            _ if schedule.is_none() => Some(no_schedule(&notes)),
            None => Some(format!("{} has no file, or is masked", timer.unit)),
            Some(_) if !timer.unit.ends_with(".service") => Some(format!("{} is no service", timer.unit)),
            Some(unit) if unit.is_on("Service", "RemainAfterExit") => {
                Some("its service stays active after its end (RemainAfterExit)".to_owned())
            }
            Some(unit) if unit.path.to_string_lossy().contains("/run/systemd/transient") => {
                Some("its service is transient: a program has made it".to_owned())
            }
            Some(_) if is_taken => Some(format!(
                "another timer starts {}, too; a service can have only one reservation",
                timer.unit
            )),
            Some(_) => None,
        };
        let by = service.as_ref().and_then(|unit| unit.last("Service", "User")).map(str::to_owned);
        let entry = DiscoveredJob {
            kind: SourceKind::Timer,
            command: if commands.is_empty() { timer.unit.clone() } else { commands },
            user: user.clone().or(by).unwrap_or_else(|| "root".to_owned()),
            place: if place.as_os_str().is_empty() { timer.name.clone() } else { self.machine.shown(&place) },
            line: None,
            app: String::new(),
            component: String::new(),
            schedule,
            grace: grace + timer.spread,
            next,
            watched,
            notes,
            refusal,
            origin: if user.is_some() { Origin::Nothing } else { Origin::Service(timer.unit.clone()) },
        };
        let suggested = naming::slug(timer.name.trim_end_matches(".timer"));
        self.push(entry, &suggested, has);
    }

    fn has_anacron(&self) -> bool {
        self.machine.path("/usr/sbin/anacron").exists()
    }

    /// Why a line of Debian's packages does nothing: it tests for anacron or systemd first and leaves the work to
    /// them.
    fn runs_elsewhere(&self, command: &str) -> Option<&'static str> {
        let asks = |what: &str| {
            let first = command.split("||").next().unwrap_or_default().split("&&").next().unwrap_or_default();
            first.trim_start().starts_with(['t', '[']) && first.contains(what)
        };
        if asks(" -x /usr/sbin/anacron") && command.contains("||") && self.has_anacron() {
            return Some("anacron is installed and runs it instead; this line does nothing");
        }
        let systemd = "/run/systemd/system";
        (asks(systemd) && self.machine.path(systemd).exists())
            .then_some("it does nothing where systemd runs, as here: a timer does its work")
    }
}

type Apart = (String, WatchedBy, Option<(String, String)>, Vec<String>);

/// Splits a command: without the agent, what monitors it, the names that it reports to, and notes.
fn taken_apart(bytes: &[u8], percent: Percent, machine: &SearchedMachine) -> Apart {
    let has_input = percent == Percent::Input;
    if let Some(own) = unwrap(bytes, percent) {
        let is_gone = machine.is_live() && !machine.path(&own.agent).exists();
        let gone =
            format!("{} does not exist, so the job does not run: install it, or undo the change", own.agent);
        let notes = if is_gone { vec![gone] } else { Vec::new() };
        let names = (own.app, own.component);
        return (command::shown(&own.command, has_input), WatchedBy::Discover, Some(names), notes);
    }
    let command = command::shown(bytes, has_input);
    let (watched, has) = command::watched(&command);
    let mut notes = Vec::new();
    if let WatchedBy::Other(name) = &watched {
        notes.push(format!("it reports to {name} already; the agent wraps the whole command"));
    }
    (command, watched, has, notes)
}

fn no_schedule(notes: &[String]) -> String {
    notes.last().cloned().unwrap_or_else(|| "its schedule cannot be expressed".to_owned())
}
