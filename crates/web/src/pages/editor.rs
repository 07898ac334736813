//! Making and changing a reservation, with its schedule explained.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use chrono_tz::{TZ_VARIANTS, Tz};
use innkeeper_core::alert::stamp;
use innkeeper_core::reservation::Spec;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Invalid, Time, duration};
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::ChangeOutcome;
use serde::Deserialize;

use super::draft::{Draft, Problems};
use super::form::Form;
use super::frame::Frame;
use super::{ask, page, see_other};
use crate::api::etag;
use crate::{AppState, pages};

/// Expected times that are shown.
const NEXT: usize = 5;

#[derive(Template)]
#[template(path = "editor.html")]
struct EditorPage<'a> {
    frame: Frame<'a>,
    title: String,
    /// The number of the reservation that is changed.
    id: Option<i64>,
    /// What it was when the form was made, so that nobody's change is lost.
    version: String,
    draft: Draft,
    problems: Problems,
    explanation: Explanation,
    alerters: Vec<String>,
    /// Names in its `notify` that no alerter has.
    notify_gone: Vec<String>,
    /// The same of its `alerters`.
    alerters_gone: Vec<String>,
    zones: &'static [Tz],
}

impl EditorPage<'_> {
    /// What is wrong with a field; empty where nothing is.
    fn problem(&self, field: &str) -> &str {
        self.problems.get(field).map_or("", String::as_str)
    }

    fn wants(&self, alerter: &str) -> bool {
        self.draft.alerters.iter().any(|name| name == alerter)
    }
}

/// The schedule in words, with the next times; or what is wrong with it.
#[derive(Template)]
#[template(path = "explanation.html")]
pub struct Explanation {
    words: String,
    problem: String,
    next: Vec<String>,
}

impl Explanation {
    fn of(draft: &Draft, now: Time) -> Self {
        let read = draft.schedule().and_then(|(schedule, _)| draft.grace().map(|grace| (schedule, grace)));
        match read {
            Err(invalid) => Self { words: String::new(), problem: invalid.to_string(), next: Vec::new() },
            Ok((schedule, grace)) => {
                if let Err(invalid) = schedule.check_ahead(now) {
                    return Self { words: String::new(), problem: invalid.to_string(), next: Vec::new() };
                }
                let zone = schedule.zone();
                let grace = match grace.is_zero() {
                    true => "no grace".to_owned(),
                    false => format!("{} grace", duration::words(grace)),
                };
                let words = match schedule.period() {
                    Some(period) => format!(
                        "Expected {} after each check-in, {grace}. If it checked in now and kept to that:",
                        duration::words(period)
                    ),
                    None => format!("Expected at these times, {grace}:"),
                };
                let next = next_times(&schedule, now, NEXT);
                Self { words, problem: String::new(), next: next.iter().map(|at| stamp(*at, zone)).collect() }
            }
        }
    }
}

/// The next `count` expected times after `now`.
pub fn next_times(schedule: &Schedule, now: Time, count: usize) -> Vec<Time> {
    std::iter::successors(schedule.following(now), |at| schedule.following(*at)).take(count).collect()
}

fn show(
    app_state: &AppState,
    caller: &Caller,
    (id, version): (Option<i64>, String),
    draft: Draft,
    problems: Problems,
) -> Result<HttpResponse, ApiError> {
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let title = match id {
        Some(_) => format!("Change {}/{}", draft.text("app"), draft.text("component")),
        None => "New reservation".to_owned(),
    };
    let explanation = Explanation::of(&draft, app_state.clock.now());
    // Those that can send, whatever this process is configured with.
    let ways = app_state.known_ways.get();
    let gone = |names: Vec<String>| names.into_iter().filter(|name| !ways.has(name)).collect();
    let (notify_gone, alerters_gone) = (gone(draft.alerters_notified()), gone(draft.alerters.clone()));
    let mut answer = page(&EditorPage {
        frame: Frame::of(app_state, caller, "/new"),
        title,
        id,
        version,
        draft,
        problems,
        explanation,
        alerters: ways.names().map(str::to_owned).collect(),
        notify_gone,
        alerters_gone,
        zones: &TZ_VARIANTS,
    })?;
    *answer.status_mut() = status;
    Ok(answer)
}

#[derive(Deserialize)]
pub struct NewQuery {
    copy: Option<i64>,
}

/// The empty form, or a copy.
pub async fn new(
    app_state: Data<AppState>,
    caller: Caller,
    query: Query<NewQuery>,
) -> Result<HttpResponse, ApiError> {
    let draft = match query.copy {
        None => Draft::fresh(app_state.remind_every()),
        Some(id) => {
            let spec = terms_of(&app_state, id).await?;
            let draft = Draft::of(&spec);
            let component = format!("{}-copy", draft.text("component"));
            draft.with("component", component).with("slug", "")
        }
    };
    show(&app_state, &caller, (None, String::new()), draft, Problems::new())
}

