//! Snoozes and their end, and check-outs that are taken back.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use innkeeper_core::duration::{self, LONGEST};
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_core::{Invalid, Time};
use innkeeper_http::{ApiError, Body, Caller};
use innkeeper_store::Undone;
use serde::Deserialize;
use utoipa::ToSchema;

use super::reservations::{Standing, answer};
use super::shown::Changeable;
use super::{ask, no_reservation, reading, visible};
use crate::AppState;

type Answer = Result<HttpResponse, ApiError>;

/// How long nothing is told, `duration` or `until`; and what that means for what is due in it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snooze {
    /// From now on: `2h`, `1d`, at most ten years.
    duration: Option<String>,
    /// Until then, RFC 3339.
    until: Option<String>,
    /// `quiet` (without it): what is due is expected as ever, and told at the end if it is still true. `skip`: what is due is not expected.
    mode: Option<String>,
}

impl Snooze {
    fn end(&self, now: Time) -> Result<(Time, SnoozeMode), Invalid> {
        let mode =
            self.mode.as_deref().map_or(Ok(SnoozeMode::Quiet), |word| SnoozeMode::parse("mode", word))?;
        Ok((end(self.duration.as_deref(), self.until.as_deref(), now)?, mode))
    }
}

/// When a span ends of which one of the two says how long it is.
pub(super) fn end(duration: Option<&str>, until: Option<&str>, now: Time) -> Result<Time, Invalid> {
    match (duration, until) {
        (Some(_), Some(_)) => Err(Invalid::new("until", "stands beside duration; give one of them")),
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
/// Nothing opens an alert or reminds until then; the recovery of what was told is sent. With `quiet`, what is still true at the end is
/// told then: a failure that no success followed, a run over its limit, and a due instant that is not heard by the end, the period (an
/// hour at most) and the grace. With `skip`, what was due in it is not expected; an interval begins anew at the end if its due instant
/// lay inside. What was due before, or is due after, stays as it is.
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
/// What is still true is told.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/resume", tag = "Reservations", security(("bearer" = ["manage"])),
    params(("id" = i64, Path, description = "its number")),
    responses(
        (status = 200, description = "it is watched again", body = Changeable),
        (status = 409, description = "it is not snoozed"),
    ))]
pub(crate) async fn resume(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    sleep(&app_state, &caller, *id, |_| Ok(None)).await
}

/// Has a reservation sleep until an end; without one, wakes one that sleeps.
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
        Standing::of(store, visible(store, &asker, id, now)?, now)
    })
    .await?;
    app_state.look_again();
    Ok(answer(&mut HttpResponse::Ok(), app_state, caller, &standing))
}

/// Undo a check-out
///
/// Within a day. The reservation is back with its number, its ping address and its history.
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
            Undone::Done => Standing::of(store, visible(store, &asker, id, now)?, now),
            Undone::Unknown => Err(unknown()),
            Undone::Taken { name } => {
                Err(ApiError::Conflict(format!("{name} is another reservation by now; check that out first")))
            }
        }
    })
    .await?;
    app_state.look_again();
    app_state.report(&standing.assessed.reservation.spec);
    Ok(answer(&mut HttpResponse::Ok(), &app_state, &caller, &standing))
}
