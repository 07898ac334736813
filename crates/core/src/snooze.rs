//! Snoozes: spans in which notifications of a job are suppressed, and their effect on check-ins due inside.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::{Invalid, Time, word};

/// The most snoozes that are kept for one reservation.
const MOST: usize = 16;
/// With more snoozes than this, those in which nothing was due are dropped.
const MANY: usize = MOST / 2;

/// The effect of a snooze on check-ins that are due inside it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum SnoozeMode {
    /// They are expected; trouble that persists at the end of the snooze is notified then.
    Quiet,
    /// They are not expected.
    Skip,
}

impl SnoozeMode {
    /// Both of them.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word for it in JSON, forms and pages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads the word; `field` names it in an error.
    pub fn parse(field: &'static str, word: &str) -> Result<Self, Invalid> {
        word::parse(field, word)
    }
}

/// One snooze. An instant lies inside it from its beginning on, and before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snooze {
    /// When it began.
    pub from: Time,
    /// When it ends.
    pub until: Time,
    /// Its effect on check-ins due inside it.
    pub mode: SnoozeMode,
}

impl Snooze {
    /// Whether `at` lies inside.
    pub fn holds(&self, at: Time) -> bool {
        self.from <= at && at < self.until
    }
}

/// The snoozes of one reservation that still matter: the earliest first, without overlaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snoozes(Vec<Snooze>);

impl Snoozes {
    /// A single one.
    pub fn one(snooze: Snooze) -> Self {
        let mut snoozes = Self::default();
        snoozes.begin(snooze);
        snoozes
    }

    /// The snooze that contains `at`.
    pub fn at(&self, at: Time) -> Option<&Snooze> {
        self.0.iter().find(|snooze| snooze.holds(at))
    }

    /// The end of the silence that contains `at`: adjoining snoozes are one silence.
    pub fn silent_until(&self, at: Time) -> Option<Time> {
        let first = self.0.iter().position(|snooze| snooze.holds(at))?;
        let mut end = self.0[first].until;
        for next in &self.0[first + 1..] {
            if next.from > end {
                break;
            }
            end = next.until;
        }
        Some(end)
    }

    /// The end of the last snooze, which may be in the past.
    pub fn last_until(&self) -> Option<Time> {
        self.0.last().map(|snooze| snooze.until)
    }

    /// All of them, the earliest first.
    pub fn iter(&self) -> impl Iterator<Item = &Snooze> {
        self.0.iter()
    }

    /// Whether there are no snoozes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a snooze that begins now. It replaces the rest of one that is active.
    pub fn begin(&mut self, new: Snooze) {
        self.end(new.from);
        if new.until <= new.from {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.until == new.from && last.mode == new.mode => last.until = new.until,
            _ => self.0.push(new),
        }
        while self.0.len() > MOST {
            self.make_room();
        }
    }

    /// Removes one snooze. This is the first quiet one, because what was due in it was notified
    /// long ago. If there are only skipping ones, the first two become one, because what was due in
    /// them must stay skipped.
    fn make_room(&mut self) {
        let over = self.0.len().saturating_sub(1);
        if let Some(quiet) = self.0[..over].iter().position(|snooze| snooze.mode == SnoozeMode::Quiet) {
            self.0.remove(quiet);
        } else if over > 1 {
            self.0[0].until = self.0[1].until;
            self.0.remove(1);
        } else {
            self.0.clear();
        }
    }

    /// If there are many, drops those that ended before `now` and for which `matters` returns false.
    #[must_use]
    pub fn without_those(mut self, now: Time, mut matters: impl FnMut(&Snooze) -> bool) -> Self {
        if self.0.len() > MANY {
            self.0.retain(|snooze| matters(snooze) || snooze.until > now);
        }
        self
    }

    /// Ends the snooze that is active at `now`.
    pub fn end(&mut self, now: Time) {
        for snooze in &mut self.0 {
            snooze.until = snooze.until.min(now);
        }
        self.0.retain(|snooze| snooze.from < snooze.until);
    }

    /// Drops those that ended before the job was heard: that report answers everything due in them.
    #[must_use]
    pub fn after(mut self, heard: Option<Time>) -> Self {
        self.0.retain(|snooze| heard.is_none_or(|heard| heard < snooze.until));
        self
    }

    /// The same snoozes with `change` applied to each time.
    #[must_use]
    pub fn mapped(mut self, change: impl Fn(Time) -> Time) -> Self {
        for snooze in &mut self.0 {
            (snooze.from, snooze.until) = (change(snooze.from), change(snooze.until));
        }
        self.0.retain(|snooze| snooze.from < snooze.until);
        self
    }
}

impl FromIterator<Snooze> for Snoozes {
    fn from_iter<T: IntoIterator<Item = Snooze>>(snoozes: T) -> Self {
        let mut all = Self::default();
        snoozes.into_iter().for_each(|snooze| all.begin(snooze));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Time {
        Time::from_timestamp_millis(minute * 60_000).unwrap()
    }

    fn snooze(from: i64, until: i64, mode: SnoozeMode) -> Snooze {
        Snooze { from: at(from), until: at(until), mode }
    }

    #[test]
    fn a_new_one_takes_the_place_of_what_is_left_of_another() {
        use SnoozeMode::{Quiet, Skip};
        let mut snoozes = Snoozes::one(snooze(0, 60, Skip));
        snoozes.begin(snooze(30, 40, Quiet));
        assert_eq!(snoozes.0, [snooze(0, 30, Skip), snooze(30, 40, Quiet)]);
        assert_eq!(snoozes.silent_until(at(10)), Some(at(40)));
        snoozes.begin(snooze(35, 90, Quiet));
        assert_eq!(snoozes.0, [snooze(0, 30, Skip), snooze(30, 90, Quiet)], "longer, and still one");
        snoozes.end(at(50));
        snoozes.begin(snooze(70, 80, Skip));
        assert_eq!(snoozes.silent_until(at(10)), Some(at(50)));
        assert_eq!(snoozes.at(at(50)), None, "its end lies outside");
        assert_eq!(snoozes.at(at(70)), Some(&snooze(70, 80, Skip)));
        assert_eq!(snoozes.clone().after(Some(at(49))).0, [snooze(30, 50, Quiet), snooze(70, 80, Skip)]);
        assert_eq!(snoozes.after(Some(at(80))), Snoozes::default());
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let mut snoozes = Snoozes::default();
        (0..50).for_each(|n| snoozes.begin(snooze(n * 10, n * 10 + 5, SnoozeMode::Quiet)));
        assert_eq!(snoozes.0.len(), MOST);
        assert_eq!(snoozes.last_until(), Some(at(495)));
        let mut snoozes = Snoozes::one(snooze(-5, -1, SnoozeMode::Skip));
        (0..50).for_each(|n| {
            let mode = if n % 3 == 0 { SnoozeMode::Quiet } else { SnoozeMode::Skip };
            snoozes.begin(snooze(n * 10, n * 10 + 5, mode));
        });
        assert_eq!(snoozes.0.len(), MOST);
        for n in 0..50 {
            let is_skipped = snoozes.at(at(n * 10 + 2)).is_some_and(|known| known.mode == SnoozeMode::Skip);
            assert!(n % 3 == 0 || is_skipped, "the {n}th is skipped for good");
        }
        assert_eq!(snoozes.at(at(-3)).map(|known| known.mode), Some(SnoozeMode::Skip));
    }
}
