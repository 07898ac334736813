//! Deadlines: when a job is due by its schedule, and how snoozes and blind windows move that.

use chrono::TimeDelta;

use super::View;
use crate::alert::Unobserved;
use crate::reservation::{Reservation, Window};
use crate::schedule::{EARLY, MOST_LEEWAY, Schedule};
use crate::snooze::{Snooze, SnoozeMode, Snoozes};
use crate::{Time, duration};

/// The longest respite: the time that a job is given to be heard after a blind window or a quiet
/// snooze, before its grace.
const MOST_RESPITE: TimeDelta = TimeDelta::hours(1);
/// How many whole respites one silence gets, however many windows touch it.
const MOST_RESPITES: usize = 3;

/// The instant from which the schedule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    pub at: Time,
    /// Whether the job was heard then. Otherwise the reservation was made then.
    pub heard: bool,
}

impl Anchor {
    /// The anchor of a job that was last heard at `heard`.
    pub fn new(reservation: &Reservation, heard: Option<Time>) -> Self {
        match heard {
            Some(at) if at >= reservation.created_at => Self { at, heard: true },
            _ => Self { at: reservation.created_at, heard: false },
        }
    }

    /// The anchor by the facts: the latest end of a run.
    pub fn latest(reservation: &Reservation) -> Self {
        Self::new(reservation, reservation.facts.last_end_at())
    }

    /// The next expected instant.
    fn next(self, schedule: &Schedule) -> Option<Time> {
        if self.heard { schedule.expected_after_checkin(self.at) } else { schedule.following(self.at) }
    }
}

/// One expected instant and its deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub expected_at: Time,
    pub deadline: Time,
    /// The deadline before anything moved it.
    natural: Time,
    pub unobserved: Option<Unobserved>,
    /// Whether a snooze has moved it.
    pub snoozed: bool,
    /// Whether it lies inside a quiet snooze.
    inside: bool,
}

impl Due {
    /// Stands for an instant that never comes: it is due in ten years.
    pub fn never(now: Time) -> Self {
        let far = later(now, duration::LONGEST);
        Self {
            expected_at: far,
            deadline: far,
            natural: far,
            unobserved: None,
            snoozed: false,
            inside: false,
        }
    }
}

/// A deadline that blind windows move.
///
/// A window moves it to the window's end, plus a respite (the period, at most an hour), plus the
/// grace. All windows together move it by at most their own lengths and [`MOST_RESPITES`] times
/// respite and grace. Several windows within a minute use up little more of this than one window.
/// Without the bound, frequent restarts of Innkeeper would silence every job with a longer period
/// for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub at: Time,
    latest: Time,
    respite: TimeDelta,
    grace: TimeDelta,
    pub unobserved: Option<Unobserved>,
}

impl Deadline {
    /// A deadline at `at`, of a job with this period and grace.
    pub fn new(at: Time, period: TimeDelta, grace: TimeDelta) -> Self {
        let respite = period.min(MOST_RESPITE);
        let latest = (0..MOST_RESPITES).fold(at, |at, _| later(later(at, respite), grace));
        Self { at, latest, respite, grace, unobserved: None }
    }

    /// Whether the window begins in time to move it.
    pub fn is_reached_by(&self, window: &Window) -> bool {
        window.from <= self.at
    }

    /// Moves it for a window that touches it, as far as the bound allows.
    pub fn move_for(&mut self, window: &Window) {
        self.move_to(window, later(later(window.until, self.respite), self.grace));
    }

    /// Moves it to `after` for a window that touches it, as far as the bound allows.
    fn move_to(&mut self, window: &Window, after: Time) {
        self.latest = later(self.latest, window.until - window.from);
        self.at = self.at.max(after).max(window.until).min(self.latest);
        self.unobserved = Some(self.unobserved.map_or(Unobserved::from(*window), |known| known.and(*window)));
    }
}

/// Whether the window ends late enough that a check-in for `expected_at` may have been lost in it.
fn is_late_enough(window: &Window, expected_at: Time) -> bool {
    later(window.until, EARLY) >= expected_at
}

/// The windows, the earliest first. Windows that overlap or touch are merged, and those that end
/// before they begin are left out.
pub(super) fn merged(windows: impl Iterator<Item = Window>) -> Vec<Window> {
    let mut windows: Vec<Window> = windows.filter(|window| window.from <= window.until).collect();
    windows.sort_unstable_by_key(|window| (window.from, window.until));
    windows.dedup_by(|next, before| {
        let joined = next.from <= before.until;
        if joined {
            before.until = before.until.max(next.until);
        }
        joined
    });
    windows
}

