//! Gives up messages whose alerter no longer exists. The operator is told once. Open alerts of
//! which nobody was notified are reported anew, through the alerters that exist.

use std::collections::{BTreeSet, HashMap, HashSet};

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::notice::{DeliveryState, EventKind};
use innkeeper_core::ways::LOG;

use super::outages::{AllGivenUp, add_given_up, note_given_up};
use super::{put, put_all, reached};
use crate::alert_event::{AlertEvent, count_behind};
use crate::blind::Blindness;
use crate::connection::AnyConnection;
use crate::readable::list;
use crate::rows::ms;
use crate::said::{Counted, Down, LastNotes};
use crate::schema::{alerts, deliveries, outages, states};
use crate::sweep::{DueReservation, load_due};
use crate::{NewDelivery, Store, StoreError};

/// What the operator is told about an alerter that no longer exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoneAlerter {
    /// Its name.
    pub alerter: String,
    /// How many messages waited for it, without those to the operator.
    pub messages: i64,
    /// Reservations in the first batch whose open alert is reported anew, because nobody was
    /// notified of it.
    pub told_anew: Vec<String>,
}

/// How messages for an alerter that no longer exists are given up.
pub struct GivingUp<'a> {
    /// The most messages in one transaction.
    pub limit: i64,
    /// Messages that were put in after this time are kept.
    pub until: Time,
    /// Words the messages about an open alert of which nobody was notified.
    pub anew: &'a dyn Fn(&AlertEvent<'_>) -> Vec<NewDelivery>,
    /// Words the messages to the operator.
    pub operator: &'a dyn Fn(&GoneAlerter) -> Vec<NewDelivery>,
}

impl Store {
    /// The alerters for which messages wait, sorted by name.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn awaited_alerters(&self) -> Result<Vec<String>, StoreError> {
        let connection = &mut *self.get()?;
        let mut all: Vec<String> = Vec::new();
        loop {
            // One index look-up for each alerter: there may be many messages, but there are few
            // alerters.
            let next: Option<Name> = sql_query(
                "SELECT alerter FROM deliveries
                 WHERE state = 'waiting' AND alerter > $1
                 ORDER BY alerter, next_at, id LIMIT 1",
            )
            .bind::<Text, _>(all.last().map_or("", String::as_str))
            .get_result(connection)
            .optional()?;
            let Some(next) = next else { return Ok(all) };
            all.push(next.alerter);
        }
    }

    /// How many messages wait for `alerter`.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn waiting_for(&self, alerter: &str) -> Result<i64, StoreError> {
        Ok(deliveries::table
            .filter(deliveries::state.eq(DeliveryState::Waiting.as_str()))
            .filter(deliveries::alerter.eq(alerter))
            .count()
            .get_result(&mut *self.get()?)?)
    }

    /// Gives up messages that wait for `alerter`, which no longer exists. In the same transaction,
    /// open alerts of which nobody was notified are reported anew, and, if `is_first`, the operator
    /// is told how many messages wait. Messages that are being sent are left out, and so are those
    /// of a reservation that another transaction has locked. Returns how many messages were given
    /// up.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn give_up_for_gone(
        &self,
        alerter: &str,
        is_first: bool,
        now: Time,
        giving_up: &GivingUp<'_>,
    ) -> Result<usize, StoreError> {
        self.write(|connection| {
            let waiting = waiting(connection, alerter, giving_up, now)?;
            let of_alerts: BTreeSet<i64> = waiting.iter().filter_map(|row| row.alert_id).collect();
            let locked = lock_alerts(connection, &of_alerts)?;
            let ids: Vec<i64> = waiting
                .iter()
                .filter(|row| row.alert_id.is_none_or(|id| !locked.busy.contains(&id)))
                .map(|row| row.id)
                .collect();
            if ids.is_empty() {
                return Ok(0);
            }
            let mut gone = GoneAlerter { alerter: alerter.to_owned(), ..GoneAlerter::default() };
            if is_first {
                gone.messages = count(connection, alerter, giving_up.until, now)?;
            }
            let problem = format!("there is no alerter {alerter} any more");
            let mut counted = AllGivenUp::new();
            add_given_up(connection, &ids, &problem, false, &mut counted)?;
            note_given_up(connection, &counted)?;
            // The operator is told here, so the outage must not be told as well.
            diesel::update(outages::table.filter(outages::alerter.eq(alerter)))
                .set(outages::told_at.eq(Some(ms(now))))
                .execute(connection)?;
            let given_up = diesel::update(deliveries::table.filter(deliveries::id.eq_any(&ids)))
                .set((
                    deliveries::state.eq(DeliveryState::Dead.as_str()),
                    deliveries::problem.eq(Some(&problem)),
                    deliveries::finished_at.eq(Some(ms(now))),
                    deliveries::lease_until.eq(None::<i64>),
                    deliveries::lease_token.eq(None::<String>),
                ))
                .execute(connection)?;
            let mut messages = Vec::new();
            for (alert_id, name, new) in anew(connection, &locked.open, giving_up, now)? {
                gone.told_anew.push(name);
                messages.extend(new.into_iter().map(|delivery| (alert_id, delivery)));
            }
            put_all(connection, &messages, now)?;
            if gone.messages > 0 {
                for NewDelivery { alerter, recipient, notice } in (giving_up.operator)(&gone) {
                    put(connection, None, &alerter, &recipient, &notice, now)?;
                }
            }
            Ok(given_up)
        })
    }
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    alerter: String,
}

