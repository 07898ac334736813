//! The sweep: claiming what is due, and writing conclusions, alerts and deliveries in one transaction.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use innkeeper_core::alert::Reason;
use innkeeper_core::notice::{EventKind, Notice};
use innkeeper_core::reservation::{Conclusions, Reservation};
use innkeeper_core::sla::{Change, Evaluation, View, evaluate};
use innkeeper_core::ways::Way;
use uuid::Uuid;

use crate::blind::{Blind, want_heartbeat};
use crate::connection::AnyConnection;
use crate::counts::LastCount;
use crate::due::{Due, load_due};
use crate::outbox::Reached;
use crate::readable::list;
use crate::rows::ms;
use crate::runs::{forget_told, note_told};
use crate::said::{Counted, Last, Of, Said};
use crate::schema::{alerts, reservations, states};
use crate::unjudged::{AGAIN, aside, judged};
use crate::walk::row_by_row;
use crate::{Store, StoreError, bulk, outbox};

/// How soon a reservation is looked at again while it is in doubt whether a check-in could have been recorded; at the soonest, while
/// none could.
const AGAIN_WHILE_BLIND: TimeDelta = TimeDelta::seconds(1);

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Reservations that were looked at.
    pub looked: usize,
    /// Alerts that opened, those that closed at once included.
    pub opened: usize,
    /// Alerts that closed.
    pub closed: usize,
    /// Alerts that were told again.
    pub reminded: usize,
    /// Messages put into the outbox, by alerter.
    pub deliveries: BTreeMap<String, usize>,
    /// Reservations that could not be judged, and why. They are the caller's to [put aside](Store::put_aside).
    pub unjudged: Vec<(i64, String)>,
    /// The names of those that could be judged again.
    pub judged_again: Vec<String>,
}

impl Swept {
    /// Adds what another part of the same pass did.
    pub(crate) fn add(&mut self, other: Self) {
        self.looked += other.looked;
        self.opened += other.opened;
        self.closed += other.closed;
        self.reminded += other.reminded;
        for (alerter, count) in other.deliveries {
            *self.deliveries.entry(alerter).or_default() += count;
        }
        self.unjudged.extend(other.unjudged);
        self.judged_again.extend(other.judged_again);
    }
}

/// What turns what happened into messages.
pub(crate) type Tell<'a> = &'a dyn Fn(&Told<'_>) -> Vec<NewDelivery>;

/// What a sweep looks at.
pub(crate) enum Claim<'a> {
    /// What is due, from a time on, so many at most.
    Due(Option<Time>, i64),
    /// Those of these that are due.
    These(&'a [i64]),
}

/// What there is to tell about one reservation.
#[derive(Debug)]
pub struct Told<'a> {
    /// What happened: opened, reminder, recovered, or opened and recovered.
    pub event: EventKind,
    /// Whose alert.
    pub reservation: &'a Reservation,
    /// Why the alert opened.
    pub reason: &'a Reason,
    /// The alert's number.
    pub alert_id: i64,
    /// The key of all its messages.
    pub dedup_key: &'a str,
    /// When it opened.
    pub opened_at: Time,
    /// What the job said last: the notes of its latest check-in that has some, if it belongs to its latest run.
    pub notes: &'a str,
    /// How long the run took that ended last, where its start was told.
    pub took: Option<TimeDelta>,
    /// The median of the runs that succeeded lately.
    pub usual: Option<TimeDelta>,
    /// How many other jobs are down.
    pub others_down: i64,
    /// How many jobs there are.
    pub jobs: i64,
    /// For a site: how many reservations stand behind it.
    pub behind: i64,
    /// Of a recovery: who was told of the trouble, and so hears of its end.
    pub reached: &'a [Reached],
    /// Of an end that no success brought: why the alert is over.
    pub ending: Option<&'a str>,
    /// The time of the pass.
    pub now: Time,
}

