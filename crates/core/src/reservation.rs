//! The promise: who checks in, how often, and who hears when it does not.

use chrono::TimeDelta;
use uuid::Uuid;

use crate::checkin::CheckInKind;
use crate::facts::Facts;
use crate::names::{AlerterName, AppName, ComponentName, LONGEST_TEXT, many_lines, one_line, tags, web_link};
use crate::recipient::Recipients;
use crate::schedule::Schedule;
use crate::snooze::{Snooze, Snoozes};
use crate::{Invalid, Time, duration, slug};

/// The most that `alert_after` can ask for.
pub const MOST_ALERT_AFTER: i64 = 50;
/// Grace of a cron reservation that names none: jobs take a while after the clock strikes.
pub const CRON_GRACE: TimeDelta = TimeDelta::minutes(5);

/// What a reservation asks for. Every field has been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// With `component`, its identity.
    pub app: AppName,
    /// With `app`, its identity.
    pub component: ComponentName,
    /// What its ping addresses call it, unique in its app; empty where the store is to choose.
    pub slug: String,
    /// Whose job it is; may be empty.
    pub owner: String,
    /// What the job is for; may be empty.
    pub description: String,
    /// Labels to find it by.
    pub tags: Vec<String>,
    /// Who hears of it.
    pub notify: Recipients,
    /// When not empty: only these alerters are used for it.
    pub alerters: Vec<AlerterName>,
    /// The text of its alerts, with placeholders (see [`crate::template`]); empty for the usual text.
    pub alert_msg: String,
    /// The subject of its alerts, with placeholders; empty for the usual subject.
    pub alert_subject: String,
    /// The text of its recoveries, with placeholders; empty for the usual text.
    pub recovery_msg: String,
    /// What to do when it is down: a link of the web; empty for none.
    pub runbook: String,
    /// When check-ins are expected.
    pub schedule: Schedule,
    /// Frequency and unit as they were given, so that a reader gets back what was written.
    pub frequency: Option<Frequency>,
    /// Slack after the expected instant.
    pub grace: TimeDelta,
    /// Misses or failures in a row before an alert opens; 1 to 50.
    pub alert_after: i64,
    /// How often an open alert is told again; none for once only.
    pub remind_every: Option<TimeDelta>,
    /// Whether "is back" is told.
    pub notify_recovery: bool,
    /// The longest that a run may take.
    pub max_run: Option<TimeDelta>,
    /// The shortest that an honest run takes.
    pub min_run: Option<TimeDelta>,
    /// Whether it is a site: an Internet gateway whose silence holds the alerts behind it.
    pub is_site: bool,
}

impl Terms {
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
        ];
        let changed: Vec<&str> =
            fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
        (!changed.is_empty()).then(|| changed.join(", "))
    }

    /// Every field but the two names with its value, as a person would write it.
    pub fn written(&self) -> [(&'static str, String); 19] {
        let limit = |span: Option<TimeDelta>| span.map_or("off".to_owned(), duration::short);
        let alerters: Vec<&str> = self.alerters.iter().map(AlerterName::as_str).collect();
        [
            ("slug", self.slug.clone()),
            ("owner", self.owner.clone()),
            ("description", self.description.clone()),
            ("tags", self.tags.join(", ")),
            ("notify", self.notify.to_string()),
            ("alerters", alerters.join(", ")),
            ("alert_msg", self.alert_msg.clone()),
            ("alert_subject", self.alert_subject.clone()),
            ("recovery_msg", self.recovery_msg.clone()),
            ("runbook", self.runbook.clone()),
            ("schedule", self.schedule.to_string()),
            ("grace", duration::short(self.grace)),
            ("alert_after", self.alert_after.to_string()),
            ("remind_every", limit(self.remind_every)),
            ("notify_recovery", self.notify_recovery.to_string()),
            ("max_run", limit(self.max_run)),
            ("min_run", limit(self.min_run)),
            ("is_site", self.is_site.to_string()),
            ("frequency", self.frequency.map_or_else(String::new, |frequency| frequency.to_string())),
        ]
    }
}

/// A frequency as GoTel's protocol writes it: a number and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frequency {
    /// How many units.
    pub count: i64,
    /// The unit.
    pub unit: TimeUnit,
}

/// The units of GoTel's protocol, and days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// `seconds`
    Seconds,
    /// `minutes`
    Minutes,
    /// `hours`
    Hours,
    /// `days`
    Days,
}

