//! Systemd timers, read through `systemctl` if possible, or else from their files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::TimeDelta;
use chrono_tz::Tz;
use innkeeper_core::duration;
use innkeeper_core::schedule::Schedule;

use super::machine::{SearchOptions, SearchedMachine};
use super::source::SearchProblem;
use super::units::{Directories, SYSTEM, Unit, span};

/// Default accuracy of a timer (`AccuracySec=`).
const ACCURACY: TimeDelta = TimeDelta::minutes(1);

/// An active timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdTimer {
    /// The name of the timer.
    pub name: String,
    /// The unit that it starts.
    pub unit: String,
    /// Its calendar expressions.
    pub calendars: Vec<String>,
    /// Its monotonic times: the event that starts them (`OnBoot`), and the duration.
    pub monotonic: Vec<(String, TimeDelta)>,
    /// How much later the timer may fire: its random delay plus its accuracy.
    pub spread: TimeDelta,
}

/// A timer and its service.
#[derive(Debug)]
pub struct ScheduledTimer {
    /// The timer.
    pub timer: SystemdTimer,
    /// The service, if it has a file.
    pub service: Option<Unit>,
    /// The file of the timer.
    pub place: PathBuf,
    /// The user whose manager runs the timer; none for the system's manager.
    pub user: Option<String>,
}

/// The timers of this machine, and the problems.
pub fn gather(
    machine: &SearchedMachine,
    options: &SearchOptions,
) -> (Vec<ScheduledTimer>, Vec<SearchProblem>) {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let directories = Directories::new(SYSTEM.iter().map(|path| machine.path(path)));
    let asked = options.systemctl.as_ref().map(|program| asked(program));
    let timers = match asked {
        Some(Ok(timers)) => timers,
        other => {
            if let Some(Err(problem)) = other {
                let problem = format!("{problem}; the files of the units are read instead");
                problems.push(SearchProblem { place: "systemctl".to_owned(), line: None, problem });
            }
            of_files(&directories, &mut problems)
        }
    };
    for timer in timers {
        add(timer, &directories, None, &mut found, &mut problems);
    }
    users(machine, options, &mut found, &mut problems);
    (found, problems)
}

fn add(
    timer: SystemdTimer,
    directories: &Directories,
    user: Option<&str>,
    found: &mut Vec<ScheduledTimer>,
    problems: &mut Vec<SearchProblem>,
) {
    let mut of = |name: &str| {
        directories.unit(name).unwrap_or_else(|problem| {
            problems.push(SearchProblem { place: name.to_owned(), line: None, problem });
            None
        })
    };
    let place = of(&timer.name).map(|unit| unit.path).unwrap_or_default();
    // systemd-cron generates these units from crontab lines, which are found there.
    let is_generated = place.to_string_lossy().contains("/run/systemd/generator");
    if is_generated && timer.name.starts_with("cron-") {
        return;
    }
    let service = of(&timer.unit);
    found.push(ScheduledTimer { timer, service, place, user: user.map(str::to_owned) });
}

/// Timers of users whose managers run without a login, or of the current user.
fn users(
    machine: &SearchedMachine,
    options: &SearchOptions,
    found: &mut Vec<ScheduledTimer>,
    problems: &mut Vec<SearchProblem>,
) {
    for (name, user) in machine.users() {
        let lingers = machine.path("/var/lib/systemd/linger").join(name).exists();
        if !lingers && options.only_user.as_deref() != Some(name) {
            continue;
        }
        let home = machine.path(&user.home.to_string_lossy());
        let places = [home.join(".config/systemd/user"), home.join(".local/share/systemd/user")];
        let shared = ["/etc/systemd/user", "/usr/lib/systemd/user", "/lib/systemd/user"];
        let shared = shared.iter().map(|path| machine.path(path));
        let directories = Directories::new(places.into_iter().chain(shared));
        for timer in of_files(&directories, problems) {
            add(timer, &directories, Some(name), found, problems);
        }
    }
}

fn of_files(directories: &Directories, problems: &mut Vec<SearchProblem>) -> Vec<SystemdTimer> {
    let mut timers = Vec::new();
    for name in directories.wanted(".timer") {
        match directories.unit(&name) {
            Ok(Some(unit)) => timers.push(of_unit(name, &unit)),
            Ok(None) => {}
            Err(problem) => problems.push(SearchProblem { place: name, line: None, problem }),
        }
    }
    timers
}

const EVENTS: [&str; 5] = ["OnActive", "OnBoot", "OnStartup", "OnUnitActive", "OnUnitInactive"];

