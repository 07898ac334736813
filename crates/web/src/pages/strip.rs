//! The last periods of a reservation as a small drawing.

use innkeeper_core::sla::Evaluation;
use innkeeper_core::uptime::{self, Slot, Trouble};
use innkeeper_core::{Time, duration};
use innkeeper_store::Listed;

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
pub fn needed_since(listed: &Listed, evaluation: &Evaluation, now: Time) -> Time {
    let period = listed.reservation.terms.schedule.period_at(evaluation.expected_at);
    period.checked_mul(PERIODS).and_then(|span| now.checked_sub_signed(span)).unwrap_or(Time::UNIX_EPOCH)
}

impl Strip {
    /// The drawing; before `history_begins` alerts are not remembered.
    pub fn of(
        listed: &Listed,
        evaluation: &Evaluation,
        troubles: &[Trouble],
        history_begins: Time,
        now: Time,
    ) -> Self {
        let reservation = &listed.reservation;
        let period = reservation.terms.schedule.period_at(evaluation.expected_at);
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