impl TimeUnit {
    /// Reads `seconds`, `minutes`, `hours` or `days`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "seconds" => Ok(Self::Seconds),
            "minutes" => Ok(Self::Minutes),
            "hours" => Ok(Self::Hours),
            "days" => Ok(Self::Days),
            other => {
                Err(Invalid::new("time_units", format!("{other:?}; allowed: seconds, minutes, hours, days")))
            }
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::Days => "days",
        }
    }

    fn seconds(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Hours => 3600,
            Self::Days => 86_400,
        }
    }
}

impl Frequency {
    /// Takes a count of at least one whose span is at most ten years; `field` is where the count stood.
    pub fn parse(field: &'static str, count: i64, unit: TimeUnit) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new(field, format!("{count}; give a whole number, from 1 second to 3650 days in all"))
        };
        let seconds = count.checked_mul(unit.seconds()).ok_or_else(wrong)?;
        if !(1..=duration::LONGEST.num_seconds()).contains(&seconds) {
            return Err(wrong());
        }
        Ok(Self { count, unit })
    }

    /// Its length.
    pub fn span(self) -> TimeDelta {
        TimeDelta::seconds(self.count.saturating_mul(self.unit.seconds()))
    }
}

impl std::fmt::Display for Frequency {
    /// `5minutes`, as GoTel prints it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.count, self.unit.as_str())
    }
}

/// What a request says about a reservation: what is absent stays as it is, or as is usual in a new one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wishes {
    /// See [`Terms::slug`].
    pub slug: Option<String>,
    /// See [`Terms::owner`].
    pub owner: Option<String>,
    /// See [`Terms::description`].
    pub description: Option<String>,
    /// See [`Terms::tags`].
    pub tags: Option<Vec<String>>,
    /// See [`Terms::notify`].
    pub notify: Option<Recipients>,
    /// See [`Terms::alerters`].
    pub alerters: Option<Vec<AlerterName>>,
    /// See [`Terms::alert_msg`].
    pub alert_msg: Option<String>,
    /// See [`Terms::alert_subject`].
    pub alert_subject: Option<String>,
    /// See [`Terms::recovery_msg`].
    pub recovery_msg: Option<String>,
    /// See [`Terms::runbook`].
    pub runbook: Option<String>,
    /// See [`Terms::schedule`] and [`Terms::frequency`].
    pub schedule: Option<(Schedule, Option<Frequency>)>,
    /// See [`Terms::grace`].
    pub grace: Option<TimeDelta>,
    /// See [`Terms::alert_after`].
    pub alert_after: Option<i64>,
    /// See [`Terms::remind_every`]; zero for never.
    pub remind_every: Option<TimeDelta>,
    /// What `remind_every` is in a new reservation that does not wish for one.
    pub remind_every_if_new: Option<TimeDelta>,
    /// See [`Terms::notify_recovery`].
    pub notify_recovery: Option<bool>,
    /// See [`Terms::max_run`]; zero for no limit.
    pub max_run: Option<TimeDelta>,
    /// What `max_run` is in a new reservation that does not wish for one.
    pub max_run_if_new: Option<TimeDelta>,
    /// See [`Terms::min_run`]; zero for no limit.
    pub min_run: Option<TimeDelta>,
    /// See [`Terms::is_site`].
    pub is_site: Option<bool>,
    /// The alerters that it names and nobody has, each with why it is refused. A reservation that names them already may go on to.
    pub unknown: Vec<(AlerterName, Invalid)>,
}

