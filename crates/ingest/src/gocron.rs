//! gocron's protocol: a check-in that carries its reservation, in a query or as JSON.

use std::collections::HashSet;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use chrono::TimeDelta;
use innkeeper_core::Invalid;
use innkeeper_core::access::Permission;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::reservation::document::Alerters;
use innkeeper_core::reservation::{Patch, ReservationDocument};
use innkeeper_core::schedule::TimeUnit;
use innkeeper_core::ways::DeadEnd;
use innkeeper_http::{ApiError, Body, Caller, Routes, with_warnings};
use innkeeper_ingest_routes::gocron as described;
use innkeeper_logging::Seldom;
use innkeeper_store::{Arrival, Definition, Recorded, StoreError, Target};
use parking_lot::Mutex;
use serde_json::json;

use crate::AppState;
use crate::fields::{Fields, figures_of_query, without_figures};

pub(crate) const FIELDS: [&str; 6] = ["cronname", "account", "email", "frequency", "site", "figures"];

/// Further fields that gocron's own programs send, because they send everything they know of a job; ignored.
const PASSED: [&str; 3] = ["ipaddress", "lastruntime", "alerted"];

/// A reservation changed within this time may have been changed by the check-in that is being answered.
const JUST_NOW: TimeDelta = TimeDelta::seconds(30);
/// The most reservations whose time of change is being queried at once.
const ASKED_AT_ONCE: usize = 64;

pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes
        .get_with_query_by_browser(described::BY_QUERY.path, Permission::Nothing, sent_by_browser)
        .get_with_query(described::BY_QUERY.path, described::BY_QUERY.permission, by_query)
        .get(described::BY_QUERY.path, Permission::Nothing, alive)
        .described(&described::BY_BODY, by_body);
}

type Answer = Result<HttpResponse, ApiError>;

/// Without a query this is GoTel's "are you there".
async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "success": true, "message": "A-OK!" }))
}

/// A `GET` that a link or another site can make a browser send has no effect.
async fn sent_by_browser(app_state: Data<AppState>, request: HttpRequest) -> HttpResponse {
    static REFUSED: Seldom = Seldom::new();
    if let Some(job) = named(request.query_string()) {
        REFUSED.warn(format_args!(
            "the check-in of {job} from {} was refused, since gocron's GET looked like a browser's; have the program POST the same \
             fields, or send Accept: */* and no header that browsers add",
            app_state.source(&request)
        ));
    }
    let page = include_str!("../templates/sent_by_browser.html");
    HttpResponse::Forbidden().content_type("text/html; charset=utf-8").body(page)
}

async fn by_query(app_state: Data<AppState>, caller: Caller, request: HttpRequest) -> Answer {
    if request.method() == Method::HEAD {
        static HEADS: Seldom = Seldom::new();
        // The response to HEAD has no body for an explanation.
        let why = "HEAD does not check in; use GET or POST";
        if let Some(job) = named(request.query_string()) {
            HEADS.warn(format_args!(
                "the check-in of {job} from {} was refused: {why}",
                app_state.source(&request)
            ));
        }
        let refused = ApiError::MethodNotAllowed { allow: "GET, OPTIONS, POST".to_owned() };
        return Ok(with_warnings(refused.error_response(), &[why.to_owned()]));
    }
    if caller.user().is_some() {
        let why = "a login does not check in by this call, since any link could have it sent; programs show a token";
        return Err(ApiError::Forbidden(why.to_owned()));
    }
    check_in(
        &app_state,
        &caller,
        &request,
        &Fields::from_query(&without_figures(request.query_string()), &FIELDS)?,
    )
    .await
}

/// The job that a query is about, as far as it names one.
fn named(query: &str) -> Option<String> {
    let fields = Fields::from_query(query, &FIELDS).ok()?;
    Some(format!("{}/{}", fields.app("account").ok()?, fields.component("cronname").ok()?))
}

async fn by_body(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    Body(body): Body,
) -> Answer {
    check_in(&app_state, &caller, &request, &body_fields(&body)?).await
}

pub(crate) fn body_fields(body: &[u8]) -> Result<Fields, Invalid> {
    Fields::from_checkin(body, &FIELDS, &PASSED, |fields| {
        fields.app("account")?;
        fields.component("cronname")?;
        patch(fields).map(drop)
    })
}

async fn check_in(
    app_state: &Data<AppState>,
    caller: &Caller,
    request: &HttpRequest,
    fields: &Fields,
) -> Answer {
    let (app, component) = (fields.app("account")?, fields.component("cronname")?);
    caller.covers(&app)?;
    let name = format!("{app}/{component}");
    let target = Target::Names(app, component);
    let by = caller.actor().who;
    let (mut figures, mut passed_over) = figures_of_query(request.query_string());
    let (of_body, problems) = fields.figures("figures");
    passed_over.extend(figures.add(&of_body).map(|problem| problem.to_string()));
    passed_over.extend(problems.into_iter().chain(fields.unknown()));
    let source = app_state.source(request);
    let checkin = CheckIn { source, by, figures, ..CheckIn::new(CheckInKind::Success, app_state.now()) };
    let (patch, no_recipients) = patch(fields)?;
    let notify = patch.notify.clone().unwrap_or_default();
    let definition = Definition::Always(Box::new(patch));
    match app_state.queue.submit(Arrival { target, checkin, definition }).await? {
        Recorded::Done { created, reservation_id, alerters } => {
            // Judged by what writing the check-in returned of the reservation; the database is not queried again.
            let mut dead_ends = no_recipients.clone();
            dead_ends.extend(app_state.latest_ways().route("email", notify.iter(), &alerters).dead_ends);
            tell(app_state, (reservation_id, name), created, &dead_ends, no_recipients);
            let message = if created { "checked in; the reservation is new" } else { "checked in" };
            let answer = HttpResponse::Created().json(json!({ "success": true, "message": message }));
            let sentences: Vec<String> =
                dead_ends.iter().map(ToString::to_string).chain(passed_over).collect();
            Ok(with_warnings(answer, &sentences))
        }
        Recorded::Refused(problem) => Err(problem.into()),
        Recorded::Known | Recorded::Unknown => Err(ApiError::internal("a defined reservation is unknown")),
    }
}

