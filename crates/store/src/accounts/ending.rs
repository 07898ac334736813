//! Ends sessions and pending logins, and removes second factors.

use diesel::prelude::*;

use super::rows::replace_recovery_codes;
use crate::StoreError;
use crate::connection::AnyConnection;
use crate::schema::{ceremonies, passkeys, pending_logins, sessions, totp, totp_setups};

/// Ends every session of a user, their pending logins, and set-ups of an authenticator app. Returns
/// how many sessions ended.
pub(crate) fn end_sessions(connection: &mut AnyConnection, user_id: i64) -> Result<usize, StoreError> {
    end_other_sessions(connection, user_id, "")
}

/// As [`end_sessions`], but `session` does not end, and neither does a set-up in it.
pub(crate) fn end_other_sessions(
    connection: &mut AnyConnection,
    user_id: i64,
    session: &str,
) -> Result<usize, StoreError> {
    end_pending_logins(connection, user_id)?;
    let setups = totp_setups::table.filter(totp_setups::user_id.eq(user_id));
    diesel::delete(setups.filter(totp_setups::session.ne(session))).execute(connection)?;
    let sessions = sessions::table.filter(sessions::user_id.eq(user_id)).filter(sessions::hash.ne(session));
    Ok(diesel::delete(sessions).execute(connection)?)
}

/// Ends a pending login. Returns false if it had ended already.
pub(crate) fn end_pending_login(connection: &mut AnyConnection, login: &str) -> Result<bool, StoreError> {
    let ended =
        diesel::delete(pending_logins::table.filter(pending_logins::hash.eq(login))).execute(connection)?;
    Ok(ended > 0)
}

/// Ends the pending logins of a user.
pub(crate) fn end_pending_logins(connection: &mut AnyConnection, user_id: i64) -> Result<(), StoreError> {
    diesel::delete(pending_logins::table.filter(pending_logins::user_id.eq(user_id))).execute(connection)?;
    Ok(())
}

/// Removes every second factor of a user, and their recovery codes. Returns how many factors there
/// were.
pub(crate) fn end_factors(connection: &mut AnyConnection, user_id: i64) -> Result<usize, StoreError> {
    let apps = diesel::delete(totp::table.filter(totp::user_id.eq(user_id))).execute(connection)?;
    let passkeys = remove_passkeys(connection, user_id)?;
    replace_recovery_codes(connection, user_id, &[])?;
    Ok(apps + passkeys)
}

/// Removes every passkey of a user, and their ceremonies that are under way. Returns how many
/// passkeys there were.
pub(crate) fn remove_passkeys(connection: &mut AnyConnection, user_id: i64) -> Result<usize, StoreError> {
    diesel::delete(ceremonies::table.filter(ceremonies::user_id.eq(user_id))).execute(connection)?;
    Ok(diesel::delete(passkeys::table.filter(passkeys::user_id.eq(user_id))).execute(connection)?)
}