impl Wishes {
    /// The schedule that is wished for.
    pub fn other_schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref().map(|(schedule, _)| schedule)
    }

    /// Notes which alerters it names that are none of `known`. `notify` is what the request calls that field.
    #[must_use]
    pub fn knowing(mut self, notify: &'static str, known: &[AlerterName]) -> Self {
        let notified = self.notify.iter().flat_map(Recipients::alerters).map(|name| (notify, name));
        let used = self.alerters.iter().flatten().map(|name| ("alerters", name));
        let unknown = notified.chain(used).filter_map(|(field, name)| {
            name.check_known(field, known).err().map(|problem| (name.clone(), problem))
        });
        self.unknown = unknown.collect();
        self
    }

    /// Whether it can be granted to a reservation whose terms are `before` (none for one that is new): what that names already it may go on
    /// to name.
    pub fn check_for(&self, before: Option<&Terms>) -> Result<(), Invalid> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let named = before.map(Terms::alerters_named).unwrap_or_default();
        match self.unknown.iter().find(|(name, _)| !named.contains(name)) {
            None => Ok(()),
            Some((_, problem)) => Err(problem.clone()),
        }
    }

    /// The wish that everything be as in `terms`.
    pub fn for_all_of(terms: Terms) -> Self {
        let limit = |span: Option<TimeDelta>| Some(span.unwrap_or_default());
        Self {
            slug: Some(terms.slug).filter(|slug| !slug.is_empty()),
            owner: Some(terms.owner),
            description: Some(terms.description),
            tags: Some(terms.tags),
            notify: Some(terms.notify),
            alerters: Some(terms.alerters),
            alert_msg: Some(terms.alert_msg),
            alert_subject: Some(terms.alert_subject),
            recovery_msg: Some(terms.recovery_msg),
            runbook: Some(terms.runbook),
            schedule: Some((terms.schedule, terms.frequency)),
            grace: Some(terms.grace),
            alert_after: Some(terms.alert_after),
            remind_every: limit(terms.remind_every),
            notify_recovery: Some(terms.notify_recovery),
            max_run: limit(terms.max_run),
            min_run: limit(terms.min_run),
            is_site: Some(terms.is_site),
            ..Self::default()
        }
    }

    /// Checks what its parts could not check alone.
    pub fn checked(self) -> Result<Self, Invalid> {
        self.slug.as_deref().map_or(Ok(()), slug::check)?;
        self.owner.as_deref().map_or(Ok(()), |text| one_line("owner", text, 150))?;
        self.description.as_deref().map_or(Ok(()), |text| many_lines("description", text, LONGEST_TEXT))?;
        self.alert_msg.as_deref().map_or(Ok(()), |text| many_lines("alert_msg", text, LONGEST_TEXT))?;
        self.alert_subject.as_deref().map_or(Ok(()), |text| one_line("alert_subject", text, 200))?;
        self.recovery_msg.as_deref().map_or(Ok(()), |text| many_lines("recovery_msg", text, LONGEST_TEXT))?;
        self.runbook.as_deref().map_or(Ok(()), |link| web_link("runbook", link))?;
        let tags = self.tags.as_deref().map(tags).transpose()?;
        if let Some(n) = self.alert_after
            && !(1..=MOST_ALERT_AFTER).contains(&n)
        {
            return Err(Invalid::new("alert_after", format!("{n}; allowed: 1 to {MOST_ALERT_AFTER}")));
        }
        let second = TimeDelta::seconds(1);
        for (field, span) in
            [("remind_every", self.remind_every), ("max_run", self.max_run), ("min_run", self.min_run)]
        {
            if span.is_some_and(|span| span > TimeDelta::zero() && span < second) {
                return Err(Invalid::new(field, "must be 0s (off) or at least 1s"));
            }
        }
        if let (Some(min), Some(max)) = (self.min_run, self.max_run)
            && min > max
            && max > TimeDelta::zero()
        {
            return Err(Invalid::new("min_run", "is longer than max_run"));
        }
        Ok(Self { tags, ..self })
    }

    /// The terms of a new reservation. None without a schedule.
    pub fn into_terms(self, app: AppName, component: ComponentName) -> Result<Terms, Invalid> {
        let (schedule, frequency) = self.schedule.clone().ok_or_else(|| {
            Invalid::new("frequency", "is missing; give frequency and time_units, or cron, or calendar")
        })?;
        let grace = match schedule {
            Schedule::Every(_) => TimeDelta::zero(),
            Schedule::Cron(_) | Schedule::Calendar(_) => CRON_GRACE,
        };
        let bare = Terms {
            app,
            component,
            slug: String::new(),
            owner: String::new(),
            description: String::new(),
            tags: Vec::new(),
            notify: Recipients::default(),
            alerters: Vec::new(),
            alert_msg: String::new(),
            alert_subject: String::new(),
            recovery_msg: String::new(),
            runbook: String::new(),
            schedule,
            frequency,
            grace,
            alert_after: 1,
            remind_every: self.remind_every_if_new,
            notify_recovery: true,
            max_run: self.max_run_if_new,
            min_run: None,
            is_site: false,
        };
        Ok(self.applied_to(bare))
    }

    /// `terms` with what is wished for changed.
    #[must_use]
    pub fn applied_to(self, mut terms: Terms) -> Terms {
        fn set<T>(place: &mut T, wish: Option<T>) {
            if let Some(value) = wish {
                *place = value;
            }
        }
        /// Zero means off.
        fn set_limit(place: &mut Option<TimeDelta>, wish: Option<TimeDelta>) {
            if let Some(span) = wish {
                *place = Some(span).filter(|span| *span > TimeDelta::zero());
            }
        }
        set(&mut terms.slug, self.slug);
        set(&mut terms.owner, self.owner);
        set(&mut terms.description, self.description);
        set(&mut terms.tags, self.tags);
        set(&mut terms.notify, self.notify);
        set(&mut terms.alerters, self.alerters);
        set(&mut terms.alert_msg, self.alert_msg);
        set(&mut terms.alert_subject, self.alert_subject);
        set(&mut terms.recovery_msg, self.recovery_msg);
        set(&mut terms.runbook, self.runbook);
        if let Some((schedule, frequency)) = self.schedule {
            (terms.schedule, terms.frequency) = (schedule, frequency);
        }
        set(&mut terms.grace, self.grace);
        set(&mut terms.alert_after, self.alert_after);
        set_limit(&mut terms.remind_every, self.remind_every);
        set(&mut terms.notify_recovery, self.notify_recovery);
        set_limit(&mut terms.max_run, self.max_run);
        set_limit(&mut terms.min_run, self.min_run);
        set(&mut terms.is_site, self.is_site);
        terms
    }
}

