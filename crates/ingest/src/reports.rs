//! Agents' reports: check-ins in batches, with the times at which they happened, and with keys against duplicates.
//!
//! `POST /api/v1/checkins` takes reports by names, `POST /ping/<key>/reports` those of one job. Each report is
//! answered separately: an invalid one does not affect the others. They are recorded in order, and 200 means that all
//! "recorded" and "known" ones are durable.

use actix_web::http::Method;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, TimeDelta, Utc};
use innkeeper_core::access::Permission;
use innkeeper_core::checkin::{CheckIn, CheckInKind, NOTES_KEPT, Report, notes_from};
use innkeeper_core::{Invalid, Time, action, duration};
use innkeeper_http::{ApiError, BodyUpTo, Caller, LARGEST_REPORTS, Routes};
use innkeeper_ingest_routes::reports::{BY_KEY, BY_NAMES};
use innkeeper_store::{Arrival, Definition, Recorded, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::AppState;
use crate::fields::{Fields, cut, mended};
use crate::healthchecks;
use crate::queue::{CommitResult, Unwritable};

/// The most reports of one batch.
const MOST: usize = 100;
/// How far a client's clock may be ahead of this one.
const AHEAD: TimeDelta = TimeDelta::minutes(1);

const FIELDS: [&str; 13] = [
    "app",
    "component",
    "kind",
    "key",
    "ago_ms",
    "at",
    "run",
    "exit_status",
    "signal",
    "duration_ms",
    "peak_memory_bytes",
    "figures",
    "output",
];

pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes.api(Method::POST, BY_NAMES, Permission::CheckIn, by_names);
    routes.post(BY_KEY, Permission::Nothing, by_key);
}

type Body = BodyUpTo<LARGEST_REPORTS>;

/// The result of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// It is recorded durably.
    Recorded,
    /// A report with its key was recorded before.
    Known,
    /// The reservation does not exist.
    Unknown,
    /// It happened too long ago.
    TooOld,
    /// It is malformed, or the caller may not report for this app.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Outcome {
    status: Status,
    /// Why it is not recorded; or, if it is, which figures were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Serialize)]
struct Outcomes {
    reports: Vec<Outcome>,
    /// The most bytes of an output that are kept.
    output_bytes: usize,
}

#[derive(Deserialize)]
struct Batch {
    reports: Vec<Value>,
}

async fn by_names(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    BodyUpTo(body): Body,
) -> Result<HttpResponse, ApiError> {
    let target = |fields: &Fields| {
        let (app, component) = (fields.app("app")?, fields.component("component")?);
        let refused = |error: ApiError| Invalid::new("app", error.to_string());
        caller.covers(&app).map_err(refused)?;
        Ok(Target::Names(app, component))
    };
    take(&app_state, &request, &body, &target).await
}

async fn by_key(
    app_state: Data<AppState>,
    request: HttpRequest,
    key: Path<String>,
    BodyUpTo(body): Body,
) -> Result<HttpResponse, ApiError> {
    let key = healthchecks::key(&key).ok_or_else(|| ApiError::NotFound("this is no ping key".to_owned()))?;
    let target = |fields: &Fields| match ["app", "component"].iter().find(|name| fields.get(name).is_some()) {
        Some(name) => Err(Invalid::new(*name, "does not belong here; the address says which job it is")),
        None => Ok(Target::Key(key)),
    };
    take(&app_state, &request, &body, &target).await
}

