//! GoTel's protocol: reservations, check-ins, snoozes and checkouts as JSON.

use std::borrow::Cow;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::TimeDelta;
use innkeeper_core::Invalid;
use innkeeper_core::access::Need;
use innkeeper_core::checkin::{CheckIn, CheckInKind, notes_from};
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::reservation::{Frequency, Wishes};
use innkeeper_core::schedule::{Parts, Schedule};
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_node::Seldom;
use innkeeper_node::http::{ApiError, Body, Caller, Routes, with_warning, with_warnings};
use innkeeper_store::{Arrival, Definition, Recorded, Reserved, Target};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::fields::Fields;
use crate::{Desk, patiently};

/// What `POST /reservation` may say.
const RESERVATION: [&str; 24] = [
    "app",
    "component",
    "slug",
    "owner",
    "description",
    "tags",
    "notify",
    "alerters",
    "alert_msg",
    "alert_subject",
    "recovery_msg",
    "runbook",
    "frequency",
    "time_units",
    "cron",
    "calendar",
    "time_zone",
    "grace",
    "alert_after",
    "remind_every",
    "notify_recovery",
    "max_run",
    "min_run",
    "is_site",
];
const CHECKIN: [&str; 3] = ["app", "component", "notes"];
pub(crate) const SNOOZE: [&str; 5] = ["app", "component", "duration", "frequency", "time_units"];
pub(crate) const CHECKOUT: [&str; 2] = ["app", "component"];

/// What GoTel's own programs send besides, since they send all that they know of a reservation.
pub(crate) const PASSED: [&str; 8] = [
    "job_id",
    "last_checkin",
    "last_checkin_timestamp",
    "last_checkin_str",
    "time_since_last_checkin",
    // So an older one writes it.
    "time_sine_last_checkin",
    "failing_sla",
    "number_of_checkins",
];

/// What `GET /reservation` says besides. It is passed over in what is sent back, with its number; by itself it is refused, since
/// who sends a `schedule` means something by it.
const LISTED: [&str; 8] =
    ["deadline", "expected_at", "ping_key", "ping_url", "reason", "schedule", "snoozed_until", "state"];

pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes
        .post("/reservation", Need::Manage, reservation)
        .post("/checkin", Need::CheckIn, checkin)
        .post("/snooze", Need::Manage, snooze)
        .post("/pause", Need::Manage, snooze)
        .post("/checkout", Need::Manage, checkout);
}

type Answer = Result<HttpResponse, ApiError>;

/// Makes a reservation, or changes what the request names of an existing one.
async fn reservation(desk: Data<Desk>, caller: Caller, Body(body): Body) -> Answer {
    let (fields, is_listed) = reservation_fields(&body)?;
    let (app, component) = names(&fields)?;
    caller.covers(&app)?;
    fields.refuse_unknown()?;
    let wishes = wishes(&fields, is_listed, desk.remind_every(), &desk.alerter_names())?;
    let now = desk.now();
    let name = format!("{app}/{component}");
    let ways = desk.ways.clone();
    let (reserved, dead_ends) = patiently(&desk, &caller, move |store| {
        let reserved = store.reserve(&app, &component, &wishes, now)?;
        // Of the whole of it: what was not named now may have led nowhere before.
        let terms = reserved.id().map_or(Ok(None), |id| store.terms_of(id));
        let dead_ends = match terms {
            Ok(Some((terms, _))) => ways.dead_ends(store, &terms),
            Ok(None) => Vec::new(),
            Err(error) => {
                // It is made all the same, and that is what was asked for.
                static UNKNOWN: Seldom = Seldom::new();
                UNKNOWN
                    .warn(format_args!("where the messages of a new reservation lead is not known: {error}"));
                Vec::new()
            }
        };
        Ok((reserved, dead_ends))
    })
    .await?;
    if let Reserved::Incomplete(problem) = reserved {
        return Err(problem.into());
    }
    if let Some(wake) = &desk.wake {
        wake.wake();
    }
    if let Reserved::Created(_) | Reserved::Changed(_) = reserved {
        desk.astray.report(&name, &dead_ends);
    }
    Ok(with_warning(HttpResponse::Ok().json("OK"), &dead_ends))
}

/// The fields of a reservation, and whether it is one as a list has it.
pub(crate) fn reservation_fields(body: &[u8]) -> Result<(Fields, bool), Invalid> {
    let is_listed = serde_json::from_slice::<Numbered>(body).is_ok();
    let fields = match is_listed {
        true => Fields::from_json(body, &RESERVATION, &[&PASSED[..], &LISTED].concat())?,
        false => Fields::from_json(body, &RESERVATION, &PASSED)?,
    };
    Ok((fields, is_listed))
}

/// A reservation as a list has it.
#[derive(Deserialize)]
struct Numbered {
    #[serde(rename = "job_id")]
    _job_id: IgnoredAny,
}

