//! Lists of all reservations, in the shapes of the older protocols.
//!
//! A list is written in one go from one snapshot of the database, then sent from where it was written ([`Spool`]): however long it is and however slowly
//! it is read, it takes little memory and holds up nobody.

use actix_web::HttpResponse;
use actix_web::web::Data;
use innkeeper_core::Time;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::names::AppName;
use innkeeper_http::{ApiError, Caller, ListSpool, Spooled, with_warning_of};
use innkeeper_store::LeftOut;
use serde::Serialize;

use crate::AppState;

/// The content type of a list.
pub(crate) const JSON: &str = "application/json";

/// Writes the reservations that the caller may see, or those of one app, as they stand now, latest check-in first: those of which `shape` makes something,
/// with commas between, and `end` behind them.
pub(crate) async fn reservations<T: Serialize>(
    app_state: &Data<AppState>,
    caller: &Caller,
    app: Option<AppName>,
    shape: impl Fn(Assessed, Time) -> Option<T> + Send + 'static,
    end: &'static str,
) -> Result<List, ApiError> {
    let (store, now, asker) = (app_state.store.clone(), app_state.clock.now(), caller.clone());
    let apps = match &app {
        Some(app) => Some(vec![app.to_string()]),
        None => caller.apps(),
    };
    let write = move |spool: &mut ListSpool| {
        let mut count = 0;
        let left_out = store.snapshot(now, |snapshot| {
            snapshot.latest_first(apps.as_deref(), |one| {
                if asker.covers(&one.reservation.spec.app).is_err() {
                    return Ok(());
                }
                let Some(shaped) = shape(one, now) else { return Ok(()) };
                spool.text(if count > 0 { "," } else { "" })?;
                count += 1;
                spool.json(&shaped)
            })
        })?;
        spool.text(end)?;
        Ok((count, left_out))
    };
    let (spooled, (count, mut left_out)) =
        app_state.spools.make(write).await.inspect_err(|error| app_state.failed(error))?;
    if caller.apps().is_some() {
        // A row of which not even the app can be read may be another's.
        left_out.named.retain(|one| caller.covers_named(&one.app).is_ok());
        left_out.count = left_out.named.len();
    }
    Ok(List { spooled, count, left_out })
}

/// A list that is written.
pub(crate) struct List {
    spooled: Spooled,
    /// How many reservations stand in it.
    pub count: usize,
    /// What could not be read.
    left_out: LeftOut,
}

impl List {
    /// The answer: `head` and the list behind it. A header warns of what is not in it: the shapes of these protocols have no place for that.
    pub fn answer(self, head: String) -> HttpResponse {
        let answer = self.spooled.answer(JSON, head);
        match self.left_out.line() {
            Some(line) => with_warning_of(answer, &line),
            None => answer,
        }
    }
}