/// One message for the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery {
    /// The alerter's name.
    pub alerter: String,
    /// The mail address; empty where the alerter has but one recipient.
    pub recipient: String,
    /// The message.
    pub notice: Notice,
}

impl NewDelivery {
    /// A message on this way.
    pub fn through(way: &Way, notice: Notice) -> Self {
        Self { alerter: way.alerter.clone(), recipient: way.recipient().to_owned(), notice }
    }
}

/// An alert to insert.
pub(crate) struct NewAlert<'a> {
    pub reservation: &'a Reservation,
    pub reason: &'a Reason,
    pub dedup_key: String,
    pub closed: bool,
}

impl Store {
    /// When the next reservation is due to be looked at; none without reservations.
    pub fn next_wake_at(&self) -> Result<Option<Time>, StoreError> {
        self.next_wake_from(None)
    }

    /// The same, of those that are due at `from` or later.
    pub fn next_wake_from(&self, from: Option<Time>) -> Result<Option<Time>, StoreError> {
        let connection = &mut *self.get()?;
        let aside: Vec<i64> = aside(connection)?.into_iter().map(|(id, _)| id).collect();
        let mut query =
            states::table.filter(states::wake_at.ge(begin(from))).order(states::wake_at).into_boxed();
        if !aside.is_empty() {
            query = query.filter(states::reservation_id.ne_all(aside));
        }
        let next: Option<i64> = query.select(states::wake_at).first(connection).optional()?;
        Ok(next.map(crate::rows::time))
    }

