//! Lists of all reservations, in the shapes of the older protocols.
//!
//! A list is written in one go from one snapshot of the database, then sent from where it was written ([`Spool`]): however long it is and however slowly
//! it is read, it takes little memory and holds up nobody.

use actix_web::web::Data;
use innkeeper_core::Time;
use innkeeper_core::names::AppName;
use innkeeper_core::sla::{Evaluation, evaluate};
use innkeeper_node::http::{ApiError, Caller, Spool, Spooled};
use innkeeper_store::Listed;
use serde::Serialize;

use crate::Desk;

/// The content type of a list.
pub(crate) const JSON: &str = "application/json";

/// A reservation and what is to be shown of it.
pub(crate) struct Shown {
    pub listed: Listed,
    pub evaluation: Evaluation,
}

/// Writes the reservations that the caller may see, or those of one app, as they stand now, latest check-in first: those of which `shape` makes something,
/// with commas between, and `end` behind them. Returns how many there are.
pub(crate) async fn reservations<T: Serialize>(
    desk: &Data<Desk>,
    caller: &Caller,
    app: Option<AppName>,
    shape: impl Fn(Shown, Time) -> Option<T> + Send + 'static,
    end: &'static str,
) -> Result<(Spooled, usize), ApiError> {
    let (store, now, caller) = (desk.store.clone(), desk.clock.now(), caller.clone());
    let apps = match &app {
        Some(app) => Some(vec![app.to_string()]),
        None => caller.apps(),
    };
    let write = move |spool: &mut Spool| {
        let mut count = 0;
        store.snapshot(now, |snapshot| {
            snapshot.latest_first(apps.as_deref(), |listed| {
                if caller.covers(&listed.reservation.terms.app).is_err() {
                    return Ok(());
                }
                let evaluation = evaluate(&listed.view(), now);
                let Some(shaped) = shape(Shown { listed, evaluation }, now) else { return Ok(()) };
                spool.text(if count > 0 { "," } else { "" })?;
                count += 1;
                spool.json(&shaped)
            })
        })?;
        spool.text(end)?;
        Ok(count)
    };
    desk.spools.make(write).await
}