/// The blind windows that matter, the earliest first. A window that ended before the anchor does
/// not: nothing that was expected after the anchor can have been lost in it.
fn blind(view: &View<'_>, anchor: Anchor) -> Vec<Window> {
    let heard = Some(anchor.at).filter(|_| anchor.heard);
    let refused = view.refused.map(|refused| refused.blind(heard));
    merged(view.blind.iter().copied().chain(refused).filter(|window| window.until > anchor.at))
}

/// The expected instants since the job was last heard of, with their deadlines, in the order of the instants.
pub(super) struct Instants<'a> {
    view: View<'a>,
    blind: Vec<Window>,
    next: Option<Time>,
    /// At most this many instants inside one quiet snooze are returned; the others are passed over.
    most: usize,
    /// The beginning of the quiet snooze that contains the last instant, and the number of instants
    /// counted inside it so far.
    inside: Option<(Time, usize)>,
    /// No later deadline may be earlier than this one of an earlier instant.
    floor: Option<Time>,
    /// Whether a skipping snooze has restarted the interval.
    restarted: bool,
    /// The windows that have touched an instant so far.
    touching: Vec<Window>,
}

impl<'a> Instants<'a> {
    pub fn after(view: &View<'a>, anchor: Anchor, most: usize) -> Self {
        Self::beside(view, anchor, most, blind(view, anchor))
    }

    fn beside(view: &View<'a>, anchor: Anchor, most: usize, blind: Vec<Window>) -> Self {
        let next = anchor.next(&view.reservation.spec.schedule);
        Self {
            view: *view,
            blind,
            next,
            most,
            inside: None,
            floor: None,
            restarted: false,
            touching: Vec::new(),
        }
    }

    fn snooze_at(&self, at: Time) -> Option<&'a Snooze> {
        self.view.reservation.conclusions.snoozes.at(at)
    }

    /// The first instant at or after `bound`, passing over the instants between `next` and it. It
    /// stops earlier where a snooze begins or ends, because the deadlines there move differently.
    /// `quiet` is the quiet snooze that contains the last instant.
    fn past(&self, next: Time, bound: Time, quiet: Option<&Snooze>) -> Option<Time> {
        let snoozes = &self.view.reservation.conclusions.snoozes;
        let bound = match (self.snooze_at(next), quiet) {
            (None, _) => {
                let other = snoozes.iter().map(|snooze| snooze.from).filter(|from| *from > next).min();
                other.map_or(bound, |from| from.min(bound))
            }
            (Some(snooze), Some(quiet)) if snooze.from == quiet.from => snooze.until.min(bound),
            (Some(_), _) => next,
        };
        if bound <= next { Some(next) } else { from(&self.view.reservation.spec.schedule, next, bound) }
    }

    /// Continues after a snooze that skips `expected_at`.
    fn skip(&mut self, expected_at: Time, snooze: &Snooze) {
        let schedule = &self.view.reservation.spec.schedule;
        self.next = match schedule {
            Schedule::Every(period) => snooze.until.checked_add_signed(*period),
            _ => from(schedule, expected_at, snooze.until),
        };
        self.restarted |= matches!(schedule, Schedule::Every(_));
    }

    /// Passes over the instants before `bound`.
    fn begin_at(&mut self, bound: Time) {
        while let Some(next) = self.next.filter(|next| *next < bound) {
            match self.snooze_at(next) {
                Some(snooze) if snooze.mode == SnoozeMode::Skip => self.skip(next, snooze),
                quiet => self.next = self.past(next, bound, quiet),
            }
        }
    }

    /// The next expected instant, and the quiet snooze that contains it.
    fn step(&mut self) -> Option<(Time, Option<&'a Snooze>)> {
        let schedule = &self.view.reservation.spec.schedule;
        loop {
            let expected_at = self.next?;
            match self.snooze_at(expected_at) {
                Some(snooze) if snooze.mode == SnoozeMode::Skip => self.skip(expected_at, snooze),
                quiet => {
                    self.next = schedule.following(expected_at);
                    return Some((expected_at, quiet));
                }
            }
        }
    }
}