/// Records the reports of a batch, and answers each.
async fn take(
    app_state: &Data<AppState>,
    request: &HttpRequest,
    body: &[u8],
    target: &dyn Fn(&Fields) -> Result<Target, Invalid>,
) -> Result<HttpResponse, ApiError> {
    let reports = batch(body)?;
    let reader = Reader {
        now: app_state.now(),
        back: app_state.live.get().ingest.reports_back,
        source: app_state.source(request),
    };
    let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(reports.len());
    let mut arrivals = Vec::with_capacity(reports.len());
    // For each queued report: the problem to answer if its reservation does not exist, and the
    // problem with its figures.
    let mut unknown: Vec<(String, Option<String>)> = Vec::new();
    for report in reports {
        match reader.arrival(report, target) {
            Ok((arrival, problem)) => {
                unknown.push((missing_reservation(&arrival.target), problem));
                arrivals.push(arrival);
                outcomes.push(None);
            }
            Err(outcome) => outcomes.push(Some(outcome)),
        }
    }
    let mut answers = app_state.queue.submit_all(arrivals).await?.into_iter().zip(unknown);
    let reports = outcomes.into_iter().filter_map(|outcome| match outcome {
        Some(outcome) => Some(outcome),
        None => answers.next().map(|(answer, (unknown, problem))| {
            let outcome = outcome_of(answer, &unknown);
            Outcome { problem: outcome.problem.or(problem), ..outcome }
        }),
    });
    Ok(HttpResponse::Ok().json(Outcomes { reports: reports.collect(), output_bytes: NOTES_KEPT }))
}

fn batch(body: &[u8]) -> Result<Vec<Value>, Invalid> {
    let Batch { reports } = serde_json::from_slice(body)
        .or_else(|error| serde_json::from_slice(&mended(body).ok_or(error)?))
        .map_err(|error| Invalid::new("body", format!("must be {{\"reports\": [\u{2026}]}}: {error}")))?;
    match reports.len() {
        1..=MOST => Ok(reports),
        count => Err(Invalid::new("reports", format!("there are {count}; allowed: 1 to {MOST}"))),
    }
}

/// The check-ins in a batch that comes to a ping address, for the fuzz targets.
pub(crate) fn read(body: &[u8]) -> Vec<CheckIn> {
    let reader = Reader { now: Time::UNIX_EPOCH, back: duration::LONGEST, source: String::new() };
    let target = |_: &Fields| Ok(Target::Key(Uuid::nil()));
    let arrivals = batch(body).unwrap_or_default().into_iter().map(|report| reader.arrival(report, &target));
    arrivals.flatten().map(|(arrival, _)| arrival.checkin).collect()
}

/// The problem to answer if the target does not exist.
fn missing_reservation(target: &Target) -> String {
    match target {
        Target::Names(app, component) => format!("there is no reservation {app}/{component}"),
        Target::Key(_) | Target::Slug { .. } => "no reservation has this ping address".to_owned(),
    }
}

/// The answer to a report that was queued. `unknown` is the problem to answer if its reservation
/// does not exist.
fn outcome_of(answer: CommitResult, unknown: &str) -> Outcome {
    let (status, problem) = match answer {
        Ok(Recorded::Done { .. }) => (Status::Recorded, None),
        Ok(Recorded::Known) => (Status::Known, None),
        Ok(Recorded::Unknown) => (Status::Unknown, Some(unknown.to_owned())),
        Ok(Recorded::Refused(problem)) => (Status::Refused, Some(problem.to_string())),
        Err(Unwritable) => {
            (Status::Refused, Some("the database refuses it; Innkeeper's log says why".to_owned()))
        }
    };
    Outcome { status, problem }
}

/// What all reports of a batch have in common.
struct Reader {
    now: Time,
    back: TimeDelta,
    source: String,
}

impl Reader {
    /// The check-in in a report and the problem with its figures, if any; or the answer if it is
    /// not recorded.
    fn arrival(
        &self,
        report: Value,
        target: &dyn Fn(&Fields) -> Result<Target, Invalid>,
    ) -> Result<(Arrival, Option<String>), Outcome> {
        let refused =
            |problem: Invalid| Outcome { status: Status::Refused, problem: Some(problem.to_string()) };
        let Value::Object(values) = report else {
            return Err(refused(Invalid::new("report", "must be an object")));
        };
        let fields = Fields::of_object(values, &FIELDS);
        let target = target(&fields).map_err(refused)?;
        let (checkin, problem) = self.checkin(&fields).map_err(refused)?;
        if self.now - checkin.at > self.back {
            let problem = format!(
                "it happened at {}, longer ago than {} (ingest.reports_back)",
                checkin.at.format("%Y-%m-%d %H:%M:%S UTC"),
                duration::words(self.back)
            );
            return Err(Outcome { status: Status::TooOld, problem: Some(problem) });
        }
        Ok((Arrival { target, checkin, definition: Definition::None }, problem))
    }

