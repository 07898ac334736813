//! Snoozes, their ends, and the undoing of check-outs.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use innkeeper_core::duration::{self, LONGEST};
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_core::{Invalid, Time};
use innkeeper_http::{ApiError, Body, Caller};
use innkeeper_store::Undone;
use serde::Deserialize;
use utoipa::ToSchema;

use super::reservations::{ShownReservation, answer};
use super::shown::Changeable;
use super::{ask, no_reservation, reading, visible};
use crate::AppState;

type Answer = Result<HttpResponse, ApiError>;

/// A snooze: its length, as `duration` or `until`, and how check-ins that are due during it are treated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snooze {
    /// The length from now: `2h`, `1d`; at most ten years.
    duration: Option<String>,
    /// The end, as RFC 3339.
    until: Option<String>,
    /// `quiet` (the default): check-ins due during the snooze are expected as usual, and what is still wrong at its end
    /// is reported then. `skip`: check-ins due during the snooze are not expected.
    mode: Option<String>,
}

impl Snooze {
    fn end(&self, now: Time) -> Result<(Time, SnoozeMode), Invalid> {
        let mode =
            self.mode.as_deref().map_or(Ok(SnoozeMode::Quiet), |word| SnoozeMode::parse("mode", word))?;
        Ok((end(self.duration.as_deref(), self.until.as_deref(), now)?, mode))
    }
}

/// The end of a span, of which exactly one of the two must be given.
pub(super) fn end(duration: Option<&str>, until: Option<&str>, now: Time) -> Result<Time, Invalid> {
    match (duration, until) {
        (Some(_), Some(_)) => {
            Err(Invalid::new("until", "cannot be combined with duration; give one of them"))
        }
        (None, None) => Err(Invalid::new("duration", "is missing; give a duration like \"2h\", or until")),
        (Some(text), None) => match duration::parse("duration", text)? {
            span if span.is_zero() => Err(Invalid::new("duration", "is nothing; to end a snooze, resume")),
            span => Ok(now + span),
        },
        (None, Some(text)) => {
            let until = reading::instant("until", text)?;
            if until <= now || until - now > LONGEST {
                return Err(Invalid::new(
                    "until",
                    format!("{text:?}; give an instant within the next ten years"),
                ));
            }
            Ok(until)
        }
    }
}

/// Snooze a reservation
///
/// Until the end no alert opens and no reminder is sent; the recovery of an earlier alert is sent. With `quiet`, what
/// is still wrong at the end is reported then: a failure without a later success, a run over its limit, and a due
/// instant without a check-in by the end of the snooze plus the period (at most an hour) plus the grace. With `skip`,
/// check-ins due during the snooze are not expected; an interval starts anew at the end if its due instant was during
/// the snooze. Due instants before and after the snooze are not affected.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/snooze", tag = "Reservations", security(("bearer" = ["manage"])),
    params(("id" = i64, Path, description = "its number")),
    request_body(content = Snooze, example = json!({"duration": "2h"})),
    responses((status = 200, description = "it sleeps", body = Changeable)))]
pub(crate) async fn snooze(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    Body(body): Body,
) -> Answer {
    let snooze: Snooze = reading::json(&body)?;
    sleep(&app_state, &caller, *id, move |now| snooze.end(now).map(Some)).await
}

/// End a snooze
///
/// What is still wrong is reported.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/resume", tag = "Reservations", security(("bearer" = ["manage"])),
    params(("id" = i64, Path, description = "its number")),
    responses(
        (status = 200, description = "it is watched again", body = Changeable),
        (status = 409, description = "it is not snoozed"),
    ))]
pub(crate) async fn resume(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    sleep(&app_state, &caller, *id, |_| Ok(None)).await
}

/// Snoozes a reservation until `end`, or ends its snooze if there is no end.
async fn sleep(
    app_state: &Data<AppState>,
    caller: &Caller,
    id: i64,
    end: impl FnOnce(Time) -> Result<Option<(Time, SnoozeMode)>, Invalid> + Send + 'static,
) -> Answer {
    let asker = caller.clone();
    let standing = ask(app_state, caller, move |store, now| {
        let end = end(now)?;
        let listed = visible(store, &asker, id, now)?;
        let is_there = match end {
            Some((until, mode)) => store.snooze_by_id(id, until, mode, now)?,
            None if listed.reservation.conclusions.snoozed_until(now).is_none() => {
                return Err(ApiError::Conflict("it is not snoozed".to_owned()));
            }
            None => store.resume_by_id(id, now)?,
        };
        if !is_there {
            return Err(no_reservation(id));
        }
        ShownReservation::of(store, visible(store, &asker, id, now)?, now)
    })
    .await?;
    app_state.look_again();
    Ok(answer(&mut HttpResponse::Ok(), app_state, caller, &standing))
}

/// Undo a check-out
///
/// Possible within a day. The reservation gets back its number, its ping address and its history.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/undo-checkout", tag = "Reservations", security(("bearer" = ["manage"])),
    params(("id" = i64, Path, description = "the number that it had")),
    responses(
        (status = 200, description = "it is back", body = Changeable),
        (status = 404, description = "no such check-out can be undone"),
        (status = 409, description = "its names are taken by another reservation"),
    ))]
pub(crate) async fn undo_checkout(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    let (asker, id) = (caller.clone(), id.into_inner());
    let standing = ask(&app_state, &caller, move |store, now| {
        let unknown = || ApiError::NotFound(format!("there is no check-out of {id} that can be undone"));
        let checkout = store.checkout(id)?.ok_or_else(unknown)?;
        if asker.covers_named(&checkout.app).is_err() {
            return Err(unknown());
        }
        match store.undo_checkout(id, now)? {
            Undone::Done => ShownReservation::of(store, visible(store, &asker, id, now)?, now),
            Undone::Unknown => Err(unknown()),
            Undone::Taken { name } => Err(ApiError::Conflict(format!(
                "there is another reservation {name} now; check that out first"
            ))),
        }
    })
    .await?;
    app_state.look_again();
    app_state.report(&standing.assessed.reservation.spec);
    Ok(answer(&mut HttpResponse::Ok(), &app_state, &caller, &standing))
}
