//! Healthchecks' protocol: pings by key or slug, with start, fail, log, exit status, bodies and run ids.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use chrono::TimeDelta;
use innkeeper_core::access::Need;
use innkeeper_core::checkin::{CheckIn, CheckInKind, NOTES_KEPT};
use innkeeper_core::reservation::Wishes;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{action, slug};
use innkeeper_node::http::{ApiError, Log, LogEnd, Routes, with_warnings};
use innkeeper_store::{Arrival, Definition, Recorded, Target};
use uuid::Uuid;

use crate::Desk;
use crate::fields::{Fields, cut};

/// Period and grace of a reservation that a ping made.
const PERIOD: TimeDelta = TimeDelta::days(1);
const GRACE: TimeDelta = TimeDelta::hours(1);
/// Who makes it, as the audit log names them: nobody knows more of whoever has the key.
const PING_KEY: &str = "ping key";

/// The addresses of pings, by how many parts name the job and the action.
pub(crate) const ONE: [&str; 4] =
    ["/ping/{first}", "/ping/{first}/", "/{first:[0-9a-fA-F-]{36}}", "/{first:[0-9a-fA-F-]{36}}/"];
// No path of a page begins like a ping key.
pub(crate) const TWO: [&str; 6] = [
    "/ping/{first}/{second}",
    "/ping/{first}/{second}/",
    "/{first:[0-9a-fA-F-]{36}}/{second}",
    "/{first:[0-9a-fA-F-]{36}}/{second}/",
    "/{first:[0-9a-f]{32}}/{second}",
    "/{first:[0-9a-f]{32}}/{second}/",
];
pub(crate) const THREE: [&str; 4] = [
    "/ping/{first}/{second}/{third}",
    "/ping/{first}/{second}/{third}/",
    "/{first:[0-9a-f]{32}}/{second}/{third}",
    "/{first:[0-9a-f]{32}}/{second}/{third}/",
];

pub(crate) fn mount(routes: &mut Routes<'_>) {
    for method in [Method::GET, Method::POST, Method::PUT] {
        for pattern in ONE {
            routes.route(method.clone(), pattern, Need::Nothing, one);
        }
        for pattern in TWO {
            routes.route(method.clone(), pattern, Need::Nothing, two);
        }
        for pattern in THREE {
            routes.route(method.clone(), pattern, Need::Nothing, three);
        }
    }
    for pattern in [
        "/ping/{tail:.+}",
        "/{first:[0-9a-fA-F-]{36}}",
        "/{first:[0-9a-fA-F-]{36}}/{tail:.*}",
        "/{first:[0-9a-f]{32}}/{tail:.+}",
    ] {
        routes.preflight(pattern, preflight);
    }
}

async fn one(desk: Data<Desk>, request: HttpRequest, first: Path<String>, log: Log) -> HttpResponse {
    ping(&desk, &request, addressed(&[&first]), log).await
}

async fn two(desk: Data<Desk>, request: HttpRequest, path: Path<(String, String)>, log: Log) -> HttpResponse {
    ping(&desk, &request, addressed(&[&path.0, &path.1]), log).await
}

async fn three(
    desk: Data<Desk>,
    request: HttpRequest,
    path: Path<(String, String, String)>,
    log: Log,
) -> HttpResponse {
    ping(&desk, &request, addressed(&[&path.0, &path.1, &path.2]), log).await
}

/// Whom the parts of a ping's path mean, and the word that says what happened.
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

/// Lets a browser send what the page of another site has it send.
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

/// The methods of a ping address. `curl -T` sends a log by PUT.
const METHODS: &str = "GET, HEAD, OPTIONS, POST, PUT";

/// What a ping is answered other than OK.
pub(crate) enum Refusal {
    UrlFormat,
    UuidFormat,
    NotFound,
    Broken,
    Other(ApiError),
}