impl Iterator for Instants<'_> {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let (expected_at, quiet) = self.step()?;
        let spec = &self.view.reservation.spec;
        let (schedule, grace) = (&spec.schedule, spec.grace);
        let period = schedule.period_at(expected_at);
        let natural = later(later(expected_at, schedule.leeway(expected_at)), grace);
        let after_quiet = quiet.map(|quiet| later(later(quiet.until, period.min(MOST_RESPITE)), grace));
        let unblinded = after_quiet.map_or(natural, |at| at.max(natural));
        let is_interval = matches!(schedule, Schedule::Every(_));
        let unmoved = self.floor.filter(|_| spec.alert_after > 1).max(Some(unblinded));
        let mut deadline = Deadline::new(unmoved.unwrap_or(unblinded), period, grace);
        for window in &self.blind {
            if !deadline.is_reached_by(window) {
                break;
            }
            if is_late_enough(window, expected_at) {
                deadline.move_for(window);
                if self.touching.last() != Some(window) {
                    self.touching.push(*window);
                }
                if spec.alert_after > 1 {
                    // Further instants that the window touches do not count either.
                    let beyond = later(later(window.until, EARLY), TimeDelta::milliseconds(1));
                    let floor = self.floor.max(is_interval.then_some(unblinded));
                    let touches = |next: Time| {
                        let natural = later(later(next, schedule.leeway(next)), grace);
                        window.from <= floor.map_or(natural, |floor| floor.max(natural))
                    };
                    self.next = self.next.and_then(|next| match next < beyond && touches(next) {
                        true => self.past(next, beyond, quiet),
                        false => Some(next),
                    });
                }
            }
        }
        // Instants that do not count do not use up the places of those that do.
        if let Some(quiet) = quiet
            && (deadline.unobserved.is_none() || spec.alert_after <= 1)
        {
            let before = self.inside.filter(|(of, _)| *of == quiet.from).map_or(0, |(_, n)| n);
            self.inside = Some((quiet.from, before + 1));
            if before + 1 >= self.most {
                self.next = from(schedule, expected_at, quiet.until);
            }
        }
        let at = self.floor.map_or(deadline.at, |floor| floor.max(deadline.at));
        // An interval has only one due instant. The ones after it are further periods of the same
        // silence.
        self.floor = match (deadline.unobserved, schedule) {
            (Some(_), _) if spec.alert_after <= 1 => Some(at),
            (_, Schedule::Every(_)) => self.floor.max(Some(unblinded)),
            _ => self.floor,
        };
        Some(Due {
            expected_at,
            deadline: at,
            natural,
            unobserved: deadline.unobserved,
            snoozed: self.restarted || at != natural,
            inside: quiet.is_some(),
        })
    }
}

/// The snoozes that still matter at `now`. If there are many, those that are over are dropped,
/// unless something was due in them or the job was last heard in them.
pub(super) fn remembered(view: &View<'_>, now: Time) -> Snoozes {
    let Reservation { spec, facts, conclusions, .. } = view.reservation;
    let heard = facts.last_end_at();
    let anchor = Anchor::latest(view.reservation);
    let mut next = anchor.next(&spec.schedule);
    let has_instant = |snooze: &Snooze| {
        next = next.and_then(|next| match next < snooze.from {
            true => from(&spec.schedule, next, snooze.from),
            false => Some(next),
        });
        let holds = next.is_some_and(|next| snooze.holds(next));
        if let (true, SnoozeMode::Skip, Schedule::Every(period)) = (holds, snooze.mode, &spec.schedule) {
            next = snooze.until.checked_add_signed(*period);
        }
        holds || heard.is_some_and(|heard| snooze.holds(heard))
    };
    conclusions.snoozes.clone().after(heard).without_those(now, has_instant)
}

/// The first instant of the schedule at or after `bound`. `expected_at` is an earlier instant.
fn from(schedule: &Schedule, expected_at: Time, bound: Time) -> Option<Time> {
    match schedule {
        Schedule::Every(period) => {
            let period = period.num_milliseconds().max(1);
            let missing = (bound - expected_at).num_milliseconds().max(0);
            let periods = missing / period + i64::from(missing % period != 0);
            expected_at.checked_add_signed(TimeDelta::try_milliseconds(periods.checked_mul(period)?)?)
        }
        _ => schedule.following(bound.checked_sub_signed(TimeDelta::milliseconds(1))?),
    }
}

/// The first expected instant since the job was last heard of.
pub(super) fn first(view: &View<'_>) -> Option<Due> {
    Instants::after(view, Anchor::latest(view.reservation), 1).next()
}

