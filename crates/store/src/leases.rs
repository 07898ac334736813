//! Leases: each names a task that only one node may do at a time.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;

use crate::connection::AnyConnection;
use crate::rows::ms;
use crate::schema::{leases, nodes};
use crate::{Store, StoreError};

/// On SQLite a holder keeps its lease without writing it for this long after its latest stored
/// heartbeat. Heartbeats are stored every fifteen seconds.
const HELD: TimeDelta = TimeDelta::seconds(20);
/// On SQLite no other node takes the lease for this long after the holder's latest stored
/// heartbeat. By then the holder has stopped, or has written the lease itself.
const BEATS: TimeDelta = TimeDelta::seconds(28);

impl Store {
    /// Takes the lease `name` for `span`, or prolongs it. Returns false while another node holds
    /// it. On Postgres only the database's clock counts, so that no node with a wrong clock takes a
    /// lease early. On SQLite `now` counts; there a node keeps its lease as long as its heartbeats
    /// go on, so that it need not be written each second.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn take_lease(
        &self,
        name: &str,
        holder: &str,
        span: TimeDelta,
        now: Time,
    ) -> Result<bool, StoreError> {
        let connection = &mut *self.get()?;
        if let AnyConnection::Sqlite(_) = connection
            && let Some((known, beat_at)) = holder_that_beats(connection, name, now)?
        {
            if known != holder {
                return Ok(false);
            }
            if beat_at > ms(now - HELD) {
                return Ok(true);
            }
        }
        let clock = match connection {
            AnyConnection::Postgres(_) => "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT + 0 * $3",
            AnyConnection::Sqlite(_) => "$3",
        };
        let taken = sql_query(format!(
            "INSERT INTO leases (name, holder, until_at) VALUES ($1, $2, {clock} + $4)
             ON CONFLICT (name) DO UPDATE
             SET holder = excluded.holder, until_at = excluded.until_at
             WHERE leases.holder = excluded.holder OR leases.until_at <= {clock}"
        ))
        .bind::<Text, _>(name)
        .bind::<Text, _>(holder)
        .bind::<BigInt, _>(ms(now))
        .bind::<BigInt, _>(span.num_milliseconds())
        .execute(connection)?;
        Ok(taken > 0)
    }

    /// Gives the lease back, if `holder` holds it.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn give_lease_back(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        diesel::delete(leases::table.filter(leases::name.eq(name)).filter(leases::holder.eq(holder)))
            .execute(&mut *self.get()?)?;
        Ok(())
    }

    /// The node that took the lease last, whether it still holds it or not.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn lease_holder(&self, name: &str) -> Result<Option<String>, StoreError> {
        let connection = &mut *self.get()?;
        Ok(leases::table.filter(leases::name.eq(name)).select(leases::holder).first(connection).optional()?)
    }
}

/// The holder of the lease and its latest heartbeat, if it is a node whose heartbeats go on.
fn holder_that_beats(
    connection: &mut AnyConnection,
    name: &str,
    now: Time,
) -> Result<Option<(String, i64)>, StoreError> {
    Ok(leases::table
        .inner_join(nodes::table.on(nodes::id.eq(leases::holder)))
        .filter(leases::name.eq(name))
        .filter(nodes::goodbye_at.is_null())
        .filter(nodes::beat_at.gt(ms(now - BEATS)))
        .filter(nodes::beat_at.le(ms(now)))
        .select((leases::holder, nodes::beat_at))
        .first(connection)
        .optional()?)
}