    /// Looks at up to `limit` reservations that are due at `now`, on the locked facts, and writes what follows in the
    /// same transaction. `tell` turns what happened into messages; it must be pure.
    pub fn sweep(
        &self,
        now: Time,
        limit: i64,
        tell: &dyn Fn(&Told<'_>) -> Vec<NewDelivery>,
    ) -> Result<Swept, StoreError> {
        self.sweep_from(None, now, limit, tell)
    }

    /// The same, leaving out what was due before `from`. Every conclusion leaves an entry in the index of `wake_at` that is dead and
    /// yet passed over one by one until the table is vacuumed: who knows that nothing earlier is due need not begin with them.
    pub fn sweep_from(
        &self,
        from: Option<Time>,
        now: Time,
        limit: i64,
        tell: &dyn Fn(&Told<'_>) -> Vec<NewDelivery>,
    ) -> Result<Swept, StoreError> {
        self.sweep_claimed(&Claim::Due(from, limit), now, tell)
    }

    /// Looks at what is claimed, in one transaction.
    pub(crate) fn sweep_claimed(
        &self,
        claim: &Claim<'_>,
        now: Time,
        tell: Tell<'_>,
    ) -> Result<Swept, StoreError> {
        self.write(|connection| {
            if let Claim::These(_) = claim {
                // Beside a row that cannot be read.
                row_by_row(connection)?;
            }
            let aside = aside(connection)?;
            let ids = claim_due(connection, claim, &aside, now, true)?;
            if ids.is_empty() {
                return Ok(Swept::default());
            }
            let blind = Blind::at(connection, now)?;
            let goes_on = blind.windows.last().is_some_and(|window| window.until >= now);
            let (due, corrupt) = load_due(connection, &ids, &blind, now)?;
            let mut swept = Swept { looked: ids.len(), ..Swept::default() };
            let mut wants_heartbeat = false;
            put_off(connection, &corrupt, now)?;
            let is_aside = |id: &&i64| aside.iter().any(|(known, _)| known == *id);
            let was_aside: Vec<i64> = ids
                .iter()
                .filter(is_aside)
                .filter(|id| !corrupt.iter().any(|(known, _)| known == *id))
                .copied()
                .collect();
            swept.judged_again = judged(connection, &was_aside)?;
            swept.unjudged = corrupt;
            let concluded: Vec<(&Due, Evaluation)> = due
                .iter()
                .map(|due| {
                    let (evaluation, unknown) = conclude(due, &blind, goes_on, now);
                    wants_heartbeat |= unknown;
                    (due, evaluation)
                })
                .collect();
            if wants_heartbeat {
                want_heartbeat(connection, now)?;
            }
            let conclusions: Vec<(i64, &Conclusions)> =
                concluded.iter().map(|(due, seen)| (due.reservation.id, &seen.conclusions)).collect();
            bulk::write_conclusions(connection, &conclusions)?;
            for (due, seen) in concluded.iter().filter(|(_, seen)| !seen.told_runs.is_empty()) {
                note_told(connection, due.reservation.id, &seen.told_runs, now)?;
            }
            let changes: Vec<(&Due, &Change)> = concluded
                .iter()
                .filter(|(_, seen)| seen.change != Change::None)
                .map(|(due, seen)| (*due, &seen.change))
                .collect();
            let counts = (&*self.counted, &*self.last_count);
            write_changes(connection, &changes, counts, now, tell, &mut swept)?;
            Ok(swept)
        })
        .inspect_err(|_| self.last_count.forget())
    }
}

/// The conclusion about one reservation. Nobody is blamed for silence before it is known that no check-in is under way that came in
/// time: whoever would be is looked at again soon. The last value tells that this has happened.
fn conclude(due: &Due, blind: &Blind, goes_on: bool, now: Time) -> (Evaluation, bool) {
    let mut evaluation = evaluate(&due.view(), now);
    let blamed = match &evaluation.change {
        Change::Open(Reason::Missed { .. } | Reason::Overran { .. }) => true,
        Change::OpenAndRecover(_)
        | Change::Open(_)
        | Change::Remind
        | Change::Recover
        | Change::Withdraw(_)
        | Change::None => false,
    };
    let mut is_unknown = false;
    if let Some(unknown) = blind.unknown.filter(|_| blamed) {
        let windows = [&due.blind[..], &[unknown]].concat();
        let with_it = evaluate(&View { blind: &windows, ..due.view() }, now);
        is_unknown = with_it.change != evaluation.change;
        evaluation = with_it;
    }
    let conclusions = &mut evaluation.conclusions;
    if goes_on {
        // A deadline whose respites are used up moves on with the window, as little before it as it was at its beginning.
        conclusions.wake_at = conclusions.wake_at.max(now + AGAIN_WHILE_BLIND);
    }
    if blind.doubtful || is_unknown {
        // Where the span turns out to be none, it excuses nothing.
        conclusions.wake_at = conclusions.wake_at.min(now + AGAIN_WHILE_BLIND);
    }
    (evaluation, is_unknown)
}

/// Where the index is entered; at its beginning without `from`.
pub(crate) fn begin(from: Option<Time>) -> i64 {
    from.map_or(i64::MIN, ms)
}

#[derive(QueryableByName)]
struct Claimed {
    #[diesel(sql_type = BigInt)]
    reservation_id: i64,
}

/// The ids of what is due, without the locks.
pub(crate) fn due_ids(
    connection: &mut AnyConnection,
    from: Option<Time>,
    now: Time,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    let aside = aside(connection)?;
    claim_due(connection, &Claim::Due(from, limit), &aside, now, false)
}

/// Locks what is due, leaving out what another sweeper holds and what is put aside. SQLite has one writer, and this is it.
fn claim_due(
    connection: &mut AnyConnection,
    claim: &Claim<'_>,
    aside: &[(i64, i64)],
    now: Time,
    locked: bool,
) -> Result<Vec<i64>, StoreError> {
    let lock = match connection {
        AnyConnection::Postgres(_) if locked => "FOR UPDATE SKIP LOCKED",
        AnyConnection::Postgres(_) | AnyConnection::Sqlite(_) => "",
    };
    // A sign before it keeps planners from its index, which may lead to rows that cannot be read.
    let (from, limit, these, wake_at) = match claim {
        Claim::Due(from, limit) => (*from, *limit, String::new(), "wake_at"),
        Claim::These(ids) => {
            (None, ids.len() as i64, format!("AND reservation_id IN ({})", list(ids)), "+wake_at")
        }
    };
    let later: Vec<i64> = aside.iter().filter(|(_, until)| *until > ms(now)).map(|(id, _)| *id).collect();
    let others = match later.is_empty() {
        true => String::new(),
        false => format!("AND reservation_id NOT IN ({})", list(&later)),
    };
    let rows: Vec<Claimed> = sql_query(format!(
        "SELECT reservation_id FROM states WHERE {wake_at} >= $1 AND {wake_at} <= $2 {these} {others}
         ORDER BY {wake_at} LIMIT $3 {lock}"
    ))
    .bind::<BigInt, _>(begin(from))
    .bind::<BigInt, _>(ms(now))
    .bind::<BigInt, _>(limit)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.reservation_id).collect())
}

