//! Healthchecks' protocol: pings by key or slug, with start, fail, log, exit status, bodies and run ids.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use chrono::TimeDelta;
use innkeeper_core::access::Need;
use innkeeper_core::checkin::{CheckIn, CheckInKind, NOTES_KEPT, notes_from};
use innkeeper_core::reservation::Wishes;
use innkeeper_core::schedule::Schedule;
use innkeeper_node::http::{ApiError, Beginning, Routes};
use innkeeper_store::{Arrival, Definition, Recorded, Target};
use uuid::Uuid;

use crate::Desk;
use crate::fields::Fields;

/// Period and grace of a reservation that a ping made.
const PERIOD: TimeDelta = TimeDelta::days(1);
const GRACE: TimeDelta = TimeDelta::hours(1);

pub(crate) fn mount(routes: &mut Routes<'_>) {
    for method in [Method::GET, Method::POST] {
        routes
            .route(method.clone(), "/ping/{first}", Need::Nothing, one)
            .route(method.clone(), "/ping/{first}/", Need::Nothing, one)
            .route(method.clone(), "/ping/{first}/{second}", Need::Nothing, two)
            .route(method.clone(), "/ping/{first}/{second}/", Need::Nothing, two)
            .route(method.clone(), "/ping/{first}/{second}/{third}", Need::Nothing, three)
            .route(method.clone(), "/{first:[0-9a-fA-F-]{36}}", Need::Nothing, one)
            .route(method.clone(), "/{first:[0-9a-fA-F-]{36}}/", Need::Nothing, one)
            .route(method.clone(), "/{first:[0-9a-fA-F-]{36}}/{second}", Need::Nothing, two)
            // No path of a page begins like a ping key.
            .route(method.clone(), "/{first:[0-9a-f]{32}}/{second}", Need::Nothing, two)
            .route(method.clone(), "/{first:[0-9a-f]{32}}/{second}/", Need::Nothing, two)
            .route(method, "/{first:[0-9a-f]{32}}/{second}/{third}", Need::Nothing, three);
    }
}

async fn one(
    desk: Data<Desk>,
    request: HttpRequest,
    first: Path<String>,
    Beginning(body): Beginning<NOTES_KEPT>,
) -> HttpResponse {
    let said = key(&first).ok_or(Refusal::NotFound).map(|key| (Target::Key(key), "".to_owned()));
    ping(&desk, &request, said, body).await
}

async fn two(
    desk: Data<Desk>,
    request: HttpRequest,
    path: Path<(String, String)>,
    Beginning(body): Beginning<NOTES_KEPT>,
) -> HttpResponse {
    let (first, second) = path.into_inner();
    let said = match key(&first) {
        Some(key) => Ok((Target::Key(key), second)),
        None => slug(first, second).map(|target| (target, "".to_owned())),
    };
    ping(&desk, &request, said, body).await
}

async fn three(
    desk: Data<Desk>,
    request: HttpRequest,
    path: Path<(String, String, String)>,
    Beginning(body): Beginning<NOTES_KEPT>,
) -> HttpResponse {
    let (first, second, third) = path.into_inner();
    let said = slug(first, second).map(|target| (target, third));
    ping(&desk, &request, said, body).await
}

/// What a ping is answered other than OK.
enum Refusal {
    UrlFormat,
    UuidFormat,
    NotFound,
    Other(ApiError),
}

/// Records the ping for the target and action that its path said, and answers in the protocol's words.
async fn ping(
    desk: &Data<Desk>,
    request: &HttpRequest,
    said: Result<(Target, String), Refusal>,
    body: Vec<u8>,
) -> HttpResponse {
    let answer = match said {
        Ok((target, action)) => record(desk, request, target, &action, &body).await,
        Err(refusal) => Err(refusal),
    };
    let (status, text) = match answer {
        Ok(true) => (StatusCode::CREATED, "Created".to_owned()),
        Ok(false) => (StatusCode::OK, "OK".to_owned()),
        Err(Refusal::UrlFormat) => (StatusCode::BAD_REQUEST, "invalid url format".to_owned()),
        Err(Refusal::UuidFormat) => (StatusCode::BAD_REQUEST, "invalid uuid format".to_owned()),
        Err(Refusal::NotFound) => (StatusCode::NOT_FOUND, "not found".to_owned()),
        Err(Refusal::Other(error)) => {
            let mut response = error.error_response();
            add_headers(&mut response);
            return response;
        }
    };
    let mut response = HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(text);
    add_headers(&mut response);
    response
}

