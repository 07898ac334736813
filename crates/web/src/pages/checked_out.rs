//! The page of a reservation that is not there any more: when it was checked out, by whom, and the way back.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{Checkout, UNDO_WITHIN};

use super::frame::Frame;
use super::view::When;
use super::{ask, page};
use crate::AppState;

#[derive(Template)]
#[template(path = "checked_out.html")]
struct CheckedOutPage<'a> {
    frame: Frame<'a>,
    checkout: Checkout,
    /// Its names.
    name: String,
    /// By whom, as a sentence has it.
    by: String,
    at: When,
    /// Until when it can come back, where it can.
    until: Option<When>,
    /// The reservation that has its names by now.
    successor: Option<i64>,
}

/// The page in the place of that of reservation `id`, which there is not.
///
/// # Errors
/// That nothing is known of it, or the database's.
pub async fn show(app_state: &Data<AppState>, caller: &Caller, id: i64) -> Result<HttpResponse, ApiError> {
    let found = ask(app_state, move |app_state, now| {
        let undoable = app_state.store.checkout(id)?;
        let can_come_back = undoable.is_some();
        let Some(checkout) = undoable.map_or_else(|| app_state.store.past_checkout(id), |it| Ok(Some(it)))?
        else {
            return Ok(None);
        };
        let successor = app_state.store.id_of(&checkout.app, &checkout.component)?;
        Ok(Some((checkout, can_come_back, successor, now)))
    })
    .await?;
    let (checkout, can_come_back, successor, now) =
        found.ok_or_else(|| ApiError::NotFound("there is no such reservation".to_owned()))?;
    let zone = caller.zone_or(chrono_tz::UTC);
    let mut answer = page(&CheckedOutPage {
        frame: Frame::of(app_state, caller, "/checked-out"),
        by: match checkout.who.as_str() {
            "" | "anybody" => "an unknown person".to_owned(),
            who => who.to_owned(),
        },
        at: When::new(checkout.at, zone, now),
        until: can_come_back.then(|| When::new(checkout.at + UNDO_WITHIN, zone, now)),
        successor,
        name: match checkout.component.as_str() {
            "" => checkout.app.clone(),
            component => format!("{}/{component}", checkout.app),
        },
        checkout,
    })?;
    *answer.status_mut() = StatusCode::NOT_FOUND;
    Ok(answer)
}