#[derive(QueryableByName)]
struct WaitingRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    alert_id: Option<i64>,
}

/// Locks the first messages that wait for the alerter and are not being sent.
fn waiting(
    connection: &mut AnyConnection,
    alerter: &str,
    giving_up: &GivingUp<'_>,
    now: Time,
) -> Result<Vec<WaitingRow>, StoreError> {
    let lock = match connection {
        AnyConnection::Postgres(_) => "FOR UPDATE SKIP LOCKED",
        AnyConnection::Sqlite(_) => "",
    };
    Ok(sql_query(format!(
        "SELECT id, alert_id
         FROM deliveries
         WHERE state = 'waiting'
           AND alerter = $1
           AND (lease_until IS NULL OR lease_until <= $2)
           AND created_at <= $3
         ORDER BY next_at, id
         LIMIT $4 {lock}"
    ))
    .bind::<Text, _>(alerter)
    .bind::<BigInt, _>(ms(now))
    .bind::<BigInt, _>(ms(giving_up.until))
    .bind::<BigInt, _>(giving_up.limit)
    .load(connection)?)
}

/// How many messages wait for the alerter and are not being sent, without those to the operator.
fn count(connection: &mut AnyConnection, alerter: &str, until: Time, now: Time) -> Result<i64, StoreError> {
    Ok(deliveries::table
        .filter(deliveries::state.eq(DeliveryState::Waiting.as_str()))
        .filter(deliveries::alerter.eq(alerter))
        .filter(deliveries::lease_until.is_null().or(deliveries::lease_until.le(ms(now))))
        .filter(deliveries::created_at.le(ms(until)))
        .filter(deliveries::event.ne(EventKind::Operator.as_str()))
        .count()
        .get_result(connection)?)
}

/// Which alerts can be reported anew, and which are busy.
#[derive(Default)]
struct Locked {
    /// The open ones: the alert's id and its reservation, which is locked.
    open: HashMap<i64, i64>,
    /// Those whose reservation another transaction has locked.
    busy: HashSet<i64>,
}

