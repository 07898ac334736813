//! The fields of a reservation. Each has one row in the table below, and what is done with all fields alike
//! follows from it.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{LONGEST_OWNER, LONGEST_SUBJECT, check_alert_after, check_limit, check_reminders};
use crate::expect::Expect;
use crate::names::{AlerterName, AppName, ComponentName, LONGEST_TEXT, many_lines, one_line, web_link};
use crate::recipient::Recipients;
use crate::reminders::Reminders;
use crate::schedule::{Frequency, Schedule};
use crate::{Invalid, duration, slug};

/// A type that a field of a reservation may have.
pub trait FieldType: Clone + PartialEq {
    /// What a change gives such a field.
    type Given: Clone + PartialEq;

    /// The value as a person would write it.
    fn written(&self) -> String;
    /// What has to be given to arrive at this value.
    fn given(self) -> Self::Given;
    /// Makes it what is given.
    fn set(&mut self, given: Self::Given);
    /// What is given, as a text that is the same for what is the same.
    fn text(given: &Self::Given) -> String;
}

/// Makes [`Spec`] and [`Patch`] of the table of their fields. A row says what the field is, its type, its
/// value in a new reservation, and how a given value is checked where its type alone does not make it right.
macro_rules! fields {
    (
        in a new one by ($patch:ident, $schedule:ident):
        $($(#[$doc:meta])* $field:ident: $type:ty = $initial:expr $(, check $check:expr)?;)*
    ) => {
        /// What a reservation asks for. Every field has been checked.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Spec {
            /// With `component`, its identity.
            pub app: AppName,
            /// With `app`, its identity.
            pub component: ComponentName,
            $($(#[$doc])* pub $field: $type,)*
            /// Frequency and unit as they were given, so that a reader gets back what was written.
            pub frequency: Option<Frequency>,
        }

        /// What a request says about a reservation: what is absent stays as it is, or as is usual in a new
        /// one.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Patch {
            $(#[doc = concat!("See [`Spec::", stringify!($field), "`].")]
            pub $field: Option<<$type as FieldType>::Given>,)*
            /// What `remind_every` is in a new reservation that does not wish for one.
            pub remind_every_if_new: Reminders,
            /// What `max_run` is in a new reservation that does not wish for one.
            pub max_run_if_new: Option<TimeDelta>,
            /// The alerters that it names and nobody has, each with why it is refused. A reservation that
            /// names them already may go on to.
            pub unknown: Vec<(AlerterName, Invalid)>,
        }

        impl Spec {
            /// Those of a new reservation with this schedule, of which nothing else is said.
            pub(super) fn new(
                app: AppName,
                component: ComponentName,
                ($schedule, frequency): (Schedule, Option<Frequency>),
                $patch: &Patch,
            ) -> Self {
                Self { app, component, $($field: $initial,)* frequency }
            }

            /// Every field but the two names with its value, as a person would write it.
            pub fn written(&self) -> Vec<(&'static str, String)> {
                let frequency = self.frequency.map_or_else(String::new, |frequency| frequency.to_string());
                vec![$((stringify!($field), self.$field.written()),)* ("frequency", frequency)]
            }
        }

        impl Patch {
            /// The wish that everything be as in `spec`.
            pub fn for_all_of(spec: Spec) -> Self {
                let schedule = (spec.schedule.clone(), spec.frequency);
                let all = Self { $($field: Some(spec.$field.given()),)* ..Self::default() };
                Self { slug: all.slug.filter(|slug| !slug.is_empty()), schedule: Some(schedule), ..all }
            }

            /// `spec` with what is wished for changed.
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

            /// What is wrong with the fields, each by itself.
            pub(super) fn wrong_fields(&self) -> Vec<Invalid> {
                let mut wrong = Vec::new();
                $($(if let Some(given) = &self.$field {
                    let check: fn(&<$type as FieldType>::Given) -> Result<(), Invalid> = $check;
                    wrong.extend(check(given).err());
                })?)*
                wrong
            }

            /// What is wished for, by field.
            pub(crate) fn texts(&self) -> BTreeMap<&'static str, String> {
                let mut texts = BTreeMap::new();
                $(if let Some(given) = &self.$field {
                    texts.insert(stringify!($field), <$type as FieldType>::text(given));
                })*
                texts
            }

            /// Ask no longer for the field of this name.
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

    /// What its ping addresses call it, unique in its app; empty where the store is to choose.
    slug: String = String::new(), check |text| slug::check(text);
    /// Whose job it is; may be empty.
    owner: String = String::new(), check |text| one_line("owner", text, LONGEST_OWNER);
    /// What the job is for; may be empty.
    description: String = String::new(), check |text| many_lines("description", text, LONGEST_TEXT);
    /// Labels to find it by.
    tags: Vec<String> = Vec::new();
    /// Who hears of it.
    notify: Recipients = Recipients::default();
    /// When not empty: only these alerters are used for it.
    alerters: Vec<AlerterName> = Vec::new();
    /// The text of its alerts, with placeholders (see [`crate::template`]); empty for the usual text.
    alert_msg: String = String::new(), check |text| many_lines("alert_msg", text, LONGEST_TEXT);
    /// The subject of its alerts, with placeholders; empty for the usual subject.
    alert_subject: String = String::new(), check |text| one_line("alert_subject", text, LONGEST_SUBJECT);
    /// The text of its recoveries, with placeholders; empty for the usual text.
    recovery_msg: String = String::new(), check |text| many_lines("recovery_msg", text, LONGEST_TEXT);
    /// What to do when it is down: a link of the web; empty for none.
    runbook: String = String::new(), check |link| web_link("runbook", link);
    /// When check-ins are expected. What is given has also the frequency, as it was written.
    schedule: Schedule = schedule.clone();
    /// Slack after the expected instant.
    grace: TimeDelta = schedule.usual_grace();
    /// Misses or failures in a row before an alert opens; 1 to 50.
    alert_after: i64 = 1, check |count| check_alert_after(*count);
    /// How often an open alert is told again.
    remind_every: Reminders = patch.remind_every_if_new, check |reminders| check_reminders(*reminders);
    /// Whether "is back" is told.
    notify_recovery: bool = true;
    /// The longest that a run may take. What is given is zero for no limit.
    max_run: Option<TimeDelta> = patch.max_run_if_new, check |span| check_limit("max_run", *span);
    /// The shortest that an honest run takes. What is given is zero for no limit.
    min_run: Option<TimeDelta> = None, check |span| check_limit("min_run", *span);
    /// What must hold of the figures of a success.
    expect: Expect = Expect::default();
    /// Whether it is a site: an Internet gateway whose silence holds the alerts behind it.
    is_site: bool = false;
}

/// Types of which the value itself is given, each with how it is written.
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

/// How a person writes that there is no limit.
const OFF: &str = "off";

/// A limit, of which zero is given for none.
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

/// A schedule, which is given with its frequency as that was written.
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
