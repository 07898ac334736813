//! The promise: who checks in, how often, and who hears when it does not.

pub mod document;
mod fields;
mod patch;

use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

pub use self::document::ReservationDocument;
pub use self::fields::{FieldType, Patch, Spec};
pub use self::patch::{LONGEST_OWNER, LONGEST_SUBJECT, MOST_ALERT_AFTER};
use self::patch::{check_alert_after, check_limit, check_reminders};
use crate::checkin::{CheckIn, CheckInKind};
use crate::expect::Unexpected;
use crate::facts::Facts;
use crate::names::AlerterName;
use crate::snooze::{Snooze, Snoozes};
use crate::{Invalid, Time};

impl Spec {
    /// Checks what two changes that are right by themselves could bring together.
    pub fn check(&self) -> Result<(), Invalid> {
        match (self.min_run, self.max_run) {
            (Some(min), Some(max)) if min > max => Err(Invalid::new("min_run", "is longer than max_run")),
            _ => Ok(()),
        }
    }

    /// Whether runs are judged by their length, so that any check-in may change a conclusion.
    pub fn has_run_limits(&self) -> bool {
        self.max_run.is_some() || self.min_run.is_some()
    }

    /// Whether a success may be a failure by what it brings or by when it came, so that the sweeper looks at each.
    pub fn judges_successes(&self) -> bool {
        self.has_run_limits() || !self.expect.is_empty()
    }

    /// Every alerter that it names, in `notify` or `alerters`.
    pub fn alerters_named(&self) -> Vec<AlerterName> {
        self.notify.alerters().chain(&self.alerters).cloned().collect()
    }

    /// What is other in `after`, one line for each: `grace: 1m -> 5m`.
    pub fn difference(&self, after: &Self) -> Vec<String> {
        let own = self.written();
        let others = after.written();
        let changed = own.into_iter().zip(others).filter(|((_, before), (_, after))| before != after);
        changed.map(|((field, before), (_, after))| format!("{field}: {before} -> {after}")).collect()
    }

    /// The same; where `before` has the same schedule and no frequency as it was written, without one, too: in other words is not other. A slug that
    /// is not named stays.
    #[must_use]
    pub fn in_words_of(mut self, before: &Self) -> Self {
        if before.frequency.is_none() && before.schedule == self.schedule {
            self.frequency = None;
        }
        if self.slug.is_empty() {
            self.slug.clone_from(&before.slug);
        }
        self
    }

    /// Which of the terms that decide whether an alert is open are other in `after`: `schedule, grace`; none where none is.
    pub fn judged_otherwise(&self, after: &Self) -> Option<String> {
        let fields = [
            ("schedule", self.schedule != after.schedule),
            ("grace", self.grace != after.grace),
            ("alert_after", self.alert_after != after.alert_after),
            ("max_run", self.max_run != after.max_run),
            ("min_run", self.min_run != after.min_run),
            ("expect", self.expect != after.expect),
        ];
        let changed: Vec<&str> =
            fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
        (!changed.is_empty()).then(|| changed.join(", "))
    }
}

/// Whether the sweeper has an alert open for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Status {
    /// It has not been looked at since its first check-in.
    New,
    /// All is well.
    Up,
    /// An alert is open.
    Down,
}

impl Status {
    /// The word for it in SQL.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A span of time in which no check-in could be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first instant.
    pub from: Time,
    /// Its last instant.
    pub until: Time,
}

/// What the sweeper wrote when it last looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusions {
    /// Whether an alert is open.
    pub status: Status,
    /// When the sweeper must look again. May be early, never late.
    pub wake_at: Time,
    /// Its snoozes, as long as what was due in them matters.
    pub snoozes: Snoozes,
    /// Which of the terms that decide whether an alert is open were changed since the last look: `schedule, grace`.
    pub changed: Option<String>,
    /// [`Facts::fails`] at the last look.
    pub fails_seen: i64,
    /// [`Facts::checkins`] at the last look.
    pub checkins_seen: i64,
    /// Misses and failures in a row up to `heard_at`, where that is a failure; else 0.
    pub fail_streak: i64,
    /// [`Facts::last_end_at`] at the last look.
    pub heard_at: Option<Time>,
    /// The latest success that came sooner than `min_run` allows.
    pub short_at: Option<Time>,
    /// The latest success whose figures were other than expected.
    pub unexpected: Option<Unexpected>,
    /// Whether any check-in has the sweeper look at once: see [`Conclusions::wakes`].
    pub eager: bool,
    /// Whether something was reported late since the last look: set by its recording, taken back by the look.
    pub reported_late: bool,
}

impl Conclusions {
    /// Those of a reservation that was just made.
    pub fn fresh(wake_at: Time) -> Self {
        Self {
            status: Status::New,
            wake_at,
            snoozes: Snoozes::default(),
            changed: None,
            fails_seen: 0,
            checkins_seen: 0,
            fail_streak: 0,
            heard_at: None,
            short_at: None,
            unexpected: None,
            eager: false,
            reported_late: false,
        }
    }

    /// Whether this check-in may bring the next conclusion nearer than `wake_at`, `facts` being those before it. Then its
    /// recording pulls `wake_at` forward to the arrival of the check-in. The store says the same in SQL, and a test of its contract
    /// compares the two.
    ///
    /// A success of a reservation that is up must not, for it would cost an index entry each: it only moves the deadline away.
    pub fn wakes(&self, checkin: &CheckIn, facts: &Facts) -> bool {
        let is_first_start = checkin.kind == CheckInKind::Start && facts.last_start_at.is_none();
        let is_late = checkin.reported_late_at().is_some();
        self.eager
            || self.status == Status::Down
            || checkin.kind == CheckInKind::Fail
            || is_first_start
            || is_late
    }

    /// The snooze that goes on at `now`.
    pub fn snooze_at(&self, now: Time) -> Option<&Snooze> {
        self.snoozes.at(now)
    }

    /// Until when nothing is told, where that is so at `now`.
    pub fn snoozed_until(&self, now: Time) -> Option<Time> {
        self.snoozes.silent_until(now)
    }
}

/// A reservation with everything known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// Its number in the database, never used twice.
    pub id: i64,
    /// The unguessable key of its ping address.
    pub key: Uuid,
    /// What it asks for.
    pub spec: Spec,
    /// When it was made.
    pub created_at: Time,
    /// What its check-ins left.
    pub facts: Facts,
    /// What the sweeper made of them.
    pub conclusions: Conclusions,
}