fn add_headers(response: &mut HttpResponse) {
    use actix_web::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderName, HeaderValue};
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("ping-body-limit"), HeaderValue::from(NOTES_KEPT));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// Records the ping; true when it made its reservation.
async fn record(
    desk: &Data<Desk>,
    request: &HttpRequest,
    target: Target,
    action: &str,
    body: &[u8],
) -> Result<bool, Refusal> {
    let (kind, exit_code) = parse_action(action).ok_or(Refusal::UrlFormat)?;
    let query = Fields::from_query(request.query_string(), &["rid", "create"]).map_err(|error| {
        if error.field == "rid" { Refusal::UuidFormat } else { Refusal::Other(error.into()) }
    })?;
    let text = |field| query.text(field).map_err(|error| Refusal::Other(error.into()));
    let run_id = text("rid")?.map(|rid| key(rid).ok_or(Refusal::UuidFormat)).transpose()?;
    let create = text("create")? == Some("1") && matches!(target, Target::Slug { .. });
    let checkin = CheckIn {
        exit_code,
        notes: notes_from(body),
        source: desk.source(request),
        run_id,
        ..CheckIn::new(kind, desk.now())
    };
    let definition = if create { Definition::IfMissing(Box::new(newcomer(desk)?)) } else { Definition::None };
    match desk.queue.submit(Arrival { target, checkin, definition }).await.map_err(Refusal::Other)? {
        Recorded::Done { created, .. } => Ok(created),
        Recorded::Unknown => Err(Refusal::NotFound),
        Recorded::Refused(problem) => Err(Refusal::Other(problem.into())),
    }
}

/// The reservation that `create=1` makes. Its ping names nobody to tell, so the operator is.
fn newcomer(desk: &Desk) -> Result<Wishes, Refusal> {
    let schedule = Schedule::every(PERIOD).map_err(|error| Refusal::Other(error.into()))?;
    Ok(Wishes {
        notify: Some(desk.operator().map_err(|error| Refusal::Other(error.into()))?),
        schedule: Some((schedule, None)),
        grace: Some(GRACE),
        ..Wishes::default()
    })
}

/// What the last part of the path says: nothing, `start`, `fail`, `log`, or an exit status.
fn parse_action(action: &str) -> Option<(CheckInKind, Option<i32>)> {
    match action {
        "" => Some((CheckInKind::Success, None)),
        "start" => Some((CheckInKind::Start, None)),
        "fail" => Some((CheckInKind::Fail, None)),
        "log" => Some((CheckInKind::Log, None)),
        status if status.bytes().all(|byte| byte.is_ascii_digit()) => {
            let code = i32::from(status.parse::<u8>().ok()?);
            let kind = if code == 0 { CheckInKind::Success } else { CheckInKind::Fail };
            Some((kind, Some(code)))
        }
        _ => None,
    }
}

/// A UUID in its usual form, with hyphens.
fn key(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

/// A ping key and a slug of `a–z`, `0–9`, `-`, `_`.
fn slug(ping_key: String, slug: String) -> Result<Target, Refusal> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if slug.is_empty()
        || slug.chars().count() > innkeeper_core::names::LONGEST_NAME
        || !slug.chars().all(fits)
    {
        return Err(Refusal::UrlFormat);
    }
    // What can be no key is not asked of the database: Postgres takes no NUL.
    if !ping_key.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Refusal::NotFound);
    }
    Ok(Target::Slug { ping_key, slug })
}
