//! Healthchecks' protocol: pings by key or slug, with start, fail, log, exit status, bodies and run ids.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use chrono::TimeDelta;
use innkeeper_core::checkin::{CheckIn, CheckInKind, NOTES_KEPT};
use innkeeper_core::figures::Figures;
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{action, slug};
use innkeeper_http::{ApiError, LARGEST_LOG, Log, LogEnd, Routes, with_warnings};
use innkeeper_ingest_routes::healthchecks::{ONE, PERMISSION, PING_METHODS, PREFLIGHTS, THREE, TWO};
use innkeeper_store::{Arrival, Definition, Recorded, Target};
use uuid::Uuid;

use crate::AppState;
use crate::fields::{Fields, cut, figures_of_query};

/// The period and the grace of a reservation created by a ping.
const PERIOD: TimeDelta = TimeDelta::days(1);
const GRACE: TimeDelta = TimeDelta::hours(1);
/// The creator's name in the audit log: of a holder of the key nothing more is known.
const PING_KEY: &str = "ping key";

pub(crate) fn mount(routes: &mut Routes<'_>) {
    let methods = PING_METHODS.map(Method::from);
    let all = [&ONE[..], &TWO, &THREE].concat();
    let (usual, bare): (Vec<&str>, Vec<&str>) = all.into_iter().partition(|path| path.starts_with("/ping/"));
    // The usual ones first: the router tries one pattern after the other.
    for pattern in usual.into_iter().chain(bare) {
        match pattern {
            _ if ONE.contains(&pattern) => routes.route_of_all(&methods, pattern, PERMISSION, one),
            _ if TWO.contains(&pattern) => routes.route_of_all(&methods, pattern, PERMISSION, two),
            _ => routes.route_of_all(&methods, pattern, PERMISSION, three),
        };
    }
    for pattern in PREFLIGHTS {
        routes.preflight(pattern, preflight);
    }
}

async fn one(app_state: Data<AppState>, request: HttpRequest, first: Path<String>, log: Log) -> HttpResponse {
    ping(&app_state, &request, addressed(&[&first]), log).await
}

async fn two(
    app_state: Data<AppState>,
    request: HttpRequest,
    path: Path<(String, String)>,
    log: Log,
) -> HttpResponse {
    ping(&app_state, &request, addressed(&[&path.0, &path.1]), log).await
}

async fn three(
    app_state: Data<AppState>,
    request: HttpRequest,
    path: Path<(String, String, String)>,
    log: Log,
) -> HttpResponse {
    ping(&app_state, &request, addressed(&[&path.0, &path.1, &path.2]), log).await
}

/// The target that the path of a ping names, and the word for what happened.
pub(crate) fn addressed<'a>(parts: &[&'a str]) -> Result<(Target, &'a str), Refusal> {
    match *parts {
        [first] => Ok((Target::Key(key(first).ok_or(Refusal::NotFound)?), "")),
        [first, second] => match key(first) {
            Some(key) => Ok((Target::Key(key), second)),
            None => Ok((by_slug(first, second)?, "")),
        },
        [first, second, third] => Ok((by_slug(first, second)?, third)),
        _ => Err(Refusal::UrlFormat),
    }
}

/// Allows a browser to send pings from other sites' pages (CORS preflight).
async fn preflight(request: HttpRequest) -> HttpResponse {
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let mut response = HttpResponse::NoContent()
        .insert_header((header::ALLOW, METHODS))
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "86400"))
        .finish();
    if let Some(asked) = asked {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    add_headers(&mut response);
    response
}

/// The methods of a ping address. `curl -T` sends a log with PUT.
const METHODS: &str = "GET, HEAD, OPTIONS, POST, PUT";

/// The answers to a ping other than OK.
pub(crate) enum Refusal {
    UrlFormat,
    UuidFormat,
    NotFound,
    Broken,
    Other(ApiError),
}

