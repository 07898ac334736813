//! The check-ins and alerts of a reservation in the order of time, latest first.

use chrono_tz::Tz;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::terminal::plain;
use innkeeper_core::{Time, duration};
use innkeeper_store::{Checkin, PastAlert, SentDelivery, Store, StoreError};
use serde::Deserialize;

use super::view::{AlertRow, When};
use super::{ENTRIES, figures};

/// The place of a page: before this check-in and this alert.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct TimelineCursor {
    checkin: Option<i64>,
    alert: Option<i64>,
}

impl TimelineCursor {
    /// Whether this is not the first page.
    pub fn is_further(self) -> bool {
        self.checkin.is_some() || self.alert.is_some()
    }

    /// As it stands in an address.
    pub fn query(self) -> String {
        let part = |name: &str, id: Option<i64>| id.map(|id| format!("{name}={id}"));
        [part("checkin", self.checkin), part("alert", self.alert)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("&")
    }
}

/// What happened.
pub enum TimelineEvent {
    Checkin(Checkin),
    Alert(PastAlert),
}

impl TimelineEvent {
    fn at(&self) -> Time {
        match self {
            // What was reported late stands where it became known.
            Self::Checkin(checkin) => checkin.arrived_at.unwrap_or(checkin.at),
            Self::Alert(alert) => alert.opened_at,
        }
    }
}

/// A page of what happened.
pub struct Timeline {
    pub happened: Vec<TimelineEvent>,
    pub deliveries: Vec<SentDelivery>,
    pub next: Option<TimelineCursor>,
}

impl Timeline {
    /// The page of a reservation at `place`.
    ///
    /// # Errors
    /// The database's.
    pub fn load(store: &Store, id: i64, place: TimelineCursor) -> Result<Self, StoreError> {
        let most = ENTRIES + 1;
        let checkins = match place.checkin {
            Some(before) => store.checkins_before(id, before, most)?,
            None => store.checkins_of(id, most)?,
        };
        let alerts = store.alerts(Some(id), None, place.alert, most)?;
        let (happened, next) = merge(checkins, alerts, place);
        let shown = happened.iter().filter_map(|one| match one {
            TimelineEvent::Alert(alert) => Some(alert.id),
            TimelineEvent::Checkin(_) => None,
        });
        let deliveries = store.deliveries_of(&shown.collect::<Vec<_>>())?;
        Ok(Self { happened, deliveries, next })
    }

