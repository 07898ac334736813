//! Who was notified of an alert.

use std::collections::HashMap;

use diesel::prelude::*;
use innkeeper_core::notice::{DeliveryState, EventKind};

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::schema::deliveries;

/// A recipient of a message that an alert has opened, or of a reminder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The alerter's name.
    pub alerter: String,
    /// The mail address. Empty if the alerter has a single recipient.
    pub recipient: String,
    /// Whether a message to the recipient still waits to be sent.
    pub waits: bool,
}

/// Who was notified of each of these alerts. Messages that were given up do not count.
pub(crate) fn reached(
    connection: &mut AnyConnection,
    alert_ids: &[i64],
) -> Result<HashMap<i64, Vec<Reached>>, StoreError> {
    if alert_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(Option<i64>, String, String, String)> = deliveries::table
        .filter(deliveries::alert_id.eq_any(alert_ids.iter().map(|id| Some(*id)).collect::<Vec<_>>()))
        .filter(
            deliveries::event.eq_any([EventKind::Opened, EventKind::Reminder].map(|event| event.as_str())),
        )
        .filter(deliveries::state.ne(DeliveryState::Dead.as_str()))
        .select((deliveries::alert_id, deliveries::alerter, deliveries::recipient, deliveries::state))
        .distinct()
        .order((deliveries::alert_id, deliveries::alerter, deliveries::recipient, deliveries::state))
        .load(connection)?;
    let mut all: HashMap<i64, Vec<Reached>> = HashMap::new();
    for (alert_id, alerter, recipient, state) in rows {
        let Some(alert_id) = alert_id else { continue };
        let of_it = all.entry(alert_id).or_default();
        let waits = state == DeliveryState::Waiting.as_str();
        match of_it.iter_mut().find(|known| known.alerter == alerter && known.recipient == recipient) {
            Some(known) => known.waits |= waits,
            None => of_it.push(Reached { alerter, recipient, waits }),
        }
    }
    Ok(all)
}
