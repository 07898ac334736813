//! Moves the times outside of the facts of reservations: messages, closed alerts, heartbeats, blind
//! windows, sessions, the audit log and so on.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable};
use innkeeper_core::rewind::Rewind;

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::rows::ms;

/// No lease of a message is longer. One that ends later was taken while the clock was ahead.
const LONGEST_LEASE: TimeDelta = TimeDelta::minutes(10);
/// No lease of work that only one node may do is longer.
const LONGEST_TURN: TimeDelta = TimeDelta::minutes(1);
/// No invitation (a link by which a user sets a password) is valid for longer.
const LONGEST_INVITATION: TimeDelta = TimeDelta::days(1);

/// The tables that may be large. They are moved in batches by id.
pub(super) const LARGE: [&str; 3] = ["deliveries", "alerts", "audit"];
/// The other tables. Each is moved in one transaction.
pub(super) const SMALL: [&str; 22] = [
    "unjudged",
    "outages",
    "blind_windows",
    "checks",
    "users",
    "sessions",
    "login_failures",
    "openid_logins",
    "passkeys",
    "ceremonies",
    "tokens",
    "checkouts",
    "shares",
    "clock_steps",
    "invitations",
    "refusals",
    "pacing",
    "totp",
    "totp_setups",
    "pending_logins",
    "report_keys",
    "late_failures",
];
/// The tables of the nodes' heartbeats.
const HEARTBEATS: [&str; 2] = ["nodes", "duties"];

/// The columns with times in the past, by table. `reservations.rs` has those of reservations.
const PAST: [(&str, &[&str]); 25] = [
    ("alerts", &["opened_at", "told_at", "closed_at", "success_before", "answered_until"]),
    ("nodes", &["started_at", "beat_at", "goodbye_at", "told_at", "written_until_at", "proved_at"]),
    ("duties", &["beat_at", "told_at", "wanted_at"]),
    ("unjudged", &["since_at", "again_at"]),
    ("outages", &["since_at", "told_at"]),
    ("blind_windows", &["from_at", "until_at"]),
    ("checks", &["since_at", "checked_at"]),
    ("users", &["created_at"]),
    ("sessions", &["created_at", "seen_at"]),
    ("login_failures", &["last_at"]),
    ("openid_logins", &["began_at"]),
    // `used_at` stands for the time step of the last code. If it stayed ahead, every code would be
    // refused.
    ("totp", &["created_at", "used_at"]),
    ("totp_setups", &["created_at"]),
    ("pending_logins", &["created_at"]),
    ("passkeys", &["created_at", "last_used_at"]),
    ("ceremonies", &["began_at"]),
    ("tokens", &["created_at", "used_at"]),
    ("checkouts", &["checked_out_at"]),
    ("shares", &["created_at"]),
    ("audit", &["at"]),
    ("clock_steps", &["at", "ended_at"]),
    ("refusals", &["from_at", "until_at"]),
    ("report_keys", &["arrived_at"]),
    ("late_failures", &["noted_at"]),
    // Messages that are collected until a time that is to come are sent now.
    ("pacing", &["next_at", "sent_at", "sent_before_at"]),
];

/// The key of the last of the next `most` rows of a table after the key `after`.
pub(super) fn last_of(
    connection: &mut AnyConnection,
    table: &str,
    key: &str,
    after: i64,
    most: i64,
) -> Result<Option<i64>, StoreError> {
    let row: LastId = sql_query(format!(
        "SELECT max(key) AS last FROM (SELECT {key} AS key FROM {table} WHERE {key} > $1 ORDER BY {key} LIMIT $2) AS next"
    ))
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(most)
    .get_result(connection)?;
    Ok(row.last)
}

#[derive(QueryableByName)]
struct LastId {
    #[diesel(sql_type = Nullable<BigInt>)]
    last: Option<i64>,
}

/// Rewinds the next rows of a large table after the id `after`. Returns the id of the last one, or
/// `None` if there was none left.
pub(super) fn rewind_rows(
    connection: &mut AnyConnection,
    rewind: &Rewind,
    table: usize,
    after: i64,
    most: i64,
) -> Result<Option<i64>, StoreError> {
    let Some(table) = LARGE.get(table) else { return Ok(None) };
    let Some(last) = last_of(connection, table, "id", after, most)? else { return Ok(None) };
    if *table == "deliveries" {
        rewind_deliveries(connection, rewind, after, last)?;
    } else {
        rewind_past(connection, rewind, table, &format!("id > {after} AND id <= {last}"))?;
    }
    Ok(Some(last))
}

fn rewind_deliveries(
    connection: &mut AnyConnection,
    rewind: &Rewind,
    after: i64,
    last: i64,
) -> Result<(), StoreError> {
    let now = ms(rewind.now);
    let longest = ms(rewind.now + LONGEST_LEASE);
    let (created, finished) = (back("created_at", rewind), back("finished_at", rewind));
    // A message that is to be tried later is tried after the same wait, or now.
    let next = ahead("next_at", rewind);
    let is_late =
        ["created_at", "finished_at", "next_at"].map(|column| later(column, rewind.stays_ms())).join(" OR ");
    let is_taken = later("lease_until", longest);
    sql_query(format!(
        "UPDATE deliveries
         SET created_at = {created}, finished_at = {finished}, next_at = {next},
             lease_until = CASE WHEN {is_taken} THEN {now} ELSE lease_until END
         WHERE id > $1 AND id <= $2 AND ({is_late} OR {is_taken})"
    ))
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(last)
    .execute(connection)?;
    Ok(())
}