/// Tells the operator if messages about a reservation that this check-in has just created or changed reach nobody. The
/// check-in is recorded already, so its answer does not wait for this. If the database does not answer, an existing
/// reservation counts as unchanged: the operator learns of it at the next start of a sweeper, or when an alert opens.
fn tell(
    app_state: &Data<AppState>,
    (id, name): (i64, String),
    created: bool,
    dead_ends: &[DeadEnd],
    no_recipients: Vec<DeadEnd>,
) {
    if app_state.dead_end_reporter.knows(&name, dead_ends) {
        return;
    }
    let Some(asking) = Asking::begin(&app_state.asking, &name) else {
        if created {
            app_state.dead_end_reporter.report(&name, dead_ends);
        }
        return;
    };
    let (dead_end_reporter, store, ways) =
        (app_state.dead_end_reporter.clone(), app_state.store.clone(), app_state.ways.clone());
    let (clock, dead_ends) = (Arc::clone(&app_state.clock), dead_ends.to_vec());
    let is_news = move |dead_ends: &[DeadEnd]| {
        let Some((spec, changed_at)) = store.terms_of(id)? else { return Ok(false) };
        // Judged again by the sweepers' present alerters: the answer used a cached list that may be some seconds old.
        let mut still = ways.dead_ends(&store, &spec);
        still.extend(no_recipients.iter().cloned());
        let age = clock.now() - changed_at;
        // Dead ends caused by a change of the alerters are reported by the sweeper.
        let unchanged_for = TimeDelta::from_std(ways.unchanged_for()).unwrap_or(TimeDelta::MAX);
        let is_by_change = created || age <= unchanged_for;
        Ok::<_, StoreError>(age < JUST_NOW && is_by_change && still.is_empty() == dead_ends.is_empty())
    };
    drop(web::block(move || {
        let _asking = asking;
        match is_news(&dead_ends) {
            Ok(true) => dead_end_reporter.report(&name, &dead_ends),
            Ok(false) => dead_end_reporter.remember(&name, &dead_ends),
            Err(error) => {
                log::debug!("when {name} was changed: {error}");
                match created {
                    true => dead_end_reporter.report(&name, &dead_ends),
                    false => dead_end_reporter.remember(&name, &dead_ends),
                }
            }
        }
    }));
}

/// The reservations whose time of change is being queried.
pub(crate) type NamesBeingAsked = Arc<Mutex<HashSet<String>>>;

/// An entry in that set; dropping it removes the entry.
struct Asking {
    all: NamesBeingAsked,
    name: String,
}

impl Asking {
    /// `None` if the reservation is in the set already, or the set is full; a later check-in then queries.
    fn begin(all: &NamesBeingAsked, name: &str) -> Option<Self> {
        let mut names = all.lock();
        let begins = names.len() < ASKED_AT_ONCE && names.insert(name.to_owned());
        begins.then(|| Self { all: Arc::clone(all), name: name.to_owned() })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.all.lock().remove(&self.name);
    }
}

/// The reservation that every check-in of gocron carries, and the parts of its `email` field, which may contain any
/// text, that are not recipients.
pub(crate) fn patch(fields: &Fields) -> Result<(Patch, Vec<DeadEnd>), Invalid> {
    let missing = |field| Invalid::new(field, "is missing");
    let (notify, others) = fields
        .any_recipients("email")?
        .filter(|(notify, others)| !(notify.is_empty() && others.is_empty()))
        .ok_or_else(|| missing("email"))?;
    let seconds = fields.integer("frequency")?.ok_or_else(|| missing("frequency"))?;
    let document = ReservationDocument {
        notify: Some(notify.iter().map(|one| one.as_str().to_owned()).collect()),
        frequency: Some(seconds),
        time_units: Some(TimeUnit::Seconds.as_str().to_owned()),
        is_site: Some(fields.flag("site")?.unwrap_or(false)),
        ..ReservationDocument::default()
    };
    let patch = document.patch(Alerters::Any).map_err(|problems| called_as_here(problems.into()))?;
    Ok((patch, others))
}

/// The same problem, with gocron's name for the field.
fn called_as_here(problem: Invalid) -> Invalid {
    let name = match problem.field.as_ref() {
        "notify" => "email",
        "is_site" => "site",
        _ => return problem,
    };
    problem.called(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_reservation_it_is_asked_once_at_a_time_and_of_few_together() {
        let asked = NamesBeingAsked::default();
        let first = Asking::begin(&asked, "shop/backup");
        assert!(first.is_some() && Asking::begin(&asked, "shop/backup").is_none());
        let others: Vec<_> =
            (0..2 * ASKED_AT_ONCE).map(|n| Asking::begin(&asked, &format!("shop/{n}"))).collect();
        assert_eq!(others.iter().flatten().count(), ASKED_AT_ONCE - 1);
        drop(first);
        assert!(Asking::begin(&asked, "shop/backup").is_some());
    }
}
