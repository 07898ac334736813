//! Tests whether check-ins can be written, by writing to the same tables and rolling back.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;
use uuid::Uuid;

use super::CheckInWriter;
use crate::StoreError;
use crate::connection::{AnyConnection, write_on};
use crate::rows::ms;

/// Which reservation the probe writes to.
#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

impl CheckInWriter {
    /// Writes what a check-in writes (a state, a row of the history, a run), and rolls it back.
    /// Uses no number of a sequence, and skips rows that another transaction has locked. On
    /// Postgres it waits at most two seconds for a lock.
    ///
    /// # Errors
    /// A `StoreError` that says why check-ins cannot be written. A single state that cannot be
    /// written is no error.
    pub fn probe(&mut self, now: Time) -> Result<(), StoreError> {
        match self.probe_at(End::First, now) {
            Err(error) if !error.is_unavailable() => self.probe_at(End::Last, now),
            done => done,
        }
    }

    fn probe_at(&mut self, end: End, now: Time) -> Result<(), StoreError> {
        let file = self.store.file().cloned();
        self.on_connection(|connection| {
            let mut written = false;
            let done = write_on(file.as_ref(), connection, |connection| {
                write(connection, end, now)?;
                written = true;
                Err::<(), StoreError>(DieselError::RollbackTransaction.into())
            });
            match done {
                Err(StoreError::Refused(DieselError::RollbackTransaction)) if written => Ok(()),
                done => done,
            }
        })
    }
}

fn write(connection: &mut AnyConnection, end: End, now: Time) -> Result<(), StoreError> {
    let lock = match connection {
        AnyConnection::Postgres(connection) => {
            connection
                .batch_execute("SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '2500ms'")?;
            "FOR UPDATE SKIP LOCKED"
        }
        AnyConnection::Sqlite(_) => "",
    };
    let order = match end {
        End::First => "ASC",
        End::Last => "DESC",
    };
    let one: Option<OneId> = sql_query(format!(
        "SELECT reservation_id AS id FROM states ORDER BY reservation_id {order} LIMIT 1 {lock}"
    ))
    .get_result(connection)
    .optional()?;
    if let Some(OneId { id }) = one {
        sql_query("UPDATE states SET checkins = checkins WHERE reservation_id = $1")
            .bind::<BigInt, _>(id)
            .execute(connection)?;
        sql_query("INSERT INTO runs (reservation_id, run_id, started_at) VALUES ($1, $2, $3)")
            .bind::<BigInt, _>(id)
            .bind::<Text, _>(Uuid::new_v4().to_string())
            .bind::<BigInt, _>(ms(now))
            .execute(connection)?;
    }
    // Check-ins have positive ids, so this one belongs to none.
    let id = -1 - (Uuid::new_v4().as_u64_pair().0 >> 2).cast_signed();
    let system = match connection {
        AnyConnection::Postgres(_) => "OVERRIDING SYSTEM VALUE",
        AnyConnection::Sqlite(_) => "",
    };
    sql_query(format!(
        "INSERT INTO checkins (id, reservation_id, at, kind, source, notes, number) {system}
         VALUES ($1, 0, $2, 'log', '', '', 0)"
    ))
    .bind::<BigInt, _>(id)
    .bind::<BigInt, _>(ms(now))
    .execute(connection)?;
    Ok(())
}

#[derive(QueryableByName)]
struct OneId {
    #[diesel(sql_type = BigInt)]
    id: i64,
}