/// Locks the reservations of the open ones among these alerts. A sweep that closes one must know
/// who was notified of it.
fn lock_alerts(connection: &mut AnyConnection, ids: &BTreeSet<i64>) -> Result<Locked, StoreError> {
    let open = |connection: &mut AnyConnection| -> Result<Vec<(i64, i64)>, StoreError> {
        Ok(alerts::table
            .filter(alerts::id.eq_any(ids.iter().copied()))
            .filter(alerts::closed_at.is_null())
            .select((alerts::id, alerts::reservation_id))
            .load(connection)?)
    };
    let mut found = open(connection)?;
    if found.is_empty() {
        return Ok(Locked::default());
    }
    let AnyConnection::Postgres(_) = connection else {
        return Ok(Locked { open: found.into_iter().collect(), busy: HashSet::new() });
    };
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        reservation_id: i64,
    }
    let wanted: Vec<i64> = found.iter().map(|(_, reservation)| *reservation).collect();
    // Other transactions lock reservations before messages. Waiting here could deadlock, so skip
    // what is locked.
    let got: Vec<Id> = sql_query(format!(
        "SELECT reservation_id FROM states WHERE reservation_id IN ({}) ORDER BY reservation_id FOR UPDATE SKIP LOCKED",
        list(&wanted)
    ))
    .load(connection)?;
    let got: HashSet<i64> = got.into_iter().map(|id| id.reservation_id).collect();
    let there: HashSet<i64> = states::table
        .filter(states::reservation_id.eq_any(&wanted))
        .select(states::reservation_id)
        .load(connection)?
        .into_iter()
        .collect();
    let busy = |reservation: &i64| there.contains(reservation) && !got.contains(reservation);
    let busy = found.iter().filter(|(_, reservation)| busy(reservation)).map(|(id, _)| *id).collect();
    // Read again, because some may have closed before they were locked.
    found = open(connection)?;
    found.retain(|(_, reservation)| got.contains(reservation));
    Ok(Locked { open: found.into_iter().collect(), busy })
}

/// The messages about those of these alerts of which nobody was notified. Each entry has the
/// alert's id and the name of its reservation.
fn anew(
    connection: &mut AnyConnection,
    open: &HashMap<i64, i64>,
    giving_up: &GivingUp<'_>,
    now: Time,
) -> Result<Vec<(i64, String, Vec<NewDelivery>)>, StoreError> {
    let ids: Vec<i64> = open.keys().copied().collect();
    let heard = reached(connection, &ids)?;
    // The alerter `log` does not count, because every alert is written to the log.
    let is_heard = |id: &i64| heard.get(id).is_some_and(|all| all.iter().any(|one| one.alerter != LOG));
    let mut reservations: Vec<i64> =
        open.iter().filter(|(id, _)| !is_heard(id)).map(|(_, reservation)| *reservation).collect();
    reservations.sort_unstable();
    let (batch, unreadable) = load_due(connection, &reservations, Blindness::default(), now)?;
    let due = batch.due;
    for (id, problem) in unreadable {
        log::error!("the alert of reservation {id} is not told anew: {problem}");
    }
    let spoken =
        due.iter().filter_map(|due| Some((&due.reservation, due.alert.as_ref()?.open.reason.output_of())));
    let said = LastNotes::of(connection, spoken)?;
    let down = Down::now(connection, &Counted::default())?;
    let mut all = Vec::with_capacity(due.len());
    for DueReservation { reservation, alert, .. } in &due {
        let Some(alert) = alert else { continue };
        let behind = count_behind(connection, reservation)?;
        let last = said.by(reservation.id);
        let event = AlertEvent {
            kind: EventKind::Opened,
            reservation,
            reason: &alert.open.reason,
            alert_id: alert.open.id,
            dedup_key: &alert.dedup_key,
            opened_at: alert.open.opened_at,
            since: alert.open.reason.since(),
            notes: &last.notes,
            took: last.took,
            usual: last.usual,
            others_down: down.beside(true),
            jobs: down.jobs,
            behind,
            reached: &[],
            ending: None,
            answered: false,
            now,
        };
        let name = format!("{}/{}", reservation.spec.app, reservation.spec.component);
        all.push((alert.open.id, name, (giving_up.anew)(&event)));
    }
    Ok(all)
}
