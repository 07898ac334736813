//! The rules: from terms, facts and a time to a conclusion with its reason.
//!
//! [`evaluate`] is the one place where it is decided whether a job is overdue. The sweeper acts on its
//! [`Change`], the pages show its [`State`], so the two cannot disagree.
//!
//! | rule | statement |
//! |---|---|
//! | heard | the later of: last success, last failure, end of the last snooze, creation |
//! | expected at | the first scheduled instant after it was last heard of |
//! | overdue | `now ≥ expected_at + grace` |
//! | respite | a blind window that touches a deadline moves it to its end + min(period, 1 h) + grace; all windows together by their own lengths and three such respites at most |
//! | threshold | the alert opens at the `alert_after`-th miss or failure in a row |
//! | run limit | a start, and `max_run` later no end of that run; the respite holds here, too |
//! | too short | a success sooner than `min_run` after its start is a failure |
//! | nothing swallowed | failures are counted, so one that was followed by a success is still told |
//! | recovery | a success later than the trouble, and no other trouble |
//!
//! A failure counts as heard: a job that fails each hour has failed each hour, and missed none.
//!
//! Where to start: [`evaluate`]; `due.rs` has the deadlines and what moves them.

mod due;

use chrono::TimeDelta;

use crate::alert::{OpenAlert, Reason};
use crate::checkin::CheckInKind;
use crate::facts::{Event, Run};
use crate::reservation::{Conclusions, MOST_ALERT_AFTER, Reservation, Status, Window};
use crate::schedule::Schedule;
use crate::{Invalid, Time};
use due::{Due, Heard, alert_due, deadlines, heard, later, run_limits};

/// How soon a held reservation is looked at again, in case its site was removed meanwhile.
const HELD_AGAIN: TimeDelta = TimeDelta::seconds(30);
/// How soon a reservation is looked at again when nothing is due on it.
const SOME_TIME: TimeDelta = TimeDelta::days(1);

/// Everything that a conclusion is drawn from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The reservation, its facts and the last conclusions.
    pub reservation: &'a Reservation,
    /// Its runs; needed where `max_run` is set, and to show that one is going.
    pub runs: &'a [Run],
    /// Its check-ins since the last look; needed where there are new failures or `min_run` is set.
    pub unseen: &'a [Event],
    /// The alert that is open on it.
    pub open_alert: Option<&'a OpenAlert>,
    /// Whether it stands behind a site that is silent.
    pub behind_silent_site: bool,
    /// Spans in which its check-ins could not be recorded, or could not arrive.
    pub blind: &'a [Window],
    /// The span in which its successes alone were refused.
    pub refused: Option<Refused>,
}

impl<'a> View<'a> {
    /// A view of the reservation and its open alert alone.
    pub fn of(reservation: &'a Reservation, open_alert: Option<&'a OpenAlert>) -> Self {
        Self {
            reservation,
            runs: &[],
            unseen: &[],
            open_alert,
            behind_silent_site: false,
            blind: &[],
            refused: None,
        }
    }
}

/// The span in which the database refused successes of one job, and took the check-ins of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// From the first to the last of them.
    pub window: Window,
    /// When the next would be expected if the last had been written; now, if that is earlier.
    pub next: Time,
}

impl Refused {
    /// What is known at `now` of a job on this schedule.
    pub fn new(window: Window, schedule: &Schedule, now: Time) -> Self {
        let next = schedule.expected_after(window.until, true).unwrap_or(window.until);
        Self { window, next: next.min(now).max(window.until) }
    }

    /// The blind window that it is where something was last heard at `heard`: the last that was refused excuses what
    /// comes after it only as long as nothing is.
    fn blind(&self, heard: Option<Time>) -> Window {
        let is_over = heard > Some(self.window.until);
        Window { until: if is_over { self.window.until } else { self.next }, ..self.window }
    }
}

/// What a reservation is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has never checked in and is not yet due.
    New,
    /// All is well.
    Up,
    /// Expected, and within its grace.
    Late,
    /// A run is going.
    Running,
    /// The deadline has passed; no alert is open yet.
    Overdue,
    /// An alert is open.
    Down,
    /// No alerts until a time.
    Snoozed,
    /// Overdue behind a silent site.
    Held,
    /// It was due while no check-in could be recorded.
    Unobserved,
}

impl State {
    /// All of them, the worst first.
    pub const ALL: [Self; 9] = [
        Self::Down,
        Self::Overdue,
        Self::Held,
        Self::Unobserved,
        Self::Late,
        Self::Running,
        Self::New,
        Self::Snoozed,
        Self::Up,
    ];

