//! What does not belong to one reservation's facts: messages, closed alerts, heartbeats, windows, visits, the log.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::rewind::Rewind;

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::rows::ms;
use crate::schema::deliveries;

/// Messages of one transaction.
const BATCH: i64 = 5000;
/// No lease lasts longer: one that ends later was taken by the clock that was ahead.
const LONGEST_LEASE: TimeDelta = TimeDelta::minutes(10);
/// Nor does one of what only one node may do.
const LONGEST_TURN: TimeDelta = TimeDelta::minutes(1);
/// No link for a password lasts longer.
const LONGEST_INVITATION: TimeDelta = TimeDelta::days(1);

/// The columns that say when something was, by their table; those of reservations stand in `reservations.rs`.
const PAST: [(&str, &[&str]); 15] = [
    ("alerts", &["opened_at", "told_at", "closed_at", "success_before"]),
    ("nodes", &["started_at", "beat_at", "goodbye_at", "told_at", "written_until_at", "proved_at"]),
    ("duties", &["beat_at", "told_at", "wanted_at"]),
    ("unjudged", &["since_at", "again_at"]),
    ("outages", &["since_at", "told_at"]),
    ("blind_windows", &["from_at", "until_at"]),
    ("checks", &["since_at", "checked_at"]),
    ("users", &["created_at"]),
    ("sessions", &["created_at", "seen_at"]),
    ("login_failures", &["last_at"]),
    ("tokens", &["created_at", "used_at"]),
    ("checkouts", &["checked_out_at"]),
    ("shares", &["created_at"]),
    ("audit", &["at"]),
    ("clock_steps", &["at", "ended_at"]),
];

/// Rewinds the next messages after `after`; returns the last of them, or none when there are none left.
pub(super) fn rewind_deliveries(
    connection: &mut AnyConnection,
    rewind: &Rewind,
    after: i64,
) -> Result<Option<i64>, StoreError> {
    let last: Option<i64> = deliveries::table
        .filter(deliveries::id.gt(after))
        .order(deliveries::id)
        .limit(BATCH)
        .select(deliveries::id)
        .load::<i64>(connection)?
        .last()
        .copied();
    let Some(last) = last else { return Ok(None) };
    let now = ms(rewind.now);
    let longest = ms(rewind.now + LONGEST_LEASE);
    let (created, finished) = (back("created_at", rewind), back("finished_at", rewind));
    // What is to be tried later is tried as much later, or now.
    let next = ahead("next_at", rewind);
    sql_query(format!(
        "UPDATE deliveries
         SET created_at = {created}, finished_at = {finished}, next_at = {next},
             lease_until = CASE WHEN lease_until > {longest} THEN {now} ELSE lease_until END
         WHERE id > $1 AND id <= $2
           AND (created_at > {now} OR finished_at > {now} OR next_at > {now} OR lease_until > {longest})"
    ))
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(last)
    .execute(connection)?;
    Ok(Some(last))
}

/// Rewinds everything else.
pub(super) fn rewind_rest(connection: &mut AnyConnection, rewind: &Rewind) -> Result<(), StoreError> {
    let now = ms(rewind.now);
    // Only what was snoozed while the clock was ahead, which the log still says: it moves below.
    let snoozed_until = ahead("snoozed_until", rewind);
    sql_query(format!(
        "UPDATE duties SET snoozed_until = {snoozed_until}
         WHERE snoozed_until > {now}
           AND EXISTS (SELECT 1 FROM audit WHERE action = 'snooze duty' AND subject = duties.name AND at > {now})"
    ))
    .execute(connection)?;
    for (table, columns) in PAST {
        let set: Vec<String> =
            columns.iter().map(|column| format!("{column} = {}", back(column, rewind))).collect();
        let late: Vec<String> = columns.iter().map(|column| format!("{column} > {now}")).collect();
        sql_query(format!("UPDATE {table} SET {} WHERE {}", set.join(", "), late.join(" OR ")))
            .execute(connection)?;
    }
    // A window that was nothing but the step.
    sql_query("DELETE FROM blind_windows WHERE until_at <= from_at").execute(connection)?;
    // Whoever holds it prolongs it within a second.
    sql_query("UPDATE leases SET until_at = $1 WHERE until_at > $2")
        .bind::<BigInt, _>(now)
        .bind::<BigInt, _>(ms(rewind.now + LONGEST_TURN))
        .execute(connection)?;
    let longest = ms(rewind.now + LONGEST_INVITATION);
    sql_query("UPDATE invitations SET expires_at = $1 WHERE expires_at > $1")
        .bind::<BigInt, _>(longest)
        .execute(connection)?;
    Ok(())
}

/// Where a time goes that has been.
fn back(column: &str, rewind: &Rewind) -> String {
    let (now, by) = (ms(rewind.now), rewind.by.num_milliseconds());
    // What is NULL stays so.
    format!(
        "CASE WHEN {column} > {now} AND {column} - {by} >= {now} THEN {now} WHEN {column} > {now} THEN {column} - {by} ELSE {column} END"
    )
}

/// Where a time goes that is to come.
fn ahead(column: &str, rewind: &Rewind) -> String {
    let (now, by) = (ms(rewind.now), rewind.by.num_milliseconds());
    format!(
        "CASE WHEN {column} > {now} AND {column} - {by} >= {now} THEN {column} - {by} WHEN {column} > {now} THEN {now} ELSE {column} END"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use diesel::sql_types::Text;

    use super::*;
    use crate::{Store, StoreConfig};

    /// Moved elsewhere: by `reservations.rs`, or above in a way of its own.
    const OTHERWISE: [&str; 18] = [
        "checkins.at",
        "deliveries.created_at",
        "deliveries.finished_at",
        "deliveries.lease_until",
        "deliveries.next_at",
        "duties.snoozed_until",
        "invitations.expires_at",
        "leases.until_at",
        "reservations.created_at",
        "runs.ended_at",
        "runs.started_at",
        "states.last_checkin_at",
        "states.last_fail_at",
        "states.last_seen_at",
        "states.last_start_at",
        "states.runs_over_at",
        "states.short_at",
        "states.snoozed_until",
    ];
    /// Is pulled to now, or stays: what somebody wished for, or what is only compared.
    const STAY: [&str; 3] = ["reservations.updated_at", "states.wake_at", "tokens.expires_at"];

    #[derive(QueryableByName)]
    struct Column {
        #[diesel(sql_type = Text)]
        name: String,
    }

    #[test]
    fn every_time_that_is_stored_has_a_way_back() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("innkeeper.db").display());
        let store = Store::connect(&StoreConfig { url, pool_size: 2 }).unwrap();
        store.migrate().unwrap();
        let columns: Vec<Column> = sql_query(
            "SELECT tables.name || '.' || columns.name AS name
             FROM sqlite_master tables, pragma_table_info(tables.name) columns
             WHERE tables.type = 'table'
               AND ('_' || columns.name GLOB '*_at' OR columns.name GLOB '*_until' OR columns.name GLOB '*_before')",
        )
        .load(&mut *store.get().unwrap())
        .unwrap();
        let stored: BTreeSet<String> = columns.into_iter().map(|column| column.name).collect();
        let moved = PAST
            .iter()
            .flat_map(|(table, columns)| columns.iter().map(move |column| format!("{table}.{column}")));
        let known: BTreeSet<String> =
            moved.chain(OTHERWISE.iter().chain(&STAY).map(|name| (*name).to_owned())).collect();
        assert_eq!(
            stored, known,
            "a new time: say in PAST, or here, what becomes of it when the clock returns from ahead"
        );
    }
}
