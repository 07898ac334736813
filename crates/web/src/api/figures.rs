//! The recent values of a reservation's figures, the clauses about them, and the acceptance of unexpected values.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use innkeeper_core::expect::{Clause, ClauseVerdict};
use innkeeper_core::figures::number;
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{Accepted, RecentValue};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::reservations::{ShownReservation, answer};
use super::shown::Changeable;
use super::{ask, no_reservation, visible};
use crate::AppState;

type Answer = Result<HttpResponse, ApiError>;

/// The recent values of a reservation. They are kept apart from the history, which may be pruned.
#[derive(Serialize, ToSchema)]
pub(crate) struct Figures {
    /// The last 50 values of each figure by its name, oldest first; at most 20 figures.
    #[schema(value_type = Object)]
    figures: BTreeMap<String, Vec<FigureValue>>,
    /// The durations of the last 200 runs, oldest first; milliseconds.
    run_times_ms: Vec<i64>,
    /// The clauses, and whether the latest success fulfils them.
    expect: Vec<Expected>,
}

/// A value of a figure.
#[derive(Serialize, ToSchema)]
struct FigureValue {
    /// The value.
    value: Value,
    /// Whether medians include it. They leave out values of a failure, and those of a success that broke a clause
    /// unless somebody accepted them.
    counts: bool,
}

/// A clause.
#[derive(Serialize, ToSchema)]
struct Expected {
    /// The clause as in `expect`.
    clause: String,
    /// `holds`, `broken`, `too_few` (it passes, since there are fewer than three values for its median), or `unknown`
    /// if it has not judged a success yet.
    state: &'static str,
    /// The state as a sentence.
    says: String,
}

impl Expected {
    fn of(clause: &Clause, verdict: Option<&ClauseVerdict>) -> Self {
        Self { clause: clause.to_string(), state: state(verdict), says: says(verdict) }
    }
}

fn state(verdict: Option<&ClauseVerdict>) -> &'static str {
    match verdict {
        None => "unknown",
        Some(ClauseVerdict::Holds) => "holds",
        Some(ClauseVerdict::TooFew(_)) => "too_few",
        Some(ClauseVerdict::Broken(_)) => "broken",
    }
}

/// The state of a clause as a sentence without its full stop.
pub(crate) fn says(verdict: Option<&ClauseVerdict>) -> String {
    match verdict {
        None => "no success was checked against it yet".to_owned(),
        Some(ClauseVerdict::Holds) => "holds".to_owned(),
        Some(ClauseVerdict::TooFew(0)) => "passes: its median needs three values, and has none".to_owned(),
        Some(ClauseVerdict::TooFew(count)) => {
            format!("passes: its median needs three values, and has {count}")
        }
        Some(ClauseVerdict::Broken(problem)) => problem.clone(),
    }
}

/// Look at the figures of a reservation
///
/// Returns the recent values of each figure and the recent durations, which are kept apart from the history, and the
/// state of its clauses.
#[utoipa::path(get, path = "/api/v1/reservations/{id}/figures", tag = "History", security(("bearer" = ["read"])),
    params(("id" = i64, Path, description = "the reservation's number")),
    responses((status = 200, description = "its values and clauses", body = Figures)))]
pub(crate) async fn figures(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    let (asker, id) = (caller.clone(), id.into_inner());
    let figures = ask(&app_state, &caller, move |store, now| {
        let listed = visible(store, &asker, id, now)?;
        let (recent, verdicts) = (store.recent(id)?, store.verdicts(&listed.reservation)?);
        let value = |one: &RecentValue| FigureValue { value: number(one.value), counts: one.counts };
        let clauses = listed.reservation.spec.expect.clauses().iter().enumerate();
        Ok(Figures {
            figures: recent
                .figures
                .iter()
                .map(|(name, values)| (name.clone(), values.iter().map(value).collect()))
                .collect(),
            run_times_ms: recent.run_times.iter().map(|one| one.value as i64).collect(),
            expect: clauses
                .map(|(place, clause)| Expected::of(clause, verdicts.get(place).and_then(Option::as_ref)))
                .collect(),
        })
    })
    .await?;
    Ok(HttpResponse::Ok().json(figures))
}

/// Accept figures as right from now on
///
/// Accepts the unexpected figures of the latest success. Its values count from now on, and those of the successes
/// before it back to the last one that was as expected; medians leave out all earlier values. An alert about the
/// figures closes. Only clauses with a median can be accepted; if another clause is broken, change `expect`.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/accept-figures", tag = "Reservations", security(("bearer" = ["manage"])),
    params(("id" = i64, Path, description = "its number")),
    responses(
        (status = 200, description = "they are right from now on", body = Changeable),
        (status = 409, description = "the latest run ended with no success that broke a clause, or it broke one without a median"),
    ))]
pub(crate) async fn accept(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    let (asker, id) = (caller.clone(), id.into_inner());
    let standing = ask(&app_state, &caller, move |store, now| {
        visible(store, &asker, id, now)?;
        match store.accept_figures(id, now)? {
            Accepted::Done(_) => ShownReservation::of(store, visible(store, &asker, id, now)?, now),
            Accepted::Unknown => Err(no_reservation(id)),
            refused => Err(ApiError::Conflict(not_accepted(&refused))),
        }
    })
    .await?;
    app_state.look_again();
    Ok(answer(&mut HttpResponse::Ok(), &app_state, &caller, &standing))
}

/// Why nothing was accepted, as a sentence.
pub(crate) fn not_accepted(accepted: &Accepted) -> String {
    match accepted {
        Accepted::Fixed(figures) => {
            format!(
                "{figures}. Only a clause with a median can be accepted: change what is expected, where it is wrong"
            )
        }
        Accepted::Done(_) | Accepted::Nothing | Accepted::Unknown => {
            "there is nothing to accept: its latest run ended with no success that broke a clause, or was not looked at yet".to_owned()
        }
    }
}
