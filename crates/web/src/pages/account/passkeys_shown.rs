//! The passkeys of the user's own account, as its page shows them; also where this Innkeeper can do nothing with them.

use chrono_tz::Tz;
use innkeeper_core::Time;
use innkeeper_store::Passkey;

use crate::AppState;
use crate::pages::view::When;

/// What a page shows of passkeys.
pub(in crate::pages) struct PasskeysShown {
    pub rows: Vec<PasskeyRow>,
    /// Where they can be added and used; empty where they cannot.
    pub origin: String,
    /// Why they cannot.
    pub why_not: String,
    /// Whether those that are there can be changed.
    pub can_change: bool,
}

pub(in crate::pages) struct PasskeyRow {
    pub id: i64,
    pub name: String,
    pub added: When,
    pub used: Option<When>,
}

impl PasskeysShown {
    pub fn of(app_state: &AppState, passkeys: Vec<Passkey>, zone: Tz, now: Time) -> Self {
        let (origin, why_not) = match app_state.passkeys_at() {
            Ok(origin) => (origin.to_owned(), String::new()),
            Err(why) => (String::new(), why.to_owned()),
        };
        let row = |passkey: Passkey| PasskeyRow {
            id: passkey.id,
            name: passkey.name,
            added: When::new(passkey.created_at, zone, now),
            used: passkey.last_used_at.map(|at| When::new(at, zone, now)),
        };
        let rows = passkeys.into_iter().map(row).collect();
        Self { rows, origin, why_not, can_change: cfg!(feature = "passkeys") }
    }
}