    fn checkin(&self, fields: &Fields) -> Result<(CheckIn, Option<String>), Invalid> {
        let kind: CheckInKind = fields.text("kind")?.ok_or_else(|| missing("kind"))?.parse()?;
        let is_end = matches!(kind, CheckInKind::Success | CheckInKind::Fail);
        let exit_status = number(fields, "exit_status", 255)?.and_then(|status| i32::try_from(status).ok());
        let report = Report {
            key: uuid(fields, "key")?,
            arrived_at: self.now,
            took: number(fields, "duration_ms", duration::LONGEST.num_milliseconds())?
                .map(TimeDelta::milliseconds)
                .filter(|_| is_end),
            signal: signal(fields)?.filter(|_| is_end),
            peak_memory_bytes: number(fields, "peak_memory_bytes", i64::MAX)?.filter(|_| is_end),
        };
        let by_signal = || report.signal.as_deref().and_then(action::status_of_signal);
        let output = fields.text("output")?.unwrap_or_default();
        let (mut figures, mut problems) = fields.figures("figures");
        problems.extend(figures.add_lines(output).map(|problem| problem.to_string()));
        let checkin = CheckIn {
            exit_code: exit_status.or_else(by_signal).filter(|_| is_end),
            notes: notes_from(output.as_bytes()),
            figures,
            source: self.source.clone(),
            run_id: uuid(fields, "run")?,
            report: Some(Box::new(report)),
            ..CheckIn::new(kind, self.happened_at(fields)?)
        };
        Ok((checkin, (!problems.is_empty()).then(|| problems.join("; "))))
    }

    /// When it happened, by the clock of this process.
    fn happened_at(&self, fields: &Fields) -> Result<Time, Invalid> {
        let ago = number(fields, "ago_ms", duration::LONGEST.num_milliseconds())?;
        let at = fields.text("at")?;
        match (ago, at) {
            (None, None) => Ok(self.now),
            (Some(ago), None) => Ok(self.now - TimeDelta::milliseconds(ago)),
            (Some(_), Some(_)) => Err(Invalid::new("at", "cannot be combined with ago_ms; give one of them")),
            (None, Some(text)) => {
                let at = DateTime::parse_from_rfc3339(text).map_err(|error| {
                    Invalid::new(
                        "at",
                        format!("{:?} is no time like 2026-11-20T02:00:00Z: {error}", cut(text)),
                    )
                })?;
                let at = at.with_timezone(&Utc);
                if at - self.now > AHEAD {
                    let problem = format!(
                        "{:?} is yet to come; allowed: up to {} ahead of this clock, which shows {}",
                        cut(text),
                        duration::words(AHEAD),
                        self.now.format("%Y-%m-%dT%H:%M:%SZ")
                    );
                    return Err(Invalid::new("at", problem));
                }
                Ok(at.min(self.now))
            }
        }
    }
}

fn missing(field: &'static str) -> Invalid {
    Invalid::new(field, "is missing")
}

/// A whole number from 0 to `most`.
fn number(fields: &Fields, field: &'static str, most: i64) -> Result<Option<i64>, Invalid> {
    let allowed = |number: &i64| (0..=most).contains(number);
    match fields.integer(field)? {
        Some(number) if !allowed(&number) => {
            Err(Invalid::new(field, format!("{number}; allowed: 0 to {most}")))
        }
        number => Ok(number),
    }
}

fn uuid(fields: &Fields, field: &'static str) -> Result<Option<Uuid>, Invalid> {
    let parse = |text: &str| {
        Uuid::try_parse(text).map_err(|_| Invalid::new(field, format!("{:?} is no UUID", cut(text))))
    };
    fields.text(field)?.map(parse).transpose()
}

/// The name of a signal: `SIGTERM`, `SIGRTMIN+3`.
fn signal(fields: &Fields) -> Result<Option<String>, Invalid> {
    let is_name = |text: &str| {
        (1..=20).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-".contains(c))
    };
    match fields.text("signal")? {
        Some(text) if !is_name(text) => {
            Err(Invalid::new("signal", format!("{:?} is no name of a signal like SIGTERM", cut(text))))
        }
        text => Ok(text.map(str::to_owned)),
    }
}
