//! GoTel's protocol: reservations, check-ins, snoozes and checkouts as JSON.

use std::borrow::Cow;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use innkeeper_core::Invalid;
use innkeeper_core::checkin::{CheckIn, CheckInKind, notes_from};
use innkeeper_core::figures::Figures;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::Patch;
use innkeeper_core::reservation::document::{Alerters, NAMES};
use innkeeper_core::schedule::Frequency;
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_http::{ApiError, Body, Caller, Routes, with_warning, with_warnings};
use innkeeper_ingest_routes::gotel as described;
use innkeeper_logging::Seldom;
use innkeeper_store::{Arrival, Definition, Recorded, Reserved, Target};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::fields::{Fields, figures_of_object, figures_of_query};
use crate::{AppState, patiently};

const CHECKIN: [&str; 4] = ["app", "component", "notes", "figures"];
pub(crate) const SNOOZE: [&str; 5] = ["app", "component", "duration", "frequency", "time_units"];
pub(crate) const CHECKOUT: [&str; 2] = ["app", "component"];

/// Further fields that GoTel's own programs send, because they send everything they know of a reservation; ignored.
pub(crate) const PASSED: [&str; 8] = [
    "job_id",
    "last_checkin",
    "last_checkin_timestamp",
    "last_checkin_str",
    "time_since_last_checkin",
    // The spelling of an older version.
    "time_sine_last_checkin",
    "failing_sla",
    "number_of_checkins",
];

/// Further fields of `GET /reservation`. They are ignored in an entry that is sent back with its number. Without the
/// number they are refused, because a sender who writes a `schedule` expects an effect.
const LISTED: [&str; 8] =
    ["deadline", "expected_at", "ping_key", "ping_url", "reason", "schedule", "snoozed_until", "state"];

pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes
        .described(&described::RESERVATION, reservation)
        .described(&described::CHECKIN, checkin)
        .described(&described::SNOOZE, snooze)
        .described(&described::PAUSE, snooze)
        .described(&described::CHECKOUT, checkout);
}

type Answer = Result<HttpResponse, ApiError>;

/// Creates a reservation, or changes the named fields of an existing one.
async fn reservation(app_state: Data<AppState>, caller: Caller, Body(body): Body) -> Answer {
    let (fields, is_listed) = reservation_fields(&body)?;
    let (app, component) = names(&fields)?;
    caller.covers(&app)?;
    fields.refuse_unknown()?;
    let patch = patch(&fields, is_listed, app_state.remind_every(), &app_state.alerter_names())?;
    let now = app_state.now();
    let name = format!("{app}/{component}");
    let ways = app_state.ways.clone();
    let (reserved, dead_ends) = patiently(&app_state, &caller, move |store| {
        let reserved = store.reserve(&app, &component, &patch, now)?;
        // Judged by the whole reservation: fields that are not in this request may have led nowhere before.
        let spec = reserved.id().map_or(Ok(None), |id| store.terms_of(id));
        let dead_ends = match spec {
            Ok(Some((spec, _))) => ways.dead_ends(store, &spec),
            Ok(None) => Vec::new(),
            Err(error) => {
                // The reservation is made as requested, even if its dead ends cannot be determined.
                static UNKNOWN: Seldom = Seldom::new();
                UNKNOWN.warn(format_args!(
                    "it is not known whether the messages of a new reservation reach somebody: {error}"
                ));
                Vec::new()
            }
        };
        Ok((reserved, dead_ends))
    })
    .await?;
    if let Reserved::Incomplete(problem) = reserved {
        return Err(problem.into());
    }
    if let Some(wake) = &app_state.wake {
        wake.wake();
    }
    if let Reserved::Created(_) | Reserved::Changed(_) = reserved {
        app_state.dead_end_reporter.report(&name, &dead_ends);
    }
    Ok(with_warning(HttpResponse::Ok().json("OK"), &dead_ends))
}

/// The fields of a reservation, and whether it is an entry of a list.
pub(crate) fn reservation_fields(body: &[u8]) -> Result<(Fields, bool), Invalid> {
    let is_listed = serde_json::from_slice::<Numbered>(body).is_ok();
    let fields = match is_listed {
        true => Fields::from_json(body, &NAMES, &[&PASSED[..], &LISTED].concat())?,
        false => Fields::from_json(body, &NAMES, &PASSED)?,
    };
    Ok((fields, is_listed))
}

/// A reservation as an entry of a list, with its number.
#[derive(Deserialize)]
struct Numbered {
    #[serde(rename = "job_id")]
    _job_id: IgnoredAny,
}

/// What `POST /reservation` may say beyond the two names.
pub(crate) fn patch(
    fields: &Fields,
    is_listed: bool,
    remind_every_if_new: Reminders,
    alerters: &[AlerterName],
) -> Result<Patch, Invalid> {
    let mut document = fields.reservation()?;
    if is_listed {
        // In a list, a schedule without a frequency has the frequency 0.
        document.frequency = document.frequency.filter(|count| *count != 0);
        document.time_units = document.time_units.filter(|unit| !unit.is_empty());
    }
    let patch = document.patch(Alerters::OrThoseNamed(alerters))?;
    Ok(Patch { remind_every_if_new, ..patch })
}

