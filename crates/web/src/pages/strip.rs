//! The last periods of a reservation as a small drawing.

use chrono::TimeDelta;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::uptime::{self, DownTime, Slot};
use innkeeper_core::{Time, duration};

/// Periods in the drawing.
const PERIODS: i32 = 30;

/// Each slot of the drawing is 4 wide and 16 high: an outline for each kind of slot, and what they say together.
pub struct Strip {
    pub good: String,
    pub bad: String,
    pub empty: String,
    pub words: String,
}

/// The time from which on alerts have to be known for the drawing.
pub fn needed_since(assessed: &Assessed, now: Time) -> Time {
    let period = period(assessed);
    period.checked_mul(PERIODS).and_then(|span| now.checked_sub_signed(span)).unwrap_or(Time::UNIX_EPOCH)
}

/// One period of its schedule, as long as the one is that ends when it is expected.
fn period(assessed: &Assessed) -> TimeDelta {
    assessed.reservation.spec.schedule.period_at(assessed.evaluation.expected_at)
}

impl Strip {
    /// The drawing; before `history_begins` alerts are not remembered.
    pub fn of(assessed: &Assessed, troubles: &[DownTime], history_begins: Time, now: Time) -> Self {
        let reservation = &assessed.reservation;
        let period = period(assessed);
        let was_heard = reservation.facts.checkins > 0;
        let since = was_heard.then(|| reservation.created_at.max(history_begins));
        let slots = uptime::slots(period, PERIODS, since, troubles, now);
        let outline = |wanted: Slot, top: u32| {
            let places = slots.iter().enumerate().filter(|(_, slot)| **slot == wanted);
            places.map(|(place, _)| format!("M{} {top}h3V16h-3z", place * 4)).collect()
        };
        Self {
            good: outline(Slot::Good, 5),
            bad: outline(Slot::Bad, 0),
            empty: outline(Slot::Empty, 14),
            words: format!("{}; one is {}", uptime::words(&slots), duration::words(period)),
        }
    }
}