/// Records the ping for the target and action that its path said, and answers in the protocol's words.
async fn ping(
    desk: &Data<Desk>,
    request: &HttpRequest,
    said: Result<(Target, &str), Refusal>,
    log: Log,
) -> HttpResponse {
    let answer = match said {
        Ok((target, action)) => record(desk, request, target, action, &log).await,
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
            "the body broke off, so that its job may not have ended; what came of it is kept, and it is no success",
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

/// A ping that counts.
struct Counted {
    /// It made its reservation.
    is_new: bool,
    /// What of its query did not count.
    warnings: Vec<String>,
}

async fn record(
    desk: &Data<Desk>,
    request: &HttpRequest,
    target: Target,
    word: &str,
    log: &Log,
) -> Result<Counted, Refusal> {
    let Pinged { kind, exit_code, run_id, create, warnings } = pinged(request.query_string(), word)?;
    // Of a job whose output is sent while it runs nobody knows how it ended: the stream breaks off when it dies, too.
    let is_broken = kind == CheckInKind::Success && log.end == LogEnd::Broken;
    let (kind, exit_code) = if is_broken { (CheckInKind::Log, None) } else { (kind, exit_code) };
    let create = create && matches!(target, Target::Slug { .. });
    let checkin = CheckIn {
        exit_code,
        notes: log.excerpt.text(),
        source: desk.source(request),
        run_id,
        by: if create { PING_KEY.to_owned() } else { String::new() },
        ..CheckIn::new(kind, desk.now())
    };
    let definition = if create { Definition::IfMissing(Box::new(newcomer(desk)?)) } else { Definition::None };
    match desk.queue.submit(Arrival { target, checkin, definition }).await.map_err(Refusal::Other)? {
        Recorded::Done { .. } if is_broken => Err(Refusal::Broken),
        Recorded::Done { created, .. } => Ok(Counted { is_new: created, warnings }),
        Recorded::Unknown => Err(Refusal::NotFound),
        Recorded::Refused(problem) => Err(Refusal::Other(problem.into())),
    }
}

/// What a ping says happened.
pub(crate) struct Pinged {
    pub kind: CheckInKind,
    pub exit_code: Option<i32>,
    pub run_id: Option<Uuid>,
    /// Whether its reservation is made where it is missing.
    pub create: bool,
    /// What of its query did not count.
    pub warnings: Vec<String>,
}

/// Reads a ping's query, and the word of its path.
pub(crate) fn pinged(query: &str, word: &str) -> Result<Pinged, Refusal> {
    let fields = Fields::from_query(query, &["rid", "create"]).map_err(|error| {
        if error.field == "rid" { Refusal::UuidFormat } else { Refusal::Other(error.into()) }
    })?;
    let text = |field| fields.text(field).map_err(|error| Refusal::Other(error.into()));
    let mut warnings = Vec::new();
    // What clients of other services say in the query counts before what a path happens to say.
    let by_state = of_state(query).unwrap_or_else(|warning| {
        warnings.push(warning);
        None
    });
    let (kind, exit_code) = by_state.or_else(|| action::of_path(word)).ok_or(Refusal::UrlFormat)?;
    let run_id = text("rid")?.map(|rid| key(rid).ok_or(Refusal::UuidFormat)).transpose()?;
    Ok(Pinged { kind, exit_code, run_id, create: text("create")? == Some("1"), warnings })
}

/// What the `state` of a query says happened, if anything.
///
/// # Errors
/// The warning that it says nothing.
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

/// The reservation that `create=1` makes. Its ping names nobody to tell, so the operator is. A run may take its grace, as in Healthchecks.
fn newcomer(desk: &Desk) -> Result<Wishes, Refusal> {
    let schedule = Schedule::every(PERIOD).map_err(|error| Refusal::Other(error.into()))?;
    Ok(Wishes {
        notify: Some(desk.operator().map_err(|error| Refusal::Other(error.into()))?),
        schedule: Some((schedule, None)),
        grace: Some(GRACE),
        max_run_if_new: Some(GRACE),
        ..Wishes::default()
    })
}

/// A UUID in its usual form, with hyphens.
fn key(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

/// A ping key and a slug.
fn by_slug(ping_key: &str, slug: &str) -> Result<Target, Refusal> {
    if !slug::is_slug(slug) {
        return Err(Refusal::UrlFormat);
    }
    // What can be no key is not asked of the database: Postgres takes no NUL.
    if !ping_key.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Refusal::NotFound);
    }
    Ok(Target::Slug { ping_key: ping_key.to_owned(), slug: slug.to_owned() })
}