    /// Its rows. The output of the check-in `above` stands on the page already.
    pub fn rows(&self, above: Option<i64>, zone: Tz, now: Time) -> Vec<TimelineEntry> {
        let row = |one: &TimelineEvent| match one {
            TimelineEvent::Checkin(checkin) => {
                TimelineEntry::Checkin(CheckinRow::of(checkin, above, zone, now))
            }
            TimelineEvent::Alert(alert) => {
                let until = alert.closed_at.unwrap_or(now);
                TimelineEntry::Alert(
                    AlertRow::of(alert, &self.deliveries, zone, now),
                    duration::words(until - alert.opened_at),
                )
            }
        };
        self.happened.iter().map(row).collect()
    }
}

/// The latest of both, and where the next page begins. Each list goes on in its own order, so that none is left out however their times lie.
fn merge(
    checkins: Vec<Checkin>,
    alerts: Vec<PastAlert>,
    place: TimelineCursor,
) -> (Vec<TimelineEvent>, Option<TimelineCursor>) {
    let (mut happened, mut next) = (Vec::new(), place);
    let mut checkins = checkins.into_iter().map(TimelineEvent::Checkin).peekable();
    let mut alerts = alerts.into_iter().map(TimelineEvent::Alert).peekable();
    while (happened.len() as i64) < ENTRIES {
        // An alert opens by what came before it.
        let alert_first = match (checkins.peek(), alerts.peek()) {
            (Some(checkin), Some(alert)) => alert.at() >= checkin.at(),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let Some(one) = (if alert_first { alerts.next() } else { checkins.next() }) else { break };
        match &one {
            TimelineEvent::Checkin(checkin) => next.checkin = Some(checkin.id),
            TimelineEvent::Alert(alert) => next.alert = Some(alert.id),
        }
        happened.push(one);
    }
    let more = checkins.peek().is_some() || alerts.peek().is_some();
    (happened, more.then_some(next))
}

/// So many bytes as people read them: "12.3 MB".
fn bytes_in_words(bytes: i64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB"];
    let mut size = bytes as f64 / 1000.0;
    let mut unit = 0;
    while size >= 999.95 && unit + 1 < units.len() {
        (size, unit) = (size / 1000.0, unit + 1);
    }
    format!("{size:.1} {}", units[unit])
}

/// A row of the page.
pub enum TimelineEntry {
    Checkin(CheckinRow),
    /// An alert, and how long it is or was open.
    Alert(AlertRow, String),
}

/// A check-in.
pub struct CheckinRow {
    pub at: When,
    pub kind: &'static str,
    pub exit_code: Option<i32>,
    /// The signal that ended it; empty where none is known.
    pub signal: String,
    pub took: String,
    /// The most memory that it used: "12.3 MB"; empty where that is not known.
    pub memory: String,
    /// What it brought: "rows 1,200".
    pub figures: String,
    /// When it arrived, where it was reported late.
    pub reported: Option<When>,
    pub source: String,
    pub notes: String,
    /// Whether what it wrote stands above.
    pub is_above: bool,
}

impl CheckinRow {
    fn of(checkin: &Checkin, above: Option<i64>, zone: Tz, now: Time) -> Self {
        let is_above = above == Some(checkin.id);
        Self {
            at: When::new(checkin.at, zone, now),
            kind: checkin.kind.as_str(),
            exit_code: checkin.exit_code.filter(|_| checkin.kind == CheckInKind::Fail),
            signal: checkin.signal.clone().unwrap_or_default(),
            took: checkin.duration.map(duration::words).unwrap_or_default(),
            memory: checkin.peak_memory_bytes.map(bytes_in_words).unwrap_or_default(),
            figures: figures::in_words(&checkin.figures),
            reported: checkin.arrived_at.map(|at| When::new(at, zone, now)),
            source: checkin.source.clone(),
            notes: if is_above { String::new() } else { plain(&checkin.notes).into_owned() },
            is_above,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn checkin(id: i64, seconds: i64) -> Checkin {
        Checkin {
            id,
            at: at(seconds),
            kind: CheckInKind::Success,
            arrived_at: None,
            exit_code: None,
            signal: None,
            duration: None,
            peak_memory_bytes: None,
            run_id: None,
            figures: innkeeper_core::figures::Figures::default(),
            source: String::new(),
            notes: String::new(),
        }
    }

    fn alert(id: i64, seconds: i64) -> PastAlert {
        PastAlert {
            ending: None,
            id,
            reservation_id: 1,
            app: String::new(),
            component: String::new(),
            cause: innkeeper_core::alert::Cause::Missed,
            sentence: String::new(),
            opened_at: at(seconds),
            closed_at: None,
        }
    }

    #[test]
    fn both_are_merged_and_paged_without_a_gap() {
        let checkins = |before: i64| (1..before).rev().map(|n| checkin(n, n * 10)).take(51).collect();
        let alerts = |before: i64| (1..before).rev().map(|n| alert(n, n * 35)).take(51).collect();
        let (mut place, mut seen, mut pages) = (TimelineCursor::default(), Vec::new(), 0);
        loop {
            let (happened, next) =
                merge(checkins(place.checkin.unwrap_or(121)), alerts(place.alert.unwrap_or(31)), place);
            assert!(happened.len() <= 50);
            seen.extend(happened.iter().map(TimelineEvent::at));
            pages += 1;
            match next {
                Some(next) => place = next,
                None => break,
            }
        }
        assert_eq!((seen.len(), pages), (150, 3));
        assert!(seen.is_sorted_by(|a, b| a >= b));
        assert_eq!(place.query().split('&').count(), 2);
    }
}
