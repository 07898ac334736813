//! Reads `[probe.NAME]`: what to check, when, and the fields of the probe's reservations.
//!
//! ```toml
//! [probe.web]
//! kind = "http"
//! every = "1m"
//! targets = ["https://www.example.org/", "https://shop.example.org/"]
//! ```
//!
//! A probe with problems is left out and reported. The others still run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::near::nearest;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Invalid, duration};
use innkeeper_settings::{Findings, Origin, Problem, Section, Setting, Table, Value, take};

use super::kinds::{KINDS, ProbeCheck};
use super::outcome::ProbeStatus;
use super::program::OVERTIME;
use super::promise::Promise;
use super::read;
use super::targets::{ProbeTarget, Targets};
use super::timing::Slots;
use crate::config::add_hints;
use crate::terms::EXPECT;

/// Default time limit of a run; shorter if the interval is short.
const TIMEOUT: TimeDelta = TimeDelta::seconds(10);
/// Default pause before a failed run is repeated.
const RETRY_AFTER: TimeDelta = TimeDelta::seconds(5);
/// Most repeats of a failed run.
const MOST_RETRIES: i64 = 10;

/// Key of the conditions for figures. [`EXPECT`] works as well, except for kinds that use it for their own
/// expectations.
const EXPECT_FIGURES: &str = "expect_figures";
/// The kinds that use [`EXPECT`] for their own expectations.
const OWN_EXPECT: [&str; 3] = ["dns", "smtp", "systemd-unit"];

/// A valid probe.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The name from its table.
    pub name: String,
    /// The kind: `tcp`, `http`, ….
    pub kind: &'static str,
    /// Time limit of one run of one target.
    pub timeout: Duration,
    /// How often a failed run is repeated before it is reported.
    pub retries: u32,
    /// The pause before each repeat.
    pub retry_after: Duration,
    /// A run that takes longer than this is at least a warning.
    pub warn_after: Option<Duration>,
    /// Whether a warning counts as a failure of the reservation.
    pub warnings_fail: bool,
    /// The targets, each with a reservation of its own.
    pub targets: Vec<ProbeTarget>,
    /// The fields of those reservations.
    pub promise: Promise,
    pub(crate) check: Arc<dyn ProbeCheck>,
}

impl Probe {
    /// Whether an outcome with this status counts as a failure of the reservation.
    pub fn is_failure(&self, status: ProbeStatus) -> bool {
        match status {
            ProbeStatus::Ok => false,
            ProbeStatus::Warning => self.warnings_fail,
            ProbeStatus::Unknown | ProbeStatus::Critical => true,
        }
    }

    /// Longest time that one target takes, including all repeats and pauses.
    pub fn longest(&self) -> TimeDelta {
        let span = |span| TimeDelta::from_std(span).unwrap_or(duration::LONGEST);
        longest(self.kind, span(self.timeout), i64::from(self.retries), span(self.retry_after))
    }
}

/// A probe that cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenProbe {
    /// The name from its table.
    pub name: String,
    /// All its problems.
    pub problems: Vec<Problem>,
}

/// All probes of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    /// The valid probes.
    pub probes: Vec<Probe>,
    /// The probes that cannot be loaded.
    pub broken: Vec<BrokenProbe>,
    /// Limits of parallel runs.
    pub slots: Slots,
}

/// Takes `[probes]` and every `[probe.NAME]` out of `root`. `default_app` is the app of reservations whose probe
/// names none.
///
/// Problems of a single probe go into its [`BrokenProbe`]. `findings` gets only the others: those of `[probes]`, and
/// a `probe` that is not a section.
pub fn read(root: &mut Table, default_app: &str, findings: &mut Findings) -> Probes {
    let general = take(root, "probes", findings);
    let mut section = Section::new("probes", general, findings);
    let parallel = Some(section.number("parallel", 0, 1..=1000)).filter(|parallel| *parallel > 0);
    let per_host = section.number("per_host", Slots::default().per_host, 1..=1000);
    let app = section.parsed("app", default_app.to_owned(), |text| Ok::<_, String>(text.to_owned()));
    section.finish();

    let mut read = Probes::default();
    for (name, setting) in take(root, "probe", findings) {
        let mut own = Findings::default();
        let probe = match setting.value {
            Value::Table(table) => read_probe(&name, table, &setting.origin, &app, &mut own),
            other => {
                let what = format!("is {}; it is a section, write [probe.{name}]", other.kind());
                own.problem(setting.origin.clone(), format!("probe.{name}"), what);
                None
            }
        };
        findings.known.append(&mut own.known);
        findings.flags.append(&mut own.flags);
        add_hints(&mut own.problems);
        match probe {
            Some(probe) if own.problems.is_empty() => read.probes.push(probe),
            _ => read.broken.push(BrokenProbe { name, problems: own.problems }),
        }
    }
    refuse_doubles(&mut read);
    let parallel = parallel.unwrap_or_else(|| enough_for(&read.probes));
    read.slots = Slots { parallel, per_host };
    read
}