/// The usual form of a check-in. Any other form is read field by field, to report errors precisely.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Brief<'a> {
    #[serde(borrow)]
    app: Cow<'a, str>,
    #[serde(borrow)]
    component: Cow<'a, str>,
    #[serde(borrow, default)]
    notes: Option<Cow<'a, str>>,
    #[serde(default)]
    figures: Option<serde_json::Value>,
}

async fn checkin(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    Body(body): Body,
) -> Answer {
    let GotelCheckIn { app, component, notes, mut figures, mut passed_over } = said(&body)?;
    caller.covers(&app)?;
    let (of_query, problems) = figures_of_query(request.query_string());
    passed_over.extend(problems);
    passed_over.extend(figures.add(&of_query).map(|problem| problem.to_string()));
    let checkin = CheckIn {
        notes,
        figures,
        source: app_state.source(&request),
        ..CheckIn::new(CheckInKind::Success, app_state.now())
    };
    let message = format!("Application checked in: {app}");
    let target = Target::Names(app, component);
    match app_state.queue.submit(Arrival { target, checkin, definition: Definition::None }).await? {
        Recorded::Done { .. } | Recorded::Known => Ok(with_warnings(success(&message), &passed_over)),
        Recorded::Unknown => {
            let (app, component) = names(&checkin_fields(&body)?)?;
            Err(unknown(&app, &component))
        }
        Recorded::Refused(problem) => Err(problem.into()),
    }
}

/// The content of a check-in's body.
pub(crate) struct GotelCheckIn {
    pub app: AppName,
    pub component: ComponentName,
    pub notes: String,
    pub figures: Figures,
    /// The unknown fields and invalid figures, which are ignored.
    pub passed_over: Vec<String>,
}

pub(crate) fn said(body: &[u8]) -> Result<GotelCheckIn, Invalid> {
    if let Ok(Brief { app, component, notes, figures }) = serde_json::from_slice::<Brief<'_>>(body) {
        let (app, component) = (AppName::parse(app)?, ComponentName::parse(component)?);
        let (mut figures, mut passed_over) = figures_of_object(figures.as_ref());
        let notes = notes.map_or(String::new(), |notes| {
            passed_over.extend(figures.add_lines(&notes).map(|problem| problem.to_string()));
            notes_from(notes.as_bytes())
        });
        return Ok(GotelCheckIn { app, component, notes, figures, passed_over });
    }
    let fields = checkin_fields(body)?;
    let (app, component) = names(&fields)?;
    let notes = fields.text("notes")?.unwrap_or_default();
    let (mut figures, problems) = fields.figures("figures");
    let of_lines = figures.add_lines(notes).map(|problem| problem.to_string());
    let passed_over = fields.unknown().into_iter().chain(problems).chain(of_lines).collect();
    Ok(GotelCheckIn { app, component, notes: notes_from(notes.as_bytes()), figures, passed_over })
}

fn checkin_fields(body: &[u8]) -> Result<Fields, Invalid> {
    Fields::from_checkin(body, &CHECKIN, &PASSED, |fields| {
        names(fields)?;
        fields.text("notes").map(drop)
    })
}

async fn snooze(app_state: Data<AppState>, caller: Caller, Body(body): Body) -> Answer {
    let fields = Fields::from_json(&body, &SNOOZE, &PASSED)?;
    let (app, component) = names(&fields)?;
    caller.covers(&app)?;
    let passed_over = fields.unknown();
    let duration = snoozed_for(&fields)?;
    let now = app_state.now();
    let until = now + duration.span();
    let message = format!("Application alerting paused: {app}");
    let unknown = unknown(&app, &component);
    let found = patiently(&app_state, &caller, move |store| {
        store.snooze(&app, &component, until, SnoozeMode::Skip, now)
    })
    .await?;
    if found { Ok(with_warnings(success(&message), &passed_over)) } else { Err(unknown) }
}

pub(crate) fn snoozed_for(fields: &Fields) -> Result<Frequency, Invalid> {
    let duration = fields.frequency(["duration", "frequency"])?;
    duration.ok_or_else(|| Invalid::new("duration", "is missing; give a whole number and time_units"))
}

async fn checkout(app_state: Data<AppState>, caller: Caller, Body(body): Body) -> Answer {
    let fields = Fields::from_json(&body, &CHECKOUT, &PASSED)?;
    let (app, component) = names(&fields)?;
    caller.covers(&app)?;
    let passed_over = fields.unknown();
    let now = app_state.now();
    let message = format!("Application Removed [{app}/{component}] ");
    let unknown = unknown(&app, &component);
    let found = patiently(&app_state, &caller, move |store| store.check_out(&app, &component, now)).await?;
    if !found {
        return Err(unknown);
    }
    if let Some(wake) = &app_state.wake {
        wake.wake();
    }
    Ok(with_warnings(success(&message), &passed_over))
}

pub(crate) fn names(fields: &Fields) -> Result<(AppName, ComponentName), Invalid> {
    Ok((fields.app("app")?, fields.component("component")?))
}

fn unknown(app: &AppName, component: &ComponentName) -> ApiError {
    ApiError::NotFound(format!("there is no reservation {app}/{component}; make one with POST /reservation"))
}

#[derive(Serialize)]
struct Success<'a> {
    success: bool,
    message: &'a str,
}

fn success(message: &str) -> HttpResponse {
    HttpResponse::Ok().json(Success { success: true, message })
}
