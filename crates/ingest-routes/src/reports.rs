//! The reports of agents, and the answers to them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The address for reports that name their job.
pub const BY_NAMES: &str = "/api/v1/checkins";
/// The address for reports of the job whose key it contains.
pub const BY_KEY: &str = "/ping/{key:[0-9a-fA-F-]{36}}/reports";

/// A batch of reports.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what is taken")]
pub struct Reports {
    /// The reports in the order in which they happened, 1 to 100, in at most 1 MiB.
    reports: Vec<Report>,
}

/// A check-in with the time at which it happened.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what is taken")]
pub struct Report {
    /// The app of the reservation. Left out, like `component`, where the address contains the key
    /// of the reservation.
    app: Option<String>,
    /// The component of the reservation.
    component: Option<String>,
    /// `success`, `start`, `fail` or `log`.
    kind: String,
    /// An idempotency key: a UUID that is different for each report. A report with the key of a
    /// recorded one is not recorded again, and answered `known`.
    key: Option<String>,
    /// How long ago it happened, in milliseconds. Independent of the client's clock. Without this
    /// and `at` it happened now.
    ago_ms: Option<i64>,
    /// When it happened, by the client's clock, which may be up to one minute ahead.
    at: Option<DateTime<Utc>>,
    /// A UUID that pairs a start with its end.
    run: Option<String>,
    /// The exit status of the run, 0 to 255.
    exit_status: Option<i32>,
    /// The signal that ended the run: `SIGTERM`.
    signal: Option<String>,
    /// How long the run took, in milliseconds.
    duration_ms: Option<i64>,
    /// The most memory that the run used, in bytes.
    peak_memory_bytes: Option<i64>,
    /// The figures of the run, by name. Invalid ones, and those beyond 20, are left out, and
    /// `problem` says so. Lines such as `::figure rows=1200` in `output` count, too, unless this
    /// object contains the name.
    #[schema(value_type = Object)]
    figures: Option<serde_json::Value>,
    /// The output of the run. Its beginning and its end are kept, `output_bytes` in all.
    output: Option<String>,
}

/// The outcomes of the reports.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what is answered")]
pub struct ReportOutcomes {
    /// One outcome for each report, in the same order. An invalid report does not affect the
    /// others.
    reports: Vec<ReportOutcome>,
    /// How much of an output is kept, in bytes.
    output_bytes: i64,
}

/// The outcome of a report.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what is answered")]
pub struct ReportOutcome {
    /// `recorded`: it is stored durably. `known`: a report with its key was recorded before.
    /// `unknown`: there is no such reservation. `too_old`: it happened longer ago than
    /// `ingest.reports_back`. `refused`: it is malformed, or the token is not valid for this app.
    status: String,
    /// What is wrong with it. For a recorded report: which of its figures were left out.
    problem: Option<String>,
}

/// Report check-ins, also late, each once
///
/// A report is late when it happened more than 5 seconds before it arrived. It is judged by the
/// time at which it happened. A late success that happened in time closes the alert that it
/// answers, but no newer one. A late failure that was followed by a success opens no alert. After
/// `503` or `429` send all reports again: those that were recorded and have a key are then `known`.
#[utoipa::path(post, path = "/api/v1/checkins", tag = "Agent", security(("bearer" = ["checkin"])),
    request_body(content = Reports, example = json!({"reports": [
        {"app": "shop", "component": "backup", "kind": "success", "key": "018d2c4e-0000-4000-8000-000000000000", "ago_ms": 21_600_000}]})),
    responses((status = 200, description = "what became of each", body = ReportOutcomes)))]
pub fn by_names() {}

/// Report check-ins of one job by its ping address
///
/// Like `POST /api/v1/checkins`, without names: the key in the address identifies the reservation,
/// and no token is needed.
#[utoipa::path(post, path = "/ping/{key}/reports", tag = "Agent",
    params(("key" = String, Path, description = "the key of the reservation, a UUID",
        example = "018d2c4e-0000-4000-8000-000000000000")),
    request_body(content = Reports, example = json!({"reports": [{"kind": "fail", "exit_status": 1, "ago_ms": 0}]})),
    responses((status = 200, description = "what became of each", body = ReportOutcomes),
        (status = "default", description = "`{\"success\":false,\"message\":\"…\",\"field\":\"…\"}` with an honest status")))]
pub fn by_key() {}
