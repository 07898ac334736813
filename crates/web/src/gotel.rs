//! Reading in GoTel's shape.

use actix_web::HttpResponse;
use actix_web::web::Data;
use innkeeper_core::access::Permission;
use innkeeper_core::alert::stamp;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::duration;
use innkeeper_core::reminders::Reminders;
use innkeeper_core::schedule::Parts;
use innkeeper_http::description::Description;
use innkeeper_http::{ApiError, Caller, Routes};
use innkeeper_ingest_routes::gotel::GROUP;
use serde::Serialize;
use serde_json::json;

use crate::AppState;
use crate::lists::reservations;

const LIST: Description =
    Description::get("/reservation", Permission::Read, GROUP, "List all reservations, latest check-in first");
pub(crate) const ROUTES: [Description; 1] = [LIST];

pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes.get("/", Permission::Nothing, alive).described(&LIST, list);
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "success": true, "message": "A-OK!" }))
}

/// A reservation as GoTel shows it, and what Innkeeper adds. Instants are Unix seconds. Fields stand by their names, as they do in the answer.
#[derive(Serialize)]
struct Job {
    alert_after: i64,
    alert_msg: String,
    alert_subject: String,
    alerters: Vec<String>,
    app: String,
    component: String,
    deadline: i64,
    description: String,
    expected_at: i64,
    failing_sla: bool,
    /// 0 for a cron schedule.
    frequency: i64,
    /// Durations as `POST /reservation` takes them.
    grace: String,
    job_id: i64,
    /// 0 before the first check-in.
    last_checkin: i64,
    last_checkin_str: String,
    max_run: Option<String>,
    min_run: Option<String>,
    notify: String,
    notify_recovery: bool,
    number_of_checkins: i64,
    owner: String,
    /// The app's ping key: it stands before the slug in `/ping/<key>/<slug>`. Null for whoever may not check in, as `ping_url` is.
    ping_key: Option<String>,
    ping_url: Option<String>,
    /// Why it is down, as a sentence.
    reason: Option<String>,
    recovery_msg: String,
    remind_every: Option<String>,
    runbook: String,
    schedule: String,
    /// What `/ping/<key>/<slug>` calls it.
    slug: String,
    /// The end of the snooze, where there is one.
    snoozed_until: Option<i64>,
    state: &'static str,
    tags: Vec<String>,
    time_since_last_checkin: String,
    time_units: String,
}

async fn list(app_state: Data<AppState>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let public_url = app_state.public_url.clone();
    let may_check_in = caller.may(Permission::CheckIn);
    let shape = move |shown, now| Some(job(shown, now, may_check_in.then_some(&*public_url)));
    let list = reservations(&app_state, &caller, None, shape, r#"],"success":true}"#).await?;
    Ok(list.answer(r#"{"result":["#.to_owned()))
}

/// A reservation; with a `public_url` for whoever may check in.
fn job(assessed: Assessed, now: innkeeper_core::Time, public_url: Option<&str>) -> Job {
    let Assessed { reservation, open_alert, ping_key, evaluation, .. } = assessed;
    let (spec, last) = (reservation.spec, reservation.facts.last_checkin_at);
    let zone = spec.schedule.zone();
    let Parts { frequency, time_units, .. } = spec.schedule.parts(spec.frequency);
    let (frequency, time_units) = (frequency.unwrap_or(0), time_units.unwrap_or_default().to_owned());
    Job {
        job_id: reservation.id,
        slug: spec.slug,
        owner: spec.owner,
        notify: spec.notify.to_string(),
        alert_msg: spec.alert_msg,
        alert_subject: spec.alert_subject,
        recovery_msg: spec.recovery_msg,
        runbook: spec.runbook,
        app: spec.app.to_string(),
        component: spec.component.to_string(),
        frequency,
        time_units,
        last_checkin: last.map_or(0, |at| at.timestamp()),
        last_checkin_str: last.map_or("never".to_owned(), |at| stamp(at, zone)),
        time_since_last_checkin: last.map_or("never".to_owned(), |at| duration::ago(now - at)),
        failing_sla: evaluation.overdue || open_alert.is_some(),
        number_of_checkins: reservation.facts.checkins,
        state: evaluation.state.as_str(),
        schedule: spec.schedule.to_string(),
        expected_at: evaluation.expected_at.timestamp(),
        deadline: evaluation.deadline.timestamp(),
        reason: open_alert.map(|alert| alert.reason.sentence(zone)),
        ping_url: public_url.map(|public_url| format!("{public_url}/ping/{}", reservation.key)),
        ping_key: ping_key.filter(|_| public_url.is_some()),
        description: spec.description,
        tags: spec.tags,
        alerters: spec.alerters.iter().map(ToString::to_string).collect(),
        grace: duration::short(spec.grace),
        alert_after: spec.alert_after,
        remind_every: Some(spec.remind_every)
            .filter(|reminders| *reminders != Reminders::Never)
            .map(Reminders::short),
        notify_recovery: spec.notify_recovery,
        max_run: spec.max_run.map(duration::short),
        min_run: spec.min_run.map(duration::short),
        snoozed_until: reservation.conclusions.snoozed_until(now).map(|until| until.timestamp()),
    }
}
