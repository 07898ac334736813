//! The sweep: one step, and the loop around it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::{Clock, Time};
use innkeeper_node::Wake;
use innkeeper_store::{Store, StoreError, Swept};

use crate::dispatch::Crew;
use crate::messages::Speaker;

/// The longest sleep: what another process wrote is seen after that at the latest.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// The sleep while all that is due is locked by someone else: an ingest that writes, another sweeper.
const LOCKED_SLEEP: Duration = Duration::from_millis(50);

/// The sleep between two passes at least: what falls due meanwhile goes together, which costs far less than one by one.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);

/// How often a pass looks at everything.
const WHOLE_EVERY: TimeDelta = TimeDelta::seconds(1);
/// How far behind what was the earliest then the other passes begin: check-ins are written a little after their time.
const OVERLAP: TimeDelta = TimeDelta::seconds(1);

/// What the sweep works with.
pub struct Watch {
    /// Where everything is.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who puts it into words.
    pub speaker: Speaker,
    /// The most reservations of one transaction.
    pub batch: i64,
}

impl Watch {
    /// Looks at one batch of what is due.
    ///
    /// # Errors
    /// The database's.
    pub fn sweep_once(&self, now: Time) -> Result<Swept, StoreError> {
        self.store.sweep(now, self.batch, &|told| self.speaker.tell(told))
    }

    /// One pass over one batch; returns how long to sleep before the next.
    fn pass(&self, begin: &mut Begin, crews: &[Crew]) -> Result<Duration, StoreError> {
        let now = self.clock.now();
        let from = begin.of_pass(now);
        let swept = self.store.sweep_from(from, now, self.batch, &|told| self.speaker.tell(told))?;
        let backlog = swept.looked >= self.batch as usize;
        for crew in crews {
            crew.call(swept.deliveries.contains_key(crew.name.as_str()), backlog);
        }
        if backlog {
            return Ok(Duration::ZERO);
        }
        let next = self.store.next_wake_from(from)?;
        if from.is_none() {
            begin.nothing_before(next, now);
        }
        let until_next = |next: Time| (next - self.clock.now()).to_std().unwrap_or_default();
        let pause = next.map_or(LONGEST_SLEEP, until_next).min(LONGEST_SLEEP);
        Ok(if swept.looked == 0 && pause.is_zero() { LOCKED_SLEEP } else { pause.max(SHORTEST_SLEEP) })
    }
}

/// Where a pass begins to look. What was due earlier and has been looked at leaves dead entries in the index; only one pass a
/// second goes through them, for what another node has written with a time so far back.
#[derive(Debug, Default)]
struct Begin(Option<(Time, Time)>);

impl Begin {
    /// Nothing is due before this; none for a pass that looks at everything.
    fn of_pass(&self, now: Time) -> Option<Time> {
        let (whole_at, from) = self.0?;
        // Also when the clock was set back.
        (whole_at <= now && now < whole_at + WHOLE_EVERY).then_some(from)
    }

    /// A pass at `now` has looked at everything and found `next` to be the earliest.
    fn nothing_before(&mut self, next: Option<Time>, now: Time) {
        self.0 = Some((now, next.map_or(now, |next| next.min(now)) - OVERLAP));
    }
}

/// The loop, until the process stops.
pub(crate) fn run(watch: &Watch, wake: &Wake, crews: &[Crew]) {
    let mut away = false;
    let mut begin = Begin::default();
    loop {
        let pause = match watch.pass(&mut begin, crews) {
            Ok(pause) => {
                if away {
                    log::info!("the database answers again; sweeping goes on");
                    away = false;
                }
                pause
            }
            Err(error) => {
                if !error.is_unavailable() {
                    log::error!("sweep: {error}");
                } else if !away {
                    log::warn!("sweep: {error}; trying again each second");
                    away = true;
                }
                LONGEST_SLEEP
            }
        };
        if !wake.sleep(pause) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_begins_at_the_earliest_and_once_a_second_at_the_beginning() {
        let at = |ms: i64| Time::from_timestamp_millis(1_000_000 + ms).unwrap();
        let mut begin = Begin::default();
        assert_eq!(begin.of_pass(at(0)), None);
        begin.nothing_before(Some(at(70_000)), at(0));
        assert_eq!(begin.of_pass(at(0)), Some(at(-1000)), "what is written now may be due now");
        assert_eq!(begin.of_pass(at(999)), Some(at(-1000)));
        assert_eq!(begin.of_pass(at(1000)), None);
        // Somebody holds the lock of one that was due long ago.
        begin.nothing_before(Some(at(-5000)), at(1000));
        assert_eq!(begin.of_pass(at(1500)), Some(at(-6000)));
        assert_eq!(begin.of_pass(at(900)), None, "the clock was set back");
        begin.nothing_before(None, at(2000));
        assert_eq!(begin.of_pass(at(2001)), Some(at(1000)));
    }
}
