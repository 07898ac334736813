//! Lookup keys: how a check-in finds its reservation. One narrow table serves both names and ping
//! keys.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Bool, Uuid as SqlUuid};
use innkeeper_core::names::{AppName, ComponentName};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::StoreError;
use crate::connection::AnyConnection;

/// The lookup key of two names: the first half of the SHA-256 of the app, a zero byte (which no
/// name contains), and the component.
pub(crate) fn of_names(app: &AppName, component: &ComponentName) -> Uuid {
    let hash = Sha256::new()
        .chain_update(app.as_str())
        .chain_update([0])
        .chain_update(component.as_str())
        .finalize();
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    Uuid::from_bytes(half)
}

/// Both lookup keys of a reservation: that of its names, and its ping key.
pub(crate) fn of(app: &AppName, component: &ComponentName, key: Uuid) -> [Uuid; 2] {
    [of_names(app, component), key]
}

/// Adds the lookup keys of the reservation `id`, and makes its state, which also holds the keys.
pub(crate) fn open(
    connection: &mut AnyConnection,
    id: i64,
    lookup_keys: [Uuid; 2],
    wake_at: i64,
    eager: bool,
) -> Result<(), StoreError> {
    let lookup_key = "INSERT INTO lookup_keys (reservation_id, lookup_key) VALUES ($1, $2), ($1, $3)";
    let state = "INSERT INTO states (reservation_id, names_key, ping_key, wake_at, eager) VALUES ($1, $2, $3, $4, $5)";
    let [names, key] = lookup_keys;
    match connection {
        AnyConnection::Postgres(connection) => {
            let bound =
                |sql| sql_query(sql).bind::<BigInt, _>(id).bind::<SqlUuid, _>(names).bind::<SqlUuid, _>(key);
            bound(lookup_key).execute(connection)?;
            bound(state).bind::<BigInt, _>(wake_at).bind::<Bool, _>(eager).execute(connection)?;
        }
        AnyConnection::Sqlite(connection) => {
            let bound = |sql| {
                let [names, key] = [&names, &key].map(|lookup_key| lookup_key.as_bytes().as_slice());
                sql_query(sql).bind::<BigInt, _>(id).bind::<Binary, _>(names).bind::<Binary, _>(key)
            };
            bound(lookup_key).execute(connection)?;
            bound(state).bind::<BigInt, _>(wake_at).bind::<Bool, _>(eager).execute(connection)?;
        }
    }
    Ok(())
}

/// Removes these lookup keys.
pub(crate) fn close(connection: &mut AnyConnection, lookup_keys: &[Uuid]) -> Result<(), StoreError> {
    let delete = "DELETE FROM lookup_keys WHERE lookup_key = $1";
    for lookup_key in lookup_keys {
        match connection {
            AnyConnection::Postgres(connection) => {
                sql_query(delete).bind::<SqlUuid, _>(lookup_key).execute(connection)?
            }
            AnyConnection::Sqlite(connection) => {
                sql_query(delete).bind::<Binary, _>(lookup_key.as_bytes().as_slice()).execute(connection)?
            }
        };
    }
    Ok(())
}