fn read_probe(
    name: &str,
    mut table: Table,
    origin: &Origin,
    default_app: &str,
    findings: &mut Findings,
) -> Option<Probe> {
    let path = format!("probe.{name}");
    let whole = table.clone();
    let targets = Targets::read(&path, &table, findings);
    // The targets have been read already. Replacing them by placeholders keeps their keys from being reported as
    // unknown.
    for key in ["target", "targets"] {
        if let Some(setting) = table.get_mut(key) {
            setting.value = Value::Text(String::new());
        }
    }
    read::loosen(
        &mut table,
        &["status", "expect", "rcode", "text", "not_text", "command"],
        &["headers", "json"],
    );
    let mut section = Section::new(path, table, findings);
    for key in ["target", "targets"] {
        section.parsed(key, (), |_| Ok::<_, String>(()));
    }
    let Some((kind, reader)) = kind(&mut section, origin) else {
        schedule(&mut section, origin);
        refuse_unknown(name, &whole, origin, default_app, findings);
        return None;
    };
    let schedule = schedule(&mut section, origin);
    let timing = Timing::read(&mut section, kind, schedule.as_ref());
    let has_own = OWN_EXPECT.contains(&kind);
    let is_named = |key| section.origin(key) != Origin::Default;
    let (is_plain, is_exact) = (is_named(EXPECT), is_named(EXPECT_FIGURES));
    let expect = if has_own || is_exact { EXPECT_FIGURES } else { EXPECT };
    let promise = Promise::read(&mut section, schedule, timing.longest(kind), expect);
    if is_plain && is_exact && !has_own {
        let twice =
            |_: &str| Err::<String, _>(format!("means {EXPECT_FIGURES} for this kind; give one of them"));
        section.list(EXPECT, usize::MAX, twice);
    }
    let warn_after = read::maybe_duration(&mut section, "warn_after");
    let words = [("fail", true), ("pass", false)];
    let warnings_fail = read::word(&mut section, "warnings", true, &words);
    let check = reader(&mut section);
    let targets = targets.named(name, &*check, default_app, &mut section);
    section.finish();
    Some(Probe {
        name: name.to_owned(),
        kind,
        timeout: timing.timeout.to_std().unwrap_or_default(),
        retries: u32::try_from(timing.retries).unwrap_or_default(),
        retry_after: timing.retry_after.to_std().unwrap_or_default(),
        warn_after,
        warnings_fail,
        targets,
        promise: promise?,
        check,
    })
}

/// Reports keys that no kind of probe has. Used if the kind itself is unknown.
fn refuse_unknown(name: &str, table: &Table, origin: &Origin, default_app: &str, findings: &mut Findings) {
    let mut of_all = Findings::default();
    for (kind, _) in KINDS {
        let mut table = table.clone();
        let value = Value::Text(kind.to_owned());
        table.insert("kind".to_owned(), Setting { value, origin: origin.clone() });
        read_probe(name, table, origin, default_app, &mut of_all);
    }
    let known: BTreeSet<&str> = of_all.known.iter().filter_map(|path| path.rsplit('.').next()).collect();
    let allowed = known.iter().copied().collect::<Vec<_>>().join(", ");
    for (key, setting) in table.iter().filter(|(key, _)| !known.contains(key.as_str())) {
        let what = format!("unknown key; allowed: {allowed}");
        findings.problem(setting.origin.clone(), format!("probe.{name}.{key}"), what);
    }
}

