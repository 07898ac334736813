//! The fields of a reservation. Each has one row in the table below. The code that treats all
//! fields alike is generated from the table.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{LONGEST_OWNER, LONGEST_SUBJECT, check_alert_after, check_limit, check_reminders};
use crate::expect::Expect;
use crate::names::{AlerterName, AppName, ComponentName, LONGEST_TEXT, many_lines, one_line, web_link};
use crate::recipient::Recipients;
use crate::reminders::Reminders;
use crate::schedule::{Frequency, Schedule};
use crate::{Invalid, duration, slug};

/// A type that a field of a reservation can have.
pub trait FieldType: Clone + PartialEq {
    /// The type of a value that a patch gives to such a field.
    type Given: Clone + PartialEq;

    /// The value as a person would write it.
    fn written(&self) -> String;
    /// The value that a patch must give to arrive at this one.
    fn given(self) -> Self::Given;
    /// Sets the field to a given value.
    fn set(&mut self, given: Self::Given);
    /// The given value as a text. Equal values have equal texts.
    fn text(given: &Self::Given) -> String;
}

/// Makes [`Spec`] and [`Patch`] from the table of their fields. A row has the field's
/// documentation, its type, its value in a new reservation, and a check of given values, if the
/// type alone does not make them valid.
macro_rules! fields {
    (
        in a new one by ($patch:ident, $schedule:ident):
        $($(#[$doc:meta])* $field:ident: $type:ty = $initial:expr $(, check $check:expr)?;)*
    ) => {
        /// What a reservation asks for. Every field has been checked.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Spec {
            /// The first of the two names that identify the reservation.
            pub app: AppName,
            /// The second of the two names that identify the reservation.
            pub component: ComponentName,
            $($(#[$doc])* pub $field: $type,)*
            /// Frequency and unit as they were given, so that a reader gets back what was written.
            pub frequency: Option<Frequency>,
        }

        /// What a request says about a reservation. An absent field stays as it is; in a new
        /// reservation it has its initial value.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Patch {
            $(#[doc = concat!("See [`Spec::", stringify!($field), "`].")]
            pub $field: Option<<$type as FieldType>::Given>,)*
            /// The initial value of `remind_every` in a new reservation.
            pub remind_every_if_new: Reminders,
            /// The initial value of `max_run` in a new reservation.
            pub max_run_if_new: Option<TimeDelta>,
            /// The named alerters that are not configured, each with its error. A reservation that
            /// already names them may keep them.
            pub unknown: Vec<(AlerterName, Invalid)>,
        }

        impl Spec {
            /// The spec of a new reservation with this schedule. All other fields have their
            /// initial values.
            pub(super) fn new(
                app: AppName,
                component: ComponentName,
                ($schedule, frequency): (Schedule, Option<Frequency>),
                $patch: &Patch,
            ) -> Self {
                Self { app, component, $($field: $initial,)* frequency }
            }

            /// Every field but the two names, with its value as a person would write it.
            pub fn written(&self) -> Vec<(&'static str, String)> {
                let frequency = self.frequency.map_or_else(String::new, |frequency| frequency.to_string());
                vec![$((stringify!($field), self.$field.written()),)* ("frequency", frequency)]
            }
        }

        impl Patch {
            /// The patch that makes every field as it is in `spec`.
            pub fn for_all_of(spec: Spec) -> Self {
                let schedule = (spec.schedule.clone(), spec.frequency);
                let all = Self { $($field: Some(spec.$field.given()),)* ..Self::default() };
                Self { slug: all.slug.filter(|slug| !slug.is_empty()), schedule: Some(schedule), ..all }
            }

            /// `spec` with the changes of this patch.
            #[must_use]
            pub fn applied_to(self, mut spec: Spec) -> Spec {
                if let Some((_, frequency)) = self.schedule {
                    spec.frequency = frequency;
                }
                $(if let Some(given) = self.$field {
                    spec.$field.set(given);
                })*
                spec
            }

            /// The problems of the fields, each checked by itself.
            pub(super) fn wrong_fields(&self) -> Vec<Invalid> {
                let mut wrong = Vec::new();
                $($(if let Some(given) = &self.$field {
                    let check: fn(&<$type as FieldType>::Given) -> Result<(), Invalid> = $check;
                    wrong.extend(check(given).err());
                })?)*
                wrong
            }

            /// The given values as texts, by field.
            pub(crate) fn texts(&self) -> BTreeMap<&'static str, String> {
                let mut texts = BTreeMap::new();
                $(if let Some(given) = &self.$field {
                    texts.insert(stringify!($field), <$type as FieldType>::text(given));
                })*
                texts
            }

            /// Removes the field of this name from the patch.
            pub(crate) fn forget(&mut self, field: &str) {
                $(if field == stringify!($field) {
                    self.$field = None;
                })*
            }
        }
    };
}

fields! {
    in a new one by (patch, schedule):

    /// Its name in ping addresses, unique in its app; empty if the store is to choose one.
    slug: String = String::new(), check |text| slug::check(text);
    /// Whose job it is; may be empty.
    owner: String = String::new(), check |text| one_line("owner", text, LONGEST_OWNER);
    /// What the job is for; may be empty.
    description: String = String::new(), check |text| many_lines("description", text, LONGEST_TEXT);
    /// Labels to find it by.
    tags: Vec<String> = Vec::new();
    /// Who is notified.
    notify: Recipients = Recipients::default();
    /// The only alerters that are used; empty for all to which `notify` leads.
    alerters: Vec<AlerterName> = Vec::new();
    /// The text of its alerts, with placeholders (see [`crate::template`]); empty for the usual text.
    alert_msg: String = String::new(), check |text| many_lines("alert_msg", text, LONGEST_TEXT);
    /// The subject of its alerts, with placeholders; empty for the usual subject.
    alert_subject: String = String::new(), check |text| one_line("alert_subject", text, LONGEST_SUBJECT);
    /// The text of its recoveries, with placeholders; empty for the usual text.
    recovery_msg: String = String::new(), check |text| many_lines("recovery_msg", text, LONGEST_TEXT);
    /// What to do when it is down: a web link; empty for none.
    runbook: String = String::new(), check |link| web_link("runbook", link);
    /// When check-ins are expected. A patch gives the schedule with the frequency as it was
    /// written.
    schedule: Schedule = schedule.clone();
    /// The time allowed after the expected instant.
    grace: TimeDelta = schedule.usual_grace();
    /// How many consecutive misses or failures open an alert; 1 to 50.
    alert_after: i64 = 1, check |count| check_alert_after(*count);
    /// How often reminders of an open alert are sent.
    remind_every: Reminders = patch.remind_every_if_new, check |reminders| check_reminders(*reminders);
    /// Whether the recovery is notified.
    notify_recovery: bool = true;
    /// The longest time that a run may take. A patch gives zero for no limit.
    max_run: Option<TimeDelta> = patch.max_run_if_new, check |span| check_limit("max_run", *span);
    /// The shortest plausible run. A patch gives zero for no limit.
    min_run: Option<TimeDelta> = None, check |span| check_limit("min_run", *span);
    /// Conditions on the figures of a success.
    expect: Expect = Expect::default();
    /// Whether it is a site: an Internet gateway whose silence holds the alerts of the jobs behind
    /// it.
    is_site: bool = false;
}

/// Implements [`FieldType`] for types whose values are given as they are. A row says how a value is
/// written.
macro_rules! given_as_they_are {
    ($($type:ty: $written:expr;)*) => {
        $(impl FieldType for $type {
            type Given = Self;

            fn written(&self) -> String {
                let written: fn(&Self) -> String = $written;
                written(self)
            }

            fn given(self) -> Self {
                self
            }

            fn set(&mut self, given: Self) {
                *self = given;
            }

            fn text(given: &Self) -> String {
                given.written()
            }
        })*
    };
}

given_as_they_are! {
    String: Self::clone;
    i64: Self::to_string;
    bool: Self::to_string;
    TimeDelta: |span| duration::short(*span);
    Vec<String>: |texts| texts.join(", ");
    Vec<AlerterName>: |names| names.iter().map(AlerterName::as_str).collect::<Vec<_>>().join(", ");
    Recipients: Self::to_string;
    Reminders: |reminders| match reminders {
        Reminders::Never => OFF.to_owned(),
        other => other.short(),
    };
    Expect: Self::to_string;
}

/// The written form of an absent limit.
const OFF: &str = "off";

/// A limit. A patch gives zero for no limit.
impl FieldType for Option<TimeDelta> {
    type Given = TimeDelta;

    fn written(&self) -> String {
        self.map_or(OFF.to_owned(), duration::short)
    }

    fn given(self) -> TimeDelta {
        self.unwrap_or_default()
    }

    fn set(&mut self, given: TimeDelta) {
        *self = Some(given).filter(|span| *span > TimeDelta::zero());
    }

    fn text(given: &TimeDelta) -> String {
        duration::short(*given)
    }
}

/// A schedule. A patch gives it with the frequency as it was written.
impl FieldType for Schedule {
    type Given = (Self, Option<Frequency>);

    fn written(&self) -> String {
        self.to_string()
    }

    fn given(self) -> Self::Given {
        (self, None)
    }

    fn set(&mut self, (schedule, _): Self::Given) {
        *self = schedule;
    }

    fn text((schedule, _): &Self::Given) -> String {
        schedule.notation()
    }
}