/// The first instant whose deadline is after `told`, if the job is not heard before.
pub(super) fn missed_next(view: &View<'_>, told: Time) -> Option<Due> {
    let spec = &view.reservation.spec;
    let mut instants = Instants::after(view, Anchor::latest(view.reservation), 1);
    // Earlier instants have deadlines before `told`, except those that a snooze or a blind window
    // moves. These move the instants after the bound as well.
    let bound = told.checked_sub_signed(spec.grace).and_then(|at| at.checked_sub_signed(MOST_LEEWAY));
    instants.begin_at(bound.unwrap_or(Time::MIN_UTC));
    instants.find(|due| due.deadline > told && (spec.alert_after <= 1 || due.unobserved.is_none()))
}

/// The deadline at which the job has missed `missing` instants in a row.
///
/// If `alert_after` is greater than 1, instants that a blind window touches do not count. The bound
/// of [`Deadline`] holds for the whole row as for a single instant.
pub(super) fn alert_due(view: &View<'_>, missing: usize) -> Option<Due> {
    alert_due_after(view, Anchor::latest(view.reservation), missing)
}

/// Like [`alert_due`], for a job that was last heard at `anchor`.
pub(super) fn alert_due_after(view: &View<'_>, anchor: Anchor, missing: usize) -> Option<Due> {
    let Reservation { spec, .. } = view.reservation;
    let blind = blind(view, anchor);
    if spec.alert_after <= 1 {
        let mut earliest: Option<Due> = None;
        for due in Instants::beside(view, anchor, 1, blind) {
            let inside = due.inside;
            if earliest.is_none_or(|earliest| due.deadline < earliest.deadline) {
                earliest = Some(due);
            }
            if !inside {
                break;
            }
        }
        return earliest;
    }
    let unmoved = nth_missed(&mut Instants::beside(view, anchor, missing, Vec::new()), missing)?;
    let mut instants = Instants::beside(view, anchor, missing, blind);
    let moved = nth_missed(&mut instants, missing);
    let at_least = moved.map_or(Time::MAX_UTC, |due| due.deadline);
    let period = spec.schedule.period_at(unmoved.expected_at);
    let mut deadline = Deadline::new(unmoved.deadline, period, spec.grace);
    for window in instants.touching {
        if !deadline.is_reached_by(&window) {
            break;
        }
        deadline.move_to(&window, at_least);
    }
    let expected_at = moved.map(|due| due.expected_at).filter(|at| *at <= deadline.at);
    Some(Due {
        expected_at: expected_at.unwrap_or(unmoved.expected_at),
        deadline: deadline.at,
        natural: unmoved.natural,
        unobserved: deadline.unobserved,
        snoozed: unmoved.snoozed || moved.is_some_and(|due| due.snoozed),
        inside: false,
    })
}

/// The `n`th deadline to pass, of the instants that count.
fn nth_missed(instants: &mut Instants<'_>, n: usize) -> Option<Due> {
    let (mut missed, mut outside) = (Vec::new(), 0);
    for due in instants {
        if due.unobserved.is_none() {
            missed.push(due);
            outside += usize::from(!due.inside);
        }
        if outside >= n {
            break;
        }
    }
    // Of equal deadlines, that of the earliest instant comes first.
    missed.sort_by_key(|due| due.deadline);
    missed.into_iter().nth(n - 1)
}

/// How many instants since `anchor` have been missed at `now`, at most `most`, and whether the last
/// instant that was due by then is one of them. Instants that a blind window touches do not count.
///
/// With `end` the job is heard again at `now`. Instants then count by their natural deadlines, even
/// if a quiet snooze has moved them.
pub(super) fn missed(view: &View<'_>, anchor: Anchor, now: Time, most: usize, end: bool) -> (usize, bool) {
    let (mut count, mut is_last) = (0, false);
    for due in Instants::after(view, anchor, most) {
        if due.expected_at > now || count >= most {
            break;
        }
        let deadline = if end { due.natural } else { due.deadline };
        is_last = deadline <= now && due.unobserved.is_none();
        count += usize::from(is_last);
        if due.natural > now {
            // All further deadlines are later still.
            break;
        }
    }
    (count, is_last)
}

/// `at` plus `by`, or the end of the calendar if that is beyond it.
pub(super) fn later(at: Time, by: TimeDelta) -> Time {
    at.checked_add_signed(by).unwrap_or(Time::MAX_UTC)
}