/// What `POST /reservation` may say beyond the two names.
pub(crate) fn wishes(
    fields: &Fields,
    is_listed: bool,
    remind_every_if_new: Option<TimeDelta>,
    alerters: &[AlerterName],
) -> Result<Wishes, Invalid> {
    let text = |field| fields.text(field).map(|text| text.map(str::to_owned));
    let schedule = Schedule::of_parts(Parts {
        // So a list has a schedule that is no frequency.
        frequency: fields.integer("frequency")?.filter(|count| !(is_listed && *count == 0)),
        time_units: fields.text("time_units")?.filter(|unit| !(is_listed && unit.is_empty())),
        cron: fields.text("cron")?,
        calendar: fields.text("calendar")?,
        time_zone: fields.text("time_zone")?,
    })?;
    Wishes {
        slug: text("slug")?,
        owner: text("owner")?,
        description: text("description")?,
        tags: fields.list("tags")?,
        notify: fields.recipients("notify")?,
        alerters: fields.alerters("alerters")?,
        alert_msg: text("alert_msg")?,
        alert_subject: text("alert_subject")?,
        recovery_msg: text("recovery_msg")?,
        runbook: text("runbook")?,
        schedule,
        grace: fields.duration("grace")?,
        alert_after: fields.integer("alert_after")?,
        remind_every: fields.duration("remind_every")?,
        remind_every_if_new,
        notify_recovery: fields.flag("notify_recovery")?,
        max_run: fields.duration("max_run")?,
        min_run: fields.duration("min_run")?,
        is_site: fields.flag("is_site")?,
        ..Wishes::default()
    }
    .knowing("notify", alerters)
    .checked()
}

/// A check-in as nearly all of them come; what does not fit is read field by field, for the sake of the error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Brief<'a> {
    #[serde(borrow)]
    app: Cow<'a, str>,
    #[serde(borrow)]
    component: Cow<'a, str>,
    #[serde(borrow, default)]
    notes: Option<Cow<'a, str>>,
}

async fn checkin(desk: Data<Desk>, caller: Caller, request: HttpRequest, Body(body): Body) -> Answer {
    let Said { app, component, notes, passed_over } = said(&body)?;
    caller.covers(&app)?;
    let checkin =
        CheckIn { notes, source: desk.source(&request), ..CheckIn::new(CheckInKind::Success, desk.now()) };
    let message = format!("Application checked in: {app}");
    let target = Target::Names(app, component);
    match desk.queue.submit(Arrival { target, checkin, definition: Definition::None }).await? {
        Recorded::Done { .. } => Ok(with_warnings(success(&message), &passed_over)),
        Recorded::Unknown => {
            let (app, component) = names(&checkin_fields(&body)?)?;
            Err(unknown(&app, &component))
        }
        Recorded::Refused(problem) => Err(problem.into()),
    }
}

/// What the body of a check-in says.
pub(crate) struct Said {
    pub app: AppName,
    pub component: ComponentName,
    pub notes: String,
    /// What of it nobody reads.
    pub passed_over: Vec<String>,
}

pub(crate) fn said(body: &[u8]) -> Result<Said, Invalid> {
    if let Ok(Brief { app, component, notes }) = serde_json::from_slice::<Brief<'_>>(body) {
        let (app, component) = (AppName::parse(app)?, ComponentName::parse(component)?);
        let notes = notes.map_or(String::new(), |notes| notes_from(notes.as_bytes()));
        return Ok(Said { app, component, notes, passed_over: Vec::new() });
    }
    let fields = checkin_fields(body)?;
    let (app, component) = names(&fields)?;
    let notes = notes_from(fields.text("notes")?.unwrap_or_default().as_bytes());
    Ok(Said { app, component, notes, passed_over: fields.unknown() })
}

fn checkin_fields(body: &[u8]) -> Result<Fields, Invalid> {
    Fields::from_checkin(body, &CHECKIN, &PASSED, |fields| {
        names(fields)?;
        fields.text("notes").map(drop)
    })
}

async fn snooze(desk: Data<Desk>, caller: Caller, Body(body): Body) -> Answer {
    let fields = Fields::from_json(&body, &SNOOZE, &PASSED)?;
    let (app, component) = names(&fields)?;
    caller.covers(&app)?;
    let passed_over = fields.unknown();
    let duration = snoozed_for(&fields)?;
    let now = desk.now();
    let until = now + duration.span();
    let message = format!("Application alerting paused: {app}");
    let unknown = unknown(&app, &component);
    let found =
        patiently(&desk, &caller, move |store| store.snooze(&app, &component, until, SnoozeMode::Skip, now))
            .await?;
    if found { Ok(with_warnings(success(&message), &passed_over)) } else { Err(unknown) }
}

pub(crate) fn snoozed_for(fields: &Fields) -> Result<Frequency, Invalid> {
    let duration = fields.frequency(["duration", "frequency"])?;
    duration.ok_or_else(|| Invalid::new("duration", "is missing; give a whole number and time_units"))
}

async fn checkout(desk: Data<Desk>, caller: Caller, Body(body): Body) -> Answer {
    let fields = Fields::from_json(&body, &CHECKOUT, &PASSED)?;
    let (app, component) = names(&fields)?;
    caller.covers(&app)?;
    let passed_over = fields.unknown();
    let now = desk.now();
    let message = format!("Application Removed [{app}/{component}] ");
    let unknown = unknown(&app, &component);
    let found = patiently(&desk, &caller, move |store| store.check_out(&app, &component, now)).await?;
    if !found {
        return Err(unknown);
    }
    if let Some(wake) = &desk.wake {
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