/// Rewinds a small table.
pub(super) fn rewind_table(
    connection: &mut AnyConnection,
    rewind: &Rewind,
    table: usize,
) -> Result<(), StoreError> {
    match SMALL.get(table).copied() {
        Some("invitations") => {
            let longest = ms(rewind.now + LONGEST_INVITATION);
            sql_query("UPDATE invitations SET expires_at = $1 WHERE expires_at > $1")
                .bind::<BigInt, _>(longest)
                .execute(connection)?;
        }
        Some(table) => {
            rewind_past(connection, rewind, table, "TRUE")?;
            if table == "blind_windows" {
                // Delete windows that only the step of the clock had made.
                sql_query("DELETE FROM blind_windows WHERE until_at <= from_at").execute(connection)?;
            }
        }
        None => {}
    }
    Ok(())
}

/// Rewinds the ends of the duties' snoozes that began while the clock was ahead, according to the
/// audit log. Their entries in the audit log move at the same time, so that a second pass finds
/// none.
pub(super) fn rewind_snoozed_duties(
    connection: &mut AnyConnection,
    rewind: &Rewind,
) -> Result<(), StoreError> {
    let (now, stays) = (ms(rewind.now), rewind.stays_ms());
    let snoozed_until = ahead("snoozed_until", rewind);
    let moved = sql_query(format!(
        "UPDATE duties SET snoozed_until = {snoozed_until}
         WHERE snoozed_until > {now}
           AND EXISTS (SELECT 1 FROM audit WHERE action = 'snooze duty' AND subject = duties.name AND at > {stays})"
    ))
    .execute(connection)?;
    if moved > 0 {
        rewind_past(connection, rewind, "audit", "action = 'snooze duty'")?;
    }
    Ok(())
}

/// Rewinds heartbeats and leases.
pub(super) fn rewind_heartbeats(connection: &mut AnyConnection, rewind: &Rewind) -> Result<(), StoreError> {
    for table in HEARTBEATS {
        rewind_past(connection, rewind, table, "TRUE")?;
    }
    // A holder that is alive renews its lease within a second.
    sql_query("UPDATE leases SET until_at = $1 WHERE until_at > $2")
        .bind::<BigInt, _>(ms(rewind.now))
        .bind::<BigInt, _>(ms(rewind.now + LONGEST_TURN))
        .execute(connection)?;
    Ok(())
}

/// Rewinds the times in the past in those rows of a table that fulfil the condition `which`.
fn rewind_past(
    connection: &mut AnyConnection,
    rewind: &Rewind,
    table: &str,
    which: &str,
) -> Result<(), StoreError> {
    let Some((_, columns)) = PAST.iter().find(|(name, _)| *name == table) else { return Ok(()) };
    let set: Vec<String> =
        columns.iter().map(|column| format!("{column} = {}", back(column, rewind))).collect();
    let late: Vec<String> = columns.iter().map(|column| later(column, rewind.stays_ms())).collect();
    sql_query(format!("UPDATE {table} SET {} WHERE {which} AND ({})", set.join(", "), late.join(" OR ")))
        .execute(connection)?;
    Ok(())
}

/// SQL that tells whether a column holds a time later than `than`. On SQLite any text is greater
/// than every number. The upper limit excludes texts, because they are no times.
fn later(column: &str, than: i64) -> String {
    format!("({column} > {than} AND {column} <= {})", i64::MAX)
}

/// SQL for the new value of a time in the past.
fn back(column: &str, rewind: &Rewind) -> String {
    let (now, by) = (ms(rewind.now), rewind.by.num_milliseconds());
    let late = later(column, rewind.stays_ms());
    // The comparisons are not true for NULL, so NULL stays NULL.
    format!(
        "CASE WHEN {late} AND {column} - {by} >= {now} THEN {now} WHEN {late} THEN {column} - {by} ELSE {column} END"
    )
}

/// SQL for the new value of a time in the future.
fn ahead(column: &str, rewind: &Rewind) -> String {
    let (now, by) = (ms(rewind.now), rewind.by.num_milliseconds());
    let late = later(column, rewind.stays_ms());
    format!(
        "CASE WHEN {late} AND {column} - {by} >= {now} THEN {column} - {by} WHEN {late} THEN {now} ELSE {column} END"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use diesel::sql_types::Text;

    use super::*;
    use crate::{Store, StoreConfig};

    /// Columns that `reservations.rs` moves, or that are moved above in their own way.
    const OTHERWISE: [&str; 23] = [
        "checkins.arrived_at",
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
        "runs.start_arrived_at",
        "runs.started_at",
        "runs.told_at",
        "states.heard_at",
        "states.last_checkin_at",
        "states.last_fail_at",
        "states.last_seen_at",
        "states.last_start_at",
        "states.runs_over_at",
        "states.short_at",
        "states.snoozed_until",
        "states.unexpected_at",
    ];
    /// Columns that do not move: they are set to now, or somebody chose the time, or it is only
    /// compared with others, or a statement writes it before it reads it.
    const STAY: [&str; 5] = [
        "late_failures.at",
        "reservations.updated_at",
        "states.runs_over_before",
        "states.wake_at",
        "tokens.expires_at",
    ];

    #[derive(QueryableByName)]
    struct Column {
        #[diesel(sql_type = Text)]
        name: String,
    }

    #[test]
    fn every_table_of_times_has_its_turn() {
        let turns: BTreeSet<&str> = LARGE.into_iter().chain(SMALL).chain(HEARTBEATS).collect();
        let past = PAST.iter().map(|(table, _)| *table);
        assert_eq!(turns, past.chain(["deliveries", "invitations"]).collect());
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
