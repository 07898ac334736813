//! Leases: what only one node may do at a time.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;

use crate::connection::AnyConnection;
use crate::rows::ms;
use crate::schema::leases;
use crate::{Store, StoreError};

impl Store {
    /// Takes the lease `name` for `span`, or prolongs it; false while another node holds it. On Postgres the database's clock alone
    /// counts, so that no node's clock can take a lease early; on SQLite `now` does.
    pub fn take_lease(
        &self,
        name: &str,
        holder: &str,
        span: TimeDelta,
        now: Time,
    ) -> Result<bool, StoreError> {
        let connection = &mut *self.get()?;
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

    /// Gives the lease back, if it is held.
    pub fn give_lease_back(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        diesel::delete(leases::table.filter(leases::name.eq(name)).filter(leases::holder.eq(holder)))
            .execute(&mut *self.get()?)?;
        Ok(())
    }

    /// The node that took the lease last, whether it still holds it or not.
    pub fn lease_holder(&self, name: &str) -> Result<Option<String>, StoreError> {
        let connection = &mut *self.get()?;
        Ok(leases::table.filter(leases::name.eq(name)).select(leases::holder).first(connection).optional()?)
    }
}
