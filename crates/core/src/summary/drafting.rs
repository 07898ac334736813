//! Builds the lists of a summary. Each job appears in one list, once. Of jobs that are left out,
//! only their numbers are kept.

use std::collections::{HashMap, HashSet};

use super::{DownJob, Incident, MOST_ROWS, Missed, Recovered, SummaryJob};
use crate::alert::Cause;

/// The lists. Add the missed jobs first, then the open incidents, then the past ones.
#[derive(Debug, Default)]
pub struct Drafting {
    down: Vec<DownJob>,
    all_down: HashSet<i64>,
    recovered: Vec<Recovered>,
    /// The position of each recovered job in its list; `None` for those that are left out.
    all_recovered: HashMap<i64, Option<usize>>,
}

impl Drafting {
    /// Adds a job that is missed. Add the one that has been missed longest first.
    pub fn missed(&mut self, missed: Missed) {
        self.all_down.insert(missed.reservation_id);
        let what = match missed.state.as_str() {
            state @ ("snoozed" | "held") => format!("missed ({state})"),
            _ => "missed".to_owned(),
        };
        let Missed { reservation_id: id, app, component, owner, deadline: since, .. } = missed;
        self.add(DownJob { job: SummaryJob { id, app, component, owner }, what, since, before: 0 });
    }

    /// Adds an incident that is open.
    pub fn open(&mut self, open: Incident) {
        let Incident { reservation_id: id, app, component, owner, cause, opened_at: since, .. } = open;
        let what = in_words(cause);
        if self.all_down.insert(id) {
            self.add(DownJob {
                job: SummaryJob { id, app, component, owner },
                what: what.to_owned(),
                since,
                before: 0,
            });
        } else if let Some(known) = self.down.iter_mut().find(|down| down.job.id == id) {
            known.since = known.since.min(since);
            if !known.what.starts_with(what) {
                known.what = format!("{what} and {}", known.what);
            }
        }
    }

    /// Adds an incident that is over. Add the latest first.
    pub fn recovered(&mut self, over: Incident) {
        let Incident {
            reservation_id: id,
            app,
            component,
            owner,
            cause,
            opened_at,
            closed_at,
            reported_late,
            ..
        } = over;
        if self.all_down.contains(&id) {
            if let Some(known) = self.down.iter_mut().find(|down| down.job.id == id) {
                known.before += 1;
            }
            return;
        }
        let closed_at = closed_at.unwrap_or(opened_at);
        let what = if reported_late { "failed (reported late)" } else { in_words(cause) };
        let down_ms = (closed_at - opened_at).num_milliseconds();
        let room = self.recovered.len() < MOST_ROWS;
        let next = room.then_some(self.recovered.len());
        match self.all_recovered.entry(id) {
            std::collections::hash_map::Entry::Occupied(known) => {
                if let Some(known) = known.get().and_then(|place| self.recovered.get_mut(place)) {
                    known.times += 1;
                    known.down_ms += down_ms;
                    if !known.what.split(" or ").any(|known| known == what) {
                        known.what = format!("{} or {what}", known.what);
                    }
                }
            }
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(next);
                if room {
                    let job = SummaryJob { id, app, component, owner };
                    let what = what.to_owned();
                    self.recovered.push(Recovered { job, what, times: 1, opened_at, closed_at, down_ms });
                }
            }
        }
    }

    /// The jobs that are down, the longest first, and the number of those left out; the jobs that
    /// recovered, and the number of those left out.
    pub fn lists(mut self) -> (Vec<DownJob>, usize, Vec<Recovered>, usize) {
        self.cut();
        let more_down = self.all_down.len() - self.down.len();
        let more_recovered = self.all_recovered.len() - self.recovered.len();
        (self.down, more_down, self.recovered, more_recovered)
    }

    fn add(&mut self, down: DownJob) {
        self.down.push(down);
        if self.down.len() >= 2 * MOST_ROWS {
            self.cut();
        }
    }

    /// Keeps the jobs that have been down the longest.
    fn cut(&mut self) {
        self.down.sort_by_key(|down| down.since);
        self.down.truncate(MOST_ROWS);
    }
}

