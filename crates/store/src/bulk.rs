//! Writing many rows at once: arrays for Postgres, small statements for SQLite.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::alert::Reason;
use innkeeper_core::reservation::{Conclusions, Reservation};

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::readable::IdAndText;
use crate::rows::{ms, snoozes_text};
use crate::schema::states;

/// Writes the sweeper's conclusions, each with the number of its reservation.
pub(crate) fn write_conclusions(
    connection: &mut AnyConnection,
    rows: &[(i64, &Conclusions)],
) -> Result<(), StoreError> {
    match connection {
        AnyConnection::Postgres(connection) => {
            sql_query(
                "UPDATE states s
                 SET status = new.status, wake_at = new.wake_at, snoozed_until = new.snoozed_until,
                     fails_seen = new.fails_seen, checkins_seen = new.checkins_seen,
                     fail_streak = new.fail_streak, short_at = new.short_at, eager = new.eager,
                     snoozes = new.snoozes, heard_at = new.heard_at, changed = new.changed,
                     reported_late = new.reported_late, unexpected_at = new.unexpected_at,
                     unexpected_figures = new.unexpected_figures,
                     unexpected_checkin = new.unexpected_checkin
                 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
                      AS new (id, status, wake_at, snoozed_until, fails_seen, checkins_seen, fail_streak, short_at, eager,
                          snoozes, heard_at, changed, reported_late, unexpected_at, unexpected_figures, unexpected_checkin)
                 WHERE s.reservation_id = new.id",
            )
            .bind::<Array<BigInt>, _>(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(rows.iter().map(|(_, row)| row.status.as_str()).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(rows.iter().map(|(_, row)| ms(row.wake_at)).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(rows.iter().map(|(_, row)| row.snoozes.last_until().map(ms)).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(rows.iter().map(|(_, row)| row.fails_seen).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(rows.iter().map(|(_, row)| row.checkins_seen).collect::<Vec<_>>())
            .bind::<Array<BigInt>, _>(rows.iter().map(|(_, row)| row.fail_streak).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(rows.iter().map(|(_, row)| row.short_at.map(ms)).collect::<Vec<_>>())
            .bind::<Array<Bool>, _>(rows.iter().map(|(_, row)| row.eager).collect::<Vec<_>>())
            .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|(_, row)| snoozes_text(&row.snoozes)).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(rows.iter().map(|(_, row)| row.heard_at.map(ms)).collect::<Vec<_>>())
            .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|(_, row)| row.changed.as_deref()).collect::<Vec<_>>())
            .bind::<Array<Bool>, _>(rows.iter().map(|(_, row)| row.reported_late).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(rows.iter().map(|(_, row)| unexpected_at(row)).collect::<Vec<_>>())
            .bind::<Array<Nullable<Text>>, _>(rows.iter().map(|(_, row)| unexpected_figures(row)).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(rows.iter().map(|(_, row)| unexpected_checkin(row)).collect::<Vec<_>>())
            .execute(connection)?;
        }
        AnyConnection::Sqlite(connection) => {
            for (id, row) in rows {
                diesel::update(states::table.filter(states::reservation_id.eq(*id)))
                    .set((
                        states::status.eq(row.status.as_str()),
                        states::wake_at.eq(ms(row.wake_at)),
                        states::snoozed_until.eq(row.snoozes.last_until().map(ms)),
                        states::fails_seen.eq(row.fails_seen),
                        states::checkins_seen.eq(row.checkins_seen),
                        states::fail_streak.eq(row.fail_streak),
                        states::short_at.eq(row.short_at.map(ms)),
                        states::eager.eq(row.eager),
                        states::snoozes.eq(snoozes_text(&row.snoozes)),
                        states::heard_at.eq(row.heard_at.map(ms)),
                        states::changed.eq(&row.changed),
                        states::reported_late.eq(row.reported_late),
                        states::unexpected_at.eq(unexpected_at(row)),
                        states::unexpected_figures.eq(unexpected_figures(row)),
                        states::unexpected_checkin.eq(unexpected_checkin(row)),
                    ))
                    .execute(connection)?;
            }
        }
    }
    Ok(())
}

fn unexpected_at(row: &Conclusions) -> Option<i64> {
    row.unexpected.as_ref().map(|unexpected| ms(unexpected.at))
}

fn unexpected_checkin(row: &Conclusions) -> Option<i64> {
    row.unexpected.as_ref().map(|unexpected| unexpected.checkin_id)
}

fn unexpected_figures(row: &Conclusions) -> Option<&str> {
    row.unexpected.as_ref().map(|unexpected| unexpected.figures.as_str())
}

/// An alert to insert.
pub(crate) struct NewAlert<'a> {
    pub reservation: &'a Reservation,
    pub reason: &'a Reason,
    pub dedup_key: String,
    pub closed: bool,
}

impl NewAlert<'_> {
    /// The columns `reason` and `sentence`.
    fn columns(&self) -> Result<(String, String), StoreError> {
        let reason = serde_json::to_string(self.reason).map_err(|error| StoreError::Corrupt {
            table: "alerts",
            id: self.reservation.id,
            problem: error.to_string(),
        })?;
        Ok((reason, self.reason.sentence(self.reservation.spec.schedule.zone())))
    }
}

/// Inserts alerts; returns their ids by `dedup_key`.
pub(crate) fn insert_alerts(
    connection: &mut AnyConnection,
    new: &[NewAlert<'_>],
    now: Time,
) -> Result<HashMap<String, i64>, StoreError> {
    if new.is_empty() {
        return Ok(HashMap::new());
    }
    let columns = new.iter().map(NewAlert::columns).collect::<Result<Vec<_>, _>>()?;
    let now = ms(now);
    let rows: Vec<IdAndText> = match connection {
        AnyConnection::Postgres(connection) => {
            fn texts<'a>(
                new: &'a [NewAlert<'_>],
                text: impl Fn(&'a NewAlert<'_>) -> &'a str,
            ) -> Vec<&'a str> {
                new.iter().map(text).collect()
            }
            sql_query(
                "INSERT INTO alerts (reservation_id, app, component, owner, cause, reason, sentence, dedup_key,
                     opened_at, told_at, closed_at, success_before)
                 SELECT id, app, component, owner, cause, reason, sentence, dedup_key, $11, $11, closed_at, success
                 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                      AS new (id, app, component, owner, cause, reason, sentence, dedup_key, closed_at, success)
                 RETURNING id, dedup_key AS text",
            )
            .bind::<Array<BigInt>, _>(new.iter().map(|alert| alert.reservation.id).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(texts(new, |alert| alert.reservation.spec.app.as_str()))
            .bind::<Array<Text>, _>(texts(new, |alert| alert.reservation.spec.component.as_str()))
            .bind::<Array<Text>, _>(texts(new, |alert| &alert.reservation.spec.owner))
            .bind::<Array<Text>, _>(texts(new, |alert| alert.reason.cause().as_str()))
            .bind::<Array<Text>, _>(columns.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(columns.iter().map(|(_, sentence)| sentence.as_str()).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(texts(new, |alert| &alert.dedup_key))
            .bind::<Array<Nullable<BigInt>>, _>(new.iter().map(|alert| alert.closed.then_some(now)).collect::<Vec<_>>())
            .bind::<Array<Nullable<BigInt>>, _>(
                new.iter().map(|alert| alert.reservation.facts.last_checkin_at.map(ms)).collect::<Vec<_>>(),
            )
            .bind::<BigInt, _>(now)
            .load(connection)?
        }
        AnyConnection::Sqlite(connection) => {
            let mut rows = Vec::with_capacity(new.len());
            for (alert, (reason, sentence)) in new.iter().zip(&columns) {
                let spec = &alert.reservation.spec;
                rows.push(
                    sql_query(
                        "INSERT INTO alerts (reservation_id, app, component, owner, cause, reason, sentence, dedup_key,
                             opened_at, told_at, closed_at, success_before)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11)
                         RETURNING id, dedup_key AS text",
                    )
                    .bind::<BigInt, _>(alert.reservation.id)
                    .bind::<Text, _>(spec.app.as_str())
                    .bind::<Text, _>(spec.component.as_str())
                    .bind::<Text, _>(&spec.owner)
                    .bind::<Text, _>(alert.reason.cause().as_str())
                    .bind::<Text, _>(reason)
                    .bind::<Text, _>(sentence)
                    .bind::<Text, _>(&alert.dedup_key)
                    .bind::<BigInt, _>(now)
                    .bind::<Nullable<BigInt>, _>(alert.closed.then_some(now))
                    .bind::<Nullable<BigInt>, _>(alert.reservation.facts.last_checkin_at.map(ms))
                    .get_result(connection)?,
                );
            }
            rows
        }
    };
    Ok(rows.into_iter().map(|row| (row.text, row.id)).collect())
}
