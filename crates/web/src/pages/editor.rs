//! Making and changing a reservation, with its schedule explained.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use chrono_tz::{TZ_VARIANTS, Tz};
use innkeeper_core::alert::stamp;
use innkeeper_core::reservation::Terms;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Invalid, Time, duration};
use innkeeper_node::http::{ApiError, Caller};
use innkeeper_store::Change;
use serde::Deserialize;

use super::draft::{Draft, Problems};
use super::form::Form;
use super::frame::Frame;
use super::{ask, page, see_other};
use crate::Desk;
use crate::api::etag;

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
                let words = match &schedule {
                    Schedule::Every(period) => format!(
                        "Expected {} after each check-in, {grace}. If it checked in now and kept to that:",
                        duration::words(*period)
                    ),
                    Schedule::Cron(_) | Schedule::Calendar(_) => format!("Expected at these times, {grace}:"),
                };
                let next = next_times(&schedule, now, NEXT);
                Self { words, problem: String::new(), next: next.iter().map(|at| stamp(*at, zone)).collect() }
            }
        }
    }
}

/// The next `count` expected times after `now`.
pub fn next_times(schedule: &Schedule, now: Time, count: usize) -> Vec<Time> {
    std::iter::successors(schedule.expected_after(now, false), |at| schedule.following(*at))
        .take(count)
        .collect()
}

fn show(
    desk: &Desk,
    caller: &Caller,
    (id, version): (Option<i64>, String),
    draft: Draft,
    problems: Problems,
) -> Result<HttpResponse, ApiError> {
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let title = match id {
        Some(_) => format!("Change {}/{}", draft.app, draft.component),
        None => "New reservation".to_owned(),
    };
    let explanation = Explanation::of(&draft, desk.clock.now());
    // Those that can send, whatever this process is configured with.
    let ways = desk.known_ways.get();
    let gone = |names: Vec<String>| names.into_iter().filter(|name| !ways.has(name)).collect();
    let (notify_gone, alerters_gone) = (gone(draft.alerters_notified()), gone(draft.alerters.clone()));
    let mut answer = page(&EditorPage {
        frame: Frame::of(desk, caller, "/new"),
        title,
        id,
        version,
        draft,
        problems,
        explanation,
        alerters: ways.kinds().map(|(name, _)| name.to_owned()).collect(),
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
pub async fn new(desk: Data<Desk>, caller: Caller, query: Query<NewQuery>) -> Result<HttpResponse, ApiError> {
    let draft = match query.copy {
        None => Draft::fresh(desk.remind_every()),
        Some(id) => {
            let terms = terms_of(&desk, id).await?;
            let draft = Draft::of(&terms);
            Draft { component: format!("{}-copy", draft.component), slug: String::new(), ..draft }
        }
    };
    show(&desk, &caller, (None, String::new()), draft, Problems::new())
}

/// Makes it.
pub async fn make(desk: Data<Desk>, caller: Caller, form: Form) -> Result<HttpResponse, ApiError> {
    let draft = Draft::from_form(&form);
    let nothing = || (None, String::new());
    if form.is_ticked("check") {
        return show(&desk, &caller, nothing(), draft, Problems::new());
    }
    let parsed = draft
        .parse(&desk.alerter_names())
        .and_then(|(app, component, wishes)| wishes.into_terms(app, component).map_err(at_its_field));
    let terms = match parsed {
        Ok(terms) => terms,
        Err(problems) => return show(&desk, &caller, nothing(), draft, problems),
    };
    caller.covers(&terms.app)?;
    let (actor, name) = (caller.actor(), format!("{}/{}", terms.app, terms.component));
    let made = move |desk: &Desk, now| {
        let made = desk.store.on_behalf_of(actor).create(terms.clone(), now)?;
        if made.is_some() {
            desk.report(&terms);
        }
        Ok(made)
    };
    let made = match ask(&desk, made).await {
        Err(ApiError::BadRequest(invalid)) => {
            return show(&desk, &caller, nothing(), draft, at_its_field(invalid));
        }
        made => made?,
    };
    match made {
        Some(id) => {
            desk.look_again();
            Ok(see_other(&format!("/status/{id}?said=made")))
        }
        None => {
            let problem =
                format!("there is a reservation {name} already; give this another name, or change that one");
            show(&desk, &caller, nothing(), draft, Problems::from([("component".to_owned(), problem)]))
        }
    }
}

fn at_its_field(invalid: Invalid) -> Problems {
    Problems::from([(invalid.field.into_owned(), invalid.problem)])
}

async fn terms_of(desk: &Data<Desk>, id: i64) -> Result<Terms, ApiError> {
    let listed = ask(desk, move |desk, now| desk.store.listed(id, now)).await?;
    let listed = listed.ok_or_else(|| ApiError::NotFound("there is no such reservation".to_owned()))?;
    Ok(listed.reservation.terms)
}

/// The form with what is there.
pub async fn edit(desk: Data<Desk>, caller: Caller, id: Path<i64>) -> Result<HttpResponse, ApiError> {
    let terms = match terms_of(&desk, *id).await {
        // Its page says where it has gone.
        Err(ApiError::NotFound(_)) => return Ok(see_other(&format!("/status/{id}"))),
        found => found?,
    };
    show(&desk, &caller, (Some(*id), etag(&terms)), Draft::of(&terms), Problems::new())
}

/// Changes it, unless somebody else did since the form was made.
pub async fn change(
    desk: Data<Desk>,
    caller: Caller,
    id: Path<i64>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    let seen = form.text("version").to_owned();
    let known = terms_of(&desk, id).await?;
    // The names stay: they are what a reservation is known by.
    let draft = Draft {
        app: known.app.to_string(),
        component: known.component.to_string(),
        ..Draft::from_form(&form)
    };
    let place = (Some(id), seen.clone());
    if form.is_ticked("check") {
        return show(&desk, &caller, place, draft, Problems::new());
    }
    // It may go on naming what it named, also an alerter that is gone: its page warns of that.
    let wishes = match draft.parse(&[desk.alerter_names(), known.alerters_named()].concat()) {
        Ok((_, _, wishes)) => wishes,
        Err(problems) => return show(&desk, &caller, place, draft, problems),
    };
    let actor = caller.actor();
    let after = wishes.clone().applied_to(known.clone());
    let changed = ask(&desk, move |desk, now| {
        let store = desk.store.on_behalf_of(actor);
        let changed = store.change(id, &wishes, &|terms| etag(terms) == seen, now)?;
        if changed == Change::Done {
            desk.report(&after);
        }
        Ok(changed)
    })
    .await;
    let changed = match changed {
        Err(ApiError::BadRequest(invalid)) => {
            return show(&desk, &caller, place, draft, at_its_field(invalid));
        }
        changed => changed?,
    };
    match changed {
        Change::Done => {
            desk.look_again();
            Ok(see_other(&format!("/status/{id}?said=changed")))
        }
        Change::Unknown => Err(ApiError::NotFound("there is no such reservation any more".to_owned())),
        Change::Outdated => {
            let problem = "Somebody else changed this reservation meanwhile; what is below is yours, and sending it again \
                           overwrites theirs";
            let place = (Some(id), etag(&known));
            show(&desk, &caller, place, draft, Problems::from([("version".to_owned(), problem.to_owned())]))
        }
    }
}

/// The schedule that was typed so far, explained: a part of a page, for the script.
pub async fn explain(desk: Data<Desk>, form: Form) -> Result<HttpResponse, ApiError> {
    page(&Explanation::of(&Draft::from_form(&form), desk.clock.now()))
}
