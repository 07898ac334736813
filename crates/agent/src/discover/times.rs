//! The schedule of a crontab line and its grace.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use innkeeper_core::duration;
use innkeeper_core::schedule::{Schedule, zone};

use super::crontab::{CronJob, Rhythm};
use super::machine::{Cron, SearchOptions, SearchedMachine};

/// Period for a job that runs once at each start: the longest there is. The job is never overdue, but its failures
/// are reported.
const NEVER: TimeDelta = duration::LONGEST;
/// Shortest proposed grace.
pub(super) const LEAST_GRACE: TimeDelta = TimeDelta::minutes(5);
/// Longest proposed grace.
pub(super) const MOST_GRACE: TimeDelta = TimeDelta::hours(1);
/// Number of runs that are examined for the shortest interval.
const LOOKED_AT: usize = 20;

/// The schedule of a line and its grace.
pub(super) fn of_line(
    job: &CronJob,
    machine: &SearchedMachine,
    options: &SearchOptions,
    notes: &mut Vec<String>,
) -> (Option<Schedule>, TimeDelta) {
    let zone = zone_of(job, machine, notes);
    let mut spread = TimeDelta::zero();
    let text = match &job.rhythm {
        Rhythm::Reboot if options.reboot => {
            notes
                .push("it runs at each start: it is never overdue, but its failures are reported".to_owned());
            return (Schedule::every(NEVER).ok(), LEAST_GRACE);
        }
        Rhythm::Reboot => {
            notes.push(
                "it runs once at each start and has no period, so a missed run could not be noticed"
                    .to_owned(),
            );
            return (None, LEAST_GRACE);
        }
        Rhythm::Nickname(name) => (*name).to_owned(),
        Rhythm::Times(times) => match times.expression() {
            Ok(expression) => {
                spread = TimeDelta::minutes(i64::from(expression.spread_minutes));
                notes.extend(expression.note);
                expression.text
            }
            Err(problem) => {
                notes.push(problem);
                return (None, LEAST_GRACE);
            }
        },
    };
    let schedule =
        match zone.and_then(|zone| Schedule::cron(&text, zone.name()).map_err(|wrong| wrong.problem)) {
            Ok(schedule) => schedule,
            Err(problem) => {
                notes.push(problem);
                return (None, LEAST_GRACE);
            }
        };
    let delay = job.environment.get("RANDOM_DELAY").filter(|_| machine.cron == Cron::Cronie);
    if let Some(minutes) = delay.and_then(|text| text.parse::<i64>().ok()).filter(|m| (0..=1440).contains(m))
    {
        spread += TimeDelta::minutes(minutes);
        notes.push(format!("RANDOM_DELAY makes it up to {minutes} minutes late: its grace includes that"));
    }
    let grace = usual_grace(&schedule, options.now) + spread;
    (Some(schedule), grace)
}

fn zone_of(job: &CronJob, machine: &SearchedMachine, notes: &mut Vec<String>) -> Result<Tz, String> {
    let cron = machine.cron;
    let Some(named) = job.environment.get("CRON_TZ").filter(|named| !named.is_empty()) else {
        let of_systemd = job.environment.get("TZ").filter(|_| cron == Cron::SystemdCron);
        return match of_systemd {
            Some(named) => {
                zone::parse("TZ", named.trim_start_matches(':')).map_err(|invalid| invalid.to_string())
            }
            None => Ok(machine.zone),
        };
    };
    if !cron.knows_zone() {
        notes.push(format!("{} ignores CRON_TZ: it runs in {}", cron.name(), machine.zone));
        return Ok(machine.zone);
    }
    if cron == Cron::Cronie {
        notes.push("in the hour of a clock change cronie may leave out jobs of another zone".to_owned());
    }
    zone::parse("CRON_TZ", named.trim_start_matches(':')).map_err(|invalid| invalid.to_string())
}

/// The default grace: half of the shortest interval between two runs, but from five minutes to one hour. It must
/// cover the run itself, because the success comes at its end, and the run time is not known yet.
pub(super) fn usual_grace(schedule: &Schedule, now: DateTime<Utc>) -> TimeDelta {
    let first = schedule.following(now);
    let runs: Vec<_> = std::iter::successors(first, |at| schedule.following(*at)).take(LOOKED_AT).collect();
    let between = runs.windows(2).map(|two| two[1] - two[0]).min();
    between.map_or(MOST_GRACE, |between| between / 2).clamp(LEAST_GRACE, MOST_GRACE)
}