    /// Reads the word; `field` names it in an error.
    pub fn parse(field: &'static str, word: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|state| state.as_str()).collect();
            Invalid::new(field, format!("{word:?} is not a state; allowed: {}", words.join(", ")))
        })
    }

    /// The place of what somebody has to do something about, the worst first; all others share the last.
    pub fn badness(self) -> usize {
        let bad = [Self::Down, Self::Overdue, Self::Held, Self::Unobserved, Self::Late];
        bad.iter().position(|state| *state == self).unwrap_or(bad.len())
    }

    /// The word for it in JSON and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Up => "up",
            Self::Late => "late",
            Self::Running => "running",
            Self::Overdue => "overdue",
            Self::Down => "down",
            Self::Snoozed => "snoozed",
            Self::Held => "held",
            Self::Unobserved => "unobserved",
        }
    }
}

/// What the sweeper has to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Open an alert and tell it.
    Open(Reason),
    /// Tell the open alert again.
    Remind,
    /// Close the open alert; tell that the job is back.
    Recover,
    /// Open and close an alert, told in one message: the trouble came and went between two looks.
    OpenAndRecover(Reason),
}

/// A conclusion with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// What to show.
    pub state: State,
    /// When the next check-in is due by the schedule.
    pub expected_at: Time,
    /// Until when it may come.
    pub deadline: Time,
    /// Whether the deadline has passed.
    pub overdue: bool,
    /// What to do.
    pub change: Change,
    /// What to write down.
    pub conclusions: Conclusions,
}

/// Draws the conclusion about one reservation at `now`.
pub fn evaluate(view: &View<'_>, now: Time) -> Evaluation {
    let Reservation { terms, facts, conclusions: before, .. } = view.reservation;
    let snoozed = before.snoozed_until.is_some_and(|until| now < until);
    let ends = Ends::read(view);

    let first = deadlines(view).next().unwrap_or(Due::never(now));
    let still_needed = terms.alert_after.saturating_sub(ends.streak).clamp(1, MOST_ALERT_AFTER);
    let alert_due = alert_due(view, still_needed as usize).unwrap_or(Due::never(now));
    let overdue = first.deadline <= now;

    let limits = run_limits(view);
    let stuck = limits.iter().filter(|limit| limit.at <= now).min_by_key(|limit| limit.at);
    let run_limit = limits.iter().map(|limit| limit.at).filter(|at| *at > now).min();

    let missed = (alert_due.deadline <= now).then_some(Reason::Missed {
        expected_at: alert_due.expected_at,
        deadline: alert_due.deadline,
        in_a_row: terms.alert_after,
        unobserved: alert_due.unobserved,
    });
    let overran = stuck.map(|limit| Reason::Overran {
        started_at: limit.started_at,
        max_run_ms: limit.max_run.num_milliseconds(),
        unobserved: limit.unobserved,
    });
    // A failure was reported over the network that the site provides, so a silent site does not hold it.
    let silence = overran.or(missed);
    let held = silence.is_some() && view.behind_silent_site && !snoozed && !terms.is_site;
    let well = !ends.bad && silence.is_none() && !overdue;

    let change = match view.open_alert {
        Some(alert) if well && facts.last_checkin_at > alert.success_before => Change::Recover,
        Some(alert) => match terms.remind_every {
            Some(every) if !snoozed && !held && later(alert.told_at, every) <= now => Change::Remind,
            _ => Change::None,
        },
        None if snoozed => Change::None,
        None => match (ends.crossed, silence) {
            (Some(reason), None) if !ends.bad => Change::OpenAndRecover(reason),
            (Some(reason), _) => Change::Open(reason),
            (None, Some(reason)) if !held => Change::Open(reason),
            (None, _) => Change::None,
        },
    };

    let down = match change {
        Change::Open(_) | Change::Remind => true,
        Change::Recover | Change::OpenAndRecover(_) => false,
        Change::None => view.open_alert.is_some(),
    };
    let told_at = match change {
        Change::Open(_) | Change::Remind => now,
        _ => view.open_alert.map_or(now, |alert| alert.told_at),
    };
    let reminder = terms.remind_every.filter(|_| down && !snoozed).map(|every| later(told_at, every));
    let wake_at = [
        Some(alert_due.deadline).filter(|_| !down),
        run_limit.filter(|_| !down),
        reminder,
        before.snoozed_until,
        held.then(|| later(now, HELD_AGAIN)),
        Some(later(now, SOME_TIME)),
    ]
    .into_iter()
    .flatten()
    .filter(|at| *at > now)
    .min()
    .unwrap_or(later(now, SOME_TIME));

    // The deadline of a job that is given a respite is not the nearest: any check-in may bring it nearer than `wake_at`.
    let has_respite = alert_due.unobserved.is_some() || first.unobserved.is_some();

    let running = view.runs.iter().any(|run| run.going_since(facts).is_some());
    let state = match () {
        () if snoozed => State::Snoozed,
        () if down => State::Down,
        () if held => State::Held,
        () if overdue => State::Overdue,
        () if running => State::Running,
        () if first.unobserved.is_some() && first.expected_at <= now => State::Unobserved,
        () if first.expected_at <= now => State::Late,
        () if facts.checkins == 0 => State::New,
        () => State::Up,
    };
    let status = match (down, facts.checkins) {
        (true, _) => Status::Down,
        (false, 0) => Status::New,
        (false, _) => Status::Up,
    };
    Evaluation {
        state,
        expected_at: first.expected_at,
        deadline: first.deadline,
        overdue,
        change,
        conclusions: Conclusions {
            status,
            wake_at,
            snoozed_until: before
                .snoozed_until
                .filter(|_| snoozed || heard(view.reservation).1 == Heard::SnoozeEnd),
            fails_seen: facts.fails,
            checkins_seen: facts.checkins,
            fail_streak: ends.streak,
            short_at: ends.short_at,
            eager: terms.has_run_limits() || has_respite,
        },
    }
}