fn of_unit(name: String, unit: &Unit) -> SystemdTimer {
    let read = |key: &str| unit.last("Timer", key).and_then(span);
    let monotonic = EVENTS.iter().flat_map(|event| {
        let spans = unit.all("Timer", &format!("{event}Sec")).into_iter().filter_map(span);
        spans.map(|span| ((*event).to_owned(), span)).collect::<Vec<_>>()
    });
    SystemdTimer {
        unit: unit.last("Timer", "Unit").map_or_else(|| service_of(&name), str::to_owned),
        calendars: unit.all("Timer", "OnCalendar").into_iter().map(str::to_owned).collect(),
        monotonic: monotonic.collect(),
        spread: read("RandomizedDelaySec").unwrap_or_default() + read("AccuracySec").unwrap_or(ACCURACY),
        name,
    }
}

fn service_of(timer: &str) -> String {
    format!("{}.service", timer.trim_end_matches(".timer"))
}

/// The active timers, according to `systemctl`.
fn asked(program: &Path) -> Result<Vec<SystemdTimer>, String> {
    let names =
        run(program, &["list-units", "--type=timer", "--state=active", "--plain", "--no-legend", "--full"])?;
    let names: Vec<&str> = names.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| name.ends_with(".timer")).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let properties = "Id,Unit,TimersCalendar,TimersMonotonic,RandomizedDelayUSec,AccuracyUSec";
    let mut arguments = vec!["show", "--property", properties, "--"];
    arguments.extend(&names);
    let answer = run(program, &arguments)?;
    Ok(answer.split("\n\n").filter_map(of_properties).collect())
}

fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(["--no-pager", "--no-ask-password"]).args(arguments);
    command.env("LC_ALL", "C").env("SYSTEMD_COLORS", "0").stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("systemctl failed: {}", words.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The timer that one paragraph of `systemctl show` describes.
fn of_properties(text: &str) -> Option<SystemdTimer> {
    let all = |key: &str| {
        let prefix = format!("{key}=");
        text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::trim).collect::<Vec<_>>()
    };
    let name = all("Id").first().filter(|name| !name.is_empty())?.to_string();
    // `{ OnCalendar=Mon *-*-* 00:00:00 ; next_elapse=… }`
    let inner = |value: &&str| {
        let inner = value.strip_prefix('{')?.split(" ; ").next()?;
        let (key, value) = inner.trim().trim_end_matches('}').split_once('=')?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    let monotonic = all("TimersMonotonic");
    let monotonic = monotonic.iter().filter_map(inner).filter_map(|(key, value)| {
        Some((key.trim_end_matches("USec").trim_end_matches("Sec").to_owned(), span(&value)?))
    });
    let duration = |key: &str| all(key).first().and_then(|text| span(text)).unwrap_or_default();
    Some(SystemdTimer {
        unit: all("Unit")
            .first()
            .filter(|unit| !unit.is_empty())
            .map_or_else(|| service_of(&name), ToString::to_string),
        calendars: all("TimersCalendar").iter().filter_map(inner).map(|(_, value)| value).collect(),
        monotonic: monotonic.collect(),
        spread: duration("RandomizedDelayUSec") + duration("AccuracyUSec"),
        name,
    })
}

impl SystemdTimer {
    /// The timer's schedule (if it can be expressed) and notes for people.
    pub fn schedule(&self, machine_zone: Tz) -> (Option<Schedule>, Vec<String>) {
        let mut notes = Vec::new();
        if !self.calendars.is_empty() {
            let schedule = self.calendar(machine_zone, &mut notes);
            if let (Some(_), Some((event, _))) = (&schedule, self.monotonic.first()) {
                notes.push(format!("it also runs by {event}Sec; check-ins for these runs are not expected"));
            }
            return (schedule, notes);
        }
        let repeated = |event: &str| {
            let spans = self.monotonic.iter().filter(|(of, span)| of == event && *span > TimeDelta::zero());
            spans.map(|(_, span)| *span).min()
        };
        let period = match (repeated("OnUnitActive"), repeated("OnUnitInactive")) {
            (Some(active), _) => Some(active),
            (None, Some(inactive)) => {
                notes.push(
                    "its period counts from the end of the last run, so the run time is added to it"
                        .to_owned(),
                );
                Some(inactive)
            }
            (None, None) => None,
        };
        let Some(period) = period else {
            notes.push(
                "it runs once after each start and has no period, so a missed run could not be noticed"
                    .to_owned(),
            );
            return (None, notes);
        };
        match Schedule::every(period) {
            Ok(schedule) => {
                notes.push("it does not run while the machine is off or suspended".to_owned());
                (Some(schedule), notes)
            }
            Err(_) => {
                notes.push(format!("its period of {} cannot be expressed", duration::short(period)));
                (None, notes)
            }
        }
    }

    fn calendar(&self, machine_zone: Tz, notes: &mut Vec<String>) -> Option<Schedule> {
        let zoned: Vec<(&str, Tz)> =
            self.calendars.iter().map(|text| without_zone(text, machine_zone)).collect();
        let zone = zoned.first()?.1;
        let same: Vec<&str> = zoned.iter().filter(|(_, own)| *own == zone).map(|(text, _)| *text).collect();
        if same.len() < zoned.len() {
            notes.push(format!(
                "its times are in several time zones; check-ins are expected only at those in {zone}"
            ));
        }
        match Schedule::calendar(&same.join("; "), Some(zone.name())) {
            Ok(schedule) => Some(schedule),
            Err(invalid) => {
                notes.push(format!("its times cannot be expressed: {}", invalid.problem));
                None
            }
        }
    }
}

fn without_zone(text: &str, machine_zone: Tz) -> (&str, Tz) {
    let last = text.rsplit_once(' ');
    let own = last.and_then(|(before, zone)| Some((before, zone.parse::<Tz>().ok()?)));
    let utc = last.filter(|(_, zone)| zone.eq_ignore_ascii_case("utc")).map(|(before, _)| (before, Tz::UTC));
    own.or(utc).unwrap_or((text, machine_zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(calendars: &[&str], monotonic: &[(&str, i64)]) -> SystemdTimer {
        SystemdTimer {
            name: "x.timer".to_owned(),
            unit: "x.service".to_owned(),
            calendars: calendars.iter().map(ToString::to_string).collect(),
            monotonic: monotonic
                .iter()
                .map(|(event, s)| ((*event).to_owned(), TimeDelta::seconds(*s)))
                .collect(),
            spread: TimeDelta::zero(),
        }
    }

    #[test]
    fn schedules_of_timers() {
        for (calendars, monotonic, notation, notes) in [
            (&["daily"][..], &[][..], Some("calendar daily Europe/Berlin"), 0),
            (
                &["Mon..Fri 02:00", "Sun 4:00"],
                &[],
                Some("calendar Mon..Fri 02:00; Sun 4:00 Europe/Berlin"),
                0,
            ),
            (&["*-*-* 06,18:00:00 UTC"], &[], Some("calendar *-*-* 06,18:00:00 UTC"), 0),
            (&["10:00 America/New_York"], &[], Some("calendar 10:00 America/New_York"), 0),
            (&["10:00", "11:00 UTC"], &[], Some("calendar 10:00 Europe/Berlin"), 1),
            (&["daily"], &[("OnBoot", 900)], Some("calendar daily Europe/Berlin"), 1),
            (&["*-*-1/7"], &[], None, 1),
            (&["2020-01-01"], &[], Some("calendar 2020-01-01 Europe/Berlin"), 0),
            (&[], &[("OnBoot", 900), ("OnUnitActive", 86_400)], Some("every 1d"), 1),
            (&[], &[("OnUnitInactive", 600)], Some("every 10m"), 2),
            (&[], &[("OnBoot", 900)], None, 1),
            (&[], &[("OnUnitActive", 0)], None, 1),
            (&[], &[], None, 1),
        ] {
            let (schedule, told) = timer(calendars, monotonic).schedule(Tz::Europe__Berlin);
            assert_eq!(
                schedule.map(|schedule| schedule.notation()).as_deref(),
                notation,
                "{calendars:?} {monotonic:?}"
            );
            assert_eq!(told.len(), notes, "{told:?}");
        }
    }

    #[test]
    fn what_systemctl_says() {
        let text = "Unit=fstrim.service\nTimersMonotonic={ OnBootUSec=15min ; next_elapse=15min }\n\
                    TimersCalendar={ OnCalendar=Mon *-*-* 00:00:00 ; next_elapse=Mon 2026-12-07 00:00:00 UTC }\n\
                    TimersCalendar={ OnCalendar=*-*-01 00:00:00 ; next_elapse=(null) }\n\
                    RandomizedDelayUSec=1h 40min\nAccuracyUSec=1h\nId=fstrim.timer";
        let timer = of_properties(text).unwrap();
        assert_eq!((timer.name.as_str(), timer.unit.as_str()), ("fstrim.timer", "fstrim.service"));
        assert_eq!(timer.calendars, ["Mon *-*-* 00:00:00", "*-*-01 00:00:00"]);
        assert_eq!(timer.monotonic, [("OnBoot".to_owned(), TimeDelta::minutes(15))]);
        assert_eq!(timer.spread, TimeDelta::minutes(160));
        assert_eq!(of_properties("").map(|timer| timer.name), None);
    }
}
