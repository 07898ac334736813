//! What agents report, and what they are answered.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where reports come that name their job.
pub const BY_NAMES: &str = "/api/v1/checkins";
/// Where reports come whose address says of which job they are.
pub const BY_KEY: &str = "/ping/{key:[0-9a-fA-F-]{36}}/reports";

/// A batch of reports.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what is taken")]
pub struct Reports {
    /// In the order in which they happened, 1 to 100. All together have 1 MiB at most.
    reports: Vec<Report>,
}

/// A check-in with the time at which it happened.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what is taken")]
pub struct Report {
    /// With `component`, whom it is for. Neither is given where the address says it.
    app: Option<String>,
    /// With `app`, whom it is for.
    component: Option<String>,
    /// `success`, `start`, `fail` or `log`.
    kind: String,
    /// An idempotency key, a UUID of its own for each report of each job: what was recorded with it is recorded no second time, and answered `known`.
    key: Option<String>,
    /// How long ago it happened, in milliseconds; now where neither this nor `at` is given. The clock of the client does not matter.
    ago_ms: Option<i64>,
    /// When it happened, by the clock of the client; up to one minute ahead.
    at: Option<DateTime<Utc>>,
    /// Pairs a start with its end, a UUID.
    run: Option<String>,
    /// The exit status of the run, 0 to 255.
    exit_status: Option<i32>,
    /// The signal that ended the run: `SIGTERM`.
    signal: Option<String>,
    /// How long the run took, in milliseconds.
    duration_ms: Option<i64>,
    /// The most memory that the run used, in bytes.
    peak_memory_bytes: Option<i64>,
    /// The figures that it brings, by name; what is over 20, or is none, is left out, and `problem` says so. Lines `::figure rows=1200` in
    /// `output` count, too, where no other names the same.
    #[schema(value_type = Object)]
    figures: Option<serde_json::Value>,
    /// What the run wrote; the beginning and the end are kept, `output_bytes` in all.
    output: Option<String>,
}

/// What became of the reports.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what is answered")]
pub struct ReportOutcomes {
    /// One for each report, in their order: a bad one keeps none of the others out.
    reports: Vec<ReportOutcome>,
    /// How much of an output is kept, in bytes.
    output_bytes: i64,
}

/// What became of a report.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it only describes what is answered")]
pub struct ReportOutcome {
    /// `recorded` and `known` are durable; `known` was recorded before, by its key. `unknown`: there is no such reservation. `too_old`: it
    /// happened longer ago than `ingest.reports_back`. `refused`: it is not well formed, or the token is not for this app.
    status: String,
    /// What is wrong with it; of one that was recorded, what of its figures was left out.
    problem: Option<String>,
}

/// Report check-ins, also late, each once
///
/// A report is late when it happened more than 5 seconds before it arrived. It counts by when it happened: a late success that was in time
/// closes the alert that it answers, and closes no newer trouble; a late failure that a later success has followed alarms nobody.
/// With `503` and `429` send all of it again: what was recorded is `known` then, where it has a key.
#[utoipa::path(post, path = "/api/v1/checkins", tag = "Agent", security(("bearer" = ["checkin"])),
    request_body(content = Reports, example = json!({"reports": [
        {"app": "shop", "component": "backup", "kind": "success", "key": "018d2c4e-0000-4000-8000-000000000000", "ago_ms": 21_600_000}]})),
    responses((status = 200, description = "what became of each", body = ReportOutcomes)))]
pub fn by_names() {}

/// Report check-ins of one job by its ping address
///
/// The same without names: the key of the reservation says which it is, and no token is asked for.
#[utoipa::path(post, path = "/ping/{key}/reports", tag = "Agent",
    params(("key" = String, Path, description = "the key of the reservation, a UUID",
        example = "018d2c4e-0000-4000-8000-000000000000")),
    request_body(content = Reports, example = json!({"reports": [{"kind": "fail", "exit_status": 1, "ago_ms": 0}]})),
    responses((status = 200, description = "what became of each", body = ReportOutcomes),
        (status = "default", description = "`{\"success\":false,\"message\":\"…\",\"field\":\"…\"}` with an honest status")))]
pub fn by_key() {}
