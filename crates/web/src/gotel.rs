//! Reading in GoTel's shape.

use actix_web::HttpResponse;
use actix_web::web::Data;
use innkeeper_core::access::Need;
use innkeeper_core::alert::stamp;
use innkeeper_core::duration;
use innkeeper_core::schedule::Schedule;
use innkeeper_node::http::{ApiError, Caller, Routes};
use serde::Serialize;
use serde_json::json;

use crate::Desk;
use crate::lists::{Shown, reservations};

pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes.get("/", Need::Nothing, alive).get("/reservation", Need::Read, list);
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

async fn list(desk: Data<Desk>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let public_url = desk.public_url.clone();
    let may_check_in = caller.may(Need::CheckIn);
    let shape = move |shown, now| Some(job(shown, now, may_check_in.then_some(&*public_url)));
    let list = reservations(&desk, &caller, None, shape, r#"],"success":true}"#).await?;
    Ok(list.answer(r#"{"result":["#.to_owned()))
}

/// A reservation; with a `public_url` for whoever may check in.
fn job(shown: Shown, now: innkeeper_core::Time, public_url: Option<&str>) -> Job {
    let Shown { listed, evaluation } = shown;
    let reservation = listed.reservation;
    let (terms, last) = (reservation.terms, reservation.facts.last_checkin_at);
    let zone = terms.schedule.zone();
    let (frequency, time_units) = match (terms.frequency, &terms.schedule) {
        (Some(frequency), _) => (frequency.count, frequency.unit.as_str()),
        (None, Schedule::Every(period)) => (period.num_seconds(), "seconds"),
        (None, Schedule::Cron(_) | Schedule::Calendar(_)) => (0, ""),
    };
    Job {
        job_id: reservation.id,
        slug: terms.slug,
        owner: terms.owner,
        notify: terms.notify.to_string(),
        alert_msg: terms.alert_msg,
        alert_subject: terms.alert_subject,
        recovery_msg: terms.recovery_msg,
        runbook: terms.runbook,
        app: terms.app.to_string(),
        component: terms.component.to_string(),
        frequency,
        time_units: time_units.to_owned(),
        last_checkin: last.map_or(0, |at| at.timestamp()),
        last_checkin_str: last.map_or("never".to_owned(), |at| stamp(at, zone)),
        time_since_last_checkin: last.map_or("never".to_owned(), |at| duration::ago(now - at)),
        failing_sla: evaluation.overdue || listed.open_alert.is_some(),
        number_of_checkins: reservation.facts.checkins,
        state: evaluation.state.as_str(),
        schedule: terms.schedule.to_string(),
        expected_at: evaluation.expected_at.timestamp(),
        deadline: evaluation.deadline.timestamp(),
        reason: listed.open_alert.map(|alert| alert.reason.sentence(zone)),
        ping_url: public_url.map(|public_url| format!("{public_url}/ping/{}", reservation.key)),
        ping_key: listed.ping_key.filter(|_| public_url.is_some()),
        description: terms.description,
        tags: terms.tags,
        alerters: terms.alerters.iter().map(ToString::to_string).collect(),
        grace: duration::short(terms.grace),
        alert_after: terms.alert_after,
        remind_every: terms.remind_every.map(duration::short),
        notify_recovery: terms.notify_recovery,
        max_run: terms.max_run.map(duration::short),
        min_run: terms.min_run.map(duration::short),
        snoozed_until: reservation.conclusions.snoozed_until(now).map(|until| until.timestamp()),
    }
}
