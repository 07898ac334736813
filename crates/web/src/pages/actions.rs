//! What can be done to a reservation with one button.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_core::ways::DeadEnd;
use innkeeper_core::{Invalid, Time, duration};
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{Accepted, Retried, Undone};

use super::form::Form;
use super::{change, see_other};
use crate::AppState;
use crate::api::{no_alerter, not_accepted};

/// The longest snooze.
const LONGEST_SNOOZE: TimeDelta = TimeDelta::days(365);

fn unknown() -> ApiError {
    ApiError::NotFound("there is no such reservation".to_owned())
}

/// The page of a reservation, which says what was done.
fn back(id: i64, said: &str) -> HttpResponse {
    see_other(&format!("/status/{id}?said={said}"))
}

/// Lets nothing alert on it for a while.
pub async fn snooze(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    let field = if form.text("other").is_empty() { "duration" } else { "other" };
    let mode = match form.text("mode") {
        "" => SnoozeMode::Quiet,
        word => SnoozeMode::parse("mode", word)?,
    };
    let span = duration::parse("duration", form.text(field))?;
    if span <= TimeDelta::zero() || span > LONGEST_SNOOZE {
        return Err(Invalid::new("duration", "give a time of at most 365 days, as in 2h or 3d").into());
    }
    let done = change(&app_state, &caller, move |store, now| store.snooze_by_id(id, now + span, mode, now));
    match done.await? {
        true => {
            app_state.look_again();
            Ok(back(id, if mode == SnoozeMode::Skip { "skipped" } else { "snoozed" }))
        }
        false => Err(unknown()),
    }
}

/// Ends its snooze: what is still true is told.
pub async fn resume(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    let is_asleep = |one: &Assessed, now: Time| one.reservation.conclusions.snoozed_until(now).is_some();
    let done = change(&app_state, &caller, move |store, now| match store.listed(id, now)? {
        None => Ok(false),
        Some(listed) if is_asleep(&listed, now) => store.resume_by_id(id, now),
        Some(_) => Ok(true),
    })
    .await?;
    if !done {
        return Err(unknown());
    }
    app_state.look_again();
    Ok(back(id, "resumed"))
}

/// Makes the figures of its latest success right from now on.
pub async fn accept_figures(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    match change(&app_state, &caller, move |store, now| store.accept_figures(id, now)).await? {
        Accepted::Done(_) => {
            app_state.look_again();
            Ok(back(id, "accepted"))
        }
        Accepted::Unknown => Err(unknown()),
        refused => Err(ApiError::Conflict(not_accepted(&refused))),
    }
}

/// Removes it; the list offers to take that back.
pub async fn check_out(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    match change(&app_state, &caller, move |store, now| store.check_out_by_id(id, now)).await? {
        true => {
            app_state.look_again();
            Ok(see_other(&format!("/status?checked_out={id}")))
        }
        false => Err(unknown()),
    }
}

/// Takes a check-out back.
pub async fn undo(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    match change(&app_state, &caller, move |store, now| store.undo_checkout(id, now)).await? {
        Undone::Done => {
            app_state.look_again();
            Ok(back(id, "back"))
        }
        Undone::Unknown => Err(ApiError::NotFound("there is nothing to undo any more".to_owned())),
        Undone::Taken { name } => Err(ApiError::Conflict(format!(
            "there is another reservation {name} by now; check that out first, then undo this"
        ))),
    }
}

/// What a test alert says.
#[derive(Template)]
#[template(path = "test_alert.txt")]
struct TestAlert<'a> {
    job: String,
    by: &'a str,
    schedule: &'a Schedule,
    dead_ends: Vec<DeadEnd>,
}

/// Sends a test alert to whoever hears of it, through the outbox, as a real one would go.
pub async fn test_alert(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let (id, by, shared) = (id.into_inner(), caller.actor().who, app_state.clone());
    let done = change(&app_state, &caller, move |store, now| {
        let Some(listed) = store.listed(id, now)? else { return Ok(false) };
        let spec = &listed.reservation.spec;
        let job = format!("{}/{}", spec.app, spec.component);
        let (schedule, dead_ends) = (&spec.schedule, shared.dead_ends(spec));
        let message = TestAlert { job, by: &by, schedule, dead_ends };
        let messages = shared.operator.deliveries_as_of(spec, message, now);
        store.put_notices(&messages, now)?;
        Ok(true)
    })
    .await?;
    if !done {
        return Err(unknown());
    }
    app_state.look_again();
    Ok(back(id, "tested"))
}

/// Tries a message again at once.
pub async fn retry(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    match change(&app_state, &caller, move |store, now| store.retry_delivery(id, now)).await? {
        // Delivered in between: that is what was wanted.
        Retried::Done | Retried::Delivered => {
            app_state.look_again();
            Ok(see_other("/deliveries"))
        }
        Retried::Unknown => Err(ApiError::NotFound("there is no such message".to_owned())),
        Retried::NoAlerter(alerter) => Err(no_alerter(id, &alerter)),
    }
}

/// What was done, by the word in the address.
pub fn said(word: &str) -> &'static str {
    match word {
        "made" => "The reservation is made. Paste one of the lines below into the job.",
        "changed" => "The reservation is changed.",
        "snoozed" => "It is snoozed. Alerts that are still open at the end are sent then.",
        "skipped" => "It is snoozed. Check-ins that are due until the end are not expected.",
        "accepted" => "Its figures are accepted: medians begin anew with them.",
        "resumed" => "The snooze has ended; alerts that are still open are sent.",
        "back" => "It is back, with its ping address and its history.",
        "tested" => "A test alert is on its way to the recipients of this reservation; see Deliveries.",
        _ => "",
    }
}