/// Makes it.
pub async fn make(app_state: Data<AppState>, caller: Caller, form: Form) -> Result<HttpResponse, ApiError> {
    let draft = Draft::from_form(&form);
    let nothing = || (None, String::new());
    if form.is_ticked("check") {
        return show(&app_state, &caller, nothing(), draft, Problems::new());
    }
    let parsed = draft
        .parse(&app_state.alerter_names())
        .and_then(|(app, component, patch)| patch.into_spec(app, component).map_err(at_its_field));
    let spec = match parsed {
        Ok(spec) => spec,
        Err(problems) => return show(&app_state, &caller, nothing(), draft, problems),
    };
    caller.covers(&spec.app)?;
    let (shared, name) = (app_state.clone(), format!("{}/{}", spec.app, spec.component));
    let made = pages::change(&app_state, &caller, move |store, now| {
        let made = store.create(spec.clone(), now)?;
        if made.is_some() {
            shared.report(&spec);
        }
        Ok(made)
    });
    let made = match made.await {
        Err(ApiError::BadRequest(invalid)) => {
            return show(&app_state, &caller, nothing(), draft, at_its_field(invalid));
        }
        made => made?,
    };
    match made {
        Some(id) => {
            app_state.look_again();
            Ok(see_other(&format!("/status/{id}?said=made")))
        }
        None => {
            let problem =
                format!("there is a reservation {name} already; give this another name, or change that one");
            show(&app_state, &caller, nothing(), draft, Problems::from([("component".to_owned(), problem)]))
        }
    }
}

fn at_its_field(invalid: Invalid) -> Problems {
    Problems::from([(invalid.field.into_owned(), invalid.problem)])
}

async fn terms_of(app_state: &Data<AppState>, id: i64) -> Result<Spec, ApiError> {
    let listed = ask(app_state, move |app_state, now| app_state.store.listed(id, now)).await?;
    let listed = listed.ok_or_else(|| ApiError::NotFound("there is no such reservation".to_owned()))?;
    Ok(listed.reservation.spec)
}

/// The form with what is there.
pub async fn edit(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
) -> Result<HttpResponse, ApiError> {
    let spec = match terms_of(&app_state, *id).await {
        // Its page says where it has gone.
        Err(ApiError::NotFound(_)) => return Ok(see_other(&format!("/status/{id}"))),
        found => found?,
    };
    show(&app_state, &caller, (Some(*id), etag(&spec)), Draft::of(&spec), Problems::new())
}

/// Changes it, unless somebody else did since the form was made.
pub async fn change(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    let seen = form.text("version").to_owned();
    let known = terms_of(&app_state, id).await?;
    // The names stay: they are what a reservation is known by.
    let draft =
        Draft::from_form(&form).with("app", known.app.as_str()).with("component", known.component.as_str());
    let place = (Some(id), seen.clone());
    if form.is_ticked("check") {
        return show(&app_state, &caller, place, draft, Problems::new());
    }
    // It may go on naming what it named, also an alerter that is gone: its page warns of that.
    let patch = match draft.parse(&[app_state.alerter_names(), known.alerters_named()].concat()) {
        Ok((_, _, patch)) => patch,
        Err(problems) => return show(&app_state, &caller, place, draft, problems),
    };
    let (shared, after) = (app_state.clone(), patch.clone().applied_to(known.clone()));
    let changed = pages::change(&app_state, &caller, move |store, now| {
        let changed = store.change(id, &patch, &|spec| etag(spec) == seen, now)?;
        if changed == ChangeOutcome::Done {
            shared.report(&after);
        }
        Ok(changed)
    })
    .await;
    let changed = match changed {
        Err(ApiError::BadRequest(invalid)) => {
            return show(&app_state, &caller, place, draft, at_its_field(invalid));
        }
        changed => changed?,
    };
    match changed {
        ChangeOutcome::Done => {
            app_state.look_again();
            Ok(see_other(&format!("/status/{id}?said=changed")))
        }
        ChangeOutcome::Unknown => Err(ApiError::NotFound("there is no such reservation any more".to_owned())),
        ChangeOutcome::Outdated => {
            let problem = "Somebody else changed this reservation meanwhile; what is below is yours, and sending it again \
                           overwrites theirs";
            let place = (Some(id), etag(&known));
            show(
                &app_state,
                &caller,
                place,
                draft,
                Problems::from([("version".to_owned(), problem.to_owned())]),
            )
        }
    }
}

/// The schedule that was typed so far, explained: a part of a page, for the script.
pub async fn explain(app_state: Data<AppState>, form: Form) -> Result<HttpResponse, ApiError> {
    page(&Explanation::of(&Draft::from_form(&form), app_state.clock.now()))
}