/// Records a ping for the target and action in its path, and answers as the protocol does.
async fn ping(
    app_state: &Data<AppState>,
    request: &HttpRequest,
    said: Result<(Target, &str), Refusal>,
    log: Log,
) -> HttpResponse {
    let answer = match said {
        Ok((target, action)) => record(app_state, request, target, action, &log).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = match answer {
        Ok(Counted { is_new: true, warnings }) => {
            with_warnings(plain(StatusCode::CREATED, "Created"), &warnings)
        }
        Ok(Counted { is_new: false, warnings }) => with_warnings(plain(StatusCode::OK, "OK"), &warnings),
        Err(Refusal::UrlFormat) => plain(StatusCode::BAD_REQUEST, "invalid url format"),
        Err(Refusal::UuidFormat) => plain(StatusCode::BAD_REQUEST, "invalid uuid format"),
        Err(Refusal::NotFound) => plain(StatusCode::NOT_FOUND, "not found"),
        Err(Refusal::Broken) => plain(
            StatusCode::BAD_REQUEST,
            "the body is incomplete, so its job may not have ended; the part that arrived is kept, and the check-in is no success",
        ),
        Err(Refusal::Other(error)) => error.error_response(),
    };
    if log.end != LogEnd::Whole {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    add_headers(&mut response);
    response
}

fn plain(status: StatusCode, text: &'static str) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(text)
}

fn add_headers(response: &mut HttpResponse) {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("ping-body-limit"), HeaderValue::from(NOTES_KEPT));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// A ping that was recorded.
struct Counted {
    /// Whether it created its reservation.
    is_new: bool,
    /// The parts of its query that were ignored.
    warnings: Vec<String>,
}

async fn record(
    app_state: &Data<AppState>,
    request: &HttpRequest,
    target: Target,
    word: &str,
    log: &Log,
) -> Result<Counted, Refusal> {
    let Pinged { kind, exit_code, run_id, create, mut figures, mut warnings } =
        pinged(request.query_string(), word)?;
    let (of_lines, problem) = &log.figures;
    warnings.extend(problem.clone().or(figures.add(of_lines)).map(|problem| problem.to_string()));
    if log.end == LogEnd::TooLong {
        warnings.push(format!(
            "the body is longer than {} MiB; only so much of it was read, for figures, too",
            LARGEST_LOG / 1024 / 1024
        ));
    }
    // The log is sent while the job runs, and breaks off when the job dies; so its result is unknown.
    let is_broken = kind == CheckInKind::Success && log.end == LogEnd::Broken;
    let (kind, exit_code) = if is_broken { (CheckInKind::Log, None) } else { (kind, exit_code) };
    let create = create && matches!(target, Target::Slug { .. });
    let checkin = CheckIn {
        exit_code,
        notes: log.excerpt.text(),
        source: app_state.source(request),
        run_id,
        figures,
        by: if create { PING_KEY.to_owned() } else { String::new() },
        ..CheckIn::new(kind, app_state.now())
    };
    let definition =
        if create { Definition::IfMissing(Box::new(newcomer(app_state)?)) } else { Definition::None };
    match app_state.queue.submit(Arrival { target, checkin, definition }).await.map_err(Refusal::Other)? {
        Recorded::Done { .. } | Recorded::Known if is_broken => Err(Refusal::Broken),
        Recorded::Known => Ok(Counted { is_new: false, warnings }),
        Recorded::Done { created, .. } => Ok(Counted { is_new: created, warnings }),
        Recorded::Unknown => Err(Refusal::NotFound),
        Recorded::Refused(problem) => Err(Refusal::Other(problem.into())),
    }
}

/// The content of a ping.
pub(crate) struct Pinged {
    pub kind: CheckInKind,
    pub exit_code: Option<i32>,
    pub run_id: Option<Uuid>,
    /// Whether a missing reservation is created.
    pub create: bool,
    /// The figures in its `figure=` parameters.
    pub figures: Figures,
    /// The parts of its query that were ignored.
    pub warnings: Vec<String>,
}

/// Reads a ping's query, and the word in its path.
pub(crate) fn pinged(query: &str, word: &str) -> Result<Pinged, Refusal> {
    let fields = Fields::from_query(query, &["rid", "create"]).map_err(|error| {
        if error.field == "rid" { Refusal::UuidFormat } else { Refusal::Other(error.into()) }
    })?;
    let text = |field| fields.text(field).map_err(|error| Refusal::Other(error.into()));
    let (figures, mut warnings) = figures_of_query(query);
    // A `state` in the query, which clients of other services send, takes precedence over the path.
    let by_state = of_state(query).unwrap_or_else(|warning| {
        warnings.push(warning);
        None
    });
    let (kind, exit_code) = by_state.or_else(|| action::of_path(word)).ok_or(Refusal::UrlFormat)?;
    let run_id = text("rid")?.map(|rid| key(rid).ok_or(Refusal::UuidFormat)).transpose()?;
    Ok(Pinged { kind, exit_code, run_id, create: text("create")? == Some("1"), figures, warnings })
}

/// The meaning of the `state` in a query, if there is one.
///
/// # Errors
/// The warning that the value has no meaning.
fn of_state(query: &str) -> Result<Option<(CheckInKind, Option<i32>)>, String> {
    let nothing = |problem: &str| format!("state: {problem}; what the path says counts");
    let fields = Fields::from_query(query, &["state"]).map_err(|error| nothing(&error.problem))?;
    match fields.text("state").map_err(|error| nothing(&error.problem))? {
        None | Some("") => Ok(None),
        Some(state) => match action::of_state(state) {
            Some(happened) => Ok(Some(happened)),
            None => Err(nothing(&format!("{:?} is none that is known", cut(state)))),
        },
    }
}

/// The reservation that `create=1` creates. A ping names no recipients, so the operator is notified. As in
/// Healthchecks, a run may take as long as the grace.
fn newcomer(app_state: &AppState) -> Result<Patch, Refusal> {
    let schedule = Schedule::every(PERIOD).map_err(|error| Refusal::Other(error.into()))?;
    Ok(Patch {
        notify: Some(app_state.operator().map_err(|error| Refusal::Other(error.into()))?),
        schedule: Some((schedule, None)),
        grace: Some(GRACE),
        max_run_if_new: Some(GRACE),
        ..Patch::default()
    })
}

/// A UUID in its usual form, with hyphens.
pub(crate) fn key(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

/// A ping key and a slug.
fn by_slug(ping_key: &str, slug: &str) -> Result<Target, Refusal> {
    if !slug::is_slug(slug) {
        return Err(Refusal::UrlFormat);
    }
    // An impossible key is not looked up in the database: Postgres does not accept NUL.
    if !ping_key.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Refusal::NotFound);
    }
    Ok(Target::Slug { ping_key: ping_key.to_owned(), slug: slug.to_owned() })
}