/// How the job's runs have ended, as of the last and since.
struct Ends {
    /// Failures in a row, the latest end included.
    streak: i64,
    /// Whether the latest end is a failure.
    bad: bool,
    /// The reason with which the streak reached the threshold since the last look.
    crossed: Option<Reason>,
    /// The latest success that came too soon.
    short_at: Option<Time>,
}

impl Ends {
    fn read(view: &View<'_>) -> Self {
        let Reservation { terms, facts, conclusions: before, .. } = view.reservation;
        let mut unseen = lost_failures(view);
        unseen.extend_from_slice(view.unseen);
        // Of one instant the failure comes first, as in the facts, where a success outdoes it.
        unseen.sort_by_key(|event| (event.at, event.kind != CheckInKind::Fail, event.exit_code));

        // A snooze ends the row; its end is remembered until the job is heard again after it.
        let mut crossing_streak = if before.snoozed_until.is_some() { 0 } else { before.fail_streak };
        let mut ends = Self { streak: 0, bad: false, crossed: None, short_at: before.short_at };
        let asleep = |at: Time| before.snoozed_until.is_some_and(|until| at < until);
        for event in &unseen {
            let in_a_row = crossing_streak.saturating_add(1);
            let reason = match (event.kind, event.duration, terms.min_run) {
                (CheckInKind::Fail, ..) => {
                    Reason::Failed { at: event.at, exit_code: event.exit_code, in_a_row }
                }
                (CheckInKind::Success, Some(took), Some(least)) if took < least => {
                    ends.short_at = ends.short_at.max(Some(event.at));
                    Reason::TooShort {
                        at: event.at,
                        took_ms: took.num_milliseconds(),
                        min_run_ms: least.num_milliseconds(),
                    }
                }
                (CheckInKind::Success, ..) => {
                    crossing_streak = 0;
                    continue;
                }
                (CheckInKind::Start | CheckInKind::Log, ..) => continue,
            };
            if asleep(event.at) {
                continue;
            }
            crossing_streak = in_a_row;
            if crossing_streak >= terms.alert_after && ends.crossed.is_none() {
                ends.crossed = Some(reason);
            }
        }
        // What is true now comes from the facts, which do not depend on the order of recording.
        let failed = facts.last_fail_at > facts.last_checkin_at;
        let short = ends.short_at.is_some() && ends.short_at == facts.last_checkin_at.max(facts.last_fail_at);
        ends.bad = failed || short;
        ends.streak = match facts.last_end_at() {
            // At least one: a success that is recorded late may precede the failure that was seen.
            Some(at) if ends.bad && !asleep(at) => crossing_streak.max(1),
            _ => 0,
        };
        ends
    }
}

/// The failures since the last look that the facts count and the history no longer has, as far as the facts
/// tell of them.
fn lost_failures(view: &View<'_>) -> Vec<Event> {
    let Reservation { facts, conclusions: before, .. } = view.reservation;
    let kept = view.unseen.iter().filter(|event| event.kind == CheckInKind::Fail).map(|event| event.at);
    // What is pruned is the oldest.
    let at = kept.clone().min().or(facts.last_fail_at);
    let kept = i64::try_from(kept.count()).unwrap_or(i64::MAX);
    let lost = facts.fails.saturating_sub(before.fails_seen).saturating_sub(kept);
    let lost = lost.clamp(0, MOST_ALERT_AFTER);
    let exit_code = facts.last_exit_code.filter(|_| kept == 0);
    let event = |at| Event { at, kind: CheckInKind::Fail, exit_code, duration: None };
    at.into_iter().flat_map(|at| (0..lost).map(move |_| event(at))).collect()
}