type Reader = fn(&mut Section<'_>) -> Arc<dyn ProbeCheck>;

fn kind(section: &mut Section<'_>, origin: &Origin) -> Option<(&'static str, Reader)> {
    let is_said = section.origin("kind") != Origin::Default;
    let allowed = || KINDS.map(|(kind, _)| kind).join(", ");
    if !is_said {
        section.refuse("kind", origin.clone(), format!("the key kind is missing; allowed: {}", allowed()));
        return None;
    }
    section.parsed("kind", None, |text| {
        KINDS.into_iter().find(|(kind, _)| *kind == text).map(Some).ok_or_else(|| {
            let near = nearest(text, KINDS.iter().map(|(kind, _)| *kind));
            let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            format!("{text:?} is no kind of probe; allowed: {}{hint}", allowed())
        })
    })
}

fn schedule(section: &mut Section<'_>, origin: &Origin) -> Option<Schedule> {
    let text = |text: &str| Ok::<_, String>(Some(text.to_owned()));
    let zone_origin = section.origin("tz");
    let zone = section.parsed("tz", None, text);
    let keys = ["every", "cron", "calendar"];
    let origins = keys.map(|key| section.origin(key));
    let said = keys.map(|key| section.parsed(key, None, text));
    let mut given = (0..keys.len()).filter(|at| origins[*at] != Origin::Default);
    let (Some(at), second) = (given.next(), given.next()) else {
        let what = "a schedule is missing: give every, cron or calendar";
        section.refuse("every", origin.clone(), what);
        return None;
    };
    if let Some(second) = second {
        let what = format!("cannot be combined with {}; give one of them", keys[at]);
        section.refuse(keys[second], origins[second].clone(), what);
        return None;
    }
    let text = said[at].as_deref()?;
    if at == 0 && zone.is_some() {
        section.refuse("tz", zone_origin, "is only valid with cron or calendar, not with every");
    }
    let read = match at {
        0 => duration::parse("every", text).and_then(Schedule::every),
        1 => Schedule::cron(text, zone.as_deref().unwrap_or("UTC")),
        _ => Schedule::calendar(text, zone.as_deref()),
    };
    match read {
        Ok(schedule) => Some(schedule),
        Err(Invalid { field, problem }) => {
            let key = if field == "time_zone" { "tz" } else { keys[at] };
            section.refuse(key, section.origin(key), problem);
            None
        }
    }
}

struct Timing {
    timeout: TimeDelta,
    retries: i64,
    retry_after: TimeDelta,
}

impl Timing {
    fn read(section: &mut Section<'_>, kind: &str, schedule: Option<&Schedule>) -> Self {
        // A run must end before the next one is due. Cron and calendar schedules have no fixed interval; there, a
        // check that is due during a run is skipped.
        let interval = match schedule {
            Some(Schedule::Every(period)) => *period,
            _ => duration::LONGEST,
        };
        let usual = TIMEOUT.min(TimeDelta::milliseconds((interval.num_milliseconds() * 2 / 5).max(10)));
        let is_limit_said = section.origin("timeout") != Origin::Default;
        let timeout = section.duration("timeout", usual, read::LIMITS);
        let (are_retries_said, is_pause_said) =
            (section.origin("retries") != Origin::Default, section.origin("retry_after") != Origin::Default);
        let mut retries = section.number("retries", 1, 0..=MOST_RETRIES);
        let mut retry_after =
            section.duration("retry_after", RETRY_AFTER, TimeDelta::zero()..=TimeDelta::hours(24));
        if !are_retries_said && !is_pause_said && longest(kind, timeout, 1, retry_after) >= interval {
            retries = 0;
        }
        if are_retries_said && !is_pause_said && longest(kind, timeout, retries, retry_after) >= interval {
            retry_after = TimeDelta::zero();
        }
        let timing = Self { timeout, retries, retry_after };
        // Runs within the default limit are no mistake of the user. Checks that are due meanwhile are skipped.
        if timing.longest(kind) >= interval && (is_limit_said || retries > 0) {
            let (key, of) = match retries {
                0 => ("timeout", String::new()),
                _ => ("retries", format!(" with its {retries} repeats")),
            };
            let what = format!(
                "a run{of} may take {}, longer than the interval of {}; shorten it, or lengthen the interval",
                duration::short(timing.longest(kind)),
                duration::short(interval)
            );
            section.refuse(key, section.origin(key), what);
        }
        timing
    }

    fn longest(&self, kind: &str) -> TimeDelta {
        longest(kind, self.timeout, self.retries, self.retry_after)
    }
}

/// Longest time that a run and its repeats take.
fn longest(kind: &str, timeout: TimeDelta, retries: i64, retry_after: TimeDelta) -> TimeDelta {
    // A program that ignores TERM gets some time before KILL, and its output is read to the end.
    let program = matches!(kind, "command" | "systemd-unit");
    let one = if program { timeout + TimeDelta::from_std(OVERTIME).unwrap_or_default() } else { timeout };
    let retries = i32::try_from(retries).unwrap_or(i32::MAX);
    one * (retries + 1) + retry_after * retries
}

/// Number of parallel runs that suffices even if every target hangs until its time limit, so that no target delays
/// another.
fn enough_for(probes: &[Probe]) -> usize {
    const MOST: f64 = 256.0;
    let busy = probes.iter().map(|probe| {
        let period = match &probe.promise.schedule {
            Schedule::Every(period) => *period,
            // Many of these targets are due at the same instants. A delay of a few minutes is within most graces.
            _ => TimeDelta::minutes(5),
        };
        let share = probe.longest().num_milliseconds() as f64 / period.num_milliseconds().max(1) as f64;
        share * probe.targets.len() as f64
    });
    let enough = busy.sum::<f64>().ceil().min(MOST) as usize;
    enough.max(Slots::default().parallel)
}

/// Marks the second of two probes with a reservation in common as broken.
fn refuse_doubles(read: &mut Probes) {
    let mut seen = std::collections::HashMap::new();
    let mut broken = Vec::new();
    read.probes.retain(|probe| {
        for target in &probe.targets {
            let names = (target.app.clone(), target.component.clone());
            if let Some(other) = seen.insert(names, probe.name.clone())
                && other != probe.name
            {
                let what = format!(
                    "its reservation {:?} of app {:?} belongs to probe {other} already; set another component",
                    target.component.as_str(),
                    target.app.as_str()
                );
                let key = format!("probe.{}.component", probe.name);
                let problems = vec![Problem { origin: Origin::Default, key, what }];
                broken.push(BrokenProbe { name: probe.name.clone(), problems });
                return false;
            }
        }
        true
    });
    read.broken.append(&mut broken);
}
