//! The reservation: who checks in, how often, and who is notified when a check-in is missing.

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
    /// Checks conditions across fields, which two changes that are valid by themselves could break together.
    pub fn check(&self) -> Result<(), Invalid> {
        match (self.min_run, self.max_run) {
            (Some(min), Some(max)) if min > max => Err(Invalid::new("min_run", "is longer than max_run")),
            _ => Ok(()),
        }
    }

    /// Whether runs are judged by their length. Then any check-in may change a conclusion.
    pub fn has_run_limits(&self) -> bool {
        self.max_run.is_some() || self.min_run.is_some()
    }

    /// Whether a success can count as a failure, by its figures or its time. Then the sweeper looks at each success.
    pub fn judges_successes(&self) -> bool {
        self.has_run_limits() || !self.expect.is_empty()
    }

    /// All alerters named in `notify` or `alerters`.
    pub fn alerters_named(&self) -> Vec<AlerterName> {
        self.notify.alerters().chain(&self.alerters).cloned().collect()
    }

    /// The differences from `self` to `after`, one line each: `grace: 1m -> 5m`.
    pub fn difference(&self, after: &Self) -> Vec<String> {
        let own = self.written();
        let others = after.written();
        let changed = own.into_iter().zip(others).filter(|((_, before), (_, after))| before != after);
        changed.map(|((field, before), (_, after))| format!("{field}: {before} -> {after}")).collect()
    }

    /// This spec, written as `before` is, so that a difference in wording alone is none: if the schedules are equal and
    /// `before` has no frequency as it was written, this one has none either. A missing slug is taken from `before`.
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

    /// The changed fields, from `self` to `after`, that decide whether an alert is open: `schedule, grace`; `None` if
    /// there are none.
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

/// The state that the sweeper last recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum AlertStatus {
    /// The sweeper has not looked at it since its first check-in.
    New,
    /// All is well.
    Up,
    /// An alert is open.
    Down,
}

impl AlertStatus {
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

/// The conclusions that the sweeper wrote when it last looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusions {
    /// Whether an alert is open.
    pub status: AlertStatus,
    /// When the sweeper must look again. It may be too early, never too late.
    pub wake_at: Time,
    /// Its snoozes, kept as long as instants that were due in them matter.
    pub snoozes: Snoozes,
    /// The fields deciding whether an alert is open that were changed since the last look: `schedule, grace`.
    pub changed: Option<String>,
    /// [`Facts::fails`] at the last look.
    pub fails_seen: i64,
    /// [`Facts::checkins`] at the last look.
    pub checkins_seen: i64,
    /// The number of consecutive misses and failures up to `heard_at`, if the report at `heard_at` was a failure; else
    /// 0.
    pub fail_streak: i64,
    /// [`Facts::last_end_at`] at the last look.
    pub heard_at: Option<Time>,
    /// The latest success that came sooner than `min_run` allows.
    pub short_at: Option<Time>,
    /// The latest success with unexpected figures.
    pub unexpected: Option<Unexpected>,
    /// Whether every check-in makes the sweeper look at once: see [`Conclusions::wakes`].
    pub eager: bool,
    /// Whether something was reported late since the last look: set when it is recorded, cleared by the look.
    pub reported_late: bool,
}

impl Conclusions {
    /// The conclusions of a new reservation.
    pub fn fresh(wake_at: Time) -> Self {
        Self {
            status: AlertStatus::New,
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

    /// Whether this check-in may bring the next conclusion nearer than `wake_at`; `facts` are the facts before it. If
    /// so, recording it moves `wake_at` forward to the arrival of the check-in. The store does the same in SQL, and a
    /// test of its contract compares the two.
    ///
    /// A success of a reservation that is up must not do so: it only postpones the deadline, and each change of
    /// `wake_at` costs an index entry.
    pub fn wakes(&self, checkin: &CheckIn, facts: &Facts) -> bool {
        let is_first_start = checkin.kind == CheckInKind::Start && facts.last_start_at.is_none();
        let is_late = checkin.reported_late_at().is_some();
        self.eager
            || self.status == AlertStatus::Down
            || checkin.kind == CheckInKind::Fail
            || is_first_start
            || is_late
    }

    /// The snooze that is active at `now`.
    pub fn snooze_at(&self, now: Time) -> Option<&Snooze> {
        self.snoozes.at(now)
    }

    /// Until when notifications are suppressed, if they are at `now`.
    pub fn snoozed_until(&self, now: Time) -> Option<Time> {
        self.snoozes.silent_until(now)
    }
}

/// A reservation with everything known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// Its number in the database, which is never reused.
    pub id: i64,
    /// The unguessable key of its ping address.
    pub key: Uuid,
    /// Its fields as users set them.
    pub spec: Spec,
    /// When it was made.
    pub created_at: Time,
    /// The facts that its check-ins left.
    pub facts: Facts,
    /// The conclusions that the sweeper drew from them.
    pub conclusions: Conclusions,
}