fn in_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Overran => "ran too long",
        Cause::Missed | Cause::Failed => cause.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;

    fn at(hour: i64) -> Time {
        Time::from_timestamp(hour * 3600, 0).unwrap()
    }

    fn missed(id: i64, state: &str, since: i64) -> Missed {
        Missed {
            reservation_id: id,
            app: "shop".to_owned(),
            component: format!("job-{id}"),
            owner: String::new(),
            state: state.to_owned(),
            last_checkin_at: None,
            deadline: at(since),
        }
    }

    fn incident(id: i64, cause: Cause, from: i64, to: Option<i64>) -> Incident {
        Incident {
            reservation_id: id,
            app: "shop".to_owned(),
            component: format!("job-{id}"),
            owner: String::new(),
            cause,
            reason: String::new(),
            opened_at: at(from),
            closed_at: to.map(at),
            reported_late: false,
        }
    }

    #[test]
    fn each_job_stands_in_one_list_and_once() {
        let mut drafting = Drafting::default();
        for (id, state, since) in [(1, "down", 10), (2, "snoozed", 11), (3, "down", 30)] {
            drafting.missed(missed(id, state, since));
        }
        // 1 has an alert for the miss; 3 had failed before it was missed; 4 failed and is not
        // missed.
        for (id, cause, from) in [(4, Cause::Overran, 40), (3, Cause::Failed, 5), (1, Cause::Missed, 10)] {
            drafting.open(incident(id, cause, from, None));
        }
        for (id, cause, from, to) in [
            (5, Cause::Failed, 20, 22),
            (1, Cause::Missed, 8, 9),
            (5, Cause::Missed, 10, 11),
            (6, Cause::Failed, 7, 8),
            (5, Cause::Failed, 1, 2),
        ] {
            drafting.recovered(incident(id, cause, from, Some(to)));
        }
        let (down, more_down, recovered, more_recovered) = drafting.lists();
        let down: Vec<_> =
            down.iter().map(|one| (one.job.id, one.what.as_str(), one.since, one.before)).collect();
        assert_eq!(
            down,
            [
                (3, "failed and missed", at(5), 0),
                (1, "missed", at(10), 1),
                (2, "missed (snoozed)", at(11), 0),
                (4, "ran too long", at(40), 0)
            ]
        );
        let recovered: Vec<_> = recovered
            .iter()
            .map(|one| (one.job.id, one.what.as_str(), one.times, one.opened_at, one.down_in_all()))
            .collect();
        let hours = |text: &str| text.to_owned();
        assert_eq!(
            recovered,
            [(5, "failed or missed", 3, at(20), hours("4 hours")), (6, "failed", 1, at(7), hours("1 hour"))]
        );
        assert_eq!((more_down, more_recovered), (0, 0));
    }

    #[test]
    fn failures_that_were_over_when_they_were_reported_are_told_apart() {
        let mut drafting = Drafting::default();
        let late =
            |id, hour| Incident { reported_late: true, ..incident(id, Cause::Failed, hour, Some(hour)) };
        drafting.recovered(late(1, 9));
        drafting.recovered(incident(1, Cause::Failed, 7, Some(8)));
        drafting.recovered(late(2, 6));
        drafting.recovered(late(2, 5));
        let (_, _, recovered, _) = drafting.lists();
        let recovered: Vec<_> =
            recovered.iter().map(|one| (one.what.as_str(), one.times, one.down_ms)).collect();
        let both = "failed (reported late) or failed";
        assert_eq!(recovered, [(both, 2, 3_600_000), ("failed (reported late)", 2, 0)]);
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let mut drafting = Drafting::default();
        for id in 0..1000 {
            drafting.missed(missed(id, "down", id));
        }
        // This job has been down the longest, and is added last.
        drafting.open(incident(5000, Cause::Failed, -1, None));
        for id in 1000..2000 {
            for times in 0..2 {
                drafting.recovered(incident(id, Cause::Missed, 3000 - id, Some(3001 - id + times)));
            }
        }
        let (down, more_down, recovered, more_recovered) = drafting.lists();
        assert_eq!((down.len(), more_down, down[0].job.id), (MOST_ROWS, 801, 5000));
        assert_eq!((recovered.len(), more_recovered, recovered[0].times), (MOST_ROWS, 800, 2));
    }
}