/// Whether the sweeper has an alert open for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        match self {
            Self::New => "new",
            Self::Up => "up",
            Self::Down => "down",
        }
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
    /// Whether any check-in has the sweeper look at once: see [`Conclusions::wakes`].
    pub eager: bool,
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
            eager: false,
        }
    }

    /// Whether a check-in of this kind may bring the next conclusion nearer than `wake_at`, `facts` being those before it. Then its
    /// recording pulls `wake_at` forward to the time of the check-in. The store says the same in SQL, and a test of its contract
    /// compares the two.
    ///
    /// A success of a reservation that is up must not, for it would cost an index entry each: it only moves the deadline away.
    pub fn wakes(&self, kind: CheckInKind, facts: &Facts) -> bool {
        let is_first_start = kind == CheckInKind::Start && facts.last_start_at.is_none();
        self.eager || self.status == Status::Down || kind == CheckInKind::Fail || is_first_start
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
    pub terms: Terms,
    /// When it was made.
    pub created_at: Time,
    /// What its check-ins left.
    pub facts: Facts,
    /// What the sweeper made of them.
    pub conclusions: Conclusions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_bounded() {
        for (count, unit) in
            [(0, "seconds"), (-1, "minutes"), (i64::MAX, "hours"), (i64::MIN, "days"), (3651, "days")]
        {
            let unit = TimeUnit::parse(unit).unwrap();
            assert_eq!(Frequency::parse("frequency", count, unit).unwrap_err().field, "frequency", "{count}");
        }
        assert_eq!(TimeUnit::parse("fortnights").unwrap_err().field, "time_units");
        let five = Frequency::parse("frequency", 5, TimeUnit::Minutes).unwrap();
        assert_eq!((five.span(), five.to_string()), (TimeDelta::minutes(5), "5minutes".to_owned()));
    }

    #[test]
    fn what_is_not_wished_for_stays() {
        let every = (Schedule::every(TimeDelta::minutes(5)).unwrap(), None);
        let first = Wishes { schedule: Some(every), grace: Some(TimeDelta::minutes(1)), ..Wishes::default() };
        let terms =
            first.into_terms(AppName::parse("a").unwrap(), ComponentName::parse("c").unwrap()).unwrap();
        let second =
            Wishes { owner: Some("ops".into()), max_run: Some(TimeDelta::zero()), ..Wishes::default() };
        let changed = second.applied_to(terms.clone());
        assert_eq!((changed.grace, changed.owner.as_str(), changed.max_run), (terms.grace, "ops", None));
    }

    #[test]
    fn limits_that_cannot_be_met_are_refused() {
        let wishes = |min, max| Wishes {
            min_run: Some(TimeDelta::seconds(min)),
            max_run: Some(TimeDelta::seconds(max)),
            ..Wishes::default()
        };
        assert_eq!(wishes(20, 10).checked().unwrap_err().field, "min_run");
        assert!(wishes(20, 0).checked().is_ok());
        let zero = Wishes { alert_after: Some(0), ..Wishes::default() };
        assert_eq!(zero.checked().unwrap_err().field, "alert_after");
    }
}