/// Leaves rows that cannot be read alone for a while, so that they do not keep the others waiting.
fn put_off(connection: &mut AnyConnection, corrupt: &[(i64, String)], now: Time) -> Result<(), StoreError> {
    for (id, _) in corrupt {
        let put_off = diesel::update(states::table.filter(states::reservation_id.eq(*id)))
            .set(states::wake_at.eq(ms(now + AGAIN)))
            .execute(connection);
        match (put_off.map_err(StoreError::from), &connection) {
            // Nor can it be written, perhaps; it is put aside all the same.
            (Err(error), AnyConnection::Sqlite(_)) if !error.is_unavailable() => {
                log::debug!("reservation {id} is not put off: {error}");
            }
            (done, _) => drop(done?),
        }
    }
    Ok(())
}

/// Writes alerts and what is to be told of them.
fn write_changes(
    connection: &mut AnyConnection,
    changes: &[(&Due, &Change)],
    (counted, last_count): (&Counted, &LastCount),
    now: Time,
    tell: &dyn Fn(&Told<'_>) -> Vec<NewDelivery>,
    swept: &mut Swept,
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let new: Vec<NewAlert<'_>> = changes
        .iter()
        .filter_map(|(due, change)| match change {
            Change::Open(reason) | Change::OpenAndRecover(reason) => Some(NewAlert {
                reservation: &due.reservation,
                reason,
                dedup_key: Uuid::new_v4().to_string(),
                closed: matches!(change, Change::OpenAndRecover(_)),
            }),
            _ => None,
        })
        .collect();
    let ids = bulk::insert_alerts(connection, &new, now)?;
    let opened: HashMap<i64, (i64, &str)> = new
        .iter()
        .filter_map(|alert| {
            Some((alert.reservation.id, (*ids.get(&alert.dedup_key)?, alert.dedup_key.as_str())))
        })
        .collect();
    let spoken = changes.iter().map(|(due, change)| (&due.reservation, speaks_of(change, due)));
    let said = Said::of(connection, spoken)?;
    let down =
        last_count.now(connection, counted, new.iter().filter(|alert| !alert.closed).count() as i64)?;
    let over = changes.iter().filter(|(_, change)| matches!(change, Change::Recover | Change::Withdraw(_)));
    let over: Vec<i64> = over.filter_map(|(due, _)| due.alert.as_ref().map(|alert| alert.open.id)).collect();
    let reached = outbox::reached(connection, &over)?;
    // Of what comes back together none is down beside the others.
    let down = last_count.keep(down, over.len() as i64);
    let mut messages: Vec<(i64, NewDelivery)> = Vec::new();
    for (due, change) in changes {
        let reservation = &due.reservation;
        let known =
            due.alert.as_ref().map(|alert| (alert.open.id, alert.dedup_key.as_str(), alert.open.opened_at));
        let new = opened.get(&reservation.id).map(|(id, key)| (*id, *key, now));
        let Some((alert_id, dedup_key, opened_at)) = new.or(known) else { continue };
        let (event, reason) = match (change, &due.alert) {
            (Change::Open(reason), _) => (EventKind::Opened, reason),
            (Change::OpenAndRecover(reason), _) => (EventKind::OpenedAndRecovered, reason),
            (Change::Remind, Some(alert)) => (EventKind::Reminder, &alert.open.reason),
            (Change::Recover | Change::Withdraw(_), Some(alert)) => {
                (EventKind::Recovered, &alert.open.reason)
            }
            _ => continue,
        };
        let ending = match change {
            Change::Withdraw(because) => Some(because.as_str()),
            _ => None,
        };
        if ending.is_some() {
            forget_told(connection, reservation.id, opened_at)?;
        }
        match event {
            EventKind::Opened => swept.opened += 1,
            EventKind::OpenedAndRecovered => {
                (swept.opened, swept.closed) = (swept.opened + 1, swept.closed + 1)
            }
            EventKind::Reminder => {
                swept.reminded += 1;
                diesel::update(alerts::table.filter(alerts::id.eq(alert_id)))
                    .set(alerts::told_at.eq(ms(now)))
                    .execute(connection)?;
            }
            _ => {
                swept.closed += 1;
                diesel::update(alerts::table.filter(alerts::id.eq(alert_id)))
                    .set((alerts::closed_at.eq(Some(ms(now))), alerts::ending.eq(ending)))
                    .execute(connection)?;
            }
        }
        let behind = if reservation.terms.is_site { count_behind(connection, reservation)? } else { 0 };
        let Last { notes, took, usual } = said.by(reservation.id);
        let reached = reached.get(&alert_id).map_or(&[][..], Vec::as_slice);
        let told = Told {
            event,
            reservation,
            reason,
            alert_id,
            dedup_key,
            opened_at,
            notes,
            took: *took,
            usual: *usual,
            others_down: down.beside(matches!(event, EventKind::Opened | EventKind::Reminder)),
            jobs: down.jobs,
            behind,
            reached,
            ending,
            now,
        };
        messages.extend(tell(&told).into_iter().map(|delivery| (alert_id, delivery)));
    }
    for (_, message) in &messages {
        *swept.deliveries.entry(message.alerter.clone()).or_default() += 1;
    }
    outbox::put_all(connection, &messages, now)
}

/// The run of which this is told.
pub(crate) fn troubled(reason: &Reason) -> Of {
    match reason {
        Reason::Failed { .. } => Of::Failure,
        Reason::TooShort { .. } => Of::Ended,
        Reason::Missed { .. } | Reason::Overran { .. } => Of::Latest,
    }
}

/// Which of a job's runs the message about this change speaks of.
fn speaks_of(change: &Change, due: &Due) -> Of {
    match change {
        Change::Open(reason) | Change::OpenAndRecover(reason) => troubled(reason),
        Change::Remind => due.alert.as_ref().map_or(Of::Latest, |alert| troubled(&alert.open.reason)),
        Change::Recover => Of::Success,
        Change::Withdraw(_) | Change::None => Of::Latest,
    }
}

/// How many reservations were last seen from the address of this site.
pub(crate) fn count_behind(connection: &mut AnyConnection, site: &Reservation) -> Result<i64, StoreError> {
    if site.facts.last_source.is_empty() {
        return Ok(0);
    }
    Ok(reservations::table
        .inner_join(states::table)
        .filter(reservations::app.eq(site.terms.app.as_str()))
        .filter(states::last_source.eq(&site.facts.last_source))
        .filter(reservations::id.ne(site.id))
        .count()
        .get_result(connection)?)
}

/// Closes nothing and opens nothing: an alert row for each new alert, for both databases.
pub(crate) fn alert_columns(alert: &NewAlert<'_>) -> Result<(String, String), StoreError> {
    let reason = serde_json::to_string(alert.reason).map_err(|error| StoreError::Corrupt {
        table: "alerts",
        id: alert.reservation.id,
        problem: error.to_string(),
    })?;
    Ok((reason, alert.reason.sentence(alert.reservation.terms.schedule.zone())))
}

/// Text that a query brings back.
#[derive(QueryableByName)]
pub(crate) struct IdAndText {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Text)]
    pub text: String,
}
